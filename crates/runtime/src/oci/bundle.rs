//! A bundle: the directory with a specification and the root file system that it names.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, Mount, Spec};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
    /// Capabilities that it asks for and nobody knows.
    pub(super) unknown: Vec<String>,
}

impl Bundle {
    /// Reads the specification in a file that is seen from the directory.
    pub(super) fn read(directory: &Path, config: &Path) -> Result<Self, Fault> {
        let path =
            fs::canonicalize(directory).map_err(Fault::file("open the bundle", directory))?;
        let file = path.join(config);
        let bytes = fs::read(&file).map_err(Fault::file("read", &file))?;
        let (mut spec, unknown): (Spec, _) =
            without_unknown(&bytes, "/process/capabilities").map_err(|e| Fault::Json(file, e))?;
        check_version(spec.version())?;
        let root =
            spec.root().as_ref().ok_or_else(|| Fault::config("root is missing in config.json"))?;
        let rootfs = path.join(root.path());
        let rootfs =
            fs::canonicalize(&rootfs).map_err(Fault::file("open the root file system", rootfs))?;
        from_the_bundle(&mut spec, &path);
        Ok(Self { path, spec, rootfs, unknown })
    }
}

/// Reads what has capabilities somewhere in it. Those that nobody knows are left out and told: they fail no container
/// (config.md, "Linux Process").
pub(super) fn without_unknown<T: DeserializeOwned>(
    bytes: &[u8],
    pointer: &str,
) -> Result<(T, Vec<String>), serde_json::Error> {
    let error = match serde_json::from_slice(bytes) {
        Ok(read) => return Ok((read, Vec::new())),
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_slice(bytes)?;
    let mut unknown = Vec::new();
    let sets = value.pointer_mut(pointer).and_then(Value::as_object_mut);
    for names in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut)
    {
        names.retain(|name| {
            let is_known = Capability::deserialize(name).is_ok();
            unknown.extend(name.as_str().filter(|_| !is_known).map(str::to_owned));
            is_known || !name.is_string()
        });
    }
    unknown.sort_unstable();
    unknown.dedup();
    if unknown.is_empty() { Err(error) } else { Ok((serde_json::from_value(value)?, unknown)) }
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

    #[test]
    fn a_capability_that_nobody_knows_is_left_out_and_told() {
        let read = |sets: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.2.0","process":{{"cwd":"/","user":{{"uid":0,"gid":0}},"capabilities":{sets}}}}}"#
            );
            without_unknown::<Spec>(text.as_bytes(), "/process/capabilities")
        };
        let (_, unknown) = read(r#"{"bounding":["CAP_KILL"]}"#).unwrap();
        assert!(unknown.is_empty());
        let sets = r#"{"bounding":["CAP_FLY","CAP_KILL"],"effective":["CAP_FLY","SWIM"]}"#;
        let (spec, unknown) = read(sets).unwrap();
        assert_eq!(unknown, ["CAP_FLY", "SWIM"]);
        let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
        assert!(sets.effective().as_ref().unwrap().is_empty());
        assert!(read(r#"{"bounding":[1]}"#).is_err());
        assert!(read(r#"{"bounding":["CAP_FLY",1]}"#).is_err());
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
