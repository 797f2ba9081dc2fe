//! What other programs' firewalls are to containers.

use super::checks::{fine, lack};
use super::{Containers, Finding, Forwarding, Survey, Verdict};

pub(super) fn firewall(survey: &Survey) -> Option<Finding> {
    let about = "firewall";
    match &survey.forwarding {
        Forwarding::NotSeen => None,
        Forwarding::NoFirewall(why) => {
            let cost = "no network but none and host";
            lack(
                (about, Verdict::Limited),
                why.clone(),
                cost,
                "boot a kernel with CONFIG_NF_TABLES and CONFIG_NFT_NAT",
            )
        }
        Forwarding::Seen(chains) => {
            let of = |wanted| {
                let chains = chains.iter().filter(|chain| chain.containers == wanted);
                let names: Vec<&str> = chains.map(|chain| chain.chain.as_str()).collect();
                (!names.is_empty()).then(|| names.join(", "))
            };
            kept(of(Containers::Owned), of(Containers::Respect))
                .or_else(|| survey.legacy_iptables.then(legacy).flatten())
                .or_else(|| match of(Containers::Pass) {
                    Some(chains) => fine(about, format!("beside {chains}: containers pass")),
                    None => fine(about, "nothing drops what is forwarded"),
                })
        }
    }
}

/// Chains that keep containers from everybody.
fn kept(owned: Option<String>, respected: Option<String>) -> Option<Finding> {
    let about = ("firewall", Verdict::Limited);
    let cost = "containers on a bridge reach nobody, and nobody reaches them";
    if let Some(chains) = owned {
        let found =
            format!("{chains} drops what it does not know, and may not be changed by others");
        let mend = "firewall-cmd --permanent --zone=trusted --add-interface=dhow0 && firewall-cmd --reload";
        return lack(about, found, cost, mend);
    }
    let found = format!("{} drops what it does not know (firewall = \"respect\")", respected?);
    let mend = "allow what comes from and goes to dhow0 there: iptables -I FORWARD -i dhow0 -j ACCEPT, and the same \
                with -o; or ufw route allow in on dhow0";
    lack(about, found, cost, mend)
}

fn legacy() -> Option<Finding> {
    let found = "the tables of iptables-legacy are loaded, and may have rules";
    let cost = "what those drop does not reach containers, and cannot be seen or changed from here";
    let mend = "look at iptables-legacy -S FORWARD, and at ip6tables-legacy: where those drop, iptables-legacy -I \
                FORWARD -i dhow0 -j ACCEPT, and the same with -o";
    lack(("firewall", Verdict::Limited), found, cost, mend)
}
