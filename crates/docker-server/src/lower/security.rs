//! What a container may do: capabilities, system calls, namespaces, devices, kernel parameters.
//!
//! A security option that is not understood is an error, never "no policy".

use std::collections::BTreeMap;
use std::path::PathBuf;

use docker_api::types::StrSlice;
use docker_api::types::host_config::{DeviceMapping as WireDevice, HostConfig};
use model::boolean::boolean;
use model::capability::Capability;
use model::container::{
    DeviceMapping, NamespaceSpec, NetworkMode, SeccompPolicy, SecuritySpec, UserNamespace,
};
use model::mount::clean_target;
use model::selinux::{BadLabel, LabelWish};
use model::sysctl::is_ipc;

use super::{LowerError, devices, filled};

/// A permission that cannot be given so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SecurityError {
    #[error("invalid {field}: unknown capability: \"{name}\"")]
    Capability { field: &'static str, name: String },
    #[error("invalid --security-opt: \"{0}\"")]
    Option(String),
    #[error("invalid --security-opt: {0}")]
    Label(#[from] BadLabel),
    #[error("invalid seccomp profile: {0}")]
    Seccomp(String),
    #[error("invalid {what} mode: {mode}")]
    Namespace { what: &'static str, mode: String },
    #[error("invalid CDI device name {0:?}: expected vendor.com/class=name")]
    DeviceName(String),
    #[error("cannot set both Count and DeviceIDs on device request")]
    DeviceCount,
    #[error("invalid device path {0:?}: it must be absolute")]
    DevicePath(String),
    #[error("invalid device permissions {0:?}: expected some of r, w and m")]
    DevicePermissions(String),
    #[error("invalid device cgroup rule format: '{0}'")]
    DeviceRule(String),
    #[error("sysctl \"{0}\" is not a namespaced kernel parameter that a container may set")]
    Sysctl(String),
    #[error("sysctl \"{name}\" is not allowed with {what}")]
    SysctlOfHost { name: String, what: &'static str },
    #[error("invalid value of sysctl \"{0}\": it must be one line")]
    SysctlValue(String),
    #[error("invalid {what} {path:?}: it must be absolute")]
    Path { what: &'static str, path: String },
    #[error("{0}")]
    Users(&'static str),
    #[error("unknown or invalid runtime name: {0}")]
    Runtime(String),
}

/// Lowers what a container may do.
pub(super) fn lower(host: &HostConfig, network: &NetworkMode) -> Result<SecuritySpec, LowerError> {
    let options = Options::parse(host.security_opt.as_deref().unwrap_or_default())?;
    runtime(&host.runtime)?;
    let userns = userns(&host.userns_mode)?;
    let ipc = ipc(&host.ipc_mode)?;
    let spec = SecuritySpec {
        privileged: host.privileged,
        cap_add: capabilities("CapAdd", host.cap_add.as_ref())?,
        cap_drop: capabilities("CapDrop", host.cap_drop.as_ref())?,
        seccomp: options.seccomp.unwrap_or(SeccompPolicy::Default),
        no_new_privileges: options.no_new_privileges,
        security_opt: security_opt(host),
        read_only_root: host.readonly_rootfs,
        masked_paths: options.paths.clone().or(paths("MaskedPaths", host.masked_paths.as_ref())?),
        readonly_paths: options.paths.or(paths("ReadonlyPaths", host.readonly_paths.as_ref())?),
        devices: host.devices.iter().flatten().map(device).collect::<Result<_, _>>()?,
        device_requests: devices::requests(host.device_requests.as_deref().unwrap_or_default())?,
        device_rules: device_rules(host.device_cgroup_rules.as_deref().unwrap_or_default())?,
        sysctls: sysctls(host, network, &ipc)?,
        pid: namespace("PID", &host.pid_mode)?,
        ipc,
        uts: uts(&host.uts_mode)?,
        cgroup: cgroup(&host.cgroupns_mode)?,
        apparmor: options.apparmor,
        label: options.label.settled(),
        userns,
        writable_cgroups: options.writable_cgroups,
    };
    fits_users(&spec, network)?;
    Ok(spec)
}

/// As typed. Docker adds that a container which shares processes or memory with the host, or may
/// everything, has no label of its own, unless something was said about labels.
fn security_opt(host: &HostConfig) -> Vec<String> {
    let mut options = host.security_opt.clone().unwrap_or_default();
    let is_open = host.privileged || host.pid_mode == "host" || host.ipc_mode == "host";
    let is_label = |option: &String| option.split(['=', ':']).next() == Some("label");
    if is_open && !options.iter().any(is_label) {
        options.push("label=disable".to_owned());
    }
    options
}

fn runtime(name: &str) -> Result<(), SecurityError> {
    match name {
        // All of them name the one runtime there is; Docker's default goes by three names.
        "" | "dhow" | "runc" | "io.containerd.runc.v2" => Ok(()),
        other => Err(SecurityError::Runtime(other.to_owned())),
    }
}

/// The names as typed, if all of them exist.
fn capabilities(
    field: &'static str,
    names: Option<&StrSlice>,
) -> Result<Vec<String>, SecurityError> {
    let names = names.map(|names| names.0.clone()).unwrap_or_default();
    for name in &names {
        if !name.eq_ignore_ascii_case("ALL") && Capability::parse_loosely(name).is_err() {
            // Docker names it in full.
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            return Err(SecurityError::Capability { field, name: format!("CAP_{bare}") });
        }
    }
    Ok(names)
}

/// What `--security-opt` says.
#[derive(Default)]
struct Options {
    seccomp: Option<SeccompPolicy>,
    no_new_privileges: bool,
    apparmor: Option<String>,
    label: LabelWish,
    writable_cgroups: Option<bool>,
    /// `systempaths=unconfined`: nothing is masked.
    paths: Option<Vec<String>>,
}

impl Options {
    fn parse(options: &[String]) -> Result<Self, LowerError> {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str) -> Result<(), LowerError> {
        // A colon is the old separator; a profile is full of colons, so the first of both counts.
        let (name, value) = match option.find(['=', ':']) {
            Some(at) => (&option[..at], &option[at + 1..]),
            None => (option, ""),
        };
        match (name, value) {
            ("no-new-privileges", "") => self.no_new_privileges = true,
            ("no-new-privileges", value) => self.no_new_privileges = switch(option, value)?,
            ("writable-cgroups", "") => self.writable_cgroups = Some(true),
            ("writable-cgroups", value) => self.writable_cgroups = Some(switch(option, value)?),
            ("seccomp", "unconfined") => self.seccomp = Some(SeccompPolicy::Unconfined),
            ("seccomp", "builtin") => self.seccomp = Some(SeccompPolicy::Default),
            ("seccomp", profile) => self.seccomp = Some(seccomp(profile)?),
            ("systempaths", "unconfined") => self.paths = Some(Vec::new()),
            // Nothing has a label that says nothing of one.
            ("label", "disable") | ("disable", "") => self.label.disabled = true,
            ("apparmor", profile) if is_profile(profile) => {
                self.apparmor = Some(profile.to_owned())
            }
            ("label", value) => self.label.add(value).map_err(SecurityError::from)?,
            (_, _) => return Err(SecurityError::Option(option.to_owned()).into()),
        }
        Ok(())
    }
}

/// The kernel takes a line with the name; more than one profile at once is not one's to choose.
fn is_profile(name: &str) -> bool {
    (1..256).contains(&name.len()) && !name.chars().any(char::is_control) && !name.contains("//&")
}

/// A switch as Go reads one (`strconv.ParseBool`).
fn switch(option: &str, value: &str) -> Result<bool, SecurityError> {
    boolean(value).ok_or_else(|| SecurityError::Option(option.to_owned()))
}

/// Only the outermost shape is judged here; whoever compiles the profile judges the rest.
fn seccomp(profile: &str) -> Result<SeccompPolicy, SecurityError> {
    let value: serde_json::Value =
        serde_json::from_str(profile).map_err(|e| SecurityError::Seccomp(e.to_string()))?;
    if value.get("defaultAction").is_none_or(|action| !action.is_string()) {
        return Err(SecurityError::Seccomp("it has no defaultAction".to_owned()));
    }
    Ok(SeccompPolicy::Profile(profile.to_owned()))
}

fn paths(
    what: &'static str,
    paths: Option<&Vec<String>>,
) -> Result<Option<Vec<String>>, SecurityError> {
    match paths.into_iter().flatten().find(|path| clean_target(path).is_none()) {
        Some(path) => Err(SecurityError::Path { what, path: path.clone() }),
        None => Ok(paths.cloned()),
    }
}

fn device(wire: &WireDevice) -> Result<DeviceMapping, SecurityError> {
    let path = |text: &str| -> Result<PathBuf, SecurityError> {
        clean_target(text).ok_or_else(|| SecurityError::DevicePath(text.to_owned()))
    };
    let host = path(&wire.path_on_host)?;
    let container = match filled(Some(&wire.path_in_container)) {
        Some(inside) => path(inside)?,
        None => host.clone(),
    };
    let permissions = filled(Some(&wire.cgroup_permissions)).unwrap_or("rwm");
    if !is_permissions(permissions) {
        return Err(SecurityError::DevicePermissions(permissions.to_owned()));
    }
    Ok(DeviceMapping { host, container, permissions: permissions.to_owned() })
}

fn is_permissions(text: &str) -> bool {
    let letters: std::collections::BTreeSet<u8> = text.bytes().collect();
    letters.iter().all(|b| b"rwm".contains(b)) && letters.len() == text.len() && !text.is_empty()
}

/// `c 13:* rwm`
fn device_rules(rules: &[String]) -> Result<Vec<String>, SecurityError> {
    let number = |text: &str| {
        text == "*" || (text.parse::<u32>().is_ok() && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let good = |rule: &String| {
        let parts: Vec<&str> = rule.split(' ').collect();
        let [kind @ ("a" | "c" | "b"), device, permissions] = parts[..] else { return false };
        let Some((major, minor)) = device.split_once(':') else { return false };
        !kind.is_empty() && number(major) && number(minor) && is_permissions(permissions)
    };
    match rules.iter().find(|rule| !good(rule)) {
        Some(bad) => Err(SecurityError::DeviceRule(bad.clone())),
        None => Ok(rules.to_vec()),
    }
}

/// Only parameters of a namespace that the container has for itself. Slashes are another spelling
/// of the dots and the way out of the directory, so there are none.
fn sysctls(
    host: &HostConfig,
    network: &NetworkMode,
    ipc: &NamespaceSpec,
) -> Result<BTreeMap<String, String>, SecurityError> {
    let sysctls = host.sysctls.clone().unwrap_or_default();
    for (name, value) in &sysctls {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.chars().all(plain) || name.split('.').any(str::is_empty) {
            return Err(SecurityError::Sysctl(name.clone()));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(SecurityError::SysctlValue(name.clone()));
        }
        let of_host = |what| SecurityError::SysctlOfHost { name: name.clone(), what };
        match name.split('.').next() {
            Some("net") if *network == NetworkMode::Host => {
                return Err(of_host("the host's network"));
            }
            Some("net") => {}
            _ if !is_ipc(name) => {
                return Err(SecurityError::Sysctl(name.clone()));
            }
            _ if *ipc == NamespaceSpec::Host => return Err(of_host("the host's IPC namespace")),
            _ => {}
        }
    }
    Ok(sysctls)
}

fn namespace_error(what: &'static str, mode: &str) -> SecurityError {
    SecurityError::Namespace { what, mode: mode.to_owned() }
}

/// `host`, `container:NAME`, or one of its own.
fn namespace(what: &'static str, mode: &str) -> Result<NamespaceSpec, SecurityError> {
    match mode {
        "" | "private" => Ok(NamespaceSpec::Private),
        "host" => Ok(NamespaceSpec::Host),
        _ => match mode.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(NamespaceSpec::Container(name.to_owned())),
            Some(_) | None => Err(namespace_error(what, mode)),
        },
    }
}

const KEEP_ID: &str = "--userns=keep-id is not supported: the files of images belong to the ids that they name, and no mount shows them \
     with others to an ordinary user. The root of a container without root is that user: what it makes in a bind is the \
     user's own. With root, --userns=auto gives a container ids of its own";

const NO_MAP: &str = "--userns=nomap is not supported: all containers of an ordinary user share one user namespace, in which the user \
     is root. With root, --userns=auto keeps the caller's ids out of a container";

fn userns(mode: &str) -> Result<UserNamespace, SecurityError> {
    match mode {
        "" | "host" => Ok(UserNamespace::Host),
        "auto" => Ok(UserNamespace::Auto),
        "nomap" => Err(SecurityError::Users(NO_MAP)),
        _ if mode == "keep-id" || mode.starts_with("keep-id:") => {
            Err(SecurityError::Users(KEEP_ID))
        }
        _ => Err(namespace_error("USER", mode)),
    }
}

/// What belongs to another user namespace cannot be joined or had in whole. The first three texts are
/// Docker's, for whom this is a daemon's setting.
fn fits_users(spec: &SecuritySpec, network: &NetworkMode) -> Result<(), SecurityError> {
    if spec.userns == UserNamespace::Host {
        return Ok(());
    }
    let is_host = |namespace: &NamespaceSpec| *namespace == NamespaceSpec::Host;
    let refused = [
        (
            spec.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (
            *network == NetworkMode::Host,
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            is_host(&spec.pid),
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
        (
            is_host(&spec.ipc),
            "cannot share the host's IPC namespace when user namespaces are enabled",
        ),
        (
            is_host(&spec.cgroup),
            "cannot share the host's cgroup namespace when user namespaces are enabled",
        ),
        (
            matches!(network, NetworkMode::Container(_))
                || [&spec.pid, &spec.ipc].iter().any(|n| matches!(n, NamespaceSpec::Container(_))),
            "cannot share namespaces of another container when user namespaces are enabled: they belong to another user namespace",
        ),
    ];
    match refused.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, why)) => Err(SecurityError::Users(why)),
        None => Ok(()),
    }
}

fn ipc(mode: &str) -> Result<NamespaceSpec, SecurityError> {
    match mode {
        "shareable" => Ok(NamespaceSpec::Shareable),
        "none" => Ok(NamespaceSpec::Bare),
        _ => namespace("IPC", mode),
    }
}

fn uts(mode: &str) -> Result<NamespaceSpec, SecurityError> {
    match mode {
        "" => Ok(NamespaceSpec::Private),
        "host" => Ok(NamespaceSpec::Host),
        _ => Err(namespace_error("UTS", mode)),
    }
}

/// Private by default on both versions of cgroups, for clients of every age.
fn cgroup(mode: &str) -> Result<NamespaceSpec, SecurityError> {
    match mode {
        "" | "private" => Ok(NamespaceSpec::Private),
        "host" => Ok(NamespaceSpec::Host),
        _ => Err(namespace_error("CGROUP", mode)),
    }
}
