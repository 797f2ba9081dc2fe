//! Two ports of one address of a namespace become one: what is sent to the port that everybody knows arrives at
//! another one, and what comes back seems to come from the former.
//!
//! The ports are rewritten in the packets as they leave, without the kernel keeping track of connections: a
//! namespace in which something is translated has every packet of it looked up. Packets of other links than the
//! loopback's meet two rules of one comparison.
//!
//! Where the namespace keeps track for reasons of its own (a filter that asks for `ct state`), both directions are one
//! connection to it: questions are rewritten behind all that looks at packets as they leave, answers before it. What a
//! packet was tracked as stays with it over the loopback link.
//!
//! Newer kernels (7.2 does) let nobody rewrite packets like that in a network namespace that a user namespace owns:
//! there connections are translated, as Docker has it everywhere.

use std::net::Ipv4Addr;

use sys::Errno;

use super::expr::{Base, Expr, Is, Meta, NatPort, Reg, Verdict};
use super::message::Transaction;
use super::ruleset::{Chain, Hook, Ruleset};
use super::table::Table;
use crate::address::Family;
use crate::netlink::{NetlinkError, Socket};

const LOOPBACK_INDEX: u32 = 1;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// Before connections are tracked (-200), and before rules that keep packets from that (-300).
const FIRST: i32 = -310;
/// Behind the translation of sources (100).
const LAST: i32 = 310;
/// Where destinations are translated, among the chains of a hook.
const TRANSLATING: i32 = -100;
/// Where the addresses are in a header of IPv4.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
/// Where the ports are in a header of TCP and of UDP.
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;

/// One protocol's port, and where it really is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redirect {
    /// Its number of the IP header.
    pub(crate) protocol: u8,
    /// Where its header has the checksum.
    pub(crate) checksum: u32,
    /// What everybody knows.
    pub(crate) known: u16,
    /// Who listens.
    pub(crate) real: u16,
}

/// Adds a table of this name to the namespace that the socket is of.
pub(crate) fn add(
    socket: &Socket,
    name: &str,
    address: Ipv4Addr,
    redirects: &[Redirect],
) -> Result<(), NetlinkError> {
    let table = Table { name, family: Family::V4 };
    let add = |ruleset: &Ruleset| {
        let mut transaction = Transaction::begin();
        table.create(&mut transaction, "");
        table.fill(&mut transaction, ruleset);
        transaction.commit(socket)
    };
    match add(&ruleset(address, redirects)) {
        Err(NetlinkError::Refused { source: Errno::PERM, .. }) => {
            add(&translation(address, redirects))
        }
        added => added,
    }
}

/// Removes a table of this name, if there is one.
pub(crate) fn remove(socket: &Socket, name: &str) -> Result<(), NetlinkError> {
    let table = Table { name, family: Family::V4 };
    let mut transaction = Transaction::begin();
    // It can be deleted then in any case.
    table.create(&mut transaction, "");
    table.delete(&mut transaction);
    transaction.commit(socket)
}

/// The same as [`ruleset`] by what the kernel remembers of each connection: it rewrites answers by itself.
fn translation(address: Ipv4Addr, redirects: &[Redirect]) -> Ruleset {
    let mut rules = vec![others()];
    for one in redirects {
        let there = End { address: DESTINATION, port: DESTINATION_PORT };
        let mut rule = at(address, there, one.protocol, one.known);
        rule.extend([
            Expr::Value { value: address.octets().to_vec(), to: Reg(0) },
            Expr::Value { value: one.real.to_be_bytes().to_vec(), to: Reg(1) },
            Expr::Dnat { family: Family::V4, address: Reg(0), port: NatPort::To(Reg(1)) },
        ]);
        rules.push(rule);
    }
    let hook = Some(Hook { kind: "nat", number: OUTPUT, priority: TRANSLATING });
    Ruleset { sets: Vec::new(), chains: vec![Chain { name: "output", hook, rules }] }
}

fn ruleset(address: Ipv4Addr, redirects: &[Redirect]) -> Ruleset {
    let there = End { address: DESTINATION, port: DESTINATION_PORT };
    let back = End { address: SOURCE, port: SOURCE_PORT };
    let (mut questions, mut answers) = (vec![others()], vec![others()]);
    for one in redirects {
        questions.push(rewrite(address, there, *one, (one.known, one.real)));
        answers.push(rewrite(address, back, *one, (one.real, one.known)));
    }
    let chain = |name, (number, priority), rules| {
        let hook = Some(Hook { kind: "filter", number, priority });
        Chain { name, hook, rules }
    };
    let chains = vec![
        chain("answers", (OUTPUT, FIRST), answers),
        chain("questions", (POSTROUTING, LAST), questions),
    ];
    Ruleset { sets: Vec::new(), chains }
}

/// Goes no further with what leaves by another link.
fn others() -> Vec<Expr> {
    let loopback = LOOPBACK_INDEX.to_ne_bytes().to_vec();
    vec![
        Expr::Meta { key: Meta::OutputIndex, to: Reg(0) },
        Expr::Compare { register: Reg(0), is: Is::Different, value: loopback },
        Expr::Verdict(Verdict::Accept),
    ]
}

/// Where one side of a packet is named in it.
#[derive(Clone, Copy)]
struct End {
    address: u32,
    port: u32,
}

/// Goes on with packets of a protocol whose one side is this address and port.
fn at(address: Ipv4Addr, end: End, protocol: u8, port: u16) -> Vec<Expr> {
    let equal =
        |value: &[u8]| Expr::Compare { register: Reg(0), is: Is::Equal, value: value.into() };
    vec![
        Expr::Payload { base: Base::Network, offset: end.address, length: 4, to: Reg(0) },
        equal(&address.octets()),
        Expr::Meta { key: Meta::Transport, to: Reg(0) },
        equal(&[protocol]),
        Expr::Payload { base: Base::Transport, offset: end.port, length: 2, to: Reg(0) },
        equal(&port.to_be_bytes()),
    ]
}

fn rewrite(address: Ipv4Addr, end: End, one: Redirect, (from, to): (u16, u16)) -> Vec<Expr> {
    let mut rule = at(address, end, one.protocol, from);
    rule.extend([
        Expr::Value { value: to.to_be_bytes().to_vec(), to: Reg(0) },
        Expr::Rewrite { offset: end.port, length: 2, from: Reg(0), checksum: one.checksum },
        // The rewritten one is not looked at again.
        Expr::Verdict(Verdict::Accept),
    ]);
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const UDP: Redirect = Redirect { protocol: 17, checksum: 6, known: 53, real: 0x9001 };
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

    fn text(ruleset: &Ruleset) -> String {
        let line = |rule: &Vec<Expr>| {
            rule.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ") + "\n"
        };
        let hook = |chain: &Chain| {
            let hook = chain.hook.unwrap();
            format!("{} at {} {}\n", chain.name, hook.number, hook.priority)
        };
        let told = |chain: &Chain| hook(chain) + &chain.rules.iter().map(line).collect::<String>();
        ruleset.chains.iter().map(told).collect()
    }

    #[test]
    fn where_packets_may_not_be_rewritten_connections_are_translated() {
        let told = text(&translation(ADDRESS, &[UDP]));
        expect![[r#"
            output at 3 -100
            r0 = OutputIndex; r0 != [01, 00, 00, 00]; accept
            r0 = Network[16+4]; r0 = [7f, 00, 00, 0b]; r0 = Transport; r0 = [11]; r0 = Transport[2+2]; r0 = [00, 35]; r0 = [7f, 00, 00, 0b]; r1 = [90, 01]; dnat to r0 : r1
        "#]]
        .assert_eq(&told);
    }

    #[test]
    fn each_port_is_rewritten_both_ways() {
        let text = text(&ruleset(ADDRESS, &[UDP]));
        expect![[r#"
            answers at 3 -310
            r0 = OutputIndex; r0 != [01, 00, 00, 00]; accept
            r0 = Network[12+4]; r0 = [7f, 00, 00, 0b]; r0 = Transport; r0 = [11]; r0 = Transport[0+2]; r0 = [90, 01]; r0 = [00, 35]; Transport[0+2] = r0; accept
            questions at 4 310
            r0 = OutputIndex; r0 != [01, 00, 00, 00]; accept
            r0 = Network[16+4]; r0 = [7f, 00, 00, 0b]; r0 = Transport; r0 = [11]; r0 = Transport[2+2]; r0 = [00, 35]; r0 = [90, 01]; Transport[2+2] = r0; accept
        "#]]
        .assert_eq(&text);
    }
}
