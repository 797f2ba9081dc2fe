//! Ports of the host: who has them, and what is said to who does not get them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use model::port::{PortBinding, parse_publish};
use net::endpoint;
use net::host::Stack;
use net::nft::PortRule;
use net::ports::{Others, PortError, Reserved, Span, reserve};

use crate::lab::{container_id, inside, read_sysctl, sysctl};

fn bindings(published: &[&str]) -> Vec<PortBinding> {
    published.iter().flat_map(|text| parse_publish(text).unwrap()).collect()
}

fn get(published: &[&str]) -> Result<Vec<Reserved>, PortError> {
    get_beside(published, &[], &[])
}

/// Beside another container, called `web`.
fn get_beside(
    wished: &[&str],
    published: &[PortRule],
    claimed: &[Span],
) -> Result<Vec<Reserved>, PortError> {
    let allocated = |span: &Span, other: &Span| {
        let address = (span.ip, span.common(other)?).into();
        Some(PortError::Allocated { address, by: Some("web".to_owned()) })
    };
    let claim = |spans: &[Span]| {
        let mut pairs = spans.iter().flat_map(|span| claimed.iter().map(move |it| (span, it)));
        pairs.find_map(|(span, it)| allocated(span, it)).map_or(Ok(()), Err)
    };
    let others = Others {
        had: &[],
        published: &|| published.to_vec(),
        claim: &claim,
        claimed: &|| Ok(claimed.iter().map(|span| (*span, "web".to_owned())).collect()),
        name: &|_| Some("web".to_owned()),
    };
    reserve(&bindings(wished), Stack::Dual, &others)
}

fn in_new_host(work: impl FnOnce() + Send) {
    inside(&endpoint::isolated().unwrap(), work);
}

#[test]
fn a_reserved_port_is_refused_to_all_others() {
    in_new_host(|| {
        let held = get(&["8080:80", "5353:53/udp", "127.0.0.1:9000:90"]).unwrap();
        for address in ["0.0.0.0:8080", "127.0.0.1:8080", "[::]:8080", "127.0.0.1:9000"] {
            // The standard library sets SO_REUSEADDR, as every server does.
            let error = TcpListener::bind(address).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{address}");
        }
        assert!(UdpSocket::bind("127.0.0.1:5353").is_err());
        assert!(UdpSocket::bind("[::1]:5353").is_err());
        drop(held);
        TcpListener::bind("0.0.0.0:8080").unwrap();
    });
}

#[test]
fn a_reserved_port_is_closed_and_not_silent() {
    in_new_host(|| {
        let _held = get(&["8080:80"]).unwrap();
        for address in ["127.0.0.1:8080", "[::1]:8080"] {
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn a_port_of_another_program_is_in_use() {
    in_new_host(|| {
        let _foreign = TcpListener::bind("127.0.0.1:8080").unwrap();
        let error = get(&["8080:80"]).unwrap_err();
        let expected = "failed to bind host port 0.0.0.0:8080/tcp: address already in use";
        assert_eq!(error.to_string(), expected);
        // Nothing of a refused wish stays: the other port is free again.
        get(&["8081:80", "8080:80"]).unwrap_err();
        TcpListener::bind("0.0.0.0:8081").unwrap();
        let error = get(&["192.0.2.99:80:80"]).unwrap_err();
        let expected =
            "failed to bind host port 192.0.2.99:80/tcp: cannot assign requested address";
        assert_eq!(error.to_string(), expected);
    });
}

#[test]
fn a_port_of_another_container_is_allocated() {
    in_new_host(|| {
        let held = get(&["8080:80"]).unwrap();
        let addresses = ["172.17.0.2/16".parse().unwrap()];
        let rules = held[0].rules(container_id(1), &addresses);
        let error = get_beside(&["8080:81"], &rules, &[]).unwrap_err();
        let expected = "Bind for 0.0.0.0:8080 failed: port is already allocated";
        assert_eq!(error.to_string(), format!("{expected} by container web"));
        // Twice in one wish is the same.
        let error = get(&["8081:80", "8081:81"]).unwrap_err();
        assert_eq!(error.to_string(), expected.replace("8080", "8081"));
    });
}

#[test]
fn a_range_gives_the_first_that_is_free() {
    in_new_host(|| {
        let _foreign = TcpListener::bind("0.0.0.0:8000").unwrap();
        let _half = TcpListener::bind("[::1]:8001").unwrap();
        let held = get(&["8000-8002:80"]).unwrap();
        let ports: Vec<_> = held[0].host.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["0.0.0.0:8002", "[::]:8002"]);
        let error = get(&["8000-8002:80"]).unwrap_err();
        let expected = "failed to bind host ports 0.0.0.0:8000-8002/tcp: all are in use";
        assert_eq!(error.to_string(), expected);
    });
}

#[test]
fn a_random_port_is_free_in_both_families_and_of_the_range() {
    in_new_host(|| {
        sysctl("ipv4/ip_local_port_range", "40000 40015");
        assert_eq!(read_sysctl("ipv4/ip_local_port_range"), "40000\t40015");
        // Only one port is free in both families.
        let _half: Vec<_> =
            (40001..=40015).map(|port| TcpListener::bind(("::1", port)).unwrap()).collect();
        let held = get(&["80"]).unwrap();
        let hosts: Vec<_> = held[0].host.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["0.0.0.0:40000", "[::]:40000"]);
        assert_eq!(held[0].sockets.len(), 2);
        assert!(matches!(get(&["80"]).unwrap_err(), PortError::Bind { .. }));
    });
}

/// A server that was stopped a moment ago leaves connections in `TIME_WAIT`.
#[test]
fn remains_of_a_former_server_are_no_hindrance() {
    in_new_host(|| {
        let server = TcpListener::bind("127.0.0.1:8080").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:8080").unwrap();
        let (mut stream, _) = server.accept().unwrap();
        stream.write_all(b"bye").unwrap();
        drop((stream, server));
        client.read_to_string(&mut String::new()).unwrap();
        drop(client);
        let _held = get(&["8080:80"]).unwrap();
        let error = TcpListener::bind("127.0.0.1:8080").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        let error = TcpStream::connect("127.0.0.1:8080").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn without_ipv6_only_ipv4_is_reserved() {
    in_new_host(|| {
        let others = Others {
            had: &[],
            published: &Vec::new,
            claim: &|_| Ok(()),
            claimed: &|| Ok(Vec::new()),
            name: &|_| None,
        };
        let held = reserve(&bindings(&["8080:80"]), Stack::V4, &others).unwrap();
        assert_eq!(held[0].host, ["0.0.0.0:8080".parse().unwrap()]);
        TcpListener::bind("[::1]:8080").unwrap();
        let error = reserve(&bindings(&["[::1]:8080:80"]), Stack::V4, &others).unwrap_err();
        assert_eq!(error.to_string(), "cannot publish ::1: IPv6 is disabled on this host");
    });
}

#[test]
fn fixed_ports_go_before_random_ones_and_the_order_stays() {
    in_new_host(|| {
        sysctl("ipv4/ip_local_port_range", "40000 40001");
        let held = get(&["80", "40000:81", "40001:82/udp"]).unwrap();
        let shown: Vec<_> =
            held.iter().map(|r| format!("{}->{}", r.host[0].port(), r.container)).collect();
        assert_eq!(shown, ["40001->80/tcp", "40000->81/tcp", "40001->82/udp"]);
    });
}

#[test]
fn sctp_needs_no_sockets() {
    in_new_host(|| {
        let held = get(&["8080:80/sctp"]).unwrap();
        assert_eq!(held[0].host.len(), 2);
    });
}

/// Neither a port of its own nor another container's is chosen, whether or not the kernel knows the protocol.
#[test]
fn a_random_port_of_sctp_needs_no_sockets() {
    in_new_host(|| {
        sysctl("ipv4/ip_local_port_range", "40000 40003");
        let wished = ["80/sctp", "40000:81/sctp", "82/sctp"];
        let held = get(&wished).unwrap();
        let mut ports: Vec<_> = held.iter().map(|one| one.host[0].port()).collect();
        assert_eq!(ports[1], 40000);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3, "{held:?}");
        assert!(ports.iter().all(|port| (40000..=40003).contains(port)), "{ports:?}");
        if !held[0].sockets.is_empty() {
            return;
        }
        let rule = |host: &str| PortRule {
            owner: container_id(7),
            protocol: model::port::Protocol::Sctp,
            host: host.parse().unwrap(),
            container: "10.0.0.2:80".parse().unwrap(),
            count: 1,
        };
        let rules = ["0.0.0.0:40001", "127.0.0.1:40002"].map(rule);
        let held = get_beside(&["40000:81/sctp", "82/sctp"], &rules, &[]).unwrap();
        assert_eq!(held[1].host[0].port(), 40003);
        let error = get_beside(&wished, &rules, &[]).unwrap_err();
        assert!(matches!(error, PortError::Bind { .. }), "{error}");
    });
}

/// Where the kernel has no sockets of it, others' ports are known by what they publish and by what they have noted.
#[test]
fn a_fixed_port_of_sctp_is_had_by_one_alone() {
    in_new_host(|| {
        let held = get(&["36411:80/sctp"]).unwrap();
        let rules = held[0].rules(container_id(1), &["172.17.0.2/16".parse().unwrap()]);
        let expected = "Bind for 0.0.0.0:36411 failed: port is already allocated";
        let by_web = format!("{expected} by container web");
        for wished in ["36411:81/sctp", "36400-36420:36400-36420/sctp"] {
            let error = get_beside(&[wished], &rules, &[]).unwrap_err();
            assert_eq!(error.to_string(), by_web, "{wished}");
        }
        let error = get_beside(&["127.0.0.1:36411:81/sctp"], &rules, &[]).unwrap_err();
        assert_eq!(error.to_string(), by_web.replace("0.0.0.0", "127.0.0.1"));
        // The next of some, another address's, and another protocol's are free.
        let other = get_beside(&["36411-36412:81/sctp", "36411:81/udp"], &rules, &[]).unwrap();
        assert_eq!(other[0].host[0].port(), 36412);
        drop((held, other));
        let protocol = model::port::Protocol::Sctp;
        let noted = [Span { protocol, ..span(36411, 36411) }];
        let error = get_beside(&["36411:81/sctp"], &[], &noted).unwrap_err();
        assert_eq!(error.to_string(), by_web);
        let error = get(&["36411:80/sctp", "36411:81/sctp"]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    });
}

/// What another has noted: `tcp` ports of every address of the older family.
fn span(first: u16, last: u16) -> Span {
    let ip = std::net::Ipv4Addr::UNSPECIFIED.into();
    Span { protocol: model::port::Protocol::Tcp, ip, first, last }
}

#[test]
fn a_range_is_one_thing_without_sockets() {
    in_new_host(|| {
        let held = get(&["20000-29999:20000-29999", "80:80"]).unwrap();
        let shown: Vec<_> =
            held.iter().map(|it| (it.host.len(), it.count, it.sockets.len())).collect();
        assert_eq!(shown, [(2, 10_000, 0), (2, 1, 2)]);
    });
}

#[test]
fn a_range_is_refused_where_a_program_has_one_of_its_ports() {
    in_new_host(|| {
        let refused = |kind: &str| {
            let wished = format!("20000-20099:20000-20099/{kind}");
            get(&[&wished]).map(|_| ()).map_err(|error| error.to_string())
        };
        let listening = TcpListener::bind("127.0.0.1:20050").unwrap();
        let expected = "failed to bind host port 0.0.0.0:20050/tcp: address already in use";
        assert_eq!(refused("tcp"), Err(expected.to_owned()));
        assert_eq!(refused("udp"), Ok(()), "another protocol");
        drop(listening);
        assert_eq!(refused("tcp"), Ok(()), "given back");
        let _udp = UdpSocket::bind("[::1]:20099").unwrap();
        let expected = "failed to bind host port [::]:20099/udp: address already in use";
        assert_eq!(refused("udp"), Err(expected.to_owned()));
        // Who has bound and does not listen, as another dhow.
        let _bound = get(&["20000:80"]).unwrap();
        let expected = "failed to bind host port 0.0.0.0:20000/tcp: address already in use";
        assert_eq!(refused("tcp"), Err(expected.to_owned()));
    });
}

#[test]
fn who_has_a_range_is_named() {
    in_new_host(|| {
        let why = |wished: &[&str], claimed: &[Span]| {
            get_beside(wished, &[], claimed).unwrap_err().to_string()
        };
        let allocated =
            |address: &str| format!("Bind for {address} failed: port is already allocated");
        let by_web = |address: &str| format!("{} by container web", allocated(address));
        let other = [span(20090, 30000)];
        assert_eq!(why(&["20000-20099:1-100"], &other), by_web("0.0.0.0:20090"));
        assert_eq!(why(&["20095:80"], &other), by_web("0.0.0.0:20095"));
        let single = get(&["20050:80"]).unwrap();
        let rules = single[0].rules(container_id(1), &["172.17.0.2/16".parse().unwrap()]);
        let error = get_beside(&["20000-20099:1-100"], &rules, &[]).unwrap_err();
        assert_eq!(error.to_string(), by_web("0.0.0.0:20050"));
        // Twice in one wish.
        let twice = why(&["30000-30099:1-100", "30099-30199:1-101"], &[]);
        assert_eq!(twice, allocated("0.0.0.0:30099"));
        assert_eq!(why(&["30000-30099:1-100", "30050:80"], &[]), allocated("0.0.0.0:30050"));
    });
}

#[test]
fn a_chosen_port_is_none_of_a_range() {
    in_new_host(|| {
        sysctl("ipv4/ip_local_port_range", "40000 40019");
        let port = |wished: &[&str], claimed: &[Span]| {
            let held = get_beside(wished, &[], claimed).unwrap();
            held.last().unwrap().host[0].port()
        };
        assert_eq!(port(&["80"], &[span(40000, 40018)]), 40019);
        assert_eq!(
            port(&["40001-40017:40001-40017", "40000-40019:80"], &[span(40000, 40000)]),
            40018
        );
    });
}
