//! Whether a bind's source can pass mounts on: `shared` and `slave` say how the container sees the
//! host's later mounts, and a private mount of the host tells nobody of them.

use std::path::{Path, PathBuf};

use model::mount::Propagation;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::EngineError;
use sys::mount_table::entries;

const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Refuses a propagation that would do nothing, in Docker's words.
///
/// # Errors
/// The mount that the source lies on is not of the kind.
pub(crate) fn check(source: &Path, wished: Propagation) -> Result<(), EngineError> {
    let wanted = match wished {
        Propagation::RecursivePrivate | Propagation::Private => return Ok(()),
        Propagation::Shared | Propagation::RecursiveShared => Wanted::Shared,
        Propagation::Slave | Propagation::RecursiveSlave => Wanted::SharedOrSlave,
    };
    let table = std::fs::read(MOUNTINFO).map_err(EngineError::file("read", MOUNTINFO))?;
    let stat = rustix::fs::statx(CWD, source, AtFlags::empty(), StatxFlags::MNT_ID);
    let stat = stat.map_err(|error| EngineError::file("look at", source)(error.into()))?;
    match refusal(&table, stat.stx_mnt_id, wanted) {
        None => Ok(()),
        Some((point, kind)) => Err(EngineError::Invalid(format!(
            "path {} is mounted on {} but it is not a {kind} mount",
            source.display(),
            point.display()
        ))),
    }
}

/// What the source's mount must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Shared,
    SharedOrSlave,
}

/// Where the mount is and what it is not; `None` if it will do.
fn refusal(table: &[u8], id: u64, wanted: Wanted) -> Option<(PathBuf, &'static str)> {
    let (tag, kind): (&[&[u8]], _) = match wanted {
        Wanted::Shared => (&[b"shared:"], "shared"),
        Wanted::SharedOrSlave => (&[b"shared:", b"master:"], "shared or slave"),
    };
    let entry = entries(table).find(|entry| entry.id == id)?;
    let mut optional = entry.optional.split(|byte| *byte == b' ');
    let fits = optional.any(|field| tag.iter().any(|tag| field.starts_with(tag)));
    (!fits).then_some((entry.path(), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_mount_passes_nothing_on() {
        let table = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     30 22 0:26 / /shared rw shared:5 - tmpfs tmpfs rw\n\
                     31 22 0:27 / /slave rw master:5 - tmpfs shared:9 rw\n";
        for (id, wanted, want) in [
            (22, Wanted::Shared, Some(("/", "shared"))),
            (22, Wanted::SharedOrSlave, Some(("/", "shared or slave"))),
            (30, Wanted::Shared, None),
            (30, Wanted::SharedOrSlave, None),
            (31, Wanted::Shared, Some(("/slave", "shared"))),
            (31, Wanted::SharedOrSlave, None),
            // Of another namespace: nothing is known.
            (99, Wanted::Shared, None),
        ] {
            let want = want.map(|(point, kind)| (PathBuf::from(point), kind));
            assert_eq!(refusal(table, id, wanted), want, "{id} {wanted:?}");
        }
    }
}
