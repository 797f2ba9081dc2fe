//! Leases of ranges of user ids: which container's users are which of the host's.
//!
//! Which range is chosen is the caller's; that two containers never get the same one is decided here.

use std::collections::BTreeSet;

use model::ContainerId;

use super::addresses::{AddressError, check_container};
use super::{Db, DbError, Durability, Text};

/// The table of leases of ids. A lease ends with `release`, or with its container's row.
#[derive(Debug, Clone, Copy)]
pub struct IdRanges<'s> {
    pub(crate) db: &'s Db,
}

impl IdRanges<'_> {
    /// Leases the range that begins where `choose` says when it is shown where those in use begin; `None`
    /// if it finds no room. A container that has one keeps it.
    ///
    /// # Errors
    /// The container's row is gone; the database.
    pub fn lease(
        &self,
        container: &ContainerId,
        choose: impl FnOnce(&BTreeSet<u32>) -> Option<u32>,
    ) -> Result<Option<u32>, AddressError> {
        self.db.write("lease a range of ids", Durability::Eventual, |tx| {
            check_container(tx, container)?;
            let own = "SELECT first FROM id_ranges WHERE container = ?1";
            if let Some(first) = tx.first(own, [Text(*container)], |row| row.get(0))? {
                return Ok(Some(first));
            }
            let used = tx.all("SELECT first FROM id_ranges", [], |row| row.get(0))?;
            let Some(first) = choose(&used.into_iter().collect()) else { return Ok(None) };
            tx.execute(
                "INSERT INTO id_ranges (first, container) VALUES (?1, ?2)",
                (first, Text(*container)),
            )?;
            Ok(Some(first))
        })
    }

    /// Who has a range.
    ///
    /// # Errors
    /// The database.
    pub fn owners(&self) -> Result<Vec<ContainerId>, DbError> {
        self.db.read("list the ranges of ids", |tx| {
            tx.all("SELECT container FROM id_ranges", [], |row| Ok(row.get::<_, Text<_>>(0)?.0))
        })
    }
}
