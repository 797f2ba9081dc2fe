//! Bridges, endpoints and their addresses.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use model::RootTag;
use model::port::Protocol;
use net::address::{Cidr, Family, Mac};
use net::bridge::{self, BridgeError, BridgePlan};
use net::endpoint::{self, EndpointPlan};
use net::links;
use net::names::{Names, host_link};

use crate::lab::{Lab, ask, container_id, inside, read_sysctl, serve_tcp, sysctl};

fn names() -> Names {
    Names::of(&RootTag::DEFAULT)
}

#[test]
fn many_start_at_once() {
    const WORKERS: u8 = 8;
    const EACH: u8 = 8;
    let host = endpoint::isolated().unwrap();
    let barrier = Barrier::new(WORKERS.into());
    let mut endpoints = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (host, barrier) = (&host, &barrier);
                let numbers = (2 + worker * EACH)..(2 + (worker + 1) * EACH);
                let work = move || {
                    barrier.wait();
                    numbers.map(start).collect::<Vec<_>>()
                };
                scope.spawn(move || inside(host, work))
            })
            .collect();
        for worker in workers {
            endpoints.extend(worker.join().unwrap());
        }
    });
    inside(&host, || {
        let bridge = bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap();
        let found = links::list(&names()).unwrap();
        let unique: BTreeSet<_> = found.iter().map(|link| link.name.clone()).collect();
        assert_eq!(unique.len(), 64);
        assert!(found.iter().all(|link| link.bridge == Some(bridge.index)));
        // Every one answers: nothing listens, so the kernel of each refuses at once.
        for (plan, _) in &endpoints {
            for cidr in &plan.addresses {
                let refused = std::net::TcpStream::connect((cidr.address(), 80)).unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{cidr}");
            }
        }
        // All are deleted at once, and what is inside goes with them.
        let all: Vec<_> = found.into_iter().map(|link| link.name).collect();
        links::delete(&names(), &all).unwrap();
        links::delete(&names(), &all[..2]).unwrap();
        assert_eq!(links::list(&names()).unwrap(), []);
    });
}

fn start(number: u8) -> (EndpointPlan, endpoint::Endpoint) {
    let bridge = bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap();
    let address = bridge.plan.subnet(Family::V4).unwrap().nth(number.into()).unwrap();
    let id = container_id(number);
    let mac = Mac::local([0, 1, 2, 3, 4, number]);
    let plan = EndpointPlan::on_bridge(&bridge, &names(), &id, address, mac).unwrap();
    let endpoint = endpoint::create(&plan).unwrap();
    (plan, endpoint)
}

#[test]
fn the_bridge_is_set_up_once_and_completed_when_it_is_not() {
    let host = endpoint::isolated().unwrap();
    inside(&host, || {
        let first = bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap();
        assert_eq!(first.plan.addresses[0].to_string(), "172.17.0.1/16");
        assert_eq!(bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap(), first);
        // Somebody turned forwarding off.
        sysctl("ipv4/ip_forward", "0");
        sysctl("ipv6/conf/all/forwarding", "0");
        assert_eq!(bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap(), first);
        assert_eq!(read_sysctl("ipv4/ip_forward"), "1");
        assert_eq!(read_sysctl("ipv6/conf/all/forwarding"), "1");
        assert_eq!(read_sysctl("ipv4/conf/dhow0/route_localnet"), "1");
        assert_eq!(read_sysctl("ipv6/conf/dhow0/accept_ra"), "0");
    });
}

#[test]
fn two_roots_choose_two_subnets() {
    let host = endpoint::isolated().unwrap();
    inside(&host, || {
        let one = bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap();
        let other = Names::of(&RootTag::of_path(b"/other"));
        let two = bridge::ensure_default(&other, || Ok(Vec::new()), |_| Ok(())).unwrap();
        for (a, b) in one.plan.addresses.iter().zip(&two.plan.addresses) {
            assert!(!a.subnet().overlaps(b.subnet()), "{a} {b}");
        }
        assert_eq!(two.plan.addresses[0].to_string(), "172.18.0.1/16");
    });
}

#[test]
fn a_link_that_is_in_the_way_is_named() {
    let lab = Lab::new();
    inside(&lab.host, || {
        let link = host_link(&container_id(0xfe));
        let plan = BridgePlan { name: link.clone(), ..lab.bridge.plan.clone() };
        let error = bridge::ensure(plan).unwrap_err();
        assert!(matches!(error, BridgeError::OtherKind { .. }), "{error}");
        assert_eq!(error.to_string(), format!("link {link} exists and is no bridge but \"veth\""));
        let addresses = vec!["10.1.0.1/24".parse::<Cidr>().unwrap()];
        let plan = BridgePlan { addresses, ..lab.bridge.plan.clone() };
        let error = bridge::ensure(plan).unwrap_err();
        assert!(matches!(error, BridgeError::OtherAddress { .. }), "{error}");
    });
}

/// The host's default route comes from a router's advertisements on many networks.
#[test]
fn forwarding_does_not_deafen_the_host_to_routers() {
    let host = endpoint::isolated().unwrap();
    inside(&host, || {
        assert_eq!(read_sysctl("ipv6/conf/lo/accept_ra"), "1");
        sysctl("ipv6/conf/lo/forwarding", "0");
        bridge::ensure_default(&names(), || Ok(Vec::new()), |_| Ok(())).unwrap();
        assert_eq!(read_sysctl("ipv6/conf/lo/accept_ra"), "2");
        assert_eq!(read_sysctl("ipv6/conf/default/accept_ra"), "2");
        assert_eq!(read_sysctl("ipv6/conf/dhow0/accept_ra"), "0");
    });
}

/// What the host sends to a container that was made this instant is neither lost, as it is while
/// the kernel has not noticed the carrier, nor kept waiting for ARP.
#[test]
fn a_new_container_is_ready() {
    // The first on a bridge brings up the bridge as well, so many first ones.
    for _ in 0..20 {
        let lab = Lab::new();
        (2..5).for_each(|number| check_ready(&lab, number));
    }
}

fn check_ready(lab: &Lab, number: u8) {
    let sender = inside(&lab.host, || std::net::UdpSocket::bind("0.0.0.0:0")).unwrap();
    let container = lab.container(number);
    let known = inside(&lab.host, || read_proc("arp"));
    sender.send_to(b"first", (container.v4(), 9)).unwrap();
    assert!(known.contains(&container.endpoint.mac.to_string()), "{known}");
    // Nobody listens: the container's kernel counts what arrives. It may take its time over that, but what is lost
    // is not sent a second time.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let counters = inside(&container.endpoint.netns, || read_proc("snmp"));
        let udp = counters.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap();
        if udp.split(' ').nth(2) == Some("1") {
            break;
        }
        assert!(Instant::now() < deadline, "container {number}: {udp}");
        thread::yield_now();
    }
}

fn read_proc(file: &str) -> String {
    std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap()
}

/// The lowest free address is given out again at once, under another hardware address.
#[test]
fn an_address_that_is_given_again_is_found_at_once() {
    for lab in [Lab::new(), Lab::with_bridge_netfilter()] {
        let peer = lab.container(2);
        let old = lab.container(3);
        serve_tcp(&old.endpoint.netns, 80, "old");
        let (v4, v6) = (format!("{}:80", old.v4()), format!("[{}]:80", old.v6()));
        for netns in [&peer.endpoint.netns, &lab.host] {
            assert_eq!(ask(netns, Protocol::Tcp, &v4)[..3], *"old");
            assert_eq!(ask(netns, Protocol::Tcp, &v6)[..3], *"old");
        }
        inside(&lab.host, || {
            links::delete(
                &lab.names,
                std::slice::from_ref(old.endpoint.host_link.as_ref().unwrap()),
            )
            .unwrap();
        });
        let new = lab.container(3);
        assert_ne!(new.endpoint.mac, old.endpoint.mac);
        serve_tcp(&new.endpoint.netns, 80, "new");
        for netns in [&peer.endpoint.netns, &lab.host] {
            assert_eq!(ask(netns, Protocol::Tcp, &v4)[..3], *"new");
            assert_eq!(ask(netns, Protocol::Tcp, &v6)[..3], *"new");
        }
    }
}

#[test]
fn a_container_starts_again_while_its_last_life_is_torn_down() {
    let lab = Lab::new();
    let first = lab.container(2);
    let second = lab.container(2);
    assert_ne!(first.endpoint.host_link, second.endpoint.host_link);
    for life in [&first, &second] {
        assert!(net::names::is_link_of(
            life.endpoint.host_link.as_ref().unwrap().as_str(),
            &life.id
        ));
    }
}

#[test]
fn an_isolated_namespace_has_loopback_alone() {
    let netns = endpoint::isolated().unwrap();
    inside(&netns, || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
        assert_eq!(routes.lines().count(), 1, "{routes}");
    });
}

#[test]
fn the_mtu_holds_on_both_sides() {
    let host = endpoint::isolated().unwrap();
    inside(&host, || {
        let plan = BridgePlan {
            name: "dhow1".parse().unwrap(),
            addresses: vec!["10.1.0.1/24".parse().unwrap()],
            mtu: Some(1400),
            group: 0,
        };
        let bridge = bridge::ensure(plan).unwrap();
        let (id, mac) = (container_id(2), Mac::local([1; 6]));
        let address = "10.1.0.2".parse().unwrap();
        let plan = EndpointPlan::on_bridge(&bridge, &names(), &id, address, mac).unwrap();
        let endpoint = endpoint::create(&plan).unwrap();
        inside(&endpoint.netns, || {
            assert_eq!(read_sysctl("ipv6/conf/eth0/mtu"), "1400");
        });
    });
}
