//! What a user namespace sees of control groups of version 1.
//!
//! Its root mounts them only in a cgroup namespace of its own, and could not leave one again. A container without one
//! gets binds of its own groups, as with runc.

use std::path::Path;

use cgroup::{Hierarchies, View};
use oci_spec::runtime::{LinuxNamespaceType, Mount, MountBuilder, Spec};

use super::fault::Fault;

/// Puts the binds in place of the mount that the specification asks for.
pub(super) fn bind_groups<'a>(
    spec: &mut Spec,
    hierarchies: &Hierarchies,
    views: impl Iterator<Item = View<'a>>,
) -> Result<(), Fault> {
    if hierarchies.legacy().is_empty() || !needs_binds(spec) {
        return Ok(());
    }
    let groups: Vec<(String, String)> = views.flat_map(|view| places(&view)).collect();
    let mounts = spec.mounts().clone().unwrap_or_default();
    let mounts = mounts.into_iter().map(|mount| match mount.typ().as_deref() {
        Some("cgroup") => instead(&mount, &groups),
        _ => Ok(vec![mount]),
    });
    let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
    spec.set_mounts(Some(mounts.into_iter().flatten().collect()));
    Ok(())
}

/// Whether it has a user namespace and no cgroup namespace.
fn needs_binds(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    let has = |wanted| linux.namespaces().iter().flatten().any(|one| one.typ() == wanted);
    has(LinuxNamespaceType::User) && !has(LinuxNamespaceType::Cgroup)
}

/// The names of a hierarchy, and its group. One of several controllers has the name of each as well.
fn places(view: &View<'_>) -> Vec<(String, String)> {
    let name = view.mount.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let group = view.mount.join(view.path).display().to_string();
    let parts = name.split(',').filter(|part| *part != name).map(str::to_owned);
    let names: Vec<String> = parts.chain([name.clone()]).collect();
    names.into_iter().map(|name| (name, group.clone())).collect()
}

/// A file system for the places, what is bound there, and that it is read-only if it was to be.
fn instead(mount: &Mount, groups: &[(String, String)]) -> Result<Vec<Mount>, Fault> {
    let words = mount.options().clone().unwrap_or_default();
    let is_read_only = words.iter().any(|word| word == "ro");
    let with = |more: &[&str]| -> Vec<String> {
        words.iter().cloned().chain(more.iter().map(|word| (*word).to_owned())).collect()
    };
    let top = mount.destination();
    let mut writable = with(&["mode=755"]);
    writable.retain(|word| word != "ro");
    let mut all = vec![built(top, "tmpfs", "tmpfs", writable)?];
    for (name, group) in groups {
        all.push(built(&top.join(name), "bind", group, with(&["bind"]))?);
    }
    if is_read_only {
        all.push(built(
            top,
            "tmpfs",
            "tmpfs",
            ["remount", "bind", "ro"].map(str::to_owned).into(),
        )?);
    }
    Ok(all)
}

fn built(place: &Path, kind: &str, source: &str, options: Vec<String>) -> Result<Mount, Fault> {
    let mount = MountBuilder::default().destination(place).typ(kind).source(source);
    mount.options(options).build().map_err(|error| Fault::Config(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_of_groups_becomes_binds() {
        let options = vec!["ro".to_owned(), "nosuid".to_owned()];
        let mount = built(Path::new("/sys/fs/cgroup"), "cgroup", "cgroup", options).unwrap();
        let version = cgroup::Version::V1;
        let (top, options) = (Path::new("/c/cpu,cpuacct"), "cpu,cpuacct");
        let view = View { version, options, mount: top, path: "a/b" };
        let mounts = instead(&mount, &places(&view)).unwrap();
        let line = |mount: &Mount| {
            let words = mount.options().clone().unwrap_or_default().join(",");
            let source = mount.source().clone().unwrap_or_default();
            format!("{} {} {words}", mount.destination().display(), source.display())
        };
        let lines: Vec<String> = mounts.iter().map(line).collect();
        let expected = [
            "/sys/fs/cgroup tmpfs nosuid,mode=755",
            "/sys/fs/cgroup/cpu /c/cpu,cpuacct/a/b ro,nosuid,bind",
            "/sys/fs/cgroup/cpuacct /c/cpu,cpuacct/a/b ro,nosuid,bind",
            "/sys/fs/cgroup/cpu,cpuacct /c/cpu,cpuacct/a/b ro,nosuid,bind",
            "/sys/fs/cgroup tmpfs remount,bind,ro",
        ];
        assert_eq!(lines, expected);
    }
}
