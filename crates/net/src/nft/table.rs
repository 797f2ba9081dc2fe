//! Writes the table of one family into a transaction.

use super::element::{Element, userdata};
use super::expr::Expr;
use super::message::{Message, Transaction};
use super::ruleset::{Chain, Form, Ruleset, Set};
use crate::address::Family;
use crate::netlink::Writer;

const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const POLICY_ACCEPT: u32 = 1;

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;
const DESCRIPTION_SIZE: u16 = 1;
const DESCRIPTION_PARTS: u16 = 2;
const PART: u16 = 1;
const PART_LENGTH: u16 = 1;
const SET_USERDATA: u16 = 13;
/// Type and length of what userspace `nft` reads to print keys.
const USERDATA_KEY_ORDER: [u8; 2] = [0, 4];
const HOST_ORDER: u32 = 1;
const FLAG_RANGES: u32 = 0x4;
const FLAG_MAP: u32 = 0x8;
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_FROM_RULES: u32 = 0x20;
/// Kernel 5.6.
const FLAG_PARTS: u32 = 0x80;
/// Senders can be made up, and memory is finite.
const MOST_REMEMBERED: u32 = 65_536;

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
/// An attribute holds 64 KiB, and an element takes 200 bytes at most.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// The table of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    pub(super) family: Family,
}

impl Table<'_> {
    /// Adds the empty table with a comment.
    pub(super) fn create(self, transaction: &mut Transaction, comment: &str) {
        let message = (Message::NewTable, "add a table");
        transaction.create(message, self.family, |w| {
            w.text(TABLE_NAME, self.name);
            w.bytes(TABLE_USERDATA, &userdata(comment));
        });
    }

    /// Deletes the table and all that is in it.
    pub(super) fn delete(self, transaction: &mut Transaction) {
        let message = (Message::DeleteTable, "delete a table");
        transaction.delete(message, self.family, |w| w.text(TABLE_NAME, self.name));
    }

    /// Adds sets, chains and rules.
    pub(super) fn fill(self, transaction: &mut Transaction, ruleset: &Ruleset) {
        for (id, set) in (1..).zip(&ruleset.sets) {
            let message = (Message::NewSet, "add a set");
            transaction.create(message, self.family, |w| self.write_set(w, set, id));
        }
        for chain in &ruleset.chains {
            let message = (Message::NewChain, "add a chain");
            transaction.create(message, self.family, |w| self.write_chain(w, chain));
        }
        for chain in &ruleset.chains {
            chain.rules.iter().for_each(|rule| self.append_rule(transaction, chain.name, rule));
        }
    }

    fn append_rule(self, transaction: &mut Transaction, chain: &str, rule: &[Expr]) {
        transaction.append((Message::NewRule, "add a rule"), self.family, |w| {
            w.text(RULE_TABLE, self.name);
            w.text(RULE_CHAIN, chain);
            w.nest(RULE_EXPRESSIONS, |w| rule.iter().for_each(|expr| expr.write(w)));
        });
    }

    /// Adds elements; those that exist with the same value stay as they are.
    pub(super) fn add(self, transaction: &mut Transaction, elements: &[Element]) {
        let message = (Message::NewElement, "add elements");
        for list in lists(elements) {
            transaction.create(message, self.family, |w| self.write_elements(w, list));
        }
    }

    /// Deletes elements, which must exist.
    pub(super) fn remove(self, transaction: &mut Transaction, elements: &[Element]) {
        let message = (Message::DeleteElement, "delete elements");
        for list in lists(elements) {
            transaction.delete(message, self.family, |w| self.write_elements(w, list));
        }
    }

    fn write_elements(self, w: &mut Writer, list: &[Element]) {
        w.text(LIST_TABLE, self.name);
        w.text(LIST_SET, list.first().map_or("", |element| element.set));
        w.nest(LIST_ELEMENTS, |w| list.iter().for_each(|element| element.write(w)));
    }

    fn write_set(self, w: &mut Writer, set: &Set, id: u32) {
        let form = match set.form {
            Form::Values => 0,
            Form::Ranges => FLAG_RANGES,
            Form::Spans(_) => FLAG_RANGES | FLAG_PARTS,
            Form::Remembered => FLAG_TIMEOUT | FLAG_FROM_RULES,
        };
        let map = if set.data.is_some() { FLAG_MAP } else { 0 };
        w.text(SET_TABLE, self.name);
        w.text(SET_NAME, set.name);
        w.network_u32(SET_FLAGS, form | map);
        w.network_u32(SET_KEY_TYPE, set.key.number);
        w.network_u32(SET_KEY_LENGTH, set.key.length);
        if let Some(data) = set.data {
            w.network_u32(SET_DATA_TYPE, data.number);
            w.network_u32(SET_DATA_LENGTH, data.length);
        }
        write_description(w, set.form);
        w.network_u32(SET_ID, id);
        if set.key.is_link_name() {
            let order = [&USERDATA_KEY_ORDER[..], &HOST_ORDER.to_ne_bytes()].concat();
            w.bytes(SET_USERDATA, &order);
        }
    }

    fn write_chain(self, w: &mut Writer, chain: &Chain) {
        w.text(CHAIN_TABLE, self.name);
        w.text(CHAIN_NAME, chain.name);
        let Some(hook) = chain.hook else { return };
        w.nest(CHAIN_HOOK, |w| {
            w.network_u32(HOOK_NUMBER, hook.number);
            w.network_u32(HOOK_PRIORITY, hook.priority.cast_unsigned());
        });
        w.network_u32(CHAIN_POLICY, POLICY_ACCEPT);
        w.text(CHAIN_TYPE, hook.kind);
    }
}

/// What the kernel has to know of a set beforehand.
fn write_description(w: &mut Writer, form: Form) {
    match form {
        Form::Values | Form::Ranges => {}
        Form::Remembered => {
            w.nest(SET_DESCRIPTION, |w| w.network_u32(DESCRIPTION_SIZE, MOST_REMEMBERED));
        }
        Form::Spans(parts) => w.nest(SET_DESCRIPTION, |w| {
            w.nest(DESCRIPTION_PARTS, |w| {
                for length in parts.into_iter().filter(|length| *length > 0) {
                    w.nest(PART, |w| w.network_u32(PART_LENGTH, length));
                }
            });
        }),
    }
}

/// Runs of elements of one set that fit a message each.
fn lists(elements: &[Element]) -> impl Iterator<Item = &[Element]> {
    let runs = elements.chunk_by(|a, b| a.set == b.set);
    runs.flat_map(|run| run.chunks(ELEMENTS_PER_MESSAGE))
}
