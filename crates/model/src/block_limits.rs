//! Limits of single block devices, which the user names by their paths on the host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a container may do with single block devices.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockLimits {
    /// Relative weights.
    pub weights: Vec<DeviceWeight>,
    /// Bytes read a second.
    pub read_bytes: Vec<DeviceRate>,
    /// Bytes written a second.
    pub write_bytes: Vec<DeviceRate>,
    /// Read operations a second.
    pub read_operations: Vec<DeviceRate>,
    /// Write operations a second.
    pub write_operations: Vec<DeviceRate>,
}

impl BlockLimits {
    /// Whether no device is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A weight for one device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceWeight {
    /// On the host.
    pub path: PathBuf,
    /// 10..=1000
    pub weight: u16,
}

/// A highest rate for one device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRate {
    /// On the host.
    pub path: PathBuf,
    /// A second; 0 is no limit.
    pub rate: u64,
}
