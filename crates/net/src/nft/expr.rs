//! The instructions of nf_tables rules.
//!
//! Owns their bytes, both ways: what is written can be read back from the kernel and compared.
//! Which instructions make a rule is decided in `ruleset`.

mod shown;

use std::borrow::Cow;

use crate::address::Family;
use crate::netlink::{Attribute, Attributes, Writer, network_u32};

const LIST_ELEM: u16 = 1;
pub(super) const EXPR_NAME: u16 = 1;
pub(super) const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
/// The number of the first register of 32 bits; four of them share one of the 128-bit registers,
/// which the kernel names in its lists where it can.
const REGISTER_32: u32 = 8;
const NAT_SOURCE: u32 = 0;
const NAT_DESTINATION: u32 = 1;
/// `NF_NAT_RANGE_PROTO_OFFSET` (kernel 4.18): the new port is as far from the lowest as the old one is from 0.
const NAT_KEEP_DISTANCE: u32 = 1 << 5;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
const LOOKUP_INVERTED: u32 = 1;
const DYNSET_ADD: u32 = 0;
const DYNSET_EXPR: u16 = 7;
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
const LIMIT_FLAGS: u16 = 5;
const LIMIT_OVER: u32 = 1;
/// Seconds.
const MINUTE: u64 = 60;
/// The checksum of the internet protocols is mended with what it covers.
const CHECKSUM_INTERNET: u32 = 1;

/// One of sixteen registers of 32 bits. Longer values take several in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reg(pub(super) u32);

impl Reg {
    const fn number(self) -> u32 {
        REGISTER_32 + self.0
    }

    const fn from_number(number: u32) -> Option<Self> {
        match number {
            1..=4 => Some(Self((number - 1) * 4)),
            REGISTER_32..=23 => Some(Self(number - REGISTER_32)),
            _ => None,
        }
    }
}

/// Which header a payload is counted from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    Network = 1,
    Transport = 2,
}

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meta {
    InputIndex = 4,
    OutputIndex = 5,
    InputName = 6,
    OutputName = 7,
    Transport = 16,
}

/// What is known of a packet's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ct {
    State = 0,
    Status = 2,
}

/// How values are compared, and whether a set must have them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Is {
    Equal,
    Different,
}

/// Which port a rewritten destination has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NatPort {
    /// The one that it had.
    Kept,
    /// This one.
    To(Reg),
    /// One between these, by its distance.
    Between(Reg, Reg),
}

/// What becomes of the packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Drop,
    Accept,
    Return,
    Jump(Cow<'static, str>),
    Goto(Cow<'static, str>),
}

impl Verdict {
    const fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }

    fn chain(&self) -> Option<&str> {
        match self {
            Self::Drop | Self::Accept | Self::Return => None,
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
        }
    }

    fn parse(attributes: Attributes<'_>) -> Option<Self> {
        let code = network_u32(attributes.find(VERDICT_CODE)?.value)?.cast_signed();
        let chain = || Some(Cow::Owned(attributes.find(VERDICT_CHAIN)?.text()?.to_owned()));
        match code {
            0 => Some(Self::Drop),
            1 => Some(Self::Accept),
            -3 => Some(Self::Jump(chain()?)),
            -4 => Some(Self::Goto(chain()?)),
            -5 => Some(Self::Return),
            _ => None,
        }
    }
}

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Expr {
    /// Loads bytes of the packet.
    Payload { base: Base, offset: u32, length: u32, to: Reg },
    /// Loads a value of the rule's own.
    Value { value: Vec<u8>, to: Reg },
    /// Writes bytes of the transport's header, and mends the checksum at `checksum` of it.
    Rewrite { offset: u32, length: u32, from: Reg, checksum: u32 },
    /// Loads what is known of the packet.
    Meta { key: Meta, to: Reg },
    /// Loads what is known of the connection.
    Ct { key: Ct, to: Reg },
    /// Loads the kind of the destination address: local, unicast, …
    DestinationType { to: Reg },
    /// Keeps only the bits of the mask.
    Mask { register: Reg, mask: Vec<u8> },
    /// Goes on if the comparison holds.
    Compare { register: Reg, is: Is, value: Vec<u8> },
    /// Goes on if the set has the value, or has it not.
    InSet { register: Reg, set: Cow<'static, str>, is: Is },
    /// Goes on if the map has the value; loads what it maps to.
    MapTo { register: Reg, map: Cow<'static, str>, to: Reg },
    /// Puts the value into the set, for some seconds; the rule ends here if there is no room.
    Remember { set: Cow<'static, str>, register: Reg, seconds: u64 },
    /// Goes on if a value of the set has come more often than `rate` times a minute, beyond `burst` at once; what is
    /// known of it is forgotten after some seconds. The rule ends here if there is no room.
    Over { set: Cow<'static, str>, register: Reg, seconds: u64, rate: u64, burst: u32 },
    /// Rewrites the destination.
    Dnat { family: Family, address: Reg, port: NatPort },
    /// Rewrites the source.
    Snat { family: Family, address: Reg },
    /// Rewrites the source to the address of the interface that the packet leaves by.
    Masquerade,
    /// Counts packets, as `iptables` wants of each rule.
    Counter,
    /// Ends the rule.
    Verdict(Verdict),
}

impl Expr {
    const fn name(&self) -> &'static str {
        match self {
            Self::Payload { .. } | Self::Rewrite { .. } => "payload",
            Self::Meta { .. } => "meta",
            Self::Ct { .. } => "ct",
            Self::DestinationType { .. } => "fib",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::InSet { .. } | Self::MapTo { .. } => "lookup",
            Self::Remember { .. } | Self::Over { .. } => "dynset",
            Self::Snat { .. } | Self::Dnat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Counter => "counter",
            Self::Value { .. } | Self::Verdict(_) => "immediate",
        }
    }

    /// Writes it as an element of a rule's list.
    pub(super) fn write(&self, w: &mut Writer) {
        w.nest(LIST_ELEM, |w| {
            w.text(EXPR_NAME, self.name());
            w.nest(EXPR_DATA, |w| self.write_data(w));
        });
    }

    fn write_data(&self, w: &mut Writer) {
        match self {
            Self::Payload { base, offset, length, to } => {
                numbers(w, &[to.number(), *base as u32, *offset, *length]);
            }
            Self::Value { value: bytes, to } => {
                numbers(w, &[to.number()]);
                value(w, 2, bytes);
            }
            Self::Rewrite { offset, length, from, checksum } => {
                let values = [Base::Transport as u32, *offset, *length, from.number()];
                let rest = [CHECKSUM_INTERNET, *checksum];
                for (kind, value) in (2..).zip(values.into_iter().chain(rest)) {
                    w.network_u32(kind, value);
                }
            }
            Self::Meta { key, to } => numbers(w, &[to.number(), *key as u32]),
            Self::Ct { key, to } => numbers(w, &[to.number(), *key as u32]),
            Self::DestinationType { to } => {
                numbers(w, &[to.number(), FIB_ADDRESS_TYPE, FIB_DESTINATION]);
            }
            Self::Mask { register, mask } => {
                let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                numbers(w, &[register.number(), register.number(), length]);
                value(w, 4, mask);
                value(w, 5, &vec![0; mask.len()]);
            }
            Self::Compare { register, is, value: to } => {
                numbers(w, &[register.number(), u32::from(*is == Is::Different)]);
                value(w, 3, to);
            }
            Self::InSet { .. } | Self::MapTo { .. } => self.write_lookup(w),
            Self::Remember { set, register, seconds } => {
                w.text(1, set);
                w.network_u32(3, DYNSET_ADD);
                w.network_u32(4, register.number());
                w.bytes(6, &(seconds * 1000).to_be_bytes());
            }
            Self::Over { set, register, seconds, rate, burst } => {
                w.text(1, set);
                w.network_u32(3, DYNSET_ADD);
                w.network_u32(4, register.number());
                w.bytes(6, &(seconds * 1000).to_be_bytes());
                w.nest(DYNSET_EXPR, |w| {
                    w.text(EXPR_NAME, "limit");
                    w.nest(EXPR_DATA, |w| write_limit(w, *rate, *burst));
                });
            }
            Self::Dnat { family, address, port } => {
                numbers(w, &[NAT_DESTINATION, family.number().into(), address.number()]);
                match port {
                    NatPort::Kept => {}
                    NatPort::To(port) => w.network_u32(5, port.number()),
                    NatPort::Between(min, max) => {
                        w.network_u32(5, min.number());
                        w.network_u32(6, max.number());
                        w.network_u32(7, NAT_KEEP_DISTANCE);
                    }
                }
            }
            Self::Snat { family, address } => {
                numbers(w, &[NAT_SOURCE, family.number().into(), address.number()]);
            }
            Self::Masquerade | Self::Counter => {}
            Self::Verdict(verdict) => write_verdict(w, verdict),
        }
    }

    fn write_lookup(&self, w: &mut Writer) {
        match self {
            Self::InSet { register, set, is } => {
                w.text(1, set);
                w.network_u32(2, register.number());
                if *is == Is::Different {
                    w.network_u32(5, LOOKUP_INVERTED);
                }
            }
            Self::MapTo { register, map, to } => {
                w.text(1, map);
                w.network_u32(2, register.number());
                w.network_u32(3, to.number());
            }
            Self::Payload { .. }
            | Self::Value { .. }
            | Self::Rewrite { .. }
            | Self::Meta { .. }
            | Self::Ct { .. }
            | Self::DestinationType { .. }
            | Self::Mask { .. }
            | Self::Compare { .. }
            | Self::Remember { .. }
            | Self::Over { .. }
            | Self::Snat { .. }
            | Self::Dnat { .. }
            | Self::Masquerade
            | Self::Counter
            | Self::Verdict(_) => {}
        }
    }

    /// Reads an element of a rule's list. `None` for what this module never writes.
    pub(super) fn parse(element: Attribute<'_>) -> Option<Self> {
        let name = element.nested().find(EXPR_NAME)?.text()?;
        let data = Data(element.nested().find(EXPR_DATA)?.nested());
        match name {
            "payload" => data.payload(),
            "meta" => data.meta(),
            "ct" => data.ct(),
            "fib" => {
                let wanted = (FIB_ADDRESS_TYPE, FIB_DESTINATION);
                let fits = (data.number(2)?, data.number(3)?) == wanted;
                fits.then_some(Self::DestinationType { to: data.register(1)? })
            }
            "bitwise" => Some(Self::Mask { register: data.register(1)?, mask: data.value(4)? }),
            "cmp" => Some(Self::Compare {
                register: data.register(1)?,
                is: if data.number(2)? == 0 { Is::Equal } else { Is::Different },
                value: data.value(3)?,
            }),
            "lookup" => data.lookup(),
            "dynset" => data.dynset(),
            "nat" => data.nat(),
            "masq" => Some(Self::Masquerade),
            "counter" => Some(Self::Counter),
            "immediate" => match data.0.find_in(2, DATA_VERDICT) {
                Some(verdict) => Verdict::parse(verdict.nested()).map(Self::Verdict),
                None => Some(Self::Value { value: data.value(2)?, to: data.register(1)? }),
            },
            _ => None,
        }
    }
}

/// So many packets a minute; it holds for what is beyond.
fn write_limit(w: &mut Writer, rate: u64, burst: u32) {
    w.bytes(LIMIT_RATE, &rate.to_be_bytes());
    w.bytes(LIMIT_UNIT, &MINUTE.to_be_bytes());
    w.network_u32(LIMIT_BURST, burst);
    w.network_u32(LIMIT_TYPE, 0);
    w.network_u32(LIMIT_FLAGS, LIMIT_OVER);
}

/// Numbers as attributes 1, 2, 3, …
fn numbers(w: &mut Writer, values: &[u32]) {
    for (kind, value) in (1..).zip(values) {
        w.network_u32(kind, *value);
    }
}

fn value(w: &mut Writer, kind: u16, bytes: &[u8]) {
    w.nest(kind, |w| w.bytes(DATA_VALUE, bytes));
}

fn write_verdict(w: &mut Writer, verdict: &Verdict) {
    w.network_u32(1, 0);
    w.nest(2, |w| {
        w.nest(DATA_VERDICT, |w| {
            w.network_u32(VERDICT_CODE, verdict.code().cast_unsigned());
            if let Some(chain) = verdict.chain() {
                w.text(VERDICT_CHAIN, chain);
            }
        });
    });
}

/// The attributes of an instruction.
#[derive(Clone, Copy)]
struct Data<'a>(Attributes<'a>);

impl Data<'_> {
    fn number(self, kind: u16) -> Option<u32> {
        network_u32(self.0.find(kind)?.value)
    }

    fn register(self, kind: u16) -> Option<Reg> {
        Reg::from_number(self.number(kind)?)
    }

    fn value(self, kind: u16) -> Option<Vec<u8>> {
        Some(self.0.find_in(kind, DATA_VALUE)?.value.to_vec())
    }

    fn name(self) -> Option<Cow<'static, str>> {
        Some(Cow::Owned(self.0.find(1)?.text()?.to_owned()))
    }

    fn payload(self) -> Option<Expr> {
        let base = match self.number(2)? {
            1 => Base::Network,
            2 => Base::Transport,
            _ => return None,
        };
        let (offset, length) = (self.number(3)?, self.number(4)?);
        if let Some(from) = self.register(5) {
            let is_ours = base == Base::Transport && self.number(6)? == CHECKSUM_INTERNET;
            let checksum = self.number(7)?;
            return is_ours.then_some(Expr::Rewrite { offset, length, from, checksum });
        }
        Some(Expr::Payload { base, offset, length, to: self.register(1)? })
    }

    fn meta(self) -> Option<Expr> {
        let keys = [
            Meta::InputIndex,
            Meta::OutputIndex,
            Meta::InputName,
            Meta::OutputName,
            Meta::Transport,
        ];
        let number = self.number(2)?;
        let key = keys.into_iter().find(|key| *key as u32 == number)?;
        Some(Expr::Meta { key, to: self.register(1)? })
    }

    fn ct(self) -> Option<Expr> {
        let number = self.number(2)?;
        let key = [Ct::State, Ct::Status].into_iter().find(|key| *key as u32 == number)?;
        Some(Expr::Ct { key, to: self.register(1)? })
    }

    fn lookup(self) -> Option<Expr> {
        let register = self.register(2)?;
        if let Some(to) = self.register(3) {
            return Some(Expr::MapTo { register, map: self.name()?, to });
        }
        let inverted = self.number(5).unwrap_or(0) & LOOKUP_INVERTED != 0;
        let is = if inverted { Is::Different } else { Is::Equal };
        Some(Expr::InSet { register, set: self.name()?, is })
    }

    fn dynset(self) -> Option<Expr> {
        if self.number(3)? != DYNSET_ADD {
            return None;
        }
        let milliseconds = u64::from_be_bytes(*self.0.find(6)?.value.first_chunk()?);
        let (set, register) = (self.name()?, self.register(4)?);
        let seconds = milliseconds / 1000;
        let Some(expr) = self.0.find(DYNSET_EXPR) else {
            return Some(Expr::Remember { set, register, seconds });
        };
        let expr = expr.nested();
        let limit = Data(expr.find(EXPR_DATA)?.nested());
        let number = |kind| Some(u64::from_be_bytes(*limit.0.find(kind)?.value.first_chunk()?));
        let is_ours = expr.find(EXPR_NAME)?.text()? == "limit"
            && number(LIMIT_UNIT)? == MINUTE
            && limit.number(LIMIT_FLAGS)? == LIMIT_OVER;
        let (rate, burst) = (number(LIMIT_RATE)?, limit.number(LIMIT_BURST)?);
        is_ours.then_some(Expr::Over { set, register, seconds, rate, burst })
    }

    fn nat(self) -> Option<Expr> {
        let number = self.number(2)?;
        let mut families = [Family::V4, Family::V6].into_iter();
        let family = families.find(|family| u32::from(family.number()) == number)?;
        match self.number(1)? {
            NAT_SOURCE => return Some(Expr::Snat { family, address: self.register(3)? }),
            NAT_DESTINATION => {}
            _ => return None,
        }
        let keeps_distance = self.number(7).unwrap_or(0) & NAT_KEEP_DISTANCE != 0;
        let port = match (self.register(5), self.register(6)) {
            (None, _) => NatPort::Kept,
            (Some(min), Some(max)) if keeps_distance => NatPort::Between(min, max),
            (Some(port), _) => NatPort::To(port),
        };
        Some(Expr::Dnat { family, address: self.register(3)?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is what is read, for each instruction.
    #[test]
    fn instructions_survive_their_bytes() {
        let (r0, r1) = (Reg(0), Reg(9));
        let all = [
            Expr::Payload { base: Base::Network, offset: 16, length: 4, to: r0 },
            Expr::Payload { base: Base::Transport, offset: 2, length: 2, to: r1 },
            Expr::Value { value: vec![0, 53], to: r1 },
            Expr::Rewrite { offset: 2, length: 2, from: r1, checksum: 16 },
            Expr::Meta { key: Meta::OutputName, to: r0 },
            Expr::Meta { key: Meta::OutputIndex, to: r0 },
            Expr::Ct { key: Ct::Status, to: r0 },
            Expr::DestinationType { to: r0 },
            Expr::Mask { register: r0, mask: vec![0xff, 0] },
            Expr::Compare { register: r0, is: Is::Different, value: vec![1] },
            Expr::InSet { register: r0, set: "open".into(), is: Is::Different },
            Expr::MapTo { register: r0, map: "dnat_any".into(), to: r0 },
            Expr::Remember { set: "admitted".into(), register: r1, seconds: 600 },
            Expr::Over { set: "senders".into(), register: r1, seconds: 30, rate: 600, burst: 5 },
            Expr::Dnat { family: Family::V6, address: r0, port: NatPort::To(r1) },
            Expr::Dnat { family: Family::V4, address: r0, port: NatPort::Kept },
            Expr::Dnat { family: Family::V4, address: r0, port: NatPort::Between(r0, r1) },
            Expr::Snat { family: Family::V6, address: r1 },
            Expr::Masquerade,
            Expr::Counter,
            Expr::Verdict(Verdict::Goto("publish".into())),
            Expr::Verdict(Verdict::Drop),
        ];
        for expr in all {
            let mut writer = Writer::default();
            expr.write(&mut writer);
            let bytes = writer.finish().unwrap();
            let element = Attributes::after(&bytes, 0).find(LIST_ELEM).unwrap();
            assert_eq!(Expr::parse(element), Some(expr));
        }
    }

    #[test]
    fn a_comparison_has_the_bytes_of_the_kernel() {
        let mut writer = Writer::default();
        Expr::Compare { register: Reg(0), is: Is::Equal, value: vec![127] }.write(&mut writer);
        let expected: [&[u8]; 7] = [
            &[44, 0, 1, 0x80],
            &[8, 0, 1, 0, b'c', b'm', b'p', 0],
            &[32, 0, 2, 0x80],
            &[8, 0, 1, 0, 0, 0, 0, 8],
            &[8, 0, 2, 0, 0, 0, 0, 0],
            &[12, 0, 3, 0x80],
            &[5, 0, 1, 0, 127, 0, 0, 0],
        ];
        assert_eq!(writer.finish().unwrap(), expected.concat());
    }
}
