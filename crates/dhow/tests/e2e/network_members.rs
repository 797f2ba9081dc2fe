//! Containers on networks that somebody made: who reaches whom, and what they are given.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use testkit::Host;

use crate::host;
use crate::networks::{at, bridge, has_ipv6, inspect, link, rules, said, subnet};

const SERVE: &str = "echo page > /var/www/f; exec httpd -f -p 80 -h /var/www";

/// A container on a network that serves a page on port 80, and listens.
pub(crate) fn serve(host: &Host, network: &str, name: &str, more: &[&str]) {
    let run = ["run", "-d", "--name", name, "--network", network];
    host.ok(&[&run[..], more, &["busybox", "sh", "-c", SERVE]].concat());
    let listens = "until wget -qO- http://127.0.0.1/f; do usleep 9999; done 2>/dev/null";
    host.ok(&["exec", name, "sh", "-c", listens]);
}

/// What one container is of a network.
pub(crate) fn place(host: &Host, container: &str, network: &str) -> Value {
    let shown = host.ok(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", container]);
    serde_json::from_str::<Value>(&shown).unwrap()[network].clone()
}

pub(crate) fn address(host: &Host, container: &str, network: &str) -> String {
    place(host, container, network)["IPAddress"].as_str().unwrap().to_owned()
}

/// What a container gets that asks for the page, within so many seconds.
pub(crate) fn asked(host: &Host, from: &str, address: &str, seconds: &str) -> testkit::Ran {
    // The `-T` of a static busybox ends it with a fault.
    let url = format!("http://{address}/f");
    host.run(&["exec", from, "busybox", "timeout", seconds, "wget", "-qO-", &url])
}

/// A container gets the page, however loaded the machine is.
pub(crate) fn reaches(host: &Host, from: &str, address: &str) {
    let ran = asked(host, from, address, "60");
    assert_eq!(ran.out, "page", "{from} from {address}: {}", ran.err);
}

/// A container does not; it would have it at once.
pub(crate) fn is_kept_from(host: &Host, from: &str, address: &str) {
    let ran = asked(host, from, address, "1");
    // It was refused, or ended while it waited.
    let is_kept = matches!(ran.code, Some(1 | 143)) && ran.out.is_empty();
    assert!(is_kept, "{from} from {address}: {:?} {} {}", ran.code, ran.out, ran.err);
}

#[test]
fn containers_of_a_network_reach_each_other_alone() {
    let host = host();
    for name in ["one", "two"] {
        host.ok(&["network", "create", "--subnet", &subnet(), name]);
    }
    serve(&host, "one", "server", &["-p", "127.0.0.1:0:80"]);
    host.ok(&["run", "-d", "--name", "peer", "--network", "one", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "other", "--network", "two", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "plain", "busybox", "sleep", "1000"]);
    let server = address(&host, "server", "one");
    reaches(&host, "peer", &server);
    let v6 = place(&host, "server", "one")["GlobalIPv6Address"].as_str().unwrap().to_owned();
    if !v6.is_empty() {
        reaches(&host, "peer", &format!("[{v6}]"));
    }
    is_kept_from(&host, "other", &server);
    is_kept_from(&host, "plain", &server);
    // What is published is reached by all, and from the host.
    let port = host.ok(&["port", "server", "80"]);
    let mut stream = TcpStream::connect(&port).unwrap();
    stream.write_all(b"GET /f HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("page\n"), "{answer}");
    // Who is on a network is shown there, and keeps it.
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "server"]);
    let shown = inspect(&host, "one");
    assert_eq!(shown["Containers"].as_object().unwrap().len(), 2);
    assert_eq!(shown["Containers"][&id]["Name"], "server");
    assert_eq!(shown["Containers"][&id]["IPv4Address"], format!("{server}/24"));
    let refused = host.fails(1, &["network", "rm", "one"]);
    assert!(refused.contains("network one has active endpoints (name:\""), "{refused}");
    assert!(refused.contains(&format!("name:\"server\" id:\"{}\"", &id[..12])), "{refused}");
    assert_eq!(host.ok(&["network", "prune", "-f"]), "");
    // Those that have ended do not.
    host.ok(&["kill", "server", "peer"]);
    host.ok(&["network", "rm", "one"]);
    let gone = host.fails(1, &["start", "server"]);
    assert!(gone.contains("network one not found"), "{gone}");
}

#[test]
fn a_container_has_what_it_asks_for() {
    let host = host();
    let (subnet, mtu) = (subnet(), "com.docker.network.driver.mtu=1400");
    let number: u8 = subnet.split('.').nth(2).unwrap().parse().unwrap();
    // As the kernel prints it, whatever the numbers are.
    let v6 = format!("fd{:02x}:1{number:x}::/64", std::process::id() % 256);
    let prefix = "com.docker.network.container_iface_prefix=net";
    let pools = ["--subnet", &subnet, "--subnet", &v6, "--ipv6"];
    host.ok(&[&["network", "create"][..], &pools, &["-o", mtu, "-o", prefix, "net"]].concat());
    let (ip, ip6) = (at(&subnet, 77), v6.replace("::/64", "::77"));
    let mac = "02:42:0a:00:00:77";
    let mut asked = vec!["--ip", &ip, "--mac-address", mac, "-h", "named"];
    if has_ipv6() {
        asked.extend(["--ip6", &ip6]);
    } else {
        let run = ["run", "--rm", "--network", "net", "--ip6", &ip6, "busybox", "true"];
        assert!(host.fails(125, &run).contains("IPv6 is disabled on this host"));
    }
    serve(&host, "net", "web", &asked);
    let shown = place(&host, "web", "net");
    assert_eq!(shown["IPAddress"], ip.as_str());
    assert_eq!(shown["IPPrefixLen"], 24);
    assert_eq!(shown["Gateway"], at(&subnet, 1).as_str());
    assert_eq!(shown["MacAddress"], mac);
    assert_eq!(shown["IPAMConfig"]["IPv4Address"], ip.as_str());
    assert_eq!(shown["NetworkID"], inspect(&host, "net")["Id"]);
    let inside = host.ok(&["exec", "web", "ip", "addr", "show", "net0"]);
    for part in [&format!("{ip}/24"), mac, "mtu 1400"] {
        assert!(inside.contains(part), "{part}: {inside}");
    }
    let route = host.ok(&["exec", "web", "ip", "route", "show", "default"]);
    assert!(route.starts_with(&format!("default via {} dev net0", at(&subnet, 1))), "{route}");
    let hosts = host.ok(&["exec", "web", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("{ip}\tnamed")), "{hosts}");
    let has = if has_ipv6() { ip6.as_str() } else { "" };
    assert_eq!(shown["GlobalIPv6Address"], has);
    assert_eq!(hosts.contains(&format!("{ip6}\tnamed")), has_ipv6(), "{hosts}");
    // It has the same after a restart, and nobody else gets it meanwhile.
    let taken =
        host.fails(125, &["run", "--rm", "--network", "net", "--ip", &ip, "busybox", "true"]);
    assert!(
        taken.contains("Address already in use") && taken.contains("belongs to web"),
        "{taken}"
    );
    host.ok(&["restart", "-t", "0", "web"]);
    assert_eq!(address(&host, "web", "net"), ip);
    for place in [0, 1, 255] {
        let own = at(&subnet, place);
        let taken = ["run", "--rm", "--network", "net", "--ip", &own, "busybox", "true"];
        assert!(host.fails(125, &taken).contains("Address already in use"), "{own}");
    }
    let outside = ["run", "--rm", "--network", "net", "--ip", "192.0.2.9", "busybox", "true"];
    let outside = host.fails(125, &outside);
    assert!(
        outside.contains("no configured subnet or ip-range contain the IP address 192.0.2.9"),
        "{outside}"
    );
    let default = host.fails(125, &["run", "--rm", "--ip", &ip, "busybox", "true"]);
    assert!(default.contains("only when connecting to networks with user configured"), "{default}");
}

#[test]
fn nothing_leads_out_of_an_internal_network() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "--internal", "inner"]);
    host.ok(&["network", "create", "--subnet", &subnet(), "outer"]);
    serve(&host, "inner", "peer", &[]);
    serve(&host, "outer", "server", &["-p", "80"]);
    let port = host.ok(&["port", "server", "80/tcp"]);
    let port = port.lines().next().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let cap = ["--cap-add", "NET_ADMIN", "busybox", "sleep", "1000"];
    for network in ["inner", "outer"] {
        let run = ["run", "-d", "--name", &format!("in-{network}"), "--network", network];
        host.ok(&[&run[..], &cap].concat());
    }
    let routes = host.ok(&["exec", "in-inner", "ip", "route"]);
    assert!(!routes.contains("default"), "{routes}");
    reaches(&host, "in-inner", &address(&host, "peer", "inner"));
    // One that makes itself a way out is stopped by the host.
    let config = &inspect(&host, "inner")["IPAM"]["Config"][0];
    let gateway = config["Gateway"].as_str().unwrap();
    host.ok(&["exec", "in-inner", "ip", "route", "add", "default", "via", gateway]);
    let outer =
        inspect(&host, "outer")["IPAM"]["Config"][0]["Gateway"].as_str().unwrap().to_owned();
    let published = format!("{outer}:{port}");
    is_kept_from(&host, "in-inner", &published);
    is_kept_from(&host, "in-inner", &address(&host, "server", "outer"));
    reaches(&host, "in-outer", &published);
    // Ports are not published there.
    let run = ["run", "-d", "--name", "open", "--network", "inner", "-p", "80", "busybox"];
    host.ok(&[&run[..], &["sleep", "1000"]].concat());
    assert_eq!(host.ok(&["port", "open"]), "");
}

#[test]
fn neighbours_are_kept_apart_and_ports_have_an_address() {
    let host = host();
    let icc = "com.docker.network.bridge.enable_icc=false";
    let binding = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
    let own = "com.docker.network.bridge.enable_ip_masquerade=false";
    let create = ["network", "create", "--subnet", &subnet(), "-o", icc, "-o", binding, "-o", own];
    host.ok(&[&create[..], &["net"]].concat());
    serve(&host, "net", "server", &["-p", "80"]);
    host.ok(&["run", "-d", "--name", "peer", "--network", "net", "busybox", "sleep", "1000"]);
    is_kept_from(&host, "peer", &address(&host, "server", "net"));
    let port = host.ok(&["port", "server", "80"]);
    assert!(port.starts_with("127.0.0.1:") && port.lines().count() == 1, "{port}");
    assert!(TcpStream::connect(&port).is_ok());
    let network = inspect(&host, "net")["IPAM"]["Config"][0]["Subnet"].as_str().unwrap().to_owned();
    let first = network.split_once('/').unwrap().0.to_owned();
    let sets: Vec<_> = rules(&host, &first).into_iter().collect();
    assert!(sets.iter().all(|line| !line.contains(" masqueraded ")), "{sets:?}");
    assert!(sets.iter().any(|line| line.contains(" subnets ")), "{sets:?}");
}

#[test]
fn what_was_deleted_by_hand_comes_back_with_the_next_start() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    serve(&host, "net", "server", &[]);
    let name = bridge(&inspect(&host, "net"));
    said(&["ip", "link", "del", &name]);
    assert_eq!(link(&name), Value::Null);
    for family in ["ip", "ip6"] {
        let table =
            format!("dhow_{}", model::RootTag::of_path(host.root().as_os_str().as_encoded_bytes()));
        said(&["nft", "delete", "table", family, &table]);
    }
    host.ok(&["restart", "-t", "0", "server"]);
    host.ok(&["run", "-d", "--name", "peer", "--network", "net", "busybox", "sleep", "1000"]);
    let server = address(&host, "server", "net");
    let until = format!("until wget -qO- http://{server}/f; do usleep 9999; done 2>/dev/null");
    assert_eq!(host.ok(&["exec", "peer", "sh", "-c", &until]), "page");
    assert!(!rules(&host, &name).is_empty());
}

#[test]
fn addresses_end_and_come_back() {
    let host = host();
    let small = subnet().replace(".0/24", ".0/30");
    host.ok(&["network", "create", "--subnet", &small, "net"]);
    let run = |name: &str| {
        host.run(&["run", "-d", "--name", name, "--network", "net", "busybox", "sleep", "1000"])
    };
    assert_eq!(run("one").code, Some(0));
    let none = run("two");
    assert_eq!(none.code, Some(125));
    assert!(
        none.err.contains("no available IPv4 addresses on this network's address pools: net (")
    );
    // What somebody had who has ended is free.
    host.ok(&["kill", "one"]);
    host.ok(&["start", "two"]);
    assert_eq!(address(&host, "two", "net"), small.replace(".0/30", ".2"));
    assert!(host.fails(1, &["start", "one"]).contains("no available IPv4 addresses"));
    host.ok(&["rm", "-f", "one", "two"]);
    host.ok(&["network", "rm", "net"]);
}

#[test]
fn a_configuration_holds_nobody() {
    let host = host();
    host.ok(&["network", "create", "--config-only", "--subnet", &subnet(), "conf"]);
    let refused = host.fails(125, &["run", "--rm", "--network", "conf", "busybox", "true"]);
    assert!(refused.contains("network conf is a configuration"), "{refused}");
}
