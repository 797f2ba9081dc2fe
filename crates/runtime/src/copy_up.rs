//! A tmpfs that starts with what it covers (`tmpcopyup`).
//!
//! Done by the parent, who may allocate, before the child exists. Copies what the root file system
//! itself has at that place; of hard links each name becomes a file of its own.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Uid};
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
    fill(&made, covers, rootfs).map_err(|error| LaunchError::Prepare {
        action: "copy up",
        object: error.to_string(),
        errno: error.errno().unwrap_or(Errno::INVAL).into(),
    })?;
    Ok(made)
}

fn fill(made: &OwnedFd, covers: &Place, rootfs: BorrowedFd<'_>) -> Result<(), RootError> {
    let root = Root::from_fd(duplicate(rootfs)?);
    let path = Path::new(std::ffi::OsStr::from_bytes(covers.path.to_bytes()));
    let from = match root.open_dir(path) {
        Ok(from) => from,
        // There is nothing to cover.
        Err(error) if error.not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    let into = Root::from_fd(duplicate(made.as_fd())?);
    copy_attributes(&from, &into, Path::new("."), &from.metadata(".")?)?;
    let mut pending = vec![PathBuf::from(".")];
    while let Some(directory) = pending.pop() {
        for entry in from.read_dir(&directory)? {
            let path = directory.join(std::ffi::OsStr::from_bytes(entry.name.to_bytes()));
            let stat = from.metadata(&path)?;
            copy_one(&from, &into, &path, &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(path);
            }
        }
    }
    Ok(())
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, RootError> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|source| RootError::Os {
        op: "duplicate",
        path: PathBuf::from("."),
        source,
    })
}

fn copy_one(from: &Root, into: &Root, path: &Path, stat: &Stat) -> Result<(), RootError> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => into.mkdir(path, mode)?,
        FileType::Symlink => into.symlink(from.read_link(path)?, path)?,
        FileType::RegularFile => copy_content(from, into, path)?,
        kind @ (FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown) => into.mknod(path, kind, mode, stat.st_rdev)?,
    }
    copy_attributes(from, into, path, stat)
}

fn copy_content(from: &Root, into: &Root, path: &Path) -> Result<(), RootError> {
    let source = from.open_file(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    let target = into.create_file(path, Mode::from_raw_mode(0o600))?;
    loop {
        match rustix::fs::sendfile(&target, &source, None, 1 << 20) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(source) => {
                return Err(RootError::Os { op: "copy", path: path.to_owned(), source });
            }
        }
    }
}

/// Owner before mode: a change of owner takes the setuid bit away.
fn copy_attributes(from: &Root, into: &Root, path: &Path, stat: &Stat) -> Result<(), RootError> {
    into.set_owner(path, Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        into.set_mode(path, Mode::from_raw_mode(stat.st_mode))?;
    }
    for name in from.list_xattr(path)? {
        copy_xattr(from, into, path, &name)?;
    }
    Ok(())
}

/// tmpfs has no `user.` attributes on older kernels (before 6.6); losing those is what cp does too.
fn copy_xattr(from: &Root, into: &Root, path: &Path, name: &CString) -> Result<(), RootError> {
    let Some(value) = from.get_xattr(path, name)? else { return Ok(()) };
    match into.set_xattr(path, name, &value) {
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}
