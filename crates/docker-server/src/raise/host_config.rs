//! `HostConfig` of an inspection: what was asked of the host. Which of its fields are `null`, `[]`
//! or `{}` follows Docker 28.

use docker_api::types::host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, RestartPolicy as WirePolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
use docker_api::types::network_settings::{PortBinding as WireBinding, PortMap};
use engine::view::ContainerView;
use model::block_limits::{DeviceRate, DeviceWeight};
use model::container::{
    ContainerSpec, InitProcess, Limits, NamespaceSpec, NetworkMode, PidsLimit, Removal,
    RestartPolicy, SecuritySpec, SwapLimit, Terminal, UserNamespace,
};
use model::log::{LogSpec, LogTarget};
use model::network::Link;
use model::port::{HostPort, PortBinding};

use super::{or_null, path, signed};
use crate::given;

/// Raises what was asked of the host.
pub(super) fn host_config(view: &ContainerView) -> HostConfig {
    let mut host = HostConfig::default();
    general(&view.spec, &mut host);
    network(&view.spec, &mut host);
    security(&view.spec.security, &mut host);
    limits(&view.spec.limits, &mut host);
    host.links = links(view);
    host
}

/// `HostConfig.Links`: those on the default network alone, with both names (Docker).
fn links(view: &ContainerView) -> Option<Vec<String>> {
    let places = view.spec.network.places();
    let default = places.into_iter().filter(|place| place.network == "bridge");
    let links = default.flat_map(|place| place.links);
    let shown = |link: Link| format!("/{}:/{}/{}", link.to, view.name, link.alias);
    or_null(links.map(shown).collect())
}

/// `HostConfig.NetworkMode`.
pub(super) fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(name) => format!("container:{}", name.0),
        NetworkMode::Named(name) => name.clone(),
    }
}

fn general(spec: &ContainerSpec, host: &mut HostConfig) {
    host.binds = or_null(spec.files.binds.clone());
    host.volumes_from = or_null(spec.files.volumes_from.clone());
    host.volume_driver.clone_from(&spec.files.volume_driver);
    host.mounts = or_null(given::read(&spec.files));
    host.tmpfs = or_null(spec.files.tmpfs.clone());
    host.log_config = log(&spec.log);
    host.restart_policy = restart(spec.restart);
    host.auto_remove = spec.removal == Removal::Auto;
    host.annotations = or_null(spec.annotations.clone());
    host.container_id_file.clone_from(&spec.id_file);
    host.isolation.clone_from(&spec.isolation);
    host.group_add = or_null(spec.process.groups.clone());
    host.init = (spec.process.init == InitProcess::Reaper).then_some(true);
    host.runtime = "runc".to_owned();
    if let Terminal::Pty { size: Some(size) } = spec.process.terminal {
        host.console_size = [u64::from(size.rows), u64::from(size.columns)];
    }
}

fn log(log: &LogSpec) -> LogConfig {
    let (driver, options) = match log {
        LogSpec::JsonFile { options, .. } => ("json-file", options.clone()),
        LogSpec::Local { options, .. } => ("local", options.clone()),
        LogSpec::Remote { target: LogTarget::Journald, options, .. } => {
            ("journald", options.clone())
        }
        LogSpec::Remote { target: LogTarget::Syslog { .. }, options, .. } => {
            ("syslog", options.clone())
        }
        LogSpec::None => ("none", docker_api::types::Map::new()),
    };
    LogConfig { driver: driver.to_owned(), config: Some(options) }
}

fn restart(policy: RestartPolicy) -> WirePolicy {
    let (name, count) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { retries } => ("on-failure", i64::from(retries)),
    };
    WirePolicy { name: name.to_owned(), maximum_retry_count: count }
}

fn network(spec: &ContainerSpec, host: &mut HostConfig) {
    let network = &spec.network;
    host.network_mode = network_mode(&network.mode);
    host.port_bindings = Some(port_bindings(&network.published));
    host.publish_all_ports = network.publish_all;
    host.dns = Some(network.dns.iter().map(ToString::to_string).collect());
    host.dns_options = Some(network.dns_options.clone());
    host.dns_search = Some(network.dns_search.clone());
    host.extra_hosts = or_null(network.extra_hosts.clone());
}

fn port_bindings(published: &[PortBinding]) -> PortMap {
    let mut map = PortMap::new();
    for binding in published {
        let wire = WireBinding {
            host_ip: binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            host_port: host_port(binding.host),
        };
        let list = map.entry(binding.container.to_string()).or_insert_with(|| Some(Vec::new()));
        list.get_or_insert_default().push(wire);
    }
    map
}

fn host_port(port: HostPort) -> String {
    match port {
        HostPort::Random => String::new(),
        HostPort::Within(range) if range.first == range.last => range.first.to_string(),
        HostPort::Within(range) => format!("{}-{}", range.first, range.last),
    }
}

fn security(security: &SecuritySpec, host: &mut HostConfig) {
    host.privileged = security.privileged;
    host.cap_add = or_null(security.cap_add.clone()).map(Into::into);
    host.cap_drop = or_null(security.cap_drop.clone()).map(Into::into);
    host.security_opt = or_null(security.security_opt.clone());
    host.readonly_rootfs = security.read_only_root;
    host.devices = Some(
        security
            .devices
            .iter()
            .map(|device| DeviceMapping {
                path_on_host: path(&device.host),
                path_in_container: path(&device.container),
                cgroup_permissions: device.permissions.clone(),
            })
            .collect(),
    );
    host.device_requests = or_null(security.device_requests.iter().map(device_request).collect());
    host.device_cgroup_rules = or_null(security.device_rules.clone());
    host.sysctls = or_null(security.sysctls.clone());
    host.pid_mode = namespace(&security.pid, "");
    host.ipc_mode = namespace(&security.ipc, "private");
    host.uts_mode = namespace(&security.uts, "");
    host.userns_mode = match security.userns {
        UserNamespace::Host => String::new(),
        UserNamespace::Auto => "auto".to_owned(),
    };
    host.cgroupns_mode = namespace(&security.cgroup, "private");
    host.masked_paths = paths(security, security.masked_paths.as_ref(), engine::view::masked_paths);
    host.readonly_paths =
        paths(security, security.readonly_paths.as_ref(), engine::view::readonly_paths);
}

fn device_request(request: &model::container::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: or_null(request.ids.clone()),
        capabilities: or_null(request.capabilities.clone()),
        options: or_null(request.options.clone()),
    }
}

/// `null` for a privileged container: nothing is hidden from it.
fn paths(
    security: &SecuritySpec,
    given: Option<&Vec<String>>,
    default: fn() -> Vec<String>,
) -> Option<Vec<String>> {
    match given {
        Some(paths) => Some(paths.clone()),
        None if security.privileged => None,
        None => Some(default()),
    }
}

fn namespace(namespace: &NamespaceSpec, private: &str) -> String {
    match namespace {
        NamespaceSpec::Private => private.to_owned(),
        NamespaceSpec::Shareable => "shareable".to_owned(),
        NamespaceSpec::Bare => "none".to_owned(),
        NamespaceSpec::Host => "host".to_owned(),
        NamespaceSpec::Container(name) => format!("container:{name}"),
    }
}

fn limits(limits: &Limits, host: &mut HostConfig) {
    let number = |number: Option<u64>| number.map_or(0, signed);
    host.memory = number(limits.memory);
    host.memory_swap = match limits.memory_swap {
        None => 0,
        Some(SwapLimit::Bytes(bytes)) => signed(bytes),
        Some(SwapLimit::Unlimited) => -1,
    };
    host.memory_reservation = number(limits.memory_reservation);
    host.memory_swappiness = limits.memory_swappiness.map(i64::from);
    host.oom_kill_disable = limits.oom_kill_disable;
    host.oom_score_adj = i64::from(limits.oom_score_adj);
    host.cpu_shares = number(limits.cpu_shares);
    host.nano_cpus = number(limits.nano_cpus);
    host.cpu_period = number(limits.cpu_period);
    host.cpu_quota = limits.cpu_quota.unwrap_or_default();
    host.cpu_realtime_period = number(limits.cpu_realtime_period);
    host.cpu_realtime_runtime = number(limits.cpu_realtime_runtime);
    host.cpuset_cpus = limits.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = limits.cpuset_mems.clone().unwrap_or_default();
    host.pids_limit = match limits.pids {
        PidsLimit::Default => None,
        PidsLimit::Unlimited => Some(-1),
        PidsLimit::At(count) => Some(signed(count)),
    };
    block_devices(limits, host);
    host.ulimits = Some(
        limits
            .ulimits
            .iter()
            .map(|limit| Ulimit {
                name: limit.kind.to_string(),
                hard: limit.hard,
                soft: limit.soft,
            })
            .collect(),
    );
    host.shm_size = signed(limits.shm_size);
    host.cgroup_parent = limits.cgroup_parent.clone().unwrap_or_default();
}

fn block_devices(limits: &Limits, host: &mut HostConfig) {
    let devices = &limits.block_devices;
    let weight = |one: &DeviceWeight| WeightDevice { path: path(&one.path), weight: one.weight };
    let rates = |rates: &[DeviceRate]| {
        let rate = |one: &DeviceRate| ThrottleDevice { path: path(&one.path), rate: one.rate };
        Some(rates.iter().map(rate).collect())
    };
    host.blkio_weight = limits.blkio_weight.unwrap_or_default();
    host.blkio_weight_device = Some(devices.weights.iter().map(weight).collect());
    host.blkio_device_read_bps = rates(&devices.read_bytes);
    host.blkio_device_write_bps = rates(&devices.write_bytes);
    host.blkio_device_read_iops = rates(&devices.read_operations);
    host.blkio_device_write_iops = rates(&devices.write_operations);
}
