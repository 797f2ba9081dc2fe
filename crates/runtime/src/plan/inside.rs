//! Binds of what earlier mounts have brought into the root.
//!
//! Mounts are made in their listed order (config.md, "Mounts"), so a source below the place of the root file system
//! means what is there when its turn comes. Every other source is opened before the container's process exists.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;

use super::PlanError;
use super::text::{clean, is_at_or_below, place};
use crate::step::{Place, Symlinks};

/// Where in the root the sources are, by index, that an earlier mount is at, above or below. `root` is where the root
/// file system is on the host.
///
/// # Errors
/// A path that cannot be passed to the kernel.
pub(crate) fn binds(
    mounts: &[Mount],
    root: Option<&Path>,
) -> Result<BTreeMap<usize, Place>, PlanError> {
    let mut found = BTreeMap::new();
    let Some(root) = root else { return Ok(found) };
    for (index, mount) in mounts.iter().enumerate() {
        let source = mount.source().as_deref().and_then(|source| source.strip_prefix(root).ok());
        // With `..` it may lead out of the root.
        let leads_down = |path: &&Path| path.components().all(|part| part != Component::ParentDir);
        let source = source.filter(|_| is_bind(mount)).filter(leads_down);
        let Some(source) = source else { continue };
        let source = clean(source);
        let meets = |earlier: &Mount| {
            let target = clean(earlier.destination());
            source == "/" || is_at_or_below(&source, &target) || is_at_or_below(&target, &source)
        };
        if mounts[..index].iter().any(meets) {
            // What an image has linked to somewhere else is not what was meant.
            let place = place("mounts[].source", &PathBuf::from(source))?;
            found.insert(index, Place { symlinks: Symlinks::Refuse, ..place });
        }
    }
    Ok(found)
}

fn is_bind(mount: &Mount) -> bool {
    let has = |wanted: &[&str]| {
        mount.options().iter().flatten().any(|option| wanted.contains(&option.as_str()))
    };
    let is_named = has(&["bind", "rbind"]);
    let is_one = is_named || matches!(mount.typ().as_deref(), None | Some("" | "none" | "bind"));
    is_one && !has(&["remount"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mounts: &[(&str, &str)]) -> Vec<String> {
        let bind = |(source, target): &(&str, &str)| -> Mount {
            let text = serde_json::json!({
                "source": source, "destination": target, "type": "bind", "options": ["rbind"],
            });
            serde_json::from_value(text).unwrap()
        };
        let mounts: Vec<Mount> = mounts.iter().map(bind).collect();
        let found = binds(&mounts, Some(Path::new("/b/root"))).unwrap();
        found.iter().map(|(index, place)| format!("{index} {place}")).collect()
    }

    #[test]
    fn a_source_in_the_root_is_looked_for_there_once_something_is_mounted_around_it() {
        assert_eq!(found(&[("/srv", "/a"), ("/b/root/a/x", "/c")]), ["1 /a/x"]);
        assert_eq!(found(&[("/srv", "/a/x"), ("/b/root/a", "/c")]), ["1 /a"]);
        assert_eq!(found(&[("/srv", "/a/../d"), ("/b/root/d/", "/c")]), ["1 /d"]);
        assert_eq!(found(&[("/srv", "/a"), ("/b/root", "/c")]), ["1 /"]);
        assert_eq!(found(&[("/srv", "/data"), ("/b/root/../data", "/c")]), [""; 0]);
        // Before its turn there is nothing, and beside it nothing that matters.
        assert_eq!(found(&[("/b/root/a", "/c"), ("/srv", "/a")]), [""; 0]);
        assert_eq!(found(&[("/srv", "/ab"), ("/b/root/a", "/c")]), [""; 0]);
        assert_eq!(found(&[("/srv", "/a"), ("/b/rootless/a", "/c"), ("/a", "/d")]), [""; 0]);
    }
}
