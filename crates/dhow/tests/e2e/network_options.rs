//! What containers ask of their places on networks, and networks of one family: seen in the kernel's tables and by
//! packets.

use hickory_proto::rr::RecordType;
use serde_json::json;
use testkit::Host;

use crate::dns::{ask, asker, inside, told};
use crate::firewall::{nft, with_neighbour};
use crate::host;
use crate::network_members::{address, place, reaches, serve};
use crate::networks::{has_ipv6, inspect, subnet};

fn sleep(host: &Host, name: &str, more: &[&str]) {
    host.ok(&[&["run", "-d", "--name", name], more, &["busybox", "sleep", "1000"]].concat());
}

/// A file below `/proc/sys/net` where a container is.
fn sysctl(host: &Host, name: &str, file: &str) -> String {
    let read = || std::fs::read_to_string(format!("/proc/sys/net/{file}")).unwrap();
    inside(host, name, read).trim().to_owned()
}

#[test]
fn a_link_has_the_settings_that_are_asked_for() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    host.ok(&["network", "create", "--subnet", &subnet(), "two"]);
    let set = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    let asked = format!("name=net,\"driver-opt={set},net.ipv4.conf.IFNAME.arp_notify=0\"");
    sleep(&host, "cc", &["--network", &asked]);
    assert_eq!(sysctl(&host, "cc", "ipv4/conf/eth0/log_martians"), "1");
    // What is asked for goes before what is usual.
    assert_eq!(sysctl(&host, "cc", "ipv4/conf/eth0/arp_notify"), "0");
    host.ok(&["network", "connect", "--driver-opt", set, "two", "cc"]);
    assert_eq!(sysctl(&host, "cc", "ipv4/conf/eth1/log_martians"), "1");
    assert_eq!(sysctl(&host, "cc", "ipv4/conf/eth1/arp_notify"), "1");
    host.ok(&["restart", "-t", "0", "cc"]);
    assert_eq!(sysctl(&host, "cc", "ipv4/conf/eth1/log_martians"), "1");
    let of_all = "name=net,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1";
    let refused = host.fails(125, &["run", "--rm", "--network", of_all, "busybox", "true"]);
    assert!(refused.contains("as 'net.X.Y.IFNAME.Z=V'"), "{refused}");
    let unknown = set.replace("log_martians", "nosuch");
    let unknown = format!("name=net,driver-opt={unknown}");
    let failed = host.fails(125, &["run", "--rm", "--network", &unknown, "busybox", "true"]);
    assert!(failed.contains("/proc/sys/net/ipv4/conf/eth0/nosuch"), "{failed}");
}

#[test]
fn a_link_has_link_local_addresses_beside_its_own() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    serve(&host, "net", "web", &["--link-local-ip", "169.254.7.8"]);
    sleep(&host, "cc", &["--network", "net"]);
    let asked = place(&host, "web", "net")["IPAMConfig"]["LinkLocalIPs"].clone();
    assert_eq!(asked, json!(["169.254.7.8"]));
    // It is no name's, and reached by whoever has one as well.
    let own = address(&host, "web", "net");
    host.ok(&["network", "disconnect", "net", "cc"]);
    host.ok(&["network", "connect", "--link-local-ip", "169.254.7.9", "net", "cc"]);
    reaches(&host, "cc", "169.254.7.8");
    let named = told(&ask(&asker(&host, "cc"), "web", RecordType::A));
    assert_eq!(named, own);
    host.ok(&["restart", "-t", "0", "cc"]);
    let shown = host.ok(&["exec", "cc", "ip", "addr", "show"]);
    assert!(shown.contains("inet 169.254.7.9/16"), "{shown}");
    let run = ["run", "--rm", "--network", "net", "--link-local-ip", "10.1.2.3", "busybox", "true"];
    assert!(host.fails(125, &run).contains("invalid link-local IP address: 10.1.2.3"));
}

/// The alias is the asker's alone, and follows who it means.
#[test]
fn a_link_is_a_name_of_the_asker_alone() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    for network in ["net", "bridge"] {
        serve(&host, network, "web", &[]);
        sleep(&host, "cc", &["--network", network, "--link", "web:Shop"]);
        sleep(&host, "other", &["--network", network, "--dns-option", "ndots:1"]);
        reaches(&host, "cc", "shop");
        let web = address(&host, "web", network);
        assert_eq!(told(&ask(&asker(&host, "cc"), "shop", RecordType::A)), web);
        assert_eq!(told(&ask(&asker(&host, "other"), "shop", RecordType::A)), "NXDomain");
        assert_eq!(place(&host, "cc", network)["Links"], json!(["web:Shop"]));
        // Somebody else has its address, and it has another.
        host.ok(&["stop", "-t", "0", "web"]);
        sleep(&host, "between", &["--network", network]);
        host.ok(&["start", "web"]);
        let web = address(&host, "web", network);
        assert_eq!(told(&ask(&asker(&host, "cc"), "shop", RecordType::A)), web);
        host.ok(&["rm", "-f", "web", "cc", "other", "between"]);
    }
    let gone = host.fails(125, &["run", "--link", "nosuch:x", "busybox", "true"]);
    assert!(gone.contains("No such container: nosuch"), "{gone}");
    sleep(&host, "web", &[]);
    let off = ["run", "--label", "dhow.dns=off", "--link", "web:x", "busybox", "true"];
    assert!(host.fails(125, &off).contains("--link on network bridge needs names"));
    let alone = ["run", "--network", "host", "--link", "web:x", "busybox", "true"];
    assert!(host.fails(125, &alone).contains("host networking can't be used with links"));
    host.ok(&["create", "--name", "cc", "--link", "web", "busybox", "true"]);
    let shown = host.ok(&["inspect", "-f", "{{json .HostConfig.Links}}", "cc"]);
    assert_eq!(shown, r#"["/web:/cc/web"]"#);
    // Live, on a network that was made.
    host.ok(&["network", "create", "--subnet", &subnet(), "two"]);
    sleep(&host, "dd", &["--network", "two"]);
    host.ok(&["network", "connect", "net", "web"]);
    host.ok(&["network", "connect", "--link", "web:store", "net", "dd"]);
    let web = address(&host, "web", "net");
    assert_eq!(told(&ask(&asker(&host, "dd"), "store", RecordType::A)), web);
}

#[test]
fn a_container_shows_its_names() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    sleep(&host, "cc", &["--network", "net", "--network-alias", "al", "-h", "named"]);
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "cc"]);
    assert_eq!(place(&host, "cc", "net")["DNSNames"], json!(["cc", "al", &id[..12], "named"]));
    sleep(&host, "dd", &[]);
    assert_eq!(place(&host, "dd", "bridge")["DNSNames"], json!(null));
}

#[test]
fn a_network_can_do_without_ipv4() {
    let host = host();
    if !has_ipv6() {
        let create = ["network", "create", "--ipv4=false", "net"];
        assert!(host.fails(1, &create).contains("IPv4 or IPv6 must be enabled"));
        return;
    }
    let neither = ["network", "create", "--ipv4=false", "--ipv6=false", "net"];
    assert!(host.fails(1, &neither).contains("IPv4 or IPv6 must be enabled"));
    host.ok(&["network", "create", "--ipv4=false", "--ipv6", "net"]);
    let network = inspect(&host, "net");
    assert_eq!((&network["EnableIPv4"], &network["EnableIPv6"]), (&json!(false), &json!(true)));
    assert_eq!(network["IPAM"]["Config"].as_array().unwrap().len(), 1);
    serve(&host, "net", "web", &["-p", "0:80"]);
    sleep(&host, "cc", &["--network", "net"]);
    let shown = place(&host, "web", "net");
    assert_eq!((&shown["IPAddress"], &shown["Gateway"]), (&json!(""), &json!("")));
    let web = shown["GlobalIPv6Address"].as_str().unwrap().to_owned();
    assert_ne!(shown["MacAddress"], place(&host, "cc", "net")["MacAddress"]);
    reaches(&host, "cc", &format!("[{web}]"));
    reaches(&host, "cc", "web");
    let addresses = host.ok(&["exec", "web", "ip", "-4", "addr", "show", "dev", "eth0"]);
    assert_eq!(addresses, "");
    // What is published is at addresses of IPv6 alone.
    let ports = host.ok(&["port", "web"]);
    assert!(ports.contains("[::]:") && !ports.contains("0.0.0.0"), "{ports}");
    let hosts = host.ok(&["exec", "web", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&web) && !hosts.contains("0.0.0.0"), "{hosts}");
    host.ok(&["restart", "-t", "0", "cc"]);
    reaches(&host, "cc", "web");
}

/// A firewall that refuses what it does not know is told of where it is passed by, and nowhere else.
#[test]
fn nobody_is_warned_of_ports_that_nobody_reaches() {
    with_neighbour(|host, _| {
        nft("add table ip filter
             add chain ip filter INPUT { type filter hook input priority 0; policy drop; }
             add rule ip filter INPUT iifname lo accept");
        let warned = |more: &[&str]| {
            let words = [&["create", "-p", "8080:80"], more, &["busybox", "true"]].concat();
            let ran = host.run(&words);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            ran.err
        };
        assert!(warned(&[]).contains("will be open to anyone"));
        let binding = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
        host.ok(&["network", "create", "-o", binding, "local"]);
        host.ok(&["network", "create", "--internal", "inner"]);
        host.ok(&["create", "--name", "web", "busybox", "true"]);
        for network in ["local", "inner", "none", "host"] {
            let said = warned(&["--network", network]);
            assert!(!said.contains("will be open"), "{network}: {said}");
        }
        assert!(warned(&["--network", "inner"]).contains("nothing is published: network inner"));
        assert!(warned(&["--network", "local", "--network", "inner"]).is_empty());
    });
}

/// Its own network answers it, though the default one does not.
#[test]
fn without_names_on_the_default_network_it_asks_on_another() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    serve(&host, "net", "web", &[]);
    sleep(&host, "cc", &["--label", "dhow.dns=off"]);
    assert!(!host.ok(&["exec", "cc", "cat", "/etc/resolv.conf"]).contains("127.0.0.11"));
    host.ok(&["network", "connect", "net", "cc"]);
    host.ok(&["restart", "-t", "0", "cc"]);
    assert!(host.ok(&["exec", "cc", "cat", "/etc/resolv.conf"]).contains("127.0.0.11"));
    reaches(&host, "cc", "web");
}
