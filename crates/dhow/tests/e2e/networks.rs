//! Networks that somebody makes: what the kernel has of them, what is refused, what is left.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

use serde_json::Value;
use store::Store;
use testkit::{Host, Ran};

use crate::host;

/// Subnets that no other test of this machine has, in this run or another: each is claimed by an abstract
/// socket, which the kernel takes back with the process.
pub(crate) fn subnet() -> String {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let first = std::process::id() % SUBNETS;
    let claim = |number: &u32| {
        let name = SocketAddr::from_abstract_name(format!("subnet-under-test-{number}")).unwrap();
        let socket = UnixListener::bind_addr(&name).ok()?;
        CLAIMS.lock().unwrap().push(socket);
        Some(*number)
    };
    let all = (first..SUBNETS).chain(0..first);
    let number = all.into_iter().find_map(|number| claim(&number)).expect("a subnet that is free");
    // 198.18.0.0/15 is for tests of networks (RFC 2544), and nobody's.
    format!("198.{}.{}.0/24", 18 + number / 256, number % 256)
}

const SUBNETS: u32 = 512;

/// A link's name that no other test has: that of a subnet.
pub(crate) fn link_name(subnet: &str) -> String {
    let parts: Vec<&str> = subnet.split('.').collect();
    format!("t-{}-{}", parts[1], parts[2])
}

/// Whether the host has IPv6, on which networks have it or not.
pub(crate) fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6")
        .is_ok_and(|disabled| disabled.trim() == "0")
}

/// The address at a place in such a subnet.
pub(crate) fn at(subnet: &str, place: u8) -> String {
    let (network, _) = subnet.rsplit_once('.').unwrap();
    format!("{network}.{place}")
}

/// What an administrator's program says.
#[expect(clippy::disallowed_methods, reason = "an administrator's view of the kernel")]
pub(crate) fn said(words: &[&str]) -> String {
    let output = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A link as the kernel has it; `Null` if there is none.
pub(crate) fn link(name: &str) -> Value {
    let shown = said(&["ip", "-j", "-d", "addr", "show", "dev", name]);
    serde_json::from_str::<Value>(&shown).map_or(Value::Null, |list| list[0].clone())
}

/// The addresses of a link but for those that the kernel gives it.
fn addresses(name: &str) -> BTreeSet<String> {
    let link = link(name);
    let all = link["addr_info"].as_array().cloned().unwrap_or_default();
    let ours = all.iter().filter(|address| address["scope"] == "global");
    let text = |address: &Value| {
        format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"])
    };
    ours.map(text).collect()
}

pub(crate) fn inspect(host: &Host, network: &str) -> Value {
    let shown = host.ok(&["network", "inspect", network]);
    serde_json::from_str::<Value>(&shown).unwrap()[0].clone()
}

pub(crate) fn bridge(network: &Value) -> String {
    format!("br-{}", &network["Id"].as_str().unwrap()[..12])
}

/// The elements of the firewall that name something.
pub(crate) fn rules(host: &Host, what: &str) -> Vec<String> {
    let census = format!("{:?}", host.census());
    let lines =
        census.split("\", \"").filter(|line| line.starts_with("nft ") && line.contains(what));
    lines.map(str::to_owned).collect()
}

/// Its tables are built for the first network, which needs not be this one.
#[test]
fn the_default_bridge_has_its_rules_whatever_came_first() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "first"]);
    host.ok(&["run", "--rm", "busybox", "true"]);
    let default = inspect(&host, "bridge");
    let name = default["Options"]["com.docker.network.bridge.name"].as_str().unwrap();
    let subnet = default["IPAM"]["Config"][0]["Subnet"].as_str().unwrap();
    let (prefix, _) = subnet.split_once('/').unwrap();
    for (set, what) in [("bridges", name), ("masqueraded", prefix)] {
        let has = |line: &String| line.contains(set) && line.contains(what);
        assert!(rules(&host, "").iter().any(has), "{set} {what}: {:?}", rules(&host, ""));
    }
}

#[test]
fn a_network_is_made_and_removed() {
    let host = host();
    // What every first network leaves for the next: the rows of the built-in ones, the tables.
    host.ok(&["network", "create", "--subnet", &subnet(), "first"]);
    host.ok(&["network", "rm", "first"]);
    let before = host.census();
    let subnet = subnet();
    let id = host.ok(&["network", "create", "--subnet", &subnet, "--label", "a=b", "net"]);
    let shown = inspect(&host, "net");
    assert_eq!(shown["Id"], id.as_str());
    assert_eq!(shown["Driver"], "bridge");
    assert_eq!(shown["Labels"]["a"], "b");
    assert_eq!(shown["IPAM"]["Driver"], "default");
    assert_eq!(shown["IPAM"]["Config"][0]["Subnet"], subnet.as_str());
    assert_eq!(shown["IPAM"]["Config"][0]["Gateway"], at(&subnet, 1).as_str());
    let bridge = bridge(&shown);
    let mut expected = BTreeSet::from([format!("{}/24", at(&subnet, 1))]);
    assert_eq!(shown["EnableIPv6"], has_ipv6());
    if has_ipv6() {
        let v6 = &shown["IPAM"]["Config"][1];
        assert!(v6["Subnet"].as_str().unwrap().starts_with("fd"), "{v6}");
        expected.insert(format!("{}/64", v6["Gateway"].as_str().unwrap()));
    }
    assert_eq!(addresses(&bridge), expected);
    assert!(!rules(&host, &bridge).is_empty());
    let listed = host.ok(&["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"]);
    assert_eq!(listed, "net");
    // By a part of its id as well.
    assert_eq!(host.ok(&["network", "rm", &id[..10]]), &id[..10]);
    assert_eq!(link(&bridge), Value::Null);
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
    let gone = host.fails(1, &["network", "inspect", "net"]);
    assert!(gone.contains("network net not found"), "{gone}");
    assert!(host.fails(1, &["network", "rm", "net"]).contains("network net not found"));
    host.ok(&["network", "rm", "-f", "net"]);
    let until = crate::events::now();
    let events = host.ok(&["events", "--until", &until, "--filter", "type=network"]);
    for action in ["create", "destroy"] {
        let wanted = format!("network {action} {id} (name=net, type=bridge)");
        assert!(events.contains(&wanted), "{wanted}\n{events}");
    }
}

#[test]
fn options_are_seen_in_the_kernel() {
    let host = host();
    let subnet = subnet();
    let (range, gateway) = (format!("{}/28", at(&subnet, 16)), at(&subnet, 17));
    let name = link_name(&subnet);
    host.ok(&[
        "network",
        "create",
        "--subnet",
        &subnet,
        "--ip-range",
        &range,
        "--gateway",
        &gateway,
        "--aux-address",
        &format!("router={}", at(&subnet, 18)),
        "--internal",
        "--attachable",
        "--ipv6=false",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "-o",
        &format!("com.docker.network.bridge.name={name}"),
        "-o",
        "com.docker.network.bridge.enable_icc=false",
        "net",
    ]);
    let shown = inspect(&host, "net");
    let config = &shown["IPAM"]["Config"][0];
    assert_eq!(config["IPRange"], range.as_str());
    assert_eq!(config["Gateway"], gateway.as_str());
    assert_eq!(config["AuxiliaryAddresses"]["router"], at(&subnet, 18).as_str());
    assert_eq!([&shown["Internal"], &shown["Attachable"]], [true, true]);
    assert_eq!([&shown["EnableIPv4"], &shown["EnableIPv6"]], [true, false]);
    assert_eq!(shown["Options"]["com.docker.network.driver.mtu"], "1400");
    let made = link(&name);
    assert_eq!(made["mtu"], 1400);
    assert_eq!(addresses(&name), BTreeSet::from([format!("{gateway}/24")]));
    let sets: BTreeSet<String> = rules(&host, &name)
        .iter()
        .filter_map(|line| line.split(' ').nth(2).map(str::to_owned))
        .collect();
    // Nothing leads out, and none of its containers reaches another.
    assert_eq!(sets, ["apart", "bridges", "internal"].map(str::to_owned).into());
    host.ok(&["network", "rm", "net"]);
    assert_eq!(link(&name), Value::Null);
}

#[test]
fn a_bridge_without_addresses() {
    let host = host();
    let subnet = subnet();
    let inhibit = "com.docker.network.bridge.inhibit_ipv4=true";
    let create = ["network", "create", "--subnet", &subnet, "--ipv6=false", "-o", inhibit, "net"];
    host.ok(&create);
    let name = bridge(&inspect(&host, "net"));
    assert_eq!((link(&name)["operstate"].is_string(), addresses(&name).len()), (true, 0));
    // What an administrator has deleted is in nobody's way.
    said(&["ip", "link", "del", &name]);
    host.ok(&["network", "rm", "net"]);
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let host = host();
    let (used, other) = (subnet(), subnet());
    host.ok(&["network", "create", "--subnet", &used, "net"]);
    let part = format!("{}/30", at(&used, 4));
    for (words, says) in [
        (&["create", "--subnet", &other, "net"][..], "network with name net already exists"),
        (
            &["create", "--subnet", &part, "two"],
            "Pool overlaps with other one on this address space",
        ),
        (&["create", "--subnet", &part, "two"], "of network net"),
        (&["create", "bridge"], "operation is not permitted on predefined bridge network"),
        (&["create", "default"], "operation is not permitted on predefined default network"),
        (&["rm", "host"], "host is a pre-defined network and cannot be removed"),
        (&["create", "-d", "overlay", "two"], "not supported yet: driver overlay"),
        (&["create", "-d", "nosuch", "two"], "plugin \"nosuch\" not found"),
        (&["create", "--ingress", "two"], "not supported yet: Ingress"),
        (&["create", "--scope", "swarm", "two"], "not supported yet: Scope"),
        (
            &["create", "--ipv4=false", "--config-only", "two"],
            "EnableIPv4=false of a configuration",
        ),
        (&["create", "--ipam-driver", "null", "two"], "not supported yet: IPAM driver null"),
        (&["create", "--ipam-opt", "a=b", "two"], "not supported yet: IPAM.Options"),
        (&["create", "-o", "a=b", "two"], "invalid option \"a\""),
        (&["create", "--gateway", "10.0.0.1", "two"], "must have a corresponding subnet"),
        (&["create", "--config-from", "nosuch", "two"], "could not find configuration network"),
        (&["create", "--config-from", "net", "two"], "\"net\" is not a configuration network"),
        (&["create", "--subnet", "10.1.2.3/24", "two"], "it should be 10.1.2.0/24"),
        (
            &["create", "--subnet", &other, "--gateway", &at(&other, 0), "two"],
            "no host can have a network's own address",
        ),
        (
            &[
                "create",
                "--subnet",
                &other,
                "--aux-address",
                &format!("a={}", at(&other, 255)),
                "two",
            ],
            "no host can have a network's own address",
        ),
        (&["create", "-o", "com.docker.network.bridge.host_binding_ipv4=::1", "two"], "invalid ip"),
    ] {
        let all = [&["network"][..], words].concat();
        let refused = host.fails(1, &all);
        assert!(refused.contains(says), "{words:?}: {refused}");
    }
    let later = host.fails(125, &["run", "--rm", "--network", "nosuch", "busybox", "true"]);
    assert!(later.contains("network nosuch not found"), "{later}");
}

#[test]
fn a_configuration_makes_networks() {
    let host = host();
    let subnet = subnet();
    let mtu = "com.docker.network.driver.mtu=1300";
    let only = ["network", "create", "--config-only", "--subnet", &subnet, "-o", mtu];
    host.ok(&[&only[..], &["--label", "from=conf", "conf"]].concat());
    let conf = inspect(&host, "conf");
    assert_eq!([&conf["ConfigOnly"], &conf["Driver"]], [&Value::from(true), &Value::from("null")]);
    assert_eq!(link(&bridge(&conf)), Value::Null, "it is none itself");
    host.ok(&["network", "create", "--config-from", "conf", "made"]);
    let made = inspect(&host, "made");
    assert_eq!(made["ConfigFrom"]["Network"], "conf");
    assert_eq!(made["IPAM"]["Config"][0]["Subnet"], subnet.as_str());
    assert_eq!(made["Labels"]["from"], "conf");
    assert_eq!(link(&bridge(&made))["mtu"], 1300);
    let refused = host.fails(1, &["network", "rm", "conf"]);
    assert!(refused.contains("configuration network \"conf\" is in use"), "{refused}");
    // What nobody is on goes; a configuration stays.
    let pruned = host.ok(&["network", "prune", "-f", "--filter", "label!=from"]);
    assert_eq!(pruned, "");
    assert_eq!(host.ok(&["network", "prune", "-f"]), "Deleted Networks:\nmade");
    assert_eq!(link(&bridge(&made)), Value::Null);
    host.ok(&["network", "rm", "conf"]);
}

#[test]
fn networks_made_at_once_are_apart() {
    let host = &host();
    let create = |words: Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        host.run(&[&["network", "create"][..], &words].concat()).code
    };
    let create = &create;
    let subnet = &subnet();
    let codes: Vec<_> = std::thread::scope(|scope| {
        let one = |_| {
            let words = ["--subnet", subnet, "same"].map(str::to_owned).to_vec();
            scope.spawn(move || create(words))
        };
        (0..4).map(one).collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    // Four that name no subnet get four.
    let codes: Vec<_> = std::thread::scope(|scope| {
        let one = |number| scope.spawn(move || create(vec![format!("n{number}")]));
        (0..4).map(one).collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(codes, [Some(0); 4]);
    let subnets: BTreeSet<String> = (0..4)
        .map(|number| inspect(host, &format!("n{number}")))
        .flat_map(|shown| shown["IPAM"]["Config"].as_array().unwrap().clone())
        .map(|config| config["Subnet"].as_str().unwrap().to_owned())
        .collect();
    let v4 = subnets.iter().filter(|subnet| subnet.ends_with(".0/24")).count();
    assert_eq!(v4, 4, "{subnets:?}");
    assert_eq!(subnets.len(), if has_ipv6() { 8 } else { 4 }, "{subnets:?}");
    for network in ["same", "n0", "n1", "n2", "n3"] {
        host.ok(&["network", "rm", network]);
    }
}

/// Containers of two networks on one bridge would reach each other.
#[test]
fn a_bridge_is_one_networks() {
    let host = host();
    let (one, two) = (subnet(), subnet());
    let mine = link_name(&one);
    let named = |name: &str| format!("com.docker.network.bridge.name={name}");
    let create = |network: &str, subnet: &str, bridge: &str| {
        let option = named(bridge);
        let words = ["network", "create", "--ipv6=false", "--subnet", subnet, "-o", &option];
        let inhibit = ["-o", "com.docker.network.bridge.inhibit_ipv4=1", network];
        host.run(&[&words[..], &inhibit].concat())
    };
    // The default bridge is not there yet.
    let default =
        model::RootTag::of_path(host.root().as_os_str().as_encoded_bytes()).dashed("dhow");
    let refused = create("one", &one, &default);
    let says = format!("({default}): conflicts with network bridge ({default})");
    assert!(refused.err.contains(&says), "{}", refused.err);
    assert_eq!(create("one", &one, &mine).code, Some(0));
    host.ok(&["network", "create", "--subnet", &two, "auto"]);
    let auto = bridge(&inspect(&host, "auto"));
    for (taken, by) in [(&mine, "one"), (&auto, "auto")] {
        let refused = create("two", &subnet(), taken);
        let says = format!(
            "cannot create network two ({taken}): conflicts with network {by} ({taken}): networks have same bridge name"
        );
        assert!(refused.err.contains(&says), "{}", refused.err);
    }
    assert!(host.fails(1, &["network", "inspect", "two"]).contains("not found"));
    assert_ne!(link(&mine), Value::Null);
    // A configuration keeps a name and takes none, so one network can be made from it.
    host.ok(&["network", "create", "--config-only", "-o", &named(&mine), "conf"]);
    let from = ["network", "create", "--config-from", "conf", "two"];
    assert!(host.fails(1, &from).contains("networks have same bridge name"));
    host.ok(&["network", "rm", "one"]);
    host.ok(&from);
    assert_ne!(link(&mine), Value::Null);
    // They go at once, and a configuration not before what was made from it.
    host.ok(&["network", "rm", "two", "auto"]);
    host.ok(&["network", "rm", "conf"]);
}

/// Runs a command to which something happens at one of its steps.
pub(crate) fn dying(host: &Host, what: &str, words: &[&str]) -> Ran {
    let output = host.command(words).env("DHOW_FAILPOINT", what).output();
    Ran::new(&output.unwrap())
}

/// Nothing is left of one that failed behind its row, and none is in the way of the next.
#[test]
fn what_fails_is_taken_back() {
    let host = host();
    let subnet = subnet();
    let name = link_name(&subnet);
    let option = format!("com.docker.network.bridge.name={name}");
    host.ok(&["run", "--rm", "busybox", "true"]);
    host.ok(&["network", "ls"]);
    let before = host.at_rest();
    let create = ["network", "create", "--subnet", &subnet, "-o", &option, "net"];
    for point in ["network.row", "network.laid"] {
        let failed = dying(&host, &format!("{point}=error"), &create);
        assert_eq!(failed.code, Some(1), "{}", failed.err);
        assert_eq!(host.settled(&before, |_| false), Vec::<String>::new(), "{point}");
    }
    // A removal that was killed leaves a bridge and a range, which the next one's overlaps with.
    host.ok(&create);
    let killed = dying(&host, "network.removed=kill", &["network", "rm", "net"]);
    assert_ne!(killed.code, Some(0));
    assert_ne!(link(&name), Value::Null);
    let part = subnet.replace(".0/24", ".0/26");
    let again = ["network", "create", "--subnet", &part, "-o", &option, "net"];
    host.ok(&again);
    let gateway = format!("{}/26", at(&subnet, 1));
    assert!(addresses(&name).contains(&gateway), "{:?}", addresses(&name));
    host.ok(&["network", "rm", "net"]);
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
}

/// Whoever comes first, what stays is one network or none, with its bridge and its rules.
#[test]
fn made_and_removed_at_once_it_is_whole_or_gone() {
    let host = &host();
    let subnet = &subnet();
    let name = &link_name(subnet);
    let option = &format!("com.docker.network.bridge.name={name}");
    host.ok(&["run", "--rm", "busybox", "true"]);
    host.ok(&["network", "ls"]);
    let before = host.at_rest();
    let create = ["network", "create", "--subnet", subnet, "-o", option, "net"];
    for _ in 0..6 {
        std::thread::scope(|scope| {
            // Either may fail.
            let [make, unmake] = [&create[..], &["network", "rm", "net"]];
            for words in [make, unmake, make, unmake] {
                scope.spawn(move || drop(host.run(words)));
            }
        });
        if host.run(&["network", "inspect", "net"]).code == Some(0) {
            assert_ne!(link(name), Value::Null);
            let known = rules(host, name);
            assert!(known.iter().any(|line| line.contains(" bridges ")), "{known:?}");
            host.ok(&["network", "rm", "net"]);
        }
        assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
    }
}

/// It had elements of the subnet that somebody else has taken meanwhile.
#[test]
fn a_default_bridge_with_another_subnet_has_its_elements() {
    let host = host();
    host.ok(&["run", "--rm", "busybox", "true"]);
    let default = inspect(&host, "bridge");
    let name = default["Options"]["com.docker.network.bridge.name"].as_str().unwrap().to_owned();
    let former = default["IPAM"]["Config"][0]["Gateway"].as_str().unwrap().to_owned();
    let dummy = link_name(&subnet());
    said(&["ip", "link", "add", &dummy, "up", "type", "bridge"]);
    said(&["ip", "addr", "add", &format!("{former}/16"), "dev", &dummy]);
    said(&["ip", "link", "del", &name]);
    let ran = host.run(&["run", "--rm", "busybox", "true"]);
    let other = inspect(&host, "bridge");
    let known = rules(&host, " masqueraded ");
    said(&["ip", "link", "del", &dummy]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let other = other["IPAM"]["Config"][0]["Subnet"].as_str().unwrap();
    let (first, _) = other.split_once('/').unwrap();
    assert_ne!(at(other, 1), former);
    assert!(known.iter().any(|line| line.contains(first)), "{first}: {known:?}");
}

/// Changes what a network's row keeps.
pub(crate) fn rewrite(host: &Host, name: &str, from: &str, to: &str) {
    let store = Store::open(&host.root()).unwrap();
    let row = store.networks().by_name(name).unwrap().unwrap();
    let record = row.record.replace(from, to);
    assert_ne!(record, row.record);
    store.networks().rewrite(&row.id, &record).unwrap();
}

/// The others work, and the lists say what there is.
#[test]
fn a_record_of_a_newer_dhow_is_in_nobodys_way() {
    let host = host();
    let (one, two) = (subnet(), subnet());
    host.ok(&["network", "create", "--subnet", &one, "strange"]);
    host.ok(&["network", "create", "--subnet", &two, "net"]);
    rewrite(&host, "strange", "\"internal\"", "\"new\":1,\"internal\"");
    let listed = host.ok(&["network", "ls", "--format", "{{.Name}}"]);
    assert_eq!(listed, "bridge\nhost\nnet\nnone");
    let info = host.run(&["info"]);
    let says = "the record of network strange cannot be read";
    assert!(format!("{}{}", info.out, info.err).contains(says), "{} {}", info.out, info.err);
    assert!(host.fails(1, &["network", "inspect", "strange"]).contains(says));
    host.ok(&["run", "--rm", "--network", "net", "busybox", "true"]);
    host.ok(&["run", "--rm", "busybox", "true"]);
    // What it has is its own all the same.
    let overlaps = host.fails(1, &["network", "create", "--subnet", &one, "three"]);
    assert!(overlaps.contains("of network strange"), "{overlaps}");
    host.ok(&["network", "create", "three"]);
    host.ok(&["network", "rm", "net", "three"]);
    host.ok(&["system", "check", "--repair"]);
    rewrite(&host, "strange", "\"new\":1,", "");
    assert_ne!(link(&bridge(&inspect(&host, "strange"))), Value::Null);
    host.ok(&["network", "rm", "strange"]);
}
