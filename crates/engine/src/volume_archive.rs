//! `volume export` and `volume import`: a volume as an archive.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use model::mount::VolumeWish;
use rustix::fs::{FlockOperation, Mode, OFlags, Timespec};
use rustix::io::Errno;
use store::layer::{
    ApplyOptions, Clash, Compression, Encoder, Holes, Law, Limits, MergeOptions, Owners,
    PackOptions, Part, Privilege,
};
use sys::root::Root;

use crate::fill::{forget, lock};
use crate::prepare::store_error;
use crate::view::{Freezing, VolumeView};
use crate::volume::{check_name, volume_error, volume_row};
use crate::volume_source::check_options;
use crate::{Engine, EngineError, random};

/// Begins the names of what is not whole yet; 64 drawn digits follow.
const PARTIAL: &str = ".import-";

/// What the archive has as the volume's own directory.
const ROOT: &[u8] = b"./";

impl Engine {
    /// Whether a volume can be exported: what is wrong is said before the archive begins.
    ///
    /// # Errors
    /// There is none, or its files cannot be had.
    pub fn volume_can_export(&self, name: &str) -> Result<(), EngineError> {
        self.volume_inspect(name)?;
        self.volume_tree(name).map(drop)
    }

    /// Writes all that is in a volume as an archive, its own directory first.
    ///
    /// # Errors
    /// There is none; its files cannot be read; `out` cannot be written to.
    pub fn volume_export(
        &self,
        name: &str,
        compression: Compression,
        freezing: Freezing,
        out: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let tree = self.volume_tree(name)?;
        let failed = || EngineError::file("write the archive of", name);
        let mut encoder = Encoder::new(out, compression).map_err(failed())?;
        let options =
            PackOptions { holes: Holes::Keep, law: Law::Volume, ..PackOptions::default() };
        let still = self.freeze_users(name, freezing)?;
        let packed = store::layer::pack_part(Part::Directory(&tree), ROOT, &mut encoder, &options);
        // They go on, whatever came of it.
        drop(still);
        packed.map_err(store_error)?;
        encoder.finish().map_err(failed())?;
        Ok(())
    }

    /// Makes a volume of an archive, or fills an empty one. Fails it, nothing is left of it.
    ///
    /// # Errors
    /// The volume is not empty; it is there already, and labels or options are given; the archive is
    /// damaged, or has in it what no volume has.
    pub fn volume_import(
        &self,
        name: &str,
        wish: VolumeWish,
        archive: impl Read + Send,
    ) -> Result<VolumeView, EngineError> {
        check_name(name)?;
        check_options(name, &wish.options)?;
        let is_bare = wish.options.is_empty();
        match self.store().volumes().get(name)? {
            Some(_) if wish != VolumeWish::default() => Err(EngineError::Invalid(format!(
                "volume {name} already exists: labels and options are for a new one"
            ))),
            Some(_) => {
                self.pour(name, archive)?;
                self.volume_inspect(name)
            }
            None if is_bare => self.import_new(name, wish, archive),
            None => {
                // Somebody else's volume is not removed below.
                let made = self.volume_make(name, wish)?;
                if let Err(error) = self.pour(name, archive) {
                    // The first error is the one to tell.
                    let _ = self.volume_remove(name);
                    return Err(error);
                }
                Ok(made)
            }
        }
    }

    /// It gets its name when all is there.
    fn import_new(
        &self,
        name: &str,
        wish: VolumeWish,
        archive: impl Read + Send,
    ) -> Result<VolumeView, EngineError> {
        let staged = self.store().volumes().stage().map_err(volume_error)?;
        unpack(archive, &Root::open(staged.data()).map_err(store_error)?, name)?;
        let row = volume_row(name, false, wish);
        self.store().volumes().adopt(staged, &row).map_err(volume_error)?;
        self.tell_volume("create", name, &[]);
        self.volume_view(row)
    }

    /// Into a volume that is there, and that containers may have: its directory stays. What comes is
    /// unpacked in a directory in it, since it may be a file system of its own, and moved up when it is
    /// whole.
    fn pour(&self, name: &str, archive: impl Read + Send) -> Result<(), EngineError> {
        let dir = self.paths().volume(name);
        // Under this one a new container fills an empty volume.
        let _own = lock(&dir)?;
        let tree = self.volume_tree(name)?;
        let _top = lock_top(&tree, name)?;
        clear_top(&tree, name)?;
        // The next container would move the image's files in beside the archive's.
        forget(&dir)?;
        let partial = PathBuf::from(format!("{PARTIAL}{}", random::volume_name()?));
        tree.mkdir(&partial, Mode::RWXU).map_err(store_error)?;
        let poured = fill(&tree, &partial, name, archive);
        let cleared = tree.remove_tree(&partial).map_err(store_error);
        let (accessed, modified) = poured?;
        cleared?;
        tree.set_times("", accessed, modified).map_err(store_error)?;
        flush(&tree, name)
    }
}

/// When the volume's own directory was read and changed, as the archive has it. To move its entries up
/// changes both directories, and so does to remove the lower one.
type Times = (Timespec, Timespec);

fn fill(
    tree: &Root,
    partial: &Path,
    name: &str,
    archive: impl Read + Send,
) -> Result<Times, EngineError> {
    let from = tree.open_dir(partial).map_err(store_error)?;
    // What the archive says nothing of stays as it is.
    store::tree::copy_root(tree, &from).map_err(store_error)?;
    unpack(archive, &from, name)?;
    let top = from.metadata("").map_err(store_error)?;
    flush(tree, name)?;
    for entry in from.read_dir("").map_err(store_error)? {
        let entry = OsStr::from_bytes(entry.name.to_bytes());
        tree.rename_new(partial.join(entry), entry).map_err(store_error)?;
    }
    store::tree::copy_root(&from, tree).map_err(store_error)?;
    let accessed = i64::try_from(top.st_atime_nsec).unwrap_or(0);
    let modified = i64::try_from(top.st_mtime_nsec).unwrap_or(0);
    Ok((
        Timespec { tv_sec: top.st_atime, tv_nsec: accessed },
        Timespec { tv_sec: top.st_mtime, tv_nsec: modified },
    ))
}

fn flush(tree: &Root, name: &str) -> Result<(), EngineError> {
    let top = tree.open_file("", OFlags::RDONLY | OFlags::DIRECTORY).map_err(store_error)?;
    rustix::fs::syncfs(top)
        .map_err(|errno| EngineError::file("flush the file system of", name)(errno.into()))
}

/// Keeps other imports out for as long as it lives, those by another volume's name as well: two may be
/// one directory of the host.
///
/// Who has the volume in a container can hold this lock as well, and not every file system has it.
fn lock_top(tree: &Root, name: &str) -> Result<OwnedFd, EngineError> {
    let top = tree.open_file("", OFlags::RDONLY | OFlags::DIRECTORY).map_err(store_error)?;
    match rustix::fs::flock(&top, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(top),
        Err(Errno::WOULDBLOCK) => Err(EngineError::Invalid(format!(
            "volume {name}: somebody holds a lock on it: another import, as a rule"
        ))),
        Err(errno) => Err(EngineError::file("lock the volume", name)(errno.into())),
    }
}

/// Refuses a volume with something in it, but for what imports have left that were killed.
fn clear_top(tree: &Root, name: &str) -> Result<(), EngineError> {
    let there = tree.read_dir("").map_err(store_error)?;
    if !there.iter().all(|entry| is_partial(entry.name.to_bytes())) {
        return Err(EngineError::Invalid(format!(
            "volume {name} is not empty: empty it, or import under another name"
        )));
    }
    for entry in there {
        tree.remove_tree(OsStr::from_bytes(entry.name.to_bytes())).map_err(store_error)?;
    }
    Ok(())
}

fn is_partial(name: &[u8]) -> bool {
    let drawn = name.strip_prefix(PARTIAL.as_bytes()).unwrap_or_default();
    drawn.len() == 64 && drawn.iter().all(u8::is_ascii_hexdigit)
}

/// A volume may be larger than an image, and of zeros.
const LIMITS: Limits = Limits { bytes: i64::MAX as u64, ratio: u64::MAX, entries: u64::MAX };

fn unpack(archive: impl Read + Send, tree: &Root, name: &str) -> Result<(), EngineError> {
    let privilege =
        if sys::rootless::is_nested() { Privilege::UserNamespace } else { Privilege::Host };
    let options = MergeOptions {
        apply: ApplyOptions { limits: LIMITS, privilege, law: Law::Volume },
        at: Vec::new(),
        shown: PathBuf::from(name),
        rename: None,
        ids: None,
        owners: Owners::Archived,
        clash: Clash::Replace,
    };
    // Those of the archive are all that there are.
    tree.remove_xattr("", c"system.posix_acl_default").map_err(store_error)?;
    store::layer::merge(archive, tree, &options).map(drop).map_err(store_error)
}
