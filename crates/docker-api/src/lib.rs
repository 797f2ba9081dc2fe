//! Docker's wire types and an asynchronous client over every transport.
//!
//! Owns the shapes of Engine API 1.51 (what is `null`, `[]` or `{}`), the lenient reading of JSON
//! that Docker's clients rely on, the framing of streams, and [`Client`]. It knows nothing of the
//! engine, and nothing of API versions other than the one it speaks: those live in the server.
#![forbid(unsafe_code)]

mod body;
pub mod client;
pub mod error;
pub mod frame;
pub mod json;
pub mod query;
pub mod stream;
pub mod transport;
pub mod types;

pub use client::Client;
pub use error::ApiError;
pub use transport::Transport;

/// The newest version of the Engine API that this crate's types describe, and the one that
/// [`Client`] asks for.
pub const API_VERSION: &str = "1.51";
