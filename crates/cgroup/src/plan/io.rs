//! Block devices.

use super::{LimitError, Missing, Plan, Write};
use crate::detect::{Controller, Version};
use crate::limits::{DeviceNumber, DeviceWeight, Io, Throttle, ThrottleKind};

const WEIGHT: &str = "a weight of block input and output";

pub(super) fn plan(io: &Io, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    if let Some(weight) = io.weight {
        weights(None, weight, plan)?;
    }
    for DeviceWeight { device, weight } in &io.device_weights {
        weights(Some(*device), *weight, plan)?;
    }
    io.throttles.iter().try_for_each(|throttle| rate(throttle, plan))
}

/// Which file takes weights depends on the scheduler that the kernel has: BFQ has files of its own,
/// with Docker's range; else v1 has what CFQ left and v2 its own, with a range up to 10000.
fn weights(
    device: Option<DeviceNumber>,
    weight: u16,
    plan: &mut Plan<'_>,
) -> Result<(), LimitError> {
    if !(10..=1000).contains(&weight) {
        return Err(LimitError::BadValue { limit: WEIGHT, value: weight.to_string() });
    }
    let version = plan.home(Controller::Io, WEIGHT)?;
    let line = |weight: u16| device.map_or(weight.to_string(), |device| prefixed(device, weight));
    let scaled = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let scaled = device.map_or(scaled.to_string(), |device| prefixed(device, scaled));
    let (file, other) = match (version, device) {
        (Version::V1, None) => ("blkio.bfq.weight", ("blkio.weight", line(weight))),
        (Version::V1, Some(_)) => {
            ("blkio.bfq.weight_device", ("blkio.weight_device", line(weight)))
        }
        (Version::V2, _) => ("io.bfq.weight", ("io.weight", scaled)),
    };
    plan.push(Write {
        controller: Controller::Io,
        version,
        file: file.into(),
        value: line(weight),
        missing: Missing::Instead(other.0, other.1),
    });
    Ok(())
}

fn prefixed(device: DeviceNumber, value: impl std::fmt::Display) -> String {
    format!("{}:{} {value}", device.major, device.minor)
}

fn rate(throttle: &Throttle, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    let Throttle { device, kind, rate } = *throttle;
    let version = plan.home(Controller::Io, "a rate of block input and output")?;
    let home = (Controller::Io, version);
    let (file, key) = match kind {
        ThrottleKind::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
        ThrottleKind::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
        ThrottleKind::ReadOperations => ("blkio.throttle.read_iops_device", "riops"),
        ThrottleKind::WriteOperations => ("blkio.throttle.write_iops_device", "wiops"),
    };
    match version {
        Version::V1 => plan.write(home, file, prefixed(device, rate)),
        // A rate of 0 takes the limit away on v1; v2 has a word for that.
        Version::V2 if rate == 0 => {
            plan.write(home, "io.max", prefixed(device, format_args!("{key}=max")));
        }
        Version::V2 => plan.write(home, "io.max", prefixed(device, format_args!("{key}={rate}"))),
    }
    Ok(())
}
