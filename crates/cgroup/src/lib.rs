//! Creates, limits, freezes, reads and kills cgroups: v2, v1, hybrid.
//!
//! Owns which file of which hierarchy says what. `detect` finds the hierarchies, `limits` and
//! `devices` are what a caller wishes, `plan` turns wishes into writes without doing any, and the
//! rest acts on one cgroup. Owns no defaults and no names: the engine decides both. How a container
//! sees its cgroups is `runtime`'s; [`Cgroup::views`] tells what it needs to know.

#![forbid(unsafe_code)]

mod ability;
mod change;
mod cpuset;
mod create;
mod detect;
mod devices;
mod divided;
mod error;
mod file;
mod freeze;
mod group;
mod kill;
mod limits;
mod name;
mod noted;
mod oom;
mod part;
mod plan;
mod pressure;
mod realtime;
mod remove;
mod scopes;
mod stats;
mod systemd;
mod tree;

pub use ability::Ability;
pub use change::Before;
pub use cpuset::Cpuset;
pub use detect::{Controller, DetectError, Hierarchies, Layout, Legacy, Unified, Version};
pub use devices::{Access, BadAccess, DeviceKind, DeviceRule, DeviceRules, Effect};
pub use error::CgroupError;
pub use group::{Cgroup, Entry, View};
pub use limits::{
    Cpu, DeviceNumber, DeviceWeight, HugePages, Io, Limits, Max, Memory, Network, Rdma, Throttle,
    ThrottleKind,
};
pub use name::BadName;
pub use noted::Noted;
pub use part::{Parts, Removed, Settled};
pub use plan::LimitError;
pub use pressure::{Pressure, Stall, Waited};
pub use stats::{CpuStats, IoEntry, IoStats, MemoryStats, PidsStats, Stats};
pub use systemd::{
    BadProperty, BadScope, BusError, Change, Keeper, Manager, Scope, SystemdError, USER_SLICE,
    Wish, Wished, bus_socket, host_socket, is_booted_with_systemd, own_socket, user_socket,
};
