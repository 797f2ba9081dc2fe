//! From limits to writes: which file of which controller gets which value, and in what order.
//!
//! Deciding only. What is there already ([`Current`]) is passed in, since some values must not cross
//! each other while they are written. `group` does the writing.

mod cpu;
mod io;
mod memory;
mod other;
#[cfg(test)]
mod tests;

pub(crate) use cpu::weight_of;
pub(crate) use memory::swap_alone;

use std::borrow::Cow;

use crate::detect::{Controller, Version};
use crate::limits::{Limits, Max};

/// Why limits cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The controller is neither mounted as v1 nor enabled in v2.
    #[error("{limit} needs the cgroup controller `{controller}`, which this host does not have")]
    NoController {
        /// What was asked for.
        limit: &'static str,
        /// The controller's name.
        controller: &'static str,
    },
    /// The controller has no such file on this host's version.
    #[error("invalid configuration: {limit} does not exist on cgroup {}", match version { Version::V1 => "v1", Version::V2 => "v2" })]
    Unsupported {
        /// What was asked for.
        limit: &'static str,
        /// The version that lacks it.
        version: Version,
    },
    /// Memory and swap together are limited, and memory alone is not.
    #[error("a limit of memory with swap needs a limit of memory")]
    SwapWithoutLimit,
    /// Memory and swap together are less than memory.
    #[error("the limit of memory with swap, {with_swap}, is less than that of memory, {limit}")]
    SwapBelowLimit {
        /// Bytes.
        with_swap: u64,
        /// Bytes.
        limit: u64,
    },
    /// More is in use than the new limit, and the caller wanted that checked.
    #[error("{usage} bytes of memory are in use, more than the new limit of {limit}")]
    InUse {
        /// Bytes.
        usage: u64,
        /// Bytes.
        limit: u64,
    },
    /// Not a value that the kernel knows.
    #[error("{limit} cannot be {value:?}")]
    BadValue {
        /// What was asked for.
        limit: &'static str,
        /// Its value.
        value: String,
    },
}

/// What a cgroup has before it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) memory_limit: Max,
    /// Known if it must be checked.
    pub(crate) memory_usage: Option<u64>,
    pub(crate) cpu_quota: Max,
    pub(crate) cpu_period: u64,
    pub(crate) cpu_burst: u64,
    pub(crate) realtime_period: u64,
}

impl Current {
    /// A cgroup that was just made.
    pub(crate) const NEW: Self = Self {
        memory_limit: Max::Unlimited,
        memory_usage: None,
        cpu_quota: Max::Unlimited,
        cpu_period: 100_000,
        cpu_burst: 0,
        realtime_period: crate::realtime::USUAL_PERIOD,
    };

    /// The same limits, with a quota and its period both given if one is.
    pub(crate) fn completed(&self, limits: &Limits) -> Limits {
        let mut all = limits.clone();
        if all.cpu.quota.is_some() || all.cpu.period.is_some() {
            all.cpu.quota.get_or_insert(self.cpu_quota);
            all.cpu.period.get_or_insert(self.cpu_period);
        }
        all
    }
}

/// One write to a file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) controller: Controller,
    pub(crate) version: Version,
    pub(crate) file: Cow<'static, str>,
    pub(crate) value: String,
    pub(crate) missing: Missing,
}

/// What it means that the kernel does not have the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The limit cannot be enforced.
    Fail,
    /// There is nothing that could be limited.
    Ignore,
    /// Another file takes this value.
    Instead(&'static str, String),
}

/// Where each controller lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Homes {
    pub(crate) v1: Vec<Controller>,
    pub(crate) v2: Vec<Controller>,
}

impl Homes {
    fn version(&self, controller: Controller) -> Option<Version> {
        if self.v1.contains(&controller) {
            return Some(Version::V1);
        }
        self.v2.contains(&controller).then_some(Version::V2)
    }
}

/// The writes that set `limits`, in order.
pub(crate) fn writes(
    limits: &Limits,
    homes: &Homes,
    current: &Current,
) -> Result<Vec<Write>, LimitError> {
    let mut plan = Plan { homes, writes: Vec::new() };
    memory::plan(&limits.memory, current, &mut plan)?;
    cpu::plan(&limits.cpu, current, &mut plan)?;
    other::pids(limits.pids, &mut plan)?;
    io::plan(&limits.io, &mut plan)?;
    other::huge_pages(&limits.huge_pages, &mut plan)?;
    other::network(&limits.network, &mut plan)?;
    other::rdma(&limits.rdma, &mut plan)?;
    other::unified(&limits.unified, &mut plan)?;
    Ok(plan.writes)
}

/// Collects writes.
struct Plan<'a> {
    homes: &'a Homes,
    writes: Vec<Write>,
}

impl Plan<'_> {
    /// The version that has the controller which a limit needs.
    fn home(&self, controller: Controller, limit: &'static str) -> Result<Version, LimitError> {
        self.homes
            .version(controller)
            .ok_or(LimitError::NoController { limit, controller: controller.name(Version::V2) })
    }

    fn write(
        &mut self,
        (controller, version): (Controller, Version),
        file: &'static str,
        value: String,
    ) {
        self.push(Write { controller, version, file: file.into(), value, missing: Missing::Fail });
    }

    fn push(&mut self, write: Write) {
        self.writes.push(write);
    }
}

/// A quantity as v1 and v2 write it.
fn text(max: Max, version: Version) -> String {
    match (max, version) {
        (Max::At(value), _) => value.to_string(),
        (Max::Unlimited, Version::V1) => "-1".to_owned(),
        (Max::Unlimited, Version::V2) => "max".to_owned(),
    }
}
