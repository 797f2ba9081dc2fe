//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container: their text.
//!
//! Pure. Names come checked from the doors (no line breaks), so a line stays a line.

use std::fmt::Write as _;
use std::net::IpAddr;

use model::container::NetworkSpec;
use net::dns::HOST_NAMES;

use crate::record::Endpoint;

/// Servers that are asked when the host names none that a container can reach (Docker).
const FALLBACK_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// The word in `--add-host` that stands for the host's own address on the bridge.
const HOST_GATEWAY: &str = "host-gateway";

/// The text of `/etc/hosts`.
pub(crate) fn hosts(hostname: &str, network: &NetworkSpec, endpoint: Option<&Endpoint>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for entry in &network.extra_hosts {
        if let Some((name, address)) = entry.split_once([':', '=']) {
            for address in host_addresses(address, endpoint) {
                let _ = writeln!(text, "{address}\t{name}");
            }
        }
    }
    let places = endpoint.into_iter().flat_map(Endpoint::all);
    for line in own_lines(hostname, network, places) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The same with the host in it, for a container that nobody answers.
pub(crate) fn and_host(text: String, network: &NetworkSpec, endpoint: Option<&Endpoint>) -> String {
    let named = |name: &str| network.extra_hosts.iter().any(|entry| names_of(entry) == Some(name));
    let names: Vec<&str> = HOST_NAMES.into_iter().filter(|name| !named(name)).collect();
    let addresses =
        host_addresses(HOST_GATEWAY, endpoint).into_iter().filter(|_| !names.is_empty());
    addresses.fold(text, |text, address| format!("{text}{address}\t{}\n", names.join(" ")))
}

/// The host's own file with the host in it.
pub(crate) fn with_host(text: String) -> String {
    let missing = |name: &&str| !text.split_whitespace().any(|word| word == *name);
    let names: Vec<&str> = HOST_NAMES.into_iter().filter(missing).collect();
    if names.is_empty() {
        return text;
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}127.0.0.1\t{}\n", names.join(" "))
}

fn names_of(entry: &str) -> Option<&str> {
    entry.split_once([':', '=']).map(|(name, _)| name)
}

/// The lines that name the container itself, on each of its networks.
pub(crate) fn own_lines<'e>(
    hostname: &str,
    network: &NetworkSpec,
    places: impl Iterator<Item = &'e Endpoint>,
) -> Vec<String> {
    let names = own_names(hostname, network.domainname.as_deref().unwrap_or_default());
    let addresses = places
        .flat_map(|place| place.v4().map(IpAddr::V4).into_iter().chain(place.ipv6.map(IpAddr::V6)));
    addresses.map(|address| format!("{address}\t{names}")).collect()
}

/// A text without the lines that are old and with those that are new; what stays keeps its place.
/// It may be anything by now: the container writes it as well.
pub(crate) fn exchanged(text: &[u8], old: &[String], new: &[String]) -> Vec<u8> {
    let has = |lines: &[String], line: &[u8]| lines.iter().any(|one| one.as_bytes() == line);
    let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
    let stays = |line: &&[u8]| !has(old, line) || has(new, line);
    let mut kept: Vec<&[u8]> = lines.filter(|_| !text.is_empty()).filter(stays).collect();
    let there = kept.clone();
    kept.extend(new.iter().map(String::as_bytes).filter(|line| !there.contains(line)));
    kept.into_iter().flat_map(|line| [line, b"\n"]).flatten().copied().collect()
}

/// The full name and the bare one, whether the user gave the domain in the host name or beside it.
fn own_names(hostname: &str, domain: &str) -> String {
    let dot = if domain.is_empty() { "" } else { "." };
    let full = format!("{hostname}{dot}{domain}");
    match full.split_once('.') {
        Some((bare, _)) => format!("{full} {bare}"),
        None => full,
    }
}

fn host_addresses(address: &str, endpoint: Option<&Endpoint>) -> Vec<String> {
    if address != HOST_GATEWAY {
        return vec![address.trim_matches(['[', ']']).to_owned()];
    }
    let Some(endpoint) = endpoint else { return vec!["127.0.0.1".to_owned()] };
    if endpoint.is_on_parent() {
        return Vec::new();
    }
    // A network that nothing leads out of may have no host in it.
    let host4 = Some(endpoint.host4.unwrap_or(endpoint.gateway4)).filter(|ip| !ip.is_unspecified());
    let host4 = host4.map(|address| address.to_string());
    // Who reaches it elsewhere than at the gateway does so by IPv4.
    let gateway6 = endpoint.gateway6.filter(|_| endpoint.host4.is_none());
    host4.into_iter().chain(gateway6.map(|gateway| gateway.to_string())).collect()
}

/// Whether a container shares the host's loopback, so that its resolver is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loopback {
    /// `--network host`
    Hosts,
    /// A namespace of its own.
    Own,
    /// The same, where the container's guardian answers.
    Named,
    /// The same, of an ordinary user, with a resolver of its own for servers that only the host reaches.
    Users,
}

/// The text of `/etc/resolv.conf`: the host's, without servers that the container cannot reach,
/// and with what the user gave in place of the host's.
pub(crate) fn resolv_conf(host: &str, network: &NetworkSpec, loopback: Loopback) -> String {
    let host = HostResolver::parse(host);
    let mut servers: Vec<String> = if loopback == Loopback::Named {
        vec![net::dns::ADDRESS.to_string()]
    } else if network.dns.is_empty() {
        let reachable = |server: &&str| loopback == Loopback::Hosts || !is_loopback(server);
        host.servers
            .iter()
            .filter(|server| reachable(server))
            .map(|server| (*server).to_owned())
            .collect()
    } else {
        network.dns.iter().map(ToString::to_string).collect()
    };
    if servers.is_empty() {
        servers = match loopback {
            Loopback::Users => vec![net::user::RESOLVER.to_string()],
            Loopback::Own | Loopback::Named | Loopback::Hosts => {
                FALLBACK_SERVERS.map(str::to_owned).to_vec()
            }
        };
    }
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    let search = chosen(&network.dns_search, &host.search);
    // `--dns-search .` is Docker's way to say: none.
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    let mut options = chosen(&network.dns_options, &host.options);
    // Names of containers are looked for as they are before a domain is put behind them (Docker).
    if loopback == Loopback::Named && ndots(&options).is_none() {
        options.push("ndots:0");
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// Whether names of one label that are no container's are not asked for elsewhere: somebody has said that a
/// domain goes behind them (Docker).
pub(crate) fn refuses_bare(host: &str, network: &NetworkSpec) -> bool {
    let host = HostResolver::parse(host);
    ndots(&chosen(&network.dns_options, &host.options)).is_some_and(|dots| dots > 0)
}

/// How many dots a name has to have so that it is asked for as it is, if that is said.
fn ndots(options: &[&str]) -> Option<u32> {
    options.iter().find_map(|option| option.strip_prefix("ndots:")?.parse().ok())
}

fn chosen<'a>(given: &'a [String], host: &[&'a str]) -> Vec<&'a str> {
    if given.is_empty() { host.to_vec() } else { given.iter().map(String::as_str).collect() }
}

fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or(server);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a resolv.conf(5) says.
struct HostResolver<'a> {
    servers: Vec<&'a str>,
    search: Vec<&'a str>,
    options: Vec<&'a str>,
}

impl<'a> HostResolver<'a> {
    fn parse(text: &'a str) -> Self {
        let mut resolver = Self { servers: Vec::new(), search: Vec::new(), options: Vec::new() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.servers.extend(words.next()),
                // The last line wins (resolv.conf(5)).
                Some("search" | "domain") => resolver.search = words.collect(),
                Some("options") => resolver.options.extend(words),
                Some(_) | None => {}
            }
        }
        resolver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::container::NetworkMode;

    fn network() -> NetworkSpec {
        NetworkSpec {
            mode: NetworkMode::Bridge,
            hostname: None,
            domainname: None,
            exposed: Vec::new(),
            published: Vec::new(),
            publish_all: false,
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            extra_hosts: Vec::new(),
            mac_address: None,
            attachments: Vec::new(),
            membership: model::container::Membership::Kept,
        }
    }

    fn endpoint() -> Endpoint {
        Endpoint {
            ipv4: "172.17.0.2".parse().unwrap(),
            ipv4_prefix: 16,
            gateway4: "172.17.0.1".parse().unwrap(),
            ipv6: None,
            ipv6_prefix: 64,
            gateway6: None,
            mac: [2, 0, 0, 0, 0, 1],
            host4: None,
            ports: Vec::new(),
            network: None,
            links: None,
            priority: 0,
            out: crate::record::Out::Gateway,
            beside: Vec::new(),
        }
    }

    #[test]
    fn own_lines_change_and_no_others() {
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tme\n10.9.9.9\tmine\n";
        let lines = |text: &[&str]| text.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let old = lines(&["10.0.0.2\tme"]);
        let both = lines(&["10.0.0.2\tme", "10.1.0.2\tme"]);
        let exchanged = |text: &str, old: &[String], new: &[String]| {
            String::from_utf8(super::exchanged(text.as_bytes(), old, new)).unwrap()
        };
        assert_eq!(super::exchanged(b"\xff\r\na", &old, &[]), b"\xff\r\na\n");
        assert_eq!(super::exchanged(b"", &old, &[]), b"");
        let more = exchanged(text, &old, &both);
        assert_eq!(more, format!("{text}10.1.0.2\tme\n"));
        let other = exchanged(&more, &both, &both[1..]);
        assert_eq!(other, "127.0.0.1\tlocalhost\n10.9.9.9\tmine\n10.1.0.2\tme\n");
    }

    #[test]
    fn servers_on_the_hosts_loopback_are_left_out() {
        let host = "# a comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2\n";
        assert_eq!(
            resolv_conf(host, &network(), Loopback::Own),
            "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2\n"
        );
        assert!(
            resolv_conf(host, &network(), Loopback::Hosts).starts_with("nameserver 127.0.0.53\n")
        );
    }

    #[test]
    fn without_a_reachable_server_there_is_a_fallback() {
        let text =
            resolv_conf("nameserver 127.0.0.53\nnameserver ::1\n", &network(), Loopback::Own);
        assert_eq!(text, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    }

    #[test]
    fn an_ordinary_users_network_asks_the_hosts_own_server() {
        let host = "nameserver 127.0.0.53\n";
        assert_eq!(resolv_conf(host, &network(), Loopback::Users), "nameserver 10.0.2.3\n");
        let reachable = "nameserver 10.0.0.1\n";
        assert_eq!(resolv_conf(reachable, &network(), Loopback::Users), reachable);
    }

    #[test]
    fn who_is_answered_by_its_guardian_asks_nobody_else() {
        let host = "nameserver 127.0.0.53\nsearch a.example\noptions edns0\n";
        let given = NetworkSpec { dns: vec!["1.1.1.1".parse().unwrap()], ..network() };
        for network in [network(), given] {
            assert_eq!(
                resolv_conf(host, &network, Loopback::Named),
                "nameserver 127.0.0.11\nsearch a.example\noptions edns0 ndots:0\n"
            );
            assert!(!refuses_bare(host, &network));
        }
        let dots = NetworkSpec { dns_options: vec!["ndots:2".to_owned()], ..network() };
        assert_eq!(
            resolv_conf("", &dots, Loopback::Named),
            "nameserver 127.0.0.11\noptions ndots:2\n"
        );
        assert!(refuses_bare("", &dots));
        assert!(refuses_bare("options ndots:1\n", &network()));
    }

    #[test]
    fn the_host_has_its_names_in_a_file_where_nobody_answers() {
        let names = "host.docker.internal host.dhow.internal";
        let text = and_host("x\n".to_owned(), &network(), Some(&endpoint()));
        assert_eq!(text, format!("x\n172.17.0.1\t{names}\n"));
        let own = vec!["host.docker.internal:10.0.0.9".to_owned()];
        let given = NetworkSpec { extra_hosts: own, ..network() };
        let text = and_host(String::new(), &given, Some(&endpoint()));
        assert_eq!(text, "172.17.0.1\thost.dhow.internal\n");
        assert_eq!(with_host("a b".to_owned()), format!("a b\n127.0.0.1\t{names}\n"));
        let there = format!("10.0.0.1 {names}\n");
        assert_eq!(with_host(there.clone()), there);
    }

    #[test]
    fn the_host_is_where_it_is_reached() {
        let given = NetworkSpec { extra_hosts: vec!["h:host-gateway".to_owned()], ..network() };
        let there = Endpoint { host4: Some("192.168.0.5".parse().unwrap()), ..endpoint() };
        let text = hosts("web", &given, Some(&there));
        assert!(text.contains("192.168.0.5\th\n"), "{text}");
    }

    #[test]
    fn what_the_user_gives_replaces_the_hosts() {
        let given = NetworkSpec {
            dns: vec!["1.1.1.1".parse().unwrap()],
            dns_search: vec![".".to_owned()],
            dns_options: vec!["rotate".to_owned()],
            ..network()
        };
        let text = resolv_conf("nameserver 9.9.9.9\nsearch x\noptions y\n", &given, Loopback::Own);
        assert_eq!(text, "nameserver 1.1.1.1\noptions rotate\n");
    }

    #[test]
    fn hosts_name_the_container_and_what_was_added() {
        let given = NetworkSpec {
            domainname: Some("corp".to_owned()),
            extra_hosts: vec![
                "db:10.0.0.9".to_owned(),
                "host:host-gateway".to_owned(),
                "six=::9".to_owned(),
            ],
            ..network()
        };
        let text = hosts("web", &given, Some(&endpoint()));
        let tail: Vec<&str> = text.lines().skip(6).collect();
        assert_eq!(
            tail,
            ["10.0.0.9\tdb", "172.17.0.1\thost", "::9\tsix", "172.17.0.2\tweb.corp web"]
        );
    }

    #[test]
    fn a_name_with_a_domain_has_a_bare_one_beside_it() {
        for (hostname, domain, names) in [
            ("web", "", "web"),
            ("web.example.com", "", "web.example.com web"),
            ("web", "example.com", "web.example.com web"),
            ("web.eu", "example.com", "web.eu.example.com web"),
        ] {
            assert_eq!(own_names(hostname, domain), names, "{hostname} {domain}");
        }
    }
}
