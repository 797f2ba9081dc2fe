//! Instructions in words, for the snapshots of tests and for whoever looks at a rule.

use std::fmt;

use super::{Expr, Is, NatPort, Reg, Verdict};

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Accept => f.write_str("accept"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |is: &Is| if *is == Is::Equal { "=" } else { "!=" };
        match self {
            Self::Payload { base, offset, length, to } => {
                write!(f, "{to} = {base:?}[{offset}+{length}]")
            }
            Self::Value { value, to } => write!(f, "{to} = {value:02x?}"),
            Self::Rewrite { offset, length, from, .. } => {
                write!(f, "Transport[{offset}+{length}] = {from}")
            }
            Self::Meta { key, to } => write!(f, "{to} = {key:?}"),
            Self::Ct { key, to } => write!(f, "{to} = ct {key:?}"),
            Self::DestinationType { to } => write!(f, "{to} = type of destination"),
            Self::Mask { register, mask } => write!(f, "{register} &= {mask:02x?}"),
            Self::Compare { register, is, value } => {
                write!(f, "{register} {} {value:02x?}", sign(is))
            }
            Self::InSet { register, set, is } => write!(f, "{register} {} @{set}", sign(is)),
            Self::MapTo { register, map, to } => write!(f, "{to} = @{map}[{register}]"),
            Self::Remember { set, register, seconds } => {
                write!(f, "add {register} to @{set} for {seconds} s")
            }
            Self::Over { set, register, rate, burst, .. } => {
                write!(
                    f,
                    "{register} is in @{set} more than {rate} times a minute, {burst} at once"
                )
            }
            Self::Dnat { address, port: NatPort::Kept, .. } => write!(f, "dnat to {address}"),
            Self::Dnat { address, port: NatPort::To(port), .. } => {
                write!(f, "dnat to {address} : {port}")
            }
            Self::Dnat { address, port: NatPort::Between(min, max), .. } => {
                write!(f, "dnat to {address} : {min} + port, up to {max}")
            }
            Self::Snat { address, .. } => write!(f, "snat to {address}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Counter => f.write_str("count"),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}
