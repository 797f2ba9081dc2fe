//! Test helpers: throw-away state roots with a dhow that works on them, terminals to run it in,
//! what is left on a host, small file systems, a registry, a listener behind TLS, paths that change
//! places, patience, programs, and base images.
//!
//! Nothing here is linked into the binary.

#![forbid(unsafe_code)]

mod busybox;
mod census;
mod debian;
mod disk;
mod distribution;
mod host;
mod patience;
mod program;
mod registry;
mod swap;
mod terminal;
mod tls;
mod user;

pub use busybox::{Image, busybox_archive};
pub use census::Census;
pub use debian::{criu, systemd_archive};
pub use disk::{Disk, FileSystem};
pub use distribution::Distribution;
pub use host::{Host, Ran};
pub use patience::{until, until_is};
pub use program::{install, program};
pub use registry::Registry;
pub use swap::Swap;
pub use terminal::Terminal;
pub use tls::{Clients, TlsListener, TlsStream};
