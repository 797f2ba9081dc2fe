//! Who reaches a published port, and as whom the container sees it.

use model::port::Protocol;
use net::host::Ipv6Loopback;
use net::nft::{NftError, Source};

use crate::lab::{
    HOST_V4, HOST_V6, Lab, ask, ask_again, container_id, inside, is_kept_out, is_turned_away,
    is_turned_away_again, rules, serve_tcp, serve_udp,
};

/// Every way to a port that is published on all addresses.
fn check_all_ways(lab: &Lab, protocol: Protocol) {
    let (server, peer) = (lab.container(2), lab.container(3));
    match protocol {
        Protocol::Udp => serve_udp(&server.endpoint.netns, 80, "server"),
        Protocol::Tcp | Protocol::Sctp => serve_tcp(&server.endpoint.netns, 80, "server"),
    }
    lab.publish(&rules(&server, protocol, &["0.0.0.0:8080", "[::]:8080"], 80));
    let gateways: Vec<_> = lab.bridge.plan.addresses.iter().map(|c| c.address()).collect();
    let (v4, v6) = (format!("{HOST_V4}:8080"), format!("[{HOST_V6}]:8080"));
    let sees = |who: &str| format!("server sees {who}");

    // From outside, under its own address.
    assert_eq!(ask(&lab.client, protocol, &v4), sees("192.0.2.10"));
    assert_eq!(ask(&lab.client, protocol, &v6), sees("2001:db8::a"));
    // From the host: by loopback as the gateway, else as the address it was asked at.
    assert_eq!(ask(&lab.host, protocol, "127.0.0.1:8080"), sees(&gateways[0].to_string()));
    match lab.bridge.ipv6_loopback {
        Ipv6Loopback::Published => {
            let said = ask(&lab.host, protocol, "[::1]:8080");
            assert_eq!(said, sees(&gateways[1].to_string()));
        }
        Ipv6Loopback::Closed => is_turned_away(&lab.host, protocol, "[::1]:8080"),
    }
    assert_eq!(ask(&lab.host, protocol, &v4), sees(HOST_V4));
    assert_eq!(ask(&lab.host, protocol, &v6), sees(HOST_V6));
    // From a peer and from itself: as the gateway, since they could not answer each other.
    for netns in [&peer.endpoint.netns, &server.endpoint.netns] {
        assert_eq!(ask(netns, protocol, &v4), sees(&gateways[0].to_string()));
        assert_eq!(ask(netns, protocol, &v6), sees(&gateways[1].to_string()));
        let by_gateway = format!("{}:8080", gateways[0]);
        assert_eq!(ask(netns, protocol, &by_gateway), sees(&gateways[0].to_string()));
    }
    // Between containers without the host.
    let direct = format!("{}:80", server.v4());
    assert_eq!(ask(&peer.endpoint.netns, protocol, &direct), sees(&peer.v4().to_string()));
    let direct = format!("[{}]:80", server.v6());
    assert_eq!(ask(&peer.endpoint.netns, protocol, &direct), sees(&peer.v6().to_string()));
}

#[test]
fn tcp_is_reached_in_all_ways() {
    check_all_ways(&Lab::new(), Protocol::Tcp);
}

#[test]
fn udp_is_reached_in_all_ways() {
    check_all_ways(&Lab::new(), Protocol::Udp);
}

#[test]
fn tcp_is_reached_in_all_ways_with_bridge_netfilter() {
    check_all_ways(&Lab::with_bridge_netfilter(), Protocol::Tcp);
}

#[test]
fn udp_is_reached_in_all_ways_with_bridge_netfilter() {
    check_all_ways(&Lab::with_bridge_netfilter(), Protocol::Udp);
}

#[test]
fn unpublished_is_refused_at_once() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 80, "server");
    let published = rules(&server, Protocol::Tcp, &["0.0.0.0:8080", "[::]:8080"], 80);
    lab.publish(&published);
    let (v4, v6) = (format!("{HOST_V4}:8080"), format!("[{HOST_V6}]:8080"));
    ask(&lab.client, Protocol::Tcp, &v4);
    ask(&lab.client, Protocol::Tcp, &v6);
    lab.unpublish(&published);
    for to in [&v4, &v6] {
        is_turned_away(&lab.client, Protocol::Tcp, to);
    }
    // A second time, and half of it: nothing is there to be deleted.
    lab.unpublish(&published);
    lab.publish(&published[..1]);
    lab.unpublish(&published);
    assert_eq!(inside(&lab.host, || lab.firewall.published()).unwrap(), []);
}

#[test]
fn a_port_of_one_address_goes_before_a_port_of_all() {
    let lab = Lab::new();
    let (one, all) = (lab.container(2), lab.container(3));
    serve_tcp(&one.endpoint.netns, 80, "one");
    serve_tcp(&all.endpoint.netns, 80, "all");
    lab.publish(&rules(&all, Protocol::Tcp, &["0.0.0.0:8080", "[::]:8080"], 80));
    let (v4, v6) = (format!("{HOST_V4}:8080"), format!("[{HOST_V6}]:8080"));
    lab.publish(&rules(&one, Protocol::Tcp, &[&v4, &v6], 80));
    assert_eq!(ask(&lab.client, Protocol::Tcp, &v4), "one sees 192.0.2.10");
    assert_eq!(ask(&lab.client, Protocol::Tcp, &v6), "one sees 2001:db8::a");
    let gateway = format!("{}:8080", lab.bridge.plan.addresses[0].address());
    assert_eq!(ask(&lab.host, Protocol::Tcp, &gateway)[..8], *"all sees");
}

#[test]
fn what_a_port_led_to_before_is_replaced() {
    let lab = Lab::new();
    let (old, new) = (lab.container(2), lab.container(3));
    serve_tcp(&new.endpoint.netns, 80, "new");
    let stale = rules(&old, Protocol::Tcp, &["0.0.0.0:8080", "127.0.0.1:8081"], 80);
    lab.publish(&stale);
    let fresh = rules(&new, Protocol::Tcp, &["0.0.0.0:8080", "127.0.0.1:8081"], 80);
    lab.publish(&fresh);
    assert_eq!(ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8080"))[..8], *"new sees");
    assert_eq!(ask(&lab.host, Protocol::Tcp, "127.0.0.1:8081")[..8], *"new sees");
    let mut published = inside(&lab.host, || lab.firewall.published()).unwrap();
    published.sort_by_key(|rule| rule.host);
    let mut expected = fresh;
    expected.sort_by_key(|rule| rule.host);
    assert_eq!(published, expected);
}

/// Another container has the port, or the address, of one that died.
#[test]
fn what_the_dead_had_is_taken_back_and_nothing_of_the_living() {
    let lab = Lab::new();
    let (dead, heir) = (lab.container(2), lab.container(3));
    serve_tcp(&heir.endpoint.netns, 80, "heir");
    lab.publish(&rules(&dead, Protocol::Tcp, &["0.0.0.0:8080", "0.0.0.0:8081"], 80));
    // The port now leads elsewhere.
    let taken = rules(&heir, Protocol::Tcp, &["0.0.0.0:8080"], 80);
    lab.publish(&taken);
    // A stranger that died had the heir's address.
    let mut stranger = rules(&heir, Protocol::Tcp, &["0.0.0.0:8082"], 80);
    stranger.iter_mut().for_each(|rule| rule.owner = container_id(9));
    lab.publish(&stranger);
    let mut asked = 0;
    let sweep = || {
        lab.firewall.unpublish_dead(|owner| {
            asked += 1;
            if asked == 1 {
                // Somebody publishes while it is found out who is dead.
                let late = rules(&heir, Protocol::Tcp, &["0.0.0.0:8081"], 80);
                let mut everything = || Ok(lab.wanted(&late));
                lab.firewall.publish(&late, &mut Source::Everything(&mut everything)).unwrap();
            }
            Ok::<_, NftError>(*owner != heir.id)
        })
    };
    inside(&lab.host, sweep).unwrap();
    let mut left = inside(&lab.host, || lab.firewall.published()).unwrap();
    left.sort_by_key(|rule| rule.host);
    assert_eq!(left, rules(&heir, Protocol::Tcp, &["0.0.0.0:8080", "0.0.0.0:8081"], 80));
    for port in [8080, 8081] {
        let answer = ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:{port}"));
        assert_eq!(answer[..9], *"heir sees", "{port}");
    }
}

#[test]
fn thousands_of_ports_are_one_transaction() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 29_999, "server");
    let hosts: Vec<String> = (20_000..30_000).map(|port| format!("0.0.0.0:{port}")).collect();
    let all: Vec<_> = hosts
        .iter()
        .flat_map(|host| {
            let port = host.rsplit_once(':').unwrap().1.parse().unwrap();
            rules(&server, Protocol::Tcp, &[host], port)
        })
        .collect();
    lab.publish(&all);
    assert_eq!(inside(&lab.host, || lab.firewall.published()).unwrap().len(), 10_000);
    ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:29999"));
    lab.unpublish(&all);
    assert_eq!(inside(&lab.host, || lab.firewall.published()).unwrap(), []);
}

#[test]
fn a_stream_of_udp_follows_the_port() {
    let lab = Lab::new();
    let (first, second) = (lab.container(2), lab.container(3));
    serve_udp(&first.endpoint.netns, 53, "first");
    serve_udp(&second.endpoint.netns, 53, "second");
    let published = |container| rules(container, Protocol::Udp, &["0.0.0.0:5353"], 53);
    let to = format!("{HOST_V4}:5353");
    // The same socket throughout: to the kernel it is one flow.
    let socket = inside(&lab.client, || std::net::UdpSocket::bind("0.0.0.0:0")).unwrap();
    is_turned_away_again(&socket, &to);

    lab.publish(&published(&first));
    inside(&lab.host, || lab.firewall.admit_early_senders(&published(&first))).unwrap();
    assert_eq!(ask_again(&socket, &to), "first sees 192.0.2.10");

    lab.unpublish(&published(&first));
    lab.publish(&published(&second));
    assert_eq!(ask_again(&socket, &to), "second sees 192.0.2.10");

    // Without a successor it is refused, and not sent to an address that may be another's.
    lab.unpublish(&published(&second));
    is_turned_away_again(&socket, &to);
}

#[test]
fn flows_are_forgotten_by_many_ports_as_by_one() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_udp(&server.endpoint.netns, 53, "server");
    let to = [format!("{HOST_V4}:6000"), format!("[{HOST_V6}]:6000")];
    let sockets: Vec<_> = ["0.0.0.0:0", "[::]:0"]
        .iter()
        .zip(&to)
        .map(|(bind, to)| {
            let socket = inside(&lab.client, || std::net::UdpSocket::bind(bind)).unwrap();
            is_turned_away_again(&socket, to);
            socket
        })
        .collect();
    let hosts: Vec<String> =
        (6000..6020).flat_map(|port| [format!("0.0.0.0:{port}"), format!("[::]:{port}")]).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let published = rules(&server, Protocol::Udp, &hosts, 53);
    lab.publish(&published);
    inside(&lab.host, || lab.firewall.admit_early_senders(&published)).unwrap();
    assert_eq!(ask_again(&sockets[0], &to[0]), "server sees 192.0.2.10");
    assert_eq!(ask_again(&sockets[1], &to[1]), "server sees 2001:db8::a");
}

#[test]
fn the_shim_of_one_container_publishes_after_a_flush() {
    let lab = Lab::new();
    let (one, two) = (lab.container(2), lab.container(3));
    serve_tcp(&one.endpoint.netns, 80, "one");
    serve_tcp(&two.endpoint.netns, 80, "two");
    let first = rules(&one, Protocol::Tcp, &["0.0.0.0:8081"], 80);
    let second = rules(&two, Protocol::Tcp, &["0.0.0.0:8082"], 80);
    lab.publish(&first);
    inside(&lab.host, crate::firewall::flush_ruleset);
    lab.publish_alone(&second);
    assert_eq!(ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8082"))[..3], *"two");
    is_kept_out(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8081"));

    // Another shim adds itself, and does not undo the first.
    lab.publish_alone(&first);
    assert_eq!(ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8081"))[..3], *"one");
    assert_eq!(ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8082"))[..3], *"two");

    // Whoever knows everything builds it anew, once.
    let mut asked = 0;
    inside(&lab.host, || {
        for _ in 0..2 {
            let mut everything = || {
                asked += 1;
                Ok(lab.wanted(&first))
            };
            lab.firewall.ensure(&mut Source::Everything(&mut everything)).unwrap();
        }
    });
    assert_eq!(asked, 1);
    assert_eq!(inside(&lab.host, || lab.firewall.published()).unwrap(), first);
}
