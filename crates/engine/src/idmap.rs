//! `idmap`: a mount that shows other owners than its files have.
//!
//! Owns which id of a file becomes which id in the container, and how a mount gets them. What a user
//! namespace of the container's shows by itself is `userns`'s.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::mount::{Frame, IdSpan, Ids, MountSource};
use rustix::fs::Stat;
use sys::Errno;
use sys::mount::Depth;
use sys::userns::{IdMap, IdMaps, IdRange};

use crate::EngineError;
use crate::bundle::AttachedMount;
use crate::prepare::store_error;
use crate::userns::Users;

/// All ids that there are: the last number means none.
const ALL: IdMap = IdMap { first: 0, count: u32::MAX };

/// Whose ids a mount shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// The container's, all of them.
    Users(&'a Users),
    /// Some of its own.
    Own(&'a OwnedFd),
}

impl Shown<'_> {
    /// Shows a detached mount, and those below it, so.
    ///
    /// # Errors
    /// Its file system, or the kernel, has no idmapped mounts; only root may have them made.
    pub(crate) fn show(
        self,
        tree: impl AsFd,
        depth: Depth,
        what: &Path,
    ) -> Result<(), EngineError> {
        let userns = match self {
            Self::Users(users) => return users.show(tree, depth, what),
            Self::Own(userns) => userns,
        };
        sys::mount::set_idmap(tree, depth, userns).map_err(|errno| match errno {
            Errno::INVAL | Errno::NOSYS => EngineError::Invalid(format!(
                "{} cannot be shown with other owners: its file system, or one below it, has no idmapped \
                 mounts on this kernel; leave idmap out",
                what.display()
            )),
            Errno::PERM => EngineError::Invalid(format!(
                "{} cannot be shown with other owners: it is an idmapped mount already, or of a file system that \
                 is not this user's: the kernel lets only root idmap it; leave idmap out",
                what.display()
            )),
            errno => EngineError::file("show with other owners", what)(errno.into()),
        })
    }
}

/// Whom something belongs to, or who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl From<&Stat> for Owner {
    fn from(stat: &Stat) -> Self {
        Self { uid: stat.st_uid, gid: stat.st_gid }
    }
}

/// The mounts of a start that show other owners. A user namespace is made once for all that want the
/// same.
#[derive(Debug, Default)]
pub(crate) struct IdMapped {
    made: Vec<(IdMaps, OwnedFd)>,
    /// By their place in the container.
    mounts: Vec<(PathBuf, usize)>,
}

impl IdMapped {
    /// Adds a mount of these ids, if there is anything to show otherwise.
    ///
    /// # Errors
    /// No user namespace can be made.
    pub(crate) fn add(&mut self, target: &Path, maps: Option<IdMaps>) -> Result<(), EngineError> {
        let Some(maps) = maps else { return Ok(()) };
        let at = match self.made.iter().position(|(made, _)| *made == maps) {
            Some(at) => at,
            None => {
                let userns = sys::userns::create_alone(&maps).map_err(store_error)?;
                self.made.push((maps, userns));
                self.made.len() - 1
            }
        };
        self.mounts.push((target.to_owned(), at));
        Ok(())
    }

    /// What the mount at a place shows.
    pub(crate) fn at(&self, target: &Path) -> Option<Shown<'_>> {
        let (_, at) = self.mounts.iter().find(|(there, _)| there == target)?;
        self.made.get(*at).map(|(_, userns)| Shown::Own(userns))
    }

    /// Those of the mounts of a start.
    ///
    /// # Errors
    /// A source cannot be looked at; no user namespace can be made.
    pub(crate) fn of(
        mounts: &[AttachedMount],
        trees: &[(PathBuf, OwnedFd)],
        user: Owner,
        range: Option<IdMap>,
    ) -> Result<Self, EngineError> {
        let mut all = Self::default();
        for mount in mounts {
            let ids = ids_of(&mount.wish.source);
            let owner = || {
                let tree = trees.iter().find(|(target, _)| *target == mount.wish.target);
                owner(tree.map(|(_, tree)| tree), mount.source.as_deref())
            };
            all.add(&mount.wish.target, plan(ids, owner, user, range)?)?;
        }
        Ok(all)
    }
}

/// What all mounts of a start show: what its users' namespace says, unless a mount says otherwise.
pub(crate) fn showing<'a>(
    own: &'a IdMapped,
    users: Option<&'a Users>,
    keep: HashSet<&'a Path>,
) -> impl Fn(&Path) -> Option<Shown<'a>> {
    move |target| {
        let users = || users.filter(|_| !keep.contains(target)).map(Shown::Users);
        own.at(target).or_else(users)
    }
}

/// Whose ids a mount is to show.
pub(crate) fn ids_of(source: &MountSource) -> &Ids {
    match source {
        MountSource::Bind { ids, .. } | MountSource::Volume { ids, .. } => ids,
        MountSource::Image { .. } | MountSource::Tmpfs { .. } => &Ids::Host,
    }
}

/// Whom the source of a mount belongs to on the host.
pub(crate) fn owner(tree: Option<&OwnedFd>, source: Option<&Path>) -> Result<Owner, EngineError> {
    let source = source.unwrap_or(Path::new(""));
    let stat = match tree {
        Some(tree) => rustix::fs::fstat(tree),
        None => rustix::fs::stat(source),
    };
    let stat = stat.map_err(|errno| EngineError::file("look at", source)(errno.into()))?;
    Ok(Owner::from(&stat))
}

/// Which id of a file becomes which: `None` if nothing is to be shown otherwise than without the word.
/// `range` is what the ids of the container's user namespace are on the host.
pub(crate) fn plan(
    ids: &Ids,
    owner: impl FnOnce() -> Result<Owner, EngineError>,
    user: Owner,
    range: Option<IdMap>,
) -> Result<Option<IdMaps>, EngineError> {
    let all = range.unwrap_or(ALL);
    match ids {
        Ids::Host | Ids::Container => Ok(None),
        Ids::Owner => {
            let owner = owner()?;
            // Nothing changes hands.
            if range.is_none() && owner == user {
                return Ok(None);
            }
            Ok(Some(IdMaps {
                users: swapped(owner.uid, user.uid, all),
                groups: swapped(owner.gid, user.gid, all),
            }))
        }
        Ids::Mapped(mapping) => {
            Ok(Some(IdMaps { users: spans(&mapping.uids, all), groups: spans(&mapping.gids, all) }))
        }
    }
}

/// `file` is seen as `user`, and the other way round; all others stay as they are. What the container
/// has no id for is nobody's.
fn swapped(file: u32, user: u32, IdMap { first, count }: IdMap) -> Vec<IdRange> {
    let mut lines = Vec::new();
    let mut add = |inside: u32, shown: u32, count: u32| {
        if count > 0 {
            lines.push(IdRange { inside, outside: first.saturating_add(shown), count });
        }
    };
    let mut at = 0;
    for (id, other) in [(file.min(user), file.max(user)), (file.max(user), file.min(user))] {
        if id < at || id >= count {
            continue;
        }
        add(at, at, id - at);
        add(id, other, u32::from(other < count));
        at = id + 1;
    }
    add(at, at, count - at);
    if file >= count {
        add(file, user, u32::from(user < count));
    }
    lines
}

/// As somebody has written it down.
fn spans(spans: &[IdSpan], all: IdMap) -> Vec<IdRange> {
    if spans.is_empty() {
        return vec![IdRange { inside: 0, outside: all.first, count: all.count }];
    }
    let line = |span: &IdSpan| {
        let outside = match span.frame {
            Frame::Host => span.shown,
            Frame::Container => all.first.saturating_add(span.shown),
        };
        IdRange { inside: span.file, outside, count: span.count }
    };
    spans.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[IdRange], id: u32) -> Option<u32> {
        let line = lines.iter().find(|line| id >= line.inside && id - line.inside < line.count)?;
        Some(line.outside + (id - line.inside))
    }

    #[test]
    fn two_ids_change_places_and_no_other_moves() {
        for (file, user) in [(1000, 0), (0, 1000), (7, 8), (8, 7), (5, 5), (u32::MAX - 1, 0)] {
            let lines = swapped(file, user, ALL);
            assert_eq!(shown(&lines, file), Some(user), "{lines:?}");
            assert_eq!(shown(&lines, user), Some(file), "{lines:?}");
            for id in [0, 1, 6, 9, 999, 1001, 65534, u32::MAX - 2] {
                let stays = id != file && id != user;
                assert!(!stays || shown(&lines, id) == Some(id), "{id}: {lines:?}");
            }
            assert_eq!(
                lines.iter().map(|line| u64::from(line.count)).sum::<u64>(),
                u64::from(u32::MAX)
            );
            assert!(lines.iter().all(|line| line.count > 0) && lines.len() <= 5);
        }
    }

    #[test]
    fn in_a_user_namespace_its_range_is_what_is_seen() {
        let range = IdMap { first: 100_000, count: 65536 };
        let lines = swapped(1000, 33, range);
        let of = |id| shown(&lines, id);
        assert_eq!(
            [of(1000), of(33), of(0), of(34)],
            [100_033, 101_000, 100_000, 100_034].map(Some)
        );
        // Whoever the container has no id for takes its user's place, who then has none.
        let lines = swapped(200_000, 33, range);
        let of = |id| shown(&lines, id);
        assert_eq!([of(200_000), of(33), of(32)], [Some(100_033), None, Some(100_032)]);
        assert_eq!(
            swapped(5, 5, range),
            [
                IdRange { inside: 0, outside: 100_000, count: 5 },
                IdRange { inside: 5, outside: 100_005, count: 1 },
                IdRange { inside: 6, outside: 100_006, count: 65530 },
            ]
        );
    }

    #[test]
    fn what_is_said_nothing_of_stays() {
        let owner = |uid, gid| Owner { uid, gid };
        let of = |ids: &Ids, file: Owner, user: Owner| plan(ids, || Ok(file), user, None).unwrap();
        assert_eq!(of(&Ids::Host, owner(1, 1), owner(2, 2)), None);
        assert_eq!(of(&Ids::Owner, owner(3, 4), owner(3, 4)), None);
        let maps = of(&Ids::Owner, owner(3, 4), owner(3, 5)).unwrap();
        assert_eq!((maps.user(3), maps.group(4), maps.group(5)), (Some(3), Some(5), Some(4)));
        let mapping: Ids = "uids=0-1000-1#1-@5-2".parse().unwrap();
        let maps = of(&mapping, owner(0, 0), owner(0, 0)).unwrap();
        assert_eq!([maps.user(0), maps.user(2), maps.user(3)], [Some(1000), Some(6), None]);
        assert_eq!(maps.group(77), Some(77));
    }
}
