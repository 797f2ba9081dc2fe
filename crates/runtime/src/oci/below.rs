//! `exec --cgroup`: the control groups below the container's that a process goes to.
//!
//! Owns the words and what they lead to. Groups are made by others.

use std::collections::BTreeMap;

use cgroup::{Cgroup, CgroupError, Entry, Hierarchies};
use sys::Errno;

use super::fault::Fault;
use super::record::Group;
use super::state;

/// Where a process goes, below the container's group.
#[derive(Debug)]
pub(super) enum Below {
    /// To the same place in every hierarchy.
    Everywhere(Cgroup),
    /// To places of their own in the hierarchies of some controllers of version 1.
    In(BTreeMap<String, String>),
}

impl Below {
    /// What `--cgroup` says, all of it; nothing if it says nothing.
    pub(super) fn of(words: &[String], container: &Group) -> Result<Option<Self>, Fault> {
        let hierarchies = state::hierarchies()?;
        match words {
            [] => Ok(None),
            [path] if !path.contains(':') => {
                everywhere(&inside(path)?, container, hierarchies).map(Self::Everywhere).map(Some)
            }
            words => {
                let names: Vec<&str> = hierarchies
                    .legacy()
                    .iter()
                    .flat_map(|legacy| legacy.options.split(','))
                    .collect();
                places(words, &names).map(Self::In).map(Some)
            }
        }
    }

    /// The way there for a process of this container.
    pub(super) fn entry(&self, container: &Cgroup) -> Result<Entry, Fault> {
        let entry = match self {
            Self::Everywhere(group) => group.entry(),
            Self::In(places) => container.entry_at(|options| {
                options.split(',').find_map(|name| places.get(name)).map_or("", String::as_str)
            }),
        };
        entry.map_err(missing)
    }

    /// Its own group, if it has one in all hierarchies.
    pub(super) fn group(&self) -> Option<&Cgroup> {
        match self {
            Self::Everywhere(group) => Some(group),
            Self::In(_) => None,
        }
    }
}

fn everywhere(path: &str, container: &Group, all: &Hierarchies) -> Result<Cgroup, Fault> {
    let Group { parent, name, .. } = container;
    let whole = [parent, name, path].map(|part| part.trim_matches('/'));
    let whole = whole.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let (above, last) = whole.rsplit_once('/').unwrap_or(("", &whole));
    Cgroup::open(all, above, last).map_err(missing)
}

/// By controller. Words are `CONTROLLER[,CONTROLLER…]:PATH`.
fn places(words: &[String], names: &[&str]) -> Result<BTreeMap<String, String>, Fault> {
    let wrong = |text: String| Fault::Config(format!("--cgroup: {text}"));
    let mut places = BTreeMap::new();
    for word in words {
        let (controllers, path) = word
            .split_once(':')
            .ok_or_else(|| wrong(format!("{word} has no controller, and is not alone")))?;
        let path = inside(path)?;
        for controller in controllers.split(',') {
            if !names.contains(&controller) {
                return Err(wrong(format!("unknown controller {controller} in {word}")));
            }
            if places.insert(controller.to_owned(), path.clone()).is_some() {
                return Err(wrong(format!("controller {controller} is named more than once")));
            }
        }
    }
    Ok(places)
}

/// A path below the container's group, without what leads nowhere.
fn inside(path: &str) -> Result<String, Fault> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(Fault::Config(format!("bad sub cgroup path: {path} is not a sub cgroup path")));
    }
    Ok(parts.join("/"))
}

/// A group that is not there, in runc's words.
fn missing(error: CgroupError) -> Fault {
    let group = if let CgroupError::NotFound(path) = error {
        path
    } else if let CgroupError::Read { path, source: Errno::NOENT } = &error {
        path.parent().unwrap_or(path).to_owned()
    } else {
        return error.into();
    };
    Fault::Config(format!(
        "error adding pid {} to cgroups: open {}: no such file or directory",
        std::process::id(),
        group.join("cgroup.procs").display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_by_controller() {
        let words = |all: &[&str]| -> Result<BTreeMap<String, String>, String> {
            let all: Vec<String> = all.iter().map(|word| (*word).to_owned()).collect();
            places(&all, &["cpu", "cpuacct", "memory", "name=systemd"]).map_err(|e| e.to_string())
        };
        let found = words(&["memory:/a//b/", "cpu,cpuacct:./c"]).unwrap();
        let found: Vec<_> = found.iter().map(|(name, path)| format!("{name} {path}")).collect();
        assert_eq!(found, ["cpu c", "cpuacct c", "memory a/b"]);
        for (all, why) in [
            (&["memory:a", "b"][..], "b has no controller"),
            (&["whaaat:/"], "unknown controller whaaat"),
            (&[":/"], "unknown controller  in"),
            (&["cpu:a", "cpu:b"], "more than once"),
            (&["cpu:a/../../b"], "is not a sub cgroup path"),
        ] {
            let told = words(all).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
