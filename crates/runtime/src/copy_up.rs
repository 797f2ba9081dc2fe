//! A tmpfs that starts with what it covers (`tmpcopyup`).
//!
//! Done by the parent, who may allocate, before the child exists. Copies what the root file system
//! itself has at that place, up to a limit; of hard links each name becomes a file of its own.

use std::ffi::CString;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, SeekFrom, Stat, Uid};
use sys::Errno;
use sys::mount::{MountAttrFlags, Param};
use sys::root::{Root, RootError};

use crate::error::{LaunchError, Reason};
use crate::plan::Params;
use crate::step::Place;

/// Makes the tmpfs.
pub(crate) fn tmpfs(
    params: &Params,
    covers: &Place,
    rootfs: BorrowedFd<'_>,
) -> Result<OwnedFd, LaunchError> {
    let params = params.iter().map(|(key, value)| match value {
        Some(value) => Param::String(key, value),
        None => Param::Flag(key),
    });
    let made =
        sys::mount::detached(c"tmpfs", params, MountAttrFlags::empty()).map_err(|error| {
            LaunchError::Prepare {
                action: "make a tmpfs for",
                object: covers.to_string(),
                errno: Reason { errno: error.errno(), detail: error.log().to_string() },
            }
        })?;
    fill(&made, covers, rootfs, Budget::default()).map_err(|error| explain(covers, &error))?;
    Ok(made)
}

/// How much of an image may become memory before there is a container whose limits hold.
struct Budget {
    bytes: u64,
    entries: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: 64 << 20, entries: 100_000 }
    }
}

/// Why a tmpfs cannot start with what it covers.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("there is more than 64 MiB, or more than 100000 entries")]
    TooMuch,
}

fn explain(covers: &Place, error: &CopyError) -> LaunchError {
    let (object, errno) = match error {
        CopyError::Root(error) => (error.to_string(), error.errno().unwrap_or(Errno::INVAL).into()),
        CopyError::TooMuch => {
            (covers.to_string(), Reason { errno: Errno::NOSPC, detail: error.to_string() })
        }
    };
    LaunchError::Prepare { action: "copy up", object, errno }
}

impl Budget {
    /// Memory is given by the page.
    fn take_bytes(&mut self, bytes: u64) -> Result<(), CopyError> {
        let pages = bytes.checked_next_multiple_of(PAGE).ok_or(CopyError::TooMuch)?;
        self.bytes = self.bytes.checked_sub(pages).ok_or(CopyError::TooMuch)?;
        Ok(())
    }

    fn take_entry(&mut self) -> Result<(), CopyError> {
        self.entries = self.entries.checked_sub(1).ok_or(CopyError::TooMuch)?;
        Ok(())
    }
}

const PAGE: u64 = 4096;

fn fill(
    made: &OwnedFd,
    covers: &Place,
    rootfs: BorrowedFd<'_>,
    budget: Budget,
) -> Result<(), CopyError> {
    let root = Root::from_fd(duplicate(rootfs)?);
    let path = Path::new(std::ffi::OsStr::from_bytes(covers.path.to_bytes()));
    let from = match root.open_dir(path) {
        Ok(from) => from,
        // There is nothing to cover.
        Err(error) if error.not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let into = Root::from_fd(duplicate(made.as_fd())?);
    Copier { from, into, budget }.copy()
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, RootError> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|source| RootError::Os {
        op: "duplicate",
        path: PathBuf::from("."),
        source,
    })
}

/// A copy on its way.
struct Copier {
    from: Root,
    into: Root,
    budget: Budget,
}

impl Copier {
    fn copy(mut self) -> Result<(), CopyError> {
        let top = Path::new(".");
        let stat = self.from.metadata(top)?;
        self.attributes(top, &stat)?;
        let mut pending = vec![top.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in self.from.read_dir(&directory)? {
                self.budget.take_entry()?;
                let path = directory.join(std::ffi::OsStr::from_bytes(entry.name.to_bytes()));
                let stat = self.from.metadata(&path)?;
                self.one(&path, &stat)?;
                let kind = FileType::from_raw_mode(stat.st_mode);
                pending.extend((kind == FileType::Directory).then_some(path));
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, stat: &Stat) -> Result<(), CopyError> {
        let mode = Mode::from_raw_mode(stat.st_mode);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.into.mkdir(path, mode)?,
            FileType::Symlink => self.into.symlink(self.from.read_link(path)?, path)?,
            FileType::RegularFile => self.content(path)?,
            kind @ (FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown) => self.into.mknod(path, kind, mode, stat.st_rdev)?,
        }
        self.attributes(path, stat)
    }

    fn content(&mut self, path: &Path) -> Result<(), CopyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let source = self.from.open_file(path, flags)?;
        let target = self.into.create_file(path, Mode::from_raw_mode(0o600))?;
        let os = |source| RootError::Os { op: "copy", path: path.to_owned(), source };
        let mut at = 0;
        while let Some(run) = next_data(&source, at).map_err(os)? {
            self.budget.take_bytes(run.end - run.start)?;
            at = run.end;
            copy_run(&source, &target, run).map_err(os)?;
        }
        let size = rustix::fs::fstat(&source).map_err(os)?.st_size;
        // A hole at the end is kept by its size alone.
        rustix::fs::ftruncate(&target, u64::try_from(size).unwrap_or(0)).map_err(os)?;
        Ok(())
    }

    /// Owner before mode: a change of owner takes the setuid bit away.
    fn attributes(&mut self, path: &Path, stat: &Stat) -> Result<(), CopyError> {
        self.into.set_owner(path, Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            self.into.set_mode(path, Mode::from_raw_mode(stat.st_mode))?;
        }
        for name in self.from.list_xattr(path)? {
            self.xattr(path, &name)?;
        }
        Ok(())
    }

    /// tmpfs has no `user.` attributes on older kernels (before 6.6); losing those is what cp does
    /// too.
    fn xattr(&mut self, path: &Path, name: &CString) -> Result<(), CopyError> {
        let Some(value) = self.from.get_xattr(path, name)? else { return Ok(()) };
        self.budget.take_bytes(value.len() as u64)?;
        match self.into.set_xattr(path, name, &value) {
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// The next run of data in a file from this place on.
fn next_data(file: &OwnedFd, at: u64) -> Result<Option<Range<u64>>, Errno> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        // Nothing but a hole up to the end.
        Err(Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok(Some(start..end).filter(|run| run.end > run.start))
}

/// Copies no more than this, also of a file that grows.
fn copy_run(source: &OwnedFd, target: &OwnedFd, run: Range<u64>) -> Result<(), Errno> {
    rustix::fs::seek(target, SeekFrom::Start(run.start))?;
    let mut at = run.start;
    while at < run.end {
        let step = usize::try_from(run.end - at).unwrap_or(usize::MAX).min(1 << 20);
        if rustix::fs::sendfile(target, source, Some(&mut at), step)? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with what is in it, and one to copy into.
    fn copy(
        make: impl FnOnce(&Path),
        budget: Budget,
    ) -> (tempfile::TempDir, Result<(), CopyError>) {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&into).unwrap();
        make(&from);
        let (from, into) = (Root::open(&from).unwrap(), Root::open(&into).unwrap());
        (dir, Copier { from, into, budget }.copy())
    }

    #[test]
    fn holes_stay_holes_and_cost_nothing() {
        use std::os::unix::fs::{FileExt, MetadataExt};
        let sparse = |dir: &Path| {
            let file = std::fs::File::create(dir.join("sparse")).unwrap();
            file.set_len(1 << 30).unwrap();
            file.write_all_at(b"middle", 512 << 20).unwrap();
        };
        let (dir, copied) = copy(sparse, Budget::default());
        copied.unwrap();
        let file = std::fs::File::open(dir.path().join("into/sparse")).unwrap();
        let stat = file.metadata().unwrap();
        assert_eq!(stat.len(), 1 << 30);
        assert!(stat.blocks() * 512 < 1 << 20, "{}", stat.blocks());
        let mut text = [0; 6];
        file.read_exact_at(&mut text, 512 << 20).unwrap();
        assert_eq!(&text, b"middle");
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let three = |dir: &Path| {
            for name in ["a", "b", "c"] {
                std::fs::write(dir.join(name), "text").unwrap();
            }
        };
        let with = |bytes, entries| copy(three, Budget { bytes, entries }).1;
        assert!(with(3 * PAGE, 3).is_ok());
        assert!(matches!(with(3 * PAGE - 1, 3), Err(CopyError::TooMuch)));
        assert!(matches!(with(3 * PAGE, 2), Err(CopyError::TooMuch)));
    }
}
