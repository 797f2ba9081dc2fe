//! Looks at a container that runs: what of it comes from outside and is brought again, and whether
//! criu can write down the rest.
//!
//! Nothing is touched. What the answer means for mounts is decided by `externals`, purely.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use sys::Errno;
use sys::mount_table::{Entry, entries};
use sys::root::{Final, Root};

use super::error::SurveyError;
use super::{MASK_DIRECTORY, MASK_FILE, NETWORK};
use crate::init;

/// What the standard streams of a container were, in criu's words: input, output, errors. `None` for
/// one that is the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors(pub [Option<String>; 3]);

/// A container that can be written down.
#[derive(Debug)]
pub struct Survey {
    pub(super) pid: Pid,
    /// In criu's words.
    pub(super) external: Vec<String>,
    /// What a restore has to bring.
    pub descriptors: Descriptors,
}

/// Looks at the container of this first process. `given` are the places of all that its
/// specification binds.
///
/// # Errors
/// It has ended, or is not made of what a checkpoint can hold.
pub fn survey(pid: Pid, given: &[PathBuf]) -> Result<Survey, SurveyError> {
    let proc = Proc(PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero())));
    if proc.namespace("pid")? == Proc::own().namespace("pid")? {
        return Err(SurveyError::SharedNamespace("pid"));
    }
    let mounts = proc.mounts()?;
    let host = Proc::own().mounts()?.into_iter().map(|mount| mount.device).collect();
    let given = given.iter().filter_map(|place| proc.resolve(place).transpose());
    let given = given.collect::<Result<Vec<_>, _>>()?;
    let mut external = externals(&mounts, &host, &given)?;
    let net = proc.namespace("net")?;
    if net != Proc::own().namespace("net")? {
        external.push(format!("net[{net}]:{NETWORK}"));
    }
    let mut descriptors = Descriptors::default();
    for (number, descriptor) in descriptors.0.iter_mut().enumerate() {
        *descriptor = proc.stream(number, &mounts)?;
        let is_file = |stream: &&String| stream.starts_with("file[");
        external.extend(descriptor.as_ref().filter(is_file).cloned());
    }
    Ok(Survey { pid, external, descriptors })
}

/// A place where the specification binds something, and where that turned out to be.
struct Given {
    asked: String,
    found: String,
}

/// What procfs says of one process.
struct Proc(PathBuf);

impl Proc {
    fn own() -> Self {
        Self(PathBuf::from("/proc/self"))
    }

    fn look<T>(&self, what: impl AsRef<Path>, found: io::Result<T>) -> Result<T, SurveyError> {
        let what = || what.as_ref().display().to_string();
        found.map_err(|source| SurveyError::Look { what: what(), source })
    }

    fn text(&self, name: &str) -> Result<String, SurveyError> {
        self.look(name, fs::read_to_string(self.0.join(name)))
    }

    fn mounts(&self) -> Result<Vec<Mount>, SurveyError> {
        let name = "mountinfo";
        Ok(Mount::all(&self.look(name, fs::read(self.0.join(name)))?))
    }

    fn namespace(&self, kind: &str) -> Result<u64, SurveyError> {
        let path = self.0.join("ns").join(kind);
        Ok(self.look(&path, fs::metadata(&path))?.ino())
    }

    /// Where a place is, symbolic links of the image followed; `None` for one that is not there: what
    /// an update has promised for the next start.
    fn resolve(&self, place: &Path) -> Result<Option<Given>, SurveyError> {
        let find = || {
            let root = Root::open(self.0.join("root"))?;
            let found = root.resolve(place, Final::Follow)?;
            Ok::<_, sys::root::RootError>(found)
        };
        let found = match find() {
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR)) => {
                return Ok(None);
            }
            found => found.map_err(|error| SurveyError::Look {
                what: place.display().to_string(),
                source: error.errno().map_or_else(|| io::Error::other(error), io::Error::from),
            })?,
        };
        let link = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(Some(Given { asked: text(place), found: text(&self.look(place, link)?) }))
    }

    /// One of the standard streams, if it comes from outside.
    fn stream(&self, number: usize, mounts: &[Mount]) -> Result<Option<String>, SurveyError> {
        let path = self.0.join(format!("fd/{number}"));
        let link = match fs::read_link(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            link => self.look(&path, link)?,
        };
        let link = link.to_string_lossy();
        if link.starts_with("pipe:[") {
            return Ok(Some(link.into_owned()));
        }
        let info = self.text(&format!("fdinfo/{number}"))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        let Some(id) = id.and_then(|id| id.trim().parse::<u64>().ok()) else { return Ok(None) };
        if mounts.iter().any(|mount| mount.id == id) {
            return Ok(None);
        }
        let file = self.look(&path, fs::metadata(&path))?;
        Ok(Some(format!("file[{id:x}:{:x}]", file.ino())))
    }
}

/// A mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    id: u64,
    device: String,
    root: String,
    place: String,
    kind: String,
}

impl Mount {
    /// criu's options are text.
    fn all(table: &[u8]) -> Vec<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let one = |entry: Entry<'_>| Self {
            id: entry.id,
            device: text(entry.device),
            root: text(entry.root),
            place: entry.path().to_string_lossy().into_owned(),
            kind: text(entry.kind),
        };
        entries(table).map(one).collect()
    }
}

/// The mounts that a restore brings, each with the name that it has then; criu makes the others
/// itself.
fn externals(
    mounts: &[Mount],
    host: &HashSet<String>,
    given: &[Given],
) -> Result<Vec<String>, SurveyError> {
    let mut external = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.place != "/") {
        let Some(name) = name(mount, mounts, host, given)? else { continue };
        // Its options know no quotes.
        if [&mount.place, &name].iter().any(|text| text.contains(['[', ']', ':'])) {
            return Err(SurveyError::MountName(mount.place.clone()));
        }
        external.push(format!("mnt[{}]:{name}", mount.place));
    }
    Ok(external)
}

/// `None`: criu makes it.
fn name(
    mount: &Mount,
    mounts: &[Mount],
    host: &HashSet<String>,
    given: &[Given],
) -> Result<Option<String>, SurveyError> {
    let under = |given: &Given| {
        let rest = mount.place.strip_prefix(&given.found)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", given.asked))
    };
    // The innermost.
    if let Some(name) =
        given.iter().filter(|g| under(g).is_some()).max_by_key(|g| g.found.len()).and_then(under)
    {
        return Ok(Some(name));
    }
    let is_whole = mount.root == "/";
    let is_own = !host.contains(&mount.device);
    let masks = |with: &std::ffi::CStr| {
        let is_seen = mounts.iter().any(|m| m.device == mount.device && m.root == "/");
        mount.root.strip_prefix('/') == with.to_str().ok() && is_own && !is_seen
    };
    match mount.kind.as_str() {
        "cgroup" | "cgroup2" => Ok(Some(mount.place.clone())),
        "proc" | "sysfs" | "mqueue" | "devpts" => Ok(None),
        "tmpfs" if is_whole && is_own => Ok(None),
        "tmpfs" if masks(init::NULL) => Ok(Some(MASK_FILE.to_owned())),
        "tmpfs" if masks(init::EMPTY) => Ok(Some(MASK_DIRECTORY.to_owned())),
        kind => {
            Err(SurveyError::ForeignMount { kind: kind.to_owned(), place: mount.place.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "\
46 50 0:39 / / rw,relatime - overlay overlay rw,lowerdir+=/l
47 46 254:0 /root/containers/x/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
48 46 254:0 /srv/a\\040b /data rw,relatime master:7 - ext4 /dev/vda rw
49 48 0:60 / /data/below rw,relatime - tmpfs tmpfs rw
74 46 0:43 / /proc rw,nosuid - proc proc rw
75 46 0:44 / /dev rw,nosuid - tmpfs tmpfs rw,mode=755
76 75 0:45 / /dev/pts rw,nosuid - devpts devpts rw
79 78 0:37 /dhow/x /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
89 75 0:48 / /dev/shm rw,nosuid - tmpfs shm rw
91 74 0:43 /bus /proc/bus ro,nosuid - proc proc rw
95 74 0:42 /empty /proc/acpi ro - tmpfs tmpfs rw
96 74 0:42 /null /proc/keys ro - tmpfs tmpfs rw
";

    fn check(container: &str, given: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mounts = Mount::all(container.as_bytes());
        let host = ["254:0", "0:60"].map(str::to_owned).into();
        let given = given
            .iter()
            .map(|(asked, found)| Given { asked: (*asked).to_owned(), found: (*found).to_owned() });
        externals(&mounts, &host, &given.collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_specification_brings_is_not_written_down() {
        let given = [("/etc/hosts", "/etc/hosts"), ("/var/data", "/data")];
        expect_test::expect![[r#"
            mnt[/etc/hosts]:/etc/hosts
            mnt[/data]:/var/data
            mnt[/data/below]:/var/data/below
            mnt[/sys/fs/cgroup/pids]:/sys/fs/cgroup/pids
            mnt[/proc/acpi]:dhow-mask-directory
            mnt[/proc/keys]:dhow-mask-file"#]]
        .assert_eq(&check(CONTAINER, &given).unwrap().join("\n"));
    }

    #[test]
    fn what_was_mounted_since_is_refused() {
        let given = [("/etc/hosts", "/etc/hosts"), ("/data", "/data")];
        for (line, why) in [
            ("90 46 254:0 /srv /mnt rw - ext4 /dev/vda rw", "ext4 is mounted on /mnt"),
            ("90 46 0:60 / /mnt rw - tmpfs tmpfs rw", "tmpfs is mounted on /mnt"),
            ("90 46 0:44 /null /mnt rw - tmpfs tmpfs rw", "tmpfs is mounted on /mnt"),
            ("90 46 254:0 /srv /database rw - ext4 /dev/vda rw", "ext4 is mounted on /database"),
            ("90 46 254:0 /srv /data/a]b rw - ext4 /dev/vda rw", "criu cannot be told"),
        ] {
            let refused = check(&format!("{CONTAINER}{line}\n"), &given).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
        }
    }

    #[test]
    fn the_hosts_own_processes_are_no_container() {
        let error = survey(rustix::process::getpid(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "its pid namespace is the host's");
    }
}
