//! What containers ask of their places on networks, and networks of one family: seen in the kernel's tables and by
//! packets.

use hickory_proto::rr::RecordType;
use serde_json::json;
use testkit::Host;

use crate::dns::{ask, ask_by_tcp, asker, inside, told};
use crate::firewall::{nft, with_neighbour};
use crate::host;
use crate::network_members::{address, place, reaches, serve};
use crate::networks::{has_ipv6, inspect, rules, said, subnet};

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
        // On the default network it can be taken away, at once.
        let is_default = network == "bridge";
        if is_default {
            host.ok(&["rm", "--link", "/cc/Shop"]);
            assert_eq!(told(&ask(&asker(&host, "cc"), "shop", RecordType::A)), "NXDomain");
            assert_eq!(place(&host, "cc", network)["Links"], json!(null));
        }
        for name in ["cc/Shop", "cc/nosuch", "nosuch/shop"] {
            let gone = host.fails(1, &["rm", "--link", name]);
            assert!(gone.contains(&format!("No such container: {name}")), "{gone}");
        }
        let own = host.fails(1, &["rm", "--link", "cc"]);
        assert!(own.contains("cannot remove the default link name"), "{own}");
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

/// As defaults that a client adds to what it is asked for.
#[test]
fn options_say_what_families_a_network_has() {
    let host = host();
    let option = |family: &str, value: &str| format!("com.docker.network.enable_{family}={value}");
    let (no4, no6) = (option("ipv4", "false"), option("ipv6", "false"));
    host.ok(&["network", "create", "-o", &no6, "--subnet", &subnet(), "four"]);
    sleep(&host, "c4", &["--network", "four"]);
    assert_eq!(inspect(&host, "four")["Options"][no6.split('=').next().unwrap()], "false");
    if !has_ipv6() {
        return;
    }
    assert_eq!(sysctl(&host, "c4", "ipv6/conf/eth0/disable_ipv6"), "1");
    host.ok(&["network", "create", "-o", &no4, "six"]);
    sleep(&host, "c6", &["--network", "six"]);
    let shown = host.ok(&["exec", "c6", "ip", "addr", "show", "eth0"]);
    assert!(shown.contains("inet6 fd") && !shown.contains("inet "), "{shown}");
    // What is asked for goes before what is usual.
    host.ok(&["network", "create", "--ipv6", "-o", &no6, "--subnet", &subnet(), "both"]);
    sleep(&host, "cc", &["--network", "both"]);
    let shown = host.ok(&["exec", "cc", "ip", "addr", "show", "eth0"]);
    assert!(shown.contains("inet6 fd") && shown.contains("inet "), "{shown}");
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

/// A container's own filter of connections takes names for what they are: answers to its questions.
#[test]
fn names_are_answered_beside_a_filter_of_connections() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    serve(&host, "net", "web", &[]);
    sleep(&host, "cc", &["--network", "net"]);
    // Nothing but answers comes back, and what is no connection goes nowhere.
    let rules = "table ip filter {
        chain input {
            type filter hook input priority 0; policy drop;
            ct state established accept
            ct state new udp dport != 53 accept
            ct state new tcp dport != 53 accept
        }
        chain output {
            type filter hook output priority 0; policy drop;
            ct state established accept
            ct state new ip daddr 127.0.0.11 meta l4proto { tcp, udp } th dport 53 accept
        }
    }";
    inside(&host, "cc", || said(&["nft", &format!("add {rules}")]));
    let shown = inside(&host, "cc", || said(&["nft", "list", "ruleset"]));
    assert_eq!(shown.matches("policy drop").count(), 2, "{shown}");
    let web = address(&host, "web", "net");
    assert_eq!(told(&ask(&asker(&host, "cc"), "web", RecordType::A)), web);
    assert_eq!(told(&ask_by_tcp(&host, "cc", "web", RecordType::A)), web);
}

/// A firewall of one family says nothing of ports of the other, and a port that a container has on two networks is one.
#[test]
fn who_is_warned_is_told_of_the_chain_that_is_passed() {
    with_neighbour(|host, _| {
        nft("add table ip6 filter
             add chain ip6 filter INPUT { type filter hook input priority 0; policy drop; }
             add rule ip6 filter INPUT iifname lo accept");
        host.ok(&["network", "create", "--subnet", &subnet(), "one"]);
        host.ok(&["network", "create", "--subnet", &subnet(), "two"]);
        let warned = |more: &[&str]| {
            let ran = host.run(&[&["create"], more, &["busybox", "true"]].concat());
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            ran.err
        };
        assert_eq!(warned(&["-p", "0.0.0.0:8080:80"]), "");
        nft("add table ip filter
             add chain ip filter INPUT { type filter hook input priority 0; policy drop; }
             add rule ip filter INPUT iifname lo accept");
        let said = warned(&["-p", "0.0.0.0:8080:80", "--network", "one", "--network", "two"]);
        assert!(said.contains("(ip filter INPUT)"), "{said}");
        assert!(said.contains("port 80/tcp of the container will be open"), "no more: {said}");
        let both = warned(&["-p", "[::]:8080:80"]);
        assert!(both.contains("(ip6 filter INPUT)"), "{both}");
    });
}

/// Who chooses a subnet keeps other roots from choosing the same before it is there.
#[test]
fn roots_choose_their_subnets_one_after_the_other() {
    let host = host();
    let mut open = std::fs::File::options();
    let lock =
        open.write(true).create(true).truncate(false).open("/run/dhow-subnets.lock").unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut create = host.command(&["network", "create", "net"]);
    let mut create = create.stdout(std::process::Stdio::null()).spawn().unwrap();
    let who = format!(" {} ", create.id());
    let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&who);
    testkit::until("it waits", || {
        std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits)
    });
    assert!(host.fails(1, &["network", "inspect", "net"]).contains("not found"));
    drop(lock);
    assert!(create.wait().unwrap().success());
    host.ok(&["network", "rm", "net"]);
}

/// Who has what there is, in the error.
#[test]
fn pools_that_are_all_taken_are_told_with_who_has_them() {
    with_neighbour(|host, _| {
        for subnet in ["172.16.0.0/12", "192.168.0.0/17"] {
            said(&["ip", "route", "add", subnet, "dev", "eth0"]);
        }
        host.ok(&["network", "create", "--subnet", "192.168.128.0/17", "wide"]);
        let refused = host.fails(1, &["network", "create", "net"]);
        for part in [
            "all predefined address pools have been fully subnetted: ",
            "fully subnetted: 192.168.128.0/17 is network wide's",
            "172.16.0.0/12 is the host's",
            "192.168.0.0/17 is the host's",
            "name one with --subnet",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(host.fails(1, &["network", "inspect", "net"]).contains("not found"));
        host.ok(&["network", "rm", "wide"]);
        host.ok(&["network", "create", "net"]);
        assert_eq!(inspect(host, "net")["IPAM"]["Config"][0]["Subnet"], "192.168.128.0/24");
        for name in ["a/b", "a:b", " a", "a,b", "a=b"] {
            let refused = host.fails(1, &["network", "create", name]);
            assert!(refused.contains("name"), "{name}: {refused}");
        }
    });
}

/// The host has the name that is asked for, and answers there.
#[test]
fn the_host_has_a_name_that_somebody_gives_it() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    sleep(&host, "cc", &["--network", "net", "--add-host", "upstairs:host-gateway"]);
    let gateway = place(&host, "cc", "net")["Gateway"].as_str().unwrap().to_owned();
    let hosts = host.ok(&["exec", "cc", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("{gateway}\tupstairs")), "{hosts}");
    let listener = std::net::TcpListener::bind((&gateway[..], 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || listener.accept().map(|(_, from)| from.ip()));
    host.ok(&["exec", "cc", "sh", "-c", &format!("nc upstairs {port} </dev/null")]);
    let from = server.join().unwrap().unwrap().to_string();
    assert_eq!(from, address(&host, "cc", "net"));
}

/// No socket is needed for it, and no module: the rules do it alone.
#[test]
fn a_port_of_sctp_is_published() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "net"]);
    sleep(&host, "cc", &["--network", "net", "-p", "127.0.0.1:36411:36412/sctp"]);
    assert_eq!(host.ok(&["port", "cc", "36412/sctp"]), "127.0.0.1:36411");
    let own = address(&host, "cc", "net");
    let led = rules(&host, " dnat_ip ");
    let is_it =
        |line: &String| ["36411", "36412", &own, "sctp"].iter().all(|part| line.contains(part));
    assert!(led.iter().any(is_it), "{led:?}");
    // It is one container's, whoever wants it beside that one, by itself or in a range.
    for wished in ["127.0.0.1:36411:7/sctp", "36411:7/sctp", "36400-36420:36400-36420/sctp"] {
        let ran = host.run(&["run", "--rm", "--network", "net", "-p", wished, "busybox", "true"]);
        let why = ":36411 failed: port is already allocated by container cc";
        assert!(ran.code == Some(125) && ran.err.contains(why), "{wished}: {ran:?}");
    }
    assert_eq!(rules(&host, " dnat_ip "), led);
    host.ok(&["restart", "-t", "0", "cc"]);
    host.ok(&["rm", "-f", "cc"]);
    assert_eq!(rules(&host, " dnat_ip "), Vec::<String>::new());
    // Who was refused has noted nothing.
    sleep(&host, "dd", &["--network", "net", "-p", "36400-36420:36400-36420/sctp"]);
}
