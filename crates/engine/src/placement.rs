//! Where a container's cgroup is, and who makes it: we, or systemd as a scope.
//!
//! A slice is systemd's own: it takes controllers from what it has not made there whenever it likes. So who has
//! a slice as its parent gets a scope, whatever else is settled, on a host that has both systemd and version 2.
//! A start notes its slice in the row, so that what is settled may change while containers run.

use std::path::PathBuf;

use cgroup::{Hierarchies, Layout, Scope, is_booted_with_systemd};
use model::ContainerId;
use shim::protocol::CgroupName;

use crate::container::Container;
use crate::settings::CgroupDriver;
use crate::{Engine, EngineError};

/// Where scopes are whose container names no slice.
const SLICE: &str = "system.slice";

/// What the name of a slice ends with.
const SLICE_END: &str = ".slice";

/// What keeps systemd from making scopes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    NotBooted,
    Version1,
    User,
}

impl Obstacle {
    const fn words(self) -> &'static str {
        match self {
            Self::NotBooted => "this host was not booted with systemd",
            Self::Version1 => "this host has no cgroups of version 2 alone",
            Self::User => "an ordinary user's containers have no scopes",
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
        choose(driver, parent, obstacle).map_err(EngineError::Invalid)
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
    if sys::rootless::is_nested() {
        return Some(Obstacle::User);
    }
    if !is_booted_with_systemd() {
        return Some(Obstacle::NotBooted);
    }
    let is_v2 = matches!(hierarchies.layout(), Layout::V2(_));
    (!is_v2).then_some(Obstacle::Version1)
}

/// A slice as systemd names it, without the slices above it.
fn is_slice(parent: &str) -> bool {
    parent.ends_with(SLICE_END) && Scope::new(parent, "x", "y").is_ok()
}

fn choose(
    driver: Option<CgroupDriver>,
    parent: Option<&str>,
    obstacle: Option<Obstacle>,
) -> Result<Option<String>, String> {
    match (driver, parent, obstacle) {
        (Some(CgroupDriver::Cgroupfs), ..) => Ok(None),
        (Some(CgroupDriver::Systemd), _, Some(obstacle)) => Err(format!(
            "cgroup-driver = \"systemd\" is settled in dhow.toml, but {}",
            obstacle.words()
        )),
        (Some(CgroupDriver::Systemd), None, None) => Ok(Some(SLICE.to_owned())),
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
            assert_eq!(choose(None, parent, None), Ok(slice.map(str::to_owned)), "{parent:?}");
            assert_eq!(choose(Some(CgroupDriver::Cgroupfs), parent, None), Ok(None), "{parent:?}");
            assert_eq!(choose(None, parent, Some(Obstacle::NotBooted)), Ok(None), "{parent:?}");
        }
    }

    #[test]
    fn who_settles_on_systemd_gets_it_or_hears_why_not() {
        let choose = |parent, obstacle| choose(Some(CgroupDriver::Systemd), parent, obstacle);
        assert_eq!(choose(None, None), Ok(Some("system.slice".to_owned())));
        assert_eq!(choose(Some("x.slice"), None), Ok(Some("x.slice".to_owned())));
        let refused = choose(Some("/x"), None).unwrap_err();
        assert!(refused.contains("should be a valid slice"), "{refused}");
        for obstacle in [Obstacle::NotBooted, Obstacle::Version1, Obstacle::User] {
            let refused = choose(None, Some(obstacle)).unwrap_err();
            assert!(refused.ends_with(obstacle.words()), "{refused}");
        }
    }
}
