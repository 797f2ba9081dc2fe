//! What comes to be and ceases to be in a root: files, directories, links, nodes, names.
//!
//! Nothing here follows a symlink at the end of a path, and nothing here syncs.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Result, Root, RootError, remove};

impl Root {
    /// Creates a file that must not exist, open for reading and writing.
    ///
    /// # Errors
    /// `EEXIST`, and what `openat(2)` gives.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: Mode) -> Result<OwnedFd> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.at("create", path.as_ref(), |dir, name| rustix::fs::openat(dir, name, flags, mode))
    }

    /// Creates a directory.
    ///
    /// # Errors
    /// `EEXIST`, and what `mkdirat(2)` gives.
    pub fn mkdir(&self, path: impl AsRef<Path>, mode: Mode) -> Result<()> {
        self.at("create directory", path.as_ref(), |dir, name| rustix::fs::mkdirat(dir, name, mode))
    }

    /// Creates a directory and those above it that are missing, all with `mode`. Symlinks on the
    /// way are followed within the root; one that leads nowhere is an error.
    ///
    /// # Errors
    /// If a component exists and is not a directory.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: Mode) -> Result<Self> {
        let path = path.as_ref();
        match self.open_dir(path) {
            Err(error) if error.not_found() => {}
            done => return done,
        }
        let bytes = path.as_os_str().as_bytes();
        let ends = (1..=bytes.len()).filter(|&end| end == bytes.len() || bytes[end] == b'/');
        for end in ends {
            let prefix = Path::new(OsStr::from_bytes(&bytes[..end]));
            match self.mkdir(prefix, mode) {
                // `a/..` on the way is left to the kernel, which resolves it when the directory is
                // opened.
                Err(RootError::BadPath(_)) => {}
                Err(error) if error.errno() == Some(Errno::EXIST) => {}
                result => result?,
            }
        }
        self.open_dir(path)
    }

    /// Creates a symlink whose text is `target`.
    ///
    /// # Errors
    /// `EEXIST`, and what `symlinkat(2)` gives.
    pub fn symlink(&self, target: impl AsRef<OsStr>, path: impl AsRef<Path>) -> Result<()> {
        let target = target.as_ref();
        self.at("create symlink", path.as_ref(), |dir, name| {
            rustix::fs::symlinkat(target, dir, name)
        })
    }

    /// Gives an existing file, both in this root, a second name. A symlink is linked itself.
    ///
    /// # Errors
    /// `ENOENT` for the first, `EEXIST` for the second, `EPERM` for a directory.
    pub fn link(&self, existing: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let existing = existing.as_ref();
        let (from, old) = self.parent(existing)?;
        self.at("hard link", path.as_ref(), |dir, name| {
            rustix::fs::linkat(&from, &old, dir, name, AtFlags::empty())
        })
    }

    /// Creates a device node, a fifo or a socket node.
    ///
    /// # Errors
    /// `EPERM` for devices in a user namespace, and what `mknodat(2)` gives.
    pub fn mknod(
        &self,
        path: impl AsRef<Path>,
        kind: FileType,
        mode: Mode,
        device: Dev,
    ) -> Result<()> {
        self.at("create node", path.as_ref(), |dir, name| {
            rustix::fs::mknodat(dir, name, kind, mode, device)
        })
    }

    /// Moves a name, replacing a file or an empty directory at the new one.
    ///
    /// # Errors
    /// What `renameat(2)` gives.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::empty())
    }

    /// Moves a name to one that must not exist.
    ///
    /// # Errors
    /// `EEXIST`, and what `renameat2(2)` gives.
    pub fn rename_new(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::NOREPLACE)
    }

    fn rename_with(&self, from: &Path, to: &Path, flags: RenameFlags) -> Result<()> {
        let (old_dir, old) = self.parent(from)?;
        self.at("rename to", to, |dir, name| {
            rustix::fs::renameat_with(&old_dir, &old, dir, name, flags)
        })
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTEMPTY`, and what `unlinkat(2)` gives.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<()> {
        self.at("remove", path.as_ref(), |dir, name| {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR),
                result => result,
            }
        })
    }

    /// Removes whatever is at a path, with all below it; that nothing is there is success. Works at
    /// any depth, leaves nothing out, and follows no symlink.
    ///
    /// # Errors
    /// What the kernel gives for the first thing that it does not let go, such as `EBUSY` for a
    /// mount point.
    pub fn remove_tree(&self, path: impl AsRef<Path>) -> Result<()> {
        match self.at("remove tree", path.as_ref(), remove::remove_tree_at) {
            Err(error) if error.not_found() => Ok(()),
            result => result,
        }
    }

    /// Removes all that is in a directory, but not the directory.
    ///
    /// # Errors
    /// As [`Root::remove_tree`]; also if it does not exist.
    pub fn remove_contents(&self, path: impl AsRef<Path>) -> Result<()> {
        self.at("empty directory", path.as_ref(), remove::empty_dir_at)
    }
}
