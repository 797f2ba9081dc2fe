//! Netlink, the kernel's message protocol for links, addresses, routes, nftables and conntrack.
//!
//! Owns the bytes of messages and attributes, and the exchange with the kernel. What the messages
//! mean is known by `rtnl`, `nft` and `conntrack`.
//!
//! One small encoder for all three protocols: the crates for route netlink are large, parse more
//! than is asked for (and fail on attributes of newer kernels), and none writes `nf_tables`.

mod attributes;
mod batch;
mod socket;

pub use attributes::{Attribute, Attributes, native_u32, network_u32};
pub use batch::{Batch, Head, Writer};
pub use socket::{Answer, NetlinkError, Socket};

/// Message flags of `linux/netlink.h`.
pub mod flag {
    /// Every request has it.
    pub const REQUEST: u16 = 0x1;
    /// Answer this message with an acknowledgement.
    pub const ACK: u16 = 0x4;
    /// List everything that matches.
    pub const DUMP: u16 = 0x300;
    /// Replace what exists.
    pub const REPLACE: u16 = 0x100;
    /// Fail if it exists.
    pub const EXCL: u16 = 0x200;
    /// Create what does not exist.
    pub const CREATE: u16 = 0x400;
    /// Add behind what exists.
    pub const APPEND: u16 = 0x800;
}
