//! Networks on a bridge that somebody else has made: whose it stays, and who else is on it.

use testkit::Host;

use crate::firewall::{NEIGHBOUR, Outside, nft, serve, with_neighbour};
use crate::networks::{at, dying, rewrite, said, subnet};

fn ip(words: &str) {
    said(&[&["ip"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
}

/// An administrator's bridge.
fn make(name: &str) {
    ip(&format!("link add {name} type bridge"));
    ip(&format!("addr add 10.99.0.9/24 dev {name}"));
    ip(&format!("link set {name} up"));
}

/// What of a bridge is not its own to change: its addresses, and what it lets in.
fn look(name: &str) -> (Vec<String>, String) {
    let shown = said(&["ip", "-4", "-o", "addr", "show", "dev", name]);
    let addresses = shown.lines().filter_map(|line| line.split_whitespace().nth(3));
    let localnet = format!("/proc/sys/net/ipv4/conf/{name}/route_localnet");
    (addresses.map(str::to_owned).collect(), std::fs::read_to_string(localnet).unwrap())
}

fn create(host: &Host, bridge: &str, network: &str) -> (String, testkit::Ran) {
    let subnet = subnet();
    let option = format!("com.docker.network.bridge.name={bridge}");
    let words = ["network", "create", "--ipv6=false", "--subnet", &subnet, "-o", &option, network];
    (subnet.clone(), host.run(&words))
}

fn put_on(host: &Host, bridge: &str, network: &str) -> String {
    let (subnet, made) = create(host, bridge, network);
    assert_eq!(made.code, Some(0), "{}", made.err);
    subnet
}

fn run(host: &Host, network: &str) {
    host.ok(&["run", "--rm", "--network", network, "busybox", "true"]);
    host.until_idle();
}

/// A link of the neighbour's in a bridge, with an address of its network.
fn join(outside: &Outside, bridge: &str, subnet: &str) {
    let netns = outside.netns();
    let there = netns.trim_start_matches("--net=");
    ip(&format!("link add port0 type veth peer name eth1 netns {there}"));
    ip(&format!("link set port0 master {bridge} up"));
    outside.ip(&["addr", "add", &format!("{}/24", at(subnet, 200)), "dev", "eth1"]);
    outside.ip(&["link", "set", "eth1", "up"]);
}

/// They are no containers of ours, and the host's rules are asked about them.
#[test]
fn others_on_a_found_bridge_are_strangers() {
    with_neighbour(|host, outside| {
        let etc = host.scratch().join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("dhow.toml"), "firewall = \"respect\"\n").unwrap();
        nft("add table ip filter
             add chain ip filter INPUT { type filter hook input priority 0; policy drop; }
             add rule ip filter INPUT ct state established accept");
        make("theirs");
        let subnet = put_on(host, "theirs", "net");
        serve(host, "web", &["--network", "net", "-p", "8080:80"]);
        join(outside, "theirs", &subnet);
        let gateway = format!("{}:8080", at(&subnet, 1));
        outside.misses_at(&gateway); // nobody has let that in
        nft("add rule ip filter INPUT iifname theirs tcp dport 8080 accept");
        outside.sees_at(&gateway);
        // Containers of a bridge of ours ask nothing.
        let url = format!("http://{gateway}/f");
        let fetch = ["busybox", "timeout", "60", "busybox", "wget", "-qO-", &url];
        nft("flush chain ip filter INPUT");
        assert_eq!(host.ok(&[&["run", "--rm", "busybox"], &fetch[..]].concat()), "page");
        nft("delete table ip filter");
        assert!(outside.said(&["ip", "addr"]).contains(NEIGHBOUR));
    });
}

/// Whoever is killed behind the row leaves it as it was found.
#[test]
fn a_removal_that_is_killed_leaves_nothing_on_it() {
    with_neighbour(|host, _| {
        make("theirs");
        let before = look("theirs");
        put_on(host, "theirs", "net");
        assert_ne!(look("theirs"), before);
        let killed = dying(host, "network.removed=kill", &["network", "rm", "net"]);
        assert_ne!(killed.code, Some(0));
        assert!(host.fails(1, &["network", "inspect", "net"]).contains("not found"));
        assert_eq!(look("theirs"), before);
        // One that fails before its row has gone gives it back too.
        let option = "com.docker.network.bridge.name=theirs";
        let words = ["network", "create", "--ipv6=false", "-o", option, "net"];
        assert_eq!(dying(host, "network.laid=error", &words).code, Some(1));
        assert_eq!(look("theirs"), before);
        // A network that stays since somebody is on it has its bridge.
        put_on(host, "theirs", "net");
        let laid = look("theirs");
        host.ok(&["run", "-d", "--name", "stays", "--network", "net", "busybox", "sleep", "1000"]);
        assert!(host.fails(1, &["network", "rm", "net"]).contains("has active endpoints"));
        assert_eq!(look("theirs"), laid);
    });
}

/// Their containers would reach each other.
#[test]
fn a_bridge_has_a_network_of_one_root() {
    with_neighbour(|host, _| {
        let other = crate::host();
        make("theirs");
        put_on(host, "theirs", "net");
        let refused = create(&other, "theirs", "net").1;
        let says = "bridge theirs has a network of another root of dhow's on this host";
        assert!(refused.code == Some(1) && refused.err.contains(says), "{}", refused.err);
        host.ok(&["network", "rm", "net"]);
        put_on(&other, "theirs", "net");
        run(&other, "net");
        let refused = create(host, "theirs", "again").1;
        assert!(refused.err.contains(says), "{}", refused.err);
        other.ok(&["network", "rm", "net"]);
    });
}

/// As at each start of the host, by whoever makes it.
#[test]
fn a_bridge_that_is_made_anew_is_found_anew() {
    with_neighbour(|host, _| {
        make("theirs");
        let subnet = put_on(host, "theirs", "net");
        run(host, "net");
        let gateway = format!("{}/24", at(&subnet, 1));
        assert!(look("theirs").0.contains(&gateway));
        ip("link del theirs");
        make("theirs");
        // This one had another address, and one of the network's.
        ip("addr add 10.98.0.1/24 dev theirs");
        let before = look("theirs");
        run(host, "net");
        assert!(look("theirs").0.contains(&gateway));
        host.ok(&["network", "rm", "net"]);
        assert_eq!(look("theirs"), before);
        // One that no container was put on has nothing of ours, whatever it has.
        let subnet = put_on(host, "theirs", "net");
        ip("link del theirs");
        make("theirs");
        ip(&format!("addr add {}/24 dev theirs", at(&subnet, 1)));
        let before = look("theirs");
        host.ok(&["network", "rm", "net"]);
        assert_eq!(look("theirs"), before);
    });
}

/// One whose note cannot be read keeps no other from being as it was.
#[test]
fn a_reset_gives_back_what_it_can() {
    with_neighbour(|host, _| {
        for bridge in ["one", "two"] {
            make(bridge);
        }
        let before = look("two");
        put_on(host, "one", "a");
        put_on(host, "two", "b");
        rewrite(host, "a", "10.99.0.9/24", "ten");
        let said = host.fails(1, &["network", "rm", "a"]);
        let says = "its bridge had the address \"ten\", which cannot be read";
        assert!(said.contains(says), "{said}");
        host.ok(&["network", "inspect", "a"]);
        let reset = host.run(&["system", "reset", "--force"]);
        assert_eq!(reset.code, Some(0), "{}", reset.err);
        assert!(reset.err.contains("the bridge of network a was not given back"), "{}", reset.err);
        assert_eq!(look("two"), before);
    });
}
