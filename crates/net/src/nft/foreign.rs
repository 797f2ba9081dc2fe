//! What other programs' nftables do with packets that come in or pass through: their chains at the hooks
//! `input` and `forward`, and whether those let pass what none of their rules decides.
//!
//! Owns reading them, and the two rules for each of our bridges that are added where they refuse what nobody
//! has said anything of (`pass`). Nothing else of theirs is changed.

mod own;
mod pass;
mod undecided;

use std::collections::{BTreeMap, BTreeSet};

use super::expr::{EXPR_DATA, EXPR_NAME, Expr, Verdict};
use super::inspect::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, HOOK_NUMBER, HOOK_PRIORITY, POLICY_DROP,
    RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE,
};
use super::message::{HEADER, Message, list_of};
use super::{Firewall, NftError};
use crate::netlink::{Answer, Attribute, Attributes, NetlinkError, Socket, network_u32};
use own::Own;
use undecided::{Fate, fate};

const RULE_HANDLE: u16 = 3;
const TARGET_NAME: u16 = 1;
/// linux/netfilter/nf_tables.h: `NFTA_LOOKUP_DREG` and the registers that others write from.
const LOOKUP_TO: u16 = 3;
const META_FROM: u16 = 3;
const CT_FROM: u16 = 4;
const PAYLOAD_FROM: u16 = 5;
const EXTHDR_FROM: u16 = 7;
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
/// Only the program that has made the table may change it (Linux 5.12).
const FLAG_OWNER: u32 = 2;

/// Which packets a chain sees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hook {
    /// Those to the host itself. What is published for a container is none of these.
    Input,
    /// Those that the host passes on.
    Forward,
}

/// What becomes of a packet that no rule of a chain decides about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It passes, as far as this chain goes.
    Passes,
    /// The chain's policy is to drop.
    Policy,
    /// A rule drops or rejects whatever comes that far.
    Rule,
}

/// Who may change a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Whoever may change nftables.
    Anyone,
    /// The program that has made it, as long as it runs (firewalld 2).
    Owner,
}

/// A chain of somebody else. What it refuses, nothing of our own tables can let pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignChain {
    /// `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// What it sees.
    pub hook: Hook,
    /// Lower ones go first.
    pub priority: i32,
    /// How it ends.
    pub ending: Ending,
    /// Bridges of ours whose packets it lets pass at that end, by rules of ours.
    pub passing: BTreeSet<String>,
    /// Whether rules of ours can be there.
    pub change: Change,
    /// Links that rules of its table name.
    pub links: BTreeSet<String>,
}

impl ForeignChain {
    /// Whether it refuses what none of its rules decides about.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.ending != Ending::Passes
    }

    /// Whether it is asked about packets to such an address.
    #[must_use]
    pub fn sees(&self, address: std::net::IpAddr) -> bool {
        match self.family {
            "ip" => address.is_ipv4(),
            "ip6" => address.is_ipv6(),
            _ => true,
        }
    }

    /// Whether it keeps a network from others, for no better reason than that nobody has spoken of it. In a
    /// table that we may not change, whoever names the bridge is taken to know what for.
    #[must_use]
    pub fn keeps(&self, bridge: &str) -> bool {
        let is_known = match self.change {
            Change::Anyone => &self.passing,
            Change::Owner => &self.links,
        };
        self.hook == Hook::Forward && self.refuses() && !is_known.contains(bridge)
    }
}

impl std::fmt::Display for ForeignChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

/// A table of somebody else that has a chain at one of the hooks.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Table {
    family: Family,
    name: String,
    bases: Vec<Base>,
    chains: Chains,
}

/// The rules of chains, by their names.
type Chains = BTreeMap<String, Vec<Rule>>;

/// A family with routed packets. Hooks of the others are numbered otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Family {
    Inet = 1,
    V4 = 2,
    V6 = 10,
}

impl Family {
    fn of(answer: &Answer) -> Option<Self> {
        let number = *answer.payload.first()?;
        [Self::Inet, Self::V4, Self::V6].into_iter().find(|family| *family as u8 == number)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

/// A chain at a hook.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Base {
    chain: String,
    hook: Hook,
    priority: i32,
    drops: bool,
}

/// A rule, as far as it is looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    handle: u64,
    act: Act,
    /// What it says, if it is one of ours.
    own: Option<Own>,
    /// The links that it names.
    links: Vec<String>,
}

/// What a rule does.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Act {
    /// It drops or rejects everything.
    Refuses,
    /// It accepts everything.
    Accepts,
    /// It ends its chain for everything.
    Returns,
    /// It has everything go through another chain.
    Calls(String),
    /// The same, and ends its own.
    GoesTo(String),
    /// It writes a log, or counts.
    Tells,
    /// What it does depends on the packet.
    Depends,
}

impl Firewall {
    /// The chains of others at the hooks `input` and `forward`, in the order in which packets meet them.
    ///
    /// Tables of the former kernel interface of iptables are not seen (Debian's and Fedora's `iptables`
    /// have used nftables since 2019).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn foreign_chains(&self) -> Result<Vec<ForeignChain>, NftError> {
        let failed = |error| self.failed("look for chains beside", error);
        let tables = self.foreign_tables(&[Hook::Input, Hook::Forward]).map_err(failed)?;
        let mut chains: Vec<ForeignChain> = tables.iter().flat_map(told).collect();
        let refusing = |chain: &ForeignChain| chain.hook == Hook::Forward && chain.refuses();
        if chains.iter().any(refusing) {
            let owned = owned_tables(&self.socket).map_err(failed)?;
            let is_owned =
                |chain: &&mut ForeignChain| owned.contains(&(chain.family, chain.table.clone()));
            chains.iter_mut().filter(is_owned).for_each(|chain| chain.change = Change::Owner);
        }
        chains.sort_by(|a, b| {
            let key = |chain: &ForeignChain| (chain.hook as u8, chain.priority);
            key(a).cmp(&key(b)).then_with(|| a.to_string().cmp(&b.to_string()))
        });
        Ok(chains)
    }

    /// Others' tables with a chain at one of the hooks. Rules of other tables are not asked for: a host may
    /// have many.
    fn foreign_tables(&self, hooks: &[Hook]) -> Result<Vec<Table>, NetlinkError> {
        let message = (Message::GetChain, "list chains");
        let answers = list_of(&self.socket, message, 0, |_| {})?.unwrap_or_default();
        let mut tables: BTreeMap<(Family, String), Table> = BTreeMap::new();
        for (family, name, chain, base) in answers.iter().filter_map(chain) {
            if name == self.table {
                continue;
            }
            let empty = Table { family, name, bases: Vec::new(), chains: Chains::new() };
            let table = tables.entry((family, empty.name.clone())).or_insert(empty);
            table.bases.extend(base.filter(|base| hooks.contains(&base.hook)));
            table.chains.insert(chain, Vec::new());
        }
        let mut tables: Vec<Table> = tables.into_values().collect();
        tables.retain(|table| !table.bases.is_empty());
        tables.iter_mut().try_for_each(|table| self.read_rules(table))?;
        Ok(tables)
    }

    fn read_rules(&self, table: &mut Table) -> Result<(), NetlinkError> {
        let message = (Message::GetRule, "list rules");
        let name = table.name.as_str();
        let answers =
            list_of(&self.socket, message, table.family as u8, |w| w.text(RULE_TABLE, name))?;
        for answer in answers.iter().flatten() {
            let Some((chain, rule)) = rule(answer, &self.table) else { continue };
            table.chains.entry(chain).or_default().push(rule);
        }
        Ok(())
    }
}

/// Tables that only the programs may change that have made them.
fn owned_tables(socket: &Socket) -> Result<BTreeSet<(&'static str, String)>, NetlinkError> {
    let message = (Message::GetTable, "list tables");
    let answers = list_of(socket, message, 0, |_| {})?.unwrap_or_default();
    let owned = |answer: &Answer| {
        let attributes = Attributes::after(&answer.payload, HEADER);
        let flags = network_u32(attributes.find(TABLE_FLAGS)?.value)?;
        let name = attributes.find(TABLE_NAME)?.text()?.to_owned();
        (flags & FLAG_OWNER != 0).then_some((Family::of(answer)?.name(), name))
    };
    Ok(answers.iter().filter_map(owned).collect())
}

/// What is told of the chains of a table.
fn told(table: &Table) -> impl Iterator<Item = ForeignChain> {
    let passing = own::complete(table.chains.values().flatten().filter_map(|it| it.own.as_ref()));
    let theirs = table.chains.values().flatten().filter(|rule| rule.own.is_none());
    let links: BTreeSet<String> = theirs.flat_map(|rule| rule.links.clone()).collect();
    table.bases.iter().map(move |base| ForeignChain {
        family: table.family.name(),
        table: table.name.clone(),
        chain: base.chain.clone(),
        hook: base.hook,
        priority: base.priority,
        ending: match fate(&table.chains, &base.chain) {
            Fate::Refused(_) => Ending::Rule,
            Fate::Undecided if base.drops => Ending::Policy,
            Fate::Undecided | Fate::Accepted => Ending::Passes,
        },
        passing: passing.clone(),
        change: Change::Anyone,
        links: links.clone(),
    })
}

/// A chain with its table, and what it is if it is at a hook.
fn chain(answer: &Answer) -> Option<(Family, String, String, Option<Base>)> {
    let attributes = Attributes::after(&answer.payload, HEADER);
    let text = |kind| Some(attributes.find(kind)?.text()?.to_owned());
    let name = text(CHAIN_NAME)?;
    Some((Family::of(answer)?, text(CHAIN_TABLE)?, name.clone(), base(attributes, name)))
}

fn base(attributes: Attributes<'_>, chain: String) -> Option<Base> {
    let hook = |kind| network_u32(attributes.find_in(CHAIN_HOOK, kind)?.value);
    Some(Base {
        chain,
        hook: match hook(HOOK_NUMBER)? {
            1 => Hook::Input,
            2 => Hook::Forward,
            _ => return None,
        },
        priority: hook(HOOK_PRIORITY)?.cast_signed(),
        drops: network_u32(attributes.find(CHAIN_POLICY)?.value)? == POLICY_DROP,
    })
}

/// A rule and its chain.
fn rule(answer: &Answer, mark: &str) -> Option<(String, Rule)> {
    let attributes = Attributes::after(&answer.payload, HEADER);
    let chain = attributes.find(RULE_CHAIN)?.text()?.to_owned();
    let handle = attributes.find(RULE_HANDLE)?.value.first_chunk()?;
    let expressions = || attributes.find(RULE_EXPRESSIONS).into_iter().flat_map(|it| it.nested());
    let rule = Rule {
        handle: u64::from_be_bytes(*handle),
        act: act(expressions()),
        own: own::read(attributes, mark),
        links: expressions().filter_map(link).collect(),
    };
    Some((chain, rule))
}

/// The text that something is compared with: a link, mostly.
fn link(expression: Attribute<'_>) -> Option<String> {
    let Expr::Compare { value, .. } = Expr::parse(expression)? else { return None };
    own::name(&value)
}

fn name(expression: Attribute<'_>) -> Option<&str> {
    expression.nested().find(EXPR_NAME)?.text()
}

/// What an expression of `iptables` is called by itself: a `match`, or a `target`.
fn inner_name(expression: Attribute<'_>) -> &str {
    let name = expression.nested().find_in(EXPR_DATA, TARGET_NAME);
    name.and_then(|name| name.text()).unwrap_or_default()
}

fn act<'a>(expressions: impl Iterator<Item = Attribute<'a>>) -> Act {
    let (mut depends, mut does_more, mut act) = (false, false, Act::Tells);
    for expression in expressions {
        match name(expression).unwrap_or_default() {
            "counter" | "log" => {}
            "match" if inner_name(expression) == "comment" => {}
            "cmp" | "bitwise" | "limit" | "range" | "fib" | "rt" | "byteorder" | "socket" => {
                depends = true;
            }
            // A map gives a verdict, and a mark or a field may be written.
            "lookup" | "meta" | "ct" | "payload" | "exthdr" if is_read(expression) => {
                depends = true;
            }
            "reject" => act = Act::Refuses,
            "target" => act = target(inner_name(expression)),
            "immediate" => act = verdict(Expr::parse(expression)),
            // Whatever it is (a count of connections, a quota, `recent`), it may let the rule end here.
            _ => (depends, does_more) = (true, true),
        }
    }
    // Whatever it depends on, a log is all that comes of it.
    if depends && (does_more || act != Act::Tells) { Act::Depends } else { act }
}

/// Whether an expression does nothing but read: it has no register that it writes from, and a lookup none that
/// it writes to.
fn is_read(expression: Attribute<'_>) -> bool {
    let writes: &[u16] = match name(expression).unwrap_or_default() {
        "lookup" => &[LOOKUP_TO],
        "meta" => &[META_FROM],
        "ct" => &[CT_FROM],
        "payload" => &[PAYLOAD_FROM],
        _ => &[EXTHDR_FROM],
    };
    writes.iter().all(|kind| expression.nested().find_in(EXPR_DATA, *kind).is_none())
}

fn target(name: &str) -> Act {
    match name {
        "REJECT" => Act::Refuses,
        "LOG" | "NFLOG" => Act::Tells,
        _ => Act::Depends,
    }
}

fn verdict(expression: Option<Expr>) -> Act {
    match expression {
        Some(Expr::Verdict(Verdict::Drop)) => Act::Refuses,
        Some(Expr::Verdict(Verdict::Accept)) => Act::Accepts,
        Some(Expr::Verdict(Verdict::Return)) => Act::Returns,
        Some(Expr::Verdict(Verdict::Jump(chain))) => Act::Calls(chain.into_owned()),
        Some(Expr::Verdict(Verdict::Goto(chain))) => Act::GoesTo(chain.into_owned()),
        _ => Act::Depends,
    }
}
