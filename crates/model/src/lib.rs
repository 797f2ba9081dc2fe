//! Nouns without I/O: ids, image references, ports, mounts, the container specification,
//! and their text syntax.
//!
//! Nothing here touches a file, the environment, the clock or the kernel. Wire types live in
//! `docker-api`, OCI runtime types in `runtime`.

#![forbid(unsafe_code)]

pub mod address;
pub mod block_limits;
pub mod boolean;
pub mod capability;
pub mod container;
pub mod detach;
pub mod digest;
pub mod duration;
pub mod event;
pub mod health;
pub mod id;
pub mod image;
pub mod life;
pub mod link_sysctl;
pub mod log;
pub mod moment;
pub mod mount;
pub mod network;
pub mod number_set;
pub mod platform;
pub mod port;
pub mod pull;
pub mod push;
pub mod reference;
pub mod root_tag;
pub mod selinux;
pub mod shown;
pub mod signal;
pub mod sysctl;
pub mod systemd;
pub mod template;
pub mod ulimit;
pub mod vlan;

pub use container::ContainerSpec;
pub use digest::Digest;
pub use event::{Event, EventKind};
pub use id::{ContainerId, ContainerName, ExecId, ImageId, NameOrId, NetworkId};
pub use life::{ExitCode, Life};
pub use number_set::NumberSet;
pub use platform::Platform;
pub use reference::Reference;
pub use root_tag::RootTag;
pub use signal::Signal;
