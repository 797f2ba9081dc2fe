//! Where a shim keeps what: names, and sockets with names longer than the kernel takes.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use model::ContainerId;
use rustix::fs::{CWD, Mode, OFlags};

/// Longest path that a Unix socket's address takes (`sun_path`, with its NUL).
const ADDRESS_MAX: usize = 107;

/// The two state roots and the container: everything that names a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimPaths {
    /// Which container.
    pub id: ContainerId,
    /// `--root`: data.
    pub root: PathBuf,
    /// `--run-root`: what a reboot clears.
    pub run: PathBuf,
    /// The cgroup that the root's containers are in by default: `dhow`.
    pub cgroup: String,
}

/// The file that is locked, in a container's directory.
pub(crate) const LOCK: &str = "lock";

/// Where a container's shim keeps what is lost at a reboot.
pub(crate) fn dir_of(run: &Path, id: &ContainerId) -> PathBuf {
    run.join("c").join(id.to_string())
}

impl ShimPaths {
    /// `<run>/c/<id>`
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        dir_of(&self.run, &self.id)
    }

    /// Locked by whoever owns the container's life now.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir().join(LOCK)
    }

    /// Where the shim listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir().join("shim.sock")
    }

    /// How the container lives, while it does.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir().join("state.json")
    }

    /// What was in `state.json` when a shim died without a word, once there is another shim: what
    /// it has left in the kernel is still to be taken back.
    #[must_use]
    pub fn last_words(&self) -> PathBuf {
        self.dir().join("died.json")
    }

    /// Until when the shim may be at work that takes long, while it is.
    #[must_use]
    pub(crate) fn work(&self) -> PathBuf {
        self.dir().join("work.json")
    }

    /// What hooks look at, for a container that has some.
    #[must_use]
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir().join("bundle")
    }

    /// What its events tell of the container.
    #[must_use]
    pub fn about(&self) -> PathBuf {
        self.dir().join("about.json")
    }

    /// How execs of earlier lives have ended, beside what the engine keeps of each.
    #[must_use]
    pub fn ended_execs(&self) -> PathBuf {
        self.run.join("exec").join(self.id.to_string()).join("ended.json")
    }

    /// How the container ended last.
    #[must_use]
    pub fn exit_record(&self) -> PathBuf {
        self.root.join("containers").join(self.id.to_string()).join("exit.json")
    }
}

/// The specification, in a bundle.
pub(crate) const BUNDLE_CONFIG: &str = "config.json";
/// Where the root file system is shown, in a bundle.
pub(crate) const BUNDLE_ROOT: &str = "rootfs";

/// Removes a bundle, and never more than was made of it: what may be mounted there is nobody's to delete.
pub(crate) fn remove_bundle(dir: &Path) {
    let _ = std::fs::remove_file(dir.join(BUNDLE_CONFIG));
    let _ = std::fs::remove_dir(dir.join(BUNDLE_ROOT));
    let _ = std::fs::remove_dir(dir);
}

/// Connects to a socket by a path of any length.
pub(crate) fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    with_short_path(socket, |path| UnixStream::connect(path))
}

/// Listens at a path of any length; what is there already goes.
pub(crate) fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    with_short_path(socket, |path| UnixListener::bind(path))
}

/// Gives `work` a path to the same file that fits into a socket's address.
fn with_short_path<T>(
    path: &Path,
    work: impl FnOnce(&Path) -> std::io::Result<T>,
) -> std::io::Result<T> {
    if path.as_os_str().len() <= ADDRESS_MAX {
        return work(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return work(path);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, dir, flags, Mode::empty())?;
    work(&Path::new("/proc/self/fd").join(dir.as_fd().as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_can_be_listened_at_and_connected_to() {
        let dir = std::env::temp_dir().join(format!("dhow-long-{}", std::process::id()));
        let deep = dir.join("x".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("shim.sock");
        let stale = listen(&socket).unwrap();
        drop(stale);
        let listener = listen(&socket).unwrap();
        connect(&socket).unwrap();
        listener.accept().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
