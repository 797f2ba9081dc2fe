//! What the host is to a network (`gateway_mode`, `host_ipv4`, `trusted_host_interfaces`, masquerading): tried by a
//! neighbour of the host's, which knows the way to the containers' own addresses.

use serde_json::json;
use testkit::{Host, until};

use crate::firewall::{HOST, NEIGHBOUR, Outside, by_loopback, nft, serve, with_neighbour};
use crate::network_members::{address, is_kept_from, place, reaches};
use crate::networks::{has_ipv6, said, subnet};

/// The host's other addresses, of which one is the neighbour's.
const HOST6: &str = "2001:db8:7::1";
const NEIGHBOUR6: &str = "2001:db8:7::2";

/// A network with these options of Docker's, whose neighbour knows the way there.
fn network(host: &Host, outside: &Outside, options: &[&str]) -> String {
    let subnet = subnet();
    let options = options.iter().map(|option| format!("com.docker.network.{option}"));
    let options: Vec<String> = options.flat_map(|option| ["-o".to_owned(), option]).collect();
    let mut words = vec!["network", "create", "--subnet", &subnet];
    words.extend(options.iter().map(String::as_str));
    host.ok(&[&words[..], &["net"]].concat());
    outside.ip(&["route", "replace", &subnet, "via", HOST]);
    subnet
}

/// A container on it that publishes its port 80 at the host's port 8080, and serves at 81 as well.
fn server(host: &Host) -> String {
    serve(host, "web", &["--network", "net", "-p", "8080:80"]);
    host.ok(&["exec", "web", "httpd", "-p", "81", "-h", "/var/www"]);
    address(host, "web", "net")
}

fn pings(outside: &Outside, address: &str) -> bool {
    outside.said(&["busybox", "ping", "-c1", "-W2", address]).contains(" 0% packet loss")
}

/// Waits until the neighbour has seen something of what a container sends under this address.
#[track_caller]
fn until_seen_as(host: &Host, outside: &Outside, way: (&str, &str)) {
    until("what it sends", || is_seen_as(host, outside, way));
}

/// Whether the neighbour sees what a container sends under this address.
fn is_seen_as(host: &Host, outside: &Outside, (to, source): (&str, &str)) -> bool {
    let (table, kind) = if source.contains(':') { ("ip6", "icmpv6") } else { ("ip", "icmp") };
    let rules = format!(
        "add table {table} seen {{ chain input {{ type filter hook input priority 0; \
         {table} saddr {source} {kind} type echo-request counter; }}; }}"
    );
    outside.said(&["nft", &rules]);
    // Whether it is answered is not asked.
    let _ = host.run(&["exec", "web", "busybox", "ping", "-c2", "-W1", to]);
    let told = outside.said(&["nft", "list", "table", table, "seen"]);
    outside.said(&["nft", "delete", "table", table, "seen"]);
    assert!(told.contains("counter packets"), "{told}");
    !told.contains("packets 0 ")
}

#[test]
fn containers_of_a_routed_network_are_reached_at_their_own_addresses() {
    with_neighbour(|host, outside| {
        network(host, outside, &["bridge.gateway_mode_ipv4=routed"]);
        let web = server(host);
        outside.reaches(&web, 80); // what is published is open
        outside.is_kept_from(&web, 81); // and nothing else
        outside.is_kept_from(HOST, 8080); // the host leads nobody there
        until("it is pinged", || pings(outside, &web));
        until_seen_as(host, outside, (NEIGHBOUR, &web)); // nothing is rewritten
        let shown = host.ok(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let direct = json!({"HostIp": "0.0.0.0", "HostPort": ""});
        assert!(shown["80/tcp"].as_array().unwrap().contains(&direct), "{shown}");
        assert!(host.ok(&["ps", "--format", "{{.Ports}}"]).contains("80/tcp"));
        let audit = host.ok(&["port", "audit"]);
        assert!(audit.contains(&format!("{web}:80/tcp")), "{audit}");
        // Another network's containers are as everybody else.
        host.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
        reaches(host, "other", &web);
        is_kept_from(host, "other", &format!("{web}:81"));
        // What changes while it runs.
        host.ok(&["update", "-p", "8081:81", "web"]);
        outside.reaches(&web, 81);
        outside.reaches(&web, 80);
        host.ok(&["update", "--publish-rm", "80", "web"]);
        outside.reaches(&web, 81);
        outside.is_kept_from(&web, 80);
        // What is open goes with it; who has the address then is another.
        host.ok(&["rm", "-f", "web"]);
        serve(host, "next", &["--network", "net"]);
        host.ok(&["exec", "next", "httpd", "-p", "81", "-h", "/var/www"]);
        assert_eq!(address(host, "next", "net"), web);
        outside.is_kept_from(&web, 80);
        outside.is_kept_from(&web, 81);
    });
}

/// Ports that somebody flushes come back with the next start, as others do.
#[test]
fn what_is_open_at_its_own_address_is_built_again() {
    with_neighbour(|host, outside| {
        network(host, outside, &["bridge.gateway_mode_ipv4=routed"]);
        let web = server(host);
        said(&["nft", "flush", "ruleset"]);
        host.ok(&["run", "--rm", "busybox", "true"]);
        outside.reaches(&web, 80);
        outside.is_kept_from(&web, 81);
    });
}

/// Its own addresses of IPv6, and the host's of IPv4.
#[test]
fn a_network_is_routed_in_one_family() {
    if !has_ipv6() {
        return;
    }
    with_neighbour(|host, outside| {
        said(&["ip", "addr", "add", &format!("{HOST6}/64"), "dev", "eth0", "nodad"]);
        outside.ip(&["addr", "add", &format!("{NEIGHBOUR6}/64"), "dev", "eth0", "nodad"]);
        network(host, outside, &["bridge.gateway_mode_ipv6=routed"]);
        let web = server(host);
        let six = place(host, "web", "net")["GlobalIPv6Address"].as_str().unwrap().to_owned();
        outside.ip(&["-6", "route", "replace", &six, "via", HOST6]);
        outside.reaches(&format!("[{six}]"), 80);
        outside.is_kept_from(&format!("[{six}]"), 81);
        outside.is_kept_from(&format!("[{HOST6}]"), 8080);
        until("it is pinged", || pings(outside, &six));
        until_seen_as(host, outside, (NEIGHBOUR6, &six));
        // In the other one all is as usual.
        outside.reaches(HOST, 8080);
        outside.is_kept_from(&web, 80);
        until_seen_as(host, outside, (NEIGHBOUR, HOST));
        let shown = host.ok(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"]);
        let both =
            r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":""}]}"#;
        assert_eq!(shown, both);
    });
}

#[test]
fn an_unprotected_network_is_reached_at_all_ports() {
    with_neighbour(|host, outside| {
        network(host, outside, &["bridge.gateway_mode_ipv4=nat-unprotected"]);
        let web = server(host);
        outside.reaches(&web, 80);
        outside.reaches(&web, 81);
        outside.reaches(HOST, 8080); // what is published is led to as well
        until_seen_as(host, outside, (NEIGHBOUR, HOST)); // and what leaves is the host's
        // Containers of other networks are as everybody else (Docker 29; 28 kept them out).
        host.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
        reaches(host, "other", &format!("{web}:81"));
    });
}

/// Who goes by the gateway is a neighbour all the same.
#[test]
fn neighbours_that_are_kept_apart_are_so_by_way_of_the_host() {
    with_neighbour(|host, outside| {
        for mode in ["nat-unprotected", "routed"] {
            let mode = format!("bridge.gateway_mode_ipv4={mode}");
            let subnet = network(host, outside, &[&mode, "bridge.enable_icc=false"]);
            let on = ["--network", "net", "--cap-add", "NET_ADMIN"];
            serve(host, "web", &[&on[..], &["-p", "8080:80"]].concat());
            let sleep = ["busybox", "sleep", "1000"];
            host.ok(&[&["run", "-d", "--name", "peer"], &on[..], &sleep].concat());
            let (web, peer) = (address(host, "web", "net"), address(host, "peer", "net"));
            outside.reaches(&web, 80);
            // Both go by the host: their ports do not let them through to each other.
            let gateway = crate::networks::at(&subnet, 1);
            for (from, to) in [("peer", &web), ("web", &peer)] {
                host.ok(&["exec", from, "ip", "route", "add", to, "via", &gateway]);
            }
            is_kept_from(host, "peer", &web);
            let ping = host.run(&["exec", "peer", "busybox", "ping", "-c1", "-W1", &web]);
            assert!(ping.out.contains("100% packet loss"), "{mode}: {}", ping.out);
            host.ok(&["rm", "-f", "peer", "web"]);
            host.until_idle();
            host.ok(&["network", "rm", "net"]);
        }
    });
}

/// Where the host's rules are to hold, who publishes hears of ports that they are not asked about.
#[test]
fn ports_that_pass_by_the_rules_of_a_host_that_is_respected_are_told_of() {
    with_neighbour(|host, outside| {
        let etc = host.scratch().join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("dhow.toml"), "firewall = \"respect\"\n").unwrap();
        nft("add table ip filter
             add chain ip filter INPUT { type filter hook input priority 0; policy drop; }");
        network(host, outside, &["bridge.gateway_mode_ipv4=routed"]);
        let run =
            ["run", "--rm", "--network", "net", "-p", "8080:80", "-p", "81", "busybox", "true"];
        let warned = host.run(&run).err;
        let want = "WARNING: port 80/tcp of the container and 1 more will be open at the container's own address, \
                    whose network is routed: the host's firewall (ip filter INPUT) is not asked";
        assert!(warned.starts_with(want) && warned.lines().count() == 1, "{warned}");
        let led = host.run(&["run", "--rm", "-p", "8080:80", "busybox", "true"]);
        assert_eq!(led.err, "", "it is asked");
        std::fs::write(etc.join("dhow.toml"), "").unwrap();
        assert_eq!(
            host.run(&run).err,
            "",
            "nobody has promised that it is asked where packets pass"
        );
        nft("delete table ip filter");
    });
}

#[test]
fn who_comes_by_a_trusted_link_reaches_what_is_published() {
    with_neighbour(|host, outside| {
        network(host, outside, &["bridge.trusted_host_interfaces=lo:eth0"]);
        let web = server(host);
        outside.reaches(&web, 80);
        outside.is_kept_from(&web, 81);
        outside.reaches(HOST, 8080);
        host.ok(&["rm", "-f", "web"]);
        host.ok(&["network", "rm", "net"]);
        network(host, outside, &["bridge.trusted_host_interfaces=eth7"]);
        let web = server(host);
        outside.is_kept_from(&web, 80); // another link is none of these
        assert!(!pings(outside, &web));
    });
}

#[test]
fn what_leaves_has_the_address_that_is_asked_for() {
    with_neighbour(|host, outside| {
        said(&["ip", "addr", "add", "192.0.2.77/24", "dev", "eth0"]);
        said(&["ip", "addr", "add", &format!("{HOST6}/64"), "dev", "eth0", "nodad"]);
        said(&["ip", "addr", "add", "2001:db8:7::77/64", "dev", "eth0", "nodad"]);
        outside.ip(&["addr", "add", &format!("{NEIGHBOUR6}/64"), "dev", "eth0", "nodad"]);
        network(host, outside, &["host_ipv4=192.0.2.77", "host_ipv6=2001:db8:7::77"]);
        server(host);
        until_seen_as(host, outside, (NEIGHBOUR, "192.0.2.77"));
        assert!(!is_seen_as(host, outside, (NEIGHBOUR, HOST)));
        if has_ipv6() {
            until_seen_as(host, outside, (NEIGHBOUR6, "2001:db8:7::77"));
        }
        let masqueraded = host.ok(&["network", "firewall"]);
        assert!(masqueraded.contains("net"), "{masqueraded}");
        host.ok(&["rm", "-f", "web"]);
        host.ok(&["network", "rm", "net"]);
        // Nothing of it is left for the next network there.
        let subnet = network(host, outside, &["bridge.enable_ip_masquerade=false"]);
        let web = server(host);
        assert!(subnet.starts_with(&web[..web.rfind('.').unwrap()]));
        until_seen_as(host, outside, (NEIGHBOUR, &web));
    });
}

#[test]
fn gateway_modes_that_make_no_sense_are_refused() {
    let host = crate::host();
    let mode = "com.docker.network.bridge.gateway_mode_ipv4";
    for (option, says) in [
        (format!("{mode}=isolated"), "can only be used for an internal network"),
        (format!("{mode}=bridge"), "unknown gateway mode"),
        ("com.docker.network.host_ipv4=::1".to_owned(), "invalid ip"),
    ] {
        let refused = host.fails(1, &["network", "create", "-o", &option, "net"]);
        assert!(refused.contains(says), "{option}: {refused}");
    }
    // An internal network that is isolated has a bridge without an address, and neighbours.
    let isolated = format!("{mode}=isolated");
    let subnet = subnet();
    let words = ["network", "create", "--internal", "--ipv6=false", "--subnet", &subnet];
    host.ok(&[&words[..], &["-o", &isolated, "net"]].concat());
    crate::network_members::serve(&host, "net", "web", &[]);
    host.ok(&["run", "-d", "--name", "cc", "--network", "net", "busybox", "sleep", "1000"]);
    reaches(&host, "cc", "web");
    let bridge = crate::networks::bridge(&crate::networks::inspect(&host, "net"));
    let shown = said(&["ip", "-4", "addr", "show", "dev", &bridge]);
    assert!(!shown.contains("inet "), "{shown}");
    assert_eq!(said(&["ip", "-4", "route", "show", "dev", &bridge]), "");
}

/// Somebody's bridge is used as it is, and is theirs again when the network goes.
#[test]
fn a_network_is_put_on_a_bridge_that_is_there() {
    with_neighbour(|host, outside| {
        for words in [
            &["link", "add", "theirs", "type", "bridge"][..],
            &["link", "set", "theirs", "alias", "an administrator's"],
            &["addr", "add", "10.99.0.9/24", "dev", "theirs"],
            &["link", "set", "theirs", "up"],
        ] {
            said(&[&["ip"], words].concat());
        }
        let localnet = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/theirs/route_localnet");
        let shown = || said(&["ip", "-d", "addr", "show", "dev", "theirs"]);
        let before =
            (shown(), localnet().unwrap(), said(&["ip", "-6", "route", "show", "table", "local"]));
        network(host, outside, &["bridge.name=theirs"]);
        server(host);
        outside.reaches(HOST, 8080);
        until("the page, by loopback", || by_loopback(8080) == "page");
        let used = shown();
        assert!(used.contains("10.99.0.9/24") && used.contains("an administrator's"), "{used}");
        host.ok(&["rm", "-f", "web"]);
        host.until_idle();
        host.ok(&["network", "rm", "net"]);
        let bare = |text: &str| {
            let kept = |line: &&str| ["inet ", "alias "].iter().any(|word| line.contains(word));
            text.lines().filter(kept).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(bare(&shown()), bare(&before.0));
        assert_eq!(localnet().unwrap(), before.1);
        assert_eq!(
            said(&["ip", "-6", "route", "show", "table", "local", "dev", "theirs"])
                .matches("::1 ")
                .count(),
            0,
            "{}",
            before.2
        );
        // One that they take away is told, and not made anew.
        network(host, outside, &["bridge.name=theirs"]);
        said(&["ip", "link", "del", "theirs"]);
        let gone = host.run(&["run", "--rm", "--network", "net", "busybox", "true"]).err;
        assert!(gone.contains("bridge theirs is no more"), "{gone}");
        host.ok(&["network", "rm", "net"]);
        // Another root's is not used.
        said(&["ip", "link", "add", "other", "type", "bridge"]);
        said(&["ip", "link", "set", "other", "alias", "dhow 10.98.0.1/24"]);
        let create = ["network", "create", "-o", "com.docker.network.bridge.name=other", "net"];
        assert!(host.fails(1, &create).contains("belongs to somebody else"));
    });
}
