//! The rules for ranges that lead to other ports than their own: only tables that need them have them.

use super::expr::Expr;
use super::ruleset::{MOVED_ANY, MOVED_IP, Ruleset, ruleset};
use super::{Firewall, NftError, State, inspect};
use crate::address::Family;

/// Whether ranges lead to other ports than their own, which takes rules of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    Nothing,
    Some,
}

impl Moved {
    pub(super) const fn of(some: bool) -> Self {
        if some { Self::Some } else { Self::Nothing }
    }
}

/// How the comment of tables with such rules ends.
pub(super) const MOVED: &str = ", ranges moved";

impl Ruleset {
    /// Without what leads ranges to other ports, for tables that need none of it: the `nft` program has no words
    /// for those rules, and what it prints of a table that has them cannot be loaded again.
    fn without_moved(mut self) -> Self {
        let is_moved = |name: &str| [MOVED_ANY, MOVED_IP].contains(&name);
        self.sets.retain(|set| !is_moved(set.name));
        let leads = |expr: &Expr| matches!(expr, Expr::MapTo { map, .. } if is_moved(map));
        for chain in &mut self.chains {
            chain.rules.retain(|rule| !rule.iter().any(leads));
        }
        self
    }
}

impl Firewall {
    /// Whether the tables exist and have exactly the rules they should have. Elements are not
    /// compared.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_intact(&self) -> Result<bool, NftError> {
        if self.state()? == State::Missing {
            return Ok(false);
        }
        let comments = self.comments()?;
        for (table, comment) in self.tables().zip(comments) {
            let ruleset = self
                .ruleset(table.family, Moved::of(comment.is_some_and(|it| it.ends_with(MOVED))));
            let same = inspect::has_rules(&self.socket, table, &ruleset);
            if !same.map_err(|error| self.failed("list", error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn ruleset(&self, family: Family, moved: Moved) -> Ruleset {
        let rules = ruleset(family, self.loopback, self.entry);
        match moved {
            Moved::Some => rules,
            Moved::Nothing => rules.without_moved(),
        }
    }
}
