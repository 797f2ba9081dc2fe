//! Mounts of a container that runs: what an update adds is mounted into it, in the container's mount
//! namespace. Not owned: how mounts go (`unmount`).

use model::mount::{Ids, MountSource};
use runtime::Later;
use shim::protocol::NamespaceKind;
use sys::failpoint::Point;

use super::MountChanges;
use super::mounts::{At, MountPlan, plan};
use crate::bundle::{self, AttachedMount};
use crate::container::{Container, to_json};
use crate::container_files::{Files, with_live_files};
use crate::create::{check_sources, check_volumes};
use crate::idmap::{IdMapped, Owner, ids_of, showing};
use crate::image_mount::images;
use crate::join::{Init, LiveFiles};
use crate::record::NamedMount;
use crate::trees::{has_host_ids, note, tree};
use crate::userns::Users;
use crate::{Engine, EngineError};

/// A container that runs.
pub(super) struct Live {
    init: Init,
    pub(super) files: LiveFiles,
}

impl Engine {
    /// What an update does to the mounts; what they need on the host is there.
    pub(super) fn plan_mounts(
        &self,
        container: &Container,
        changes: &MountChanges,
        at: At,
    ) -> Result<MountPlan, EngineError> {
        check_sources(&changes.add)?;
        let new = self.named_mounts(&changes.add)?;
        check_volumes(&new)?;
        plan(&container.record, &changes.rm, new, at)
            .map_err(|source| EngineError::Update { id: container.id, source })
    }

    /// Saves the record, and with it which volumes the container uses; returns the names of those
    /// that were made.
    pub(super) fn save_with_volumes(
        &self,
        container: &Container,
        added: &[NamedMount],
        unused: &[String],
    ) -> Result<Vec<String>, EngineError> {
        let json = to_json(&container.record);
        let images = images(&container.record.mounts);
        self.rewire_volumes(&container.id, &json, (added, unused), &images)
    }

    /// Mounts what is new, if the container runs; its volumes are filled in any case.
    pub(super) fn mount_added(
        &self,
        container: &mut Container,
        plan: &MountPlan,
    ) -> Result<(), EngineError> {
        if plan.added.is_empty() {
            return Ok(());
        }
        self.fill_due(container)?;
        let Some(live) = self.live(container)? else { return Ok(()) };
        let made = plan.added.iter().map(|mount| self.prepare_mount(container, &live, mount));
        let made = made.collect::<Result<Vec<_>, _>>()?;
        for (mount, later) in plan.added.iter().zip(&made) {
            let target = &mount.mount.target;
            let noted = note(target, later).map_err(|errno| {
                EngineError::file("look at the mount for", target)(errno.into())
            })?;
            if let Some(start) = container.record.last_start_mut() {
                // Whatever had the number before is gone.
                start.mounted.retain(|old| old.id != noted.id && old.target != noted.target);
                start.mounted.push(noted);
            }
        }
        // Before any is mounted: what is there can be taken away again.
        self.save(container)?;
        EngineError::step(Point::UpdateNoted)?;
        let id = container.id;
        let refused =
            |error: runtime::LaunchError| EngineError::Unmountable { id, what: error.to_string() };
        with_live_files(container, &live.files, |files| {
            made.iter().try_for_each(|later| later.attach(files.root).map_err(refused))
        })
    }

    /// The container, if it runs.
    pub(super) fn live(&self, container: &Container) -> Result<Option<Live>, EngineError> {
        if self.life(container)?.pid().is_none() {
            return Ok(None);
        }
        let init = match self.init_of(container) {
            // It has ended meanwhile.
            Err(EngineError::NotRunning(_)) => return Ok(None),
            init => init?,
        };
        let files = init.files()?;
        Ok(Some(Live { init, files }))
    }

    /// Who a container that runs is, for a mount that is to be that user's.
    fn live_user(
        &self,
        container: &Container,
        live: &Live,
        source: &MountSource,
    ) -> Result<Owner, EngineError> {
        if *ids_of(source) != Ids::Owner {
            return Ok(Owner { uid: 0, gid: 0 });
        }
        let name = &container.record.resolved.user;
        let user = |files: Files<'_>| self.user_in(files.root, name, &[]);
        let user = with_live_files(container, &live.files, user)?;
        Ok(Owner { uid: user.uid, gid: user.gid })
    }

    /// One mount with all its attributes, attached nowhere.
    fn prepare_mount(
        &self,
        container: &Container,
        live: &Live,
        named: &NamedMount,
    ) -> Result<Later, EngineError> {
        let users = live.users(container)?;
        let mut ready = Vec::new();
        let source = self.mount_source(&container.id, users.as_ref(), named, &mut ready)?;
        let attached = AttachedMount { wish: named.mount.clone(), source };
        let mount = bundle::user_mount(&attached)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        let user = self.live_user(container, live, &named.mount.source)?;
        let range = users.as_ref().map(|users| users.map);
        let attached = [attached];
        let own = IdMapped::of(&attached, &ready, user, range)?;
        let stays = attached.iter().filter(|mount| has_host_ids(mount));
        let stays = stays.map(|mount| mount.wish.target.as_path()).collect();
        let shown = showing(&own, users.as_ref(), stays)(&named.mount.target);
        let source = match named.mount.source {
            MountSource::Tmpfs { .. } => None,
            MountSource::Bind { .. } | MountSource::Volume { .. } | MountSource::Image { .. } => {
                Some(tree(&mount, ready.pop().map(|(_, tree)| tree), shown)?)
            }
        };
        Later::prepare(&mount, source, users.as_ref().map(|users| users.map))
            .map_err(|error| EngineError::Unmountable { id: container.id, what: error.to_string() })
    }
}

impl Live {
    /// Its user namespace; `None` for the host's.
    fn users(&self, container: &Container) -> Result<Option<Users>, EngineError> {
        use model::container::UserNamespace;
        match (container.record.spec.security.userns, self.files.ids) {
            (UserNamespace::Host, _) | (UserNamespace::Auto, None) => Ok(None),
            (UserNamespace::Auto, Some(map)) => {
                let user = self.init.namespace(NamespaceKind::User)?;
                Ok(Some(Users { map, user, net: None }))
            }
        }
    }
}
