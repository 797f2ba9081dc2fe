//! Volumes: named and anonymous directories that outlive containers.

use std::collections::BTreeMap;
use std::path::Path;

use model::id::is_plain_name;
use model::mount::{CopyUp, MountSource};
use store::{VolumeRow, VolumeRowError};
use sys::failpoint::Point;

use crate::container::{Container, now};
use crate::inspect::timestamp;
use crate::record::NamedMount;
use crate::view::VolumeView;
use crate::{Engine, EngineError, random};

/// The only driver.
pub(crate) const DRIVER: &str = "local";
/// Docker's mark of a volume that nobody named.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

impl Engine {
    /// Makes a volume, or finds the one of that name.
    ///
    /// # Errors
    /// The name is outside the grammar; options, of which `local` has none here yet.
    pub fn volume_create(
        &self,
        name: Option<String>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeView, EngineError> {
        if let Some(option) = options.keys().next() {
            return Err(EngineError::Invalid(format!(
                "volume option {option:?} is not supported yet"
            )));
        }
        let anonymous = name.is_none();
        let name = name.map_or_else(random::volume_name, Ok)?;
        if !is_plain_name(&name) {
            return Err(EngineError::Invalid(format!(
                "create {name}: {:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
                name
            )));
        }
        let row = self.ensure_volume(&name, anonymous, labels)?;
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
        self.remove_volume_files(name)?;
        self.tell_volume("destroy", name);
        Ok(())
    }

    fn volume_view(&self, row: VolumeRow) -> Result<VolumeView, EngineError> {
        Ok(VolumeView {
            mountpoint: self.paths().volume_data(&row.name),
            created: timestamp(row.created_ns),
            used_by: self.store().volumes().users(&row.name)?,
            name: row.name,
            labels: row.labels,
            options: row.options,
        })
    }

    fn ensure_volume(
        &self,
        name: &str,
        anonymous: bool,
        mut labels: BTreeMap<String, String>,
    ) -> Result<VolumeRow, EngineError> {
        if anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        let data = self.paths().volume_data(name);
        std::fs::create_dir_all(&data).map_err(EngineError::file("make", &data))?;
        if is_empty_dir(&data) {
            crate::prepare::set_mode(&data, 0o755)?;
        }
        EngineError::step(Point::CreateVolumeDir)?;
        let row = VolumeRow {
            name: name.to_owned(),
            driver: DRIVER.to_owned(),
            anonymous,
            labels,
            options: BTreeMap::new(),
            created_ns: i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX),
        };
        let made = row.created_ns;
        let row = self.store().volumes().ensure(&row)?;
        if row.created_ns == made {
            self.tell_volume("create", name);
        }
        EngineError::step(Point::CreateVolumeRow)?;
        Ok(row)
    }

    /// Makes a new container's volumes, ties them to it, and fills the empty ones from the image.
    pub(crate) fn make_volumes(&self, container: &Container) -> Result<(), EngineError> {
        let mut names = Vec::new();
        for mount in &container.record.mounts {
            if let (Some(name), MountSource::Volume { name: given, .. }) =
                (&mount.volume, &mount.mount.source)
            {
                self.ensure_volume(name, given.is_none(), BTreeMap::new())?;
                names.push(name.as_str());
            }
        }
        self.store().volumes().attach(&container.id, &names).map_err(volume_error)?;
        EngineError::step(Point::CreateVolumes)?;
        let empty: Vec<&NamedMount> =
            container.record.mounts.iter().filter(|mount| self.wants_copy_up(mount)).collect();
        if empty.is_empty() { Ok(()) } else { self.copy_up(container, &empty) }
    }

    fn wants_copy_up(&self, mount: &NamedMount) -> bool {
        let wished =
            matches!(mount.mount.source, MountSource::Volume { copy_up: CopyUp::WhenEmpty, .. });
        let is_empty = |name: &String| is_empty_dir(&self.paths().volume_data(name));
        wished && mount.volume.as_ref().is_some_and(is_empty)
    }

    /// Removes a container's anonymous volumes that nobody else uses; called after its row went.
    pub(crate) fn remove_anonymous(&self, candidates: &[VolumeRow]) -> Result<(), EngineError> {
        for volume in candidates.iter().filter(|volume| volume.anonymous) {
            match self.store().volumes().remove(&volume.name) {
                Ok(()) => {
                    EngineError::step(Point::RemoveVolumeRow)?;
                    self.remove_volume_files(&volume.name)?;
                    self.tell_volume("destroy", &volume.name);
                }
                // Another container shares it, or somebody was faster.
                Err(VolumeRowError::InUse { .. } | VolumeRowError::NoSuchVolume(_)) => {}
                Err(VolumeRowError::Db(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn remove_volume_files(&self, name: &str) -> Result<(), EngineError> {
        let data = self.paths().volume_data(name);
        let dir = data.parent().unwrap_or(&data);
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::file("remove", dir)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn volume_error(error: VolumeRowError) -> EngineError {
    match error {
        VolumeRowError::InUse { name, by } => EngineError::VolumeInUse { name, by },
        VolumeRowError::NoSuchVolume(name) => EngineError::NoSuchVolume(name),
        VolumeRowError::Db(error) => error.into(),
    }
}

fn is_empty_dir(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
