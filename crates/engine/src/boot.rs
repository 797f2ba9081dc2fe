//! `system start`: what should run runs, after a reboot or whatever else has ended it.
//!
//! Whether a container should is its restart policy's to say, and how it ended: Docker's rules for
//! the start of its daemon.

use std::collections::{BTreeMap, BTreeSet};

use model::container::{ContainerSpec, NamespaceSpec, NetworkMode, RestartPolicy};
use model::{ContainerId, ExitCode, Life, NameOrId};
use shim::protocol::ByHand;

use crate::container::Container;
use crate::record::Start;
use crate::view::Booted;
use crate::{Engine, EngineError};

impl Engine {
    /// Starts every container that should run and does not, those first whose namespaces others
    /// join.
    ///
    /// # Errors
    /// The containers cannot be listed. One that cannot be started is told of, and keeps no other
    /// from its start.
    pub fn start_wished(&self) -> Result<Vec<Booted>, EngineError> {
        // What a reboot has left goes first. What cannot be taken back is in nobody's way.
        let _ = self.reconcile();
        let mut wished = BTreeMap::new();
        let (mut order, mut unknown) = (Vec::new(), Vec::new());
        // The newest are listed first.
        for row in self.store().containers().list()?.into_iter().rev() {
            // One that cannot be read is told of by its own commands.
            let Ok(container) = Container::read(row) else { continue };
            let name = container.name().to_owned();
            match self.should_run(&container) {
                Ok(true) => {
                    order.push((container.id, joined(&container.record.spec)));
                    wished.insert(container.id, name);
                }
                Ok(false) => {}
                Err(error) => unknown.push(Booted { name, failed: Some(error.to_string()) }),
            }
        }
        let started = in_order(order).into_iter().map(|id| Booted {
            name: wished.remove(&id).unwrap_or_default(),
            failed: self.start(&NameOrId::from(id)).err().map(|error| error.to_string()),
        });
        Ok(started.chain(unknown).collect())
    }

    fn should_run(&self, container: &Container) -> Result<bool, EngineError> {
        let Some(start) = container.record.last_start() else { return Ok(false) };
        let exit = self.last_exit(&container.id)?;
        let code = match self.life(container)? {
            Life::Exited { code, .. } => code,
            // It ran before the start that failed, perhaps the last one of this kind.
            Life::Created { failed: Some(failure) } if exit.is_some() => failure.code,
            Life::Created { .. }
            | Life::Running { .. }
            | Life::Paused { .. }
            | Life::Restarting { .. } => return Ok(false),
        };
        let exit = exit.filter(|exit| exit.since >= start.at);
        let by_hand = exit.map_or(ByHand::No, |exit| exit.by_hand);
        Ok(is_wished(container.record.spec.restart, start, code, by_hand))
    }
}

/// Docker's rules; one that was stopped by hand is `always`'s nevertheless.
fn is_wished(policy: RestartPolicy, start: &Start, code: ExitCode, by_hand: ByHand) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => by_hand == ByHand::No,
        RestartPolicy::OnFailure { retries } => {
            code != ExitCode::SUCCESS && (retries == 0 || start.restarts < retries)
        }
    }
}

/// The containers whose namespaces this one joins: they were named by id when it was made.
fn joined(spec: &ContainerSpec) -> BTreeSet<ContainerId> {
    let security = &spec.security;
    let mut ids = BTreeSet::new();
    if let NetworkMode::Container(other) = &spec.network.mode {
        ids.extend(other.0.parse::<ContainerId>());
    }
    for namespace in [&security.pid, &security.ipc, &security.uts, &security.cgroup] {
        if let NamespaceSpec::Container(other) = namespace {
            ids.extend(other.parse::<ContainerId>());
        }
    }
    ids
}

/// Each after those that it joins, otherwise as they come. What joins in a circle, which only a
/// record can, comes last.
fn in_order(mut waiting: Vec<(ContainerId, BTreeSet<ContainerId>)>) -> Vec<ContainerId> {
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let left: BTreeSet<ContainerId> = waiting.iter().map(|(id, _)| *id).collect();
        let (ready, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, joined)| joined.is_disjoint(&left));
        if ready.is_empty() {
            order.extend(later.into_iter().map(|(id, _)| id));
            break;
        }
        order.extend(ready.into_iter().map(|(id, _)| id));
        waiting = later;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ContainerId {
        ContainerId::from_random([byte; 32])
    }

    #[test]
    fn whoever_is_joined_comes_first() {
        let wish =
            |own: u8, joined: &[u8]| (id(own), joined.iter().map(|byte| id(*byte)).collect());
        let order = |wishes: Vec<_>| in_order(wishes);
        let chain = vec![wish(1, &[2]), wish(4, &[]), wish(2, &[3]), wish(3, &[])];
        assert_eq!(order(chain), [id(4), id(3), id(2), id(1)]);
        // Somebody who is not started is not waited for.
        assert_eq!(order(vec![wish(1, &[9]), wish(2, &[])]), [id(1), id(2)]);
        let circle = vec![wish(1, &[2]), wish(2, &[1]), wish(3, &[])];
        assert_eq!(order(circle), [id(3), id(1), id(2)]);
    }

    #[test]
    fn a_policy_says_who_should_run() {
        let wished = |policy, code, by_hand, restarts| {
            let start = Start {
                at: jiff::Timestamp::UNIX_EPOCH,
                endpoint: None,
                kept: None,
                failed: None,
                restarts,
                again_failed: None,
                mounted: Vec::new(),
                unseen: Vec::new(),
                slice: None,
                apparmor: None,
            };
            is_wished(policy, &start, ExitCode(code), by_hand)
        };
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        assert!(!wished(No, 255, ByHand::No, 0));
        assert!(wished(Always, 0, ByHand::Yes, 0));
        assert!(wished(UnlessStopped, 0, ByHand::No, 0));
        assert!(!wished(UnlessStopped, 0, ByHand::Yes, 0));
        assert!(wished(OnFailure { retries: 2 }, 255, ByHand::No, 1));
        assert!(!wished(OnFailure { retries: 2 }, 255, ByHand::No, 2));
        assert!(!wished(OnFailure { retries: 0 }, 0, ByHand::No, 0));
    }
}
