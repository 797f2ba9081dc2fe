//! Waits for more of a log: until something is written, the file is rotated, the container ends,
//! or nobody wants it any more.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use crate::EngineError;
use crate::guard::ExitWatch;

/// What has happened to a log.
#[derive(Debug)]
pub(super) enum Next {
    /// Perhaps more in the same file.
    More,
    /// The file was moved aside; these came after it, the oldest last.
    Rotated(Vec<File>),
    /// The container has ended.
    Ended,
    /// Whoever asked has gone.
    Unwanted,
}

/// What a follower waits on.
#[derive(Debug)]
pub(super) struct Follow {
    path: PathBuf,
    changes: OwnedFd,
    gone: OwnedFd,
    exit: ExitWatch,
}

impl Follow {
    pub(super) fn new(path: &Path, gone: OwnedFd, exit: ExitWatch) -> Result<Self, EngineError> {
        let changes =
            watch(path).map_err(|errno| EngineError::file("watch", path)(errno.into()))?;
        Ok(Self { path: path.to_owned(), changes, gone, exit })
    }

    /// Waits at the end of `file`.
    pub(super) fn wait(&mut self, file: Option<&File>) -> io::Result<Next> {
        if let Some(rotated) = self.rotated(file)? {
            return Ok(Next::Rotated(rotated));
        }
        let mut fds = [
            PollFd::new(&self.changes, PollFlags::IN),
            PollFd::new(&self.gone, PollFlags::IN),
            PollFd::new(&self.exit, PollFlags::IN),
        ];
        poll(&mut fds, None)?;
        let [changed, unwanted, ended] = fds.map(|fd| !fd.revents().is_empty());
        if unwanted {
            return Ok(Next::Unwanted);
        }
        if changed {
            drain(&self.changes)?;
            return Ok(Next::More);
        }
        Ok(if ended { Next::Ended } else { Next::More })
    }

    /// The files that came after `file`, if there are any: it may have been moved more than once.
    fn rotated(&self, file: Option<&File>) -> io::Result<Option<Vec<File>>> {
        let mut files = super::open_all(&self.path)?;
        let Some(file) = file else { return Ok((!files.is_empty()).then_some(files)) };
        let identity =
            |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        let current = identity(file)?;
        for index in 0..files.len() {
            if identity(&files[index])? == current {
                files.truncate(index);
                break;
            }
        }
        Ok((!files.is_empty()).then_some(files))
    }
}

/// The directory is watched, not the file: the name survives a rotation.
fn watch(path: &Path) -> rustix::io::Result<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let events =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_FROM;
    inotify::add_watch(&fd, path.parent().unwrap_or(path), events)?;
    Ok(fd)
}

fn drain(fd: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
