//! Reads our table back from the kernel: its comment, its elements and its rules.

use super::element::{self, Element, PortRule};
use super::expr::Expr;
use super::message::{HEADER, Message, list};
use super::ruleset::{
    DIRECT, DNAT_ANY, DNAT_IP, MOVED_ANY, MOVED_IP, RANGES_ANY, RANGES_IP, Ruleset,
};
use super::table::Table;
use crate::address::Family;
use crate::netlink::{Answer, Attributes, Batch, Head, NetlinkError, Socket};

pub(super) const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;
pub(super) const POLICY_DROP: u32 = 0;

/// The comments of the tables of this name; `None` for a family without one.
pub(super) fn comments(
    socket: &Socket,
    name: &str,
    families: &[Family],
) -> Result<Vec<Option<String>>, NetlinkError> {
    let head = Head { kind: Message::GetTable.number(), flags: 0, step: "look up a table" };
    let mut batch = Batch::default();
    for family in families {
        batch.message(head, &[family.number(), 0, 0, 0], |w| w.text(TABLE_NAME, name));
    }
    let answers = socket.get(batch)?;
    let comment = |answer: Answer| {
        let userdata = Attributes::after(&answer.payload, HEADER).find(TABLE_USERDATA);
        userdata.and_then(|data| element::comment(data.value)).unwrap_or_default()
    };
    Ok(answers.into_iter().map(|answer| answer.map(comment)).collect())
}

/// What is in a set; `None` if there is no such set.
pub(super) fn elements(
    socket: &Socket,
    table: Table<'_>,
    set: &'static str,
) -> Result<Option<Vec<Element>>, NetlinkError> {
    let message = (Message::GetElement, "list elements");
    let answers = list(socket, message, Some(table.family), |w| {
        w.text(LIST_TABLE, table.name);
        w.text(LIST_SET, set);
    })?;
    Ok(answers.map(|answers| {
        answers.iter().flat_map(|answer| element::parse_list(set, &answer.payload)).collect()
    }))
}

/// The published ports in a table.
pub(super) fn ports(socket: &Socket, table: Table<'_>) -> Result<Vec<PortRule>, NetlinkError> {
    let mut rules = Vec::new();
    for set in [DNAT_ANY, DNAT_IP, RANGES_ANY, RANGES_IP, MOVED_ANY, MOVED_IP, DIRECT] {
        let elements = elements(socket, table, set)?.unwrap_or_default();
        rules.extend(elements.iter().filter_map(|e| element::to_port(e, table.family)));
    }
    Ok(rules)
}

/// Whether the table has the rules of the ruleset, all of them and no other.
pub(super) fn has_rules(
    socket: &Socket,
    table: Table<'_>,
    ruleset: &Ruleset,
) -> Result<bool, NetlinkError> {
    let message = (Message::GetRule, "list rules");
    let answers = list(socket, message, Some(table.family), |w| w.text(RULE_TABLE, table.name))?;
    let mut live: Vec<(String, Option<Vec<Expr>>)> =
        answers.unwrap_or_default().iter().filter_map(|answer| rule(answer, table)).collect();
    let mut wanted: Vec<(String, Option<Vec<Expr>>)> = Vec::new();
    for chain in &ruleset.chains {
        wanted.extend(chain.rules.iter().map(|rule| (chain.name.to_owned(), Some(rule.clone()))));
    }
    // The order counts within a chain only, and a stable sort keeps it.
    live.sort_by(|a, b| a.0.cmp(&b.0));
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(live == wanted)
}

/// Chain and instructions of a listed rule; no instructions if one is none of ours.
fn rule(answer: &Answer, table: Table<'_>) -> Option<(String, Option<Vec<Expr>>)> {
    let attributes = Attributes::after(&answer.payload, HEADER);
    if attributes.find(RULE_TABLE)?.text()? != table.name {
        return None;
    }
    let chain = attributes.find(RULE_CHAIN)?.text()?.to_owned();
    let list = attributes.find(RULE_EXPRESSIONS)?.nested();
    Some((chain, list.map(Expr::parse).collect()))
}
