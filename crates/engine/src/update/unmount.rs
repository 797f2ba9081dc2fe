//! How mounts of a container that runs go: those that an update takes away, and those that it has
//! added in vain.
//!
//! A mount that goes is known by the number that the kernel has for it, never by where it was mounted:
//! the container may have moved the directories above it, and put others with other mounts in their
//! place.

use std::os::fd::OwnedFd;
use std::path::Path;

use model::mount::MountSource;
use sys::Errno;
use sys::mount_table::entries;
use sys::root::Final;

use super::UpdateError;
use super::mounts::MountPlan;
use crate::container::Container;
use crate::join::Inside;
use crate::prepare::store_error;
use crate::record::{Mounted, NamedMount, Start};
use crate::trees::note;
use crate::{Engine, EngineError};

/// A mount that shall go.
enum Found {
    /// Open on its root.
    There { id: u64, at: OwnedFd },
    /// The container may have been allowed to unmount it, or somebody has done so and was killed.
    Gone,
}

impl Engine {
    /// Unmounts what goes, if the container runs; the plan then says what has gone. None goes before all
    /// are known.
    pub(super) fn unmount_removed(
        &self,
        container: &Container,
        plan: &mut MountPlan,
    ) -> Result<(), EngineError> {
        if plan.removed.is_empty() {
            return Ok(());
        }
        let Some(live) = self.live(container)? else { return Ok(()) };
        let (removed, gone) = (&plan.removed, &mut plan.gone);
        live.files.with(|inside| {
            let table = inside.mount_table()?;
            let find =
                |named| Ok::<_, EngineError>((named, find(container, inside, &table, named)?));
            // Children before parents.
            let found = removed.iter().rev().map(find).collect::<Result<Vec<_>, _>>()?;
            found.into_iter().try_for_each(|(named, found)| {
                detach(inside, &found, &named.mount.target)?;
                gone.push(named.clone());
                Ok(())
            })
        })
    }

    /// Unmounts what was new after all, if it is known to be that.
    pub(super) fn unmount_again(&self, container: &Container, plan: &MountPlan) {
        // What was noted has been saved since.
        let Ok(now) = self.reread(&container.id) else { return };
        let Ok(Some(live)) = self.live(&now) else { return };
        let Some(start) = now.record.last_start() else { return };
        let _ = live.files.with(|inside| {
            let table = inside.mount_table()?;
            let known = plan.added.iter().rev().filter_map(|it| noted(start, &it.mount.target));
            let there = known.filter_map(|it| Some((it, open(inside, &table, it).ok()?)));
            // The next start has none of those that stay.
            there.for_each(|(noted, found)| drop(detach(inside, &found, &noted.target)));
            Ok(())
        });
    }
}

fn noted<'a>(start: &'a Start, target: &Path) -> Option<&'a Mounted> {
    start.mounted.iter().find(|mounted| mounted.target == target)
}

/// Finds exactly the mount that was made for `named`. A tmpfs of the start has been made in the
/// container, where nobody has seen its number; it is known if there is no other that it could be.
fn find(
    container: &Container,
    inside: &Inside,
    table: &[u8],
    named: &NamedMount,
) -> Result<Found, EngineError> {
    let target = &named.mount.target;
    let refused = |source| EngineError::Update { id: container.id, source };
    let unknown = || UpdateError::UnknownMount(target.clone());
    let start = container.record.last_start().ok_or_else(|| refused(unknown()))?;
    if let Some(noted) = noted(start, target) {
        return open(inside, table, noted).map_err(|problem| problem.of(container));
    }
    let is_tmpfs = matches!(named.mount.source, MountSource::Tmpfs { .. });
    if !is_tmpfs || !start.unseen.contains(target) {
        return Err(refused(unknown()));
    }
    let known: Vec<u64> = start.mounted.iter().map(|mounted| mounted.id).collect();
    match only_tmpfs(table, &known, target).map_err(refused)? {
        None => Ok(Found::Gone),
        Some(id) => match look(inside, table, id, target).map_err(|it| it.of(container))? {
            None => Ok(Found::Gone),
            Some((_, at)) => Ok(Found::There { id, at }),
        },
    }
}

/// Why a mount that is there cannot be had.
enum Problem {
    Refused(UpdateError),
    Failed(EngineError),
}

impl Problem {
    fn of(self, container: &Container) -> EngineError {
        match self {
            Self::Refused(source) => EngineError::Update { id: container.id, source },
            Self::Failed(error) => error,
        }
    }
}

/// Opens a mount that was noted.
fn open(inside: &Inside, table: &[u8], noted: &Mounted) -> Result<Found, Problem> {
    let Some((seen, at)) = look(inside, table, noted.id, &noted.target)? else {
        return Ok(Found::Gone);
    };
    match compare(noted, &seen) {
        Sameness::Same => Ok(Found::There { id: noted.id, at }),
        Sameness::Other => Ok(Found::Gone),
        Sameness::Unknown => Err(Problem::Refused(UpdateError::UnknownMount(noted.target.clone()))),
    }
}

/// Opens the mount that has a number now; `None`: none has. The container may move things about
/// meanwhile, so the number is asked of what was opened.
fn look(
    inside: &Inside,
    table: &[u8],
    id: u64,
    target: &Path,
) -> Result<Option<(Mounted, OwnedFd)>, Problem> {
    let Some(entry) = entries(table).find(|entry| entry.id == id) else { return Ok(None) };
    let place = entry.path();
    let failed = |errno: Errno| EngineError::file("look at", &place)(errno.into());
    let at = inside.root.resolve(&place, Final::NoFollow).map_err(store_error);
    let at = at.map_err(Problem::Failed)?;
    let seen = note(target, &at).map_err(failed).map_err(Problem::Failed)?;
    if seen.id != id {
        return Err(Problem::Refused(UpdateError::Covered(target.to_owned())));
    }
    Ok(Some((seen, at)))
}

/// What a mount is to one that was noted and has its number in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sameness {
    Same,
    /// It got the number when the other had gone.
    Other,
    Unknown,
}

fn compare(noted: &Mounted, seen: &Mounted) -> Sameness {
    match (noted.unique, seen.unique) {
        (Some(noted), Some(seen)) if noted == seen => Sameness::Same,
        (Some(_), Some(_)) => Sameness::Other,
        _ if noted.root.is_some() && noted.root == seen.root => Sameness::Same,
        _ => Sameness::Unknown,
    }
}

/// One that has gone meanwhile, as with what it was on, is passed over.
fn detach(inside: &Inside, found: &Found, target: &Path) -> Result<(), EngineError> {
    let Found::There { id, at } = found else { return Ok(()) };
    let Err(errno) = sys::mount::detach(at) else { return Ok(()) };
    let table = inside.mount_table()?;
    if entries(&table).any(|entry| entry.id == *id) {
        return Err(EngineError::file("unmount", target)(errno.into()));
    }
    Ok(())
}

/// The one tmpfs of the user's, if there is only one.
fn only_tmpfs(table: &[u8], known: &[u64], target: &Path) -> Result<Option<u64>, UpdateError> {
    // What is below these the container cannot move, and what is at a place of ours is none of the
    // user's unless it was asked for there.
    let is_ours = |path: &Path| {
        path != target && ["/dev", "/proc", "/sys"].iter().any(|top| path.starts_with(top))
    };
    let mut found = entries(table)
        .filter(|entry| entry.kind == b"tmpfs" && entry.root == b"/" && !known.contains(&entry.id))
        .filter(|entry| !is_ours(&entry.path()));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => Ok(Some(only.id)),
        (Some(_), Some(_)) => Err(UpdateError::UnknownMount(target.to_owned())),
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
        let find = |more: &str, target: &str| {
            only_tmpfs(format!("{ours}{more}").as_bytes(), &[13], target.as_ref())
        };
        assert_eq!(find(&line(20, "/", "/t", "tmpfs"), "/t"), Ok(Some(20)));
        // Wherever the container has moved it.
        assert_eq!(find(&line(20, "/", "/moved/t", "tmpfs"), "/t"), Ok(Some(20)));
        assert_eq!(find("", "/t"), Ok(None));
        assert_eq!(find("", "/dev/shm"), Ok(Some(11)));
        let two = [line(20, "/", "/t", "tmpfs"), line(21, "/", "/u", "tmpfs")].concat();
        assert_eq!(find(&two, "/t"), Err(UpdateError::UnknownMount("/t".into())));
    }

    #[test]
    fn a_number_that_is_used_again_is_not_the_mount() {
        let mount = |unique, root| Mounted { target: "/x".into(), id: 7, unique, root };
        let noted = mount(Some(1), None);
        assert_eq!(compare(&noted, &noted), Sameness::Same);
        assert_eq!(compare(&noted, &mount(Some(2), None)), Sameness::Other);
        // Of an older kernel.
        let noted = mount(None, Some((1, 2)));
        assert_eq!(compare(&noted, &noted), Sameness::Same);
        assert_eq!(compare(&noted, &mount(None, Some((1, 3)))), Sameness::Unknown);
        // Of an older dhow.
        assert_eq!(compare(&mount(None, None), &mount(Some(2), None)), Sameness::Unknown);
    }
}
