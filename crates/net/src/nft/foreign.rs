//! What other programs' nftables do with packets that come in or pass through: their chains at the hooks
//! `input` and `forward`, and whether those let pass what none of their rules decides.
//!
//! They are read and never changed. Their single rules are not looked into.

use std::collections::HashMap;

use super::expr::{EXPR_DATA, EXPR_NAME, Expr, Verdict};
use super::inspect::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, HOOK_NUMBER, HOOK_PRIORITY, POLICY_DROP,
    RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE,
};
use super::message::{HEADER, Message, list};
use super::{Firewall, NftError};
use crate::netlink::{Answer, Attribute, Attributes, NetlinkError, Socket, network_u32};

const TARGET_NAME: u16 = 1;

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
    /// Its last rule drops or rejects whatever comes that far.
    LastRule,
}

/// A chain of somebody else. What it refuses, nothing of ours can let pass.
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
}

impl ForeignChain {
    /// Whether it refuses what none of its rules decides about.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.ending != Ending::Passes
    }
}

impl std::fmt::Display for ForeignChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

impl Firewall {
    /// The chains of others at the hooks `input` and `forward`, in the order in which packets meet them.
    /// Those that refuse, as a running Docker has one (`ip filter FORWARD`), may hold rules that let our
    /// packets pass.
    ///
    /// Tables of the former kernel interface of iptables are not seen (Debian's and Fedora's `iptables`
    /// have used nftables since 2019).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn foreign_chains(&self) -> Result<Vec<ForeignChain>, NftError> {
        let mut chains =
            chains(&self.socket).map_err(|error| self.failed("look for chains beside", error))?;
        chains.retain(|chain| chain.table != self.table);
        chains.sort_by(|a, b| {
            let key = |chain: &ForeignChain| (chain.hook as u8, chain.priority);
            key(a).cmp(&key(b)).then_with(|| a.to_string().cmp(&b.to_string()))
        });
        Ok(chains)
    }
}

fn chains(socket: &Socket) -> Result<Vec<ForeignChain>, NetlinkError> {
    let message = (Message::GetChain, "list chains");
    let answers = list(socket, message, None, |_| {})?.unwrap_or_default();
    let mut chains: Vec<ForeignChain> = answers.iter().filter_map(chain).collect();
    if chains.iter().all(ForeignChain::refuses) {
        return Ok(chains);
    }
    let message = (Message::GetRule, "list rules");
    let rules = list(socket, message, None, |_| {})?.unwrap_or_default();
    // Of each chain the last one stays.
    let last: HashMap<_, bool> = rules.iter().filter_map(rule).collect();
    for chain in chains.iter_mut().filter(|chain| !chain.refuses()) {
        let key = (chain.family, chain.table.clone(), chain.chain.clone());
        if last.get(&key) == Some(&true) {
            chain.ending = Ending::LastRule;
        }
    }
    Ok(chains)
}

/// Hooks of the other families are numbered otherwise, and see no routed packets.
fn family(answer: &Answer) -> Option<&'static str> {
    match *answer.payload.first()? {
        1 => Some("inet"),
        2 => Some("ip"),
        10 => Some("ip6"),
        _ => None,
    }
}

fn chain(answer: &Answer) -> Option<ForeignChain> {
    let attributes = Attributes::after(&answer.payload, HEADER);
    let text = |kind| Some(attributes.find(kind)?.text()?.to_owned());
    let hook = |kind| network_u32(attributes.find_in(CHAIN_HOOK, kind)?.value);
    let policy = network_u32(attributes.find(CHAIN_POLICY)?.value)?;
    Some(ForeignChain {
        family: family(answer)?,
        table: text(CHAIN_TABLE)?,
        chain: text(CHAIN_NAME)?,
        hook: match hook(HOOK_NUMBER)? {
            1 => Hook::Input,
            2 => Hook::Forward,
            _ => return None,
        },
        priority: hook(HOOK_PRIORITY)?.cast_signed(),
        ending: if policy == POLICY_DROP { Ending::Policy } else { Ending::Passes },
    })
}

/// The chain of a rule, and whether the rule refuses everything.
fn rule(answer: &Answer) -> Option<((&'static str, String, String), bool)> {
    let attributes = Attributes::after(&answer.payload, HEADER);
    let text = |kind| Some(attributes.find(kind)?.text()?.to_owned());
    let key = (family(answer)?, text(RULE_TABLE)?, text(RULE_CHAIN)?);
    let mut acts = attributes
        .find(RULE_EXPRESSIONS)?
        .nested()
        .filter(|expr| !matches!(name(*expr), Some("counter" | "log")));
    let only = acts.next().filter(|_| acts.next().is_none());
    Some((key, only.is_some_and(refuses)))
}

fn name(expr: Attribute<'_>) -> Option<&str> {
    expr.nested().find(EXPR_NAME)?.text()
}

fn refuses(expr: Attribute<'_>) -> bool {
    match name(expr) {
        Some("reject") => true,
        Some("immediate") => Expr::parse(expr) == Some(Expr::Verdict(Verdict::Drop)),
        // As iptables writes it.
        Some("target") => {
            let target = expr.nested().find_in(EXPR_DATA, TARGET_NAME);
            target.and_then(|name| name.text()) == Some("REJECT")
        }
        _ => false,
    }
}
