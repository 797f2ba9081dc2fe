//! `--volumes-from`: mounts that a new container takes over from others.

use std::path::Path;

use model::NameOrId;
use model::container::FilesSpec;
use model::mount::{Access, CopyUp, MountSource, clean_target};

use crate::container::Container;
use crate::record::{Filling, NamedMount};
use crate::{Engine, EngineError};

impl Engine {
    /// The mounts of the containers that are named, those first that are named last. Whether they
    /// run does not matter.
    ///
    /// # Errors
    /// One of them does not exist.
    pub(crate) fn inherited(&self, files: &FilesSpec) -> Result<Vec<NamedMount>, EngineError> {
        let mut mounts: Vec<NamedMount> = Vec::new();
        for wish in &files.volumes_from {
            let (name, mode) = wish.split_once(':').unwrap_or((wish, ""));
            let access = if mode.split(',').any(|word| word == "ro") {
                Wished::ReadOnly
            } else {
                Wished::AsThere
            };
            let container = match self.find(&NameOrId::new(name)) {
                // Clients take "not found" for a missing image, and pull.
                Err(error @ EngineError::NoSuchContainer(_)) => {
                    return Err(EngineError::Invalid(error.to_string()));
                }
                found => found?,
            };
            for mount in of(&container, access) {
                mounts.retain(|there| there.mount.target != mount.mount.target);
                mounts.push(mount);
            }
        }
        Ok(mounts)
    }
}

/// What the user says about writing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wished {
    /// What the other container cannot write, this one cannot either.
    AsThere,
    ReadOnly,
}

/// Docker leaves `--tmpfs` out, but not a tmpfs of `--mount`.
fn of(container: &Container, access: Wished) -> impl Iterator<Item = NamedMount> + '_ {
    let record = &container.record;
    let is_typed = move |target: &Path| {
        record.spec.files.tmpfs.keys().any(|typed| clean_target(typed).as_deref() == Some(target))
    };
    record.mounts.iter().filter(move |mount| !is_typed(&mount.mount.target)).map(move |mount| {
        let mut mount = mount.clone();
        if access == Wished::ReadOnly {
            mount.mount.access = Access::ReadOnly;
        }
        mount.filling = Filling::Done;
        // It has what the other container's image had there.
        if let MountSource::Volume { copy_up, .. } = &mut mount.mount.source {
            *copy_up = CopyUp::Never;
        }
        mount
    })
}

/// All mounts of a container: its own, and those inherited where it has none. A volume that only the
/// image asks for gives way.
pub(crate) fn joined(
    own: Vec<NamedMount>,
    inherited: Vec<NamedMount>,
    files: &FilesSpec,
) -> Vec<NamedMount> {
    let is_users = |target: &Path| files.mounts.iter().any(|mount| mount.target == target);
    let inherited: Vec<NamedMount> =
        inherited.into_iter().filter(|mount| !is_users(&mount.mount.target)).collect();
    let gives_way =
        |mount: &NamedMount| inherited.iter().any(|other| other.mount.target == mount.mount.target);
    let mut all: Vec<NamedMount> = own.into_iter().filter(|mount| !gives_way(mount)).collect();
    all.extend(inherited);
    all.sort_by(|a, b| a.mount.target.cmp(&b.mount.target));
    all
}
