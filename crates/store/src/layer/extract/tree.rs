//! Entries in a tree that others use meanwhile: a container's, or a user's own.
//!
//! What is there stays, unless an entry takes its place. A file has its name only when it is whole,
//! so that whatever ends a copy leaves no half one behind.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::failpoint::{Point, pass};
use sys::kernel_fs::is_kernel_fs;

use crate::layer::error::{Making, Refusal};
use crate::layer::law::{self, Law};
use crate::layer::merge::{Clash, MergeOptions, Owners, Placed};
use crate::tar::{Entry, Reader};

use super::content::write_content;
use super::names::as_path;
use super::stop::Stop;
use super::{Extractor, Onto, Origin, Owner, kind_of, owner, stat};

impl Extractor<'_> {
    /// Takes an entry to its place in the tree.
    pub(super) fn merge(
        &mut self,
        reader: &mut Reader<impl BufRead>,
        entry: &mut Entry,
        rules: &MergeOptions,
    ) -> Result<(), Stop> {
        self.count(entry)?;
        match rules.place(entry)? {
            // The directory that is copied into stays as it is, as in Docker.
            Placed::Itself if self.options.law == Law::Image => return Ok(()),
            // The root of a volume is a part of it.
            Placed::Itself => {
                self.go(entry)?;
                return self.root(entry);
            }
            Placed::Below => {}
        }
        self.go(entry)?;
        self.make_parents()?;
        self.plain(reader, entry)
    }

    /// Whom something is given to; `None`: to whom it belongs.
    pub(super) fn new_owner(&self, entry: &Entry, origin: Origin) -> Result<Option<Owner>, Stop> {
        let archived = (entry.uid, entry.gid);
        let rules = match self.onto {
            Onto::Layer => {
                let differs = origin == Origin::Before || archived != self.ours;
                return Ok(differs.then_some(archived).map(owner));
            }
            Onto::Tree(rules) => rules,
        };
        let (uid, gid) = match rules.owners {
            Owners::Ours => return Ok(None),
            // A set-group-id directory has given its group to what is new in it.
            Owners::Archived => archived,
            Owners::All { uid, gid } => (uid, gid),
        };
        let outside = |id| match rules.ids {
            Some(ids) => ids.outside(id).ok_or(Stop::Os("change the owner", Errno::OVERFLOW)),
            None => Ok(id),
        };
        Ok(Some(owner((outside(uid)?, outside(gid)?))))
    }

    /// Which attributes are taken, and the errors that say that an attribute cannot be held, or not be given by who copies.
    pub(super) fn unheld(&self) -> (Law, &'static [Errno]) {
        let errors: &[Errno] = match self.onto {
            Onto::Layer => &[Errno::OPNOTSUPP],
            Onto::Tree(_) => &[Errno::OPNOTSUPP, Errno::PERM],
        };
        (self.options.law, errors)
    }

    /// Whether a directory of the kernel's own is at the current path, which stays as it is.
    pub(super) fn is_kernels(&mut self) -> Result<bool, Stop> {
        if matches!(self.onto, Onto::Layer) {
            return Ok(false);
        }
        let (dir, name) = self.at.place()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(there) => Ok(is_kernel_fs(there).unwrap_or(true)),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(false),
            Err(errno) => Err(Stop::Os("open the directory", errno)),
        }
    }

    /// Whether what is there may go.
    pub(super) fn may_replace(&self, there: FileType, making: Making) -> Result<(), Stop> {
        let Onto::Tree(rules) = self.onto else { return Ok(()) };
        let clashes = (there == FileType::Directory) != (making == Making::Directory);
        if rules.clash == Clash::Replace || !clashes {
            return Ok(());
        }
        let below = self.at.path().strip_prefix(rules.at.as_slice()).unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        let path = rules.shown.join(as_path(below));
        Err(Refusal::Clash { making, path, into: rules.shown.clone() }.into())
    }

    /// A file gets its content without a name, where the file system can do that.
    pub(super) fn tree_file(
        &mut self,
        reader: &mut Reader<impl BufRead>,
        entry: &Entry,
    ) -> Result<(), Stop> {
        let (dir, name) = self.at.place()?;
        match stat(dir, name) {
            Ok(there) => self.may_replace(kind_of(&there), Making::Other)?,
            Err(Stop::Os(_, Errno::NOENT)) => {}
            Err(stop) => return Err(stop),
        }
        let (dir, _) = self.at.place()?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir, c".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            // The second is what kernels say that know no such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => return self.named_file(reader, entry),
            Err(errno) => return Err(Stop::Os("create", errno)),
        };
        write_content(&file, reader, entry)?;
        self.dress_file(&file, entry)?;
        pass(Point::CopyFile);
        self.create("create", |dir, name| link_file(&file, dir, name))
    }

    /// The same where files have names from the beginning: one that fails goes again.
    fn named_file(&mut self, reader: &mut Reader<impl BufRead>, entry: &Entry) -> Result<(), Stop> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC;
        let file = self.create("create", |dir, name| {
            rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let written =
            write_content(&file, reader, entry).and_then(|()| self.dress_file(&file, entry));
        written.inspect_err(|_| self.take_back(&file))
    }

    fn take_back(&mut self, file: &OwnedFd) {
        let Ok((dir, name)) = self.at.place() else { return };
        // Somebody else may have put something else there.
        if let (Ok(ours), Ok(there)) = (rustix::fs::fstat(file), stat(dir, name))
            && (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
        {
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        }
    }
}

/// Gives a file its first name.
fn link_file(file: &OwnedFd, dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<(), Errno> {
    match rustix::fs::linkat(file, c"", dir, name, AtFlags::EMPTY_PATH) {
        // Who has no right to read everything names it by its descriptor.
        Err(Errno::NOENT) => {
            use std::os::fd::AsRawFd as _;
            let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            rustix::fs::linkat(CWD, path, dir, name, AtFlags::SYMLINK_FOLLOW)
        }
        done => done,
    }
}

/// What is left of a path in an archive once it is plain.
pub(in crate::layer) fn plain(name: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut path = Vec::new();
    law::plain_path(name, &mut path).map_err(|bad| match bad {
        law::BadPath::Outside => Refusal::Outside,
        law::BadPath::TooLong => Refusal::TooLong,
    })?;
    Ok(path)
}
