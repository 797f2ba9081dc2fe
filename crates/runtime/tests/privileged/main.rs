//! Containers that really run: needs root, leaves nothing behind.
//!
//! Each test launches processes in a root file system of busybox and looks at the result from the
//! inside. What a plan says is tested beside the planner; here is whether the kernel agrees.
#![expect(clippy::unwrap_used, reason = "helpers of tests are test code too")]

mod bundle;
mod exec;
mod hooks;
mod isolation;
mod mounts;
mod process;
mod shared;
mod streams;
