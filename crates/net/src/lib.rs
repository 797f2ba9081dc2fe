//! Connects network namespaces: bridge, veth, addresses, nftables, publishing.
//!
//! Everything acts on the network namespace of the calling thread, which is the host's, and speaks
//! to the kernel by netlink; no program is run. Plans are pure values; applying them is short.
//! What exists is recognised by its name (`names`), so that recovery is a comparison of what is
//! (`scan`) with what should be.
//!
//! Nothing here knows of images, of databases, or of which container should have which address.

#![forbid(unsafe_code)]

pub mod address;
pub mod bridge;
mod conntrack;
pub mod dns;
pub mod endpoint;
pub mod host;
pub mod ipam;
pub mod links;
pub mod names;
pub mod netlink;
pub mod nft;
pub mod parent;
pub mod ports;
mod rtnl;
pub mod scan;
mod sysctl;
pub mod user;

pub use sysctl::SysctlError;
