//! The guardian process of one container, its state machine, and the client that talks to it.
//!
//! One shim lives beside one container: it starts the init through `runtime`, carries its
//! streams, writes its log, owns its stop timer, and writes down how it ended. It survives
//! everything above it, and the container does not survive it. Nothing here knows images, the
//! database or the API; nothing starts a thread or an async runtime.
//!
//! A client begins with [`ensure`] (or [`Shim::connect`], if no shim is to be started) and goes
//! on with the calls of [`Shim`]. Without a conversation, [`probe`], [`read_state`] and
//! [`read_exit`] tell how a container is.

#![forbid(unsafe_code)]

mod about;
pub mod client;
#[cfg(test)]
mod clones;
mod ensure;
pub mod frame;
mod group;
mod guard;
mod health;
mod home;
mod journal;
mod life_lock;
pub mod log;
mod machine;
mod outbox;
pub mod paths;
mod patience;
pub mod protocol;
mod record;
mod role;
mod silent;
mod watch;
mod work;

pub use about::{About, Use};
pub use client::{Asked, CallError, Shim};
pub use ensure::{EnsureError, ensure};
pub use group::remove_group;
pub use guard::{TRY_AGAIN, tell_end};
pub use health::{read_health, write_probe};
pub use home::{delegated_parts, end_home, forget_parts, home, remove_home};
pub use journal::Journal;
pub use life_lock::{LifeLock, Liveness, LockError, probe};
pub use paths::ShimPaths;
pub use record::{
    RecordError, read_ended_execs, read_exit, read_last_words, read_state, write_exit,
};
pub use role::{MEMBER, ROLE, main};
pub use silent::{Silence, SilentError, Why, end_silent};
pub use watch::Watch;
