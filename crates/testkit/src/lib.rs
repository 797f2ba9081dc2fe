//! Test helpers: throw-away state roots with a dhow that works on them, terminals to run it in,
//! and base images.
//!
//! Nothing here is linked into the binary.

#![forbid(unsafe_code)]

mod busybox;
mod host;
mod registry;
mod terminal;

pub use busybox::busybox_archive;
pub use host::{Host, Ran};
pub use registry::Registry;
pub use terminal::Terminal;
