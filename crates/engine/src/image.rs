//! Images: what is here, under which names.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{ContainerId, Digest, ImageId, Reference};
use store::images::{Force, ImageRecord, Removed, ResolveError, TagError};

use crate::inspect::timestamp;
use crate::prepare::store_error;
use crate::view::{HistoryView, ImageRemoval, ImageRemoveMode, ImageView};
use crate::{Engine, EngineError};

impl Engine {
    /// The image that a text means.
    pub(crate) fn image(&self, typed: &str) -> Result<ImageRecord, EngineError> {
        self.store().images().resolve(typed).map_err(resolve_error)
    }

    /// The id of the image that a text means now; `None` if there is none.
    pub(crate) fn image_id(&self, typed: &str) -> Result<Option<ImageId>, EngineError> {
        match self.store().images().resolve_id(typed).map_err(resolve_error) {
            Ok(id) => Ok(Some(id)),
            Err(EngineError::NoSuchImage(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every image, newest first.
    ///
    /// # Errors
    /// The database.
    pub fn image_list(&self) -> Result<Vec<ImageView>, EngineError> {
        let uses = self.store().containers().counts()?;
        let used = |id: &ImageId| uses.get(id).copied().unwrap_or_default();
        let view = |image: ImageRecord| {
            let containers = used(&image.id);
            image_view(image, containers)
        };
        Ok(self.store().images().list()?.into_iter().map(view).collect())
    }

    /// One image.
    ///
    /// # Errors
    /// There is none, or the text is no reference.
    pub fn image_inspect(&self, typed: &str) -> Result<ImageView, EngineError> {
        let image = self.image(typed)?;
        let uses = self.store().containers().counts()?;
        let containers = uses.get(&image.id).copied().unwrap_or_default();
        let parent = self.parent(&image)?;
        Ok(ImageView { parent, ..image_view(image, containers) })
    }

    /// What an image says of its parent was said where it was made: that one may never have been here.
    fn parent(&self, image: &ImageRecord) -> Result<Option<ImageId>, EngineError> {
        let said = image.config.parent.as_deref().and_then(|text| text.parse::<Digest>().ok());
        let Some(parent) = said.map(ImageId) else { return Ok(None) };
        Ok(self.image_id(&parent.to_string())?.filter(|found| *found == parent))
    }

    /// How an image came to be, newest step first.
    ///
    /// # Errors
    /// There is no such image.
    pub fn image_history(&self, typed: &str) -> Result<Vec<HistoryView>, EngineError> {
        let image = self.image(typed)?;
        let view = |entry: store::images::HistoryEntry| HistoryView {
            id: entry.id,
            created: entry.created.and_then(|text| text.parse().ok()),
            created_by: entry.created_by,
            comment: entry.comment,
            size: entry.size,
            tags: entry.tags,
        };
        Ok(store::images::history(&image).into_iter().map(view).collect())
    }

    /// Gives an image one more name; takes it from the image that has it.
    ///
    /// # Errors
    /// There is no such image.
    pub fn image_tag(&self, typed: &str, name: &Reference) -> Result<(), EngineError> {
        let image = self.image(typed)?;
        match self.store().images().tag(&image.id, &name.clone().with_default_tag()) {
            Ok(_) => {
                let name = name.clone().with_default_tag().familiar();
                self.tell_image("tag", image.id.to_string(), &[("name", name)]);
                Ok(())
            }
            Err(TagError::NoSuchImage(id)) => Err(EngineError::image_gone(id)),
            Err(error @ TagError::Ambiguous(_)) => Err(EngineError::Invalid(error.to_string())),
            Err(TagError::NotATag(name)) => Err(EngineError::Invalid(format!(
                "refusing to create a tag with a digest reference: {name}"
            ))),
            Err(error @ (TagError::Index(_) | TagError::Db(_))) => Err(store_error(error)),
        }
    }

    /// Removes a name, and the image with its last one.
    ///
    /// # Errors
    /// There is none, or it is needed.
    pub fn image_remove(
        &self,
        typed: &str,
        mode: ImageRemoveMode,
    ) -> Result<Vec<ImageRemoval>, EngineError> {
        use store::images::RemoveError as E;
        let force = match mode {
            ImageRemoveMode::Careful => Force::No,
            ImageRemoveMode::Force => Force::Yes,
        };
        let id = self.image_id(typed)?;
        let removed = self.store().images().remove(typed, force, &self.running()?);
        let removed = removed.map_err(|error| match error {
            E::Resolve(error) => resolve_error(error),
            conflict @ (E::Referenced { .. }
            | E::Stopped { .. }
            | E::Running { .. }
            | E::ManyNames(_)) => EngineError::ImageInUse(Box::new(conflict)),
            other @ (E::Index(_) | E::Collect(_) | E::Trash(_) | E::Db(_)) => store_error(other),
        })?;
        if let Some(id) = id {
            self.tell_removed(&id, &removed);
        }
        let view = |removed| match removed {
            Removed::Untagged(name) => ImageRemoval::Untagged(name),
            Removed::Deleted(digest) => ImageRemoval::Deleted(digest),
        };
        Ok(removed.into_iter().map(view).collect())
    }

    fn tell_removed(&self, id: &ImageId, removed: &[Removed]) {
        let image = id.to_string();
        for step in removed {
            let action = match step {
                Removed::Untagged(_) => "untag",
                Removed::Deleted(digest) if digest.to_string() == image => "delete",
                Removed::Deleted(_) => continue,
            };
            self.tell_image(action, image.clone(), &[("name", image.clone())]);
        }
    }

    fn running(&self) -> Result<BTreeSet<ContainerId>, EngineError> {
        let mut running = BTreeSet::new();
        for row in self.store().containers().list()? {
            let id = row.id;
            // One that is guarded may run.
            if self.life_of_row(row)?.is_none_or(|life| life.is_up()) {
                running.insert(id);
            }
        }
        Ok(running)
    }
}

fn image_view(image: ImageRecord, containers: u64) -> ImageView {
    let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
    ImageView {
        id: image.id,
        tags: familiar(&image.tags),
        digests: familiar(&image.repo_digests),
        created: created(&image),
        size: image.size(),
        packed: image.packed(),
        manifest: image.manifest,
        manifest_type: image.manifest_type,
        manifest_size: image.manifest_size,
        containers,
        tagged: Some(timestamp(image.added_ns)),
        config: image.config,
        parent: None,
    }
}

fn created(image: &ImageRecord) -> Option<Timestamp> {
    (image.created_ns != 0).then(|| timestamp(image.created_ns))
}

pub(crate) fn resolve_error(error: ResolveError) -> EngineError {
    match error {
        ResolveError::NotFound(name) => EngineError::NoSuchImage(name),
        ResolveError::Ambiguous(_) => EngineError::Invalid(error.to_string()),
        ResolveError::Invalid(error) => error.into(),
        ResolveError::Db(error) => error.into(),
    }
}
