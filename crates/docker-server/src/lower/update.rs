//! An update's body: the limits that it gives, where nothing and zero say nothing.

use docker_api::types::containers::{UpdateBody, UpdateExtension};
use docker_api::types::host_config::HostConfig;
use engine::view::{Changes, TextChanges};
use serde_json::Value;

use super::{LowerError, Unsupported, files, limits, network, process, restart, text};
use crate::quirks::ApiVersion;

/// Lowers an update; Docker's body has the fields of a container's host configuration.
///
/// # Errors
/// A value that no container can have, or a field that no update changes.
pub(crate) fn update(body: UpdateBody, api: ApiVersion) -> Result<Changes, LowerError> {
    let UpdateBody { host_config: mut wire, dhow } = body;
    let changes = Changes {
        limits: limits::changes(&wire)?,
        mounts: files::changes(&dhow, api)?,
        ports: network::changes(&dhow)?,
        texts: texts(dhow)?,
        restart: None,
    };
    let policy = std::mem::take(&mut wire.restart_policy);
    let restart = if policy.name.is_empty() { None } else { Some(restart(&policy)?) };
    refuse_rest(wire)?;
    Ok(Changes { restart, ..changes })
}

fn texts(dhow: UpdateExtension) -> Result<TextChanges, LowerError> {
    text::labels(Some(&dhow.label_add))?;
    let env_add = process::env(&dhow.env_add)?;
    if let Some(bare) = env_add.iter().find(|variable| !variable.contains('=')) {
        return Err(process::ProcessError::Env(bare.clone()).into());
    }
    Ok(TextChanges {
        label_add: dhow.label_add,
        label_rm: dhow.label_rm,
        env_add,
        env_rm: dhow.env_rm,
    })
}

/// Docker passes over what it does not update. Nothing is here.
fn refuse_rest(mut wire: HostConfig) -> Result<(), Unsupported> {
    let HostConfig { memory, memory_swap, memory_reservation, .. } = &mut wire;
    (*memory, *memory_swap, *memory_reservation) = (0, 0, 0);
    let HostConfig { nano_cpus, cpu_shares, cpu_period, cpu_quota, .. } = &mut wire;
    (*nano_cpus, *cpu_shares, *cpu_period, *cpu_quota) = (0, 0, 0, 0);
    (wire.cpu_realtime_period, wire.cpu_realtime_runtime) = (0, 0);
    (wire.cpuset_cpus, wire.cpuset_mems) = (String::new(), String::new());
    (wire.blkio_weight, wire.pids_limit) = (0, None);
    // Docker's own way to say nothing.
    wire.memory_swappiness = wire.memory_swappiness.filter(|percent| *percent != -1);
    let Ok(Value::Object(fields)) = serde_json::to_value(&wire) else { return Ok(()) };
    match fields.iter().find(|(_, value)| !says_nothing(value)) {
        Some((name, _)) => Err(Unsupported::new(format!("update of {name}"))),
        None => Ok(()),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::container::{PidsLimit, RestartPolicy};

    fn lowered(json: &str) -> Result<Changes, String> {
        let parsed = UpdateBody::from_json(json.as_bytes()).unwrap();
        assert_eq!(parsed.unknown, Vec::<String>::new());
        update(parsed.value, crate::quirks::MAX).map_err(|error| error.to_string())
    }

    #[test]
    fn zero_and_nothing_say_nothing() {
        // What the client of Docker 28 sends for `update --memory 64m`.
        let docker = r#"{"CpuShares":0,"Memory":67108864,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,
            "BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,
            "BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,
            "CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,
            "MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,
            "Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,
            "RestartPolicy":{"Name":"","MaximumRetryCount":0}}"#;
        let mut changes = lowered(docker).unwrap();
        assert_eq!(changes.limits.memory.take(), Some(64 << 20));
        assert_eq!(changes, Changes::default());
        assert_eq!(lowered("{}"), Ok(Changes::default()));
    }

    #[test]
    fn what_takes_a_limit_away_is_a_wish() {
        let json =
            r#"{"PidsLimit":-1,"CpuQuota":-5,"MemorySwap":-1,"RestartPolicy":{"Name":"no"}}"#;
        let changes = lowered(json).unwrap();
        assert_eq!(changes.limits.pids, Some(PidsLimit::Unlimited));
        assert_eq!(changes.limits.cpu_quota, Some(-1));
        assert_eq!(changes.limits.memory_swap, Some(model::container::SwapLimit::Unlimited));
        assert_eq!(changes.restart, Some(RestartPolicy::No));
    }

    #[test]
    fn what_no_update_changes_is_named() {
        for (json, field) in [
            (r#"{"Privileged":true}"#, "Privileged"),
            (r#"{"BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":1}]}"#, "BlkioDeviceReadBps"),
            (r#"{"Ulimits":[{"Name":"nofile","Soft":5,"Hard":5}]}"#, "Ulimits"),
            (r#"{"MemorySwappiness":5}"#, "MemorySwappiness"),
            (r#"{"LogConfig":{"Type":"none"}}"#, "LogConfig"),
        ] {
            let refused = lowered(json).unwrap_err();
            assert_eq!(refused, format!("not supported yet: update of {field}"));
        }
        assert_eq!(lowered(r#"{"MemorySwappiness":-1}"#), Ok(Changes::default()));
    }

    #[test]
    fn a_variable_without_a_value_is_refused() {
        let refused = lowered(r#"{"Dhow":{"EnvAdd":["A=1","B"]}}"#).unwrap_err();
        assert_eq!(refused, "invalid environment variable: B");
        let changes = lowered(r#"{"dhow":{"labeladd":{"a":"b"},"EnvRm":["A"]}}"#).unwrap();
        assert_eq!(changes.texts.label_add, [("a".to_owned(), "b".to_owned())].into());
        assert_eq!(changes.texts.env_rm, ["A"]);
    }
}
