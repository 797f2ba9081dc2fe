//! One more mount for a container that runs.
//!
//! It is read, made and attached as the init does it with the mounts of a specification, by whoever is
//! in the container's mount namespace. Not owned: how one gets there, and where a tree comes from.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::Mount;
use sys::userns::{IdMap, IdMaps};

use crate::error::LaunchError;
use crate::filled;
use crate::init;
use crate::plan;
use crate::step::{MountStep, Place, Source};

/// A mount with all its attributes that is attached nowhere yet.
#[derive(Debug)]
pub struct Later {
    made: OwnedFd,
    target: Place,
}

impl Later {
    /// Makes it: of a bind from its detached source, which has the container's ids if it shall show
    /// them; a tmpfs anew, for the users of `users`.
    ///
    /// # Errors
    /// It is neither, is inside of `/proc`, or the kernel refuses it.
    pub fn prepare(
        mount: &Mount,
        tree: Option<OwnedFd>,
        users: Option<IdMap>,
    ) -> Result<Self, LaunchError> {
        let mut step = plan::one_mount(mount)?;
        if let Some(map) = users {
            own(&mut step, &map.into());
        }
        let made = init::make(&step, tree).map_err(|errno| LaunchError::Prepare {
            action: "make the mount for",
            object: step.target.to_string(),
            errno,
        })?;
        Ok(Self { made, target: step.target })
    }

    /// Attaches it below `root`; what is missing on the way is made.
    ///
    /// # Errors
    /// There is something else on the way, or the kernel refuses it.
    pub fn attach(&self, root: impl AsFd) -> Result<(), LaunchError> {
        init::attach(root.as_fd(), self.made.as_fd(), &self.target)
            .map_err(LaunchError::prepare("mount on", &self.target))
    }
}

impl AsFd for Later {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.made.as_fd()
    }
}

/// A file system that is made outside of a user namespace gets the owner that its option means inside:
/// its root, if it names none.
fn own(step: &mut MountStep, maps: &IdMaps) {
    let Source::New { params, .. } = &mut step.source else { return };
    for (key, is_group) in [(c"uid", false), (c"gid", true)] {
        let given = params.iter().position(|(name, _)| name.as_c_str() == key);
        let inside = given.and_then(|at| params.remove(at).1);
        let inside = inside.and_then(|text| text.to_str().ok()?.parse().ok()).unwrap_or(0);
        let id = if is_group { filled::group(maps, inside) } else { filled::user(maps, inside) };
        // Digits hold no NUL byte.
        let outside = CString::new(id.to_string()).ok();
        params.push((key.to_owned(), outside));
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::MountBuilder;

    use super::*;

    fn tmpfs(target: &str, options: &[&str]) -> Mount {
        let options: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        MountBuilder::default()
            .destination(target)
            .typ("tmpfs")
            .source("tmpfs")
            .options(options)
            .build()
            .unwrap()
    }

    fn params(options: &[&str], users: Option<IdMap>) -> String {
        let mut step = plan::one_mount(&tmpfs("/x", options)).unwrap();
        if let Some(map) = users {
            own(&mut step, &map.into());
        }
        let Source::New { params, .. } = step.source else { panic!("{step:?}") };
        let shown = |(key, value): (CString, Option<CString>)| {
            format!("{}={}", key.to_string_lossy(), value.unwrap_or_default().to_string_lossy())
        };
        params.into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn owners_of_a_tmpfs_are_those_of_the_container() {
        let users = Some(IdMap { first: 7000, count: 100 });
        assert_eq!(params(&["size=4k", "uid=5"], None), "source=tmpfs size=4k uid=5");
        assert_eq!(
            params(&["uid=5", "mode=700"], users),
            "source=tmpfs mode=700 uid=7005 gid=7000"
        );
        // Nobody's there.
        assert_eq!(params(&["gid=100"], users), "source=tmpfs uid=7000 gid=7000");
    }

    #[test]
    fn nothing_stands_in_for_procfs() {
        for target in ["/proc", "/proc/sys", "/x/../proc/1"] {
            let refused = plan::one_mount(&tmpfs(target, &[])).unwrap_err().to_string();
            assert!(refused.contains("cannot be mounted inside /proc"), "{refused}");
        }
        assert!(plan::one_mount(&tmpfs("/x", &["tmpcopyup"])).is_err());
    }
}
