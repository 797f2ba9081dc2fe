//! Where networks are: on the host, and those of an ordinary user in one network namespace for all on a runtime
//! root, which is made for the first container on one and ends with the last.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use net::host;
use sys::rootless::networks::{Look, Networks, look};

use super::net_error;
use crate::{Engine, EngineError};

thread_local! {
    /// Whether this thread is there already: what it calls in turn finds itself at the right place.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Engine {
    /// What networks need to be there; `None` where that is here. Whoever makes it keeps others from making another
    /// until a shim keeps it or this is dropped.
    pub(crate) fn ground_for_networks(&self) -> Result<Option<Networks>, EngineError> {
        if is_here() {
            return Ok(None);
        }
        match look(self.paths().run()).map_err(net_error)? {
            Look::Found(networks) => Ok(Some(networks)),
            Look::Nobody(door) => {
                let netns = made()?;
                let opened = door.open(netns);
                opened
                    .map(Some)
                    .map_err(|errno| EngineError::file("lock", self.paths().run())(errno.into()))
            }
        }
    }

    /// Does something where networks are.
    pub(crate) fn at_networks<T: Send>(
        &self,
        ground: Option<&Networks>,
        work: impl FnOnce() -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let Some(ground) = ground else { return work() };
        let inside = || {
            INSIDE.set(true);
            work()
        };
        sys::netns::run_in(ground.netns(), inside).map_err(net_error)?
    }

    /// The same if there is such a place: where it is not, there is nothing of networks either.
    pub(crate) fn at_networks_there<T: Send>(
        &self,
        nothing: T,
        work: impl FnOnce() -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        if is_here() {
            return work();
        }
        match look(self.paths().run()).map_err(net_error)? {
            Look::Found(networks) => self.at_networks(Some(&networks), work),
            Look::Nobody(_) => Ok(nothing),
        }
    }
}

fn is_here() -> bool {
    !sys::rootless::is_member() || INSIDE.get()
}

/// A namespace in which the user's networks can be. Where the host has IPv6 disabled, so have they.
fn made() -> Result<OwnedFd, EngineError> {
    let stack = host::stack().map_err(net_error)?;
    let netns = net::endpoint::isolated().map_err(net_error)?;
    let limited = sys::netns::run_in(&netns, || host::limit(stack)).map_err(net_error)?;
    limited.map_err(net_error)?;
    Ok(netns)
}
