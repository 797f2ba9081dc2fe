//! Published ranges: packets at their ends, in the middle, and beside them.

use model::port::Protocol;
use net::nft::{Entry, PortRule, Source};

use crate::lab::{
    Container, HOST_V4, HOST_V6, Lab, ask, inside, is_turned_away, open_firewall, range, rules,
    serve_tcp, serve_udp,
};

fn serve(container: &Container, protocol: Protocol, ports: &[(u16, &'static str)]) {
    for (port, name) in ports {
        match protocol {
            Protocol::Udp => serve_udp(&container.endpoint.netns, *port, name),
            Protocol::Tcp | Protocol::Sctp => serve_tcp(&container.endpoint.netns, *port, name),
        }
    }
}

fn check_ends(lab: &Lab, protocol: Protocol, ports: [(u16, &str); 3]) {
    let gateways: Vec<_> = lab.bridge.plan.addresses.iter().map(|c| c.address()).collect();
    for (port, name) in ports {
        let (v4, v6) = (format!("{HOST_V4}:{port}"), format!("[{HOST_V6}]:{port}"));
        assert_eq!(ask(&lab.client, protocol, &v4), format!("{name} sees 192.0.2.10"));
        assert_eq!(ask(&lab.client, protocol, &v6), format!("{name} sees 2001:db8::a"));
        let loopback = format!("127.0.0.1:{port}");
        let said = ask(&lab.host, protocol, &loopback);
        assert_eq!(said, format!("{name} sees {}", gateways[0]));
    }
    let ends = [ports[0].0 - 1, ports[2].0 + 1];
    for port in ends {
        for to in [format!("{HOST_V4}:{port}"), format!("[{HOST_V6}]:{port}")] {
            is_turned_away(&lab.client, protocol, &to);
        }
    }
}

const ALL: [&str; 2] = ["0.0.0.0:20000", "[::]:20000"];

/// Neighbours inside answer as well, so that only the rules can refuse them.
fn check_both_kinds(protocol: Protocol) {
    let lab = Lab::new();
    let server = lab.container(2);
    let own =
        [(19999, "below"), (20000, "first"), (25000, "middle"), (29999, "last"), (30000, "above")];
    serve(&server, protocol, &own);
    let same = range(&server, protocol, (&ALL, 20000), 10_000);
    lab.publish(&same);
    check_ends(&lab, protocol, [(20000, "first"), (25000, "middle"), (29999, "last")]);
    lab.unpublish(&same);
    serve(
        &server,
        protocol,
        &[(79, "under"), (80, "eighty"), (120, "between"), (179, "end"), (180, "over")],
    );
    let moved = range(&server, protocol, (&ALL, 80), 100);
    lab.publish(&moved);
    check_ends(&lab, protocol, [(20000, "eighty"), (20040, "between"), (20099, "end")]);
    let up = range(&server, protocol, (&["0.0.0.0:70", "[::]:70"], 80), 100);
    lab.publish(&up);
    check_ends(&lab, protocol, [(70, "eighty"), (110, "between"), (169, "end")]);
    let mut published = inside(&lab.host, || lab.firewall.published()).unwrap();
    published.sort_by_key(|rule| (rule.host.port(), rule.host.ip()));
    assert_eq!(published, [up, moved].concat());
}

#[test]
fn tcp_reaches_each_port_of_a_range_and_no_neighbour() {
    check_both_kinds(Protocol::Tcp);
}

#[test]
fn udp_reaches_each_port_of_a_range_and_no_neighbour() {
    check_both_kinds(Protocol::Udp);
}

#[test]
fn a_range_of_one_address_is_reached_there_and_by_the_container_itself() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 150, "server");
    let at = [format!("{HOST_V4}:3000"), format!("[{HOST_V6}]:3000")];
    let at: Vec<&str> = at.iter().map(String::as_str).collect();
    lab.publish(&range(&server, Protocol::Tcp, (&at, 100), 100));
    let gateways: Vec<_> = lab.bridge.plan.addresses.iter().map(|c| c.address()).collect();
    for (to, gateway) in [(HOST_V4, gateways[0]), ("[2001:db8::1]", gateways[1])] {
        let to = format!("{to}:3050");
        assert!(ask(&lab.client, Protocol::Tcp, &to).starts_with("server sees "));
        let hairpin = ask(&server.endpoint.netns, Protocol::Tcp, &to);
        assert_eq!(hairpin, format!("server sees {gateway}"));
    }
    is_turned_away(&lab.host, Protocol::Tcp, "127.0.0.1:3050");
}

#[test]
fn what_stays_of_a_range_is_never_gone() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve(&server, Protocol::Tcp, &[(20049, "a"), (20050, "b"), (20051, "c")]);
    let all = range(&server, Protocol::Tcp, (&ALL, 20000), 100);
    lab.publish(&all);
    let part = |first: u16, count: u16| -> Vec<PortRule> {
        let at = [format!("0.0.0.0:{first}"), format!("[::]:{first}")];
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        range(&server, Protocol::Tcp, (&at, first), count)
    };
    let rest = [part(20000, 50), part(20051, 49)].concat();
    let known = lab.wanted(&all);
    let replace = |old: &[PortRule], new: &[PortRule]| {
        inside(&lab.host, || lab.firewall.replace(old, new, &mut Source::OneContainer(&known)))
            .unwrap();
    };
    replace(&all, &rest);
    let to = |port: u16| format!("{HOST_V4}:{port}");
    assert_eq!(ask(&lab.client, Protocol::Tcp, &to(20049)), "a sees 192.0.2.10");
    assert_eq!(ask(&lab.client, Protocol::Tcp, &to(20051)), "c sees 192.0.2.10");
    is_turned_away(&lab.client, Protocol::Tcp, &to(20050));
    // More that leads to the same ports of the container.
    let more =
        [rest.clone(), rules(&server, Protocol::Tcp, &["0.0.0.0:7", "[::]:7"], 20050)].concat();
    replace(&rest, &more);
    assert_eq!(ask(&lab.client, Protocol::Tcp, &to(7)), "b sees 192.0.2.10");
    // Whoever has flushed everything meanwhile.
    inside(&lab.host, || lab.firewall.delete()).unwrap();
    replace(&more, &all);
    assert_eq!(ask(&lab.client, Protocol::Tcp, &to(20050)), "b sees 192.0.2.10");
    lab.unpublish(&all);
    assert_eq!(inside(&lab.host, || lab.firewall.published()).unwrap(), []);
}

#[test]
fn what_a_dead_container_has_left_makes_way_for_a_range() {
    let lab = Lab::new();
    let (dead, server) = (lab.container(2), lab.container(3));
    serve(&server, Protocol::Tcp, &[(20000, "first"), (20050, "other")]);
    lab.publish(&range(&dead, Protocol::Tcp, (&["0.0.0.0:20040", "[::]:20040"], 20040), 100));
    lab.publish(&range(&server, Protocol::Tcp, (&ALL, 20000), 100));
    assert_eq!(
        ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:20050")),
        "other sees 192.0.2.10"
    );
    let published = inside(&lab.host, || lab.firewall.published()).unwrap();
    assert!(published.iter().all(|rule| rule.owner == server.id), "{published:?}");
}

#[test]
fn the_dead_lose_their_ranges_and_the_living_keep_theirs() {
    let lab = Lab::new();
    let (dead, living) = (lab.container(2), lab.container(3));
    serve_tcp(&living.endpoint.netns, 20000, "living");
    lab.publish(&range(&living, Protocol::Tcp, (&ALL, 20000), 100));
    lab.publish(&range(&dead, Protocol::Udp, (&ALL, 20000), 100));
    let is_dead = |owner: &model::ContainerId| Ok::<_, net::nft::NftError>(*owner == dead.id);
    inside(&lab.host, || lab.firewall.unpublish_dead(is_dead)).unwrap();
    let published = inside(&lab.host, || lab.firewall.published()).unwrap();
    assert!(published.iter().all(|rule| rule.owner == living.id), "{published:?}");
    let said = ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:20000"));
    assert_eq!(said, "living sees 192.0.2.10");
}

#[test]
fn the_host_is_asked_about_ranges_as_well() {
    let mut lab = Lab::new();
    let server = lab.container(2);
    serve(&server, Protocol::Tcp, &[(20099, "last"), (150, "moved")]);
    let asked = inside(&lab.host, || open_firewall(&lab.names, &lab.bridge));
    lab.firewall = asked.with_entry(Entry::Admitted);
    let same = range(&server, Protocol::Tcp, (&ALL, 20000), 100);
    let moved = range(&server, Protocol::Tcp, (&["0.0.0.0:3000", "[::]:3000"], 100), 100);
    let known = lab.wanted(&[same, moved].concat());
    inside(&lab.host, || lab.firewall.rebuild(&mut Source::OneContainer(&known))).unwrap();
    // The first packet asks, the second one is let in.
    for (port, name) in [(20099, "last"), (3050, "moved")] {
        let said = ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:{port}"));
        assert_eq!(said, format!("{name} sees 192.0.2.10"));
    }
    let intact = inside(&lab.host, || lab.firewall.is_intact()).unwrap();
    assert!(intact, "the kernel lists the rules as they were written");
}
