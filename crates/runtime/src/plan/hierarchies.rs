//! How control groups of version 1 are shown: a tmpfs with a file system for each hierarchy.

use std::path::Path;

use sys::mount::{Attributes, MountAttrFlags};

use super::PlanError;
use super::text::{c_string, place};
use crate::step::{Entry, MountStep, Source};

pub(super) fn top() -> Source {
    let param = |key: &std::ffi::CStr, value: &std::ffi::CStr| (key.into(), Some(value.into()));
    let params = vec![param(c"source", c"tmpfs"), param(c"mode", c"755")];
    Source::New { kind: c"tmpfs".to_owned(), params }
}

/// The name of a hierarchy's directory: its controllers, or its own name.
fn name(controllers: &[String]) -> String {
    let joined = controllers.join(",");
    joined.strip_prefix("name=").map(str::to_owned).unwrap_or(joined)
}

pub(super) fn entries(controllers: &[String]) -> Result<Vec<Entry>, PlanError> {
    let field = "/proc/self/cgroup";
    let name = c_string(field, &name(controllers))?;
    let mut entries = vec![Entry::Directory(name.clone())];
    if controllers.len() > 1 {
        for controller in controllers {
            entries.push(Entry::Link(c_string(field, controller)?, name.clone()));
        }
    }
    Ok(entries)
}

pub(super) fn one(top: &MountStep, controllers: &[String]) -> Result<MountStep, PlanError> {
    let field = "/proc/self/cgroup";
    let mut params = vec![(c"source".to_owned(), Some(c"cgroup".to_owned()))];
    for controller in controllers {
        params.push(match controller.strip_prefix("name=") {
            Some(name) => (c"name".to_owned(), Some(c_string(field, name)?)),
            None => (c_string(field, controller)?, None),
        });
    }
    let path = format!("{}/{}", top.target, name(controllers));
    // The modes of access time are the tmpfs's business.
    let kept = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(MountStep {
        source: Source::New { kind: c"cgroup".to_owned(), params },
        target: place("mounts[].destination", Path::new(&path))?,
        attributes: Attributes { set: top.attributes.set & kept, ..Attributes::NONE },
        recursive: top.recursive,
        propagation: top.propagation,
        content: Vec::new(),
    })
}
