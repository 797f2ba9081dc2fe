//! Two ports of one address of a namespace become one: what is sent to the port that everybody knows arrives at
//! another one, and what comes back seems to come from the former.
//!
//! The ports are rewritten in the packets as they leave, without the kernel keeping track of connections: a
//! namespace in which something is translated has every packet of it looked up. Packets of other links than the
//! loopback's meet one rule of one comparison.

use std::net::Ipv4Addr;

use super::expr::{Base, Expr, Is, Meta, Reg, Verdict};
use super::message::Transaction;
use super::ruleset::{Chain, Hook, Ruleset};
use super::table::Table;
use crate::address::Family;
use crate::netlink::{NetlinkError, Socket};

const LOOPBACK_INDEX: u32 = 1;
const OUTPUT: u32 = 3;
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
    let mut transaction = Transaction::begin();
    table.create(&mut transaction, "");
    table.fill(&mut transaction, &ruleset(address, redirects));
    transaction.commit(socket)
}

fn ruleset(address: Ipv4Addr, redirects: &[Redirect]) -> Ruleset {
    let mut rules = vec![others()];
    for one in redirects {
        let there = End { address: DESTINATION, port: DESTINATION_PORT };
        rules.push(rewrite(address, there, *one, (one.known, one.real)));
        let back = End { address: SOURCE, port: SOURCE_PORT };
        rules.push(rewrite(address, back, *one, (one.real, one.known)));
    }
    let hook = Some(Hook { kind: "filter", number: OUTPUT, priority: 0 });
    Ruleset { sets: Vec::new(), chains: vec![Chain { name: "output", hook, rules }] }
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

fn rewrite(address: Ipv4Addr, end: End, one: Redirect, (from, to): (u16, u16)) -> Vec<Expr> {
    let equal =
        |value: &[u8]| Expr::Compare { register: Reg(0), is: Is::Equal, value: value.into() };
    vec![
        Expr::Payload { base: Base::Network, offset: end.address, length: 4, to: Reg(0) },
        equal(&address.octets()),
        Expr::Meta { key: Meta::Transport, to: Reg(0) },
        equal(&[one.protocol]),
        Expr::Payload { base: Base::Transport, offset: end.port, length: 2, to: Reg(0) },
        equal(&from.to_be_bytes()),
        Expr::Value { value: to.to_be_bytes().to_vec(), to: Reg(0) },
        Expr::Rewrite { offset: end.port, length: 2, from: Reg(0), checksum: one.checksum },
        // The rewritten one is not looked at again.
        Expr::Verdict(Verdict::Accept),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn each_port_is_rewritten_both_ways() {
        let udp = Redirect { protocol: 17, checksum: 6, known: 53, real: 0x9001 };
        let rules = ruleset(Ipv4Addr::new(127, 0, 0, 11), &[udp]);
        let line = |rule: &Vec<Expr>| {
            rule.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ") + "\n"
        };
        let text: String = rules.chains[0].rules.iter().map(line).collect();
        expect![[r#"
            r0 = OutputIndex; r0 != [01, 00, 00, 00]; accept
            r0 = Network[16+4]; r0 = [7f, 00, 00, 0b]; r0 = Transport; r0 = [11]; r0 = Transport[2+2]; r0 = [00, 35]; r0 = [90, 01]; Transport[2+2] = r0; accept
            r0 = Network[12+4]; r0 = [7f, 00, 00, 0b]; r0 = Transport; r0 = [11]; r0 = Transport[0+2]; r0 = [90, 01]; r0 = [00, 35]; Transport[0+2] = r0; accept
        "#]]
        .assert_eq(&text);
    }
}
