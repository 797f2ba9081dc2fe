//! Limits: memory, CPU, processes, block I/O, devices.

use super::settings::{given, listed};
use super::{Setting, mounts, number};
use docker_api::json::Tree;
use docker_api::types::host_config::{DeviceRequest, HostConfig, ThrottleDevice};

pub(super) fn add(host: &HostConfig, all: &mut Vec<Setting>) {
    for (flag, key, value) in [
        ("blkio-weight", "blkio_config.weight", i64::from(host.blkio_weight)),
        ("cpu-period", "cpu_period", host.cpu_period),
        ("cpu-quota", "cpu_quota", host.cpu_quota),
        ("cpu-rt-period", "cpu_rt_period", host.cpu_realtime_period),
        ("cpu-rt-runtime", "cpu_rt_runtime", host.cpu_realtime_runtime),
        ("cpu-shares", "cpu_shares", host.cpu_shares),
        ("memory", "mem_limit", host.memory),
        ("memory-reservation", "mem_reservation", host.memory_reservation),
        ("memory-swap", "memswap_limit", host.memory_swap),
        ("oom-score-adj", "oom_score_adj", host.oom_score_adj),
        ("pids-limit", "pids_limit", host.pids_limit.unwrap_or(0)),
    ] {
        if value != 0 {
            all.push(Setting::number(flag, key, value));
        }
    }
    if host.nano_cpus != 0 {
        all.push(Setting::text("cpus", "cpus", cpus(host.nano_cpus)));
    }
    if let Some(swappiness) = host.memory_swappiness.filter(|value| *value >= 0) {
        all.push(Setting::number("memory-swappiness", "mem_swappiness", swappiness));
    }
    if host.oom_kill_disable == Some(true) {
        all.push(Setting::on("oom-kill-disable", "oom_kill_disable"));
    }
    given(all, "cgroup-parent", "cgroup_parent", &host.cgroup_parent);
    given(all, "cpuset-cpus", "cpuset", &host.cpuset_cpus);
    if !host.cpuset_mems.is_empty() {
        // A compose file has no word for it.
        let words = vec!["--cpuset-mems".to_owned(), host.cpuset_mems.clone()];
        all.push(Setting::new(words, "", Tree::Null));
    }
    block(host, all);
    ulimits(host, all);
    devices(host, all);
}

/// `0.5`, of billionths.
fn cpus(nano: i64) -> String {
    let (whole, rest) = (nano / 1_000_000_000, nano % 1_000_000_000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:09}").trim_end_matches('0').to_owned()
}

fn block(host: &HostConfig, all: &mut Vec<Setting>) {
    let object = |path: &str, name: &str, value: Tree| {
        Tree::Object(vec![
            ("path".to_owned(), Tree::String(path.to_owned())),
            (name.to_owned(), value),
        ])
    };
    let weights = host.blkio_weight_device.as_deref().unwrap_or_default();
    if !weights.is_empty() {
        let word = |device: &docker_api::types::host_config::WeightDevice| {
            ["--blkio-weight-device".to_owned(), format!("{}:{}", device.path, device.weight)]
        };
        let value = |device: &docker_api::types::host_config::WeightDevice| {
            object(&device.path, "weight", number(i64::from(device.weight)))
        };
        let words = weights.iter().flat_map(word).collect();
        let values = Tree::Array(weights.iter().map(value).collect());
        all.push(Setting::new(words, "blkio_config.weight_device", values));
    }
    for (flag, key, list) in [
        ("device-read-bps", "blkio_config.device_read_bps", &host.blkio_device_read_bps),
        ("device-read-iops", "blkio_config.device_read_iops", &host.blkio_device_read_iops),
        ("device-write-bps", "blkio_config.device_write_bps", &host.blkio_device_write_bps),
        ("device-write-iops", "blkio_config.device_write_iops", &host.blkio_device_write_iops),
    ] {
        let list = list.as_deref().unwrap_or_default();
        let word = |limit: &ThrottleDevice| {
            [format!("--{flag}"), format!("{}:{}", limit.path, limit.rate)]
        };
        let rate = |rate: u64| number(i64::try_from(rate).unwrap_or(i64::MAX));
        let value = |limit: &ThrottleDevice| object(&limit.path, "rate", rate(limit.rate));
        if !list.is_empty() {
            let values = Tree::Array(list.iter().map(value).collect());
            all.push(Setting::new(list.iter().flat_map(word).collect(), key, values));
        }
    }
}

fn ulimits(host: &HostConfig, all: &mut Vec<Setting>) {
    let (mut words, mut fields) = (Vec::new(), Vec::new());
    for limit in host.ulimits.iter().flatten() {
        let (soft, hard) = (limit.soft, limit.hard);
        words.extend(["--ulimit".to_owned(), format!("{}={soft}:{hard}", limit.name)]);
        let both = [("soft", soft), ("hard", hard)];
        let both = both.map(|(name, value)| (name.to_owned(), number(value)));
        fields.push((limit.name.clone(), Tree::Object(both.into())));
    }
    if !words.is_empty() {
        all.push(Setting::new(words, "ulimits", Tree::Object(fields)));
    }
}

fn devices(host: &HostConfig, all: &mut Vec<Setting>) {
    let mapping = |device: &docker_api::types::host_config::DeviceMapping| {
        let (outside, inside) = (&device.path_on_host, &device.path_in_container);
        format!("{outside}:{inside}:{}", device.cgroup_permissions)
    };
    let files: Vec<String> = host.devices.iter().flatten().map(mapping).collect();
    let requests = host.device_requests.as_deref().unwrap_or_default();
    let named = requests.iter().filter(|request| request.driver == "cdi");
    let named = named.flat_map(|request| request.device_ids.iter().flatten().cloned());
    listed(all, "device", "devices", Some(&files.into_iter().chain(named).collect()));
    listed(all, "device-cgroup-rule", "device_cgroup_rules", host.device_cgroup_rules.as_ref());
    let gpus: Vec<&DeviceRequest> =
        requests.iter().filter(|request| request.driver != "cdi").collect();
    if !gpus.is_empty() {
        let words = gpus.iter().flat_map(|request| ["--gpus".to_owned(), words(request)]);
        let value = Tree::Array(gpus.iter().map(|request| object(request)).collect());
        all.push(Setting::new(words.collect(), "gpus", value));
    }
}

/// The capabilities that were asked for beside the one that every request has.
fn capabilities(request: &DeviceRequest) -> Vec<String> {
    let all = request.capabilities.iter().flatten().flatten();
    all.filter(|capability| *capability != "gpu").cloned().collect()
}

/// The request as one word of the command line.
fn words(request: &DeviceRequest) -> String {
    let ids = request.device_ids.as_deref().unwrap_or_default();
    let mut fields = vec![match request.count {
        -1 => "all".to_owned(),
        0 if !ids.is_empty() => format!("device={}", ids.join(",")),
        count => format!("count={count}"),
    }];
    if !request.driver.is_empty() {
        fields.push(format!("driver={}", request.driver));
    }
    let capabilities = capabilities(request);
    if !capabilities.is_empty() {
        fields.push(format!("capabilities={}", capabilities.join(",")));
    }
    let options: Vec<String> =
        request.options.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    if !options.is_empty() {
        fields.push(format!("options={}", options.join(",")));
    }
    fields.into_iter().map(mounts::quoted).collect::<Vec<_>>().join(",")
}

/// The request as one of a service.
fn object(request: &DeviceRequest) -> Tree {
    let texts = |list: Vec<String>| Tree::Array(list.into_iter().map(Tree::String).collect());
    let ids = request.device_ids.clone().unwrap_or_default();
    let mut fields = Vec::new();
    if !request.driver.is_empty() {
        fields.push(("driver", Tree::String(request.driver.clone())));
    }
    match request.count {
        -1 => fields.push(("count", Tree::String("all".to_owned()))),
        0 if !ids.is_empty() => fields.push(("device_ids", texts(ids))),
        count => fields.push(("count", number(count))),
    }
    let capabilities = capabilities(request);
    if !capabilities.is_empty() {
        fields.push(("capabilities", texts(capabilities)));
    }
    let options: Vec<(String, Tree)> = request
        .options
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), Tree::String(value.clone())))
        .collect();
    if !options.is_empty() {
        fields.push(("options", Tree::Object(options)));
    }
    Tree::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
