//! The static rules of a state root, the same for every number of containers and ports.
//!
//! Deciding only: `table` writes them, `element` says what is in their sets; `docs/design/network.md` says why.

mod admit;

use std::net::Ipv6Addr;

use super::Entry;
use super::expr::{Base, Ct, Expr, Is, Meta, NatPort, Reg, Verdict};
use crate::address::Family;
use crate::host::Ipv6Loopback;

/// Raised with every change of what this module says: a table of another layout is rebuilt.
pub(super) const LAYOUT: u32 = 7;

/// `(protocol, port) → (address, port)`: published on every address of the host.
pub(super) const DNAT_ANY: &str = "dnat_any";
/// `(address, protocol, port) → (address, port)`: published on one address of the host.
pub(super) const DNAT_IP: &str = "dnat_ip";
/// `(address, protocol, port)` of containers that are published.
pub(super) const OPEN: &str = "open";
/// `(protocol, ports) → address`: published on every address of the host, under the same numbers.
pub(super) const RANGES_ANY: &str = "ranges_any";
/// `(address, protocol, ports) → address`: the same on one address of the host.
pub(super) const RANGES_IP: &str = "ranges_ip";
/// `(protocol, ports) → (address, lowest, highest)`: under other numbers.
pub(super) const MOVED_ANY: &str = "moved_any";
/// `(address, protocol, ports) → (address, lowest, highest)`: the same on one address of the host.
pub(super) const MOVED_IP: &str = "moved_ip";
/// `(address, protocol, ports)` of containers of which ranges are published.
pub(super) const OPEN_RANGES: &str = "open_ranges";
/// Names of our bridges.
pub(super) const BRIDGES: &str = "bridges";
/// `(bridge, bridge)` between which containers may talk: each with itself.
pub(super) const PEERS: &str = "peers";
/// `(bridge, bridge)` between which nothing goes but what is published: each with itself, if its containers are
/// kept apart.
pub(super) const APART: &str = "apart";
/// Bridges that somebody else has made: others are on them as well.
pub(super) const SHARED: &str = "shared";
/// Subnets whose packets leave the host under its own address.
pub(super) const MASQUERADED: &str = "masqueraded";
/// Subnets whose packets leave the host under one address of it, with that.
pub(super) const SOURCES: &str = "sources";
/// Subnets of all networks.
pub(super) const SUBNETS: &str = "subnets";
/// Bridges of networks that nothing leads out of.
pub(super) const INTERNAL: &str = "internal";
/// `(address, protocol, ports)` of containers that others reach at their own addresses.
pub(super) const DIRECT: &str = "direct";
/// Bridges whose containers answer ICMP to all.
pub(super) const ROUTED: &str = "routed";
/// Bridges whose containers are reached at all ports.
pub(super) const UNPROTECTED: &str = "unprotected";
/// `(link, bridge)`: who comes by that link reaches what is published there at the containers' addresses.
pub(super) const TRUSTED: &str = "trusted";
/// The types of userspace `nft`, by which it prints elements.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_LINK_NAME: u32 = 41;
/// A concatenation is its parts' types, 6 bits each.
const TYPE_BITS: u32 = 6;

const STATE_ESTABLISHED: u32 = 1 << 1;
const STATE_RELATED: u32 = 1 << 2;
const STATE_NEW: u32 = 1 << 3;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const STATUS_DNAT: u32 = 1 << 5;
const ADDRESS_TYPE_LOCAL: u32 = 2;
const LOOPBACK_INDEX: u32 = 1;

/// A set or map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) key: Type,
    /// What a map maps to.
    pub(super) data: Option<Type>,
    pub(super) form: Form,
}

/// Whether elements are single values or ends of ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Values,
    Ranges,
    /// Values of several parts, of which each may be a range; how long each part is.
    Spans([u32; 3]),
    /// Rules put them in, for some time.
    Remembered,
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Type {
    pub(super) number: u32,
    pub(super) length: u32,
}

impl Type {
    /// One value after another, each padded to 4 bytes.
    fn concat(parts: &[Self]) -> Self {
        let number = parts.iter().fold(0, |number, part| (number << TYPE_BITS) | part.number);
        let length = parts.iter().map(|part| part.length.next_multiple_of(4)).sum();
        Self { number, length }
    }

    /// Whether userspace `nft` must be told that the bytes are in this machine's order.
    pub(super) const fn is_link_name(self) -> bool {
        self.number == TYPE_LINK_NAME
    }

    const fn address(family: Family) -> Self {
        match family {
            Family::V4 => Self { number: TYPE_IPV4, length: 4 },
            Family::V6 => Self { number: TYPE_IPV6, length: 16 },
        }
    }
}

const PROTOCOL: Type = Type { number: TYPE_PROTOCOL, length: 1 };
const PORT: Type = Type { number: TYPE_PORT, length: 2 };
const LINK: Type = Type { number: TYPE_LINK_NAME, length: 16 };

/// Where a chain is called from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hook {
    pub(super) kind: &'static str,
    pub(super) number: u32,
    pub(super) priority: i32,
}

/// A chain and its rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// `None`: it is called by other chains.
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Vec<Expr>>,
}

/// All of one family's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ruleset {
    pub(super) sets: Vec<Set>,
    /// Called chains come before their callers.
    pub(super) chains: Vec<Chain>,
}

/// The ruleset of one family.
pub(super) fn ruleset(family: Family, loopback: Ipv6Loopback, entry: Entry) -> Ruleset {
    let mut rules =
        Ruleset { sets: sets(family), chains: chains(family, output(family, loopback)) };
    match entry {
        Entry::Direct => {}
        Entry::Admitted => admit::first(&mut rules, family),
        Entry::Brought => {
            let prerouting = rules.chains.iter_mut().filter(|chain| chain.name == "prerouting");
            prerouting.for_each(|chain| chain.rules.insert(0, pass_over_bridges()));
        }
    }
    rules
}

fn pass_over_bridges() -> Vec<Expr> {
    let mut rule = from_bridge().to_vec();
    rule.push(Expr::Verdict(Verdict::Return));
    rule
}

/// Goes on if it comes from a container.
fn from_bridge() -> [Expr; 2] {
    [
        Expr::Meta { key: Meta::InputName, to: Reg(0) },
        Expr::InSet { register: Reg(0), set: BRIDGES.into(), is: Is::Equal },
    ]
}

fn sets(family: Family) -> Vec<Set> {
    let address = Type::address(family);
    let target = Some(Type::concat(&[address, PORT]));
    let socket = Type::concat(&[address, PROTOCOL, PORT]);
    let set = |name, key, data| Set { name, key, data, form: Form::Values };
    let any = Type::concat(&[PROTOCOL, PORT]);
    let parts = [PROTOCOL.length, PORT.length, 0];
    let spans_any = |name, data| Set { name, key: any, data, form: Form::Spans(parts) };
    let parts = [address.length, PROTOCOL.length, PORT.length];
    let spans_ip = |name, data| Set { name, key: socket, data, form: Form::Spans(parts) };
    let moved = Some(Type::concat(&[address, PORT, PORT]));
    vec![
        set(DNAT_ANY, any, target),
        set(DNAT_IP, socket, target),
        set(OPEN, socket, None),
        spans_any(RANGES_ANY, Some(address)),
        spans_ip(RANGES_IP, Some(address)),
        spans_any(MOVED_ANY, moved),
        spans_ip(MOVED_IP, moved),
        spans_ip(OPEN_RANGES, None),
        set(BRIDGES, LINK, None),
        set(PEERS, Type::concat(&[LINK, LINK]), None),
        set(APART, Type::concat(&[LINK, LINK]), None),
        set(SHARED, LINK, None),
        Set { name: MASQUERADED, key: address, data: None, form: Form::Ranges },
        Set { name: SUBNETS, key: address, data: None, form: Form::Ranges },
        Set { name: SOURCES, key: address, data: Some(address), form: Form::Ranges },
        set(INTERNAL, LINK, None),
        spans_ip(DIRECT, None),
        set(ROUTED, LINK, None),
        set(UNPROTECTED, LINK, None),
        set(TRUSTED, Type::concat(&[LINK, LINK]), None),
    ]
}

fn chains(family: Family, output: Vec<Vec<Expr>>) -> Vec<Chain> {
    let hooked = |name, kind, number, priority, rules| {
        let hook = Some(Hook { kind, number, priority });
        Chain { name, hook, rules }
    };
    let called = |name, rules| Chain { name, hook: None, rules };
    vec![
        called("publish", publish(family)),
        called("trusted", opened(family).into()),
        called("to_bridge", to_bridge(family)),
        called("hairpin", hairpin(family)),
        hooked("prerouting", "nat", 0, -100, vec![local_to_publish()]),
        hooked("output", "nat", 3, -100, output),
        hooked("forward", "filter", 2, 0, forward()),
        hooked("guard", "filter", 0, -300, vec![guard(family)]),
        hooked("postrouting", "nat", 4, 100, postrouting(family)),
    ]
}

/// Nothing from outside reaches the loopback addresses. For 127.0.0.0/8 our bridges have
/// `route_localnet`, and other software sets it for all links, so the kernel itself would let it
/// in. It does drop `::1`, but where netfilter sees bridged packets only after they went through
/// our rewriting.
fn guard(family: Family) -> Vec<Expr> {
    let mut rule = to_loopback(family, End::Destination);
    rule.extend([
        Expr::Meta { key: Meta::InputIndex, to: Reg(0) },
        compare_u32(Reg(0), Is::Different, LOOPBACK_INDEX),
        Expr::Verdict(Verdict::Drop),
    ]);
    rule
}

/// Goes on if the address is one of loopback.
fn to_loopback(family: Family, end: End) -> Vec<Expr> {
    let (offset, _) = address_place(family, end);
    let value = match family {
        Family::V4 => vec![127],
        Family::V6 => Ipv6Addr::LOCALHOST.octets().to_vec(),
    };
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    vec![
        Expr::Payload { base: Base::Network, offset, length, to: Reg(0) },
        Expr::Compare { register: Reg(0), is: Is::Equal, value },
    ]
}

/// What the host itself sends.
fn output(family: Family, loopback: Ipv6Loopback) -> Vec<Vec<Expr>> {
    let mut closed = to_loopback(family, End::Destination);
    closed.push(Expr::Verdict(Verdict::Return));
    match (family, loopback) {
        (Family::V6, Ipv6Loopback::Closed) => vec![closed, local_to_publish()],
        (Family::V4, _) | (Family::V6, Ipv6Loopback::Published) => vec![local_to_publish()],
    }
}

fn local_to_publish() -> Vec<Expr> {
    vec![
        Expr::DestinationType { to: Reg(0) },
        compare_u32(Reg(0), Is::Equal, ADDRESS_TYPE_LOCAL),
        Expr::Verdict(Verdict::Jump("publish".into())),
    ]
}

/// A port of one address goes before a port of all.
fn publish(family: Family) -> Vec<Vec<Expr>> {
    let width = address_registers(family);
    let mut one_address = load_address(family, End::Destination);
    one_address.extend(load_port(width));
    let any_address = load_port(0);
    let rule = |key: &[Expr], set, port| {
        let dnat = Expr::Dnat { family, address: Reg(0), port };
        [key, &[map(set), dnat]].concat()
    };
    let (to, moved) = (NatPort::To(Reg(width)), NatPort::Between(Reg(width), Reg(width + 1)));
    // Single ports first: what is most is found at once.
    let mut rules = vec![
        rule(&one_address, DNAT_IP, to),
        rule(&any_address, DNAT_ANY, to),
        rule(&one_address, RANGES_IP, NatPort::Kept),
        rule(&one_address, MOVED_IP, moved),
        rule(&any_address, RANGES_ANY, NatPort::Kept),
        rule(&any_address, MOVED_ANY, moved),
    ];
    if family == Family::V6 {
        rules.insert(0, from_link_local());
    }
    rules
}

/// Packets of link-local senders are never forwarded; left alone, they meet the closed port of the host and
/// are refused at once.
fn from_link_local() -> Vec<Expr> {
    vec![
        Expr::Payload { base: Base::Network, offset: 8, length: 2, to: Reg(0) },
        Expr::Mask { register: Reg(0), mask: vec![0xff, 0xc0] },
        Expr::Compare { register: Reg(0), is: Is::Equal, value: vec![0xfe, 0x80] },
        Expr::Verdict(Verdict::Return),
    ]
}

/// What goes to a container is looked at, and nothing of an internal network goes elsewhere.
fn forward() -> Vec<Vec<Expr>> {
    vec![output_bridge(Verdict::Goto("to_bridge".into())), from_internal()]
}

fn from_internal() -> Vec<Expr> {
    vec![
        Expr::Meta { key: Meta::InputName, to: Reg(0) },
        Expr::InSet { register: Reg(0), set: INTERNAL.into(), is: Is::Equal },
        Expr::Verdict(Verdict::Drop),
    ]
}

/// What is published, by the address of its container.
fn opened(family: Family) -> [Vec<Expr>; 2] {
    [OPEN, OPEN_RANGES].map(|set| at_container(family, set))
}

/// Accepts what a set has: address, protocol and port of a container.
fn at_container(family: Family, set: &'static str) -> Vec<Expr> {
    let mut rule = load_address(family, End::Destination);
    rule.extend(load_port(address_registers(family)));
    rule.push(Expr::InSet { register: Reg(0), set: set.into(), is: Is::Equal });
    rule.push(Expr::Verdict(Verdict::Accept));
    rule
}

/// What may go to a container: answers, its peers, what we published unless somebody asks who may not
/// leave their network. A container's address is no way in from outside, not even to a published port
/// (`Status` asks for our rewriting), unless its network says so; and even then not for neighbours that are kept
/// apart, which would reach each other by way of the host.
fn to_bridge(family: Family) -> Vec<Vec<Expr>> {
    let answers = vec![
        Expr::Ct { key: Ct::State, to: Reg(0) },
        mask_u32(Reg(0), STATE_ESTABLISHED | STATE_RELATED),
        compare_u32(Reg(0), Is::Different, 0),
        Expr::Verdict(Verdict::Accept),
    ];
    let published = opened(family).map(|rule| [rewritten(Is::Different), rule].concat());
    let between = |set: &'static str, verdict| {
        vec![
            Expr::Meta { key: Meta::InputName, to: Reg(0) },
            Expr::Meta { key: Meta::OutputName, to: Reg(4) },
            Expr::InSet { register: Reg(0), set: set.into(), is: Is::Equal },
            Expr::Verdict(verdict),
        ]
    };
    let mut rules = vec![answers, between(PEERS, Verdict::Accept), from_internal()];
    rules.extend(published);
    rules.extend([
        between(APART, Verdict::Drop),
        to(ROUTED, &icmp(family)),
        at_container(family, DIRECT),
        to(UNPROTECTED, &[]),
        between(TRUSTED, Verdict::Jump("trusted".into())),
        vec![Expr::Verdict(Verdict::Drop)],
    ]);
    rules
}

/// Accepts some of what goes to bridges of a set.
fn to(bridges: &'static str, what: &[Expr]) -> Vec<Expr> {
    let mut rule = vec![
        Expr::Meta { key: Meta::OutputName, to: Reg(0) },
        Expr::InSet { register: Reg(0), set: bridges.into(), is: Is::Equal },
    ];
    rule.extend_from_slice(what);
    rule.push(Expr::Verdict(Verdict::Accept));
    rule
}

/// Goes on if it is ICMP of the family.
fn icmp(family: Family) -> [Expr; 2] {
    let number = match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    [
        Expr::Meta { key: Meta::Transport, to: Reg(0) },
        Expr::Compare { register: Reg(0), is: Is::Equal, value: vec![number] },
    ]
}

fn postrouting(family: Family) -> Vec<Vec<Expr>> {
    let mut masquerade = load_address(family, End::Source);
    masquerade.push(Expr::InSet { register: Reg(0), set: MASQUERADED.into(), is: Is::Equal });
    masquerade.push(Expr::Masquerade);
    let mut source = load_address(family, End::Source);
    source.extend([map(SOURCES), Expr::Snat { family, address: Reg(0) }]);
    vec![output_bridge(Verdict::Goto("hairpin".into())), masquerade, source]
}

/// Senders to which a container could not answer through the host: itself and its peers, which it
/// would answer directly, and the host's loopback address.
fn hairpin(family: Family) -> Vec<Vec<Expr>> {
    let mut untouched = rewritten(Is::Equal);
    untouched.push(Expr::Verdict(Verdict::Return));
    let mut peer = load_address(family, End::Source);
    peer.push(Expr::InSet { register: Reg(0), set: SUBNETS.into(), is: Is::Equal });
    peer.push(Expr::Masquerade);
    let mut loopback = to_loopback(family, End::Source);
    loopback.push(Expr::Masquerade);
    vec![untouched, loopback, peer]
}

fn output_bridge(verdict: Verdict) -> Vec<Expr> {
    vec![
        Expr::Meta { key: Meta::OutputName, to: Reg(0) },
        Expr::InSet { register: Reg(0), set: BRIDGES.into(), is: Is::Equal },
        Expr::Verdict(verdict),
    ]
}

/// Goes on if the connection's destination was (`Different` from not) rewritten.
fn rewritten(from_not: Is) -> Vec<Expr> {
    vec![
        Expr::Ct { key: Ct::Status, to: Reg(0) },
        mask_u32(Reg(0), STATUS_DNAT),
        compare_u32(Reg(0), from_not, 0),
    ]
}

const fn address_registers(family: Family) -> u32 {
    match family {
        Family::V4 => 1,
        Family::V6 => 4,
    }
}

/// The two addresses of a packet.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn load_address(family: Family, end: End) -> Vec<Expr> {
    let (offset, length) = address_place(family, end);
    vec![Expr::Payload { base: Base::Network, offset, length, to: Reg(0) }]
}

/// Offset and length of an address in the header.
const fn address_place(family: Family, end: End) -> (u32, u32) {
    match (family, end) {
        (Family::V4, End::Source) => (12, 4),
        (Family::V4, End::Destination) => (16, 4),
        (Family::V6, End::Source) => (8, 16),
        (Family::V6, End::Destination) => (24, 16),
    }
}

/// Protocol and destination port; TCP, UDP and SCTP have it in one place.
fn load_port(at: u32) -> Vec<Expr> {
    vec![
        Expr::Meta { key: Meta::Transport, to: Reg(at) },
        Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: Reg(at + 1) },
    ]
}

fn map(name: &'static str) -> Expr {
    Expr::MapTo { register: Reg(0), map: name.into(), to: Reg(0) }
}

fn mask_u32(register: Reg, mask: u32) -> Expr {
    Expr::Mask { register, mask: mask.to_ne_bytes().to_vec() }
}

fn compare_u32(register: Reg, is: Is, value: u32) -> Expr {
    Expr::Compare { register, is, value: value.to_ne_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::fmt;

    impl fmt::Display for Ruleset {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for set in &self.sets {
                let data = set.data.map_or_else(String::new, |data| format!(" -> {}", data.length));
                writeln!(f, "set {}: {}{data} {:?}", set.name, set.key.length, set.form)?;
            }
            self.chains.iter().try_for_each(|chain| f.write_str(&shown(chain)))
        }
    }

    fn shown(chain: &Chain) -> String {
        let hook = chain.hook.map_or_else(String::new, |hook| {
            format!(" ({} hook {} priority {})", hook.kind, hook.number, hook.priority)
        });
        let mut text = format!("chain {}{hook}\n", chain.name);
        for rule in &chain.rules {
            let words: Vec<_> = rule.iter().map(Expr::to_string).collect();
            text += &format!("  {}\n", words.join("; "));
        }
        text
    }

    /// When this changes, raise `LAYOUT`.
    #[test]
    fn the_rules_of_the_older_family() {
        expect![[r#"
            set dnat_any: 8 -> 8 Values
            set dnat_ip: 12 -> 8 Values
            set open: 12 Values
            set ranges_any: 8 -> 4 Spans([1, 2, 0])
            set ranges_ip: 12 -> 4 Spans([4, 1, 2])
            set moved_any: 8 -> 12 Spans([1, 2, 0])
            set moved_ip: 12 -> 12 Spans([4, 1, 2])
            set open_ranges: 12 Spans([4, 1, 2])
            set bridges: 16 Values
            set peers: 32 Values
            set apart: 32 Values
            set shared: 16 Values
            set masqueraded: 4 Ranges
            set subnets: 4 Ranges
            set sources: 4 -> 4 Ranges
            set internal: 16 Values
            set direct: 12 Spans([4, 1, 2])
            set routed: 16 Values
            set unprotected: 16 Values
            set trusted: 32 Values
            chain publish
              r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @dnat_ip[r0]; dnat to r0 : r1
              r0 = Transport; r1 = Transport[2+2]; r0 = @dnat_any[r0]; dnat to r0 : r1
              r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @ranges_ip[r0]; dnat to r0
              r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @moved_ip[r0]; dnat to r0 : r1 + port, up to r2
              r0 = Transport; r1 = Transport[2+2]; r0 = @ranges_any[r0]; dnat to r0
              r0 = Transport; r1 = Transport[2+2]; r0 = @moved_any[r0]; dnat to r0 : r1 + port, up to r2
            chain trusted
              r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @open; accept
              r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @open_ranges; accept
            chain to_bridge
              r0 = ct State; r0 &= [06, 00, 00, 00]; r0 != [00, 00, 00, 00]; accept
              r0 = InputName; r4 = OutputName; r0 = @peers; accept
              r0 = InputName; r0 = @internal; drop
              r0 = ct Status; r0 &= [20, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @open; accept
              r0 = ct Status; r0 &= [20, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @open_ranges; accept
              r0 = InputName; r4 = OutputName; r0 = @apart; drop
              r0 = OutputName; r0 = @routed; r0 = Transport; r0 = [01]; accept
              r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @direct; accept
              r0 = OutputName; r0 = @unprotected; accept
              r0 = InputName; r4 = OutputName; r0 = @trusted; jump trusted
              drop
            chain hairpin
              r0 = ct Status; r0 &= [20, 00, 00, 00]; r0 = [00, 00, 00, 00]; return
              r0 = Network[12+1]; r0 = [7f]; masquerade
              r0 = Network[12+4]; r0 = @subnets; masquerade
            chain prerouting (nat hook 0 priority -100)
              r0 = type of destination; r0 = [02, 00, 00, 00]; jump publish
            chain output (nat hook 3 priority -100)
              r0 = type of destination; r0 = [02, 00, 00, 00]; jump publish
            chain forward (filter hook 2 priority 0)
              r0 = OutputName; r0 = @bridges; goto to_bridge
              r0 = InputName; r0 = @internal; drop
            chain guard (filter hook 0 priority -300)
              r0 = Network[16+1]; r0 = [7f]; r0 = InputIndex; r0 != [01, 00, 00, 00]; drop
            chain postrouting (nat hook 4 priority 100)
              r0 = OutputName; r0 = @bridges; goto hairpin
              r0 = Network[12+4]; r0 = @masqueraded; masquerade
              r0 = Network[12+4]; r0 = @sources[r0]; snat to r0
        "#]].assert_eq(&ruleset(Family::V4, Ipv6Loopback::Published, Entry::Direct).to_string());
    }

    /// The same.
    #[test]
    fn the_rules_of_the_newer_family() {
        expect![[r#"
            set dnat_any: 8 -> 20 Values
            set dnat_ip: 24 -> 20 Values
            set open: 24 Values
            set ranges_any: 8 -> 16 Spans([1, 2, 0])
            set ranges_ip: 24 -> 16 Spans([16, 1, 2])
            set moved_any: 8 -> 24 Spans([1, 2, 0])
            set moved_ip: 24 -> 24 Spans([16, 1, 2])
            set open_ranges: 24 Spans([16, 1, 2])
            set bridges: 16 Values
            set peers: 32 Values
            set apart: 32 Values
            set shared: 16 Values
            set masqueraded: 16 Ranges
            set subnets: 16 Ranges
            set sources: 16 -> 16 Ranges
            set internal: 16 Values
            set direct: 24 Spans([16, 1, 2])
            set routed: 16 Values
            set unprotected: 16 Values
            set trusted: 32 Values
            chain publish
              r0 = Network[8+2]; r0 &= [ff, c0]; r0 = [fe, 80]; return
              r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @dnat_ip[r0]; dnat to r0 : r4
              r0 = Transport; r1 = Transport[2+2]; r0 = @dnat_any[r0]; dnat to r0 : r4
              r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @ranges_ip[r0]; dnat to r0
              r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @moved_ip[r0]; dnat to r0 : r4 + port, up to r5
              r0 = Transport; r1 = Transport[2+2]; r0 = @ranges_any[r0]; dnat to r0
              r0 = Transport; r1 = Transport[2+2]; r0 = @moved_any[r0]; dnat to r0 : r4 + port, up to r5
            chain trusted
              r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @open; accept
              r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @open_ranges; accept
            chain to_bridge
              r0 = ct State; r0 &= [06, 00, 00, 00]; r0 != [00, 00, 00, 00]; accept
              r0 = InputName; r4 = OutputName; r0 = @peers; accept
              r0 = InputName; r0 = @internal; drop
              r0 = ct Status; r0 &= [20, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @open; accept
              r0 = ct Status; r0 &= [20, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @open_ranges; accept
              r0 = InputName; r4 = OutputName; r0 = @apart; drop
              r0 = OutputName; r0 = @routed; r0 = Transport; r0 = [3a]; accept
              r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @direct; accept
              r0 = OutputName; r0 = @unprotected; accept
              r0 = InputName; r4 = OutputName; r0 = @trusted; jump trusted
              drop
            chain hairpin
              r0 = ct Status; r0 &= [20, 00, 00, 00]; r0 = [00, 00, 00, 00]; return
              r0 = Network[8+16]; r0 = [00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 01]; masquerade
              r0 = Network[8+16]; r0 = @subnets; masquerade
            chain prerouting (nat hook 0 priority -100)
              r0 = type of destination; r0 = [02, 00, 00, 00]; jump publish
            chain output (nat hook 3 priority -100)
              r0 = Network[24+16]; r0 = [00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 01]; return
              r0 = type of destination; r0 = [02, 00, 00, 00]; jump publish
            chain forward (filter hook 2 priority 0)
              r0 = OutputName; r0 = @bridges; goto to_bridge
              r0 = InputName; r0 = @internal; drop
            chain guard (filter hook 0 priority -300)
              r0 = Network[24+16]; r0 = [00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 01]; r0 = InputIndex; r0 != [01, 00, 00, 00]; drop
            chain postrouting (nat hook 4 priority 100)
              r0 = OutputName; r0 = @bridges; goto hairpin
              r0 = Network[8+16]; r0 = @masqueraded; masquerade
              r0 = Network[8+16]; r0 = @sources[r0]; snat to r0
        "#]].assert_eq(&ruleset(Family::V6, Ipv6Loopback::Closed, Entry::Direct).to_string());
    }

    /// A port that is published on the host's loopback is open to no container: neither by the number that it has
    /// where an ordinary user's networks are.
    #[test]
    fn containers_reach_nothing_that_a_program_brings() {
        for family in [Family::V4, Family::V6] {
            let rules = ruleset(family, Ipv6Loopback::Published, Entry::Brought).to_string();
            let first = "chain prerouting (nat hook 0 priority -100)\n  r0 = InputName; r0 = @bridges; return\n";
            assert!(rules.contains(first), "{rules}");
            let direct = ruleset(family, Ipv6Loopback::Published, Entry::Direct).to_string();
            let more = rules.lines().filter(|line| !direct.contains(line)).count();
            assert_eq!(more, 1, "{rules}");
        }
    }

    /// The same: who comes from outside has to get past the host's own rules first.
    #[test]
    fn what_the_host_is_asked() {
        let told = |family| {
            let direct = ruleset(family, Ipv6Loopback::Published, Entry::Direct).to_string();
            let asked = ruleset(family, Ipv6Loopback::Published, Entry::Admitted).to_string();
            let more = asked.lines().filter(|line| !direct.contains(line));
            more.collect::<Vec<_>>().join("\n")
        };
        expect![[r#"
            set admitted: 16 Remembered
            set callers: 4 Remembered
            set senders: 4 Remembered
              r0 = InputName; r0 = @bridges; r0 != @shared; r0 = type of destination; r0 = [02, 00, 00, 00]; jump publish
              r0 = type of destination; r0 = [02, 00, 00, 00]; r0 = Network[12+4]; r1 = Network[16+4]; r2 = Transport; r3 = Transport[2+2]; r0 = @admitted; jump publish
            chain remember
              r0 = Network[12+4]; r0 is in @callers more than 200 times a minute, 200 at once; drop
              r0 = Network[12+4]; r0 &= [ff, ff, ff, 00]; r0 is in @senders more than 600 times a minute, 600 at once; drop
              r0 = Transport; r0 = [11]; r0 = Network[12+4]; r1 = Network[16+4]; r2 = Transport; r3 = Transport[2+2]; add r0 to @admitted for 180 s; drop
              r0 = Network[12+4]; r1 = Network[16+4]; r2 = Transport; r3 = Transport[2+2]; add r0 to @admitted for 30 s; drop
            chain admit (filter hook 1 priority 200)
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @dnat_ip[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Transport; r1 = Transport[2+2]; r0 = @dnat_any[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @ranges_ip[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[16+4]; r1 = Transport; r2 = Transport[2+2]; r0 = @moved_ip[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Transport; r1 = Transport[2+2]; r0 = @ranges_any[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Transport; r1 = Transport[2+2]; r0 = @moved_any[r0]; jump remember"#]]
        .assert_eq(&told(Family::V4));
        expect![[r#"
            set admitted: 40 Remembered
            set callers: 16 Remembered
            set senders: 16 Remembered
            set sites: 16 Remembered
              r0 = InputName; r0 = @bridges; r0 != @shared; r0 = type of destination; r0 = [02, 00, 00, 00]; jump publish
              r0 = type of destination; r0 = [02, 00, 00, 00]; r0 = Network[8+16]; r4 = Network[24+16]; r8 = Transport; r9 = Transport[2+2]; r0 = @admitted; jump publish
            chain remember
              r0 = Network[8+16]; r0 is in @callers more than 200 times a minute, 200 at once; drop
              r0 = Network[8+16]; r0 &= [ff, ff, ff, ff, ff, ff, ff, ff, 00, 00, 00, 00, 00, 00, 00, 00]; r0 is in @senders more than 600 times a minute, 600 at once; drop
              r0 = Network[8+16]; r0 &= [ff, ff, ff, ff, ff, ff, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00]; r0 is in @sites more than 2400 times a minute, 2400 at once; drop
              r0 = Transport; r0 = [11]; r0 = Network[8+16]; r4 = Network[24+16]; r8 = Transport; r9 = Transport[2+2]; add r0 to @admitted for 180 s; drop
              r0 = Network[8+16]; r4 = Network[24+16]; r8 = Transport; r9 = Transport[2+2]; add r0 to @admitted for 30 s; drop
            chain admit (filter hook 1 priority 200)
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @dnat_ip[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Transport; r1 = Transport[2+2]; r0 = @dnat_any[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @ranges_ip[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Network[24+16]; r4 = Transport; r5 = Transport[2+2]; r0 = @moved_ip[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Transport; r1 = Transport[2+2]; r0 = @ranges_any[r0]; jump remember
              r0 = InputIndex; r0 != [01, 00, 00, 00]; r0 = ct State; r0 &= [08, 00, 00, 00]; r0 != [00, 00, 00, 00]; r0 = Transport; r1 = Transport[2+2]; r0 = @moved_any[r0]; jump remember"#]]
        .assert_eq(&told(Family::V6));
    }
}
