//! Mounts of a container that runs: what an update adds is mounted into it, what it takes away is
//! unmounted, each in the container's mount namespace.
//!
//! A mount that goes is known by the number that the kernel has for it, never by where it was mounted:
//! the container may have moved the directories above it, and put others with other mounts in their
//! place.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use model::mount::{Ids, MountSource};
use runtime::Later;
use shim::protocol::NamespaceKind;
use sys::root::{Final, Root};

use super::mounts::{At, MountPlan, plan};
use super::{MountChanges, UpdateError};
use crate::bundle::{self, AttachedMount};
use crate::container::{Container, to_json};
use crate::container_files::{mount_id, with_live_files};
use crate::create::{check_sources, check_volumes};
use crate::image_mount::images;
use crate::join::{Init, LiveFiles};
use crate::mount_table::entries;
use crate::prepare::store_error;
use crate::record::{Mounted, NamedMount};
use crate::trees::tree;
use crate::userns::Users;
use crate::{Engine, EngineError};

/// A container that runs.
struct Live {
    init: Init,
    files: LiveFiles,
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
            let target = mount.mount.target.clone();
            let id = mount_id(later).map_err(|errno| {
                EngineError::file("look at the mount for", &target)(errno.into())
            })?;
            if let Some(start) = container.record.last_start_mut() {
                start.mounted.push(Mounted { target, id });
            }
        }
        // Before any is mounted: what is there can be taken away again.
        self.save(container)?;
        let id = container.id;
        let refused =
            |error: runtime::LaunchError| EngineError::Unmountable { id, what: error.to_string() };
        with_live_files(container, &live.files, |files| {
            made.iter().try_for_each(|later| later.attach(files.root).map_err(refused))
        })
    }

    /// Unmounts what goes, if the container runs.
    pub(super) fn unmount_removed(
        &self,
        container: &Container,
        plan: &MountPlan,
    ) -> Result<(), EngineError> {
        if plan.removed.is_empty() {
            return Ok(());
        }
        let Some(live) = self.live(container)? else { return Ok(()) };
        // Children before parents.
        plan.removed.iter().rev().try_for_each(|mount| unmount(container, &live, mount))
    }

    /// Unmounts what was new after all; `container` is what it was before.
    pub(super) fn unmount_again(&self, container: &Container, plan: &MountPlan) {
        let Ok(now) = self.reread(&container.id) else { return };
        let Ok(Some(live)) = self.live(&now) else { return };
        for mount in plan.added.iter().rev() {
            let _ = unmount(&now, &live, mount);
        }
    }

    fn live(&self, container: &Container) -> Result<Option<Live>, EngineError> {
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
        let wish = &named.mount.source;
        let stays =
            matches!(wish, MountSource::Bind { ids: Ids::Host, .. } | MountSource::Image { .. });
        let shown = users.as_ref().filter(|_| !stays);
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

/// Unmounts exactly the mount that was made for `named`. One that is gone is passed over: the
/// container may have been allowed to unmount it, or somebody has done so and was killed.
fn unmount(container: &Container, live: &Live, named: &NamedMount) -> Result<(), EngineError> {
    let target = &named.mount.target;
    let refused = |source| EngineError::Update { id: container.id, source };
    let table = live.init.mount_table()?;
    let id = number(container, named, &table).map_err(refused)?;
    let Some(id) = id else { return Ok(()) };
    let Some(place) = entries(&table).find(|entry| entry.id == id).map(|entry| entry.path()) else {
        return Ok(());
    };
    let undone = live.files.with(|root| detach(root, &place, id));
    match undone? {
        Undone::Yes => Ok(()),
        Undone::Covered => Err(refused(UpdateError::Covered(target.clone()))),
    }
}

/// What became of a mount.
enum Undone {
    Yes,
    /// Something else is on top of it, or where it was a moment ago.
    Covered,
}

/// The container may move things about meanwhile, so the number is asked of what was opened.
fn detach(root: &Root, place: &Path, id: u64) -> Result<Undone, EngineError> {
    let failed = |errno: sys::Errno| EngineError::file("unmount", place)(errno.into());
    let at = root.resolve(place, Final::NoFollow).map_err(store_error)?;
    if mount_id(at.as_fd()).map_err(failed)? != id {
        return Ok(Undone::Covered);
    }
    sys::mount::detach(&at).map_err(failed)?;
    Ok(Undone::Yes)
}

/// The kernel's number of a mount; `None` if it is not there. A tmpfs of the start has been made in
/// the container, where nobody has seen its number; it is known if there is no other that it could be.
fn number(
    container: &Container,
    named: &NamedMount,
    table: &str,
) -> Result<Option<u64>, UpdateError> {
    let target = &named.mount.target;
    let mounted = container.record.last_start().map(|start| &start.mounted[..]).unwrap_or_default();
    if let Some(known) = mounted.iter().find(|mounted| mounted.target == *target) {
        return Ok(Some(known.id));
    }
    let MountSource::Tmpfs { .. } = named.mount.source else {
        return Err(UpdateError::UnknownMount(target.clone()));
    };
    let known: Vec<u64> = mounted.iter().map(|mounted| mounted.id).collect();
    only_tmpfs(table, &known, target)
}

/// The one tmpfs of the user's, if there is only one.
fn only_tmpfs(table: &str, known: &[u64], target: &PathBuf) -> Result<Option<u64>, UpdateError> {
    // What is below these the container cannot move, and what is at a place of ours is none of the
    // user's unless it was asked for there.
    let is_ours = |path: &Path| {
        path != target && ["/dev", "/proc", "/sys"].iter().any(|top| path.starts_with(top))
    };
    let mut found = entries(table)
        .filter(|entry| entry.kind == "tmpfs" && entry.root == "/" && !known.contains(&entry.id))
        .filter(|entry| !is_ours(&entry.path()));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => Ok(Some(only.id)),
        (Some(_), Some(_)) => Err(UpdateError::UnknownMount(target.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tmpfs_is_known_if_it_is_the_only_one() {
        let line = |id: u64, root: &str, point: &str, kind: &str| {
            format!("{id} 1 0:5 {root} {point} rw - {kind} tmpfs rw\n")
        };
        let ours = [
            line(10, "/", "/dev", "tmpfs"),
            line(11, "/", "/dev/shm", "tmpfs"),
            line(12, "/empty", "/proc/acpi", "tmpfs"),
            line(13, "/", "/vol", "tmpfs"),
            line(14, "/", "/data", "ext4"),
        ]
        .concat();
        let find =
            |more: &str, target: &str| only_tmpfs(&format!("{ours}{more}"), &[13], &target.into());
        assert_eq!(find(&line(20, "/", "/t", "tmpfs"), "/t"), Ok(Some(20)));
        // Wherever the container has moved it.
        assert_eq!(find(&line(20, "/", "/moved/t", "tmpfs"), "/t"), Ok(Some(20)));
        assert_eq!(find("", "/t"), Ok(None));
        assert_eq!(find("", "/dev/shm"), Ok(Some(11)));
        let two = [line(20, "/", "/t", "tmpfs"), line(21, "/", "/u", "tmpfs")].concat();
        assert_eq!(find(&two, "/t"), Err(UpdateError::UnknownMount("/t".into())));
    }
}
