//! What becomes of published ports whose way out moves to a network that publishes otherwise.

use testkit::{Host, until};

use crate::firewall::{HOST, by_loopback, serve, with_neighbour};
use crate::network_members::address;
use crate::networks::{has_ipv6, said, subnet};

/// The host's address of IPv6 for its neighbour.
const HOST6: &str = "2001:db8:7::1";

fn create(host: &Host, name: &str, more: &[&str]) {
    let subnet = subnet();
    host.ok(&[&["network", "create", "--subnet", &subnet], more, &[name]].concat());
}

/// Where the container's port 80 is published.
fn ports(host: &Host) -> Vec<String> {
    host.ok(&["port", "web", "80"]).lines().map(str::to_owned).collect()
}

fn number(port: &str) -> u16 {
    port.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn ports_of_the_other_family_come_back() {
    if !has_ipv6() {
        return;
    }
    with_neighbour(|host, outside| {
        said(&["ip", "addr", "add", &format!("{HOST6}/64"), "dev", "eth0", "nodad"]);
        outside.ip(&["addr", "add", "2001:db8:7::2/64", "dev", "eth0", "nodad"]);
        create(host, "both", &["--ipv6"]);
        create(host, "four", &["--ipv6=false"]);
        host.ok(&["network", "create", "--ipv4=false", "--ipv6", "six"]);
        serve(host, "web", &["--network", "both", "-p", "0:80"]);
        let had = ports(host);
        let [four, six] = [number(&had[0]), number(&had[1])];
        assert_eq!((four, had.len()), (six, 2), "{had:?}");
        host.ok(&["network", "connect", "--gw-priority", "5", "four", "web"]);
        assert_eq!(ports(host), had[..1]);
        outside.sees(four);
        host.ok(&["network", "disconnect", "four", "web"]);
        assert_eq!(ports(host), had, "under their number");
        outside.reaches(&format!("[{HOST6}]"), six);
        // And a network without IPv4 shows none of it.
        host.ok(&["network", "disconnect", "both", "web"]);
        host.ok(&["network", "connect", "six", "web"]);
        let shown = ports(host);
        assert!(shown.len() == 1 && shown[0].starts_with("[::]:"), "{shown:?}");
        outside.reaches(&format!("[{HOST6}]"), number(&shown[0]));
    });
}

#[test]
fn the_next_network_says_at_which_address_ports_are() {
    with_neighbour(|host, outside| {
        create(host, "open", &["--ipv6=false"]);
        let binding = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
        create(host, "local", &["--ipv6=false", "-o", binding]);
        serve(host, "web", &["--network", "open", "-p", "8080:80"]);
        outside.sees(8080);
        host.ok(&["network", "connect", "--gw-priority", "5", "local", "web"]);
        assert_eq!(ports(host), ["127.0.0.1:8080"]);
        outside.is_kept_from(HOST, 8080); // it was asked for this host alone
        until("the page, by loopback", || by_loopback(8080) == "page");
        host.ok(&["network", "disconnect", "local", "web"]);
        assert_eq!(ports(host), ["0.0.0.0:8080"]);
        outside.sees(8080);
        // One that is in the way keeps everything as it was.
        let taken = std::net::TcpListener::bind("127.0.0.1:8090").unwrap();
        let two = subnet();
        let other = "com.docker.network.bridge.host_binding_ipv4=192.0.2.1";
        host.ok(&["network", "create", "--ipv6=false", "--subnet", &two, "-o", other, "eth"]);
        serve(host, "more", &["--network", "eth", "-p", "8090:80"]);
        let connect = ["network", "connect", "--gw-priority", "5", "local", "more"];
        let refused = host.fails(1, &connect);
        assert!(refused.contains("127.0.0.1:8090"), "{refused}");
        assert_eq!(host.ok(&["port", "more", "80"]), "192.0.2.1:8090");
        outside.reaches(HOST, 8090);
        assert!(std::net::TcpListener::bind("192.0.2.1:8090").is_err(), "the port is its own");
        drop(taken);
    });
}

#[test]
fn ports_are_led_to_or_open_as_the_network_has_it() {
    with_neighbour(|host, outside| {
        create(host, "nat", &["--ipv6=false"]);
        let mode = "com.docker.network.bridge.gateway_mode_ipv4=routed";
        create(host, "routed", &["--ipv6=false", "-o", mode]);
        serve(host, "web", &["--network", "nat", "-p", "8080:80"]);
        host.ok(&["network", "connect", "--gw-priority", "5", "routed", "web"]);
        let web = address(host, "web", "routed");
        outside.ip(&["route", "replace", &web, "via", HOST]);
        outside.reaches(&web, 80);
        outside.is_kept_from(HOST, 8080);
        // Nobody holds the port of the host any more.
        drop(std::net::TcpListener::bind("0.0.0.0:8080").unwrap());
        host.ok(&["network", "disconnect", "routed", "web"]);
        outside.is_kept_from(&web, 80);
        assert_eq!(ports(host), ["0.0.0.0:8080"]);
        outside.sees(8080);
    });
}
