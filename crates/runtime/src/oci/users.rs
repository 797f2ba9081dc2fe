//! The user namespace of a container: made, or opened by its path, before the container is.
//!
//! What belongs to it has to be made in it. Owns the effects; what maps mean is `plan`'s.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::{
    Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Spec,
};
use rustix::fs::{Mode, OFlags};
use sys::process::Namespaces;
use sys::userns::{self, IdMaps, IdRange};

use super::fault::Fault;
use crate::LaunchError;
use crate::plan::Surroundings;

/// Namespaces that the container's process joins, open.
pub(super) type Open = Vec<(Namespaces, OwnedFd)>;

/// The user namespace that the specification asks for, if it is not ours. The specification has its maps
/// then, for whoever enters the container later, and no such namespace if there is none of its own.
pub(super) fn settle(spec: &mut Spec) -> Result<Open, Fault> {
    let Some(mut linux) = spec.linux().clone() else { return Ok(Vec::new()) };
    let is_user = |one: &LinuxNamespace| one.typ() == LinuxNamespaceType::User;
    let Some(asked) = linux.namespaces().iter().flatten().find(|one| is_user(one)) else {
        return Ok(Vec::new());
    };
    let path = asked.path().clone().filter(|path| !path.as_os_str().is_empty());
    let maps = Surroundings::of(&linux).map_err(LaunchError::from)?.users;
    let Some(path) = path else {
        let maps = match maps {
            Some(maps) => maps,
            None => {
                let maps = IdMaps { users: same("uid_map")?, groups: same("gid_map")? };
                put(&mut linux, &maps)?;
                spec.set_linux(Some(linux));
                maps
            }
        };
        return Ok(vec![(Namespaces::USER, userns::create_alone(&maps)?)]);
    };
    let namespace = open(&path)?;
    if userns::is_own(&namespace)
        .map_err(|errno| Fault::file("look at the namespace", &path)(errno.into()))?
    {
        let rest = linux.namespaces().iter().flatten().filter(|one| !is_user(one)).cloned();
        let rest = rest.collect::<Vec<_>>();
        linux.set_namespaces(Some(rest)).set_uid_mappings(None).set_gid_mappings(None);
        spec.set_linux(Some(linux));
        return Ok(Vec::new());
    }
    let found = userns::maps_of(&namespace)?;
    if maps.is_some_and(|maps| maps != found) {
        return Err(Fault::Config(format!(
            "linux.uidMappings and linux.gidMappings are not those of the user namespace {}",
            path.display()
        )));
    }
    put(&mut linux, &found)?;
    spec.set_linux(Some(linux));
    Ok(vec![(Namespaces::USER, namespace)])
}

/// Whether a user namespace is asked for whose ids are the host's.
pub(super) fn is_unmapped(linux: &Linux) -> bool {
    let has_path = |one: &LinuxNamespace| {
        one.path().as_deref().is_some_and(|path| !path.as_os_str().is_empty())
    };
    let mut namespaces = linux.namespaces().iter().flatten();
    let is_made = namespaces.any(|one| one.typ() == LinuxNamespaceType::User && !has_path(one));
    is_made && linux.uid_mappings().as_ref().is_none_or(Vec::is_empty)
}

/// Every id that there is here as itself: what a user namespace has that is given no mappings, which are optional
/// (config-linux.md, "User namespace mappings"). So crun does it, too.
fn same(file: &str) -> Result<Vec<IdRange>, Fault> {
    let path = format!("/proc/self/{file}");
    let text = std::fs::read_to_string(&path).map_err(Fault::file("read", &path))?;
    let unknown = |line| Fault::Config(format!("{path}: {line:?} is no range of ids"));
    text.lines().map(|line| range(line).ok_or_else(|| unknown(line))).collect()
}

/// A line of a map, as itself.
fn range(line: &str) -> Option<IdRange> {
    let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
    let (inside, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(IdRange { inside, outside: inside, count })
}

/// A namespace by its file.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
    opened.map_err(Fault::file("open the namespace", path))
}

fn put(linux: &mut Linux, maps: &IdMaps) -> Result<(), Fault> {
    let mappings = |ranges: &[IdRange]| ranges.iter().map(mapping).collect::<Result<Vec<_>, _>>();
    let (users, groups) = (mappings(&maps.users)?, mappings(&maps.groups)?);
    linux.set_uid_mappings(Some(users)).set_gid_mappings(Some(groups));
    Ok(())
}

fn mapping(range: &IdRange) -> Result<LinuxIdMapping, Fault> {
    let builder = LinuxIdMappingBuilder::default().container_id(range.inside);
    let built = builder.host_id(range.outside).size(range.count).build();
    built.map_err(|error| Fault::Config(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_map_is_three_numbers() {
        let found =
            range("      1000     100000      65536").map(|r| (r.inside, r.outside, r.count));
        assert_eq!(found, Some((1000, 1000, 65_536)));
        for line in ["", "0 0", "0 0 x", "0 0 1 1", "0 -1 1"] {
            assert!(range(line).is_none(), "{line:?}");
        }
    }
}
