//! Port leases: which container publishes which range of ports of the host.
//!
//! Decides conflicts between containers' ranges. Single ports are owned by sockets and not leased; whether such a
//! socket, or another program of the host, is in the way is the engine's to find out.

use std::net::IpAddr;

use model::ContainerId;
use model::port::Protocol;
use rusqlite::Row;

use super::addresses::{AddressError, check_container};
use super::{Db, DbError, Durability, Text, Tx};

/// A published range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortLease {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The address of the host; the unspecified one stands for all of its family.
    pub host_ip: IpAddr,
    /// The lowest, 1 to 65535.
    pub first: u16,
    /// The highest, not below `first`.
    pub last: u16,
}

/// Why no port was leased.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another container publishes it.
    #[error("port {port}/{} of {} is published by {by}", .lease.protocol, .lease.host_ip)]
    Taken {
        /// What was asked for.
        lease: PortLease,
        /// Which of it the other has.
        port: u16,
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

/// The table of port leases. A lease ends with `release`, or with its container's row.
#[derive(Debug, Clone, Copy)]
pub struct Ports<'s> {
    pub(crate) db: &'s Db,
}

impl PortLease {
    /// The lowest port that keeps both from being published at once.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Option<u16> {
        let same_family = self.host_ip.is_ipv4() == other.host_ip.is_ipv4();
        let same_address = self.host_ip == other.host_ip
            || self.host_ip.is_unspecified()
            || other.host_ip.is_unspecified();
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        let conflicts =
            self.protocol == other.protocol && first <= last && same_family && same_address;
        conflicts.then_some(first)
    }
}

impl Ports<'_> {
    /// Leases these ranges, and ends what the container has leased before; all or none.
    ///
    /// # Errors
    /// One of them conflicts with another container's.
    pub fn lease(&self, container: &ContainerId, wanted: &[PortLease]) -> Result<(), PortError> {
        self.db.write("lease ports", Durability::Eventual, |tx| {
            check_container(tx, container).map_err(PortError::from)?;
            tx.execute("DELETE FROM ports WHERE container = ?1", [Text(*container)])?;
            let used = tx.all(SELECT_ALL, [], read_row)?;
            wanted.iter().try_for_each(|lease| claim(tx, container, lease, &used))
        })
    }

    /// Every lease, with its owner.
    ///
    /// # Errors
    /// The database.
    pub fn list(&self) -> Result<Vec<(PortLease, ContainerId)>, DbError> {
        self.db.read("list published ports", |tx| tx.all(SELECT_ALL, [], read_row))
    }
}

const SELECT_ALL: &str = "SELECT protocol, port, host_ip, container, last FROM ports";

fn claim(
    tx: &Tx<'_>,
    container: &ContainerId,
    lease: &PortLease,
    used: &[(PortLease, ContainerId)],
) -> Result<(), PortError> {
    let taken = |(other, by): &(PortLease, ContainerId)| Some((lease.conflict(other)?, *by));
    if let Some((port, by)) = used.iter().find_map(taken) {
        return Err(PortError::Taken { lease: *lease, port, by });
    }
    let (protocol, ip) = (Text(lease.protocol), Text(lease.host_ip));
    tx.execute(
        "INSERT OR IGNORE INTO ports (protocol, port, last, host_ip, container) VALUES (?1, ?2, ?3, ?4, ?5)",
        (protocol, lease.first, lease.last, ip, Text(*container)),
    )?;
    Ok(())
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<(PortLease, ContainerId)> {
    let lease = PortLease {
        protocol: row.get::<_, Text<_>>(0)?.0,
        first: row.get(1)?,
        last: row.get(4)?,
        host_ip: row.get::<_, Text<_>>(2)?.0,
    };
    Ok((lease, row.get::<_, Text<_>>(3)?.0))
}

impl From<AddressError> for PortError {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::NoSuchContainer(id) | AddressError::Taken { by: id, .. } => {
                Self::NoSuchContainer(id)
            }
            AddressError::Db(error) => Self::Db(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::addresses;
    use crate::db::containers::{Containers, tests::row};
    use crate::db::scratch;

    fn tcp(host_ip: &str, port: u16) -> PortLease {
        range(host_ip, port, port)
    }

    fn range(host_ip: &str, first: u16, last: u16) -> PortLease {
        PortLease { protocol: Protocol::Tcp, host_ip: host_ip.parse().unwrap(), first, last }
    }

    #[test]
    fn the_unspecified_address_conflicts_with_every_other_of_its_family() {
        for (one, other, conflict) in [
            (tcp("0.0.0.0", 80), tcp("127.0.0.1", 80), true),
            (tcp("127.0.0.1", 80), tcp("127.0.0.2", 80), false),
            (tcp("0.0.0.0", 80), tcp("::", 80), false),
            (tcp("::", 80), tcp("::1", 80), true),
            (tcp("0.0.0.0", 80), tcp("0.0.0.0", 81), false),
            (range("0.0.0.0", 80, 90), range("127.0.0.1", 90, 99), true),
            (range("0.0.0.0", 80, 90), range("127.0.0.1", 91, 99), false),
            (
                tcp("0.0.0.0", 80),
                PortLease { protocol: Protocol::Udp, ..tcp("0.0.0.0", 80) },
                false,
            ),
        ] {
            assert_eq!(one.conflict(&other).is_some(), conflict, "{one:?} {other:?}");
            assert_eq!(other.conflict(&one).is_some(), conflict, "{other:?} {one:?}");
        }
    }

    #[test]
    fn ports_are_leased_all_or_none() {
        let (_dir, db) = scratch();
        let (one, two) = (row(1, "one"), row(2, "two"));
        for container in [&one, &two] {
            Containers { db: &db }.insert(container, Durability::Now).unwrap();
        }
        let ports = Ports { db: &db };
        let lease = |id, wanted: Vec<PortLease>| ports.lease(id, &wanted);
        lease(&one.id, vec![tcp("0.0.0.0", 80), tcp("::", 80)]).unwrap();
        let taken = lease(&two.id, vec![tcp("0.0.0.0", 81), tcp("127.0.0.1", 80)]);
        assert!(matches!(taken, Err(PortError::Taken { port: 80, by, .. }) if by == one.id));
        assert_eq!(ports.list().unwrap().len(), 2, "81 was not kept");
        lease(&one.id, vec![tcp("0.0.0.0", 80)]).unwrap();
        let reserve = crate::reserve::Reserve::at(_dir.path().join("reserve"));
        addresses::release(&db, &reserve, &one.id).unwrap();
        lease(&two.id, vec![tcp("127.0.0.1", 80)]).unwrap();
        assert_eq!(ports.list().unwrap(), [(tcp("127.0.0.1", 80), two.id)]);
    }
}
