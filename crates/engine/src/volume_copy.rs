//! `volume clone`: what is in a volume, in another one.
//!
//! Also how the files of a volume are had by whoever reads all of them, and who stands still meanwhile.

use model::mount::VolumeWish;
use store::tree::{Copied, copy_tree};
use sys::root::Root;

use crate::commit::Frozen;
use crate::error::VolumeConflict;
use crate::prepare::store_error;
use crate::view::{Freezing, VolumeView};
use crate::volume::{ANONYMOUS_LABEL, check_name, volume_error, volume_row};
use crate::volume_source::VolumeFiles;
use crate::{Engine, EngineError};

impl Engine {
    /// Makes a volume that has what another one has: its files, and its labels. It is a directory of
    /// its own, whatever the other one's options say.
    ///
    /// # Errors
    /// There is none, or one of the new name; its files cannot be read.
    pub fn volume_clone(
        &self,
        from: &str,
        to: &str,
        freezing: Freezing,
    ) -> Result<(VolumeView, Copied), EngineError> {
        check_name(to)?;
        let row = self.store().volumes().get(from)?;
        let row = row.ok_or_else(|| EngineError::NoSuchVolume(from.to_owned()))?;
        if self.store().volumes().get(to)?.is_some() {
            return Err(VolumeConflict::Taken(to.to_owned()).into());
        }
        let source = self.volume_tree(from)?;
        let _whole = self.read_whole(&source, from)?;
        let staged = self.store().volumes().stage().map_err(volume_error)?;
        let copy = Root::open(staged.data()).map_err(store_error)?;
        let still = self.freeze_users(from, freezing)?;
        let copied = copy_tree(&source, &copy);
        // They go on, whatever came of it.
        drop(still);
        let copied = copied.map_err(store_error)?;
        let mut wish = VolumeWish { labels: row.labels, ..VolumeWish::default() };
        wish.labels.remove(ANONYMOUS_LABEL);
        let made = volume_row(to, false, wish);
        self.store().volumes().adopt(staged, &made).map_err(volume_error)?;
        self.tell_volume("create", to, &[]);
        Ok((self.volume_view(made)?, copied))
    }

    /// The files of a volume, to be read from their root.
    pub(crate) fn volume_tree(&self, name: &str) -> Result<Root, EngineError> {
        match self.volume_files(name, None)? {
            VolumeFiles::Directory(path) => Root::open(path).map_err(store_error),
            VolumeFiles::Tree(tree) => Ok(Root::from_fd(tree)),
            VolumeFiles::Memory(_) => Err(EngineError::Invalid(format!(
                "volume {name} is memory, and no container runs that has it: there is nothing in it"
            ))),
        }
    }

    /// Keeps all containers that use a volume, and run, from writing.
    pub(crate) fn freeze_users(
        &self,
        name: &str,
        freezing: Freezing,
    ) -> Result<Vec<Frozen<'_>>, EngineError> {
        let mut still = Vec::new();
        if freezing == Freezing::No {
            return Ok(still);
        }
        for id in self.store().volumes().users(name)? {
            let container = match self.reread(&id) {
                // Removed since.
                Err(EngineError::NoSuchContainer(_)) => continue,
                container => container?,
            };
            if !self.life(&container)?.is_running() {
                continue;
            }
            // It was asked for by name: to read on as if nothing were is not what was wished.
            if self.group_of(&container).is_ok_and(|group| !group.hierarchies().is_delegated()) {
                return Err(EngineError::Invalid(format!(
                    "container {} cannot be paused: there are no control groups for that here",
                    container.name()
                )));
            }
            still.extend(self.freeze(&container, freezing)?);
        }
        Ok(still)
    }
}
