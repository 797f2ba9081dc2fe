//! Network rows: identity and the record that the engine keeps.

use model::NetworkId;
use rusqlite::Row;

use super::{Db, DbError, Durability, Text, Tx};

/// One network at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRow {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique.
    pub name: String,
    /// JSON, the engine's own.
    pub record: String,
}

/// Why a network was not inserted or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkRowError {
    /// Another network has that name.
    #[error("network with name {name} already exists")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        by: NetworkId,
    },
    /// Containers hold addresses of it.
    #[error("network {0} has active endpoints")]
    InUse(NetworkId),
    /// There is no such row.
    #[error("network {0} not found")]
    NoSuchNetwork(NetworkId),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The table of networks.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'s> {
    pub(crate) db: &'s Db,
}

impl Networks<'_> {
    /// Adds a row. `plan` sees the rows that are there, so that a free subnet can be chosen with
    /// no other writer in between.
    ///
    /// # Errors
    /// The name is taken; whatever `plan` says.
    pub fn insert<E: From<NetworkRowError> + From<DbError>>(
        &self,
        plan: impl FnOnce(&[NetworkRow]) -> Result<NetworkRow, E>,
    ) -> Result<NetworkRow, E> {
        self.db.write("create a network", Durability::Now, |tx| {
            let there = all(tx)?;
            let row = plan(&there)?;
            if let Some(other) = there.iter().find(|other| other.name == row.name) {
                let taken = NetworkRowError::NameTaken { name: row.name, by: other.id };
                return Err(taken.into());
            }
            tx.execute(
                "INSERT INTO networks (id, name, record) VALUES (?1, ?2, ?3)",
                (Text(row.id), &row.name, &row.record),
            )?;
            Ok(row)
        })
    }

    /// The network called `name`.
    ///
    /// # Errors
    /// The database.
    pub fn by_name(&self, name: &str) -> Result<Option<NetworkRow>, DbError> {
        self.db.read("get a network", |tx| {
            tx.first("SELECT id, name, record FROM networks WHERE name = ?1", [name], read_row)
        })
    }

    /// Every network, by name.
    ///
    /// # Errors
    /// The database.
    pub fn list(&self) -> Result<Vec<NetworkRow>, DbError> {
        self.db.read("list networks", all)
    }

    /// Replaces a network's record.
    ///
    /// # Errors
    /// There is no such network.
    pub fn rewrite(&self, id: &NetworkId, record: &str) -> Result<(), NetworkRowError> {
        self.db.write("change a network", Durability::Now, |tx| {
            let change = "UPDATE networks SET record = ?2 WHERE id = ?1";
            match tx.execute(change, (Text(*id), record))? {
                0 => Err(NetworkRowError::NoSuchNetwork(*id)),
                _ => Ok(()),
            }
        })
    }

    /// Removes the row of a network in which nobody has an address. `judge` sees the rows that are there,
    /// with no other writer in between.
    ///
    /// # Errors
    /// It is in use, or there is none; whatever `judge` says.
    pub fn remove<E: From<NetworkRowError> + From<DbError>>(
        &self,
        id: &NetworkId,
        judge: impl FnOnce(&[NetworkRow]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.db.write("remove a network", Durability::Now, |tx| {
            judge(&all(tx)?)?;
            let used = "SELECT 1 FROM addresses WHERE network = ?1 LIMIT 1";
            if tx.first(used, [Text(*id)], |_| Ok(()))?.is_some() {
                return Err(NetworkRowError::InUse(*id).into());
            }
            match tx.execute("DELETE FROM networks WHERE id = ?1", [Text(*id)])? {
                0 => Err(NetworkRowError::NoSuchNetwork(*id).into()),
                _ => Ok(()),
            }
        })
    }
}

fn all(tx: &Tx<'_>) -> Result<Vec<NetworkRow>, DbError> {
    tx.all("SELECT id, name, record FROM networks ORDER BY name", [], read_row)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<NetworkRow> {
    Ok(NetworkRow { id: row.get::<_, Text<_>>(0)?.0, name: row.get(1)?, record: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::scratch;

    fn network(byte: u8, name: &str) -> NetworkRow {
        let id = NetworkId::from_random([byte; 32]);
        NetworkRow { id, name: name.to_owned(), record: "{}".to_owned() }
    }

    #[test]
    fn a_network_is_planned_on_what_is_there() {
        let (_dir, db) = scratch();
        let networks = Networks { db: &db };
        let insert = |row: NetworkRow| {
            networks.insert::<NetworkRowError>(|there| {
                Ok(NetworkRow { record: there.len().to_string(), ..row })
            })
        };
        assert_eq!(insert(network(1, "bridge")).unwrap().record, "0");
        assert_eq!(insert(network(2, "back")).unwrap().record, "1");
        assert!(matches!(
            insert(network(3, "back")),
            Err(NetworkRowError::NameTaken { by, .. }) if by == network(2, "back").id
        ));
        assert_eq!(networks.by_name("bridge").unwrap().unwrap().id, network(1, "").id);
        let remove = |id, left| {
            let judge = |there: &[NetworkRow]| {
                (there.len() == left).then_some(()).ok_or(NetworkRowError::InUse(id))
            };
            networks.remove::<NetworkRowError>(&id, judge)
        };
        let back = network(2, "").id;
        networks.rewrite(&back, "new").unwrap();
        assert_eq!(networks.by_name("back").unwrap().unwrap().record, "new");
        let stranger = networks.rewrite(&network(9, "").id, "new");
        assert!(matches!(stranger, Err(NetworkRowError::NoSuchNetwork(_))));
        assert!(matches!(remove(back, 1), Err(NetworkRowError::InUse(_))), "judged");
        remove(back, 2).unwrap();
        assert_eq!(networks.list().unwrap().len(), 1);
        assert!(matches!(remove(back, 1), Err(NetworkRowError::NoSuchNetwork(_))));
    }
}
