//! Names that stand for something else: hard links, whiteouts, and directories that have no entry.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;
use sys::root::Root;

use crate::layer::Privilege;
use crate::layer::error::{Bytes, Making, Refusal};
use crate::layer::law::{self, BadPath};
use crate::tar::Entry;

use super::stop::{During as _, Stop, blocked};
use super::{Extractor, Origin, is_whiteout, kind_of, stat};

impl Extractor<'_> {
    /// A second name. Its target is resolved in the root like any path, must be of this layer, and
    /// is linked itself if it is a symlink.
    pub(super) fn hard_link(&mut self, entry: &Entry) -> Result<(), Stop> {
        let shown = || Bytes(entry.link.clone());
        let mut target = Vec::new();
        law::plain_path(&entry.link, &mut target).map_err(|bad| match bad {
            BadPath::Outside => Refusal::LinkOutside(shown()),
            BadPath::TooLong => Refusal::LinkMissing(shown()),
        })?;
        if target.is_empty() {
            return Err(Refusal::LinkToDirectory(shown()).into());
        }
        let (target_dir, target_name) = law::split(&target);
        let from = self.target(target_dir, target_name, &shown)?;
        match self.link(target_dir, target_name)? {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Stop::Os("hard link", errno)),
        }
        // The name is taken: by the same file, and all is well, or by something that has to go.
        let (dir, name) = self.at.place()?;
        let there = stat(dir, name)?;
        if (there.st_dev, there.st_ino) == (from.st_dev, from.st_ino) {
            return Ok(());
        }
        self.clear_way(Making::Other)?;
        // The target may have been in a directory that had to go.
        self.target(target_dir, target_name, &shown)?;
        self.link(target_dir, target_name)?.during("hard link")
    }

    /// The file that is to get another name.
    fn target(&mut self, dir: &[u8], name: &[u8], shown: &dyn Fn() -> Bytes) -> Result<Stat, Stop> {
        let found = match self.at.directory(dir) {
            Ok(dir) => rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW),
            Err(error) => Err(error.errno().unwrap_or(Errno::INVAL)),
        };
        match found {
            Ok(stat) if is_whiteout(&stat) => Err(Refusal::LinkMissing(shown()).into()),
            Ok(stat) if kind_of(&stat) == FileType::Directory => {
                Err(Refusal::LinkToDirectory(shown()).into())
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                Err(Refusal::LinkMissing(shown()).into())
            }
            found => found.during("find the hard link's target"),
        }
    }

    fn link(&mut self, target_dir: &[u8], target: &[u8]) -> Result<Result<(), Errno>, Stop> {
        let (from, to, name) = self.at.pair(target_dir)?;
        Ok(rustix::fs::linkat(from, target, to, name, AtFlags::empty()))
    }

    /// Hides a name of lower layers. What this layer itself has under the name stays: a file hides
    /// theirs anyway, a directory is made opaque.
    pub(super) fn whiteout(&mut self) -> Result<(), Stop> {
        self.at.cut_name(law::WHITEOUT.len());
        let (dir, name) = self.at.place()?;
        let kind = FileType::CharacterDevice;
        match rustix::fs::mknodat(dir, name, kind, Mode::empty(), 0) {
            Ok(()) => {}
            Err(Errno::EXIST) if kind_of(&stat(dir, name)?) == FileType::Directory => {
                return self.mark_opaque();
            }
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(Stop::Os("create whiteout", errno)),
        }
        self.at.go_up();
        self.mark_has_whiteouts()
    }

    /// overlayfs lists a directory that only one layer has without looking for whiteouts, so that
    /// one for a name that no lower layer has would be seen as a file that cannot be opened. The
    /// mark of a directory copied up makes it look.
    fn mark_has_whiteouts(&self) -> Result<(), Stop> {
        let attr = match self.options.privilege {
            Privilege::Host => c"trusted.overlay.origin",
            Privilege::UserNamespace => c"user.overlay.origin",
        };
        self.dest.set_xattr(as_path(self.at.path()), attr, b"").during("mark the directory")
    }

    /// Hides all that lower layers have in the entry's directory.
    pub(super) fn opaque(&mut self) -> Result<(), Stop> {
        self.at.go_up();
        self.done.opaque_root |= self.at.path().is_empty();
        self.mark_opaque()
    }

    /// Marks the directory at the current path.
    pub(super) fn mark_opaque(&self) -> Result<(), Stop> {
        opaque(self.dest, self.at.path(), self.options.privilege)
    }
}

/// Makes one directory that the archive has no entry for, 0755 and ours, as Docker does. A whiteout
/// in its place goes, and the directory hides what the whiteout has hidden.
pub(super) fn made(dest: &Root, path: &[u8], privilege: Privilege) -> Result<Origin, Stop> {
    let mode = Mode::from_raw_mode(0o755);
    match dest.mkdir(as_path(path), mode) {
        Ok(()) => return Ok(Origin::Now),
        Err(error) if error.errno() == Some(Errno::EXIST) => {}
        Err(error) => return Err(blocked("create directory", &error)),
    }
    if !is_whiteout(&dest.metadata(as_path(path)).during("look at")?) {
        return Ok(Origin::Before);
    }
    dest.remove(as_path(path)).during("replace the whiteout")?;
    dest.mkdir(as_path(path), mode).during("create directory")?;
    opaque(dest, path, privilege)?;
    Ok(Origin::Now)
}

/// Marks a directory so that overlayfs shows nothing of lower layers in it.
fn opaque(dest: &Root, path: &[u8], privilege: Privilege) -> Result<(), Stop> {
    let attr = match privilege {
        Privilege::Host => c"trusted.overlay.opaque",
        Privilege::UserNamespace => c"user.overlay.opaque",
    };
    dest.set_xattr(as_path(path), attr, b"y").during("mark the directory opaque")
}

pub(super) fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
