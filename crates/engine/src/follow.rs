//! Waits for more of a file that is appended to and rotated: until something is written, the file
//! is moved aside, what writes to it ends, or nobody wants it any more.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::EngineError;
use crate::guard::ExitWatch;

/// What has happened to a file.
#[derive(Debug)]
pub(crate) enum Next {
    /// Perhaps more in the same file.
    More,
    /// The file was moved aside; these came after it, the oldest last.
    Rotated(Vec<File>),
    /// Nothing more comes: the container has ended, or the time is up.
    Ended,
    /// Whoever asked has gone.
    Unwanted,
}

/// What a follower waits on.
#[derive(Debug)]
pub(crate) struct Follow {
    path: PathBuf,
    changes: OwnedFd,
    gone: OwnedFd,
    end: End,
}

/// After what nothing more comes.
#[derive(Debug)]
pub(crate) enum End {
    /// The end of a container.
    Exit(ExitWatch),
    /// A moment.
    At(Timestamp),
    /// Nothing.
    Never,
}

impl End {
    fn watch(&self) -> Option<&ExitWatch> {
        match self {
            Self::Exit(watch) => Some(watch),
            Self::At(_) | Self::Never => None,
        }
    }

    /// How long until it comes, if that is known.
    fn timeout(&self) -> Option<Timespec> {
        let Self::At(moment) = self else { return None };
        let left = moment.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
        Some(Timespec { tv_sec: left.as_secs(), tv_nsec: left.subsec_nanos().into() })
    }
}

impl Follow {
    pub(crate) fn new(path: &Path, gone: OwnedFd, end: End) -> Result<Self, EngineError> {
        let changes =
            watch(path).map_err(|errno| EngineError::file("watch", path)(errno.into()))?;
        Ok(Self { path: path.to_owned(), changes, gone, end })
    }

    /// Waits at the end of `file`.
    pub(crate) fn wait(&mut self, file: Option<&File>) -> io::Result<Next> {
        if let Some(rotated) = self.rotated(file)? {
            return Ok(Next::Rotated(rotated));
        }
        let mut fds =
            vec![PollFd::new(&self.changes, PollFlags::IN), PollFd::new(&self.gone, PollFlags::IN)];
        fds.extend(self.end.watch().map(|watch| PollFd::new(watch, PollFlags::IN)));
        let ready = poll(&mut fds, self.end.timeout().as_ref())?;
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (changed, unwanted, ended) = (is_ready(0), is_ready(1), ready == 0 || is_ready(2));
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
        let mut files = open_all(&self.path)?;
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

/// A file and those that were moved aside, the oldest last.
pub(crate) fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for generation in 0.. {
        let name = match generation {
            0 => path.to_owned(),
            older => PathBuf::from(format!("{}.{older}", path.display())),
        };
        match File::open(&name) {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
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
