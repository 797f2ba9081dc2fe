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
use rustix::io::retry_on_intr;

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

    /// Whether the moment has come. What is still written must not put it off.
    fn has_come(&self) -> bool {
        matches!(self, Self::At(moment) if *moment <= Timestamp::now())
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
        // A signal is no news; the time that is left is counted anew.
        let ready = retry_on_intr(|| poll(&mut fds, self.end.timeout().as_ref()))?;
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (changed, unwanted, ended) = (is_ready(0), is_ready(1), ready == 0 || is_ready(2));
        if unwanted {
            return Ok(Next::Unwanted);
        }
        if self.end.has_come() {
            return Ok(Next::Ended);
        }
        if changed {
            drain(&self.changes)?;
            return Ok(Next::More);
        }
        Ok(if ended { Next::Ended } else { Next::More })
    }

    /// The files that came after `file`, if there are any: it may have been moved more than once.
    /// All of them if it has been removed since; what stood between is lost.
    fn rotated(&self, file: Option<&File>) -> io::Result<Option<Vec<File>>> {
        let mut files = open_all(&self.path)?;
        let Some(file) = file else { return Ok((!files.is_empty()).then_some(files)) };
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

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// A file and those that were moved aside, the oldest last. They may be moved meanwhile: then there
/// is no first one for a moment, or the same one again under its next name.
pub(crate) fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    for generation in 0.. {
        let name = match generation {
            0 => path.to_owned(),
            older => PathBuf::from(format!("{}.{older}", path.display())),
        };
        match File::open(&name) {
            Ok(file) => push_older(&mut files, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && generation == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// A file that is there already was moved between: its place is behind those that came after it.
fn push_older(files: &mut Vec<File>, file: File) -> io::Result<()> {
    let new = identity(&file)?;
    let mut kept = Vec::with_capacity(files.len() + 1);
    for file in files.drain(..) {
        if identity(&file)? != new {
            kept.push(file);
        }
    }
    kept.push(file);
    *files = kept;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[File]) -> Vec<String> {
        files.iter().map(|file| io::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn older_files_are_found_while_there_is_no_first_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(dir.path().join("x.1"), "1").unwrap();
        std::fs::write(dir.path().join("x.2"), "2").unwrap();
        assert_eq!(texts(&open_all(&path).unwrap()), ["1", "2"]);
        std::fs::write(&path, "0").unwrap();
        assert_eq!(texts(&open_all(&path).unwrap()), ["0", "1", "2"]);
    }

    #[test]
    fn a_file_that_is_moved_while_it_is_looked_for_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "0").unwrap();
        std::fs::hard_link(&path, dir.path().join("x.1")).unwrap();
        std::fs::write(dir.path().join("x.2"), "2").unwrap();
        assert_eq!(texts(&open_all(&path).unwrap()), ["0", "2"]);
        std::fs::remove_file(dir.path().join("x.1")).unwrap();
        std::fs::write(dir.path().join("x.1"), "1").unwrap();
        std::fs::remove_file(dir.path().join("x.2")).unwrap();
        std::fs::hard_link(&path, dir.path().join("x.2")).unwrap();
        assert_eq!(texts(&open_all(&path).unwrap()), ["1", "0"]);
    }

    #[test]
    fn a_file_that_was_moved_out_of_sight_has_all_others_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "old").unwrap();
        let old = File::open(&path).unwrap();
        let (gone, _hangup) = io::pipe().unwrap();
        let mut follow = Follow::new(&path, gone.into(), End::Never).unwrap();
        std::fs::rename(&path, dir.path().join("x.1")).unwrap();
        std::fs::write(&path, "0").unwrap();
        let Next::Rotated(files) = follow.wait(Some(&old)).unwrap() else { panic!() };
        assert_eq!(texts(&files), ["0"]);
        std::fs::write(dir.path().join("y"), "1").unwrap();
        std::fs::rename(dir.path().join("y"), dir.path().join("x.1")).unwrap();
        let Next::Rotated(files) = follow.wait(Some(&old)).unwrap() else { panic!() };
        assert_eq!(texts(&files), ["0", "1"]);
    }

    #[test]
    fn steady_writing_does_not_put_off_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        let (gone, _hangup) = io::pipe().unwrap();
        let end = End::At(Timestamp::now());
        let mut follow = Follow::new(&path, gone.into(), end).unwrap();
        std::fs::write(&path, "more").unwrap();
        assert!(matches!(follow.wait(Some(&file)).unwrap(), Next::Ended));
    }
}
