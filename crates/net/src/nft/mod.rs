//! The host's firewall and NAT for containers: one nftables table per family, written by netlink.
//!
//! The rules are static; networks and published ports are elements of their sets. Publishing is
//! one transaction of a few microseconds, whatever else is published. All that is in the kernel is
//! derived: when somebody flushes it, it is built again from what should be published.
//!
//! Owns our tables. Those of others are read, and let our bridges' packets pass where nobody has spoken of them
//! (`foreign`); nothing else of theirs is touched.

mod dead;
mod direct;
mod element;
mod elsewhere;
mod expr;
mod foreign;
mod inspect;
mod message;
mod moved;
mod networks;
mod range;
pub(crate) mod redirect;
mod replace;
mod ruleset;
mod table;
mod told;

use sys::Errno;

pub(crate) use element::protocol_number;
pub use element::{Members, Network, PortRule};
pub use foreign::{Change, Ending, ForeignChain, Hook};
pub(crate) use range::longest;
pub use told::{ToldChain, told_chains};

use crate::address::Family;
use crate::conntrack;
use crate::host::{Ipv6Loopback, Stack};
use crate::names::Names;
use crate::netlink::{NetlinkError, Socket};
use element::{Element, of_ports};
use message::{Generation, Transaction};
use moved::{MOVED, Moved};
use ruleset::LAYOUT;
use table::Table;

/// How often a change is tried when others change nftables at the same time.
const ATTEMPTS: usize = 64;

/// Why the firewall is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The kernel refuses.
    #[error("{operation} nftables table {table}")]
    Netlink {
        /// What was done.
        operation: &'static str,
        /// The table.
        table: String,
        /// Why.
        source: NetlinkError,
    },
    /// What should be published could not be found out.
    #[error("find out what nftables table {table} should have")]
    Wanted {
        /// The table.
        table: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Others change nftables without a pause.
    #[error("nftables table {0}: other changes always come first")]
    Raced(String),
}

/// Everything that should be in the tables.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The networks.
    pub networks: Vec<Network>,
    /// The published ports.
    pub ports: Vec<PortRule>,
}

/// Where missing tables are built from.
pub enum Source<'a> {
    /// All that this root has, asked for only when a table must be built.
    Everything(&'a mut dyn FnMut() -> Result<Wanted, Box<dyn std::error::Error + Send + Sync>>),
    /// All that one container has. The tables are marked, and built again by the next who knows
    /// everything.
    OneContainer(&'a Wanted),
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Everything(_) => "Everything",
            Self::OneContainer(_) => "OneContainer",
        })
    }
}

impl Source<'_> {
    fn accepts(&self, state: State) -> bool {
        match (self, state) {
            (_, State::Missing) | (Self::Everything(_), State::Partial) => false,
            (_, State::Whole) | (Self::OneContainer(_), State::Partial) => true,
        }
    }

    const fn mark(&self) -> State {
        match self {
            Self::Everything(_) => State::Whole,
            Self::OneContainer(_) => State::Partial,
        }
    }
}

/// What the tables are built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A table is missing or has another layout.
    Missing,
    /// By somebody who knew one container only.
    Partial,
    /// By somebody who knew everything.
    Whole,
}

/// Who lets packets from outside in to a published port.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It is published, and that is enough.
    #[default]
    Direct,
    /// What the host lets in to itself, at the hook `input`. The first packet of a sender only asks: the second
    /// one, which TCP sends a second later, is let in, as are all within ten minutes.
    Admitted,
    /// A program brings it, and what it brings is let in. Containers are not: where the program listens on the
    /// host, the ports that it brings it to do not tell.
    Brought,
}

/// The tables of one state root, and the socket by which they are changed.
///
/// Keep it as long as there is use for it, and for 50 ms after the last port was taken back: the
/// kernel frees what was deleted after an RCU grace period (some 10 ms). Whoever closes a netfilter
/// socket before that waits for it and blocks every other change of nftables on the host meanwhile.
#[derive(Debug)]
pub struct Firewall {
    table: String,
    stack: Stack,
    loopback: Ipv6Loopback,
    entry: Entry,
    socket: Socket,
}

impl Firewall {
    /// The tables with this root's names, in the families of its networks.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn open(names: &Names, stack: Stack, loopback: Ipv6Loopback) -> Result<Self, NftError> {
        let table = names.table().to_owned();
        match Socket::netfilter() {
            Ok(socket) => Ok(Self { table, stack, loopback, entry: Entry::Direct, socket }),
            Err(source) => Err(NftError::Netlink { operation: "open", table, source }),
        }
    }

    /// The same with this entry.
    #[must_use]
    pub fn with_entry(self, entry: Entry) -> Self {
        Self { entry, ..self }
    }

    /// Makes the tables exist. If they do, one question to the kernel is all that is done.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn ensure(&self, source: &mut Source<'_>) -> Result<(), NftError> {
        if source.accepts(self.state()?) {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let generation = self.generation()?;
            if source.accepts(self.state()?) || self.build(source, generation, &[])? == Built::Yes {
                return Ok(());
            }
        }
        Err(NftError::Raced(self.table.clone()))
    }

    /// Builds the tables anew, whatever they are.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn rebuild(&self, source: &mut Source<'_>) -> Result<(), NftError> {
        self.rebuild_for(&[], source)
    }

    /// The same, with room for these.
    fn rebuild_for(&self, rules: &[PortRule], source: &mut Source<'_>) -> Result<(), NftError> {
        for _ in 0..ATTEMPTS {
            let generation = self.generation()?;
            if self.build(source, generation, rules)? == Built::Yes {
                return Ok(());
            }
        }
        Err(NftError::Raced(self.table.clone()))
    }

    /// Publishes ports. Missing tables are built from `source` first. What the elements' keys led
    /// to before is replaced: the caller holds the ports' sockets, so nobody else can own them.
    /// Senders of UDP that tried before are let in by `admit_early_senders`.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn publish(&self, rules: &[PortRule], source: &mut Source<'_>) -> Result<(), NftError> {
        let mut missing = 0;
        for _ in 0..ATTEMPTS {
            match self.add(rules, source) {
                Ok(()) => return Ok(()),
                Err(error) if error.refusal() == Some(Errno::NOENT) => {
                    missing += 1;
                    self.heal(missing, rules, source)?;
                }
                // A key exists and leads elsewhere.
                Err(error) if matches!(error.refusal(), Some(Errno::BUSY | Errno::EXIST)) => {
                    self.remove_where(rules, |_, _| true)?;
                }
                Err(error) => return Err(self.failed("publish ports in", error)),
            }
        }
        Err(NftError::Raced(self.table.clone()))
    }

    /// Lets in senders of UDP that tried before the port was published. Their flows are known to
    /// the kernel as ones to the host itself and would stay so as long as they send.
    ///
    /// The kernel looks through all flows for each address of the host (1.5 ms for 262144
    /// buckets), so this is to be done when nobody waits: after the container has started.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn admit_early_senders(&self, rules: &[PortRule]) -> Result<(), NftError> {
        self.forget(conntrack::to_host(&self.socket, rules))
    }

    /// Tables may exist and lack their sets: those of ranges that lead to other ports, if there was none, or all,
    /// if somebody deleted them alone.
    fn heal(
        &self,
        missing: usize,
        rules: &[PortRule],
        source: &mut Source<'_>,
    ) -> Result<(), NftError> {
        if missing == 1 { self.ensure(source) } else { self.rebuild_for(rules, source) }
    }

    /// Takes ports back, while their sockets are still held. What is gone already is passed over.
    /// Senders of UDP are no longer let in: the address may be another container's soon.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn unpublish(&self, rules: &[PortRule]) -> Result<(), NftError> {
        let mut transaction = Transaction::begin();
        for table in self.tables() {
            table.remove(&mut transaction, &of_ports(rules, table.family));
        }
        match transaction.commit(&self.socket) {
            Ok(()) => {}
            Err(error) if error.refusal() == Some(Errno::NOENT) => {
                self.remove_where(rules, |live, ours| live.is_same_as(ours))?;
            }
            Err(error) => return Err(self.failed("unpublish ports in", error)),
        }
        self.forget(conntrack::to_containers(&self.socket, rules, &[]))
    }

    /// Whether there are tables: those that are not there will be built by the first who needs them.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_built(&self) -> Result<bool, NftError> {
        Ok(self.state()? != State::Missing)
    }

    /// Every published port, with its owner.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn published(&self) -> Result<Vec<PortRule>, NftError> {
        let mut rules = Vec::new();
        for table in self.tables() {
            rules.extend(
                inspect::ports(&self.socket, table).map_err(|error| self.failed("list", error))?,
            );
        }
        Ok(rules)
    }

    /// Deletes the tables of both families, if they exist.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn delete(&self) -> Result<(), NftError> {
        for family in [Family::V4, Family::V6] {
            let table = Table { name: &self.table, family };
            let mut transaction = Transaction::begin();
            table.delete(&mut transaction);
            match transaction.commit(&self.socket) {
                Err(error) if error.refusal() != Some(Errno::NOENT) => {
                    return Err(self.failed("delete", error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Makes the kernel refuse what others are about to build: what they have asked for by now is outdated, and they
    /// ask again. Nothing is changed: a table that nobody sees is made and deleted in one transaction, since the
    /// kernel counts no other change that changes nothing.
    ///
    /// # Errors
    /// If the kernel refuses that.
    pub fn outdate(&self) -> Result<(), NftError> {
        let name = format!("{}-outdated", self.table);
        let table = Table { name: &name, family: Family::V4 };
        let mut transaction = Transaction::begin();
        table.create(&mut transaction, "");
        table.delete(&mut transaction);
        transaction.commit(&self.socket).map_err(|error| self.failed("outdate builds of", error))
    }

    fn tables(&self) -> impl Iterator<Item = Table<'_>> {
        let name = self.table.as_str();
        self.stack.families().iter().map(move |family| Table { name, family: *family })
    }

    fn forget(&self, forgotten: Result<(), NetlinkError>) -> Result<(), NftError> {
        forgotten.map_err(|error| self.failed("forget flows that bypass", error))
    }

    fn generation(&self) -> Result<Generation, NftError> {
        Generation::read(&self.socket).map_err(|error| self.failed("read the generation of", error))
    }

    fn failed(&self, operation: &'static str, source: NetlinkError) -> NftError {
        NftError::Netlink { operation, table: self.table.clone(), source }
    }

    /// What a table says of itself. Tables that say something else are built again: those of
    /// another version of this program, and of a host that was set up otherwise.
    fn comment(&self, state: State, moved: Moved) -> String {
        let built = if state == State::Partial { "partial" } else { "whole" };
        let loopback = match self.loopback {
            Ipv6Loopback::Published => "published",
            Ipv6Loopback::Closed => "closed",
        };
        let entry = match self.entry {
            Entry::Direct => "",
            Entry::Admitted => ", host asked",
            Entry::Brought => ", brought",
        };
        let moved = if moved == Moved::Some { MOVED } else { "" };
        format!("dhow layout {LAYOUT} {built}, ::1 {loopback}{entry}{moved}")
    }

    fn state_of(&self, comment: Option<&str>) -> State {
        let states = [State::Partial, State::Whole];
        let says = |state: &State, moved| comment == Some(&self.comment(*state, moved));
        let found = states
            .into_iter()
            .find(|state| says(state, Moved::Nothing) || says(state, Moved::Some));
        found.unwrap_or(State::Missing)
    }

    /// What the tables say of themselves, in the order of their families.
    fn comments(&self) -> Result<Vec<Option<String>>, NftError> {
        inspect::comments(&self.socket, &self.table, self.stack.families())
            .map_err(|error| self.failed("look up", error))
    }

    /// The state of the worse of the tables.
    fn state(&self) -> Result<State, NftError> {
        let states: Vec<_> = self.comments()?.iter().map(|c| self.state_of(c.as_deref())).collect();
        let worst = [State::Missing, State::Partial].into_iter().find(|s| states.contains(s));
        Ok(worst.unwrap_or(State::Whole))
    }

    /// Replaces the tables by new ones, unless anything changed since `generation`: what the
    /// source says may not have been known to whoever changed it.
    /// They get what `rules`, which come next, need.
    fn build(
        &self,
        source: &mut Source<'_>,
        generation: Generation,
        rules: &[PortRule],
    ) -> Result<Built, NftError> {
        let mark = source.mark();
        let asked;
        let wanted = match source {
            Source::OneContainer(wanted) => *wanted,
            Source::Everything(ask) => {
                asked = ask()
                    .map_err(|source| NftError::Wanted { table: self.table.clone(), source })?;
                &asked
            }
        };
        let moved = Moved::of(rules.iter().chain(&wanted.ports).any(PortRule::is_moved));
        let mark = self.comment(mark, moved);
        let mut transaction = Transaction::begin_at(generation);
        for table in self.tables() {
            // To delete a table it must exist, and to create it anew it must not.
            table.create(&mut transaction, &mark);
            table.delete(&mut transaction);
            table.create(&mut transaction, &mark);
            table.fill(&mut transaction, &self.ruleset(table.family, moved));
            table.add(&mut transaction, &all_elements(wanted, table.family));
        }
        match transaction.commit(&self.socket) {
            Ok(()) => Ok(Built::Yes),
            Err(error) if error.refusal() == Some(Errno::RESTART) => Ok(Built::Raced),
            Err(error) => Err(self.failed("build", error)),
        }
    }

    fn add(&self, rules: &[PortRule], source: &Source<'_>) -> Result<(), NetlinkError> {
        let mut transaction = Transaction::begin();
        for table in self.tables() {
            // Another container's shim may have built the tables, without this one's network.
            if let Source::OneContainer(wanted) = source {
                table.add(&mut transaction, &networks::elements(wanted, table.family));
            }
            table.add(&mut transaction, &of_ports(rules, table.family));
        }
        transaction.commit(&self.socket)
    }

    /// Deletes those elements of the rules that exist and for which `which(live, ours)` holds.
    fn remove_where(
        &self,
        rules: &[PortRule],
        which: impl Fn(&Element, &Element) -> bool,
    ) -> Result<(), NftError> {
        for table in self.tables() {
            let ours = of_ports(rules, table.family);
            let doomed = self.existing(table, &ours, &which).map_err(|e| self.failed("list", e))?;
            let mut transaction = Transaction::begin();
            table.remove(&mut transaction, &doomed);
            match transaction.commit(&self.socket) {
                // Another process was faster, or the tables were flushed.
                Err(error) if error.refusal() != Some(Errno::NOENT) => {
                    return Err(self.failed("delete elements of", error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The live elements with the keys of `ours` that `which` chooses.
    fn existing(
        &self,
        table: Table<'_>,
        ours: &[Element],
        which: impl Fn(&Element, &Element) -> bool,
    ) -> Result<Vec<Element>, NetlinkError> {
        let mut found = Vec::new();
        for run in ours.chunk_by(|a, b| a.set == b.set) {
            let Some(set) = run.first().map(|element| element.set) else { continue };
            let mut live = inspect::elements(&self.socket, table, set)?.unwrap_or_default();
            live.retain(|live| run.iter().any(|own| own.meets(live) && which(live, own)));
            found.extend(live);
        }
        Ok(found)
    }
}

/// Whether new tables were built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Built {
    Yes,
    Raced,
}

fn all_elements(wanted: &Wanted, family: Family) -> Vec<Element> {
    let mut elements = networks::elements(wanted, family);
    elements.extend(of_ports(&wanted.ports, family));
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_another_layout_count_as_missing() {
        let names = Names::of(&model::RootTag::DEFAULT);
        let firewall = Firewall::open(&names, Stack::Dual, Ipv6Loopback::Published).unwrap();
        for state in [State::Whole, State::Partial] {
            for moved in [Moved::Nothing, Moved::Some] {
                assert_eq!(firewall.state_of(Some(&firewall.comment(state, moved))), state);
            }
        }
        let other = Firewall::open(&names, Stack::Dual, Ipv6Loopback::Closed).unwrap();
        let comment = other.comment(State::Whole, Moved::Nothing);
        let asked = Firewall::open(&names, Stack::Dual, Ipv6Loopback::Published).unwrap();
        let asked = asked.with_entry(Entry::Admitted).comment(State::Whole, Moved::Nothing);
        for comment in [None, Some(""), Some("dhow layout 0 whole"), Some(&comment), Some(&asked)] {
            assert_eq!(firewall.state_of(comment), State::Missing, "{comment:?}");
        }
    }
}
