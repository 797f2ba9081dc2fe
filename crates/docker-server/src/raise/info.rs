//! The server itself: `/info` and `/version`.

use docker_api::types::Map;
use docker_api::types::system::{
    Component, DiscoveredDevice, FirewallInfo, IndexInfo, PlatformName, PluginsInfo,
    RegistryConfig, RuntimeInfo, SwarmInfo, SystemInfo, SystemVersion,
};
use engine::view::{CgroupVersion, InfoView};
use model::Platform;

use super::{DRIVER, path, signed, time_or_none};
use crate::quirks::{MAX, MIN};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /version`.
pub(crate) fn version(kernel: &str) -> SystemVersion {
    let arch = Platform::host().architecture;
    let details = [
        ("ApiVersion", MAX.to_string()),
        ("Arch", arch.clone()),
        ("KernelVersion", kernel.to_owned()),
        ("MinAPIVersion", MIN.to_string()),
        ("Os", "linux".to_owned()),
    ];
    let details = details.map(|(key, value)| (key.to_owned(), value));
    SystemVersion {
        platform: PlatformName { name: "dhow".to_owned() },
        components: vec![Component {
            name: "Engine".to_owned(),
            version: VERSION.to_owned(),
            details: Some(Map::from(details)),
        }],
        version: VERSION.to_owned(),
        api_version: MAX.to_string(),
        min_api_version: MIN.to_string(),
        os: "linux".to_owned(),
        arch,
        kernel_version: kernel.to_owned(),
        ..SystemVersion::default()
    }
}

/// `GET /info`.
pub(crate) fn info(view: &InfoView) -> SystemInfo {
    let (running, paused, stopped) = view.containers;
    let limits = view.limits;
    SystemInfo {
        containers: signed(running + paused + stopped),
        containers_running: signed(running),
        containers_paused: signed(paused),
        containers_stopped: signed(stopped),
        images: signed(view.images),
        driver: DRIVER.to_owned(),
        driver_status: vec![["Backing Filesystem".to_owned(), view.backing_filesystem.clone()]],
        plugins: plugins(),
        memory_limit: limits.memory,
        swap_limit: limits.swap,
        cpu_cfs_period: limits.cpu_quota,
        cpu_cfs_quota: limits.cpu_quota,
        cpu_shares: limits.cpu_shares,
        cpu_set: limits.cpuset,
        pids_limit: limits.pids,
        ipv4_forwarding: view.ipv4_forwarding,
        oom_kill_disable: limits.oom_kill_disable,
        system_time: time_or_none(view.at),
        logging_driver: "json-file".to_owned(),
        cgroup_driver: view.cgroup_driver.to_owned(),
        cgroup_version: cgroup_version(view.cgroup).to_owned(),
        kernel_version: view.kernel.clone(),
        operating_system: view.operating_system.clone(),
        os_version: view.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: view.machine.clone(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registries(),
        ncpu: signed(view.cpus),
        mem_total: signed(view.memory),
        docker_root_dir: path(&view.root),
        name: view.hostname.clone(),
        server_version: VERSION.to_owned(),
        runtimes: Map::from([(
            "runc".to_owned(),
            RuntimeInfo { path: "dhow".to_owned(), runtime_args: None },
        )]),
        default_runtime: "runc".to_owned(),
        swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
        init_binary: "dhow".to_owned(),
        security_options: view.security.iter().map(|name| security_option(name)).collect(),
        firewall_backend: Some(FirewallInfo { driver: "nftables".to_owned(), info: None }),
        cdi_spec_dirs: view.cdi_dirs.iter().map(|dir| path(dir)).collect(),
        discovered_devices: view.cdi_devices.iter().map(|name| cdi_device(name)).collect(),
        warnings: Some(view.warnings.clone()),
        ..SystemInfo::default()
    }
}

fn plugins() -> PluginsInfo {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    PluginsInfo {
        volume: words(&["local"]),
        network: words(&["bridge", "host", "ipvlan", "macvlan", "null"]),
        authorization: None,
        log: words(&["journald", "json-file", "local", "syslog"]),
    }
}

fn registries() -> RegistryConfig {
    let hub = IndexInfo {
        mirrors: Vec::new(),
        name: "docker.io".to_owned(),
        official: true,
        secure: true,
    };
    RegistryConfig {
        insecure_registry_cidrs: vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()],
        index_configs: Map::from([("docker.io".to_owned(), hub)]),
        mirrors: None,
    }
}

fn cdi_device(name: &str) -> DiscoveredDevice {
    DiscoveredDevice { source: "cdi".to_owned(), id: name.to_owned() }
}

fn cgroup_version(version: CgroupVersion) -> &'static str {
    match version {
        CgroupVersion::V1 => "1",
        CgroupVersion::V2 => "2",
    }
}

/// Docker names the profile behind the mechanism.
fn security_option(name: &str) -> String {
    match name {
        "seccomp" => "name=seccomp,profile=builtin".to_owned(),
        other => format!("name={other}"),
    }
}
