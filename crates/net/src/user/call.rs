//! How the programs are called. Pure.
//!
//! The namespace is their standard input: newer versions of pasta close every other descriptor before they
//! look at their arguments.

use model::port::Protocol;

use super::{ADDRESS, Forward, GATEWAY, Kind, PREFIX, RESOLVER, Seat, UserNetworkError};

const NAMESPACE: &str = "/proc/self/fd/0";
/// What the container calls it.
const LINK: &str = "eth0";

/// The arguments, without the program's name.
pub(super) fn arguments(
    kind: Kind,
    seat: &Seat,
    forwards: &[Forward],
) -> Result<Vec<String>, UserNetworkError> {
    match kind {
        Kind::Pasta => pasta(seat, forwards),
        Kind::Slirp => slirp(seat, forwards),
    }
}

/// What it calls its link.
fn link(seat: &Seat) -> &str {
    match seat {
        Seat::Own => LINK,
        Seat::Shared(way) => way.link().as_str(),
    }
}

/// Neither the host's loopback (`--no-map-gw`) nor what others listen at there (`--tcp-ns`, `--udp-ns`) is
/// within reach, as on a bridge. It ends when it is told to: to hear of the end of a namespace that has no name it
/// would watch the directory of our descriptors, which AppArmor's profile of it forbids.
fn pasta(seat: &Seat, forwards: &[Forward]) -> Result<Vec<String>, UserNetworkError> {
    let mut words: Vec<String> = [
        "--foreground",
        "--quiet",
        "--ipv4-only",
        "--no-map-gw",
        "--no-netns-quit",
        "--tcp-ns",
        "none",
        "--udp-ns",
        "none",
        "--ns-ifname",
        link(seat),
        "--netns",
        NAMESPACE,
    ]
    .map(str::to_owned)
    .to_vec();
    // Where there are others, its addresses and routes are the caller's.
    words.extend((*seat == Seat::Own).then(|| "--config-net".to_owned()));
    let numbers = [
        ("--address", ADDRESS.to_string()),
        ("--netmask", PREFIX.to_string()),
        ("--gateway", GATEWAY.to_string()),
        ("--dns-forward", RESOLVER.to_string()),
    ];
    words.extend(numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    for (protocol, flag) in [(Protocol::Tcp, "--tcp-ports"), (Protocol::Udp, "--udp-ports")] {
        let mine: Vec<&Forward> = forwards.iter().filter(|one| one.protocol == protocol).collect();
        if mine.is_empty() {
            words.extend([flag.to_owned(), "none".to_owned()]);
        }
        for one in mine {
            words.extend([flag.to_owned(), spec(one)]);
        }
    }
    refuse(forwards, &[Protocol::Sctp])?;
    Ok(words)
}

/// A port or a range in pasta's words, which it repeats when it cannot have it.
pub(super) fn spec(forward: &Forward) -> String {
    let range = |first: u16| match forward.count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    let (host, container) = (range(forward.host.port()), range(forward.container));
    format!("{}/{host}:{container}", forward.host.ip())
}

fn slirp(seat: &Seat, forwards: &[Forward]) -> Result<Vec<String>, UserNetworkError> {
    refuse(forwards, &[Protocol::Sctp])?;
    let mut words: Vec<String> = ["--disable-host-loopback", "--netns-type=path", "--ready-fd=1"]
        .map(str::to_owned)
        .to_vec();
    if *seat == Seat::Own {
        words.extend(["--configure", "--mtu=65520"].map(str::to_owned));
    }
    if !forwards.is_empty() {
        words.push(format!("--api-socket={}", super::forward::SOCKET));
    }
    words.extend([NAMESPACE.to_owned(), link(seat).to_owned()]);
    Ok(words)
}

fn refuse(forwards: &[Forward], protocols: &[Protocol]) -> Result<(), UserNetworkError> {
    match forwards.iter().find(|one| protocols.contains(&one.protocol)) {
        Some(one) => Err(UserNetworkError::Protocol(one.protocol)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(protocol: Protocol, host: &str, container: u16) -> Forward {
        Forward { protocol, host: host.parse().unwrap(), container, count: 1 }
    }

    fn line(kind: Kind, forwards: &[Forward]) -> String {
        arguments(kind, &Seat::Own, forwards).unwrap().join(" ")
    }

    #[test]
    fn pasta_forwards_what_is_published_and_nothing_else() {
        let none = line(Kind::Pasta, &[]);
        assert!(none.ends_with("--tcp-ports none --udp-ports none"), "{none}");
        assert!(none.contains("--no-map-gw --no-netns-quit --tcp-ns none --udp-ns none"), "{none}");
        let some = line(
            Kind::Pasta,
            &[
                forward(Protocol::Tcp, "0.0.0.0:8080", 80),
                forward(Protocol::Udp, "127.0.0.1:53", 5353),
                forward(Protocol::Tcp, "127.0.0.1:1", 2),
                Forward { count: 100, ..forward(Protocol::Tcp, "0.0.0.0:20000", 80) },
            ],
        );
        let ports = "--tcp-ports 0.0.0.0/8080:80 --tcp-ports 127.0.0.1/1:2 --tcp-ports 0.0.0.0/20000-20099:80-179 --udp-ports 127.0.0.1/53:5353";
        assert!(some.ends_with(ports), "{some}");
    }

    #[test]
    fn slirp4netns_is_asked_for_ports_later() {
        assert!(!line(Kind::Slirp, &[]).contains("--api-socket"));
        let some = line(Kind::Slirp, &[forward(Protocol::Tcp, "0.0.0.0:8080", 80)]);
        assert!(some.contains("--disable-host-loopback"), "{some}");
        assert!(some.ends_with("--api-socket=slirp.sock /proc/self/fd/0 eth0"), "{some}");
    }

    /// The namespace has addresses and routes of others, which the program would take for its own.
    #[test]
    fn among_others_it_brings_its_link_and_nothing_else() {
        let seat =
            Seat::Shared(super::super::Way::of(&model::ContainerId::from_random([0xab; 32])));
        let line = |kind| arguments(kind, &seat, &[]).unwrap().join(" ");
        let pasta = line(Kind::Pasta);
        assert!(pasta.contains("--ns-ifname upabababababa "), "{pasta}");
        assert!(!pasta.contains("--config-net"), "{pasta}");
        let slirp = line(Kind::Slirp);
        assert!(slirp.ends_with("/proc/self/fd/0 upabababababa"), "{slirp}");
        assert!(!slirp.contains("--configure"), "{slirp}");
        assert!(self::line(Kind::Pasta, &[]).contains("--config-net"));
        assert!(self::line(Kind::Slirp, &[]).contains("--configure"));
    }

    #[test]
    fn nobody_forwards_sctp() {
        for kind in Kind::ALL {
            let error = arguments(kind, &Seat::Own, &[forward(Protocol::Sctp, "0.0.0.0:1", 1)])
                .unwrap_err();
            assert!(matches!(error, UserNetworkError::Protocol(Protocol::Sctp)), "{error}");
        }
    }
}
