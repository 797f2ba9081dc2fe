//! `Root`: a directory that paths cannot leave.
//!
//! Owns every resolution of a path that a container, image, context or archive can influence
//! (invariants I1 and I13 of the design). The kernel resolves it with `openat2` and
//! `RESOLVE_IN_ROOT`: absolute paths, absolute symlinks and `..` all stay below the directory, and
//! magic links of procfs are refused. Operations that create, remove or change act on the last
//! component itself and never follow a symlink there. Not owned: what may be created where.
//!
//! Names are bytes; they need not be UTF-8.

mod attributes;
mod content;
mod error;
mod nodes;
mod remove;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use content::{Entry, open_regular};
pub use error::RootError;

/// What may be at a path whose last component is a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Final {
    /// A symlink at the end is followed, within the root.
    Follow,
    /// A symlink at the end is an error (`ELOOP`).
    NoFollow,
}

type Result<T, E = RootError> = std::result::Result<T, E>;

/// The directory that holds a path's last component.
#[derive(Debug)]
pub enum Parent<'a> {
    /// The root itself.
    Root(BorrowedFd<'a>),
    /// A directory below it, opened with `O_PATH`.
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// A directory that no path given to it can leave.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.dir
    }
}

const PATH_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    /// Opens a directory of the host by a path that the host's administrator or we ourselves chose.
    ///
    /// # Errors
    /// If it is not a directory or cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match rustix::fs::open(path, PATH_DIR, Mode::empty()) {
            Ok(dir) => Ok(Self { dir }),
            Err(source) => {
                Err(RootError::Os { op: "open directory", path: path.to_owned(), source })
            }
        }
    }

    /// Takes a directory that is open already; `O_PATH` is enough.
    #[must_use]
    pub fn from_fd(dir: OwnedFd) -> Self {
        Self { dir }
    }

    /// A second handle of the same directory.
    ///
    /// # Errors
    /// If no descriptor is free.
    pub fn try_clone(&self) -> Result<Self> {
        match rustix::io::fcntl_dupfd_cloexec(&self.dir, 0) {
            Ok(dir) => Ok(Self { dir }),
            Err(source) => Err(RootError::Os { op: "duplicate", path: PathBuf::from("."), source }),
        }
    }

    /// Finds what a path names and pins it with an `O_PATH` descriptor.
    ///
    /// # Errors
    /// If it does not exist or a component on the way is not a directory.
    pub fn resolve(&self, path: impl AsRef<Path>, last: Final) -> Result<OwnedFd> {
        let path = path.as_ref();
        let nofollow = if last == Final::NoFollow { OFlags::NOFOLLOW } else { OFlags::empty() };
        self.open2(path, OFlags::PATH | nofollow, Mode::empty()).map_err(os("resolve", path))
    }

    /// Opens a directory as a root of its own.
    ///
    /// # Errors
    /// If it is not a directory.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let dir = self.open2(path, PATH_DIR, Mode::empty()).map_err(os("open directory", path))?;
        Ok(Self { dir })
    }

    /// Opens an existing file. A symlink at the end is followed within the root unless `flags` has
    /// `NOFOLLOW`.
    ///
    /// For files that an image or a container made, see [`Root::read_untrusted`]: this may block on
    /// a fifo unless `flags` has `NONBLOCK`.
    ///
    /// # Errors
    /// What `openat2(2)` gives.
    pub fn open_file(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.open2(path, flags | OFlags::NOCTTY, Mode::empty()).map_err(os("open", path))
    }

    /// Opens the directory that holds a path's last component, and gives that component: the pair
    /// for an `*at` call. Symlinks on the way are followed within the root. For the root itself the
    /// component is `.`.
    ///
    /// # Errors
    /// If a component on the way is missing or no directory, or the last is `..`.
    pub fn parent<'a>(&'a self, path: &Path) -> Result<(Parent<'a>, CString)> {
        let bad = || RootError::BadPath(path.to_owned());
        let (above, name) = split(path.as_os_str().as_bytes()).ok_or_else(bad)?;
        let name = CString::new(name).map_err(|_| bad())?;
        if above.is_empty() {
            return Ok((Parent::Root(self.dir.as_fd()), name));
        }
        let dir = open2_at(&self.dir, above, PATH_DIR, Mode::empty())
            .map_err(os("open the directory of", path))?;
        Ok((Parent::Below(dir), name))
    }

    fn at<T>(
        &self,
        op: &'static str,
        path: &Path,
        act: impl FnOnce(BorrowedFd<'_>, &CStr) -> std::result::Result<T, Errno>,
    ) -> Result<T> {
        let (dir, name) = self.parent(path)?;
        act(dir.as_fd(), &name).map_err(os(op, path))
    }

    fn open2(&self, path: &Path, flags: OFlags, mode: Mode) -> std::result::Result<OwnedFd, Errno> {
        open2_at(&self.dir, path.as_os_str().as_bytes(), flags, mode)
    }
}

/// The one place where a path of more than one component meets the kernel.
fn open2_at(
    dir: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> std::result::Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // The kernel gives up a walk through `..` that raced with a rename anywhere on the
            // machine.
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// `a/b/c/` → `a/b`, `c`. `/` and `.` → nothing, `.`. None if the last component is `..`.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut path = path;
    while let Some(shorter) = path.strip_suffix(b"/").or_else(|| path.strip_suffix(b"/.")) {
        path = shorter;
    }
    let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    match name {
        b".." => None,
        b"" | b"." => Some((b"", b".")),
        name => Some((above, name)),
    }
}

fn os(op: &'static str, path: &Path) -> impl FnOnce(Errno) -> RootError {
    move |source| RootError::Os { op, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
