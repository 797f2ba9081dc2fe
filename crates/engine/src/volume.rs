//! Volumes: named and anonymous directories that outlive containers.

use std::collections::BTreeMap;

use model::id::is_plain_name;
use model::mount::{MountSource, VolumeWish};
use model::{ContainerId, ImageId};
use store::{Rewired, VolumeRow, VolumeRowError};
use sys::failpoint::Point;

use crate::container::{Container, now};
use crate::error::VolumeConflict;
use crate::inspect::timestamp;
use crate::prepare::store_error;
use crate::record::NamedMount;
use crate::view::VolumeView;
use crate::volume_source::check_options;
use crate::{Engine, EngineError, random};

/// The only driver.
pub(crate) const DRIVER: &str = "local";
/// Docker's mark of a volume that nobody named.
pub(crate) const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

impl Engine {
    /// Makes a volume, or finds the one of that name.
    ///
    /// # Errors
    /// The name is outside the grammar; an option that `local` does not have.
    pub fn volume_create(
        &self,
        name: Option<String>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeView, EngineError> {
        let anonymous = name.is_none();
        let name = name.map_or_else(random::volume_name, Ok)?;
        check_name(&name)?;
        check_options(&name, &options)?;
        let wish = volume_row(&name, anonymous, VolumeWish { labels, options });
        let row = self.store().volumes().ensure(&wish).map_err(volume_error)?;
        self.tell_made(&[wish], std::slice::from_ref(&row));
        self.volume_view(row)
    }

    /// Makes a volume that is the caller's alone so far.
    ///
    /// # Errors
    /// There is one of that name: somebody may have made it a moment ago.
    pub(crate) fn volume_make(
        &self,
        name: &str,
        wish: VolumeWish,
    ) -> Result<VolumeView, EngineError> {
        let wish = volume_row(name, false, wish);
        let row = self.store().volumes().ensure(&wish).map_err(volume_error)?;
        if self.tell_made(&[wish], std::slice::from_ref(&row)).is_empty() {
            return Err(VolumeConflict::Taken(name.to_owned()).into());
        }
        self.volume_view(row)
    }

    /// Every volume, by name.
    ///
    /// # Errors
    /// The database.
    pub fn volumes(&self) -> Result<Vec<VolumeView>, EngineError> {
        self.store().volumes().list()?.into_iter().map(|row| self.volume_view(row)).collect()
    }

    /// One volume.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn volume_inspect(&self, name: &str) -> Result<VolumeView, EngineError> {
        match self.store().volumes().get(name)? {
            Some(row) => self.volume_view(row),
            None => Err(EngineError::NoSuchVolume(name.to_owned())),
        }
    }

    /// Removes a volume that no container uses.
    ///
    /// # Errors
    /// It is used, or there is none.
    pub fn volume_remove(&self, name: &str) -> Result<(), EngineError> {
        self.store().volumes().remove(name).map_err(volume_error)?;
        self.tell_volume("destroy", name, &[]);
        Ok(())
    }

    /// Gives a volume labels and takes some away.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn volume_update(
        &self,
        name: &str,
        add: BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<VolumeView, EngineError> {
        let row = self.store().volumes().relabel(name, |labels| {
            labels.retain(|label, _| !remove.contains(label));
            labels.extend(add);
        });
        let row = row.map_err(volume_error)?;
        self.tell_volume("update", name, &[]);
        self.volume_view(row)
    }

    pub(crate) fn volume_view(&self, row: VolumeRow) -> Result<VolumeView, EngineError> {
        Ok(VolumeView {
            mountpoint: self.paths().volume_data(&row.name),
            created: timestamp(row.created_ns),
            used_by: self.store().volumes().users(&row.name)?,
            name: row.name,
            labels: row.labels,
            options: row.options,
        })
    }

    /// Makes a new container's volumes, ties them to it, and fills the empty ones from the image.
    pub(crate) fn make_volumes(&self, container: &Container) -> Result<(), EngineError> {
        let rows: Vec<VolumeRow> = container.record.mounts.iter().filter_map(row_of).collect();
        let used = self.store().volumes().use_by(&container.id, &rows).map_err(volume_error)?;
        self.tell_made(&rows, &used);
        EngineError::step(Point::CreateVolumes)?;
        self.fill_volumes(container)
    }

    /// Replaces a container's record together with the volumes and images that it mounts: those of `added` are
    /// made if they are not there, those of `unused` stay. Returns the names of those that were made.
    pub(crate) fn rewire_volumes(
        &self,
        container: &ContainerId,
        record: &str,
        (added, unused): (&[NamedMount], &[String]),
        images: &[ImageId],
    ) -> Result<Vec<String>, EngineError> {
        let rows: Vec<VolumeRow> = added.iter().filter_map(row_of).collect();
        let mounts = Rewired { added: &rows, unused, images };
        let there = self.store().volumes().rewire(container, record, &mounts);
        Ok(self.tell_made(&rows, &there.map_err(volume_error)?))
    }

    /// Those that were there before are older than the wish. Returns the others' names.
    fn tell_made(&self, wished: &[VolumeRow], there: &[VolumeRow]) -> Vec<String> {
        let is_new = |(wish, row): &(&VolumeRow, &VolumeRow)| wish.created_ns == row.created_ns;
        let made = wished.iter().zip(there).filter(is_new).map(|(_, row)| row.name.clone());
        made.inspect(|name| self.tell_volume("create", name, &[])).collect()
    }
}

/// Docker's words.
pub(crate) fn check_name(name: &str) -> Result<(), EngineError> {
    if is_plain_name(name) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// The volume of a mount, if it is made for it.
fn row_of(mount: &NamedMount) -> Option<VolumeRow> {
    match (&mount.volume, &mount.mount.source) {
        (Some(name), MountSource::Volume { name: given, wish, .. }) => {
            Some(volume_row(name, given.is_none(), wish.clone()))
        }
        _ => None,
    }
}

pub(crate) fn volume_row(name: &str, anonymous: bool, wish: VolumeWish) -> VolumeRow {
    let VolumeWish { mut labels, options } = wish;
    if anonymous {
        labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
    }
    VolumeRow {
        name: name.to_owned(),
        driver: DRIVER.to_owned(),
        anonymous,
        labels,
        options,
        created_ns: i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX),
    }
}

pub(crate) fn volume_error(error: VolumeRowError) -> EngineError {
    match error {
        VolumeRowError::InUse { name, by } => EngineError::VolumeInUse { name, by },
        VolumeRowError::NoSuchVolume(name) => EngineError::NoSuchVolume(name),
        VolumeRowError::NoSuchContainer(id) => EngineError::NoSuchContainer(id.to_string()),
        VolumeRowError::NoSuchImage(id) => EngineError::image_gone(id),
        VolumeRowError::Taken(name) => VolumeConflict::Taken(name).into(),
        VolumeRowError::Db(error) => error.into(),
        error @ (VolumeRowError::Make { .. }
        | VolumeRowError::OtherUsers(_)
        | VolumeRowError::Sweep(_)
        | VolumeRowError::Trash(_)) => store_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;

    /// Whoever takes back what it has made does so with a volume of its own.
    #[test]
    fn a_volume_that_is_there_is_made_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path().join("root"), dir.path().join("run"));
        let engine = Engine::open(paths).unwrap();
        let none = BTreeMap::new;
        engine.volume_create(Some("vol".to_owned()), none(), none()).unwrap();
        let taken = engine.volume_make("vol", VolumeWish::default());
        assert!(matches!(
            taken,
            Err(EngineError::Volume(VolumeConflict::Taken(name))) if name == "vol"
        ));
        assert_eq!(engine.volume_make("new", VolumeWish::default()).unwrap().name, "new");
    }
}
