//! `network graph`: who can reach whom, from what the server says of containers and of its firewall.
//!
//! Deciding only; `text` and `svg` draw it. Containers that run are on it, and every network.

mod svg;
mod text;

use docker_api::types::containers::ContainerSummary;
use docker_api::types::firewall::{Firewall, OpenNetwork, OpenPort};
use docker_api::types::network_settings::EndpointSettings;

pub(crate) use svg::svg;
pub(crate) use text::text;

/// Who comes in by a loopback address.
const THIS_HOST: &str = "this host";

/// Who can reach whom.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Graph {
    groups: Vec<Group>,
}

/// Containers that have a network in common, or the lack of one.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    /// Its bridge and its subnets.
    place: Vec<String>,
    out: Out,
    between: Between,
    members: Vec<Member>,
}

/// What leads out of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    Nothing,
    /// Under the host's address.
    AsHost,
    AsItself,
    /// It is the host's own network.
    IsHost,
    /// A program carries it, which an ordinary user has.
    Carried,
}

/// What leads from one container of a network to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    All,
    Nothing,
}

/// A container on a network.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    name: String,
    addresses: Vec<String>,
    /// Containers that are in its network namespace.
    shared_with: Vec<String>,
    doors: Vec<Door>,
}

/// A published port, or all that are next to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Door {
    /// Where it is published.
    at: String,
    /// The container's port.
    to: String,
    /// Who comes in.
    who: &'static str,
}

/// Puts together what the server says.
pub(crate) fn graph(containers: &[ContainerSummary], firewall: &Firewall) -> Graph {
    let mut groups: Vec<Group> = firewall.networks.iter().map(group).collect();
    let is_user = firewall.table.is_empty();
    for container in containers {
        for (network, place) in container.network_settings.networks.iter().flatten() {
            let member = member(container, place, containers, firewall);
            named(&mut groups, network, is_user).members.push(member);
        }
    }
    for group in &mut groups {
        group.members.sort_by(|a, b| crate::table::natural(&a.name, &b.name));
    }
    Graph { groups }
}

fn group(network: &OpenNetwork) -> Group {
    let out = match (network.internal, network.masqueraded) {
        (true, _) => Out::Nothing,
        (false, true) => Out::AsHost,
        (false, false) => Out::AsItself,
    };
    Group {
        name: network.name.clone(),
        place: std::iter::once(&network.bridge).chain(&network.subnets).cloned().collect(),
        out,
        between: if network.isolated { Between::Nothing } else { Between::All },
        members: Vec::new(),
    }
}

/// The group of that name; one that the firewall has not is the host's, or none.
fn named<'a>(groups: &'a mut Vec<Group>, name: &str, is_user: bool) -> &'a mut Group {
    let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
        let (out, between) = match name {
            "host" => (Out::IsHost, Between::All),
            "none" => (Out::Nothing, Between::Nothing),
            // Each has a network of its own.
            _ if is_user => (Out::Carried, Between::Nothing),
            _ => (Out::AsHost, Between::All),
        };
        groups.push(Group {
            name: name.to_owned(),
            place: Vec::new(),
            out,
            between,
            members: Vec::new(),
        });
        groups.len() - 1
    });
    &mut groups[at]
}

fn member(
    container: &ContainerSummary,
    place: &EndpointSettings,
    all: &[ContainerSummary],
    firewall: &Firewall,
) -> Member {
    let addresses = [&place.ip_address, &place.global_ipv6_address];
    let addresses: Vec<String> =
        addresses.into_iter().filter(|address| !address.is_empty()).cloned().collect();
    let is_own = |port: &&OpenPort| {
        port.container_id == container.id
            && (addresses.contains(&port.container_ip) || firewall.table.is_empty())
    };
    let ports: Vec<&OpenPort> = firewall.ports.iter().filter(is_own).collect();
    let shares = format!("container:{}", container.id);
    let sharing = all.iter().filter(|other| other.host_config.network_mode == shares);
    Member {
        name: name(container),
        shared_with: sharing.map(name).collect(),
        doors: doors(&ports),
        addresses,
    }
}

fn name(container: &ContainerSummary) -> String {
    let name = container.names.first().map(|name| name.trim_start_matches('/').to_owned());
    name.unwrap_or_else(|| container.id.clone())
}

/// Ports that follow each other, and lead to ports that do, are one door.
fn doors(ports: &[&OpenPort]) -> Vec<Door> {
    let mut sorted = ports.to_vec();
    sorted.sort_by_key(|port| (&port.host_ip, &port.protocol, port.host_port));
    let runs = sorted.chunk_by(|a, b| {
        let same = |port: &OpenPort| {
            (port.host_ip.clone(), port.protocol.clone(), port.container_ip.clone())
        };
        let next = |first: u16, b: u16| first.checked_add(a.count) == Some(b);
        same(a) == same(b)
            && next(a.host_port, b.host_port)
            && next(a.container_port, b.container_port)
    });
    runs.filter_map(|run| Some((run.first()?, run.last()?))).map(|(a, b)| door(a, b)).collect()
}

fn door(first: &OpenPort, last: &OpenPort) -> Door {
    let range = |a: u16, b: u16| {
        let end = b.saturating_add(last.count.saturating_sub(1));
        if a == end { a.to_string() } else { format!("{a}-{end}") }
    };
    let ip = &first.host_ip;
    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
    Door {
        at: format!("{ip}:{}/{}", range(first.host_port, last.host_port), first.protocol),
        to: range(first.container_port, last.container_port),
        who: match first.reach.as_str() {
            "host" => THIS_HOST,
            "neighbours" => "its neighbours",
            _ => "anyone",
        },
    }
}

impl Door {
    /// Whether nobody comes in but programs of this host.
    fn is_near(&self) -> bool {
        self.who == THIS_HOST
    }
}

impl Out {
    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing leads out",
            Self::AsHost => "out as the host",
            Self::AsItself => "out as itself",
            Self::IsHost => "the host's own",
            Self::Carried => "out by a program of the user's",
        }
    }
}

impl Between {
    fn words(self) -> &'static str {
        match self {
            Self::All => "all reach each other",
            Self::Nothing => "nobody reaches another",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docker_api::types::containers::{SummaryHostConfig, SummaryNetworkSettings};
    use expect_test::expect;

    fn container(name: &str, network: &str, ip: &str, mode: &str) -> ContainerSummary {
        let place = EndpointSettings { ip_address: ip.to_owned(), ..EndpointSettings::default() };
        let networks = (!network.is_empty()).then(|| (network.to_owned(), Box::new(place)));
        ContainerSummary {
            id: format!("id-{name}"),
            names: vec![format!("/{name}")],
            host_config: SummaryHostConfig {
                network_mode: mode.to_owned(),
                ..SummaryHostConfig::default()
            },
            network_settings: SummaryNetworkSettings {
                networks: Some(networks.into_iter().collect()),
            },
            ..ContainerSummary::default()
        }
    }

    fn port(host: u16, to: u16, ip: &str, reach: &str) -> OpenPort {
        OpenPort {
            container_id: "id-web".to_owned(),
            protocol: "tcp".to_owned(),
            host_ip: ip.to_owned(),
            host_port: host,
            container_ip: "10.0.0.2".to_owned(),
            container_port: to,
            count: 1,
            reach: reach.to_owned(),
            ..OpenPort::default()
        }
    }

    fn example() -> Graph {
        let network = |name: &str, internal| OpenNetwork {
            name: name.to_owned(),
            bridge: format!("br-{name}"),
            subnets: vec!["10.0.0.0/24".to_owned()],
            internal,
            isolated: internal,
            masqueraded: !internal,
        };
        let mut ports: Vec<OpenPort> =
            (0..3).map(|n| port(9000 + n, 8000 + n, "0.0.0.0", "anyone")).collect();
        ports.push(port(80, 80, "127.0.0.1", "host"));
        ports.push(port(80, 80, "::1", "host"));
        let firewall = Firewall {
            table: "dhow".to_owned(),
            networks: vec![network("front", false), network("back<&>", true)],
            ports,
            ..Firewall::default()
        };
        let containers = [
            container("web", "front", "10.0.0.2", "front"),
            container("side", "", "", "container:id-web"),
            container("app10", "front", "10.0.0.4", "front"),
            container("app9", "front", "10.0.0.3", "front"),
            container("db", "back<&>", "10.1.0.2", "back<&>"),
            container("agent", "host", "", "host"),
            container("job", "none", "", "none"),
        ];
        graph(&containers, &firewall)
    }

    #[test]
    fn it_is_drawn_in_text() {
        expect![[r#"
            front (br-front, 10.0.0.0/24): out as the host, all reach each other
            ├─ app9  10.0.0.3
            ├─ app10  10.0.0.4
            └─ web  10.0.0.2  shared with side
                 ◀─ 0.0.0.0:9000-9002/tcp leads to 8000-8002, for anyone
                 ◀─ 127.0.0.1:80/tcp leads to 80, for this host
                 ◀─ [::1]:80/tcp leads to 80, for this host

            back<&> (br-back<&>, 10.0.0.0/24): nothing leads out
            └─ db  10.1.0.2

            host: the host's own
            └─ agent

            none: nothing leads out
            └─ job
        "#]]
        .assert_eq(&text(&example()));
        let nothing = Graph { groups: Vec::new() };
        assert_eq!(text(&nothing), "no networks\n");
    }

    #[test]
    fn it_is_drawn_as_an_image() {
        let drawn = svg(&example());
        assert!(drawn.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{drawn}");
        assert!(drawn.trim_end().ends_with("</svg>"));
        // Names are text, whatever is in them.
        assert!(drawn.contains("back&lt;&amp;&gt;") && !drawn.contains("<&>"), "{drawn}");
        for (what, count) in [
            ("class=\"network", 4),
            ("class=\"container\"", 6),
            ("class=\"in\"", 1),
            ("class=\"in near\"", 2),
        ] {
            assert_eq!(drawn.matches(what).count(), count, "{what}: {drawn}");
        }
        // One way out for each network that has one.
        assert_eq!(drawn.matches("class=\"out\"").count(), 2, "{drawn}");
    }
}
