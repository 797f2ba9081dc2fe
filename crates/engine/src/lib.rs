//! The verbs: create, start, stop, exec, wait, logs, images, networks, volumes. A file per verb.
//!
//! The engine keeps no container state in memory: what is wished lies in the store's database,
//! what lives is known by the shims, and what is, by the kernel.

#![forbid(unsafe_code)]

mod abandoned;
mod again;
mod apparmor;
mod archive;
mod attach;
mod boot;
mod bundle;
mod bury;
mod caller;
mod cdi;
mod changes;
mod checkpoint;
mod checkup;
mod commit;
mod container;
mod container_files;
mod copy;
mod create;
mod engine;
mod environment;
mod error;
mod etc_files;
mod events;
mod exec;
mod export;
mod fill;
mod follow;
mod guard;
mod image;
mod image_mount;
mod info;
mod inherit;
mod inspect;
mod join;
mod limits;
mod lines;
mod log_config;
mod logs;
mod names;
mod network;
mod paths;
mod ports;
mod prepare;
mod previous;
mod processors;
mod propagation;
mod prune;
mod pull;
mod random;
mod reconcile;
mod record;
mod remove;
mod rename;
mod reset;
mod resolve;
mod security;
mod segment;
mod silent;
mod start;
mod stats;
mod stop;
mod systemd;
mod tail;
mod tell;
mod top;
mod trees;
mod update;
mod usage;
pub mod userns;
pub mod view;
mod volume;
mod volume_source;
mod wait;

pub use engine::Engine;
pub use error::EngineError;
pub use events::EventReader;
pub use logs::LogReader;
pub use paths::{DEFAULT_ROOT, DEFAULT_RUN, Paths};
pub use top::OptionError;
pub use update::UpdateError;
pub use wait::Wait;
