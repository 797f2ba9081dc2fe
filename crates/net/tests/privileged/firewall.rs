//! The tables in the kernel: what is there is what was planned, and comes back when flushed.

use std::sync::Barrier;
use std::thread;

use model::port::Protocol;
use net::host::Ipv6Loopback;
use net::netlink::{Batch, Head, Socket, Writer, flag};
use net::nft::{Firewall, ForeignChain, Source};
use net::scan;

use crate::lab::{HOST_V4, Lab, ask, inside, open_firewall, rules, serve_tcp, sysctl};

const NFTABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = NFTABLES;
const DELETE_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const DELETE_CHAIN: u16 = NFTABLES | 5;
const DELETE_RULE: u16 = NFTABLES | 8;
const DELETE_SET: u16 = NFTABLES | 11;

/// One change of nftables, made past the crate.
fn change(kind: u16, flags: u16, family: u8, body: impl FnOnce(&mut net::netlink::Writer)) {
    let frame = |kind| Head { kind, flags: 0, step: "frame" };
    let mut batch = Batch::of(frame(0x10), &[0, 0, 0, 10], |_| {});
    let head = Head { kind, flags: flags | flag::ACK, step: "change nftables" };
    batch.message(head, &[family, 0, 0, 0], body);
    batch.message(frame(0x11), &[0, 0, 0, 10], |_| {});
    Socket::netfilter().unwrap().execute(batch).unwrap();
}

/// What `nft flush ruleset` does.
pub(crate) fn flush_ruleset() {
    change(DELETE_TABLE, 0, 0, |_| {});
}

#[test]
fn the_kernel_has_the_planned_rules() {
    let lab = Lab::new();
    inside(&lab.host, || {
        assert!(lab.firewall.is_intact().unwrap());
        change(DELETE_RULE, 0, 2, |w| {
            w.text(1, "dhow");
            w.text(2, "to_bridge");
        });
        assert!(!lab.firewall.is_intact().unwrap(), "rules are missing");
        lab.firewall.rebuild(&mut Source::Everything(&mut || Ok(lab.wanted(&[])))).unwrap();
        assert!(lab.firewall.is_intact().unwrap());
        flush_ruleset();
        assert!(!lab.firewall.is_intact().unwrap(), "tables are missing");
    });
}

/// Other software loads `br_netfilter` at any time.
#[test]
fn a_host_that_changed_gets_other_rules() {
    let lab = Lab::new();
    assert_eq!(lab.bridge.ipv6_loopback, Ipv6Loopback::Published);
    inside(&lab.host, || {
        sysctl("bridge/bridge-nf-call-ip6tables", "1");
        let bridge =
            net::bridge::ensure_default(&lab.names, || Ok(Vec::new()), |_| Ok(())).unwrap();
        assert_eq!(bridge.ipv6_loopback, Ipv6Loopback::Closed);
        let firewall = open_firewall(&lab.names, &bridge);
        assert!(!firewall.is_intact().unwrap());
        firewall.ensure(&mut Source::Everything(&mut || Ok(lab.wanted(&[])))).unwrap();
        assert!(firewall.is_intact().unwrap() && !lab.firewall.is_intact().unwrap());
    });
}

#[test]
fn a_flush_heals_with_all_that_was_published() {
    let lab = Lab::new();
    let (old, new) = (lab.container(2), lab.container(3));
    serve_tcp(&old.endpoint.netns, 80, "old");
    serve_tcp(&new.endpoint.netns, 80, "new");
    serve_tcp(&lab.client, 80, "client");
    let before = rules(&old, Protocol::Tcp, &["0.0.0.0:8080", "[::]:8080"], 80);
    let after = rules(&new, Protocol::Tcp, &["0.0.0.0:8081", "[::]:8081"], 80);
    lab.publish(&before);
    inside(&lab.host, flush_ruleset);
    let all = [before.clone(), after.clone()].concat();
    lab.publish_among(&after, &all);
    assert_eq!(ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8080"))[..3], *"old");
    assert_eq!(ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8081"))[..3], *"new");
    let out = ask(&old.endpoint.netns, Protocol::Tcp, "192.0.2.10:80");
    assert_eq!(out, format!("client sees {HOST_V4}"));
    // Taking back after a flush is no error.
    inside(&lab.host, flush_ruleset);
    lab.unpublish(&all);
}

/// Deletes a map, and before it what uses it.
fn delete_dnat_any(family: u8) {
    let named = |kind, name: u16, value: &str| {
        change(kind, 0, family, |w| {
            w.text(1, "dhow");
            w.text(name, value);
        });
    };
    for chain in ["prerouting", "output", "publish"] {
        named(DELETE_RULE, 2, chain);
    }
    named(DELETE_CHAIN, 3, "publish");
    named(DELETE_SET, 2, "dnat_any");
}

#[test]
fn tables_that_lost_their_sets_are_built_again() {
    let lab = Lab::new();
    let server = lab.container(2);
    serve_tcp(&server.endpoint.netns, 80, "server");
    inside(&lab.host, || [2, 10].into_iter().for_each(delete_dnat_any));
    lab.publish(&rules(&server, Protocol::Tcp, &["0.0.0.0:8080"], 80));
    ask(&lab.client, Protocol::Tcp, &format!("{HOST_V4}:8080"));
}

/// Between asking what should be there and building it, another process builds and publishes.
#[test]
fn tables_that_were_built_meanwhile_are_not_replaced() {
    let lab = Lab::new();
    let server = lab.container(2);
    let theirs = rules(&server, Protocol::Tcp, &["0.0.0.0:8080"], 80);
    inside(&lab.host, || {
        flush_ruleset();
        let other = open_firewall(&lab.names, &lab.bridge);
        let mut build_slowly = || {
            let read_before = lab.wanted(&[]);
            let mut everything = || Ok(lab.wanted(&theirs));
            other.publish(&theirs, &mut Source::Everything(&mut everything))?;
            Ok(read_before)
        };
        lab.firewall.ensure(&mut Source::Everything(&mut build_slowly)).unwrap();
        assert_eq!(lab.firewall.published().unwrap(), theirs);
    });
}

/// What should be there is another thing since it was asked for, though nothing of it is there yet.
#[test]
fn who_builds_what_is_outdated_asks_again() {
    let lab = Lab::new();
    let server = lab.container(2);
    let former = rules(&server, Protocol::Tcp, &["0.0.0.0:8080"], 80);
    inside(&lab.host, || {
        flush_ruleset();
        let other = open_firewall(&lab.names, &lab.bridge);
        let mut asked = 0;
        let mut wanted = || {
            asked += 1;
            if asked > 1 {
                return Ok(lab.wanted(&[]));
            }
            let read_before = lab.wanted(&former);
            other.outdate()?;
            assert!(other.published()?.is_empty());
            Ok(read_before)
        };
        lab.firewall.ensure(&mut Source::Everything(&mut wanted)).unwrap();
        assert_eq!((asked, lab.firewall.published().unwrap()), (2, Vec::new()));
    });
}

/// Whoever builds, nobody's port is lost: a table is replaced only if nothing changed since what
/// should be in it was asked for.
#[test]
fn many_publish_while_it_is_flushed() {
    const WORKERS: u8 = 8;
    const ROUNDS: u16 = 20;
    let lab = Lab::new();
    // Stands for the database: what is written before it is published.
    let database = std::sync::Mutex::new(Vec::new());
    let containers: Vec<_> = (0..WORKERS).map(|n| lab.container(n + 2)).collect();
    let barrier = Barrier::new(usize::from(WORKERS) + 1);
    thread::scope(|scope| {
        for (worker, container) in (0_u16..).zip(&containers) {
            let (lab, database, barrier) = (&lab, &database, &barrier);
            let publish_one = move |firewall: &Firewall, port| {
                let own = rules(container, Protocol::Tcp, &[&format!("0.0.0.0:{port}")], 80);
                database.lock().unwrap().extend(own.clone());
                let mut everything = || Ok(lab.wanted(&database.lock().unwrap()));
                firewall.publish(&own, &mut Source::Everything(&mut everything)).unwrap();
            };
            let work = move || {
                // Each worker is a process of its own, with its own socket.
                let firewall = open_firewall(&lab.names, &lab.bridge);
                barrier.wait();
                let ports = (0..ROUNDS).map(|round| 10_000 + worker * ROUNDS + round);
                ports.for_each(|port| publish_one(&firewall, port));
            };
            scope.spawn(move || inside(&lab.host, work));
        }
        let (host, barrier) = (&lab.host, &barrier);
        let flush = move || {
            barrier.wait();
            (0..10).for_each(|_| flush_ruleset());
        };
        scope.spawn(move || inside(host, flush));
    });
    let everything = database.into_inner().unwrap();
    inside(&lab.host, || {
        // The last flush may have come after the last publishing.
        lab.firewall.ensure(&mut Source::Everything(&mut || Ok(lab.wanted(&everything)))).unwrap();
        let mut published = lab.firewall.published().unwrap();
        published.sort_by_key(|rule| rule.host);
        let mut expected = everything.clone();
        expected.sort_by_key(|rule| rule.host);
        assert_eq!(published, expected);
        assert!(lab.firewall.is_intact().unwrap());
    });
}

/// A base chain as others make it.
fn foreign_chain(name: &str, hook: u32, policy: u32) {
    change(NEW_CHAIN, flag::CREATE, 2, |w| {
        w.text(1, "filter");
        w.text(3, name);
        w.nest(4, |w| {
            w.network_u32(1, hook);
            w.network_u32(2, 0);
        });
        w.network_u32(5, policy);
        w.text(7, "filter");
    });
}

/// A rule of one expression behind a counter: `reject`, or `accept`.
fn foreign_rule(chain: &str, last: &str) {
    const NEW_RULE: u16 = NFTABLES | 6;
    change(NEW_RULE, flag::CREATE | flag::APPEND, 2, |w| {
        w.text(1, "filter");
        w.text(2, chain);
        w.nest(4, |w| foreign_expressions(w, last));
    });
}

fn foreign_expressions(w: &mut Writer, last: &str) {
    expression(w, "counter", |_| {});
    match last {
        // With a reset.
        "reject" => expression(w, last, |w| w.network_u32(1, 1)),
        _ => expression(w, "immediate", accept),
    }
}

fn expression(w: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    w.nest(1, |w| {
        w.text(1, name);
        w.nest(2, data);
    });
}

/// The verdict, in its register.
fn accept(w: &mut Writer) {
    w.network_u32(1, 0);
    w.nest(2, |w| w.nest(2, |w| w.network_u32(1, 1)));
}

#[test]
fn what_others_do_with_packets_is_told() {
    let lab = Lab::new();
    inside(&lab.host, || {
        assert_eq!(lab.firewall.foreign_chains().unwrap(), []);
        change(NEW_TABLE, flag::CREATE, 2, |w| w.text(1, "filter"));
        foreign_chain("FORWARD", 2, 0);
        foreign_chain("INPUT", 1, 1);
        foreign_chain("early", 1, 1);
        foreign_chain("OUTPUT", 3, 0);
        foreign_rule("INPUT", "accept");
        foreign_rule("INPUT", "reject");
        foreign_rule("early", "reject");
        foreign_rule("early", "accept");
        let told = |chain: &ForeignChain| format!("{chain} {:?} {:?}", chain.hook, chain.ending);
        let chains = lab.firewall.foreign_chains().unwrap();
        assert_eq!(
            chains.iter().map(told).collect::<Vec<_>>(),
            [
                "ip filter INPUT Input Passes",
                "ip filter early Input Rule",
                "ip filter FORWARD Forward Policy",
            ]
        );
    });
}

#[test]
fn a_scan_names_the_owners_and_a_teardown_leaves_nothing() {
    let lab = Lab::new();
    let server = lab.container(2);
    let published = rules(&server, Protocol::Tcp, &["0.0.0.0:80", "127.0.0.1:81", "[::]:80"], 80);
    lab.publish(&published);
    inside(&lab.host, || {
        let found = scan::scan(&lab.names).unwrap();
        assert_eq!(found.bridge, scan::Presence::Present);
        let mut ports = found.ports;
        ports.sort_by_key(|rule| rule.host);
        let mut expected = published.clone();
        expected.sort_by_key(|rule| rule.host);
        assert_eq!(ports, expected);
        let on_bridge: Vec<_> = found
            .links
            .iter()
            .filter(|link| link.bridge == Some(lab.bridge.index))
            .map(|link| link.name.clone())
            .collect();
        assert_eq!(on_bridge, server.endpoint.host_link.as_slice());
        assert!(net::names::is_link_of(on_bridge[0].as_str(), &server.id));

        scan::teardown(&lab.names).unwrap();
        scan::teardown(&lab.names).unwrap();
        let left = scan::scan(&lab.names).unwrap();
        assert_eq!(left.bridge, scan::Presence::Absent);
        assert_eq!((left.links, left.ports), (Vec::new(), Vec::new()));
        assert!(!lab.firewall.is_intact().unwrap());
    });
}
