//! Finding scopes of systemd's by their names, in whichever slice they are: those that nobody remembers.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};
use sys::Errno;

use crate::detect::Hierarchies;
use crate::error::CgroupError;
use crate::group::Cgroup;
use crate::tree;

/// How deep slices are looked into: systemd's own are three at most.
const DEPTH: usize = 16;

impl Cgroup {
    /// The scopes on version 2 whose name is wanted: the path of the slice, and the name.
    ///
    /// Only slices are looked into, which systemd alone makes: what a container or a service makes below its
    /// own group is not found.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn scopes(
        hierarchies: &Hierarchies,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, String)>, CgroupError> {
        let Some(unified) = hierarchies.unified() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut slices = vec![String::new()];
        while let Some(slice) = slices.pop() {
            let names = children(unified.root(), &slice)
                .map_err(|source| CgroupError::Read { path: unified.mount.join(&slice), source })?;
            let (below, rest): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| name.ends_with(".slice"));
            if slice.matches('/').count() < DEPTH {
                slices.extend(below.iter().map(|name| join(&slice, name)));
            }
            let scopes = rest.into_iter().filter(|name| name.ends_with(".scope") && wanted(name));
            found.extend(scopes.map(|name| (slice.clone(), name)));
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn join(slice: &str, name: &str) -> String {
    if slice.is_empty() { name.to_owned() } else { format!("{slice}/{name}") }
}

/// The names below a slice; none if it has gone meanwhile.
fn children(root: BorrowedFd<'_>, slice: &str) -> Result<Vec<String>, Errno> {
    let below = if slice.is_empty() { "." } else { slice };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(root, below, flags, Mode::empty()).and_then(tree::children) {
        Ok(names) => Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect()),
        Err(Errno::NOENT) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}
