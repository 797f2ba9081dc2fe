//! Ports that an update publishes and takes back.
//!
//! The sockets that own a port are the shim's, so it is told before the firewall is; what is taken
//! back leaves the firewall before its sockets are let go.

use std::os::fd::AsFd;

use model::container::NetworkMode;
use model::port::{ContainerPort, PortBinding};
use net::bridge;
use net::nft::PortRule;
use net::ports::Reserved;
use shim::CallError;

use super::mounts::At;
use super::{PortChanges, UpdateError};
use crate::container::Container;
use crate::guard::call_error;
use crate::network::net_error;
use crate::ports::{Publication, published_ports, rules};
use crate::record::{Endpoint, PublishedPort, Record};
use crate::{Engine, EngineError};

/// What an update does to a container's ports.
#[derive(Debug, Default)]
pub(super) struct PortPlan {
    added: Vec<PortBinding>,
    removed: Vec<ContainerPort>,
    /// If the container runs.
    reserved: Vec<Reserved>,
    /// What of its endpoint goes.
    leaving: Vec<PublishedPort>,
}

impl PortPlan {
    /// What of its endpoint is new.
    fn coming(&self) -> impl Iterator<Item = PublishedPort> + '_ {
        self.reserved.iter().flat_map(published_ports)
    }
}

/// Notes what is new, also as the user's wish.
pub(super) fn add(record: &mut Record, plan: &PortPlan) {
    record.spec.network.published.extend(&plan.added);
    record.resolved.published.extend(&plan.added);
    record.resolved.exposed.extend(plan.added.iter().map(|binding| binding.container));
    record.resolved.exposed.sort_unstable();
    record.resolved.exposed.dedup();
    if let Some(endpoint) = endpoint_mut(record) {
        endpoint.ports.extend(plan.coming());
    }
}

/// Forgets what has gone.
pub(super) fn remove(record: &mut Record, plan: &PortPlan) {
    let is_new = |binding: &PortBinding| plan.added.contains(binding);
    let stays =
        |binding: &PortBinding| is_new(binding) || !plan.removed.contains(&binding.container);
    record.spec.network.published.retain(stays);
    record.resolved.published.retain(stays);
    if let Some(endpoint) = endpoint_mut(record) {
        endpoint.ports.retain(|port| !plan.leaving.contains(port));
    }
}

fn endpoint_mut(record: &mut Record) -> Option<&mut Endpoint> {
    record.last_start_mut()?.endpoint.as_mut()
}

/// Whoever has no place on a bridge has no port to publish.
fn check(record: &Record, changes: &PortChanges) -> Result<(), UpdateError> {
    let mode = match &record.spec.network.mode {
        NetworkMode::Bridge | NetworkMode::Named(_) => None,
        NetworkMode::Host => Some("host"),
        NetworkMode::None => Some("none"),
        NetworkMode::Container(_) => Some("container"),
    };
    if let Some(mode) = mode.filter(|_| !changes.add.is_empty()) {
        return Err(UpdateError::NoBridge(mode));
    }
    let is_published =
        |port: &ContainerPort| record.resolved.published.iter().any(|it| it.container == *port);
    match changes.rm.iter().find(|port| !is_published(port)) {
        Some(port) => Err(UpdateError::NotPublished(*port)),
        None => Ok(()),
    }
}

impl Engine {
    /// What an update does to the ports; those of a container that runs are reserved.
    pub(super) fn plan_ports(
        &self,
        container: &Container,
        changes: &PortChanges,
        at: At,
    ) -> Result<PortPlan, EngineError> {
        check(&container.record, changes)
            .map_err(|source| EngineError::Update { id: container.id, source })?;
        let mut plan = PortPlan {
            added: changes.add.clone(),
            removed: changes.rm.clone(),
            ..PortPlan::default()
        };
        let Some(endpoint) = endpoint(container).filter(|_| at == At::Work) else {
            return Ok(plan);
        };
        let goes = |port: &&PublishedPort| changes.rm.contains(&port.container);
        plan.leaving = endpoint.ports.iter().filter(goes).cloned().collect();
        if !plan.added.is_empty() {
            let bridge = bridge::ensure_default(&self.names()).map_err(net_error)?;
            plan.reserved = self.reserve(&plan.added, &bridge).map_err(net_error)?;
        }
        Ok(plan)
    }

    /// Publishes what is new, if the container runs; its record has it already.
    pub(super) fn publish_added(
        &self,
        container: &Container,
        plan: &PortPlan,
    ) -> Result<(), EngineError> {
        if plan.reserved.is_empty() {
            return Ok(());
        }
        let new: Vec<PublishedPort> = plan.coming().collect();
        let sockets: Vec<_> = plan.reserved.iter().flat_map(|one| &one.sockets).collect();
        let sockets: Vec<_> = sockets.into_iter().map(AsFd::as_fd).collect();
        self.tell_ports(container, &[], &sockets)?;
        let rules = rules_of(container, &new);
        self.publish_rules(&rules)?;
        self.admit_early_senders(&Publication { rules, sockets: Vec::new() });
        Ok(())
    }

    /// Takes back what goes, if the container runs; its record still has it.
    pub(super) fn unpublish_removed(
        &self,
        container: &Container,
        plan: &PortPlan,
    ) -> Result<(), EngineError> {
        if plan.leaving.is_empty() {
            return Ok(());
        }
        self.firewall()?.unpublish(&rules_of(container, &plan.leaving)).map_err(net_error)?;
        self.tell_ports(container, &plan.leaving, &[])
    }

    /// Takes back what was new after all; `container` is what it was before.
    pub(super) fn unpublish_again(&self, container: &Container, plan: &PortPlan) {
        let new: Vec<PublishedPort> = plan.coming().collect();
        if new.is_empty() {
            return;
        }
        if let Ok(firewall) = self.firewall() {
            let _ = firewall.unpublish(&rules_of(container, &new));
        }
        let _ = self.tell_ports(container, &[], &[]);
    }

    /// Tells the shim what the record has of ports, but those that go. One that has ended has taken
    /// back its own.
    fn tell_ports(
        &self,
        container: &Container,
        leaving: &[PublishedPort],
        sockets: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(), EngineError> {
        let ports = endpoint(container).map(|endpoint| &endpoint.ports[..]).unwrap_or_default();
        let stay: Vec<PublishedPort> =
            ports.iter().filter(|port| !leaving.contains(port)).cloned().collect();
        let rules = rules_of(container, &stay);
        let published = self.published(&Publication { rules, sockets: Vec::new() });
        let mut shim = self.running_shim(&container.id)?;
        match shim.set_published(published, sockets) {
            Err(CallError::Gone) => Ok(()),
            told => told.map_err(|error| call_error(&container.id, error)),
        }
    }
}

fn endpoint(container: &Container) -> Option<&Endpoint> {
    container.record.last_start()?.endpoint.as_ref()
}

fn rules_of(container: &Container, ports: &[PublishedPort]) -> Vec<PortRule> {
    let Some(endpoint) = endpoint(container) else { return Vec::new() };
    rules(container, &Endpoint { ports: ports.to_vec(), ..endpoint.clone() })
}
