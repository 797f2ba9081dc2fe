//! User namespaces of containers: which ids of the host their users are, and what is made in them
//! before their init exists.
//!
//! Nothing on disk has a container's ids: its layers and volumes, and the binds that ask for it, are
//! shown with them by idmapped mounts, so that a container may get other ids at each start.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use model::container::UserNamespace;
use store::AddressError;
use sys::mount::Depth;
use sys::userns::{IdMap, Userns};

use crate::container::{Container, read_own};
use crate::prepare::store_error;
use crate::{Engine, EngineError};

/// How many ids a container has.
const COUNT: u32 = 1 << 16;

/// What is given out where nobody has said anything: ids that systemd's plan of the numbers leaves
/// free, above those of its own containers.
const UNCLAIMED: IdMap = IdMap { first: 0x7000_0000, count: 0x0ffe_0000 };

/// The user whose subordinate ids are given out in place of them, as Podman does for `containers`.
const OWNER: &str = "dhow";

/// Where subordinate ids are, of users and of groups.
const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// The user namespace of a container that starts.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) map: IdMap,
    pub(crate) user: OwnedFd,
    /// The network namespace that belongs to it, until it is taken.
    pub(crate) net: Option<OwnedFd>,
}

impl Engine {
    /// The user namespace of a container that starts; `None` for the host's.
    pub(crate) fn users(&self, container: &Container) -> Result<Option<Users>, EngineError> {
        match container.record.spec.security.userns {
            UserNamespace::Host => return Ok(None),
            UserNamespace::Auto => {}
        }
        let pool = pool(&read_own(Path::new(FILES[0]))?, &read_own(Path::new(FILES[1]))?)?;
        let map = self.lease_ids(container, pool)?;
        let Userns { user, net } = sys::userns::create(&map.into()).map_err(store_error)?;
        Ok(Some(Users { map, user, net: Some(net) }))
    }

    /// Ids of containers that have ended are taken back only when there are no others.
    fn lease_ids(&self, container: &Container, pool: IdMap) -> Result<IdMap, EngineError> {
        let lease = || {
            let leased = self.store().id_ranges().lease(&container.id, |used| lowest(pool, used));
            leased.map_err(|error| match error {
                AddressError::Db(error) => EngineError::from(error),
                error @ (AddressError::Taken { .. } | AddressError::NoSuchContainer(_)) => {
                    store_error(error)
                }
            })
        };
        let mut leased = lease()?;
        if leased.is_none() {
            for owner in self.store().id_ranges().owners()? {
                self.release_if_ended(&owner)?;
            }
            leased = lease()?;
        }
        let first = leased.ok_or_else(|| {
            EngineError::Invalid(format!(
                "all of the {} ranges of ids for user namespaces are in use",
                pool.count / COUNT
            ))
        })?;
        Ok(IdMap { first, count: COUNT })
    }
}

impl Users {
    /// Shows a detached mount, and those below it, with the container's ids.
    ///
    /// # Errors
    /// Its file system, or the kernel, has no idmapped mounts.
    pub(crate) fn show(
        &self,
        tree: impl AsFd,
        depth: Depth,
        what: &Path,
    ) -> Result<(), EngineError> {
        sys::mount::set_idmap(tree, depth, &self.user).map_err(|errno| match errno {
            sys::Errno::INVAL | sys::Errno::NOSYS => EngineError::Invalid(format!(
                "{} cannot be shown with the ids of a user namespace: its file system, or one below it, has no \
                 idmapped mounts on this kernel; use --userns=host",
                what.display()
            )),
            errno => EngineError::file("show with other ids", what)(errno.into()),
        })
    }

    /// Does something to the container's files as its root does it.
    pub(crate) fn as_root<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        as_root_of(self.map, work)
    }
}

/// Does something to the files of a container with these ids as its root does it.
///
/// # Errors
/// The ids cannot be taken; what `work` says.
pub(crate) fn as_root_of<T: Send>(
    ids: IdMap,
    work: impl FnOnce() -> Result<T, EngineError> + Send,
) -> Result<T, EngineError> {
    let done = sys::userns::as_owner(ids.first, work);
    done.map_err(|errno| EngineError::Invalid(format!("take the ids of a container: {errno}")))?
}

/// What may be given out.
fn pool(users: &Option<String>, groups: &Option<String>) -> Result<IdMap, EngineError> {
    let of = |text: &Option<String>| subordinate(text.as_deref().unwrap_or_default());
    match (of(users), of(groups)) {
        (None, None) => Ok(UNCLAIMED),
        (Some(users), Some(groups)) if users == groups && users.count >= COUNT => Ok(users),
        (Some(_), _) | (None, Some(_)) => Err(EngineError::Invalid(format!(
            "the ids of {OWNER} in {} and {} must be the same, and at least {COUNT}",
            FILES[0], FILES[1]
        ))),
    }
}

/// Lines are `user:first:count` (subuid(5)).
fn subordinate(text: &str) -> Option<IdMap> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_ours = fields.next() == Some(OWNER);
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        is_ours.then_some(IdMap { first, count })
    })
}

/// The lowest free range.
fn lowest(pool: IdMap, used: &BTreeSet<u32>) -> Option<u32> {
    let ranges = 0..pool.count / COUNT;
    let mut firsts = ranges.filter_map(|n| pool.first.checked_add(n.checked_mul(COUNT)?));
    // A range that was given out from another pool may lie across two of this one.
    let is_free = |first: &u32| {
        let from = first.saturating_sub(COUNT - 1);
        used.range(from..first.saturating_add(COUNT)).next().is_none()
    };
    firsts.find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_files_or_unclaimed() {
        let text = |text: &str| Some(text.to_owned());
        let ours = IdMap { first: 500_000, count: 131_072 };
        let file = text("other:1:65536\ndhow:500000:131072\n");
        assert_eq!(pool(&file, &file).unwrap(), ours);
        assert_eq!(pool(&text("other:1:65536\n"), &None).unwrap(), UNCLAIMED);
        for (users, groups) in [
            (file.clone(), None),
            (file, text("dhow:500000:65536\n")),
            (text("dhow:1:100\n"), text("dhow:1:100\n")),
        ] {
            assert!(pool(&users, &groups).is_err(), "{users:?} {groups:?}");
        }
    }

    #[test]
    fn no_two_containers_share_an_id() {
        let pool = IdMap { first: 1000, count: 3 * COUNT + 5 };
        let mut used = BTreeSet::new();
        for n in 0..3 {
            assert_eq!(lowest(pool, &used), Some(1000 + n * COUNT));
            used.insert(1000 + n * COUNT);
        }
        assert_eq!(lowest(pool, &used), None);
        used.remove(&1000);
        assert_eq!(lowest(pool, &used), Some(1000));
        assert_eq!(lowest(pool, &BTreeSet::from([1001])), Some(1000 + 2 * COUNT));
        // All of them are ids.
        let top = UNCLAIMED.first.checked_add(UNCLAIMED.count).unwrap();
        assert!(top < u32::try_from(i32::MAX).unwrap());
    }
}
