//! Where a container's cgroup is, and who makes it: we, or systemd as a scope.
//!
//! A slice is systemd's own: it takes controllers from what it has not made there whenever it likes. So who has
//! a slice as its parent gets a scope, whatever else is settled, on a host that has both systemd and version 2.
//! A start notes its slice in the row, so that what is settled may change while containers run.
//!
//! An ordinary user's scopes are of the user's own systemd. It has control groups where a login session has none, and
//! moves a command from there into a scope of the command's own first, so that its containers can be born below it.

use std::path::PathBuf;

use cgroup::{
    Hierarchies, Layout, Manager, Scope, USER_SLICE, Version, is_booted_with_systemd, own_socket,
};
use model::ContainerId;
use shim::protocol::CgroupName;

use crate::container::Container;
use crate::guard::chain;
use crate::reconcile::hierarchies;
use crate::settings::CgroupDriver;
use crate::{Engine, EngineError};

/// Where root's scopes are whose container names no slice.
const SLICE: &str = "system.slice";

/// What the name of a slice ends with.
const SLICE_END: &str = ".slice";

/// What keeps systemd from making scopes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    NotBooted,
    Version1,
    Nested,
    NotDelegated,
}

impl Obstacle {
    const fn words(self) -> &'static str {
        match self {
            Self::NotBooted => "this host was not booted with systemd",
            Self::Version1 => "this host has no cgroups of version 2 alone",
            Self::Nested => "systemd is outside of the user namespace that dhow is in",
            Self::NotDelegated => "this user's systemd has no cgroups of its own",
        }
    }
}

impl Engine {
    /// Where the cgroup of a container is that has been started, or would be by ourselves.
    pub(crate) fn cgroup_name(&self, container: &Container) -> CgroupName {
        let slice = container.record.last_start().and_then(|start| start.slice.clone());
        self.place(container, slice)
    }

    /// Where it is in a slice, or without one.
    pub(crate) fn place(&self, container: &Container, slice: Option<String>) -> CgroupName {
        let (id, parent) = (&container.id, container.record.spec.limits.cgroup_parent.as_deref());
        // A slice that is noted was one when that was decided.
        let scope = slice.and_then(|slice| Scope::named(&slice, self.unit(id)).ok());
        match scope {
            Some(scope) => CgroupName {
                parent: scope.parent(),
                name: scope.unit().to_owned(),
                slice: Some(scope.slice().to_owned()),
            },
            None => CgroupName {
                parent: parent.map_or_else(|| self.paths().cgroup_parent(), clean),
                name: id.to_string(),
                slice: None,
            },
        }
    }

    /// The same as a path below each hierarchy's mount.
    pub(crate) fn group_path(&self, container: &Container, slice: Option<&str>) -> PathBuf {
        let place = self.place(container, slice.map(str::to_owned));
        PathBuf::from("/").join(place.parent).join(place.name)
    }

    /// A container's scope: Docker's have its name where ours is.
    fn unit(&self, id: &ContainerId) -> String {
        format!("{}-{id}.scope", self.paths().cgroup_parent())
    }

    /// Whose scope it is, if it is one of this root.
    pub(crate) fn owner_of_scope(&self, unit: &str) -> Option<ContainerId> {
        let rest = unit.strip_prefix(&self.paths().cgroup_parent())?.strip_prefix('-')?;
        rest.strip_suffix(".scope")?.parse().ok()
    }

    /// In which slice a start makes its scope; `None` if we make its cgroup ourselves.
    ///
    /// # Errors
    /// systemd is to make it and cannot, or the parent is no slice.
    pub(crate) fn slice_for(&self, parent: Option<&str>) -> Result<Option<String>, EngineError> {
        let driver = self.settings()?.cgroup_driver;
        // Neither is asked for by most starts, which are not to pay for the answer.
        let asks = driver == Some(CgroupDriver::Systemd) || parent.is_some_and(is_slice);
        let obstacle = if asks { obstacle(self.hierarchies()?) } else { None };
        choose(driver, (parent, default_slice()), obstacle).map_err(EngineError::Invalid)
    }

    /// The hierarchies as this process has them, which systemd moves to where an ordinary user has some if scopes are
    /// what that user has settled on.
    pub(crate) fn find_hierarchies(&self) -> Result<Hierarchies, EngineError> {
        let found = hierarchies()?;
        let may_move = sys::rootless::is_member() && !found.is_delegated();
        let asks = may_move && self.settings()?.cgroup_driver == Some(CgroupDriver::Systemd);
        if !asks || obstacle(&found) != Some(Obstacle::NotDelegated) {
            return Ok(found);
        }
        let failed = |error: &dyn std::error::Error| {
            let settled =
                "cgroup-driver = \"systemd\" is settled in dhow.toml, but this user's systemd";
            EngineError::Invalid(format!("{settled} cannot be asked for a scope: {}", chain(error)))
        };
        let unit = format!("{}-command-{}.scope", self.paths().cgroup_parent(), std::process::id());
        let scope = Scope::named(USER_SLICE, unit).map_err(|error| failed(&error))?;
        let entered = Manager::connect(&own_socket()).and_then(|mut it| it.enter(&scope));
        entered.map_err(|error| failed(&error))?;
        hierarchies()
    }

    /// Who makes cgroups if nobody asks for a slice.
    ///
    /// # Errors
    /// The settings cannot be read.
    pub(crate) fn cgroup_driver(&self) -> Result<CgroupDriver, EngineError> {
        Ok(self.settings()?.cgroup_driver.unwrap_or(CgroupDriver::Cgroupfs))
    }
}

fn obstacle(hierarchies: &Hierarchies) -> Option<Obstacle> {
    let is_users = sys::rootless::is_member();
    if sys::rootless::is_nested() && !is_users {
        return Some(Obstacle::Nested);
    }
    if !is_booted_with_systemd() {
        return Some(Obstacle::NotBooted);
    }
    if is_users && !hierarchies.is_delegated() {
        let is_v2 = Hierarchies::version_of_host().is_ok_and(|found| found == Some(Version::V2));
        return Some(if is_v2 { Obstacle::NotDelegated } else { Obstacle::Version1 });
    }
    let is_v2 = matches!(hierarchies.layout(), Layout::V2(_));
    (!is_v2).then_some(Obstacle::Version1)
}

/// Where scopes are whose container names no slice.
fn default_slice() -> &'static str {
    if sys::rootless::is_member() { USER_SLICE } else { SLICE }
}

/// A slice as systemd names it, without the slices above it.
fn is_slice(parent: &str) -> bool {
    parent.ends_with(SLICE_END) && Scope::new(parent, "x", "y").is_ok()
}

fn choose(
    driver: Option<CgroupDriver>,
    (parent, default): (Option<&str>, &str),
    obstacle: Option<Obstacle>,
) -> Result<Option<String>, String> {
    match (driver, parent, obstacle) {
        (Some(CgroupDriver::Cgroupfs), ..) => Ok(None),
        (Some(CgroupDriver::Systemd), _, Some(obstacle)) => Err(format!(
            "cgroup-driver = \"systemd\" is settled in dhow.toml, but {}",
            obstacle.words()
        )),
        (Some(CgroupDriver::Systemd), None, None) => Ok(Some(default.to_owned())),
        // In Docker's words.
        (Some(CgroupDriver::Systemd), Some(parent), None) if !is_slice(parent) => {
            Err("cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\""
                .to_owned())
        }
        (Some(CgroupDriver::Systemd) | None, Some(parent), None) if is_slice(parent) => {
            Ok(Some(parent.to_owned()))
        }
        (Some(CgroupDriver::Systemd) | None, ..) => Ok(None),
    }
}

/// A parent as typed, without what says nothing: `/a//b/` is `a/b`, and `/` the root.
fn clean(parent: &str) -> String {
    let names: Vec<&str> =
        parent.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_may_be_written_in_several_ways() {
        for (typed, cleaned) in
            [("a", "a"), ("/a/b", "a/b"), ("/a//b/", "a/b"), ("./a.slice", "a.slice"), ("/", "")]
        {
            assert_eq!(clean(typed), cleaned);
        }
    }

    #[test]
    fn a_slice_is_systemds_and_all_else_ours() {
        for (parent, slice) in [
            (None, None),
            (Some("a.slice"), Some("a.slice")),
            (Some("a-b.slice"), Some("a-b.slice")),
            (Some("/a.slice"), None),
            (Some("a.slice/b"), None),
            (Some("a--b.slice"), None),
            (Some("a"), None),
        ] {
            let where_to = (parent, SLICE);
            assert_eq!(choose(None, where_to, None), Ok(slice.map(str::to_owned)), "{parent:?}");
            let files = choose(Some(CgroupDriver::Cgroupfs), where_to, None);
            assert_eq!(files, Ok(None), "{parent:?}");
            assert_eq!(choose(None, where_to, Some(Obstacle::NotBooted)), Ok(None), "{parent:?}");
        }
    }

    #[test]
    fn who_settles_on_systemd_gets_it_or_hears_why_not() {
        let choose = |parent, obstacle| {
            choose(Some(CgroupDriver::Systemd), (parent, "user.slice"), obstacle)
        };
        assert_eq!(choose(None, None), Ok(Some("user.slice".to_owned())));
        assert_eq!(choose(Some("x.slice"), None), Ok(Some("x.slice".to_owned())));
        let refused = choose(Some("/x"), None).unwrap_err();
        assert!(refused.contains("should be a valid slice"), "{refused}");
        for obstacle in [Obstacle::NotBooted, Obstacle::Version1, Obstacle::NotDelegated] {
            let refused = choose(None, Some(obstacle)).unwrap_err();
            assert!(refused.ends_with(obstacle.words()), "{refused}");
        }
    }
}
