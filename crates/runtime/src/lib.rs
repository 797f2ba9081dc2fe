//! Runs one OCI bundle: plans the init, builds namespaces, rootfs, capabilities, seccomp.
//!
//! A start is three messages: the plan (which the child inherits), ready, go. `plan` decides
//! everything and touches nothing; `launch` and `enter` open what the plan needs and clone; `init`
//! runs the plan's steps in the child and becomes the program. Cgroups and their limits, network
//! namespaces, root file systems and the caching of filters are brought by the caller.
//!
//! No threads, no policy of Docker's: that is in the specification already. The one foreign program
//! is criu, for checkpoints (`criu`).
#![forbid(unsafe_code)]

pub mod capabilities;
mod copy_up;
pub mod criu;
mod enter;
mod error;
mod facts;
mod filled;
mod home;
pub mod hooks;
mod init;
mod later;
mod launch;
mod listener;
mod message;
pub mod oci;
pub mod plan;
pub mod ps;
pub mod resources;
pub mod seccomp;
mod shown_device;
mod start;
pub mod step;

pub use enter::{Enter, enter};
pub use error::{LaunchError, Missing, Reason};
pub use facts::{CgroupView, FactsError, HostFacts};
pub use home::home;
pub use hooks::{HookError, Hooks};
pub use later::Later;
pub use launch::{Launch, launch};
pub use listener::Listener;
pub use plan::{Customs, Entrance, InitPlan, Keyring, Orphan, PlanError};
pub use start::{CgroupEntry, FilterRef, Ready, Running, Stdio};
