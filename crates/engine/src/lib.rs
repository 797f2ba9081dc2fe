//! The verbs: create, start, stop, exec, wait, logs, images, networks, volumes. A file per verb.
//!
//! The engine keeps no container state in memory: what is wished lies in the store's database,
//! what lives is known by the shims, and what is, by the kernel.

#![forbid(unsafe_code)]

mod bundle;
mod names;
mod resolve;
pub mod view;
