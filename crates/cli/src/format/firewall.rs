//! `network firewall` and `port audit`.

use crate::table::{Layout, align};
use docker_api::types::firewall::{Firewall, OpenNetwork, OpenPort, OtherChain, OwnChain};

/// Everything, in parts with a heading each.
pub(crate) fn everything(firewall: &Firewall) -> String {
    let mut parts = vec![rules(firewall)];
    parts.push(heading("Published ports", &ports(&firewall.ports)));
    parts.push(heading("Networks", &networks(&firewall.networks)));
    parts.push(heading("Chains of others", &others(firewall)));
    if !firewall.table.is_empty() {
        parts.push(heading("Chains of dhow", &own(&firewall.chains)));
    }
    parts.join("\n")
}

fn heading(text: &str, part: &str) -> String {
    format!("{text}:\n{part}")
}

fn rules(firewall: &Firewall) -> String {
    let tables = match (firewall.table.as_str(), firewall.intact) {
        ("", _) => {
            "none: ports of an ordinary user's containers are sockets of a program".to_owned()
        }
        (table, true) => format!("ip {table}, ip6 {table}"),
        (table, false) => {
            format!("ip {table}, ip6 {table}: not whole, the next start of a container builds them")
        }
    };
    let means = match firewall.host_rules.as_str() {
        "respect" => "what the host's own rules refuse does not reach a published port",
        _ => "the host's own rules (hook input) are not asked about published ports",
    };
    format!("Tables:      {tables}\nHost rules:  {} ({means})\n", firewall.host_rules)
}

/// The published ports.
pub(crate) fn ports(ports: &[OpenPort]) -> String {
    if ports.is_empty() {
        return "  none\n".to_owned();
    }
    let mut table = "PUBLISHED\tCONTAINER\tTO\tREACHED BY\tAT\tOTHER FIREWALLS\n".to_owned();
    for port in ports {
        let container =
            if port.container.is_empty() { &port.container_id } else { &port.container };
        let cells = [
            format!("{}/{}", socket(&port.host_ip, port.host_port, port.count), port.protocol),
            container.clone(),
            socket(&port.container_ip, port.container_port, port.count),
            reached_by(port).to_owned(),
            places(port),
            asked(port),
        ];
        table.push_str(&cells.join("\t"));
        table.push('\n');
    }
    align(&table, Layout::LIST)
}

fn socket(ip: &str, port: u16, count: u16) -> String {
    let ports = match count {
        0 | 1 => port.to_string(),
        count => format!("{port}-{}", port.saturating_add(count - 1)),
    };
    if ip.contains(':') { format!("[{ip}]:{ports}") } else { format!("{ip}:{ports}") }
}

fn reached_by(port: &OpenPort) -> &'static str {
    match port.reach.as_str() {
        "host" => "this host",
        "neighbours" => "its neighbours",
        _ => "anyone",
    }
}

fn places(port: &OpenPort) -> String {
    if port.at.is_empty() {
        return "no address of this host".to_owned();
    }
    let at: Vec<String> = port.at.iter().map(|at| format!("{} ({})", at.ip, at.link)).collect();
    at.join(", ")
}

/// What others' rules are to it.
fn asked(port: &OpenPort) -> String {
    let says = |word: &str, chains: &[String]| {
        (!chains.is_empty()).then(|| format!("{word} {}", chains.join(", ")))
    };
    let said: Vec<String> =
        says("past", &port.bypasses).into_iter().chain(says("asks", &port.asks)).collect();
    if said.is_empty() { "none".to_owned() } else { said.join("; ") }
}

fn networks(networks: &[OpenNetwork]) -> String {
    if networks.is_empty() {
        return "  none\n".to_owned();
    }
    let mut table = "NAME\tBRIDGE\tSUBNETS\tOUT\tBETWEEN ITS CONTAINERS\n".to_owned();
    for network in networks {
        let out = match (network.internal, network.masqueraded) {
            (true, _) => "nothing",
            (false, true) => "as the host",
            (false, false) => "as itself",
        };
        let between = if network.isolated { "nothing" } else { "all" };
        let subnets = network.subnets.join(", ");
        let cells = [&network.name, &network.bridge, &subnets, out, between];
        table.push_str(&cells.map(str::to_owned).join("\t"));
        table.push('\n');
    }
    align(&table, Layout::LIST)
}

fn others(firewall: &Firewall) -> String {
    let mut said = if firewall.other_chains.is_empty() {
        "  none\n".to_owned()
    } else {
        let mut table = "CHAIN\tHOOK\tPRIORITY\tWHAT IT DOES NOT KNOW\n".to_owned();
        firewall.other_chains.iter().for_each(|chain| table.push_str(&other(chain)));
        align(&table, Layout::LIST)
    };
    if firewall.legacy_tables {
        said.push_str(
            "Rules of iptables-legacy may be there as well, which are neither seen nor changed: iptables-legacy -S; \
             ip6tables-legacy -S\n",
        );
    }
    said
}

fn other(chain: &OtherChain) -> String {
    let does = match (chain.refuses, chain.owned, chain.passing.as_slice()) {
        (false, ..) => "passes".to_owned(),
        (true, true, _) if chain.hook == "forward" => {
            "refused, and only the program that made it may change that".to_owned()
        }
        (true, _, []) => "refused".to_owned(),
        (true, _, bridges) => format!("refused, but for {}", bridges.join(", ")),
    };
    format!("{}\t{}\t{}\t{does}\n", chain.chain, chain.hook, chain.priority)
}

fn own(chains: &[OwnChain]) -> String {
    let mut table = "CHAIN\tHOOK\tPRIORITY\tWHAT IT DOES\n".to_owned();
    for chain in chains {
        let (hook, priority) = match chain.hook.as_str() {
            "" => ("-", "-".to_owned()),
            hook => (hook, chain.priority.to_string()),
        };
        table.push_str(&format!("{}\t{hook}\t{priority}\t{}\n", chain.name, chain.does));
    }
    align(&table, Layout::LIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use docker_api::types::firewall::Place;
    use expect_test::expect;

    fn port(host_ip: &str, reach: &str, bypasses: &[&str], asks: &[&str]) -> OpenPort {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        OpenPort {
            container_id: "ab".repeat(32),
            container: "web".to_owned(),
            protocol: "tcp".to_owned(),
            host_ip: host_ip.to_owned(),
            host_port: 8080,
            container_ip: "172.17.0.2".to_owned(),
            container_port: 80,
            count: 1,
            reach: reach.to_owned(),
            at: vec![Place { link: "eth0".to_owned(), ip: "192.0.2.1".to_owned() }],
            bypasses: list(bypasses),
            asks: list(asks),
        }
    }

    #[test]
    fn what_is_open_is_told() {
        let network = |name: &str, internal, masqueraded| OpenNetwork {
            name: name.to_owned(),
            bridge: "br".to_owned(),
            subnets: vec!["10.0.0.0/24".to_owned(), "fd00::/64".to_owned()],
            internal,
            isolated: internal,
            masqueraded,
        };
        let chain = |chain: &str, hook: &str, refuses| OtherChain {
            chain: chain.to_owned(),
            hook: hook.to_owned(),
            priority: 0,
            refuses,
            passing: Vec::new(),
            owned: false,
        };
        let both = vec!["in".to_owned(), "out".to_owned()];
        let own = |name: &str, hook: &str| OwnChain {
            name: name.to_owned(),
            hook: hook.to_owned(),
            priority: -100,
            does: "this".to_owned(),
        };
        let firewall = Firewall {
            host_rules: "bypass".to_owned(),
            table: "dhow".to_owned(),
            intact: true,
            ports: vec![
                port("0.0.0.0", "anyone", &["ip filter INPUT"], &["ip filter FORWARD"]),
                OpenPort { at: Vec::new(), count: 100, ..port("::1", "host", &[], &[]) },
            ],
            networks: vec![network("in", true, false), network("out", false, true)],
            other_chains: vec![
                chain("ip filter INPUT", "input", true),
                chain("ip filter FORWARD", "forward", false),
                OtherChain { passing: both, ..chain("ip6 filter FORWARD", "forward", true) },
                OtherChain { owned: true, ..chain("inet firewalld f", "forward", true) },
            ],
            legacy_tables: true,
            chains: vec![own("prerouting", "prerouting"), own("publish", "")],
        };
        expect![[r#"
            Tables:      ip dhow, ip6 dhow
            Host rules:  bypass (the host's own rules (hook input) are not asked about published ports)

            Published ports:
            PUBLISHED             CONTAINER   TO                  REACHED BY   AT                        OTHER FIREWALLS
            0.0.0.0:8080/tcp      web         172.17.0.2:80       anyone       192.0.2.1 (eth0)          past ip filter INPUT; asks ip filter FORWARD
            [::1]:8080-8179/tcp   web         172.17.0.2:80-179   this host    no address of this host   none

            Networks:
            NAME      BRIDGE    SUBNETS                  OUT           BETWEEN ITS CONTAINERS
            in        br        10.0.0.0/24, fd00::/64   nothing       nothing
            out       br        10.0.0.0/24, fd00::/64   as the host   all

            Chains of others:
            CHAIN                HOOK      PRIORITY   WHAT IT DOES NOT KNOW
            ip filter INPUT      input     0          refused
            ip filter FORWARD    forward   0          passes
            ip6 filter FORWARD   forward   0          refused, but for in, out
            inet firewalld f     forward   0          refused, and only the program that made it may change that
            Rules of iptables-legacy may be there as well, which are neither seen nor changed: iptables-legacy -S; ip6tables-legacy -S

            Chains of dhow:
            CHAIN        HOOK         PRIORITY   WHAT IT DOES
            prerouting   prerouting   -100       this
            publish      -            -          this
        "#]]
        .assert_eq(&everything(&firewall));
    }

    #[test]
    fn an_ordinary_user_has_no_tables() {
        let user = Firewall { host_rules: "bypass".to_owned(), ..Firewall::default() };
        expect![[r#"
            Tables:      none: ports of an ordinary user's containers are sockets of a program
            Host rules:  bypass (the host's own rules (hook input) are not asked about published ports)

            Published ports:
              none

            Networks:
              none

            Chains of others:
              none
        "#]]
        .assert_eq(&everything(&user));
    }
}
