//! What a container may use, in OCI's words.
//!
//! Pure; a limit that is not wished is not there, and the kernel's own stands.

use model::container::{DEFAULT_PIDS_LIMIT, Limits, PidsLimit, SwapLimit};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder,
    LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, LinuxThrottleDeviceBuilder,
    LinuxWeightDeviceBuilder,
};

use super::Attached;
use crate::limits::{Device, Numbered};

/// The resources of a container that starts.
pub(super) fn oci(limits: &Limits, attached: &Attached) -> Result<LinuxResources, OciSpecError> {
    let resources = LinuxResourcesBuilder::default().devices(attached.device_rules.clone());
    let pids = pids(limits).or_else(|| i64::try_from(DEFAULT_PIDS_LIMIT).ok());
    // Where tasks cannot be limited, the container was made with a warning if it asked for that.
    let pids = pids.filter(|_| attached.limits_tasks);
    limited(resources, (limits, pids), &attached.block_devices)
}

/// The resources of a container that runs; no rule about devices is among them.
pub(crate) fn changed(limits: &Limits, devices: &Numbered) -> Result<LinuxResources, OciSpecError> {
    limited(LinuxResourcesBuilder::default(), (limits, pids(limits)), devices)
}

fn limited(
    mut resources: LinuxResourcesBuilder,
    (limits, pids): (&Limits, Option<i64>),
    devices: &Numbered,
) -> Result<LinuxResources, OciSpecError> {
    if let Some(memory) = memory(limits)? {
        resources = resources.memory(memory);
    }
    if let Some(cpu) = cpu(limits)? {
        resources = resources.cpu(cpu);
    }
    if let Some(limit) = pids {
        resources = resources.pids(LinuxPidsBuilder::default().limit(limit).build()?);
    }
    if let Some(io) = block_io(limits, devices)? {
        resources = resources.block_io(io);
    }
    resources.build()
}

/// `None` for one that is not given.
fn pids(limits: &Limits) -> Option<i64> {
    match limits.pids {
        PidsLimit::Default => None,
        PidsLimit::Unlimited => Some(-1),
        PidsLimit::At(count) => Some(i64::try_from(count).unwrap_or(i64::MAX)),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn memory(limits: &Limits) -> Result<Option<LinuxMemory>, OciSpecError> {
    let mut builder = LinuxMemoryBuilder::default();
    let mut given = false;
    if let Some(limit) = limits.memory {
        // Without a swap limit Docker lets a container swap as much as it may use.
        let swap = match limits.memory_swap {
            None => signed(limit.saturating_mul(2)),
            Some(SwapLimit::Bytes(bytes)) => signed(bytes),
            Some(SwapLimit::Unlimited) => -1,
        };
        builder = builder.limit(signed(limit)).swap(swap);
        given = true;
    }
    if let Some(bytes) = limits.memory_reservation {
        builder = builder.reservation(signed(bytes));
        given = true;
    }
    if let Some(swappiness) = limits.memory_swappiness {
        builder = builder.swappiness(u64::from(swappiness));
        given = true;
    }
    if limits.oom_kill_disable == Some(true) {
        builder = builder.disable_oom_killer(true);
        given = true;
    }
    given.then(|| builder.build()).transpose()
}

/// `--cpus` is a quota of Docker's default period.
const CPUS_PERIOD: u64 = 100_000;

fn cpu(limits: &Limits) -> Result<Option<LinuxCpu>, OciSpecError> {
    let mut builder = LinuxCpuBuilder::default();
    let quota = limits.nano_cpus.map(|nano| signed(nano / (1_000_000_000 / CPUS_PERIOD)));
    let period = if quota.is_some() { Some(CPUS_PERIOD) } else { limits.cpu_period };
    let quota = quota.or(limits.cpu_quota);
    let given = quota.is_some()
        || period.is_some()
        || limits.cpu_shares.is_some()
        || limits.cpuset_cpus.is_some()
        || limits.cpuset_mems.is_some()
        || limits.cpu_realtime_period.is_some()
        || limits.cpu_realtime_runtime.is_some();
    if let Some(shares) = limits.cpu_shares {
        builder = builder.shares(shares);
    }
    if let Some(period) = period {
        builder = builder.period(period);
    }
    if let Some(quota) = quota {
        builder = builder.quota(quota);
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        builder = builder.cpus(cpus.clone());
    }
    if let Some(mems) = &limits.cpuset_mems {
        builder = builder.mems(mems.clone());
    }
    if let Some(period) = limits.cpu_realtime_period {
        builder = builder.realtime_period(period);
    }
    if let Some(runtime) = limits.cpu_realtime_runtime {
        builder = builder.realtime_runtime(signed(runtime));
    }
    given.then(|| builder.build()).transpose()
}

fn block_io(limits: &Limits, devices: &Numbered) -> Result<Option<LinuxBlockIo>, OciSpecError> {
    if limits.blkio_weight.is_none() && *devices == Numbered::default() {
        return Ok(None);
    }
    let mut weights = Vec::with_capacity(devices.weights.len());
    for (device, weight) in &devices.weights {
        let builder = LinuxWeightDeviceBuilder::default();
        weights.push(builder.major(device.major).minor(device.minor).weight(*weight).build()?);
    }
    let rates = |rates: &[(Device, u64)]| {
        let rate = |(device, rate): &(Device, u64)| {
            let builder = LinuxThrottleDeviceBuilder::default();
            builder.major(device.major).minor(device.minor).rate(*rate).build()
        };
        rates.iter().map(rate).collect::<Result<Vec<_>, _>>()
    };
    let mut io = LinuxBlockIoBuilder::default()
        .weight_device(weights)
        .throttle_read_bps_device(rates(&devices.read_bytes)?)
        .throttle_write_bps_device(rates(&devices.write_bytes)?)
        .throttle_read_iops_device(rates(&devices.read_operations)?)
        .throttle_write_iops_device(rates(&devices.write_operations)?);
    if let Some(weight) = limits.blkio_weight {
        io = io.weight(weight);
    }
    io.build().map(Some)
}
