//! A container's own way out of the namespace that an ordinary user's networks are in.
//!
//! Each container has a program of its own there, whose link is the default route of a table of its own, by which
//! packets from the container's addresses find their way where the main table has none. So whoever comes in by
//! that link is answered by it, and no container depends on another's program. Everything here acts on the
//! namespace of the calling thread.

use model::ContainerId;
use model::address::{Cidr, Family};
use sys::Errno;

use super::{ADDRESS, GATEWAY};
use crate::address::LinkName;
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::rtnl;

/// Hexadecimal digits of the container in the name of the link.
const DIGITS: usize = 11;
/// Never one of the kernel's own tables, which are below 256.
const OWN: u32 = 1 << 31;
/// More rules of one address or container than anybody has left: what cannot be deleted does not hold us up.
const MOST_RULES: usize = 256;

/// One container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    link: LinkName,
    table: u32,
}

impl Way {
    /// Its names follow from the container's id.
    #[must_use]
    pub fn of(container: &ContainerId) -> Self {
        let digits: String = container.to_string().chars().take(DIGITS).collect();
        let first = digits.get(..8).and_then(|first| u32::from_str_radix(first, 16).ok());
        Self {
            link: LinkName::known(format!("up{digits}")),
            table: first.unwrap_or_default() | OWN,
        }
    }

    /// What the program calls its link.
    #[must_use]
    pub const fn link(&self) -> &LinkName {
        &self.link
    }

    /// Has packets from these addresses go this way. Those who had them before may have been killed, and have
    /// left where theirs went.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn lead(&self, addresses: &[Cidr]) -> Result<(), NetlinkError> {
        let socket = Socket::route()?;
        for address in addresses.iter().map(|cidr| cidr.address()) {
            delete_all(&socket, |batch| rtnl::delete_rule_of(batch, address))?;
            let mut batch = Batch::default();
            rtnl::add_rule(&mut batch, address, self.table);
            socket.execute(batch)?;
        }
        Ok(())
    }

    /// Makes the link that the program has brought the way.
    ///
    /// # Errors
    /// If the kernel refuses, as where there is no such link.
    pub fn open(&self) -> Result<(), NetlinkError> {
        let socket = Socket::route()?;
        let index = socket.index_of(self.link.as_str())?;
        let mut batch = Batch::default();
        // The program learns the link's hardware address by what the link sends first: the announcement.
        rtnl::set_arp_notify(&mut batch, index);
        if let Ok(own) = Cidr::new(ADDRESS.into(), Family::V4.bits()) {
            rtnl::add_address(&mut batch, index, own);
        }
        rtnl::set_up(&mut batch, index);
        rtnl::replace_route_of(&mut batch, self.table, (index, GATEWAY.into()));
        socket.execute(batch)
    }

    /// Takes away what leads here.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn close(&self) -> Result<(), NetlinkError> {
        let socket = Socket::route()?;
        [Family::V4, Family::V6].into_iter().try_for_each(|family| {
            delete_all(&socket, |batch| rtnl::delete_rule_to(batch, family, self.table))
        })
    }
}

/// Deletes until there is none.
fn delete_all(socket: &Socket, one: impl Fn(&mut Batch)) -> Result<(), NetlinkError> {
    for _ in 0..MOST_RULES {
        let mut batch = Batch::default();
        one(&mut batch);
        match socket.execute(batch) {
            Ok(()) => {}
            // A host without IPv6 has no rules of it.
            Err(error) if matches!(error.refusal(), Some(Errno::NOENT | Errno::AFNOSUPPORT)) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_way_has_names_of_its_own() {
        let way = Way::of(&ContainerId::from_random([0x1a; 32]));
        assert_eq!((way.link().as_str(), way.table), ("up1a1a1a1a1a1", 0x9a1a_1a1a));
    }

    /// In a namespace of its own.
    #[test]
    fn packets_from_an_address_have_one_way() {
        sys::netns::create_with(|| {
            let way = Way::of(&ContainerId::from_random([1; 32]));
            let other = Way::of(&ContainerId::from_random([2; 32]));
            let addresses: Vec<Cidr> =
                ["172.18.0.2/24", "fd00::2/64"].iter().map(|text| text.parse().unwrap()).collect();
            way.lead(&addresses).unwrap();
            other.lead(&addresses).unwrap();
            let socket = Socket::route().unwrap();
            for address in addresses.iter().map(|cidr| cidr.address()) {
                let mut batch = Batch::default();
                rtnl::delete_rule_of(&mut batch, address);
                socket.execute(batch).unwrap();
                let mut batch = Batch::default();
                rtnl::delete_rule_of(&mut batch, address);
                let none = socket.execute(batch).unwrap_err();
                assert_eq!(none.refusal(), Some(Errno::NOENT), "{address}: the first is gone");
            }
            way.lead(&addresses).unwrap();
            way.close().unwrap();
            let mut batch = Batch::default();
            rtnl::delete_rule_to(&mut batch, Family::V4, way.table);
            assert_eq!(socket.execute(batch).unwrap_err().refusal(), Some(Errno::NOENT));
            assert!(way.open().is_err(), "there is no such link");
        })
        .unwrap();
    }
}
