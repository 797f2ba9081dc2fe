//! A tmpfs with files in it that a user namespace could not make: device nodes.
//!
//! Done by the parent before the child exists. Owners are those that the namespace's users have
//! outside of it, so that no mount has to show other ids (tmpfs can since 6.3 only).

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use sys::Errno;
use sys::mount::{MountAttrFlags, Param};
use sys::userns::IdMaps;

use crate::error::{LaunchError, Reason};
use crate::init;
use crate::plan::Params;
use crate::step::{Entry, Node};

/// Makes the tmpfs.
pub(crate) fn tmpfs(
    params: &Params,
    content: &[Entry],
    maps: &IdMaps,
) -> Result<OwnedFd, LaunchError> {
    let params = params.iter().map(|(key, value)| match value {
        Some(value) => Param::String(key, value),
        None => Param::Flag(key),
    });
    let made = sys::mount::detached(c"tmpfs", params, MountAttrFlags::empty());
    let made = made.map_err(|error| LaunchError::Prepare {
        action: "make",
        object: "a tmpfs with devices".to_owned(),
        errno: Reason { errno: error.errno(), detail: error.log().to_string() },
    })?;
    for entry in content {
        fill(made.as_fd(), entry, maps)
            .map_err(LaunchError::prepare("make", format!("{entry:?} for the container")))?;
    }
    Ok(made)
}

fn fill(top: BorrowedFd<'_>, entry: &Entry, maps: &IdMaps) -> Result<(), Errno> {
    init::fill(top, entry)?;
    let (path, uid, gid) = match entry {
        Entry::Directory(path) | Entry::File(path) | Entry::Link(path, _) => (path, 0, 0),
        Entry::Node(path, Node { uid, gid, mode, .. }) => {
            // This process's mask has taken something away.
            let mode = Mode::from_raw_mode(*mode);
            rustix::fs::chmodat(top, path.as_c_str(), mode, AtFlags::empty())?;
            (path, *uid, *gid)
        }
    };
    // What is above it, and was made with it, is root's.
    for above in Path::new(OsStr::from_bytes(path.to_bytes())).ancestors().skip(1) {
        if !above.as_os_str().is_empty() {
            let above = CString::new(above.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
            give(top, &above, user(maps, 0), group(maps, 0))?;
        }
    }
    give(top, path, user(maps, uid), group(maps, gid))
}

/// A user of the container as the host sees it. What would be one's that the container has not is its
/// root's.
pub(crate) fn user(maps: &IdMaps, id: u32) -> u32 {
    maps.user(id).or(maps.user(0)).unwrap_or(id)
}

/// The same of a group.
pub(crate) fn group(maps: &IdMaps, id: u32) -> u32 {
    maps.group(id).or(maps.group(0)).unwrap_or(id)
}

fn give(top: BorrowedFd<'_>, path: &CString, uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(top, path.as_c_str(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}
