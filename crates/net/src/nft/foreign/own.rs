//! Our rules in chains of others: as `iptables` itself would write them, so that it still understands its
//! chains, and with a comment that says whose they are.
//!
//! The comment is where `nft` keeps it, and is shown by both programs. What `iptables-restore` has written has
//! it where `iptables` keeps it, and is read as well.

use std::collections::BTreeSet;

use super::super::element::{comment, userdata};
use super::super::expr::{EXPR_DATA, Expr, Is, Meta, Reg, Verdict};
use super::super::inspect::{RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE};
use super::inner_name;
use crate::netlink::{Attribute, Attributes, Writer};

const RULE_POSITION: u16 = 6;
const RULE_USERDATA: u16 = 7;
/// What a `match` of iptables has.
const MATCH_INFO: u16 = 3;

/// Drops what goes to a bridge of Docker's. Before version 28, Docker has the policy alone keep others from its
/// containers' ports that are not published; what passes by our rule must ask here. Docker keeps the chain.
pub(super) const FENCE: &str = "DOCKER-ISOLATION-STAGE-2";

/// One of our rules.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Own {
    pub(super) side: Side,
    pub(super) bridge: String,
    pub(super) then: Then,
}

/// Which packets of a bridge it is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Side {
    From,
    To,
}

/// What becomes of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Then {
    Accept,
    /// [`FENCE`] is asked.
    Fence,
}

impl Then {
    fn expression(self) -> Expr {
        Expr::Verdict(match self {
            Self::Accept => Verdict::Accept,
            Self::Fence => Verdict::Jump(FENCE.into()),
        })
    }
}

/// What a table should have for these bridges.
pub(super) fn wanted(bridges: &[String], has_fence: bool) -> Vec<Own> {
    let of = |bridge: &String| {
        let own = |side, then| Own { side, bridge: bridge.clone(), then };
        let fence = has_fence.then(|| own(Side::From, Then::Fence));
        [own(Side::To, Then::Accept)]
            .into_iter()
            .chain(fence)
            .chain([own(Side::From, Then::Accept)])
    };
    bridges.iter().flat_map(of).collect()
}

/// The bridges whose packets pass in both directions.
pub(super) fn complete<'a>(rules: impl Iterator<Item = &'a Own>) -> BTreeSet<String> {
    let [mut from, mut to] = [BTreeSet::new(), BTreeSet::new()];
    for rule in rules.filter(|rule| rule.then == Then::Accept) {
        let side = if rule.side == Side::From { &mut from } else { &mut to };
        side.insert(rule.bridge.clone());
    }
    from.intersection(&to).cloned().collect()
}

impl Own {
    fn expressions(&self) -> [Expr; 4] {
        let key = match self.side {
            Side::From => Meta::InputName,
            Side::To => Meta::OutputName,
        };
        let name = [self.bridge.as_bytes(), &[0]].concat();
        [
            Expr::Meta { key, to: Reg(0) },
            Expr::Compare { register: Reg(0), is: Is::Equal, value: name },
            Expr::Counter,
            self.then.expression(),
        ]
    }

    /// Writes it to a place: before the rule with a handle, or at the chain's end.
    pub(super) fn write(&self, w: &mut Writer, (table, chain): (&str, &str), mark: &str) {
        w.text(RULE_TABLE, table);
        w.text(RULE_CHAIN, chain);
        w.nest(RULE_EXPRESSIONS, |w| self.expressions().iter().for_each(|expr| expr.write(w)));
        w.bytes(RULE_USERDATA, &userdata(mark));
    }
}

/// Writes before which rule a new one goes.
pub(super) fn write_position(w: &mut Writer, handle: u64) {
    w.bytes(RULE_POSITION, &handle.to_be_bytes());
}

/// A rule with the mark that is like ours in all else. Others copy rules, and change the copies.
pub(super) fn read(rule: Attributes<'_>, mark: &str) -> Option<Own> {
    let list = rule.find(RULE_EXPRESSIONS)?.nested();
    let data = rule.find(RULE_USERDATA).and_then(|data| comment(data.value));
    let said = data.or_else(|| list.filter_map(match_comment).next().map(str::to_owned));
    if said.as_deref() != Some(mark) {
        return None;
    }
    let plain = list.filter(|expression| match_comment(*expression).is_none());
    let expressions: Vec<Expr> = plain.map(Expr::parse).collect::<Option<_>>()?;
    let [Expr::Meta { key, .. }, Expr::Compare { is: Is::Equal, value, .. }, Expr::Counter, last] =
        expressions.as_slice()
    else {
        return None;
    };
    let side = match key {
        Meta::InputName => Side::From,
        Meta::OutputName => Side::To,
        Meta::InputIndex | Meta::OutputIndex | Meta::Transport => return None,
    };
    let then = [Then::Accept, Then::Fence].into_iter().find(|then| *last == then.expression())?;
    Some(Own { side, bridge: name(value)?, then })
}

/// The comment of `iptables -m comment`.
fn match_comment(expression: Attribute<'_>) -> Option<&str> {
    let is_comment =
        super::name(expression) == Some("match") && inner_name(expression) == "comment";
    let info = expression.nested().find_in(EXPR_DATA, MATCH_INFO).filter(|_| is_comment);
    info.and_then(|info| info.text())
}

/// A name in a comparison: `iptables` ends it with one NUL, `nft` fills it up.
pub(super) fn name(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0)?;
    let (name, rest) = value.split_at_checked(end)?;
    let is_text = !name.is_empty() && rest.iter().all(|byte| *byte == 0);
    String::from_utf8(name.to_vec()).ok().filter(|_| is_text)
}
