//! Builds the OCI runtime specification of a container: the last decision before the kernel.
//!
//! Pure: what the host and the container's files say comes in as [`Attached`].

mod kernel;
pub(crate) mod resources;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use model::ContainerId;
use model::container::{ContainerSpec, NamespaceSpec, NetworkMode, Terminal};
use model::mount::{Access, Mount as WishedMount, MountSource, Propagation, Recursion};
use model::selinux::Labels;
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    BoxBuilder as ConsoleBuilder, Capability, Hooks, Linux, LinuxBuilder, LinuxCapabilities,
    LinuxCapabilitiesBuilder, LinuxDevice, LinuxDeviceCgroup, Mount, MountBuilder, PosixRlimit,
    Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use sys::userns::IdMap;

use crate::environment::{environment, last_of_each};
use crate::limits::Numbered;
use crate::resolve::Resolved;
use crate::selinux;
use crate::systemd;
use crate::trees::init_source;

/// What is known only when a container starts.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    /// What SELinux calls it, where it does.
    pub(crate) labels: Option<Labels>,
    /// The profile of AppArmor; `None`: no profile.
    pub(crate) apparmor: Option<String>,
    /// Of its devices, over the image's and the user's.
    pub(crate) env: Vec<String>,
    /// Of its devices.
    pub(crate) more_mounts: Vec<Mount>,
    /// Of its devices.
    pub(crate) hooks: Hooks,
    /// Looked up in the container's own passwd and group.
    pub(crate) user: UserIds,
    /// Path of the container's cgroup below each hierarchy's mount.
    pub(crate) cgroup: PathBuf,
    /// The container's.
    pub(crate) id: ContainerId,
    /// Volumes and binds in mount order, anonymous volumes by now with a path.
    pub(crate) mounts: Vec<AttachedMount>,
    /// `hosts`, `hostname`, `resolv.conf` of the container's directory, absolute.
    pub(crate) etc_files: Vec<(PathBuf, &'static str)>,
    /// Bounding, permitted and effective capabilities.
    pub(crate) capabilities: HashSet<Capability>,
    /// Devices beside the standard ones.
    pub(crate) devices: Vec<LinuxDevice>,
    /// Rules of the device controller, in order.
    pub(crate) device_rules: Vec<LinuxDeviceCgroup>,
    /// Block devices with limits of their own.
    pub(crate) block_devices: Numbered,
    /// rlimits.
    pub(crate) rlimits: Vec<PosixRlimit>,
    /// What this host's processors tell of their heat.
    pub(crate) heat_counters: Vec<String>,
    /// Whose its users are, if not the host's.
    pub(crate) users: Option<IdMap>,
    /// How many groups there are, if not all of the host's: where an ordinary user runs dhow.
    pub(crate) own_groups: Option<u32>,
    /// Whether the number of its tasks can be limited.
    pub(crate) limits_tasks: bool,
    /// Where its systemd keeps control groups, if it is made for one.
    pub(crate) systemd: Option<systemd::Groups>,
}

/// Numbers of the container's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserIds {
    /// User id.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// For `HOME`.
    pub(crate) home: String,
}

/// One of the user's mounts with its source found.
#[derive(Debug, Clone)]
pub(crate) struct AttachedMount {
    /// As wished.
    pub(crate) wish: WishedMount,
    /// Where it lies on the host; `None` for tmpfs.
    pub(crate) source: Option<PathBuf>,
}

/// Paths that no container sees into: what Docker, Podman and containerd mask, together. They and
/// the counters of heat that a host has are [`masked_paths`].
const MASKED_PATHS: [&str; 15] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/kallsyms",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/fs/selinux",
    "/sys/dev/block",
];

/// Every path that a container which says nothing about it does not see into.
pub(crate) fn masked_paths(heat_counters: &[String]) -> Vec<String> {
    let fixed = MASKED_PATHS.iter().map(|path| (*path).to_owned());
    fixed.chain(heat_counters.iter().cloned()).collect()
}

/// Paths that no container writes to.
pub(crate) const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where POSIX shared memory is.
pub(crate) const SHM: &str = "/dev/shm";

/// Where something of ours is mounted in every container, or in most.
pub(crate) const STANDARD: [&str; 7] =
    ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", SHM];

/// Where dhow's own init stands in a container that asked for one.
pub(crate) const INIT_PATH: &str = "/sbin/dhow-init";

/// The specification; mounts that need a tree from the host are those with `bind` as their type,
/// in order.
///
/// # Errors
/// Only if the OCI types refuse a combination, which no input can cause.
pub(crate) fn spec(
    wished: &ContainerSpec,
    resolved: &Resolved,
    attached: &Attached,
) -> Result<Spec, OciSpecError> {
    let domain = wished.network.domainname.as_deref().unwrap_or_default();
    // Whoever shares the host's names does not change them.
    let names_host = wished.security.uts == NamespaceSpec::Host;
    let mut spec = SpecBuilder::default()
        .version("1.2.1".to_owned())
        .root(
            RootBuilder::default()
                .path("rootfs")
                .readonly(wished.security.read_only_root)
                .build()?,
        )
        .hostname(if names_host { "" } else { &resolved.hostname })
        .domainname(if names_host { "" } else { domain })
        .process(process(wished, resolved, attached)?)
        .mounts(mounts(wished, attached)?)
        .linux(linux(wished, attached)?)
        .annotations(wished.annotations.clone().into_iter().collect::<HashMap<_, _>>())
        .build()?;
    spec.set_hooks(Some(attached.hooks.clone()).filter(|hooks| *hooks != Hooks::default()));
    Ok(spec)
}

fn variables(wished: &ContainerSpec, resolved: &Resolved, attached: &Attached) -> Vec<String> {
    let mut all = environment(resolved, &attached.user.home, &wished.process.terminal);
    if !attached.env.is_empty() {
        all.extend(attached.env.iter().cloned());
        all = last_of_each(all);
    }
    match attached.systemd {
        None => all,
        Some(_) => systemd::tell(all, &attached.id),
    }
}

fn process(
    wished: &ContainerSpec,
    resolved: &Resolved,
    attached: &Attached,
) -> Result<Process, OciSpecError> {
    let user = UserBuilder::default()
        .uid(attached.user.uid)
        .gid(attached.user.gid)
        .additional_gids(attached.user.groups.clone())
        .build()?;
    let builder = ProcessBuilder::default()
        .user(user)
        .args(arguments(wished, resolved))
        .env(variables(wished, resolved, attached))
        .cwd(resolved.working_dir.clone())
        .capabilities(capabilities(attached)?)
        .rlimits(attached.rlimits.clone())
        .no_new_privileges(wished.security.no_new_privileges)
        .apparmor_profile(attached.apparmor.clone().unwrap_or_default())
        .selinux_label(selinux::process_label(attached.labels.as_ref()))
        .oom_score_adj(wished.limits.oom_score_adj);
    match wished.process.terminal {
        Terminal::None => builder.terminal(false).build(),
        Terminal::Pty { size: None } => builder.terminal(true).build(),
        Terminal::Pty { size: Some(size) } => {
            let console =
                ConsoleBuilder::default().height(size.rows).width(size.columns).build()?;
            builder.terminal(true).console_size(console).build()
        }
    }
}

fn arguments(wished: &ContainerSpec, resolved: &Resolved) -> Vec<String> {
    match wished.process.init {
        model::container::InitProcess::Command => resolved.argv.clone(),
        model::container::InitProcess::Reaper => {
            let init = [INIT_PATH.to_owned(), "--".to_owned()];
            init.into_iter().chain(resolved.argv.iter().cloned()).collect()
        }
    }
}

/// Root has the set; another user has it as a bound only, and inheritable is always empty
/// (CVE-2022-24769).
fn capabilities(attached: &Attached) -> Result<LinuxCapabilities, OciSpecError> {
    let all = attached.capabilities.clone();
    let held = if attached.user.uid == 0 { all.clone() } else { HashSet::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(all)
        .permitted(held.clone())
        .effective(held)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}

fn mounts(wished: &ContainerSpec, attached: &Attached) -> Result<Vec<Mount>, OciSpecError> {
    let mut all = standard_mounts(wished, attached)?;
    all.extend(attached.more_mounts.iter().cloned());
    if let Some(source) = init_source(wished.process.init) {
        all.push(bind(
            Path::new(source),
            Path::new(INIT_PATH),
            &["bind", "ro", "nosuid", "nodev", "rprivate"],
        )?);
    }
    // Our files lie in the user's `/etc`, where there is one, and under the user's own files.
    let (around, others): (Vec<_>, Vec<_>) = attached
        .mounts
        .iter()
        .partition(|mount| attached.etc_files.iter().any(|file| takes(&mount.wish, file.1)));
    for mount in around {
        all.push(user_mount(mount)?);
    }
    // They belong to the root file system: who may not write to that may not lead names elsewhere.
    let access = if wished.security.read_only_root { "ro" } else { "rw" };
    for (source, target) in &attached.etc_files {
        all.push(bind(source, Path::new(target), &["rbind", "rprivate", access])?);
    }
    for mount in others {
        all.push(user_mount(mount)?);
    }
    Ok(all)
}

/// Whether a path lies below what is mounted, and is not the mount's own place, and a file can be
/// mounted there: one that is mounted into a shared bind would stay on the host, and there is no
/// place for one in a tmpfs that is read-only.
fn takes(mount: &WishedMount, path: &str) -> bool {
    let path = Path::new(path);
    let can = match &mount.source {
        MountSource::Bind { propagation, .. } => {
            !matches!(propagation, Propagation::Shared | Propagation::RecursiveShared)
        }
        MountSource::Tmpfs { .. } => mount.access == Access::ReadWrite,
        // Nothing can be made in it.
        MountSource::Image { .. } => false,
        MountSource::Volume { .. } => true,
    };
    can && path != mount.target && path.starts_with(&mount.target)
}

pub(crate) fn mount(
    kind: &str,
    source: &str,
    target: &str,
    options: &[&str],
) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
}

fn bind(source: &Path, target: &Path, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(source)
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
}

/// What every container has, with Docker's options. A user's own mount at the same place
/// replaces it.
fn standard_mounts(
    wished: &ContainerSpec,
    attached: &Attached,
) -> Result<Vec<Mount>, OciSpecError> {
    let mode = |writable| if writable { "rw" } else { "ro" };
    let sys_mode = mode(wished.security.privileged);
    let cgroup_mode = mode(systemd::writes_cgroups(&wished.security, attached.systemd));
    let mut all = vec![
        proc(wished, attached)?,
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        sysfs(wished, attached, sys_mode)?,
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", cgroup_mode])?,
        mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"])?,
    ];
    all.extend(shm(wished)?);
    if let Some(groups) = attached.systemd {
        all.extend(systemd::mounts(&wished.security, groups)?);
    }
    let users = wished.files.mounts.iter().map(|wish| &wish.target);
    let users: HashSet<_> =
        users.chain(attached.mounts.iter().map(|mount| &mount.wish.target)).collect();
    let taken = |mount: &Mount| users.contains(mount.destination());
    Ok(all.into_iter().filter(|mount| !taken(mount)).collect())
}

/// What is of the host's namespaces, an ordinary user cannot mount anew; what is mounted is shown.
fn proc(wished: &ContainerSpec, attached: &Attached) -> Result<Mount, OciSpecError> {
    let options = ["nosuid", "noexec", "nodev"];
    if attached.own_groups.is_some() && wished.security.pid == NamespaceSpec::Host {
        let options = [&["rbind", "rprivate"], &options[..]].concat();
        return bind(Path::new("/proc"), Path::new("/proc"), &options);
    }
    mount("proc", "proc", "/proc", &options)
}

fn sysfs(wished: &ContainerSpec, attached: &Attached, mode: &str) -> Result<Mount, OciSpecError> {
    let options = ["nosuid", "noexec", "nodev"];
    if attached.own_groups.is_some() && wished.network.mode == NetworkMode::Host {
        let mode = if mode == "ro" { "rro" } else { mode };
        let options = [&["rbind", "rprivate", mode], &options[..]].concat();
        return bind(Path::new("/sys"), Path::new("/sys"), &options);
    }
    mount("sysfs", "sysfs", "/sys", &[&options[..], &[mode]].concat())
}

/// Shared memory goes with the IPC namespace.
fn shm(wished: &ContainerSpec) -> Result<Option<Mount>, OciSpecError> {
    let size = format!("size={}", wished.limits.shm_size);
    match &wished.security.ipc {
        NamespaceSpec::Private | NamespaceSpec::Shareable => {
            let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
            mount("tmpfs", "shm", SHM, &options).map(Some)
        }
        NamespaceSpec::Bare => Ok(None),
        NamespaceSpec::Host | NamespaceSpec::Container(_) => {
            let options = ["bind", "rprivate", "nosuid", "noexec", "nodev"];
            bind(Path::new(SHM), Path::new(SHM), &options).map(Some)
        }
    }
}

/// One of the user's mounts.
pub(crate) fn user_mount(attached: &AttachedMount) -> Result<Mount, OciSpecError> {
    let wish = &attached.wish;
    let access = match wish.access {
        Access::ReadWrite => "rw",
        Access::ReadOnly => "rro",
        Access::ReadOnlyNonRecursive => "ro",
    };
    let source = attached.source.as_deref().unwrap_or(Path::new("tmpfs"));
    match &wish.source {
        MountSource::Bind { propagation, recursive, .. } => {
            let kind = match recursive {
                Recursion::WithSubmounts => "rbind",
                Recursion::TopOnly => "bind",
            };
            bind(source, &wish.target, &[kind, propagation.word(), access])
        }
        MountSource::Volume { .. } => bind(source, &wish.target, &["rbind", "rprivate", access]),
        MountSource::Image { .. } => bind(source, &wish.target, &["bind", "rprivate", "ro"]),
        MountSource::Tmpfs { size, mode, options } => tmpfs(wish, *size, *mode, options),
    }
}

fn tmpfs(
    wish: &WishedMount,
    size: Option<u64>,
    mode: u32,
    extra: &[String],
) -> Result<Mount, OciSpecError> {
    let mut options: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    options.push(format!("mode={mode:o}"));
    options.extend(size.map(|bytes| format!("size={bytes}")));
    options.extend(extra.iter().cloned());
    if wish.access != Access::ReadWrite {
        options.push("ro".to_owned());
    }
    MountBuilder::default()
        .destination(wish.target.clone())
        .typ("tmpfs")
        .source("tmpfs")
        .options(options)
        .build()
}

fn linux(wished: &ContainerSpec, attached: &Attached) -> Result<Linux, OciSpecError> {
    let security = &wished.security;
    let own = |paths: &Option<Vec<String>>, default: Vec<String>| match paths {
        Some(paths) => paths.clone(),
        None if security.privileged => Vec::new(),
        None => default,
    };
    let masked = masked_paths(&attached.heat_counters);
    let readonly = READONLY_PATHS.map(str::to_owned).to_vec();
    let ids = kernel::id_maps(attached.users)?;
    LinuxBuilder::default()
        .uid_mappings(ids.clone())
        .gid_mappings(ids)
        .cgroups_path(attached.cgroup.clone())
        .namespaces(kernel::namespaces(wished, attached.users)?)
        .resources(resources::oci(&wished.limits, attached)?)
        .devices(attached.devices.clone())
        .sysctl(kernel::sysctls(
            wished,
            attached.users.map(|map| map.count).or(attached.own_groups),
        ))
        .rootfs_propagation("rprivate".to_owned())
        .masked_paths(own(&security.masked_paths, masked))
        .readonly_paths(own(&security.readonly_paths, readonly))
        .mount_label(attached.labels.as_ref().map(|it| it.mount.to_string()).unwrap_or_default())
        .build()
}
