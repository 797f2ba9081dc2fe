//! `events`: what a container uses, again and again, and when its memory ran out.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use cgroup::{Cgroup, Max, Stall, Stats, Waited};
use model::duration::Nanos;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use serde::Serialize;
use serde_json::{Value, json};

use super::arguments::Events;
use super::fault::Fault;
use super::record::{Home, Process};
use super::{group, say};

/// Version 1 tells that memory runs out before it counts whom it kills for it.
const UNTIL_IT_IS_COUNTED: Duration = Duration::from_millis(100);

/// One line. Programs look at how it begins.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl Event<'_> {
    fn tell(&self) -> Result<(), Fault> {
        let line = serde_json::to_string(self).map_err(|error| Fault::Output(error.into()))?;
        say(&format!("{line}\n"))
    }
}

/// Tells what it uses: once, or again and again until its process ends.
pub(super) fn events(home: &Home<'_>, args: &Events) -> Result<(), Fault> {
    let Nanos(interval) =
        args.interval.parse().map_err(|error| Fault::Config(format!("--interval: {error}")))?;
    let interval = u64::try_from(interval).ok().filter(|nanos| *nanos > 0);
    let interval = interval.map(Duration::from_nanos);
    let interval =
        interval.ok_or_else(|| Fault::config("duration interval must be greater than 0"))?;
    let (_, record, cgroup) = group::living(home, &args.id.id)?;
    let id = &record.id;
    let Some(process) = Process::find(&record)? else { return Err(Fault::NotRunning) };
    let mut shortage = Shortage::of(&cgroup)?;
    loop {
        let stats = match cgroup.stats() {
            // Its group went with it.
            Err(_) if Process::find(&record)?.is_none() => return Ok(()),
            stats => stats?,
        };
        Event { kind: "stats", id, data: Some(shown(&stats)) }.tell()?;
        if args.stats {
            return Ok(());
        }
        let next = Instant::now() + interval;
        while Instant::now() < next {
            if shortage.wait(&process.pidfd, next)? == Woken::Ended {
                return Ok(());
            }
            for _ in 0..shortage.since(&cgroup)? {
                Event { kind: "oom", id, data: None }.tell()?;
            }
        }
    }
}

/// Why a wait is over.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    /// The container's process has ended.
    Ended,
    /// Time has passed, or something happened to its memory.
    Look,
}

/// How often its memory ran out.
struct Shortage {
    told: Option<OwnedFd>,
    kills: u64,
    /// Something was told and may not be counted yet.
    is_open: bool,
}

impl Shortage {
    fn of(cgroup: &Cgroup) -> Result<Self, Fault> {
        Ok(Self { told: cgroup.oom_fd()?, kills: cgroup.oom_kills()?, is_open: false })
    }

    /// How often since it was asked last.
    fn since(&mut self, cgroup: &Cgroup) -> Result<u64, Fault> {
        let kills = cgroup.oom_kills()?;
        Ok(kills.saturating_sub(std::mem::replace(&mut self.kills, kills)))
    }

    /// Waits until something happens, or until then.
    fn wait(&mut self, process: &OwnedFd, until: Instant) -> Result<Woken, Fault> {
        let failed = |errno| Fault::Call("wait for the container", errno);
        let left = until.saturating_duration_since(Instant::now());
        let left = if self.is_open { left.min(UNTIL_IT_IS_COUNTED) } else { left };
        let mut all = vec![PollFd::new(process, PollFlags::IN)];
        all.extend(self.told.iter().map(|told| PollFd::new(told, PollFlags::IN | PollFlags::PRI)));
        let limit = Timespec::try_from(left).ok();
        retry_on_intr(|| poll(&mut all, limit.as_ref())).map_err(failed)?;
        let ready: Vec<bool> = all.iter().map(|one| !one.revents().is_empty()).collect();
        if ready[0] {
            return Ok(Woken::Ended);
        }
        self.is_open = ready.get(1) == Some(&true);
        if let (true, Some(told)) = (self.is_open, &self.told) {
            let mut bytes = [0; 4096];
            // It is quiet by now if somebody else has read it.
            let _ = rustix::io::read(told.as_fd(), &mut bytes);
        }
        Ok(Woken::Look)
    }
}

/// runc's shape.
fn shown(stats: &Stats) -> Value {
    let most = |max: Max| match max {
        Max::At(value) => value,
        Max::Unlimited => u64::MAX,
    };
    let cpu = &stats.cpu;
    let mut data = json!({
        "cpu": {
            "usage": {
                "total": cpu.usage, "percpu": cpu.per_cpu, "kernel": cpu.system, "user": cpu.user,
            },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        },
    });
    if let Some(memory) = &stats.memory {
        let cache = ["cache", "file"].iter().find_map(|key| memory.stat.get(*key));
        data["memory"] = json!({
            "cache": cache.copied().unwrap_or_default(),
            "usage": {
                "limit": most(memory.limit), "usage": memory.usage,
                "max": memory.max_usage.unwrap_or_default(), "failcnt": memory.failures,
            },
            "raw": memory.stat,
        });
        if let Some(swap) = memory.swap_usage {
            data["memory"]["swap"] = json!({ "limit": 0, "usage": swap, "failcnt": 0 });
        }
    }
    if let Some(pids) = &stats.pids {
        let limit = match pids.limit {
            Max::At(limit) => limit,
            Max::Unlimited => 0,
        };
        data["pids"] = json!({ "current": pids.current, "limit": limit });
    }
    if let Some(io) = &stats.io {
        let list = |entries: &[cgroup::IoEntry]| -> Vec<Value> {
            let one = |entry: &cgroup::IoEntry| {
                json!({
                    "major": entry.device.major, "minor": entry.device.minor,
                    "op": entry.operation, "value": entry.value,
                })
            };
            entries.iter().map(one).collect()
        };
        data["blkio"] = json!({
            "ioServiceBytesRecursive": list(&io.bytes),
            "ioServicedRecursive": list(&io.operations),
        });
    }
    let pressure = &stats.pressure;
    for (part, stall) in
        [("cpu", pressure.cpu), ("memory", pressure.memory), ("blkio", pressure.io)]
    {
        if let Some(stall) = stall {
            data[part]["psi"] = psi(stall);
        }
    }
    data
}

/// What tasks have waited for; runc leaves a part out that the kernel does not tell.
fn psi(stall: Stall) -> Value {
    let percent = |hundredths: u32| f64::from(hundredths) / 100.0;
    let waited = |waited: Waited| {
        json!({
            "avg10": percent(waited.avg10), "avg60": percent(waited.avg60),
            "avg300": percent(waited.avg300), "total": waited.total,
        })
    };
    let mut told = json!({ "some": waited(stall.some) });
    if let Some(full) = stall.full {
        told["full"] = waited(full);
    }
    told
}
