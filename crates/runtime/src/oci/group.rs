//! `pause`, `resume`, `ps` and `update`: the control group of a container that is there.

use std::io::Read;

use cgroup::Cgroup;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::moment::Reference;
use oci_spec::runtime::{
    LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder,
};
use serde_json::json;

use super::arguments::{Ps, Shape, Update};
use super::fault::Fault;
use super::record::{Home, Place, Record, Status};
use super::{say, scope, state};
use crate::ps::{self, Host, Options};
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
    let asked =
        if args.options.is_empty() { ps::DEFAULT.to_owned() } else { args.options.join(" ") };
    let options = Options::parse(&asked).map_err(|error| Fault::Config(error.to_string()))?;
    let pids: Vec<i32> = match living(home, &args.id.id) {
        // Nobody is there, which is no failure.
        Err(Fault::NotRunning) => Vec::new(),
        living => living?.2.pids()?.iter().map(|pid| pid.as_raw_nonzero().get()).collect(),
    };
    if args.format == Shape::Json {
        return say(&format!("{}\n", json!(pids)));
    }
    let host = Host::read(Reference { now: Timestamp::now(), zone: TimeZone::system() });
    let host = host.map_err(Fault::file("read", "/proc"))?;
    let mut rows = vec![options.titles()];
    // What a process calls itself is the container's: nothing of it may act on a terminal.
    let plain = |cell: String| cell.replace(char::is_control, "?");
    let cells = options.rows(&pids, &host).into_iter().map(|(_, cells)| cells);
    rows.extend(cells.map(|cells| cells.into_iter().map(plain).collect()));
    say(&drawn(&rows))
}

/// A table as ps(1) draws it: numbers end where their title does, and those of processes have room for the highest.
fn drawn(rows: &[Vec<String>]) -> String {
    let titles = rows.first().map(Vec::as_slice).unwrap_or_default();
    let is_number =
        |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit() || b".:%".contains(&byte));
    let column = |(at, title): (usize, &String)| {
        let cells = || rows[1..].iter().filter_map(move |row| row.get(at));
        let least = if title.ends_with("PID") { 7 } else { title.len() };
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0).max(least);
        (width, title.ends_with("PID") || cells().all(is_number))
    };
    let columns: Vec<(usize, bool)> = titles.iter().enumerate().map(column).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&columns).map(|(cell, (width, is_number))| {
            if *is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
        text.push('\n');
    }
    text
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_table_is_drawn_as_ps_draws_it() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows = [["UID", "PID", "TIME", "CMD"], ["root", "7", "00:00:10", "sh -c a"]].map(row);
        expect![[r#"
            UID      PID     TIME CMD
            root       7 00:00:10 sh -c a
        "#]]
        .assert_eq(&drawn(&rows));
        assert_eq!(drawn(&rows[..1]), "UID     PID TIME CMD\n");
    }
}
