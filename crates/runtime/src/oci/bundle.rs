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
    /// What is told of access to devices that it allows or denies in letters that mean nothing.
    pub(super) letters: Vec<String>,
}

impl Bundle {
    /// Reads the specification in a file that is seen from the directory.
    pub(super) fn read(directory: &Path, config: &Path) -> Result<Self, Fault> {
        let path =
            fs::canonicalize(directory).map_err(Fault::file("open the bundle", directory))?;
        let file = path.join(config);
        let bytes = fs::read(&file).map_err(Fault::file("read", &file))?;
        let (mut spec, unknown): (Spec, _) =
            without_unknown(&bytes, "/process").map_err(|e| Fault::Json(file, e))?;
        check_version(spec.version())?;
        let root =
            spec.root().as_ref().ok_or_else(|| Fault::config("root is missing in config.json"))?;
        let rootfs = path.join(root.path());
        let rootfs =
            fs::canonicalize(&rootfs).map_err(Fault::file("open the root file system", rootfs))?;
        from_the_bundle(&mut spec, &path);
        into_the_root(&mut spec, &rootfs);
        let letters = without_letters(&mut spec);
        Ok(Self { path, spec, rootfs, unknown, letters })
    }
}

/// Reads what has a process, at a pointer. Capabilities that nobody knows are left out and told: they fail no container
/// (config.md, "Linux Process").
pub(super) fn without_unknown<T: DeserializeOwned>(
    bytes: &[u8],
    process: &str,
) -> Result<(T, Vec<String>), serde_json::Error> {
    let error = match serde_json::from_slice(bytes) {
        Ok(read) => return Ok((read, Vec::new())),
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_slice(bytes)?;
    let Some(found) = value.pointer_mut(process) else { return Err(error) };
    let is_renamed = rename_flags(found);
    let unknown = take_unknown(found);
    if unknown.is_empty() && !is_renamed {
        return Err(error);
    }
    Ok((serde_json::from_value(value)?, unknown))
}

/// Takes the capabilities that nobody knows out of the sets of a process.
fn take_unknown(process: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
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
    unknown
}

/// The scheduler's flags as the kernel and the specification's schema call them, and as they are known here.
const FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Whether any flag was called by its other name.
fn rename_flags(process: &mut Value) -> bool {
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    let mut is_renamed = false;
    for flag in flags.into_iter().flatten() {
        let known = FLAGS.iter().find(|(name, _)| flag.as_str() == Some(name));
        if let Some((_, known)) = known {
            *flag = Value::from(*known);
            is_renamed = true;
        }
    }
    is_renamed
}

/// Leaves letters that mean nothing out of the access to devices, as runc does. Returns what is to be told of them.
///
/// A rule that names no access is about all of it: one without any letter that is known must not become such a one
/// if it allows something.
fn without_letters(spec: &mut Spec) -> Vec<String> {
    let mut found = Vec::new();
    let linux = spec.linux_mut().as_mut();
    let resources = linux.and_then(|linux| linux.resources_mut().as_mut());
    let rules = resources.and_then(|resources| resources.devices_mut().as_mut());
    let Some(rules) = rules else { return found };
    rules.retain_mut(|rule| {
        let Some(access) = rule.access().clone() else { return true };
        let known: String = access.chars().filter(|letter| "rwm".contains(*letter)).collect();
        if known == access {
            return true;
        }
        let is_kept = !known.is_empty() || !rule.allow();
        found.push(match (known.as_str(), is_kept) {
            ("", true) => {
                format!("the access {access:?} has none of the letters r, w and m: all is denied")
            }
            ("", false) => format!(
                "the access {access:?} has none of the letters r, w and m: the rule is left out"
            ),
            _ => format!("of the access {access:?} only the letters r, w and m are heeded"),
        });
        rule.set_access(Some(known));
        is_kept
    });
    found
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

/// Where something is mounted may be named by where that is on the host, as runc has it.
fn into_the_root(spec: &mut Spec, rootfs: &Path) {
    for mount in spec.mounts_mut().iter_mut().flatten() {
        let inside =
            mount.destination().strip_prefix(rootfs).ok().filter(|_| rootfs != Path::new("/"));
        if let Some(inside) = inside.map(|inside| Path::new("/").join(inside)) {
            mount.set_destination(inside);
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
    Ok(Group {
        parent: parts.join("/"),
        name: name.to_owned(),
        number: None,
        unit: None,
        hierarchies: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgroup::{DeviceRule, DeviceRules, Effect};
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
            without_unknown::<Spec>(text.as_bytes(), "/process")
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

    #[test]
    fn flags_of_the_scheduler_have_the_schemas_names_too() {
        let read = |flag: &str| {
            let text = format!(
                r#"{{"cwd":"/","user":{{"uid":0,"gid":0}},"scheduler":{{"policy":"SCHED_OTHER","flags":["{flag}"]}}}}"#
            );
            let (process, _): (oci_spec::runtime::Process, _) =
                without_unknown(text.as_bytes(), "").ok()?;
            Some(process.scheduler().as_ref()?.flags().as_ref()?.first()?.to_string())
        };
        let (reset, overrun) = ("SCHED_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN");
        assert!(read(reset).is_some());
        assert_eq!(read("SCHED_FLAG_RESET_ON_FORK"), read(reset));
        assert!(read(overrun).is_some());
        assert_eq!(read("SCHED_FLAG_FLY"), None);
    }

    #[test]
    fn letters_of_an_access_that_mean_nothing_are_left_out() {
        let text = r#"{"ociVersion":"1.2.0","linux":{"resources":{"devices":[
            {"allow":false,"access":"rwa"},{"allow":true,"access":"rm"},{"allow":true}]}}}"#;
        let (told, rules) = heeded(text);
        assert_eq!(told, ["of the access \"rwa\" only the letters r, w and m are heeded"]);
        let letters = |text| cgroup::Access::parse(text).unwrap();
        let rule = |effect, access| DeviceRule { access, ..DeviceRule::everything(effect) };
        let expected = vec![
            rule(Effect::Deny, letters("rw")),
            rule(Effect::Allow, letters("rm")),
            DeviceRule::everything(Effect::Allow),
        ];
        assert_eq!(rules, DeviceRules::new(expected));
    }

    #[test]
    fn an_access_of_no_known_letter_grants_nothing_and_denies_all() {
        let rule = |allow: bool| {
            format!(
                r#"{{"ociVersion":"1.2.0","linux":{{"resources":{{"devices":[{{"allow":{allow},"access":"x"}}]}}}}}}"#
            )
        };
        let (told, rules) = heeded(&rule(true));
        assert!(told[0].ends_with("the rule is left out"), "{told:?}");
        assert_eq!(rules, DeviceRules::new(Vec::new()));
        let (told, rules) = heeded(&rule(false));
        assert!(told[0].ends_with("all is denied"), "{told:?}");
        assert_eq!(rules, DeviceRules::new(vec![DeviceRule::everything(Effect::Deny)]));
    }

    /// What is told of a specification, and the rules that come of it.
    fn heeded(text: &str) -> (Vec<String>, DeviceRules) {
        let mut spec: Spec = serde_json::from_str(text).unwrap();
        let told = without_letters(&mut spec);
        let resources = spec.linux().as_ref().unwrap().resources().clone().unwrap();
        let rules = crate::resources::devices(&resources).unwrap();
        (told, rules)
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
