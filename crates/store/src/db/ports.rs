//! Port leases: which container publishes which port of the host.
//!
//! Decides conflicts between containers; whether another program of the host listens is the
//! engine's to find out.

use std::net::IpAddr;

use model::ContainerId;
use model::port::Protocol;
use rusqlite::Row;

use super::addresses::{AddressError, check_container};
use super::{Db, DbError, Durability, Text, Tx};

/// One published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortLease {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The address of the host; the unspecified one stands for all of its family.
    pub host_ip: IpAddr,
    /// 1 to 65535.
    pub port: u16,
}

/// Why no port was leased.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another container publishes it.
    #[error("port {}/{} of {} is published by {by}", .lease.port, .lease.protocol, .lease.host_ip)]
    Taken {
        /// What was asked for.
        lease: PortLease,
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
    /// Whether both cannot be published at once.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let same_family = self.host_ip.is_ipv4() == other.host_ip.is_ipv4();
        let same_address = self.host_ip == other.host_ip
            || self.host_ip.is_unspecified()
            || other.host_ip.is_unspecified();
        self.protocol == other.protocol && self.port == other.port && same_family && same_address
    }
}

impl Ports<'_> {
    /// Leases the ports that `plan` names when it is shown those of other containers; all or none.
    ///
    /// # Errors
    /// One of them conflicts with another container's; whatever `plan` says.
    pub fn lease<E: From<PortError> + From<DbError>>(
        &self,
        container: &ContainerId,
        plan: impl FnOnce(&[PortLease]) -> Result<Vec<PortLease>, E>,
    ) -> Result<Vec<PortLease>, E> {
        self.db.write("lease ports", Durability::Eventual, |tx| {
            check_container(tx, container).map_err(PortError::from)?;
            tx.execute("DELETE FROM ports WHERE container = ?1", [Text(*container)])?;
            let used = tx.all(SELECT_ALL, [], read_row)?;
            let leases: Vec<PortLease> = used.iter().map(|(lease, _)| *lease).collect();
            let wanted = plan(&leases)?;
            for lease in &wanted {
                claim(tx, container, lease, &used)?;
            }
            Ok(wanted)
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

const SELECT_ALL: &str = "SELECT protocol, port, host_ip, container FROM ports";

fn claim(
    tx: &Tx<'_>,
    container: &ContainerId,
    lease: &PortLease,
    used: &[(PortLease, ContainerId)],
) -> Result<(), PortError> {
    if let Some((_, by)) = used.iter().find(|(other, _)| other.conflicts(lease)) {
        return Err(PortError::Taken { lease: *lease, by: *by });
    }
    tx.execute(
        "INSERT OR IGNORE INTO ports (protocol, port, host_ip, container) VALUES (?1, ?2, ?3, ?4)",
        (Text(lease.protocol), lease.port, Text(lease.host_ip), Text(*container)),
    )?;
    Ok(())
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<(PortLease, ContainerId)> {
    let lease = PortLease {
        protocol: row.get::<_, Text<_>>(0)?.0,
        port: row.get(1)?,
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
        PortLease { protocol: Protocol::Tcp, host_ip: host_ip.parse().unwrap(), port }
    }

    #[test]
    fn the_unspecified_address_conflicts_with_every_other_of_its_family() {
        for (one, other, conflict) in [
            (tcp("0.0.0.0", 80), tcp("127.0.0.1", 80), true),
            (tcp("127.0.0.1", 80), tcp("127.0.0.2", 80), false),
            (tcp("0.0.0.0", 80), tcp("::", 80), false),
            (tcp("::", 80), tcp("::1", 80), true),
            (tcp("0.0.0.0", 80), tcp("0.0.0.0", 81), false),
            (
                tcp("0.0.0.0", 80),
                PortLease { protocol: Protocol::Udp, ..tcp("0.0.0.0", 80) },
                false,
            ),
        ] {
            assert_eq!(one.conflicts(&other), conflict, "{one:?} {other:?}");
            assert_eq!(other.conflicts(&one), conflict, "{other:?} {one:?}");
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
        let lease = |id, wanted: Vec<PortLease>| ports.lease::<PortError>(id, |_| Ok(wanted));
        lease(&one.id, vec![tcp("0.0.0.0", 80), tcp("::", 80)]).unwrap();
        let taken = lease(&two.id, vec![tcp("0.0.0.0", 81), tcp("127.0.0.1", 80)]);
        assert!(matches!(taken, Err(PortError::Taken { by, .. }) if by == one.id));
        assert_eq!(ports.list().unwrap().len(), 2, "81 was not kept");
        lease(&one.id, vec![tcp("0.0.0.0", 80)]).unwrap();
        let reserve = crate::reserve::Reserve::at(_dir.path().join("reserve"));
        addresses::release(&db, &reserve, &one.id).unwrap();
        lease(&two.id, vec![tcp("127.0.0.1", 80)]).unwrap();
        assert_eq!(ports.list().unwrap(), [(tcp("127.0.0.1", 80), two.id)]);
    }
}
