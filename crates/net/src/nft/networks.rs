//! Networks in the tables: one is made known, one is forgotten.

use sys::Errno;

use super::element::{Element, Network, of_network};
use super::message::Transaction;
use super::{Firewall, NftError, Source, Wanted};
use crate::address::Family;

impl Firewall {
    /// Makes a network known. Where the tables have what is in its way, as a range that overlaps with its
    /// own and is nobody's any more, or lack the sets, they are built anew from what should be in them,
    /// which includes it.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn add_network(&self, network: &Network, source: &mut Source<'_>) -> Result<(), NftError> {
        let mut transaction = Transaction::begin();
        for table in self.tables() {
            table.add(&mut transaction, &of_network(network, table.family));
        }
        match transaction.commit(&self.socket) {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(error.refusal(), Some(Errno::NOENT | Errno::EXIST | Errno::BUSY)) =>
            {
                self.rebuild(source)
            }
            Err(error) => Err(self.failed("add a network to", error)),
        }
    }

    /// Forgets a network. Where the tables do not have all of it, they are built anew from what should be
    /// in them.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn remove_network(
        &self,
        network: &Network,
        source: &mut Source<'_>,
    ) -> Result<(), NftError> {
        let mut transaction = Transaction::begin();
        for table in self.tables() {
            table.remove(&mut transaction, &of_network(network, table.family));
        }
        match transaction.commit(&self.socket) {
            Err(error) if error.refusal() == Some(Errno::NOENT) => match self.is_there()? {
                true => self.rebuild(source),
                false => Ok(()),
            },
            other => other.map_err(|error| self.failed("remove a network from", error)),
        }
    }

    /// Whether there is a table of this name, of whatever layout: an earlier one has other sets.
    fn is_there(&self) -> Result<bool, NftError> {
        Ok(self.comments()?.iter().any(Option::is_some))
    }
}

/// Elements of one set side by side, so that they travel in one message.
pub(super) fn elements(wanted: &Wanted, family: Family) -> Vec<Element> {
    let mut elements: Vec<Element> =
        wanted.networks.iter().flat_map(|network| of_network(network, family)).collect();
    elements.sort_by_key(|element| element.set);
    elements
}
