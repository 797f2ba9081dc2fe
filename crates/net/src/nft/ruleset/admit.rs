//! The rules by which the host's own decide who comes in to published ports.

use super::{
    Chain, DNAT_ANY, DNAT_IP, End, Form, Hook, LOOPBACK_INDEX, MOVED_ANY, MOVED_IP, PORT, PROTOCOL,
    RANGES_ANY, RANGES_IP, Ruleset, SHARED, STATE_NEW, Set, Type, address_place, address_registers,
    compare_u32, from_bridge, from_link_local, load_address, load_port, local_to_publish, map,
    mask_u32,
};
use crate::address::Family;
use crate::nft::expr::{Base, Ct, Expr, Is, Meta, Reg, Verdict};

/// `(sender, address, protocol, port)` that the host's own rules have let in.
const ADMITTED: &str = "admitted";
/// Those that were let in, each by itself.
const CALLERS: &str = "callers";
/// Where those are that were let in, as far as neighbours have addresses in common.
const SENDERS: &str = "senders";
/// The same of what one provider gives a customer that has many of these places.
const SITES: &str = "sites";
/// For how long they are not asked again: what they forbid then is let in no longer than this. A connection that is
/// there has no need of it.
const ADMISSION: u64 = 30;
/// The same of UDP, whose senders do not try again by themselves: one that sends more often loses one packet.
const ADMISSION_UDP: u64 = 180;
const UDP: u8 = 17;

/// How many are let in of addresses that begin with the same bits.
struct Limit {
    set: &'static str,
    /// How many bits.
    prefix: u8,
    /// In a minute, and at once.
    most: u32,
}

/// The narrowest first: what is refused there is no burden to the others of its place. One machine that asks for
/// hundreds of ports leaves room for its neighbours, and one that has many addresses cannot fill the set. A set of
/// these that is full limits nobody who is not in it: it fills no sooner than what they protect.
fn limits(family: Family) -> Vec<Limit> {
    let limit = |set, prefix, most| Limit { set, prefix, most };
    match family {
        Family::V4 => vec![limit(CALLERS, 32, 200), limit(SENDERS, 24, 600)],
        Family::V6 => {
            vec![limit(CALLERS, 128, 200), limit(SENDERS, 64, 600), limit(SITES, 48, 2400)]
        }
    }
}

/// What comes for a published port from outside goes the way of what comes for the host, up to the end of all
/// that is asked there. Who gets as far is remembered, and let in when it is sent again; here it is dropped, since
/// a packet that has come so far cannot be passed on any more.
pub(super) fn first(rules: &mut Ruleset, family: Family) {
    let address = Type::address(family);
    let key = Type::concat(&[address, address, PROTOCOL, PORT]);
    rules.sets.push(Set { name: ADMITTED, key, data: None, form: Form::Remembered });
    let counted = limits(family).into_iter().map(|limit| limit.set);
    let set = |name| Set { name, key: address, data: None, form: Form::Remembered };
    rules.sets.extend(counted.map(set));
    rules.chains.push(Chain { name: "remember", hook: None, rules: remember(family) });
    for chain in rules.chains.iter_mut().filter(|chain| chain.name == "prerouting") {
        chain.rules = vec![bridge_to_publish(), admitted_to_publish(family)];
    }
    let hook = Some(Hook { kind: "filter", number: 1, priority: 200 });
    rules.chains.push(Chain { name: "admit", hook, rules: admit(family) });
}

/// Containers are no strangers, but who is on a bridge with others may be anybody.
fn bridge_to_publish() -> Vec<Expr> {
    let mut rule = from_bridge().to_vec();
    rule.push(Expr::InSet { register: Reg(0), set: SHARED.into(), is: Is::Different });
    rule.extend(local_to_publish());
    rule
}

fn admitted_to_publish(family: Family) -> Vec<Expr> {
    let jump = local_to_publish();
    let (is_local, jump) = jump.split_at(jump.len() - 1);
    let mut rule = is_local.to_vec();
    rule.extend(load_flow(family));
    rule.push(Expr::InSet { register: Reg(0), set: ADMITTED.into(), is: Is::Equal });
    rule.extend_from_slice(jump);
    rule
}

fn admit(family: Family) -> Vec<Vec<Expr>> {
    let width = address_registers(family);
    let rule = |key: &[Expr], published| {
        let mut rule = vec![
            Expr::Meta { key: Meta::InputIndex, to: Reg(0) },
            compare_u32(Reg(0), Is::Different, LOOPBACK_INDEX),
            Expr::Ct { key: Ct::State, to: Reg(0) },
            mask_u32(Reg(0), STATE_NEW),
            compare_u32(Reg(0), Is::Different, 0),
        ];
        rule.extend_from_slice(key);
        rule.extend([map(published), Expr::Verdict(Verdict::Jump("remember".into()))]);
        rule
    };
    let mut one_address = load_address(family, End::Destination);
    one_address.extend(load_port(width));
    let any_address = load_port(0);
    let mut rules = vec![rule(&one_address, DNAT_IP), rule(&any_address, DNAT_ANY)];
    rules.extend([RANGES_IP, MOVED_IP].map(|set| rule(&one_address, set)));
    rules.extend([RANGES_ANY, MOVED_ANY].map(|set| rule(&any_address, set)));
    if family == Family::V6 {
        rules.insert(0, from_link_local());
    }
    rules
}

/// Puts who has got so far into the set. Where there is no room, who comes is refused by the closed port.
fn remember(family: Family) -> Vec<Vec<Expr>> {
    let too_many = |limit: Limit| {
        let mut rule = load_address(family, End::Source);
        if limit.prefix < family.bits() {
            rule.push(Expr::Mask { register: Reg(0), mask: mask(family, limit.prefix) });
        }
        let over = Expr::Over {
            set: limit.set.into(),
            register: Reg(0),
            // What it has had is not forgotten before what it has got.
            seconds: ADMISSION_UDP,
            rate: limit.most.into(),
            burst: limit.most,
        };
        rule.extend([over, Expr::Verdict(Verdict::Drop)]);
        rule
    };
    let mut rules: Vec<_> = limits(family).into_iter().map(too_many).collect();
    let admitted = |seconds| {
        let mut rule = load_flow(family);
        rule.extend([
            Expr::Remember { set: ADMITTED.into(), register: Reg(0), seconds },
            Expr::Verdict(Verdict::Drop),
        ]);
        rule
    };
    let udp = [
        Expr::Meta { key: Meta::Transport, to: Reg(0) },
        Expr::Compare { register: Reg(0), is: Is::Equal, value: vec![UDP] },
    ];
    let of_udp = [&udp[..], &admitted(ADMISSION_UDP)].concat();
    rules.extend([of_udp, admitted(ADMISSION)]);
    rules
}

/// The first bits of an address.
fn mask(family: Family, prefix: u8) -> Vec<u8> {
    (0..family.bits() / 8).map(|byte| if byte * 8 < prefix { 0xff } else { 0 }).collect()
}

/// Sender, destination, protocol and port.
fn load_flow(family: Family) -> Vec<Expr> {
    let width = address_registers(family);
    let place = |end, to| {
        let (offset, length) = address_place(family, end);
        Expr::Payload { base: Base::Network, offset, length, to }
    };
    let mut flow = vec![place(End::Source, Reg(0)), place(End::Destination, Reg(width))];
    flow.extend(load_port(2 * width));
    flow
}
