//! Bridges that have a network of another state root.
//!
//! Roots know nothing of each other's records; what they share is the kernel, whose tables say which bridges each
//! of them has.

use super::inspect::{TABLE_NAME, elements};
use super::message::{HEADER, Message, list};
use super::ruleset::BRIDGES;
use super::table::Table;
use super::{Firewall, NftError};
use crate::address::{Family, LinkName};
use crate::names;
use crate::netlink::{Answer, Attributes, NetlinkError};

impl Firewall {
    /// The table of another root that has this bridge; `None` if none has.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn elsewhere(&self, bridge: &LinkName) -> Result<Option<String>, NftError> {
        let found = self.other_with(bridge);
        found.map_err(|error| self.failed("look for a bridge beside", error))
    }

    fn other_with(&self, bridge: &LinkName) -> Result<Option<String>, NetlinkError> {
        for family in [Family::V4, Family::V6] {
            let names = self.other_tables(family)?;
            let with = names.into_iter().find_map(|name| {
                let has = self.has_bridge(Table { name: &name, family }, bridge);
                has.map(|has| has.then_some(name)).transpose()
            });
            if let Some(found) = with {
                return found.map(Some);
            }
        }
        Ok(None)
    }

    fn has_bridge(&self, table: Table<'_>, bridge: &LinkName) -> Result<bool, NetlinkError> {
        let key = bridge.padded().to_vec();
        let has = elements(&self.socket, table, BRIDGES)?;
        Ok(has.unwrap_or_default().iter().any(|element| element.key == key))
    }

    /// The tables of other roots.
    fn other_tables(&self, family: Family) -> Result<Vec<String>, NetlinkError> {
        let tables = list(&self.socket, (Message::GetTable, "list tables"), Some(family), |_| {})?;
        let name = |answer: &Answer| {
            let attributes = Attributes::after(&answer.payload, HEADER);
            Some(attributes.find(TABLE_NAME)?.text()?.to_owned())
        };
        let names = tables.unwrap_or_default();
        let names = names.iter().filter_map(name);
        Ok(names.filter(|name| *name != self.table && names::is_table(name)).collect())
    }
}
