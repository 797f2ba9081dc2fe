//! An update's body: the limits that it gives, where nothing and zero say nothing.

use docker_api::types::containers::{UpdateBody, UpdateExtension};
use docker_api::types::host_config::HostConfig;
use engine::view::{Changes, TextChanges};
use serde_json::Value;

use super::{LowerError, Unsupported, limits, process, restart, text};

/// Lowers an update; Docker's body has the fields of a container's host configuration.
///
/// # Errors
/// A value that no container can have, or a field that no update changes.
pub(crate) fn update(body: UpdateBody) -> Result<Changes, LowerError> {
    let UpdateBody { host_config: mut wire, dhow } = body;
    let changes = Changes { limits: limits::changes(&wire)?, texts: texts(dhow)?, restart: None };
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
