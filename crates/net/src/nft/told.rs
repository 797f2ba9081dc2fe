//! Our chains in words, for whoever wants to know what happens to a packet.

use super::Entry;
use super::ruleset::ruleset;
use crate::address::Family;
use crate::host::Ipv6Loopback;

/// One of our chains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ToldChain {
    /// Its name, the same in the tables of both families.
    pub name: &'static str,
    /// The hook that it is at, and its priority there; `None`: other chains call it.
    pub hook: Option<(&'static str, i32)>,
    /// What it does.
    pub does: &'static str,
}

/// All of them, in the order in which a packet meets them.
#[must_use]
pub fn told_chains(entry: Entry) -> Vec<ToldChain> {
    let ruleset = ruleset(Family::V4, Ipv6Loopback::Published, entry);
    let mut chains: Vec<ToldChain> = ruleset
        .chains
        .iter()
        .map(|chain| ToldChain {
            name: chain.name,
            hook: chain.hook.map(|hook| (hook_name(hook.number), hook.priority)),
            does: does(chain.name),
        })
        .collect();
    chains.sort_by_key(|chain| ORDER.iter().position(|(name, _)| *name == chain.name));
    chains
}

const ORDER: [(&str, &str); 11] = [
    ("guard", "drops what comes from outside for loopback addresses"),
    ("prerouting", "hands what comes for an address of the host to publish"),
    ("output", "the same for what the host itself sends"),
    ("publish", "leads published ports to their containers"),
    ("admit", "asks remember about who got past the host's own rules to a published port"),
    (
        "remember",
        "lets in who tries again within some time, unless too many come from one sender or one place; the first packet is dropped",
    ),
    (
        "forward",
        "asks to_bridge about what goes to a container; drops what leaves an internal network",
    ),
    (
        "to_bridge",
        "lets in answers, neighbours on the same network, what is published, and what a network lets in to its \
         containers' own addresses; drops everything else",
    ),
    (
        "trusted",
        "lets in to published ports at the containers' own addresses who comes by a trusted link",
    ),
    (
        "postrouting",
        "gives what leaves a network the host's address, or the one that is asked for; asks hairpin about the rest",
    ),
    ("hairpin", "gives the host's address to senders that a container could not answer otherwise"),
];

fn does(chain: &str) -> &'static str {
    ORDER.iter().find(|(name, _)| *name == chain).map_or("", |(_, does)| does)
}

/// Of `linux/netfilter.h`.
const fn hook_name(number: u32) -> &'static str {
    match number {
        0 => "prerouting",
        1 => "input",
        2 => "forward",
        3 => "output",
        _ => "postrouting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_is_told_of() {
        let chains = told_chains(Entry::Admitted);
        assert_eq!(chains.len(), ORDER.len());
        for (chain, (name, does)) in chains.iter().zip(ORDER) {
            assert_eq!((chain.name, chain.does), (name, does));
        }
        assert_eq!(chains[0].hook, Some(("prerouting", -300)));
        assert_eq!(chains[3].hook, None);
        assert_eq!(told_chains(Entry::Direct).len() + 2, chains.len());
    }
}
