//! Networks in real namespaces: packets are sent and must arrive, or must not.
//!
//! Needs root. Everything happens in namespaces that the tests make and that end with them.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod addresses;
mod beside;
mod firewall;
mod isolation;
mod lab;
mod ports;
mod publishing;
mod ranges;
