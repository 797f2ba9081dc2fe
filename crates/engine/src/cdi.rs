//! Devices by the names of the container device interface: which there are, and what a container that
//! asks for some of them gets.
//!
//! What a file says is `spec`'s. Files that cannot be read harm nobody who does not ask for a device:
//! whoever does is told of them if it is not found.

mod spec;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::container::DeviceRequest;
use oci_spec::runtime::{
    Hook, Hooks, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount, MountBuilder,
};

use crate::userns::Users;
use crate::{Engine, EngineError, security};
use spec::{DeviceNode, Edits, Format, Spec};

/// Where vendors and administrators put specifications; a later directory wins.
const DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The most files of one directory that are read.
const MAX_FILES: usize = 1024;

/// What `--gpus` means where nobody names another vendor.
const GPU: &str = "nvidia.com/gpu";

/// All that a container gets by its devices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    pub(crate) env: Vec<String>,
    pub(crate) nodes: Vec<LinuxDevice>,
    pub(crate) rules: Vec<LinuxDeviceCgroup>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) groups: Vec<u32>,
    pub(crate) hooks: Hooks,
}

/// The devices of a host.
#[derive(Debug, Default)]
struct Registry {
    /// Which specification has a device of this name, and its place there; `None` if several of one
    /// directory have.
    devices: BTreeMap<String, Option<(usize, usize)>>,
    specs: Vec<Spec>,
    /// Files that are none, and why.
    broken: Vec<String>,
}

impl Engine {
    /// Where specifications are looked for.
    pub(crate) fn cdi_dirs(&self) -> Vec<PathBuf> {
        let own = self.paths().config().own.join("cdi");
        DIRS.iter().map(PathBuf::from).chain([own]).collect()
    }

    /// The names of all devices.
    pub(crate) fn cdi_devices(&self) -> Vec<String> {
        let registry = Registry::read(&self.cdi_dirs());
        registry.devices.into_iter().filter_map(|(name, place)| place.map(|_| name)).collect()
    }

    /// What a container that asks for these gets.
    ///
    /// # Errors
    /// There is no such device, or it needs what dhow has not.
    pub(crate) fn cdi(&self, requests: &[DeviceRequest]) -> Result<Given, EngineError> {
        if requests.is_empty() {
            return Ok(Given::default());
        }
        let registry = Registry::read(&self.cdi_dirs());
        let mut names = Vec::new();
        for request in requests {
            names.extend(registry.names(request)?);
        }
        registry.given(&names)
    }
}

impl Registry {
    fn read(dirs: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        for dir in dirs {
            registry.read_dir(dir);
        }
        registry
    }

    fn read_dir(&mut self, dir: &Path) {
        let mut of_dir: BTreeMap<String, Option<(usize, usize)>> = BTreeMap::new();
        for path in files(dir) {
            let spec = match read(&path) {
                Ok(spec) => spec,
                Err(why) => {
                    self.broken.push(format!("{}: {why}", path.display()));
                    continue;
                }
            };
            for (at, device) in spec.devices.iter().enumerate() {
                let name = format!("{}={}", spec.kind, device.name);
                let place = Some((self.specs.len(), at));
                of_dir.entry(name).and_modify(|seen| *seen = None).or_insert(place);
            }
            self.specs.push(spec);
        }
        self.devices.extend(of_dir);
    }

    /// The names that a request means.
    fn names(&self, request: &DeviceRequest) -> Result<Vec<String>, EngineError> {
        if request.driver == "cdi" {
            return Ok(request.ids.clone());
        }
        let prefix = format!("{GPU}=");
        let known = self.devices.keys().filter(|name| name.starts_with(&prefix)).count();
        let is_for_gpus = request.capabilities.iter().any(|all| all.iter().any(|c| c == "gpu"));
        if !matches!(request.driver.as_str(), "" | "nvidia") || !is_for_gpus || known == 0 {
            return Err(EngineError::Invalid(no_driver(request)));
        }
        let chosen: Vec<String> = match (request.ids.is_empty(), usize::try_from(request.count)) {
            (false, _) => request.ids.clone(),
            // With one more than there are, one is missing: enough to be refused by name.
            (true, Ok(count)) => (0..count.min(known + 1)).map(|n| n.to_string()).collect(),
            (true, Err(_)) => vec!["all".to_owned()],
        };
        Ok(chosen.into_iter().map(|name| format!("{prefix}{name}")).collect())
    }

    fn given(&self, names: &[String]) -> Result<Given, EngineError> {
        let (mut given, mut seen) = (Given::default(), Vec::new());
        let missing: Vec<&str> =
            names.iter().filter(|name| self.place(name).is_none()).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(EngineError::Invalid(self.unresolvable(&missing)));
        }
        for name in names {
            let Some((at, device)) = self.place(name) else { continue };
            let spec = &self.specs[at];
            if !seen.contains(&at) {
                seen.push(at);
                given.add(name, &spec.container_edits)?;
            }
            given.add(name, &spec.devices[device].container_edits)?;
        }
        Ok(given)
    }

    fn place(&self, name: &str) -> Option<(usize, usize)> {
        self.devices.get(name).copied().flatten()
    }

    /// Docker's words, and what may be the reason.
    fn unresolvable(&self, missing: &[&str]) -> String {
        let mut text =
            format!("CDI device injection failed: unresolvable CDI devices {}", missing.join(", "));
        if missing.iter().any(|name| self.devices.contains_key(*name)) {
            text.push_str(" (several files of one directory have it)");
        }
        for broken in &self.broken {
            text.push_str("; ");
            text.push_str(broken);
        }
        text
    }
}

/// Docker's text, Go's lists and all.
fn no_driver(request: &DeviceRequest) -> String {
    let lists: Vec<String> =
        request.capabilities.iter().map(|all| format!("[{}]", all.join(" "))).collect();
    format!(
        "could not select device driver {:?} with capabilities: [{}]",
        request.driver,
        lists.join(" ")
    )
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| format_of(path).is_some()).collect();
    paths.sort();
    paths.truncate(MAX_FILES);
    paths
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "yaml" => Some(Format::Yaml),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Spec, String> {
    let format = format_of(path).unwrap_or(Format::Json);
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let text = sys::root::Root::open(parent)
        .and_then(|dir| dir.read_untrusted(name, spec::MAX_FILE, sys::root::Final::Follow))
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    spec::parse(&text, format).map_err(|error| error.to_string())
}

impl Given {
    /// Whether a container with these users can have it all.
    ///
    /// # Errors
    /// Hooks are the host's root, who would do their work in namespaces that are not.
    pub(crate) fn check(&self, users: Option<&Users>) -> Result<(), EngineError> {
        if users.is_none() || self.hooks == Hooks::default() {
            return Ok(());
        }
        let why = "a device that needs hooks cannot be given to a container with a user namespace of its own: \
                   use --userns=host";
        Err(EngineError::Invalid(why.to_owned()))
    }

    fn add(&mut self, name: &str, edits: &Edits) -> Result<(), EngineError> {
        let lacks = |what: String| {
            Err(EngineError::Invalid(format!(
                "CDI device {name} needs {what}, which dhow does not have yet"
            )))
        };
        if edits.intel_rdt.is_some() {
            return lacks("intelRdt".to_owned());
        }
        if !edits.net_devices.is_empty() {
            return lacks("netDevices".to_owned());
        }
        self.env.extend(edits.env.iter().cloned());
        self.groups.extend(edits.additional_gids.iter().filter(|gid| **gid != 0));
        for node in &edits.device_nodes {
            self.add_node(node)?;
        }
        for mount in &edits.mounts {
            self.mounts.push(oci_mount(mount)?);
        }
        for hook in &edits.hooks {
            add_hook(&mut self.hooks, hook)?;
        }
        Ok(())
    }

    fn add_node(&mut self, wished: &DeviceNode) -> Result<(), EngineError> {
        let host = wished.host_path.as_ref().unwrap_or(&wished.path);
        let kind = match wished.kind.as_deref().unwrap_or_default() {
            "b" => Some(LinuxDeviceType::B),
            "c" | "u" => Some(LinuxDeviceType::C),
            "p" => Some(LinuxDeviceType::P),
            _ => None,
        };
        let mut node = match (kind, wished.major, wished.minor) {
            (Some(kind), Some(major), Some(minor)) => security::device(host, kind, major, minor)?,
            (Some(LinuxDeviceType::P), _, _) => security::device(host, LinuxDeviceType::P, 0, 0)?,
            _ => security::node(host)?,
        };
        node.set_path(wished.path.clone());
        if let Some(mode) = wished.file_mode {
            node.set_file_mode(Some(mode & 0o7777));
        }
        node.set_uid(wished.uid.or(node.uid()));
        node.set_gid(wished.gid.or(node.gid()));
        if node.typ() != LinuxDeviceType::P {
            let access = wished.permissions.as_deref().filter(|p| !p.is_empty()).unwrap_or("rwm");
            self.rules.push(security::rule_for(&node, access)?);
        }
        put_node(&mut self.nodes, node);
        Ok(())
    }
}

/// A place has one node: of several that are asked for, the last.
pub(crate) fn put_node(nodes: &mut Vec<LinuxDevice>, node: LinuxDevice) {
    match nodes.iter_mut().find(|there| there.path() == node.path()) {
        Some(there) => *there = node,
        None => nodes.push(node),
    }
}

/// In the order of the devices, as each moment wants it.
fn add_hook(hooks: &mut Hooks, wished: &spec::Hook) -> Result<(), EngineError> {
    let mut hook = Hook::default();
    hook.set_path(wished.path.clone())
        .set_args(Some(wished.args.clone()).filter(|args| !args.is_empty()))
        .set_env(Some(wished.env.clone()))
        .set_timeout(wished.timeout);
    let list = match wished.hook_name.as_str() {
        "prestart" => hooks.prestart_mut(),
        "createRuntime" => hooks.create_runtime_mut(),
        "createContainer" => hooks.create_container_mut(),
        "startContainer" => hooks.start_container_mut(),
        "poststart" => hooks.poststart_mut(),
        "poststop" => hooks.poststop_mut(),
        other => return Err(EngineError::Invalid(format!("hook {other:?} is not known"))),
    };
    list.get_or_insert_default().push(hook);
    Ok(())
}

fn oci_mount(mount: &spec::Mount) -> Result<Mount, EngineError> {
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("bind");
    let mut options = mount.options.clone();
    if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("rbind".to_owned());
    }
    let is_bind = kind == "bind" || options.iter().any(|o| o == "bind" || o == "rbind");
    MountBuilder::default()
        .destination(mount.container_path.clone())
        .typ(if is_bind { "bind" } else { kind })
        .source(mount.host_path.clone())
        .options(options)
        .build()
        .map_err(|error| EngineError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
