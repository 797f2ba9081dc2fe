//! Where the hierarchies of version 1 were, for who comes back to a cgroup.
//!
//! The list of all mounts, which tells it, takes the kernel longer than anything else that a short command asks. Owns
//! how they are found again without: by path, and as the very same by the device and the number of their roots.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::detect::{Controller, Hierarchies, Layout, Legacy, Unified, Version};
use crate::detect::{is_ours, open_root};

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What mounts it again, as [`Legacy::options`]; nothing for version 2.
    pub options: String,
    /// Where it was mounted.
    pub mount: String,
    /// The device of its root.
    pub device: u64,
    /// The number of its root.
    pub number: u64,
}

impl Hierarchies {
    /// Where they are. Empty where that is found without a list: version 2 alone.
    #[must_use]
    pub fn note(&self) -> Vec<Noted> {
        if self.legacy().is_empty() {
            return Vec::new();
        }
        let unified = self.unified().map(|unified| ("", &unified.mount, unified.root()));
        let legacy = self.legacy().iter().map(|one| (one.options.as_str(), &one.mount, one.root()));
        let noted = legacy.chain(unified).map(|(options, mount, root)| {
            let found = rustix::fs::fstat(root).ok()?;
            let (options, mount) = (options.to_owned(), mount.to_str()?.to_owned());
            Some(Noted { options, mount, device: found.st_dev, number: found.st_ino })
        });
        // Half of them would be another layout.
        noted.collect::<Option<_>>().unwrap_or_default()
    }

    /// Opens those again. `None` if one of them is not where it was, or is not ours.
    #[must_use]
    pub fn again(noted: &[Noted]) -> Option<Self> {
        let (mut legacy, mut unified) = (Vec::new(), None);
        for one in noted {
            let root = same_root(one)?;
            let mount = Path::new(&one.mount).to_owned();
            if one.options.is_empty() {
                unified = Some(Unified::new(mount, root));
            } else {
                let names = one.options.split(',');
                let controllers =
                    names.filter_map(|name| Controller::from_name(name, Version::V1)).collect();
                legacy.push(Legacy::new(controllers, one.options.clone(), mount, root));
            }
        }
        Some(Self::of(match (legacy.is_empty(), unified) {
            (true, _) => return None,
            (false, None) => Layout::V1(legacy),
            (false, Some(unified)) => Layout::Hybrid(legacy, unified),
        }))
    }

    /// The same of those alone that tell whether a cgroup is the one that it was, and whether it is frozen.
    #[must_use]
    pub fn again_to_look(noted: &[Noted]) -> Option<Self> {
        let asked = [Controller::Pids, Controller::Freezer].map(|one| one.name(Version::V1));
        let is_asked = |one: &&Noted| {
            one.options.is_empty() || one.options.split(',').any(|name| asked.contains(&name))
        };
        let few: Vec<Noted> = noted.iter().filter(is_asked).cloned().collect();
        Self::again(if few.iter().all(|one| one.options.is_empty()) { noted } else { &few })
    }
}

fn same_root(noted: &Noted) -> Option<OwnedFd> {
    let root = open_root(Path::new(&noted.mount)).ok()?;
    let found = rustix::fs::fstat(&root).ok()?;
    let is_same = (found.st_dev, found.st_ino) == (noted.device, noted.number);
    (is_same && is_ours(&root)).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where version 1 is mounted; elsewhere nothing is noted.
    #[test]
    fn what_was_noted_is_found_again_as_long_as_it_is_the_same() {
        let found = Hierarchies::detect().unwrap();
        let mut noted = found.note();
        let options = |all: &Hierarchies| -> Vec<String> {
            all.legacy().iter().map(|one| one.options.clone()).collect()
        };
        assert_eq!(noted.is_empty(), found.legacy().is_empty());
        let Some(again) = Hierarchies::again(&noted) else {
            assert!(noted.is_empty());
            return;
        };
        assert_eq!(options(&again), options(&found));
        assert_eq!(again.unified().is_some(), found.unified().is_some());
        let few = Hierarchies::again_to_look(&noted).unwrap();
        let place = |all: &Hierarchies| all.legacy_tracking().map(|one| one.mount.clone());
        assert_eq!(place(&few), place(&found));
        let freezer = |all: &Hierarchies| all.legacy_of(Controller::Freezer).is_some();
        assert_eq!(freezer(&few), freezer(&found));
        noted[0].number += 1;
        assert!(Hierarchies::again(&noted).is_none(), "another one is there");
        "/nowhere".clone_into(&mut noted[0].mount);
        assert!(Hierarchies::again(&noted).is_none());
    }
}
