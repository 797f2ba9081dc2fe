//! Roots among the mounts of others: a container without a mount namespace of its own has its root attached where its
//! specification names it, in its caller's mount namespace or in the one that it joins.
//!
//! Owns where such a root is, which outlives the container's process, and that it goes with the container. Nothing
//! else of that namespace is touched.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespaceType};
use serde::{Deserialize, Serialize};
use sys::mount_table::{self, MountId};
use sys::process::Namespaces;

use super::fault::Fault;
use super::users::{self, Open};
use crate::plan;

/// What the mount namespace of this process is.
const OWN: &str = "/proc/thread-self/ns/mnt";

/// A root that is attached, or about to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attached {
    path: PathBuf,
    mount: u64,
    unique: Option<u64>,
    /// The inode of the mount namespace.
    namespace: u64,
    /// The file that the specification names it by, if it is joined.
    joined: Option<PathBuf>,
}

impl Attached {
    /// What is about to be attached at a path, if the container has no mount namespace of its own. One that it joins
    /// comes to those that are open: what is joined is what was looked at.
    pub(super) fn of(
        linux: Option<&Linux>,
        namespaces: &mut Open,
        (root, path): (&OwnedFd, &Path),
    ) -> Result<Option<Self>, Fault> {
        let Some(linux) = linux.filter(|linux| plan::shares_mounts(linux)) else { return Ok(None) };
        if path.parent().is_none() {
            let text = "root.path is /: a container that has it needs a mount namespace of its own";
            return Err(Fault::config(text));
        }
        let mut all = linux.namespaces().iter().flatten();
        let joined = all.find(|one| one.typ() == LinuxNamespaceType::Mount);
        let joined = joined.and_then(|one| one.path().clone());
        let namespace = users::open(joined.as_deref().unwrap_or(Path::new(OWN)))?;
        let inode = inode(&namespace)?;
        if joined.is_some() {
            namespaces.push((Namespaces::MOUNT, namespace));
        }
        let MountId { number, unique } =
            mount_table::id_of(root).map_err(|errno| Fault::Call("look at the root", errno))?;
        let path = path.to_owned();
        Ok(Some(Self { path, mount: number, unique, namespace: inode, joined }))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it away, with all that is mounted in it. A namespace that no process is in has taken it along, unless a
    /// descriptor keeps it.
    pub(super) fn detach(&self) -> Result<(), Fault> {
        let namespace = match self.namespace == inode(&users::open(Path::new(OWN))?)? {
            true => None,
            false => match self.elsewhere() {
                Some(found) => Some(found),
                None => return Ok(()),
            },
        };
        let id = MountId { number: self.mount, unique: self.unique };
        let done = mount_table::detach_from(namespace, &self.path, id);
        done.map_err(|error| match error.raw_os_error() {
            Some(code) if code == sys::Errno::BUSY.raw_os_error() => Fault::Config(format!(
                "something else is mounted on {}, over the container's root: unmount that first",
                self.path.display()
            )),
            _ => Fault::file("unmount the container's root", &self.path)(error),
        })
    }

    /// The namespace, by where it was joined or by a process that is in it: who deletes a container may be in another
    /// than who made it (a unit with `PrivateTmp=`).
    fn elsewhere(&self) -> Option<OwnedFd> {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let others = all.map(|entry| entry.path().join("ns/mnt"));
        let opened = self
            .joined
            .clone()
            .into_iter()
            .chain(others)
            .filter_map(|path| users::open(&path).ok());
        opened.into_iter().find(|found| inode(found).is_ok_and(|number| number == self.namespace))
    }
}

/// The number of a namespace.
fn inode(namespace: impl AsFd) -> Result<u64, Fault> {
    let found = rustix::fs::fstat(namespace);
    found
        .map(|found| found.st_ino)
        .map_err(|errno| Fault::Call("look at the mount namespace", errno))
}
