//! Waits for more of a file that is appended to and rotated: until something is written, the file
//! is moved aside, what writes to it ends, or nobody wants it any more.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::retry_on_intr;

use crate::EngineError;
use crate::guard::ExitWatch;
use crate::segment::{Identity, Segment};

/// What has happened to a file.
#[derive(Debug)]
pub(crate) enum Next {
    /// Perhaps more in the same file.
    More,
    /// The file was moved aside; these came after it, the oldest last.
    Rotated(Vec<Segment>),
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

/// After what nothing more comes: whichever is first.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// The end of a container.
    pub(crate) exit: Option<ExitWatch>,
    /// A moment.
    pub(crate) at: Option<Timestamp>,
}

impl End {
    /// Whether the moment has come. What is still written must not put it off.
    fn has_come(&self) -> bool {
        self.at.is_some_and(|moment| moment <= Timestamp::now())
    }

    /// How long until it comes, if there is one.
    fn timeout(&self) -> Option<Timespec> {
        let left = self.at?.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
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
    pub(crate) fn wait(&mut self, file: Option<Identity>) -> io::Result<Next> {
        if let Some(rotated) = self.rotated(file)? {
            return Ok(Next::Rotated(rotated));
        }
        let mut fds =
            vec![PollFd::new(&self.changes, PollFlags::IN), PollFd::new(&self.gone, PollFlags::IN)];
        fds.extend(self.end.exit.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
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
    fn rotated(&self, file: Option<Identity>) -> io::Result<Option<Vec<Segment>>> {
        let mut files = open_all(&self.path)?;
        // An inode is used again once its file is gone, so the newest one is meant.
        let place = files.iter().position(|other| Some(other.identity()) == file);
        files.truncate(place.unwrap_or(files.len()));
        Ok((!files.is_empty()).then_some(files))
    }
}

/// A file and those that were moved aside, the oldest last. They may be moved meanwhile: then one
/// number is missing for a moment, or has the same file again that the one before it had. One that
/// was killed as it moved them has left a number out for good.
pub(crate) fn open_all(path: &Path) -> io::Result<Vec<Segment>> {
    let mut files: Vec<Segment> = Vec::new();
    let mut missing = 0;
    for generation in 0.. {
        let opened = match generation {
            0 => File::open(path).and_then(Segment::plain),
            older => Segment::open(&PathBuf::from(format!("{}.{older}", path.display()))),
        };
        match opened {
            Ok(file) => {
                missing = 0;
                push_older(&mut files, file);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if missing == 0 => missing += 1,
            Err(_) => break,
        }
    }
    Ok(files)
}

/// A file that is there already was moved between: its place is behind those that came after it.
fn push_older(files: &mut Vec<Segment>, file: Segment) {
    files.retain(|other| !other.is_now(&file));
    files.push(file);
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

    fn texts(files: Vec<Segment>) -> Vec<String> {
        files.into_iter().map(|file| io::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn older_files_are_found_while_there_is_no_first_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(dir.path().join("x.1"), "1").unwrap();
        std::fs::write(dir.path().join("x.2"), "2").unwrap();
        assert_eq!(texts(open_all(&path).unwrap()), ["1", "2"]);
        std::fs::write(&path, "0").unwrap();
        assert_eq!(texts(open_all(&path).unwrap()), ["0", "1", "2"]);
    }

    #[test]
    fn a_file_that_is_moved_while_it_is_looked_for_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "0").unwrap();
        std::fs::hard_link(&path, dir.path().join("x.1")).unwrap();
        std::fs::write(dir.path().join("x.2"), "2").unwrap();
        assert_eq!(texts(open_all(&path).unwrap()), ["0", "2"]);
        std::fs::remove_file(dir.path().join("x.1")).unwrap();
        std::fs::write(dir.path().join("x.1"), "1").unwrap();
        std::fs::remove_file(dir.path().join("x.2")).unwrap();
        std::fs::hard_link(&path, dir.path().join("x.2")).unwrap();
        assert_eq!(texts(open_all(&path).unwrap()), ["1", "0"]);
    }

    #[test]
    fn a_number_that_is_left_out_hides_no_older_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for number in [1, 3, 5, 8] {
            std::fs::write(dir.path().join(format!("x.{number}")), number.to_string()).unwrap();
        }
        assert_eq!(texts(open_all(&path).unwrap()), ["1", "3", "5"]);
    }

    #[test]
    fn a_file_that_was_moved_out_of_sight_has_all_others_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "old").unwrap();
        let old = Segment::open(&path).unwrap();
        let (gone, _hangup) = io::pipe().unwrap();
        let mut follow = Follow::new(&path, gone.into(), End::default()).unwrap();
        std::fs::rename(&path, dir.path().join("x.1")).unwrap();
        std::fs::write(&path, "0").unwrap();
        let Next::Rotated(files) = follow.wait(Some(old.identity())).unwrap() else { panic!() };
        assert_eq!(texts(files), ["0"]);
        std::fs::write(dir.path().join("y"), "1").unwrap();
        std::fs::rename(dir.path().join("y"), dir.path().join("x.1")).unwrap();
        let Next::Rotated(files) = follow.wait(Some(old.identity())).unwrap() else { panic!() };
        assert_eq!(texts(files), ["0", "1"]);
    }

    #[test]
    fn steady_writing_does_not_put_off_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = Segment::plain(File::create(&path).unwrap()).unwrap();
        let (gone, _hangup) = io::pipe().unwrap();
        let end = End { at: Some(Timestamp::now()), exit: None };
        let mut follow = Follow::new(&path, gone.into(), end).unwrap();
        std::fs::write(&path, "more").unwrap();
        assert!(matches!(follow.wait(Some(file.identity())).unwrap(), Next::Ended));
    }
}
