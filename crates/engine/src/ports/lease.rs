//! Who has which range of ports: sockets own single ports, the database ranges.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use model::ContainerId;
use model::port::PortBinding;
use net::address::{Cidr, Family};
use net::host::Stack;
use net::nft::PortRule;
use net::ports::{Others, PortError, Reserved, Span, reserve};
use store::{PortError as LeaseError, PortLease};

use crate::container::Container;
use crate::network::net_error;
use crate::record::PublishedPort;
use crate::{Engine, EngineError};

impl Engine {
    /// Reserves ports of the host for a container, beside those that it has.
    ///
    /// # Errors
    /// Somebody has one of them.
    pub(crate) fn reserve(
        &self,
        container: &Container,
        bindings: &[PortBinding],
        addresses: &[Cidr],
    ) -> Result<Vec<Reserved>, PortError> {
        let has_v6 = addresses.iter().any(|cidr| cidr.family() == Family::V6);
        let stack = if has_v6 { Stack::Dual } else { Stack::V4 };
        let had = self.had(container);
        let claim = |spans: &[Span]| {
            let new = spans.iter().map(lease);
            self.lease(&container.id, &had.iter().copied().chain(new).collect::<Vec<_>>())
        };
        let published = || self.published_by_others(&container.id).unwrap_or_default();
        let spans: Vec<Span> = had.iter().map(span).collect();
        let others = Others {
            had: &spans,
            published: &published,
            claim: &claim,
            claimed: &|| self.claimed(&container.id),
            name: &|id| self.name_of(id),
        };
        let reserved = reserve(bindings, stack, &others);
        if reserved.is_err() {
            // What was noted before one was refused. That refusal is the error to tell.
            let _ = self.lease(&container.id, &had);
        }
        reserved
    }

    /// What containers publish that somebody guards: what is left of others is in nobody's way.
    fn published_by_others(&self, own: &ContainerId) -> Result<Vec<PortRule>, EngineError> {
        let mut rules = self.firewall()?.published().map_err(net_error)?;
        let mut living = BTreeMap::new();
        rules.retain(|rule| rule.owner != *own);
        rules.retain(|rule| {
            *living.entry(rule.owner).or_insert_with(|| !self.is_free(&rule.owner).unwrap_or(false))
        });
        Ok(rules)
    }

    /// What a container that runs has leased, or would have if it were a range.
    fn had(&self, container: &Container) -> Vec<PortLease> {
        let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
        match endpoint {
            Some(endpoint) if self.life(container).is_ok_and(|life| life.is_running()) => {
                leases(&endpoint.ports)
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// The same for an ordinary user's network, which has IPv4 alone. Its program binds each port for itself, of a
    /// range as well: the kernel decides.
    pub(super) fn reserve_forwards(
        &self,
        bindings: &[PortBinding],
    ) -> Result<Vec<Reserved>, PortError> {
        reserve(
            bindings,
            Stack::V4,
            &Others {
                had: &[],
                published: &|| {
                    let kept = self.kept_at_host().unwrap_or_default();
                    self.forwarded().unwrap_or_default().into_iter().chain(kept).collect()
                },
                claim: &|_| Ok(()),
                claimed: &|| Ok(Vec::new()),
                name: &|id| self.name_of(id),
            },
        )
    }

    /// Leases these ports, and ends all other leases of the container. What is left of a range may be a single port
    /// without a socket, so single ones are leased as well.
    pub(crate) fn lease_ports(
        &self,
        id: &ContainerId,
        ports: &[PublishedPort],
    ) -> Result<(), PortError> {
        self.lease(id, &leases(ports))
    }

    fn lease(&self, id: &ContainerId, leases: &[PortLease]) -> Result<(), PortError> {
        loop {
            let (lease, port, by) = match self.store().ports().lease(id, leases) {
                Ok(()) => return Ok(()),
                Err(LeaseError::Taken { lease, port, by }) => (lease, port, by),
                Err(error) => return Err(PortError::Claim(error.into())),
            };
            let address = (lease.host_ip, port).into();
            if !self.is_free(&by).map_err(claim_error)? {
                return Err(PortError::Allocated { address, by: self.name_of(&by) });
            }
            // It has ended, and nobody has said so.
            self.store().ports().lease(&by, &[]).map_err(|error| PortError::Claim(error.into()))?;
        }
    }

    /// The ranges of others.
    fn claimed(&self, own: &ContainerId) -> Result<Vec<(Span, String)>, PortError> {
        let leases = self.store().ports().list();
        let leases = leases.map_err(|error| PortError::Claim(error.into()))?;
        let (mut claimed, mut names) = (Vec::new(), BTreeMap::new());
        for (lease, by) in leases.into_iter().filter(|(_, by)| by != own) {
            let name = match names.entry(by) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.living(&by)?),
            };
            claimed.extend(name.clone().map(|name| (span(&lease), name)));
        }
        Ok(claimed)
    }

    /// The name of one that somebody guards.
    fn living(&self, id: &ContainerId) -> Result<Option<String>, PortError> {
        let is_free = self.is_free(id).map_err(claim_error)?;
        Ok((!is_free).then(|| self.name_of(id).unwrap_or_else(|| id.to_string())))
    }

    fn name_of(&self, id: &ContainerId) -> Option<String> {
        let row = self.store().containers().get(id).ok().flatten();
        row.map(|row| row.name.to_string())
    }
}

fn claim_error(error: EngineError) -> PortError {
    PortError::Claim(error.into())
}

fn lease(span: &Span) -> PortLease {
    let Span { protocol, ip: host_ip, first, last } = *span;
    PortLease { protocol, host_ip, first, last }
}

fn span(lease: &PortLease) -> Span {
    let PortLease { protocol, host_ip: ip, first, last } = *lease;
    Span { protocol, ip, first, last }
}

fn leases(ports: &[PublishedPort]) -> Vec<PortLease> {
    let lease = |port: &PublishedPort| PortLease {
        protocol: port.container.protocol,
        host_ip: port.host_ip,
        first: port.host_port,
        last: port.host_port.saturating_add(port.count - 1),
    };
    // Where the host does not lead, none of its ports is anybody's.
    ports.iter().filter(|port| port.host_port != 0).map(lease).collect()
}
