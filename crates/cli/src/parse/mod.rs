//! The text syntax of flags, with Docker's messages.
//!
//! Everything here is pure: files, the environment and the working directory are handed in.
//! Published ports are `model::port`'s; what a bind means is the server's.

pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod env;
pub(crate) mod filter;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod pools;
pub(crate) mod ports;
pub(crate) mod security;
pub(crate) mod volume;
