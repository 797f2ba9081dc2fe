//! `pause`, `resume`, `ps` and `update`: the control group of a container that is there.

use std::io::Read;

use cgroup::Cgroup;
use oci_spec::runtime::{
    LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder,
};
use serde_json::json;

use super::arguments::{Ps, Shape, Update};
use super::fault::Fault;
use super::record::{Home, Place, Record, Status};
use super::{say, scope, state};
use crate::resources;

/// A container whose process has not ended.
pub(super) fn living(home: &Home<'_>, id: &str) -> Result<(Place, Record, Cgroup), Fault> {
    let place = home.find(id)?;
    let record = place.record()?;
    if state::status(&place, &record)? == Status::Stopped {
        return Err(Fault::NotRunning);
    }
    let cgroup = state::cgroup(&record.cgroup)?;
    Ok((place, record, cgroup))
}

pub(super) fn pause(home: &Home<'_>, id: &str) -> Result<(), Fault> {
    Ok(living(home, id)?.2.freeze()?)
}

pub(super) fn resume(home: &Home<'_>, id: &str) -> Result<(), Fault> {
    let (place, record, cgroup) = living(home, id)?;
    match state::status(&place, &record)? {
        Status::Paused => Ok(cgroup.thaw()?),
        Status::Created | Status::Running | Status::Stopped => {
            Err(Fault::config("container not paused"))
        }
    }
}

pub(super) fn ps(home: &Home<'_>, args: &Ps) -> Result<(), Fault> {
    let pids: Vec<i32> = match living(home, &args.id.id) {
        // Nobody is there, which is no failure.
        Err(Fault::NotRunning) => Vec::new(),
        living => living?.2.pids()?.iter().map(|pid| pid.as_raw_nonzero().get()).collect(),
    };
    match args.format {
        Shape::Json => say(&format!("{}\n", json!(pids))),
        Shape::Table => {
            let mut text = "PID         COMMAND\n".to_owned();
            for pid in pids {
                text.push_str(&format!("{pid:<12}{}\n", command(pid)));
            }
            say(&text)
        }
    }
}

/// The command line of a process, or its name if it has none.
fn command(pid: i32) -> String {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = read("cmdline");
    if line.is_empty() {
        return format!("[{}]", String::from_utf8_lossy(&read("comm")).trim_end());
    }
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    // It is the container's: nothing of it may act on a terminal.
    words.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub(super) fn update(home: &Home<'_>, args: &Update) -> Result<(), Fault> {
    let (_place, record, cgroup) = living(home, &args.id.id)?;
    let resources = match &args.resources {
        Some(path) => read_resources(path)?,
        None => from_flags(args)?,
    };
    scope::update(&cgroup, &record.cgroup, &resources::limits(&resources)?)
}

fn read_resources(path: &std::path::Path) -> Result<LinuxResources, Fault> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(Fault::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| Fault::Json(path.to_owned(), error))
}

fn from_flags(args: &Update) -> Result<LinuxResources, Fault> {
    let bad = |error: oci_spec::OciSpecError| Fault::Config(error.to_string());
    let mut cpu = LinuxCpuBuilder::default();
    if let Some(shares) = args.cpu_share {
        cpu = cpu.shares(shares);
    }
    if let Some(period) = args.cpu_period {
        cpu = cpu.period(period);
    }
    if let Some(quota) = args.cpu_quota {
        cpu = cpu.quota(quota);
    }
    if let Some(burst) = args.cpu_burst {
        cpu = cpu.burst(burst);
    }
    if let Some(period) = args.cpu_rt_period {
        cpu = cpu.realtime_period(period);
    }
    if let Some(runtime) = args.cpu_rt_runtime {
        cpu = cpu.realtime_runtime(runtime);
    }
    if let Some(idle) = args.cpu_idle {
        cpu = cpu.idle(idle);
    }
    if let Some(cpus) = &args.cpuset_cpus {
        cpu = cpu.cpus(cpus);
    }
    if let Some(mems) = &args.cpuset_mems {
        cpu = cpu.mems(mems);
    }
    let mut memory = LinuxMemoryBuilder::default();
    if let Some(limit) = args.memory {
        memory = memory.limit(limit);
    }
    if let Some(reservation) = args.memory_reservation {
        memory = memory.reservation(reservation);
    }
    if let Some(swap) = args.memory_swap {
        memory = memory.swap(swap);
    }
    let mut resources = LinuxResourcesBuilder::default()
        .cpu(cpu.build().map_err(bad)?)
        .memory(memory.build().map_err(bad)?);
    if let Some(limit) = args.pids_limit {
        resources = resources.pids(LinuxPidsBuilder::default().limit(limit).build().map_err(bad)?);
    }
    if let Some(weight) = args.blkio_weight {
        let io = LinuxBlockIoBuilder::default().weight(weight).build().map_err(bad)?;
        resources = resources.block_io(io);
    }
    resources.build().map_err(bad)
}
