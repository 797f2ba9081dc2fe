//! Networks on a link of the host's own (macvlan, ipvlan): who sees which packets, and what is left.
//!
//! The host of these tests is a network namespace with `eth0`, behind which is a neighbour.

use serde_json::Value;
use testkit::{Host, Ran, until};

use crate::firewall::{HOST, NEIGHBOUR, by_loopback, with_neighbour};
use crate::network_members::{address, is_kept_from, place, reaches, serve};
use crate::networks::{inspect, link, said};

const SUBNET: &str = "192.0.2.0/24";

/// What a network of the neighbour's subnet is made with, whose containers are behind its own addresses.
const LOCAL: [&str; 6] =
    ["--subnet", SUBNET, "--ip-range", "192.0.2.64/26", "--aux-address", "other=192.0.2.64"];

fn create(host: &Host, driver: &str, more: &[&str], name: &str) {
    let words = [&["network", "create", "-d", driver][..], &LOCAL, more, &[name]].concat();
    host.ok(&words);
}

fn sleep(host: &Host, name: &str, network: &str) {
    host.ok(&["run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1000"]);
}

/// A container's link as the kernel has it; `Null` if there is none.
fn inside(host: &Host, name: &str, link: &str) -> Value {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let netns = format!("--net=/proc/{pid}/ns/net");
    let shown = said(&["nsenter", &netns, "ip", "-j", "-d", "link", "show", "dev", link]);
    serde_json::from_str::<Value>(&shown).map_or(Value::Null, |list| list[0].clone())
}

fn routes(host: &Host, name: &str) -> String {
    host.ok(&["exec", name, "ip", "route"])
}

/// Whether the kernel makes links of a kind, asked of it as an administrator would.
fn kernel_has(kind: &str) -> bool {
    let more: &[&str] = match kind {
        "vlan" => &["id", "9"],
        _ => &[],
    };
    let on: &[&str] = if kind == "dummy" { &[] } else { &["link", "eth0"] };
    said(&[&["ip", "link", "add"], on, &["name", "probe", "type", kind], more].concat());
    let is_there = link("probe") != Value::Null;
    said(&["ip", "link", "del", "probe"]);
    is_there
}

/// The neighbour hears each container under its own hardware address, and nobody translates.
#[test]
fn containers_on_macvlan_are_neighbours_of_their_own() {
    with_neighbour(|host, outside| {
        create(host, "macvlan", &["-o", "parent=eth0", "--gateway", NEIGHBOUR], "net");
        serve(host, "net", "web", &[]);
        sleep(host, "peer", "net");
        let web = address(host, "web", "net");
        // The lowest of the range that nobody else has.
        assert_eq!(web, "192.0.2.65");
        outside.sees_at(&web);
        let mac = place(host, "web", "net")["MacAddress"].as_str().unwrap().to_owned();
        let known = outside.said(&["ip", "neigh", "show", &web]);
        assert!(known.contains(&mac), "{mac}: {known}");
        assert_ne!(mac, link("eth0")["address"].as_str().unwrap());
        let shown = inside(host, "web", "eth0");
        assert_eq!(shown["linkinfo"]["info_kind"], "macvlan");
        assert_eq!(shown["linkinfo"]["info_data"]["mode"], "bridge");
        // Each other, by name as well; the host's own address is beside them, not behind them.
        reaches(host, "peer", &web);
        reaches(host, "peer", "web");
        assert!(routes(host, "web").contains(&format!("default via {NEIGHBOUR} dev eth0")));
        let pinged = host.run(&["exec", "peer", "ping", "-c1", "-w2", HOST]);
        assert_ne!(pinged.code, Some(0), "{}", pinged.out);
        let network = inspect(host, "net");
        assert_eq!(network["Driver"], "macvlan");
        assert_eq!(network["Options"]["parent"], "eth0");
        assert_eq!(network["Containers"].as_object().unwrap().len(), 2);
        let listed = ["network", "ls", "--filter", "driver=macvlan", "--format", "{{.Name}}"];
        assert_eq!(host.ok(&listed), "net");
        // It keeps its address over a restart, and the kernel gives back what it had before.
        host.ok(&["restart", "-t", "0", "web"]);
        assert_eq!(address(host, "web", "net"), web);
        let refused = host.fails(1, &["network", "rm", "net"]);
        assert!(refused.contains("has active endpoints"), "{refused}");
        host.ok(&["rm", "-f", "web", "peer"]);
        host.ok(&["network", "rm", "net"]);
        assert_ne!(link("eth0"), Value::Null, "it is the administrator's");
    });
}

#[test]
fn a_macvlan_network_has_ipv6_if_it_is_asked_for() {
    with_neighbour(|host, outside| {
        outside.said(&["ip", "addr", "add", "fd00:5::2/64", "dev", "eth0", "nodad"]);
        let pools =
            ["-o", "parent=eth0", "--ipv6", "--subnet", "fd00:5::/64", "--gateway", "fd00:5::2"];
        create(host, "macvlan", &pools, "net");
        serve(host, "net", "web", &["--ip6", "fd00:5::77"]);
        assert_eq!(place(host, "web", "net")["GlobalIPv6Address"], "fd00:5::77");
        outside.sees_at("[fd00:5::77]");
        let way = host.ok(&["exec", "web", "ip", "-6", "route"]);
        assert!(way.contains("default via fd00:5::2 dev eth0"), "{way}");
        host.ok(&["network", "create", "-d", "macvlan", "-o", "parent=eth0", "plain"]);
        assert_eq!(inspect(host, "plain")["EnableIPv6"], false);
    });
}

/// A container is in the first subnet that has room, or in that of its address, and its way out is that subnet's.
#[test]
fn a_family_has_several_subnets() {
    with_neighbour(|host, outside| {
        outside.said(&["ip", "addr", "add", "10.77.0.1/24", "dev", "eth0"]);
        outside.said(&["ip", "addr", "add", "10.78.0.1/24", "dev", "eth0"]);
        let pools = ["--subnet", "10.77.0.0/24", "--gateway", "10.77.0.1"];
        // Of four addresses one is the network's, one the broadcast's, and one a neighbour's.
        let more = ["--ip-range", "10.77.0.0/30", "--aux-address", "other=10.77.0.2"];
        let second = ["--subnet", "10.78.0.0/24", "--gateway", "10.78.0.1"];
        let create = ["network", "create", "-d", "macvlan", "-o", "parent=eth0"];
        host.ok(&[&create[..], &pools, &more, &second, &["net"]].concat());
        let config = &inspect(host, "net")["IPAM"]["Config"];
        assert_eq!(config.as_array().unwrap().len(), 2, "{config}");
        for name in ["one", "two"] {
            serve(host, "net", name, &[]);
        }
        serve(host, "net", "named", &["--ip", "10.77.0.99"]);
        // The gateway of the first is in its range as well.
        for (name, ip, way) in [
            ("one", "10.77.0.3", "10.77.0.1"),
            ("two", "10.78.0.2", "10.78.0.1"),
            ("named", "10.77.0.99", "10.77.0.1"),
        ] {
            assert_eq!(address(host, name, "net"), ip, "{name}");
            assert_eq!(place(host, name, "net")["IPPrefixLen"], 24, "{name}");
            let routes = routes(host, name);
            assert!(routes.contains(&format!("default via {way} dev eth0")), "{name}: {routes}");
            outside.sees_at(ip);
        }
        let run = ["run", "--rm", "--network", "net", "--ip", "10.79.0.1", "busybox", "true"];
        assert!(host.fails(125, &run).contains("10.79.0.1"));
        // A bridge has one (Docker).
        let bridge = [&["network", "create"][..], &pools, &second, &["br"]].concat();
        assert!(host.fails(1, &bridge).contains("bridge driver doesn't support multiple subnets"));
        host.ok(&[&["network", "create", "--config-only"][..], &pools, &second, &["c"]].concat());
        let from = host.fails(1, &["network", "create", "--config-from", "c", "br"]);
        assert!(from.contains("bridge driver doesn't support multiple subnets"), "{from}");
    });
}

/// Who is the way out has to be said (Docker 29), and leads nowhere out of an internal network.
#[test]
fn only_a_gateway_that_is_named_leads_out() {
    with_neighbour(|host, _| {
        create(host, "macvlan", &["-o", "parent=eth0"], "without");
        sleep(host, "cc", "without");
        assert!(!routes(host, "cc").contains("default"), "{}", routes(host, "cc"));
        assert_eq!(place(host, "cc", "without")["Gateway"], "");
        host.ok(&["rm", "-f", "cc"]);
        host.ok(&["network", "rm", "without"]);
        let inner = ["-o", "parent=eth0", "--internal", "--gateway", NEIGHBOUR];
        create(host, "macvlan", &inner, "inner");
        sleep(host, "cc", "inner");
        assert!(!routes(host, "cc").contains("default"), "{}", routes(host, "cc"));
        // There is nobody at the host to publish for.
        let run = ["run", "-d", "--network", "inner", "-p", "8080:80", "busybox", "sleep", "1000"];
        let ran = host.run(&run);
        assert!(ran.err.contains("nothing is published: network inner"), "{}", ran.err);
        assert_eq!(host.ok(&["port", ran.out.trim()]), "");
    });
}

#[test]
fn modes_of_macvlan_say_who_reaches_whom() {
    with_neighbour(|host, outside| {
        for (mode, is_reached) in [("bridge", true), ("private", false), ("vepa", false)] {
            create(
                host,
                "macvlan",
                &["-o", "parent=eth0", "-o", &format!("macvlan_mode={mode}")],
                "net",
            );
            serve(host, "net", "web", &[]);
            sleep(host, "peer", "net");
            assert_eq!(inside(host, "web", "eth0")["linkinfo"]["info_data"]["mode"], mode);
            let web = address(host, "web", "net");
            outside.sees_at(&web);
            match is_reached {
                true => reaches(host, "peer", &web),
                false => is_kept_from(host, "peer", &web),
            }
            host.ok(&["rm", "-f", "web", "peer"]);
            host.ok(&["network", "rm", "net"]);
        }
    });
}

#[test]
fn who_passes_all_through_has_the_link_alone() {
    with_neighbour(|host, outside| {
        let alone = ["-o", "parent=eth0", "-o", "macvlan_mode=passthru"];
        create(host, "macvlan", &alone, "net");
        serve(host, "net", "web", &[]);
        let mac = link("eth0")["address"].clone();
        assert_eq!(place(host, "web", "net")["MacAddress"], mac);
        outside.sees_at(&address(host, "web", "net"));
        let second = host.fails(125, &["run", "--rm", "--network", "net", "busybox", "true"]);
        assert!(second.contains("macvlan_mode=passthru has room for one"), "{second}");
        let own = [
            "run",
            "--rm",
            "--network",
            "net",
            "--mac-address",
            "02:42:0a:00:00:78",
            "busybox",
            "true",
        ];
        assert!(host.fails(125, &own).contains("containers have that of its parent interface"));
        // Not even while its last life is being torn down.
        host.ok(&["restart", "-t", "0", "web"]);
        assert_eq!(link("eth0")["address"], mac, "the administrator's link is as it was");
        let other = |more: &[&str]| {
            let words = ["network", "create", "-d", "macvlan", "-o", "parent=eth0"];
            host.run(&[&words[..], more, &["other"]].concat())
        };
        let taken = other(&[]);
        assert!(
            taken.err.contains("network net is already using parent interface eth0"),
            "{}",
            taken.err
        );
        host.ok(&["rm", "-f", "web"]);
        host.ok(&["network", "rm", "net"]);
        host.ok(&["network", "create", "-d", "macvlan", "-o", "parent=eth0", "plain"]);
        let taken = other(&["-o", "macvlan_mode=passthru"]);
        assert!(
            taken.err.contains("network plain is already using parent interface eth0"),
            "{}",
            taken.err
        );
        // Who shares it is in nobody's way.
        assert_eq!(other(&["-o", "macvlan_mode=private"]).code, Some(0));
    });
}

/// Waits until the host itself is led to the page. The neighbour would be answered by the link that it is behind.
#[track_caller]
fn until_published(port: u16) {
    until("the page, by loopback", || by_loopback(port) == "page");
}

fn dying(host: &Host, what: &str, words: &[&str]) -> Ran {
    let output = host.command(words).env("DHOW_FAILPOINT", what).output();
    Ran::new(&output.unwrap())
}

#[test]
fn a_container_that_runs_comes_to_a_macvlan_network_and_goes() {
    with_neighbour(|host, outside| {
        create(host, "macvlan", &["-o", "parent=eth0", "--gateway", NEIGHBOUR], "net");
        serve(host, "bridge", "web", &["-p", "8080:80"]);
        let ip = "192.0.2.99";
        let on_bridge = routes(host, "web");
        let connect = ["network", "connect", "--ip", ip, "net", "web"];
        // Whoever is killed in the middle leaves a link that the next change takes away.
        assert_ne!(dying(host, "connect.linked=kill", &connect).code, Some(0));
        assert_eq!(inside(host, "web", "eth1")["linkinfo"]["info_kind"], "macvlan");
        host.ok(&connect);
        assert_eq!(inside(host, "web", "eth1")["linkinfo"]["info_kind"], "macvlan");
        assert_eq!(inside(host, "web", "eth2"), Value::Null);
        outside.sees_at(ip);
        until_published(8080); // the bridge leads out, and publishes
        assert_eq!(routes(host, "web").lines().next(), on_bridge.lines().next());
        host.ok(&["restart", "-t", "0", "web"]);
        let listens = "until wget -qO- http://127.0.0.1/f; do usleep 9999; done 2>/dev/null";
        host.ok(&["exec", "web", "sh", "-c", listens]);
        outside.sees_at(ip);
        // Away from the bridge, the named gateway leads out, and nothing is published any more.
        host.ok(&["network", "disconnect", "bridge", "web"]);
        assert!(routes(host, "web").contains(&format!("default via {NEIGHBOUR}")));
        assert_eq!((by_loopback(8080), host.ok(&["port", "web"])), (String::new(), String::new()));
        host.ok(&["network", "connect", "bridge", "web"]);
        until_published(8080);
        let killed =
            dying(host, "disconnect.unlinked=kill", &["network", "disconnect", "net", "web"]);
        assert_ne!(killed.code, Some(0));
        host.ok(&["network", "disconnect", "net", "web"]);
        assert_eq!(inside(host, "web", "eth1"), Value::Null);
        outside.misses_at(ip);
        host.ok(&["network", "rm", "net"]);
    });
}

#[test]
fn a_parent_that_is_not_there_is_told() {
    with_neighbour(|host, _| {
        host.ok(&["network", "ls"]);
        let before = host.at_rest();
        let create = |parent: &str| {
            let parent = format!("parent={parent}");
            host.fails(1, &["network", "create", "-d", "macvlan", "-o", &parent, "net"])
        };
        assert!(create("nosuch").contains("parent interface nosuch does not exist"));
        assert!(create("nosuch.5").contains("interface nosuch does not exist"));
        assert!(create("lo").contains("loopback is nobody's parent"));
        assert!(create("eth0.4095").contains("parent interface eth0.4095 does not exist"));
        assert_eq!(host.settled(&before, |line| line.contains("/events")), Vec::<String>::new());
        // One that goes away takes the containers' links along.
        said(&["ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
        said(&["ip", "link", "set", "up0", "up"]);
        host.ok(&["network", "create", "-d", "macvlan", "-o", "parent=up0", "net"]);
        sleep(host, "cc", "net");
        said(&["ip", "link", "del", "up0"]);
        assert_eq!(inside(host, "cc", "eth0"), Value::Null);
        let gone = host.fails(1, &["restart", "-t", "0", "cc"]);
        assert!(gone.contains("parent interface up0 does not exist"), "{gone}");
        // A port of a bridge gives its packets to that.
        said(&["ip", "link", "add", "sw0", "type", "bridge"]);
        said(&["ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
        said(&["ip", "link", "set", "up0", "master", "sw0"]);
        let busy = host.fails(1, &["start", "cc"]);
        assert!(busy.contains("parent interface up0 is in use by somebody else"), "{busy}");
        said(&["ip", "link", "set", "up0", "nomaster"]);
        host.ok(&["start", "cc"]);
        host.ok(&["rm", "-f", "cc"]);
        host.ok(&["network", "rm", "net"]);
    });
}

/// A subinterface that was there is somebody's; one that was made goes with its last network.
#[test]
fn a_subinterface_is_made_and_removed() {
    with_neighbour(|host, outside| {
        let with = |parent: &str, name: &str| {
            let parent = format!("parent={parent}");
            let words = ["network", "create", "-d", "macvlan", "-o", &parent];
            host.run(&[&words[..], &LOCAL, &[name]].concat())
        };
        if !kernel_has("vlan") {
            let made = with("eth0.50", "net");
            assert!(
                made.err.contains("this kernel has no 802.1Q links (the module 8021q)"),
                "{}",
                made.err
            );
            assert_eq!(host.run(&["network", "inspect", "net"]).code, Some(1));
            return;
        }
        outside.said(&[
            "ip", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50",
        ]);
        outside.said(&["ip", "addr", "del", &format!("{NEIGHBOUR}/24"), "dev", "eth0"]);
        outside.said(&["ip", "addr", "add", &format!("{NEIGHBOUR}/24"), "dev", "eth0.50"]);
        outside.said(&["ip", "link", "set", "eth0.50", "up"]);
        assert_eq!(with("eth0.50", "net").code, Some(0));
        assert_eq!(link("eth0.50")["linkinfo"]["info_data"]["id"], 50);
        serve(host, "net", "web", &[]);
        let web = address(host, "web", "net");
        outside.sees_at(&web); // by its tag alone
        host.ok(&["network", "create", "-d", "macvlan", "-o", "parent=eth0.50", "two"]);
        host.ok(&["rm", "-f", "web"]);
        host.ok(&["network", "rm", "net"]);
        assert_ne!(link("eth0.50"), Value::Null, "another network has it");
        // One that somebody has removed comes back with a start.
        said(&["ip", "link", "del", "eth0.50"]);
        host.ok(&["run", "--rm", "--network", "two", "busybox", "true"]);
        assert_ne!(link("eth0.50"), Value::Null);
        let killed = dying(host, "network.removed=kill", &["network", "rm", "two"]);
        assert_ne!(killed.code, Some(0));
        assert_ne!(link("eth0.50"), Value::Null);
        host.ok(&["system", "check", "--repair"]);
        assert_eq!(link("eth0.50"), Value::Null);
        said(&["ip", "link", "add", "link", "eth0", "name", "eth0.60", "type", "vlan", "id", "60"]);
        assert_eq!(with("eth0.60", "net").code, Some(0));
        host.ok(&["network", "rm", "net"]);
        assert_ne!(link("eth0.60"), Value::Null, "it is the administrator's");
    });
}

#[test]
fn without_a_parent_a_network_is_alone() {
    with_neighbour(|host, outside| {
        let create = [
            "network",
            "create",
            "-d",
            "macvlan",
            "--subnet",
            SUBNET,
            "--gateway",
            NEIGHBOUR,
            "net",
        ];
        if !kernel_has("dummy") {
            let said = host.fails(1, &create);
            assert!(said.contains("this kernel has no dummy links (the module dummy)"), "{said}");
            return;
        }
        host.ok(&create);
        let id = inspect(host, "net")["Id"].as_str().unwrap().to_owned();
        let own = format!("dm-{}", &id[..12]);
        assert_eq!(link(&own)["linkinfo"]["info_kind"], "dummy");
        serve(host, "net", "web", &[]);
        sleep(host, "peer", "net");
        reaches(host, "peer", "web");
        assert!(!routes(host, "peer").contains("default"), "{}", routes(host, "peer"));
        outside.misses_at(&address(host, "web", "net"));
        host.ok(&["rm", "-f", "web", "peer"]);
        host.ok(&["network", "rm", "net"]);
        assert_eq!(link(&own), Value::Null);
    });
}

#[test]
fn containers_on_ipvlan_share_the_hardware_address_of_the_link() {
    with_neighbour(|host, outside| {
        create(host, "ipvlan", &["-o", "parent=eth0", "--gateway", NEIGHBOUR], "net");
        if !kernel_has("ipvlan") {
            let run = ["run", "--rm", "--network", "net", "busybox", "true"];
            let said = host.fails(125, &run);
            assert!(said.contains("this kernel has no ipvlan links (the module ipvlan)"), "{said}");
            return;
        }
        serve(host, "net", "web", &[]);
        sleep(host, "peer", "net");
        let web = address(host, "web", "net");
        outside.sees_at(&web);
        let mac = link("eth0")["address"].as_str().unwrap().to_owned();
        assert!(outside.said(&["ip", "neigh", "show", &web]).contains(&mac));
        assert_eq!(place(host, "web", "net")["MacAddress"], mac.as_str());
        reaches(host, "peer", "web");
        assert!(routes(host, "peer").contains(&format!("default via {NEIGHBOUR} dev eth0")));
        host.ok(&["restart", "-t", "0", "web"]);
        assert_eq!(address(host, "web", "net"), web);
        let taken = ["network", "create", "-d", "ipvlan", "-o", "parent=eth0", "other"];
        let taken = host.fails(1, &taken);
        assert!(taken.contains("network net is already using parent interface eth0"), "{taken}");
        host.ok(&["rm", "-f", "web", "peer"]);
        host.ok(&["network", "rm", "net"]);
        create(host, "ipvlan", &["-o", "parent=eth0", "-o", "ipvlan_flag=private"], "net");
        serve(host, "net", "web", &[]);
        sleep(host, "peer", "net");
        is_kept_from(host, "peer", &address(host, "web", "net"));
        outside.sees_at(&web);
    });
}

/// Neighbours do not ask for it: a route leads to the host's link.
#[test]
fn in_layer_3_the_link_itself_leads_out() {
    with_neighbour(|host, outside| {
        if !kernel_has("ipvlan") {
            let wrong = ["network", "create", "-d", "ipvlan", "-o", "ipvlan_mode=l4", "net"];
            assert!(host.fails(1, &wrong).contains("one of l2, l3 and l3s"));
            return;
        }
        for mode in ["l3", "l3s"] {
            let mode = format!("ipvlan_mode={mode}");
            let words = ["network", "create", "-d", "ipvlan", "--subnet", "198.51.100.0/24"];
            host.ok(&[&words[..], &["-o", "parent=eth0", "-o", &mode, "net"]].concat());
            outside.said(&["ip", "route", "replace", "198.51.100.0/24", "via", HOST]);
            serve(host, "net", "web", &[]);
            assert!(routes(host, "web").starts_with("default dev eth0"), "{}", routes(host, "web"));
            assert_eq!(place(host, "web", "net")["Gateway"], "");
            let web = address(host, "web", "net");
            outside.sees_at(&web);
            host.ok(&["rm", "-f", "web"]);
            host.ok(&["network", "rm", "net"]);
        }
    });
}
