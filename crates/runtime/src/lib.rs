//! Runs one OCI bundle: plans the init, builds namespaces, rootfs, capabilities, seccomp.
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod seccomp;
