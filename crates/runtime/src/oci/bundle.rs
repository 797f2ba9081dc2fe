//! A bundle: the directory with a specification and the root file system that it names.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};

use super::fault::Fault;
use super::record::Group;

/// A bundle that was read.
#[derive(Debug)]
pub(super) struct Bundle {
    /// Absolute.
    pub(super) path: PathBuf,
    pub(super) spec: Spec,
    /// Absolute.
    pub(super) rootfs: PathBuf,
}

impl Bundle {
    /// Reads the specification in a file that is seen from the directory.
    pub(super) fn read(directory: &Path, config: &Path) -> Result<Self, Fault> {
        let path =
            fs::canonicalize(directory).map_err(Fault::file("open the bundle", directory))?;
        let file = path.join(config);
        let bytes = fs::read(&file).map_err(Fault::file("read", &file))?;
        let mut spec: Spec =
            serde_json::from_slice(&bytes).map_err(|error| Fault::Json(file, error))?;
        check_version(spec.version())?;
        let root =
            spec.root().as_ref().ok_or_else(|| Fault::config("root is missing in config.json"))?;
        let rootfs = path.join(root.path());
        let rootfs =
            fs::canonicalize(&rootfs).map_err(Fault::file("open the root file system", rootfs))?;
        from_the_bundle(&mut spec, &path);
        Ok(Self { path, spec, rootfs })
    }
}

/// The source of a bind may be relative to the bundle (config.md, Mounts).
fn from_the_bundle(spec: &mut Spec, bundle: &Path) {
    let is_bind = |mount: &Mount| {
        let words = mount.options().iter().flatten();
        let is_named = words.map(String::as_str).any(|word| matches!(word, "bind" | "rbind"));
        is_named || matches!(mount.typ().as_deref(), Some("bind" | "rbind"))
    };
    for mount in spec.mounts_mut().iter_mut().flatten().filter(|mount| is_bind(mount)) {
        let source = mount.source().as_ref().filter(|source| source.is_relative());
        if let Some(source) = source.map(|source| bundle.join(source)) {
            mount.set_source(Some(source));
        }
    }
}

/// All of 1.x are understood; what they do not know of each other is passed over.
fn check_version(version: &str) -> Result<(), Fault> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = numbers.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(_)), Some(Ok(_)), None) => Ok(()),
        _ => Err(Fault::Config(format!("ociVersion {version:?} is none of 1.x"))),
    }
}

/// Where the container's control group is: `linux.cgroupsPath`, below the root of the hierarchies, or a
/// group of its id.
pub(super) fn group(spec: &Spec, id: &str) -> Result<Group, Fault> {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let path = path.unwrap_or_default();
    let text = path.to_str().ok_or_else(|| Fault::config("linux.cgroupsPath is not UTF-8"))?;
    // As runc does: what would leave the hierarchy stays in it.
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let name = parts.pop().unwrap_or(id);
    Ok(Group { parent: parts.join("/"), name: name.to_owned(), number: None, unit: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxBuilder, SpecBuilder};

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0+x"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "1.0", "2.0.0", "0.5.0", "1.x.0", "1.0.0.0"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }

    fn group_of(path: &str) -> String {
        let linux = LinuxBuilder::default().cgroups_path(path).build().unwrap();
        let spec = SpecBuilder::default().linux(linux).build().unwrap();
        let Group { parent, name, .. } = group(&spec, "box").unwrap();
        format!("{parent} {name}")
    }

    #[test]
    fn groups() {
        assert_eq!(group_of("/docker/abc"), "docker abc");
        assert_eq!(group_of("a/b/c"), "a/b c");
        assert_eq!(group_of("/one"), " one");
        assert_eq!(group_of(""), " box");
        assert_eq!(group_of("/../../x//./y/"), "x y");
    }
}
