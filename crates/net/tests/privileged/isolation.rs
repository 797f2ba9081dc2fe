//! Who must not reach what.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;

use model::RootTag;
use model::port::Protocol;
use net::bridge::{self, BridgePlan};
use net::host::Ipv6Loopback;
use net::names::Names;
use net::netlink::{Batch, Head, Socket, flag};
use net::nft::{Source, Wanted};

use crate::beside::nft;
use crate::lab::{
    HOST_V4, HOST_V6, Lab, ask, inside, is_kept_out, network, open_firewall, receives,
    receives_at_last, rules, serve_tcp, sysctl,
};

/// Takes the loopback link of a namespace down, so that it sends to 127.0.0.1 by its default
/// route as an attacker would.
fn without_loopback(netns: &OwnedFd) {
    const SETLINK: u16 = 19;
    let mut header = [0; 16];
    header[4] = 1; // index of lo
    header[12] = 1; // IFF_UP changes, to 0
    let head = Head { kind: SETLINK, flags: flag::ACK, step: "set lo down" };
    inside(netns, || {
        sysctl("ipv4/conf/all/route_localnet", "1");
        Socket::route().unwrap().execute(Batch::of(head, &header, |_| {})).unwrap();
    });
}

#[test]
fn a_port_of_loopback_is_reached_by_the_host_alone() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 80, "server");
    lab.publish(&rules(&server, Protocol::Tcp, &["127.0.0.1:8080", "[::1]:8080"], 80));
    ask(&lab.host, Protocol::Tcp, "127.0.0.1:8080");
    ask(&lab.host, Protocol::Tcp, "[::1]:8080");
    for netns in [&lab.client, &lab.host, &server.endpoint.netns] {
        is_kept_out(netns, Protocol::Tcp, &format!("{HOST_V4}:8080"));
        is_kept_out(netns, Protocol::Tcp, &format!("[{HOST_V6}]:8080"));
    }
}

/// A socket in a namespace that datagrams should arrive at or not.
fn target(netns: &OwnedFd, address: &str) -> UdpSocket {
    inside(netns, || UdpSocket::bind(address)).unwrap()
}

/// Sends a datagram from a namespace; a refusal by its own kernel is as good as a loss.
fn shoot(netns: &OwnedFd, to: &str) {
    inside(netns, || {
        let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let _ = UdpSocket::bind(any).unwrap().send_to(b"datagram", to);
    });
}

/// The loopback addresses themselves, sent from another machine and from a container. `lan0` is a
/// bridge of ours in this lab and has `route_localnet`, so nothing but the guard drops them.
#[test]
fn nobody_outside_reaches_loopback() {
    for lab in [Lab::new(), Lab::with_bridge_netfilter()] {
        let server = lab.container(2);
        let netns = &server.endpoint.netns;
        lab.publish(&rules(&server, Protocol::Udp, &["127.0.0.1:5353"], 53));
        lab.publish(&rules(&server, Protocol::Udp, &["[::1]:5353"], 54));
        let shots = ["127.0.0.1:5353", "[::1]:5353", "127.0.0.1:9999", "[::1]:9999"];
        let targets = [
            target(netns, "0.0.0.0:53"),
            target(netns, "[::]:54"),
            target(&lab.host, "127.0.0.1:9999"),
            target(&lab.host, "[::1]:9999"),
        ];
        for attacker in [lab.outsider(66), lab.container(66).endpoint.netns] {
            without_loopback(&attacker);
            shots.iter().for_each(|to| shoot(&attacker, to));
        }
        for (target, to) in targets.iter().zip(shots) {
            assert!(!receives(target), "{to} is reached from outside");
            // The host itself reaches it.
            if to != "[::1]:5353" || lab.bridge.ipv6_loopback == Ipv6Loopback::Published {
                let is_open = receives_at_last(target, || shoot(&lab.host, to));
                assert!(is_open, "{to} from the host");
            } else {
                shoot(&lab.host, to);
                assert!(!receives(target), "{to} from the host");
            }
        }
    }
}

/// Not even to a port that is published: only by the host's address.
#[test]
fn the_address_of_a_container_is_no_way_in() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 80, "server");
    serve_tcp(&server.endpoint.netns, 81, "server");
    lab.publish(&rules(&server, Protocol::Tcp, &["0.0.0.0:80", "[::]:80"], 80));
    for port in [80, 81] {
        is_kept_out(&lab.client, Protocol::Tcp, &format!("{}:{port}", server.v4()));
        is_kept_out(&lab.client, Protocol::Tcp, &format!("[{}]:{port}", server.v6()));
    }
    ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:80"));
    ask(&lab.client, Protocol::Tcp, &format!("[{HOST_V6}]:80"));
    // The host itself may.
    ask(&lab.host, Protocol::Tcp, &format!("{}:81", server.v4()));
    ask(&lab.host, Protocol::Tcp, &format!("[{}]:81", server.v6()));
}

/// Somebody else's rewriting (here another root's) opens nothing that we did not publish.
#[test]
fn only_what_is_published_is_open() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 80, "server");
    serve_tcp(&server.endpoint.netns, 81, "server");
    lab.publish(&rules(&server, Protocol::Tcp, &["0.0.0.0:8080"], 80));
    let foreign = rules(&server, Protocol::Tcp, &["0.0.0.0:8081", "[::]:8081"], 81);
    let other = Names::of(&RootTag::of_path(b"/other"));
    inside(&lab.host, || {
        let firewall = open_firewall(&other, &lab.bridge);
        let nothing = Wanted::default();
        firewall.publish(&foreign, &mut Source::OneContainer(&nothing)).unwrap();
    });
    is_kept_out(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8081"));
    is_kept_out(&lab.client, Protocol::Tcp, &format!("[{HOST_V6}]:8081"));
    // It is rewritten, or it would be refused: published by us as well, it is reached.
    lab.publish(&rules(&server, Protocol::Tcp, &["0.0.0.0:9999"], 81));
    ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8081"));
}

#[test]
fn networks_are_apart_but_for_what_is_published() {
    let lab = Lab::new();
    let other = BridgePlan {
        name: "dhow1".parse().unwrap(),
        addresses: vec!["172.18.0.1/16".parse().unwrap(), "fd12::1/64".parse().unwrap()],
        mtu: None,
        group: 0,
    };
    let other = inside(&lab.host, || bridge::ensure(other)).unwrap();
    // Its subnet begins where the default bridge's ends.
    let add = |network: &net::nft::Network| {
        let known = [lab.wanted(&[]).networks, vec![network.clone()]].concat();
        let mut wanted = || Ok(Wanted { networks: known.clone(), ..lab.wanted(&[]) });
        inside(&lab.host, || {
            lab.firewall.add_network(network, &mut Source::Everything(&mut wanted))
        })
        .unwrap();
    };
    // A range that a network has left behind which is no more, in the way of the new one.
    let gone = net::nft::Network {
        subnets: vec!["172.18.1.0/24".parse().unwrap(), "fd12::7:0/112".parse().unwrap()],
        ..network(&other)
    };
    add(&gone);
    add(&network(&other));
    let (server, stranger) = (lab.container(2), lab.container_on(&other, 3));
    serve_tcp(&server.endpoint.netns, 80, "server");
    serve_tcp(&server.endpoint.netns, 81, "server");
    lab.publish(&rules(&server, Protocol::Tcp, &["0.0.0.0:8080", "[::]:8080"], 80));
    let netns = &stranger.endpoint.netns;
    for port in [80, 81] {
        is_kept_out(netns, Protocol::Tcp, &format!("{}:{port}", server.v4()));
        is_kept_out(netns, Protocol::Tcp, &format!("[{}]:{port}", server.v6()));
    }
    ask(netns, Protocol::Tcp, &format!("{HOST_V4}:8080"));
    ask(netns, Protocol::Tcp, &format!("[{HOST_V6}]:8080"));
    // Both leave the host, and once forgotten the network is no longer filtered.
    serve_tcp(&lab.client, 80, "client");
    for netns in [netns, &server.endpoint.netns] {
        assert_eq!(ask(netns, Protocol::Tcp, "192.0.2.10:80"), "client sees 192.0.2.1");
    }
    inside(&lab.host, || {
        let mut wanted = || Ok(lab.wanted(&[]));
        lab.firewall.remove_network(&network(&other), &mut Source::Everything(&mut wanted))
    })
    .unwrap();
    assert_eq!(
        ask(&server.endpoint.netns, Protocol::Tcp, "192.0.2.10:80"),
        "client sees 192.0.2.1"
    );
}

#[test]
fn containers_leave_under_the_address_of_the_host() {
    for lab in [Lab::new(), Lab::with_bridge_netfilter()] {
        let container = lab.container(2);
        serve_tcp(&lab.client, 80, "client");
        let netns = &container.endpoint.netns;
        assert_eq!(ask(netns, Protocol::Tcp, "192.0.2.10:80"), format!("client sees {HOST_V4}"));
        let v6 = ask(netns, Protocol::Tcp, "[2001:db8::a]:80");
        assert_eq!(v6, format!("client sees {HOST_V6}"));
    }
}

#[test]
fn no_neighbour_becomes_a_containers_router() {
    let lab = Lab::new();
    let container = lab.container(2);
    let key = "ipv6/conf/eth0/accept_ra";
    let listens = inside(&container.endpoint.netns, || crate::lab::read_sysctl(key));
    assert_eq!(listens, "0");
}

#[test]
fn without_ipv6_there_is_none_inside() {
    let host = net::endpoint::isolated().unwrap();
    let names = net::names::Names::of(&model::RootTag::DEFAULT);
    inside(&host, || {
        sysctl("ipv6/conf/all/disable_ipv6", "1");
        let bridge = bridge::ensure_default(&names, || Ok(Vec::new()), |_| Ok(())).unwrap();
        assert_eq!(bridge.plan.stack(), net::host::Stack::V4);
        let plan = net::endpoint::EndpointPlan::on_bridge(
            &bridge,
            &names,
            &crate::lab::container_id(2),
            "172.17.0.2".parse().unwrap(),
            net::address::Mac::local([1; 6]),
        );
        let endpoint = net::endpoint::create(&plan.unwrap()).unwrap();
        inside(&endpoint.netns, || {
            assert_eq!(crate::lab::read_sysctl("ipv6/conf/eth0/disable_ipv6"), "1");
            // A link-local address would be all that a neighbour needs.
            let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
            assert!(!addresses.contains("eth0"), "{addresses}");
        });
    });
}

/// Tables of an earlier version lack sets that a network is to be taken out of: they are built anew without it.
#[test]
fn a_network_goes_with_tables_of_another_layout() {
    let lab = Lab::new();
    let shown = inside(&lab.host, || {
        let tables = nft("list tables");
        let name = tables.split_whitespace().find(|word| word.starts_with("dhow")).unwrap();
        nft(&format!(
            "delete table ip {name}; add table ip {name} {{ comment \"dhow layout 1 whole\"; set old {{ type mark; }}; }}"
        ));
        let gone = network(&lab.bridge);
        let mut wanted = || Ok(Wanted { networks: Vec::new(), ..lab.wanted(&[]) });
        lab.firewall.remove_network(&gone, &mut Source::Everything(&mut wanted)).unwrap();
        nft(&format!("list table ip {name}"))
    });
    assert!(shown.contains("chain prerouting") && !shown.contains("set old"), "{shown}");
}
