//! Texts of a specification as the kernel takes them.

use std::ffi::CString;
use std::path::{Component, Path};

use super::PlanError;
use crate::step::{Place, Symlinks};

/// A string without NUL bytes.
pub(super) fn c_string(field: &'static str, value: &str) -> Result<CString, PlanError> {
    CString::new(value).map_err(|_| PlanError::Nul { field, value: value.to_owned() })
}

/// A path as it is seen from the container's root: absolute, with `.`, `..` and doubled slashes
/// resolved by their letters. Resolving symlinks is the kernel's work, later.
pub(super) fn clean(path: &Path) -> String {
    let mut parts: Vec<std::borrow::Cow<'_, str>> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name.to_string_lossy()),
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    format!("/{}", parts.join("/"))
}

/// A place in the root file system.
pub(super) fn place(field: &'static str, path: &Path) -> Result<Place, PlanError> {
    let path = clean(path);
    let own = ["/dev", "/proc", "/sys"].iter().any(|top| is_at_or_below(&path, top));
    let symlinks = if own { Symlinks::Refuse } else { Symlinks::InRoot };
    Ok(Place { path: c_string(field, &path)?, symlinks })
}

/// A place that is made unwritable or covered: in sysfs it may be behind links of the kernel's. Those of
/// procfs lead to files of each process, or, below `/proc/net`, to ones that nothing stays mounted on: a
/// mask there would be none.
pub(super) fn covered(field: &'static str, path: &Path) -> Result<Place, PlanError> {
    let place = place(field, path)?;
    let is_kernels = is_at_or_below(&clean(path), "/sys");
    Ok(if is_kernels { Place { symlinks: Symlinks::Kernels, ..place } } else { place })
}

/// Whether a clean path is `top` or something below it.
pub(super) fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_root() {
        let cleaned =
            ["/a/../b//c/.", "rel/ative", "../../etc", "/", ""].map(|p| clean(Path::new(p)));
        assert_eq!(cleaned, ["/b/c", "/rel/ative", "/etc", "/", "/"]);
    }

    #[test]
    fn symlinks_are_refused_where_we_mount_ourselves() {
        let symlinks = |path| place("x", Path::new(path)).unwrap().symlinks;
        assert_eq!(symlinks("/dev/pts"), Symlinks::Refuse);
        assert_eq!(symlinks("/x/../proc"), Symlinks::Refuse);
        assert_eq!(symlinks("/devices"), Symlinks::InRoot);
        assert_eq!(symlinks("/var/run"), Symlinks::InRoot);
    }
}
