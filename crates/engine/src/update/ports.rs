//! Ports that an update publishes and takes back.
//!
//! The sockets that own a port are the shim's, so it is told before the firewall is; what is taken
//! back leaves the firewall before its sockets are let go.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use model::container::NetworkMode;
use model::port::runs::exact;
use model::port::{ContainerPort, PortBinding};
use net::nft::PortRule;
use net::ports::Reserved;
use shim::CallError;

use super::mounts::At;
use super::{PortChanges, UpdateError};
use crate::container::Container;
use crate::guard::call_error;
use crate::network::net_error;
use crate::ports::{Publication, kept_rules, published_ports, rules};
use crate::record::{Endpoint, PublishedPort, Record};
use crate::{Engine, EngineError};

/// What an update does to a container's ports.
#[derive(Debug, Default)]
pub(super) struct PortPlan {
    added: Vec<PortBinding>,
    removed: Vec<ContainerPort>,
    /// If the container runs.
    reserved: Vec<Reserved>,
    /// What is reached at its own address then.
    direct: Vec<PublishedPort>,
    /// What of its endpoint stays as it is, or as a part of a range.
    staying: Vec<PublishedPort>,
    /// Whether some of it goes.
    goes: Goes,
    /// Whether what it had leased when it ran is given back.
    leases: Leases,
    state: Leaving,
    old: Old,
}

/// Whether what goes is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Leaving {
    #[default]
    Published,
    TakenBack,
}

/// What becomes of the leases of one that does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Leases {
    #[default]
    Kept,
    GivenBack,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Goes {
    #[default]
    Nothing,
    Some,
}

/// How many there were before; what is new comes behind them, and may be the same as one that goes.
#[derive(Debug, Clone, Copy, Default)]
struct Old {
    wished: usize,
    resolved: usize,
    endpoint: usize,
}

impl Old {
    fn of(record: &Record) -> Self {
        let endpoint = record.last_start().and_then(|start| start.endpoint.as_ref());
        Self {
            wished: record.spec.network.published.len(),
            resolved: record.resolved.published.len(),
            endpoint: endpoint.map_or(0, |endpoint| endpoint.ports.len()),
        }
    }
}

impl PortPlan {
    /// What of its endpoint is new.
    fn coming(&self) -> impl Iterator<Item = PublishedPort> + '_ {
        self.reserved.iter().flat_map(published_ports).chain(self.direct.iter().cloned())
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

/// Forgets what goes.
pub(super) fn remove(record: &mut Record, plan: &PortPlan) {
    let removed: BTreeSet<&ContainerPort> = plan.removed.iter().collect();
    let goes = |binding: &PortBinding| removed.contains(&binding.container);
    drop_old(&mut record.spec.network.published, plan.old.wished, goes);
    drop_old(&mut record.resolved.published, plan.old.resolved, goes);
    if let Some(endpoint) = endpoint_mut(record) {
        endpoint.ports = left(&endpoint.ports, plan);
    }
}

/// Forgets what has gone, if the update ends before its time.
pub(super) fn remove_gone(record: &mut Record, plan: &PortPlan) {
    match plan.state {
        Leaving::TakenBack => remove(record, plan),
        Leaving::Published => {}
    }
}

/// What an endpoint with these ports has once those are gone that go.
fn left(ports: &[PublishedPort], plan: &PortPlan) -> Vec<PublishedPort> {
    match plan.goes {
        Goes::Nothing => ports.to_vec(),
        Goes::Some => {
            plan.staying.iter().chain(ports.iter().skip(plan.old.endpoint)).cloned().collect()
        }
    }
}

fn drop_old<T>(list: &mut Vec<T>, old: usize, goes: impl Fn(&T) -> bool) {
    let mut index = 0;
    list.retain(|item| {
        index += 1;
        index > old || !goes(item)
    });
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
    let published: BTreeSet<ContainerPort> =
        record.resolved.published.iter().map(|binding| binding.container).collect();
    if let Some(port) = changes.rm.iter().find(|port| !published.contains(port)) {
        return Err(UpdateError::NotPublished(*port));
    }
    let removed: BTreeSet<&ContainerPort> = changes.rm.iter().collect();
    let stays = |binding: &&PortBinding| !removed.contains(&binding.container);
    // Of a range or any port, each may have one of its own.
    let place =
        |binding: &PortBinding| Some((binding.container, binding.host_ip, exact(binding.host)?));
    let mut there: BTreeSet<_> =
        record.resolved.published.iter().filter(stays).filter_map(place).collect();
    let twice = |binding: &&PortBinding| place(binding).is_some_and(|place| !there.insert(place));
    match changes.add.iter().find(twice) {
        Some(binding) => Err(UpdateError::PublishedTwice(binding.container)),
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
            old: Old::of(&container.record),
            ..PortPlan::default()
        };
        let Some(endpoint) = endpoint(container).filter(|_| at == At::Work) else {
            if !changes.rm.is_empty() {
                plan.leases = Leases::GivenBack;
            }
            return Ok(plan);
        };
        let changes_any = !(changes.add.is_empty() && changes.rm.is_empty());
        if changes_any && sys::rootless::is_member() {
            return Err(EngineError::Invalid(
                "the network of an ordinary user's container learns of its ports when it starts: stop it first"
                    .to_owned(),
            ));
        }
        let removed: BTreeSet<ContainerPort> = changes.rm.iter().copied().collect();
        plan.staying = endpoint.ports.iter().flat_map(|port| port.without(&removed)).collect();
        plan.goes = if plan.staying == endpoint.ports { Goes::Nothing } else { Goes::Some };
        if !plan.added.is_empty() {
            let addresses = endpoint.addresses();
            let added = self.terms_of(endpoint)?.split(&plan.added, &addresses);
            plan.reserved =
                self.reserve(container, &added.mapped, &addresses).map_err(net_error)?;
            plan.direct = added.direct;
        }
        Ok(plan)
    }

    /// Gives back what a plan has reserved that is not carried out.
    pub(super) fn drop_plan(&self, container: &Container, plan: &PortPlan) {
        if !plan.reserved.is_empty() {
            // Why it is not carried out is the error to tell.
            let _ = self.lease_ports(&container.id, all_of(container));
        }
    }

    /// Gives back what it had leased when it ran, and may not ask for at its next start; its record says so.
    pub(super) fn give_back(
        &self,
        container: &Container,
        plan: &PortPlan,
    ) -> Result<(), EngineError> {
        match plan.leases {
            Leases::Kept => Ok(()),
            Leases::GivenBack => self.lease_ports(&container.id, &[]).map_err(net_error),
        }
    }

    /// Publishes what is new, if the container runs; its record has it already.
    pub(super) fn publish_added(
        &self,
        container: &Container,
        plan: &PortPlan,
    ) -> Result<(), EngineError> {
        if plan.coming().next().is_none() {
            return Ok(());
        }
        let new: Vec<PublishedPort> = plan.coming().collect();
        let sockets: Vec<_> = plan.reserved.iter().flat_map(|one| &one.sockets).collect();
        let sockets: Vec<_> = sockets.into_iter().map(AsFd::as_fd).collect();
        self.tell_ports(container, None, &sockets)?;
        let rules = rules_of(container, &new);
        let ports = all_of(container);
        let old: Vec<_> = ports.iter().filter(|port| !new.contains(port)).cloned().collect();
        self.republish(&rules_of(container, &old), &rules_of(container, ports))?;
        if !self.life(container)?.is_running() {
            // Its shim may have taken back its ports before these were there.
            let rules = rules_of(container, ports);
            return self.unpublish(&Publication { rules, ..Publication::default() });
        }
        self.admit_early_senders(&Publication { rules, ..Publication::default() });
        Ok(())
    }

    /// Takes back what goes, if the container runs; its record still has it.
    pub(super) fn unpublish_removed(
        &self,
        container: &Container,
        plan: &mut PortPlan,
    ) -> Result<(), EngineError> {
        if plan.goes == Goes::Nothing {
            return Ok(());
        }
        let (all, left) = (all_of(container), left(all_of(container), plan));
        let (old, new) = (rules_of(container, all), rules_of(container, &left));
        self.republish(&old, &new)?;
        if let Err(error) = self.tell_ports(container, Some(&left), &[]) {
            // The shim still has their sockets. This error is the one to tell.
            let _ = self.republish(&new, &old);
            return Err(error);
        }
        plan.state = Leaving::TakenBack;
        // What stays is leased already.
        self.lease_ports(&container.id, &left).map_err(net_error)
    }

    /// Takes back what was new after all; `container` is what it was before.
    pub(super) fn unpublish_again(&self, container: &Container, plan: &PortPlan) {
        let new: Vec<PublishedPort> = plan.coming().collect();
        if new.is_empty() {
            return;
        }
        let stay = match plan.state {
            Leaving::TakenBack => left(all_of(container), plan),
            Leaving::Published => all_of(container).to_vec(),
        };
        let old = stay.iter().chain(&new).cloned().collect::<Vec<_>>();
        let _ = self.republish(&rules_of(container, &old), &rules_of(container, &stay));
        let _ = self.tell_ports(container, Some(&stay), &[]);
        let _ = self.lease_ports(&container.id, &stay);
    }

    /// Tells the shim its ports, those of the record if not others. One that has ended has taken back
    /// its own.
    pub(crate) fn tell_ports(
        &self,
        container: &Container,
        ports: Option<&[PublishedPort]>,
        sockets: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(), EngineError> {
        let mut rules = rules_of(container, ports.unwrap_or(all_of(container)));
        rules.extend(kept_rules(container));
        let published = self.published(&Publication { rules, ..Publication::default() });
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

fn all_of(container: &Container) -> &[PublishedPort] {
    endpoint(container).map(|endpoint| &endpoint.ports[..]).unwrap_or_default()
}

fn rules_of(container: &Container, ports: &[PublishedPort]) -> Vec<PortRule> {
    let Some(endpoint) = endpoint(container) else { return Vec::new() };
    rules(container, &Endpoint { ports: ports.to_vec(), ..endpoint.clone() })
}

#[cfg(test)]
mod tests {
    use model::port::parse_publish;

    use super::*;

    fn bindings(typed: &[&str]) -> Vec<PortBinding> {
        typed.iter().flat_map(|text| parse_publish(text).unwrap()).collect()
    }

    fn published(typed: &[&str]) -> Record {
        let first = include_str!("../record/first.json");
        let mut record: Record = serde_json::from_str(first).unwrap();
        record.spec.network.mode = NetworkMode::Bridge;
        record.spec.network.published = bindings(typed);
        record.resolved.published = bindings(typed);
        record
    }

    /// What is there after an update.
    fn updated(there: &[&str], new: &[&str], rm: &[&str]) -> Result<Vec<PortBinding>, UpdateError> {
        let mut record = published(there);
        let rm: Vec<_> = bindings(rm).iter().map(|binding| binding.container).collect();
        let changes = PortChanges { add: bindings(new), rm };
        check(&record, &changes)?;
        let (added, removed) = (changes.add, changes.rm);
        let plan = PortPlan { added, removed, old: Old::of(&record), ..PortPlan::default() };
        add(&mut record, &plan);
        remove(&mut record, &plan);
        assert_eq!(record.spec.network.published, record.resolved.published);
        Ok(record.resolved.published)
    }

    #[test]
    fn a_port_is_published_once() {
        let kept = bindings(&["82:82", "8080:80"]);
        assert_eq!(updated(&["8080:80", "82:82"], &["8080:80"], &["80"]), Ok(kept));
        let twice = |new: &[&str]| updated(&["8080:80"], new, &[]);
        let port = bindings(&["80"])[0].container;
        assert_eq!(twice(&["8080:80"]), Err(UpdateError::PublishedTwice(port)));
        assert_eq!(twice(&["8081:80", "8081:80"]), Err(UpdateError::PublishedTwice(port)));
        assert!(twice(&["8081:80", "80", "80"]).is_ok());
    }

    #[test]
    fn what_has_gone_is_forgotten_and_nothing_else() {
        let mut record = published(&["8080:80", "82:82"]);
        let removed = vec![bindings(&["80"])[0].container];
        let mut plan = PortPlan { removed, old: Old::of(&record), ..PortPlan::default() };
        remove_gone(&mut record, &plan);
        assert_eq!(record.resolved.published.len(), 2);
        plan.state = Leaving::TakenBack;
        remove_gone(&mut record, &plan);
        assert_eq!(record.resolved.published, bindings(&["82:82"]));
    }
}
