//! Addresses with a prefix: subnets, addresses of interfaces, hardware addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text or number is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// More bits than the family has.
    #[error("{address}/{prefix}: the prefix is longer than the address")]
    Prefix {
        /// The address.
        address: IpAddr,
        /// The prefix.
        prefix: u8,
    },
    /// Not `address/prefix`.
    #[error("invalid CIDR address: {0}")]
    Cidr(String),
    /// Not six hexadecimal bytes.
    #[error("invalid MAC address: {0}")]
    Mac(String),
}

/// The address families.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The bits of an address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The kernel's number, which netfilter shares.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

/// The address as bytes in network order.
#[must_use]
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address of 4 or 16 bytes in network order.
#[must_use]
pub fn from_octets(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_number(family: Family, number: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => u32::try_from(number).ok().map(|v4| Ipv4Addr::from_bits(v4).into()),
        Family::V6 => Some(Ipv6Addr::from_bits(number).into()),
    }
}

/// An address and how many of its bits name the network: what an interface is given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Joins them.
    ///
    /// # Errors
    /// If the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, AddressError> {
        if prefix > Family::of(address).bits() {
            return Err(AddressError::Prefix { address, prefix });
        }
        Ok(Self { address, prefix })
    }

    /// The whole address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The bits of the network.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        Family::of(self.address)
    }

    /// The network it is in.
    #[must_use]
    pub fn subnet(self) -> Subnet {
        let number = to_number(self.address) & !host_mask(self.family(), self.prefix);
        let address = from_number(self.family(), number).unwrap_or(self.address);
        Subnet(Self { address, prefix: self.prefix })
    }
}

fn host_mask(family: Family, prefix: u8) -> u128 {
    let host_bits = u32::from(family.bits() - prefix);
    1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Cidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let prefix = prefix.parse().map_err(|_| bad())?;
        Self::new(address.parse().map_err(|_| bad())?, prefix).map_err(|_| bad())
    }
}

/// A network: all bits behind the prefix are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet(Cidr);

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl Subnet {
    /// Its lowest address.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        self.0.address
    }

    /// Its highest address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        let number = to_number(self.first()) | host_mask(self.family(), self.prefix());
        from_number(self.family(), number).unwrap_or(self.first())
    }

    /// The bits of the network.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.0.prefix
    }

    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        self.0.family()
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family()
            && Cidr { address, prefix: self.prefix() }.subnet() == self
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }

    /// The address `number` places above the lowest, if it is inside.
    #[must_use]
    pub fn nth(self, number: u128) -> Option<IpAddr> {
        if number > host_mask(self.family(), self.prefix()) {
            return None;
        }
        from_number(self.family(), to_number(self.first()).checked_add(number)?)
    }

    /// How many places the address is above the lowest; `None` if it is not inside.
    #[must_use]
    pub fn place_of(self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_number(address) - to_number(self.first()))
    }

    /// The first and last place of a host. Point-to-point subnets (RFC 3021, RFC 6164) have no network and
    /// broadcast address.
    #[must_use]
    pub fn hosts(self) -> (u128, u128) {
        let last = host_mask(self.family(), self.prefix());
        match (self.family(), self.family().bits() - self.prefix()) {
            (_, 0 | 1) => (0, last),
            (Family::V4, _) => (1, last - 1),
            (Family::V6, _) => (1, last),
        }
    }

    /// Whether a host can have an address: one inside, but not the network's own, nor that of broadcast.
    #[must_use]
    pub fn is_hosts(self, address: IpAddr) -> bool {
        let (first, last) = self.hosts();
        self.place_of(address).is_some_and(|place| (first..=last).contains(&place))
    }

    /// The address with this network's prefix, if it is inside.
    #[must_use]
    pub fn with(self, address: IpAddr) -> Option<Cidr> {
        self.contains(address).then_some(Cidr { address, prefix: self.prefix() })
    }

    /// The lowest address above the network; `None` at the end of the address space.
    #[must_use]
    pub fn end(self) -> Option<IpAddr> {
        from_number(self.family(), to_number(self.last()).checked_add(1)?)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Subnet {
    type Err = AddressError;

    /// Reads a network; bits behind the prefix are dropped, as Docker does.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse::<Cidr>().map(Cidr::subnet)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Locally administered and for one station, from random bytes.
    #[must_use]
    pub const fn local(random: [u8; 6]) -> Self {
        let [first, b, c, d, e, f] = random;
        Self([(first & 0xfc) | 0x02, b, c, d, e, f])
    }

    /// These very bytes.
    #[must_use]
    pub const fn from_octets(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Its bytes.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Mac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            if !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_are_read_and_printed() {
        let cidr: Cidr = "172.17.3.4/16".parse().unwrap();
        assert_eq!(cidr.subnet().to_string(), "172.17.0.0/16");
        assert_eq!(cidr.subnet().last().to_string(), "172.17.255.255");
        assert_eq!("fd12::5/64".parse::<Subnet>().unwrap().to_string(), "fd12::/64");
        assert_eq!("0.0.0.0/0".parse::<Subnet>().unwrap().last().to_string(), "255.255.255.255");
        for bad in ["1.2.3.4", "1.2.3.4/33", "::/129", "1.2.3.4/+8", "1.2.3.4/", "x/8", "::/-1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn macs_are_local_and_unicast() {
        assert_eq!(Mac::local([0xff; 6]).to_string(), "fe:ff:ff:ff:ff:ff");
        assert_eq!("02:42:ac:11:00:02".parse::<Mac>().unwrap().octets(), [2, 0x42, 0xac, 17, 0, 2]);
        for bad in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:+2"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_networks_own_addresses_are_no_hosts() {
        let of = |subnet: &str, address: &str| {
            subnet.parse::<Subnet>().unwrap().is_hosts(address.parse().unwrap())
        };
        for (subnet, address) in [
            ("10.0.0.0/24", "10.0.0.0"),
            ("10.0.0.0/24", "10.0.0.255"),
            ("10.0.0.0/24", "10.0.1.1"),
            ("fd00::/64", "fd00::"),
        ] {
            assert!(!of(subnet, address), "{address} of {subnet}");
        }
        for (subnet, address) in [
            ("10.0.0.0/23", "10.0.0.255"),
            ("10.0.0.0/31", "10.0.0.0"),
            ("10.0.0.0/31", "10.0.0.1"),
            ("fd00::/64", "fd00::ffff:ffff:ffff:ffff"),
            ("fd00::/127", "fd00::"),
        ] {
            assert!(of(subnet, address), "{address} of {subnet}");
        }
    }

    proptest! {
        #[test]
        fn a_subnet_holds_exactly_its_addresses(bits: u32, prefix in 0_u8..=32, other: u32) {
            let subnet = Cidr::new(Ipv4Addr::from(bits).into(), prefix).unwrap().subnet();
            let other = IpAddr::from(Ipv4Addr::from(other));
            let inside = subnet.first() <= other && other <= subnet.last();
            prop_assert_eq!(subnet.contains(other), inside);
            prop_assert_eq!(subnet.place_of(other).and_then(|n| subnet.nth(n)), inside.then_some(other));
            prop_assert_eq!(subnet.to_string().parse(), Ok(subnet));
        }

        #[test]
        fn overlap_is_a_common_address(a: u32, b: u32, p in 0_u8..=32, q in 0_u8..=32) {
            let a = Cidr::new(Ipv4Addr::from(a).into(), p).unwrap().subnet();
            let b = Cidr::new(Ipv4Addr::from(b).into(), q).unwrap().subnet();
            let common = a.first().max(b.first()) <= a.last().min(b.last());
            prop_assert_eq!(a.overlaps(b), common);
        }
    }
}
