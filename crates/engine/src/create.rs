//! `create`: a specification becomes a row, its volumes are made and filled.

use model::container::{ContainerSpec, Removal, Source};
use model::image::RunConfig;
use model::mount::{MissingSource, Mount, MountSource};
use model::{ContainerId, ContainerName, ImageId};
use store::ContainerRow;
use sys::failpoint::Point;

use crate::container::{Container, OpLock, durability, now, to_json};
use crate::image_mount::images;
use crate::inherit::joined;
use crate::record::{Filling, NamedMount, Progress, Record};
use crate::resolve::resolve;
use crate::view::Created;
use crate::volume_source::check_options;
use crate::{Engine, EngineError, limits, names, processors, random, rootless, systemd};

/// How often a taken generated name is drawn again before the short id serves.
const NAME_TRIES: usize = 6;

impl Engine {
    /// Makes a container; nothing runs yet.
    ///
    /// Its name is reserved before anything slow happens, and given back if the making fails.
    ///
    /// # Errors
    /// The image is not here, the name is taken, a bind's source is missing, or the image's
    /// configuration makes no sense.
    pub fn create(&self, mut spec: ContainerSpec) -> Result<Created, EngineError> {
        // What the dead have left is in nobody's way; if it cannot be removed now, it is later.
        let _ = self.reconcile_if_needed();
        let id = random::container_id()?;
        processors::check(&spec.limits)?;
        self.check_profile(&spec.security)?;
        rootless::check(&spec)?;
        self.slice_for(spec.limits.cgroup_parent.as_deref())?;
        self.check_attachments(&spec.network.attachments)?;
        self.pin_joined(&mut spec)?;
        let mut warnings = limits::settle(self.hierarchies().ok(), &mut spec.limits)?;
        let (image, config) = self.image_config(&spec.source)?;
        let resolved = resolve(&id, &spec, &config, &self.host_name())?;
        check_sources(&resolved.mounts)?;
        let inherited = self.inherited(&spec.files)?;
        let mounts = joined(self.named_mounts(&resolved.mounts)?, inherited, &spec.files);
        check_volumes(&mounts)?;
        let has_volumes = mounts.iter().any(|mount| mount.volume.is_some());
        let progress = if has_volumes { Progress::Creating } else { Progress::Ready };
        let mut record = Record { spec, resolved, image, mounts, progress, labels: None };
        warnings.extend(systemd::settle(&mut record)?);
        warnings.extend(self.firewall_warnings(&record)?);
        self.check_links(&record)?;
        EngineError::step(Point::CreateResolved)?;
        self.free_name(&record)?;
        record.labels = self.draw_labels(&id, &record.spec)?;
        let labels = record.labels.clone();
        let made = self.insert(id, record);
        let (mut container, making) = made.inspect_err(|_| {
            self.free_labels(&id, labels.as_ref());
            self.remove_lock(&id);
        })?;
        EngineError::step(Point::CreateRow)?;
        if has_volumes {
            self.finish_volumes(&mut container)?;
        }
        // Before anybody else can start or remove it.
        self.tell(&container, "create", &[]);
        drop(making);
        Ok(Created { id, warnings })
    }

    /// Draws names for anonymous volumes, and finds the images that are mounted.
    pub(crate) fn named_mounts(&self, mounts: &[Mount]) -> Result<Vec<NamedMount>, EngineError> {
        let name = |source: &MountSource| match source {
            MountSource::Volume { name: Some(name), .. } => Ok(Some(name.clone())),
            MountSource::Volume { name: None, .. } => random::volume_name().map(Some),
            MountSource::Bind { .. } | MountSource::Image { .. } | MountSource::Tmpfs { .. } => {
                Ok(None)
            }
        };
        let named = |mount: &Mount| {
            let volume = name(&mount.source)?;
            let image = self.image_of_mount(&mount.source)?;
            Ok(NamedMount { mount: mount.clone(), volume, image, filling: Filling::Done })
        };
        mounts.iter().map(named).collect()
    }

    fn image_config(&self, source: &Source) -> Result<(Option<ImageId>, RunConfig), EngineError> {
        match source {
            Source::Image(name) => {
                let image = self.image(name)?;
                Ok((Some(image.id), image.config.config))
            }
            Source::Directory(path) | Source::DirectoryOverlay(path) => {
                if !path.is_dir() {
                    let path = path.display();
                    return Err(EngineError::Invalid(format!("rootfs {path}: no such directory")));
                }
                Ok((None, RunConfig::default()))
            }
        }
    }

    /// The row, and its lock: whoever sees a half-made container without it takes it for garbage.
    fn insert(
        &self,
        id: ContainerId,
        record: Record,
    ) -> Result<(Container, Option<OpLock>), EngineError> {
        let given = record.spec.name.clone();
        let mut row = ContainerRow {
            id,
            name: given.clone().map_or_else(|| generated_name(&id, 0), Ok)?,
            image: record.image,
            created_ns: i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX),
            auto_remove: record.spec.removal == Removal::Auto,
            record: to_json(&record),
        };
        let mounted = images(&record.mounts);
        let mut making = None;
        for attempt in 1.. {
            let with = || {
                making = Some(self.make_locked(&id)?);
                Ok(())
            };
            match self.store().containers().insert_with(&row, &mounted, durability(&row), with) {
                Ok(()) => break,
                Err(EngineError::NameTaken { .. }) if given.is_none() => {
                    row.name = generated_name(&id, attempt)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((Container { id, row, record }, making))
    }

    /// Fills the volumes of a container whose row is there; takes the row back if that fails.
    fn finish_volumes(&self, container: &mut Container) -> Result<(), EngineError> {
        let made = self.make_volumes(container);
        if let Err(error) = made {
            self.discard(container)?;
            return Err(error);
        }
        EngineError::step(Point::CreateFilled)?;
        container.record.progress = Progress::Ready;
        self.save(container)?;
        EngineError::step(Point::CreateReady)
    }
}

fn generated_name(id: &ContainerId, attempt: usize) -> Result<ContainerName, EngineError> {
    let text = if attempt < NAME_TRIES { names::name(random::number()?) } else { id.short() };
    text.parse()
        .map_err(|error: model::id::BadContainerName| EngineError::Invalid(error.to_string()))
}

/// `--mount type=bind` refuses a source that is not there; `-v` makes it at start.
pub(crate) fn check_sources(mounts: &[Mount]) -> Result<(), EngineError> {
    for mount in mounts {
        match &mount.source {
            MountSource::Bind { path, missing: MissingSource::Refuse, .. } if !path.exists() => {
                return Err(EngineError::NoBindSource(path.clone()));
            }
            MountSource::Bind { .. }
            | MountSource::Volume { .. }
            | MountSource::Image { .. }
            | MountSource::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

/// Options that the driver does not have are refused before anything is made.
pub(crate) fn check_volumes(mounts: &[NamedMount]) -> Result<(), EngineError> {
    mounts.iter().try_for_each(|mount| match (&mount.volume, &mount.mount.source) {
        (Some(name), MountSource::Volume { wish, .. }) => check_options(name, &wish.options),
        _ => Ok(()),
    })
}
