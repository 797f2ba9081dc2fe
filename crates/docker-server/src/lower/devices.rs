//! Devices that are asked for by name or number: `--gpus`, and the container device interface.
//!
//! Whether there are any, and what comes with them, the engine says when the container starts.

use docker_api::types::host_config::DeviceRequest as Wire;
use model::container::DeviceRequest;

use super::security::SecurityError;
use super::text;

/// The longest name.
const MAX_NAME: usize = 1024;

/// Lowers what is asked for.
pub(super) fn requests(wire: &[Wire]) -> Result<Vec<DeviceRequest>, SecurityError> {
    wire.iter().map(request).collect()
}

fn request(wire: &Wire) -> Result<DeviceRequest, SecurityError> {
    let ids = wire.device_ids.clone().unwrap_or_default();
    if wire.count != 0 && !ids.is_empty() {
        return Err(SecurityError::DeviceCount);
    }
    for id in &ids {
        let is_plain = id.len() <= MAX_NAME && text::no_nul("device", id).is_ok();
        if !is_plain || wire.driver == "cdi" && !is_qualified(id) {
            return Err(SecurityError::DeviceName(id.chars().take(64).collect()));
        }
    }
    Ok(DeviceRequest {
        driver: wire.driver.clone(),
        count: wire.count,
        ids,
        capabilities: wire.capabilities.clone().unwrap_or_default(),
        options: wire.options.clone().unwrap_or_default(),
    })
}

fn is_qualified(name: &str) -> bool {
    let parts = name.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
    parts.is_some_and(|((vendor, class), name)| {
        [vendor, class, name].iter().all(|part| !part.is_empty()) && !class.contains('/')
    })
}
