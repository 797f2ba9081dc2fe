//! `volume export` and `volume import`: a volume as an archive.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use model::mount::VolumeWish;
use rustix::fs::{Mode, Timespec};
use store::layer::{
    ApplyOptions, Clash, Compression, Encoder, Holes, Law, Limits, MergeOptions, Owners,
    PackOptions, Part, Privilege,
};
use sys::root::Root;

use crate::fill::{forget, lock};
use crate::prepare::store_error;
use crate::view::{Freezing, VolumeView};
use crate::volume::{check_name, volume_error, volume_row};
use crate::volume_filling::{Times, begin, flush, is_noted, note_whole, settle};
use crate::volume_source::check_options;
use crate::{Engine, EngineError};

/// What the archive has as the volume's own directory.
const ROOT: &[u8] = b"./";

impl Engine {
    /// Whether a volume can be exported: what is wrong is said before the archive begins.
    ///
    /// # Errors
    /// There is none, or its files cannot be had, or an import fills it.
    pub fn volume_can_export(&self, name: &str) -> Result<(), EngineError> {
        self.volume_inspect(name)?;
        let tree = self.volume_tree(name)?;
        self.read_whole(&tree, name).map(drop)
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
        let _whole = self.read_whole(&tree, name)?;
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
                self.pour(name, archive).inspect_err(|_| self.give_up_import(name))?;
                Ok(made)
            }
        }
    }

    /// Removes what an import has made that has failed.
    fn give_up_import(&self, name: &str) {
        // What is whole has only to be moved up, by whoever comes next.
        if !is_noted(&self.paths().volume(name)) {
            // The first error is the one to tell.
            let _ = self.volume_remove(name);
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
        let tree = self.volume_tree(name)?;
        let _alone = self.fill_alone(&tree, name)?;
        // Under this one a new container fills an empty volume.
        let own = lock(&dir)?;
        settle(&tree, &own, name)?;
        check_empty(&tree, name)?;
        // The next container would move the image's files in beside the archive's.
        forget(&dir)?;
        let partial = begin(&own, name)?;
        tree.mkdir(&partial, Mode::RWXU).map_err(store_error)?;
        let poured = fill(&tree, &partial, name, archive)
            .and_then(|times| note_whole(&own, name, &partial, times));
        let settled = settle(&tree, &own, name);
        // What went wrong with files that nobody has any more is no error of theirs.
        self.check_same(name, &own)?;
        poured.and(settled)
    }
}

/// All of it, and on disk.
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
    let accessed = i64::try_from(top.st_atime_nsec).unwrap_or(0);
    let modified = i64::try_from(top.st_mtime_nsec).unwrap_or(0);
    Ok(Times {
        accessed: Timespec { tv_sec: top.st_atime, tv_nsec: accessed },
        modified: Timespec { tv_sec: top.st_mtime, tv_nsec: modified },
    })
}

/// Refuses a volume with something in it.
fn check_empty(tree: &Root, name: &str) -> Result<(), EngineError> {
    if tree.read_dir("").map_err(store_error)?.is_empty() {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "volume {name} is not empty: empty it, or import under another name"
    )))
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
