//! Address leases: which container has which address of which network.
//!
//! Which address is chosen is the caller's; that two never get the same one is decided here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use model::{ContainerId, NetworkId};

use super::{Db, DbError, Durability, Text, Tx};
use crate::reserve::Reserve;

/// Why no address was leased.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The chosen address belongs to another container.
    #[error("address {address} is in use by {by}")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        by: ContainerId,
    },
    /// The container's row is gone.
    #[error("no such container: {0}")]
    NoSuchContainer(ContainerId),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The table of address leases. A lease ends with `release`, or with its container's row.
#[derive(Debug, Clone, Copy)]
pub struct Addresses<'s> {
    pub(crate) db: &'s Db,
}

impl Addresses<'_> {
    /// Leases the addresses that `choose` picks when it is shown those in use (its own former
    /// ones excepted: a container that starts again may get the same address).
    ///
    /// # Errors
    /// A chosen one is taken; whatever `choose` says.
    pub fn lease<E: From<AddressError> + From<DbError>>(
        &self,
        network: &NetworkId,
        container: &ContainerId,
        choose: impl FnOnce(&BTreeSet<IpAddr>) -> Result<Vec<IpAddr>, E>,
    ) -> Result<Vec<IpAddr>, E> {
        self.db.write("lease an address", Durability::Eventual, |tx| {
            check_container(tx, container)?;
            tx.execute(
                "DELETE FROM addresses WHERE network = ?1 AND container = ?2",
                (Text(*network), Text(*container)),
            )?;
            let used = used(tx, network)?;
            let chosen = choose(&used)?;
            for address in &chosen {
                check_free(tx, network, *address)?;
                tx.execute(
                    "INSERT INTO addresses (network, address, container) VALUES (?1, ?2, ?3)",
                    (Text(*network), Text(*address), Text(*container)),
                )?;
            }
            Ok(chosen)
        })
    }

    /// Ends the leases of `container` on one network.
    ///
    /// # Errors
    /// The database.
    pub fn end(&self, network: &NetworkId, container: &ContainerId) -> Result<(), DbError> {
        self.db.write("release an address", Durability::Eventual, |tx| {
            tx.execute(
                "DELETE FROM addresses WHERE network = ?1 AND container = ?2",
                (Text(*network), Text(*container)),
            )?;
            Ok(())
        })
    }

    /// The addresses of `container`, with their networks.
    ///
    /// # Errors
    /// The database.
    pub fn of_container(
        &self,
        container: &ContainerId,
    ) -> Result<Vec<(NetworkId, IpAddr)>, DbError> {
        self.db.read("list the addresses of a container", |tx| {
            tx.all(
                "SELECT network, address FROM addresses WHERE container = ?1",
                [Text(*container)],
                |row| Ok((row.get::<_, Text<_>>(0)?.0, row.get::<_, Text<_>>(1)?.0)),
            )
        })
    }

    /// Who has which address of `network`.
    ///
    /// # Errors
    /// The database.
    pub fn of_network(&self, network: &NetworkId) -> Result<Vec<(IpAddr, ContainerId)>, DbError> {
        self.db.read("list the addresses of a network", |tx| {
            tx.all(
                "SELECT address, container FROM addresses WHERE network = ?1",
                [Text(*network)],
                |row| Ok((row.get::<_, Text<_>>(0)?.0, row.get::<_, Text<_>>(1)?.0)),
            )
        })
    }
}

/// Ends every lease of addresses, ports and ids of `container`.
pub(crate) fn release(db: &Db, reserve: &Reserve, container: &ContainerId) -> Result<(), DbError> {
    db.write_freeing("release addresses, ports and ids", Durability::Eventual, reserve, |tx| {
        tx.execute("DELETE FROM addresses WHERE container = ?1", [Text(*container)])?;
        tx.execute("DELETE FROM ports WHERE container = ?1", [Text(*container)])?;
        tx.execute("DELETE FROM id_ranges WHERE container = ?1", [Text(*container)])?;
        Ok(())
    })
}

pub(super) fn check_container(tx: &Tx<'_>, id: &ContainerId) -> Result<(), AddressError> {
    let there = tx.first("SELECT 1 FROM containers WHERE id = ?1", [Text(*id)], |_| Ok(()))?;
    there.ok_or(AddressError::NoSuchContainer(*id))
}

fn used(tx: &Tx<'_>, network: &NetworkId) -> Result<BTreeSet<IpAddr>, DbError> {
    let sql = "SELECT address FROM addresses WHERE network = ?1";
    let rows = tx.all(sql, [Text(*network)], |row| Ok(row.get::<_, Text<IpAddr>>(0)?.0))?;
    Ok(rows.into_iter().collect())
}

fn check_free(tx: &Tx<'_>, network: &NetworkId, address: IpAddr) -> Result<(), AddressError> {
    let sql = "SELECT container FROM addresses WHERE network = ?1 AND address = ?2";
    let by = tx.first(sql, (Text(*network), Text(address)), |row| {
        Ok(row.get::<_, Text<ContainerId>>(0)?.0)
    })?;
    by.map_or(Ok(()), |by| Err(AddressError::Taken { address, by }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::containers::{Containers, delete, tests::row};
    use crate::db::scratch;
    use std::net::Ipv4Addr;

    fn lowest_free(used: &BTreeSet<IpAddr>) -> Result<Vec<IpAddr>, AddressError> {
        let free = (2..=254).map(|n| Ipv4Addr::new(10, 0, 0, n).into()).find(|a| !used.contains(a));
        Ok(free.into_iter().collect())
    }

    #[test]
    fn an_address_has_one_owner_until_the_owner_goes() {
        let (_dir, db) = scratch();
        let (one, two) = (row(1, "one"), row(2, "two"));
        let network = NetworkId::from_random([1; 32]);
        for container in [&one, &two] {
            Containers { db: &db }.insert(container, Durability::Now).unwrap();
        }
        let addresses = Addresses { db: &db };
        let first = addresses.lease(&network, &one.id, lowest_free).unwrap();
        let second = addresses.lease(&network, &two.id, lowest_free).unwrap();
        assert_ne!(first, second);
        assert_eq!(addresses.lease(&network, &one.id, lowest_free).unwrap(), first);
        let stolen = addresses.lease(&network, &two.id, |_| Ok::<_, AddressError>(first.clone()));
        assert!(matches!(stolen, Err(AddressError::Taken { by, .. }) if by == one.id));
        assert_eq!(addresses.of_container(&two.id).unwrap(), [(network, second[0])], "kept");
        let other = NetworkId::from_random([2; 32]);
        addresses.lease(&other, &one.id, lowest_free).unwrap();
        addresses.end(&other, &one.id).unwrap();
        assert_eq!(
            addresses.of_container(&one.id).unwrap(),
            [(network, first[0])],
            "one network's"
        );
        db.write("test", Durability::Now, |tx| delete(tx, &one.id)).unwrap();
        assert_eq!(addresses.of_network(&network).unwrap(), [(second[0], two.id)]);
        assert!(matches!(
            addresses.lease(&network, &one.id, lowest_free),
            Err(AddressError::NoSuchContainer(_))
        ));
    }
}
