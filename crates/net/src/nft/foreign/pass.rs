//! Has containers' packets pass where others refuse what nobody has spoken of, as Docker does.
//!
//! What our own tables refuse stays refused: they are asked as well, and a drop is final. What others refuse by
//! a rule that speaks of it stays refused too, since ours come behind it.

use super::own::{self, Own, write_position};
use super::undecided::{Place, place, theirs};
use super::{Base, Hook, RULE_HANDLE, Rule, Table, owned_tables};
use crate::bridge::AnyError;
use crate::netlink::flag;
use crate::nft::inspect::{RULE_CHAIN, RULE_TABLE};
use crate::nft::message::{Message, Transaction};
use crate::nft::{ATTEMPTS, Firewall, NftError};
use sys::Errno;

/// What a chain lacks, or has too much.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Amendment {
    chain: String,
    /// Rules of ours, by their handles.
    doomed: Vec<u64>,
    added: Vec<Own>,
    /// The rule that they go before; `None`: to the end.
    before: Option<u64>,
}

impl Firewall {
    /// Has packets of our bridges pass in the chains of others that refuse what nobody has spoken of, and has
    /// nothing of ours in any other place. `bridges` is asked only where there are such chains, or were.
    /// What nobody but its owner may change stays as it is.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn pass_others(
        &self,
        bridges: &mut dyn FnMut() -> Result<Vec<String>, AnyError>,
    ) -> Result<(), NftError> {
        let failed = |error| self.failed("look for chains beside", error);
        let mut wanted = None;
        for _ in 0..ATTEMPTS {
            let generation = self.generation()?;
            let mut tables = self.foreign_tables(&[Hook::Forward]).map_err(failed)?;
            tables.retain(concerns);
            if tables.is_empty() {
                return Ok(());
            }
            let bridges = match &wanted {
                Some(bridges) => bridges,
                None => wanted.insert(bridges().map_err(|source| self.unknown(source))?),
            };
            let mut amendments = amendments(&tables, bridges);
            if amendments.is_empty() {
                return Ok(());
            }
            let owned = owned_tables(&self.socket).map_err(failed)?;
            amendments
                .retain(|(table, _)| !owned.contains(&(table.family.name(), table.name.clone())));
            if amendments.is_empty() {
                return Ok(());
            }
            let mut transaction = Transaction::begin_at(generation);
            for (table, amendment) in &amendments {
                amendment.write(&mut transaction, table, &self.table);
            }
            match transaction.commit(&self.socket) {
                Ok(()) => return Ok(()),
                Err(error) if error.refusal() == Some(Errno::RESTART) => {}
                Err(error) => return Err(self.failed("let containers pass beside", error)),
            }
        }
        Err(NftError::Raced(self.table.clone()))
    }

    fn unknown(&self, source: AnyError) -> NftError {
        NftError::Wanted { table: self.table.clone(), source }
    }

    /// Takes our rules from the chains of others.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn leave_others(&self) -> Result<(), NftError> {
        self.pass_others(&mut || Ok(Vec::new()))
    }
}

/// Whether a table refuses, or has rules of ours.
fn concerns(table: &Table) -> bool {
    table.bases.iter().any(|base| place_in(table, base).is_some())
        || table.chains.values().flatten().any(|rule| rule.own.is_some())
}

fn place_in(table: &Table, base: &Base) -> Option<Place> {
    place(&table.chains, &base.chain, base.drops)
}

fn amendments<'a>(tables: &'a [Table], bridges: &[String]) -> Vec<(&'a Table, Amendment)> {
    let of = |table: &'a Table| {
        let wanted = own::wanted(bridges, table.chains.contains_key(own::FENCE));
        let mut places: Vec<Place> =
            table.bases.iter().filter_map(|base| place_in(table, base)).collect();
        places.sort();
        places.dedup_by(|a, b| a.chain == b.chain);
        let chains = table.chains.keys();
        chains
            .filter_map(move |chain| {
                let index =
                    places.iter().find(|place| place.chain == *chain).map(|place| place.index);
                Some((table, amendment(table, chain, index.map(|index| (index, &*wanted)))?))
            })
            .collect::<Vec<_>>()
    };
    tables.iter().flat_map(of).collect()
}

/// What makes a chain have our rules there, and nowhere else; `None` if it is so.
fn amendment(table: &Table, chain: &str, wanted: Option<(usize, &[Own])>) -> Option<Amendment> {
    let rules: &[Rule] = table.chains.get(chain)?;
    let (index, wanted) = wanted.unwrap_or((0, &[]));
    let ours = || rules.iter().filter_map(|rule| rule.own.as_ref());
    // Ours are in one place if as many of theirs are before each of them.
    let are_there = rules.iter().enumerate().all(|(at, rule)| {
        let before = rules.iter().take(at).filter(|rule| rule.own.is_none()).count();
        rule.own.is_none() || before == index
    });
    if are_there && ours().eq(wanted) {
        return None;
    }
    Some(Amendment {
        chain: chain.to_owned(),
        doomed: rules.iter().filter(|it| it.own.is_some()).map(|rule| rule.handle).collect(),
        added: wanted.to_vec(),
        before: theirs(&table.chains, chain).nth(index).map(|rule| rule.handle),
    })
}

impl Amendment {
    fn write(&self, transaction: &mut Transaction, table: &Table, mark: &str) {
        let family = table.family as u8;
        let names = (table.name.as_str(), self.chain.as_str());
        for handle in &self.doomed {
            let message = (Message::DeleteRule, "delete a rule of ours in a chain of others");
            transaction.change(message, (family, 0), |w| {
                w.text(RULE_TABLE, names.0);
                w.text(RULE_CHAIN, names.1);
                w.bytes(RULE_HANDLE, &handle.to_be_bytes());
            });
        }
        for own in &self.added {
            let message = (Message::NewRule, "add a rule to a chain of others");
            let place = if self.before.is_none() { flag::APPEND } else { 0 };
            transaction.change(message, (family, flag::CREATE | place), |w| {
                own.write(w, names, mark);
                self.before.into_iter().for_each(|handle| write_position(w, handle));
            });
        }
    }
}
