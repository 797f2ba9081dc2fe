//! Docker Engine REST: routes, lowering wire to model, raising model to wire, version quirks.
//!
//! A door: it knows HTTP and Docker's words, and calls the engine's verbs. It keeps no state of its
//! own beside a connection's. A connection is whatever bytes it is given, so the same code is behind the
//! sockets of the service ([`service`]) and behind a pipe in the command line's own process ([`serve_own`]).
#![forbid(unsafe_code)]

mod call;
mod connection;
mod error;
mod filter;
mod given;
mod handle;
mod lines;
mod linger;
mod lower;
mod pages;
mod params;
mod quirks;
mod raise;
mod reply;
mod route;
pub mod service;
mod splice;
mod turn;
pub mod web;
mod websocket;

pub use connection::{ServeError, serve_own};
