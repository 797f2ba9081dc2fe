//! Takes back the ports of containers that nobody guards any more.
//!
//! Whoever does this holds no socket of theirs, so a port may get another owner at any moment. The
//! decision is made on one generation of nftables, and the kernel refuses it if there is a newer one.

use std::collections::BTreeSet;

use model::ContainerId;
use sys::Errno;

use super::element::{Element, PortRule, of_ports};
use super::message::Transaction;
use super::ruleset::{OPEN, OPEN_RANGES};
use super::table::Table;
use super::{ATTEMPTS, Built, Firewall, NftError, inspect};
use crate::conntrack;
use crate::netlink::NetlinkError;

impl Firewall {
    /// Takes back every port whose owner is dead. What has another owner by then stays, also where
    /// that owner has the address of the dead one.
    ///
    /// # Errors
    /// See [`NftError`]; the first error of `is_dead`.
    pub fn unpublish_dead<E: From<NftError>>(
        &self,
        mut is_dead: impl FnMut(&ContainerId) -> Result<bool, E>,
    ) -> Result<(), E> {
        for _ in 0..ATTEMPTS {
            let generation = self.generation()?;
            let (dead, living) = part(self.published()?, &mut is_dead)?;
            if dead.is_empty() {
                return Ok(());
            }
            let mut transaction = Transaction::begin_at(generation);
            for table in self.tables() {
                let doomed = self.doomed(table, &dead, &living);
                table.remove(&mut transaction, &doomed.map_err(|e| self.failed("list", e))?);
            }
            if self.committed(transaction)? == Built::Yes {
                return Ok(self.forget(conntrack::to_containers(&self.socket, &dead, &living))?);
            }
        }
        Err(NftError::Raced(self.table.clone()).into())
    }

    /// What the dead alone have in a table.
    fn doomed(
        &self,
        table: Table<'_>,
        dead: &[PortRule],
        living: &[PortRule],
    ) -> Result<Vec<Element>, NetlinkError> {
        let is_open = |element: &Element| [OPEN, OPEN_RANGES].contains(&element.set);
        let key = |element: Element| (element.set, element.key, element.end);
        let needed = of_ports(living, table.family).into_iter().filter(is_open);
        let needed: BTreeSet<_> = needed.map(key).collect();
        let mut live = BTreeSet::new();
        for set in [OPEN, OPEN_RANGES] {
            let elements = inspect::elements(&self.socket, table, set)?.unwrap_or_default();
            live.extend(elements.into_iter().map(key));
        }
        let mut doomed = of_ports(dead, table.family);
        doomed.retain(|element| {
            let key = key(element.clone());
            !is_open(element) || (live.contains(&key) && !needed.contains(&key))
        });
        Ok(doomed)
    }

    fn committed(&self, transaction: Transaction) -> Result<Built, NftError> {
        match transaction.commit(&self.socket) {
            Ok(()) => Ok(Built::Yes),
            Err(error) if error.refusal() == Some(Errno::RESTART) => Ok(Built::Raced),
            Err(error) => Err(self.failed("take dead ports from", error)),
        }
    }
}

fn part<E>(
    rules: Vec<PortRule>,
    is_dead: &mut impl FnMut(&ContainerId) -> Result<bool, E>,
) -> Result<(Vec<PortRule>, Vec<PortRule>), E> {
    let (mut dead, mut living) = (Vec::new(), Vec::new());
    for rule in rules {
        let side = if is_dead(&rule.owner)? { &mut dead } else { &mut living };
        side.push(rule);
    }
    Ok((dead, living))
}
