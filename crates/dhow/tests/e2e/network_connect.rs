//! Containers on several networks: from their start, and while they live.

use std::io::{Read, Write};
use std::net::TcpStream;

use hickory_proto::rr::RecordType;
use serde_json::Value;
use testkit::{Host, Ran, until};

use crate::beside::{admin, load};
use crate::dns::{ask, asker, stay, told};
use crate::host;
use crate::network_members::{address, is_kept_from, place, reaches, serve};
use crate::networks::{at, has_ipv6, inspect, rules, subnet};

/// Networks of these names, with their subnets.
fn networks<const N: usize>(host: &Host, names: [&str; N]) -> [String; N] {
    names.map(|name| {
        let subnet = subnet();
        host.ok(&["network", "create", "--subnet", &subnet, name]);
        subnet
    })
}

fn sleep(host: &Host, name: &str, more: &[&str]) {
    host.ok(&[&["run", "-d", "--name", name], more, &["busybox", "sleep", "1000"]].concat());
}

/// The gateway of a container's default route.
fn way_out(host: &Host, name: &str) -> String {
    let routes = host.ok(&["exec", name, "ip", "route"]);
    let out = routes.lines().find_map(|line| line.strip_prefix("default via ")).unwrap();
    out.split(' ').next().unwrap().to_owned()
}

/// But for those that some kernels have in each namespace.
fn links(host: &Host, name: &str) -> String {
    let all = host.ok(&["exec", name, "ls", "/sys/class/net"]);
    let given = all.split_whitespace().filter(|link| !["lo", "sit0"].contains(link));
    given.collect::<Vec<_>>().join(" ")
}

fn on(host: &Host, name: &str) -> Vec<String> {
    let shown = host.ok(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", name]);
    serde_json::from_str::<Value>(&shown).unwrap().as_object().unwrap().keys().cloned().collect()
}

fn leases(host: &Host) -> String {
    let census = format!("{:?}", host.census());
    let (_, rest) = census.split_once("rows addresses ").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn a_container_starts_on_several_networks() {
    let host = host();
    let [one, two, three] = networks(&host, ["one", "two", "three"]);
    host.ok(&["network", "create", "--subnet", &subnet(), "--internal", "inner"]);
    serve(&host, "one", "server", &[]);
    serve(&host, "three", "far", &[]);
    let (ip, mac) = (at(&two, 77), "02:42:0a:00:00:78");
    let long = format!("name=two,ip={ip},mac-address={mac},alias=a,alias=b,gw-priority=1");
    let named = "name=inner,driver-opt=com.docker.network.endpoint.ifname=in0,gw-priority=9";
    let on_all = ["--network", "one", "--network", &long, "--network", named];
    sleep(&host, "cc", &on_all);
    assert_eq!(on(&host, "cc"), ["inner", "one", "two"]);
    assert_eq!(links(&host, "cc"), "eth0 eth1 in0");
    let shown = place(&host, "cc", "two");
    assert_eq!(shown["IPAddress"], ip.as_str());
    assert_eq!(shown["MacAddress"], mac);
    assert_eq!(shown["Aliases"], serde_json::json!(["a", "b"]));
    assert_eq!(shown["GwPriority"], 1);
    assert_eq!(place(&host, "cc", "one")["Gateway"], at(&one, 1).as_str());
    // The one with the highest priority leads out that can.
    assert_eq!(way_out(&host, "cc"), at(&two, 1));
    let hosts = host.ok(&["exec", "cc", "cat", "/etc/hosts"]);
    for network in ["one", "two", "inner"] {
        assert!(hosts.contains(&address(&host, "cc", network)), "{network}: {hosts}");
        assert_eq!(inspect(&host, network)["Containers"].as_object().unwrap().len(), {
            if network == "one" { 2 } else { 1 }
        });
    }
    reaches(&host, "cc", &address(&host, "server", "one"));
    is_kept_from(&host, "cc", &address(&host, "far", "three"));
    assert!(three.starts_with("198."));
    let listed = host.ok(&["ps", "--filter", "network=two", "--format", "{{.Names}}"]);
    assert_eq!(listed, "cc");
    // Without a priority the first by name leads out; a restart changes nothing.
    sleep(&host, "dd", &["--network", "two", "--network", "one"]);
    assert_eq!(way_out(&host, "dd"), at(&one, 1));
    host.ok(&["restart", "-t", "0", "cc"]);
    assert_eq!((address(&host, "cc", "two"), links(&host, "cc")), (ip, "eth0 eth1 in0".to_owned()));
    assert_eq!(way_out(&host, "cc"), at(&two, 1));
    host.ok(&["rm", "-f", "cc", "dd", "server", "far"]);
    assert_eq!(leases(&host), "0");
    host.ok(&["network", "rm", "one", "two", "three", "inner"]);
}

#[test]
fn a_container_that_runs_comes_and_goes() {
    let host = host();
    let [one, two] = networks(&host, ["one", "two"]);
    serve(&host, "two", "server", &[]);
    sleep(&host, "cc", &["--network", "one"]);
    let server = address(&host, "server", "two");
    is_kept_from(&host, "cc", &server);
    let ip = at(&two, 99);
    host.ok(&["network", "connect", "--ip", &ip, "--alias", "x", "two", "cc"]);
    reaches(&host, "cc", &server);
    assert_eq!(
        (on(&host, "cc"), links(&host, "cc")),
        (vec!["one".to_owned(), "two".to_owned()], "eth0 eth1".to_owned())
    );
    assert_eq!(address(&host, "cc", "two"), ip);
    let v6 = place(&host, "cc", "two")["GlobalIPv6Address"].as_str().unwrap().to_owned();
    assert_eq!(!v6.is_empty(), has_ipv6());
    if has_ipv6() {
        let far = place(&host, "server", "two")["GlobalIPv6Address"].as_str().unwrap().to_owned();
        reaches(&host, "cc", &format!("[{far}]"));
    }
    let hosts = host.ok(&["exec", "cc", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&ip) && hosts.contains(&address(&host, "cc", "one")), "{hosts}");
    assert_eq!(way_out(&host, "cc"), at(&one, 1));
    let twice = host.fails(1, &["network", "connect", "two", "cc"]);
    assert!(twice.contains("endpoint with name cc already exists in network two"), "{twice}");
    // It is there after a restart as well, with what it asked for.
    host.ok(&["restart", "-t", "0", "cc"]);
    assert_eq!(address(&host, "cc", "two"), ip);
    reaches(&host, "cc", &server);
    // Its first network goes, and the other leads out.
    host.ok(&["network", "disconnect", "one", "cc"]);
    assert_eq!((on(&host, "cc"), links(&host, "cc")), (vec!["two".to_owned()], "eth1".to_owned()));
    assert_eq!(way_out(&host, "cc"), at(&two, 1));
    assert_eq!(inspect(&host, "one")["Containers"], serde_json::json!({}));
    let hosts = host.ok(&["exec", "cc", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&ip) && !hosts.contains(&one[..one.len() - 4]), "{hosts}");
    host.ok(&["network", "rm", "one"]);
    let not = host.fails(1, &["network", "disconnect", "bridge", "cc"]);
    assert!(not.contains("is not connected to network bridge"), "{not}");
    // To the default one and away from all.
    host.ok(&["network", "connect", "bridge", "cc"]);
    assert_eq!(on(&host, "cc"), ["bridge", "two"]);
    host.ok(&["network", "disconnect", "-f", "two", "cc"]);
    host.ok(&["network", "disconnect", "bridge", "cc"]);
    assert_eq!((on(&host, "cc").len(), links(&host, "cc").as_str()), (0, ""));
    host.ok(&["restart", "-t", "0", "cc"]);
    assert_eq!((on(&host, "cc").len(), links(&host, "cc").as_str()), (0, ""));
    assert_eq!(leases(&host), leases_of(&host, "server"));
    let until = crate::events::now();
    let events = host.ok(&["events", "--until", &until, "--filter", "type=network"]);
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "cc"]);
    for action in ["connect", "disconnect"] {
        let said = events.lines().filter(|line| {
            line.contains(&format!("network {action} "))
                && line.contains(&id)
                && line.contains("name=two")
        });
        // With its start, its restart, and by hand.
        assert!(said.count() >= 1, "{action}: {events}");
    }
}

/// How many addresses one container has.
fn leases_of(host: &Host, name: &str) -> String {
    let shown = place(host, name, "two");
    let has = |key: &str| shown[key] != "";
    ["IPAddress", "GlobalIPv6Address"].iter().filter(|key| has(key)).count().to_string()
}

/// What the host gets at a published port.
fn fetched(port: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    stream.write_all(b"GET /f HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn published_ports_are_where_the_way_out_is() {
    let host = host();
    let _ = networks(&host, ["mid", "new"]);
    host.ok(&["network", "create", "--subnet", &subnet(), "--internal", "inner"]);
    serve(&host, "mid", "web", &["-p", "127.0.0.1:0:80"]);
    let port = |host: &Host| {
        let said = host.ok(&["port", "web", "80"]);
        said.rsplit_once(':').unwrap().1.to_owned()
    };
    let number = port(&host);
    let leads_to = |network: &str| {
        let ip = address(&host, "web", network);
        let ours: Vec<_> = rules(&host, " dnat_ip ").into_iter().collect();
        assert!(ours.len() == 1 && ours[0].contains(&ip), "{network} {ip}: {ours:?}");
        assert!(fetched(&number).unwrap().ends_with("page\n"));
        assert_eq!(port(&host), number);
    };
    leads_to("mid");
    host.ok(&["network", "connect", "--gw-priority", "5", "new", "web"]);
    leads_to("new");
    host.ok(&["network", "connect", "--gw-priority", "9", "inner", "web"]);
    leads_to("new");
    host.ok(&["network", "disconnect", "new", "web"]);
    leads_to("mid");
    // With the last that leads out they go, and come again with the next.
    host.ok(&["network", "disconnect", "mid", "web"]);
    assert_eq!(host.ok(&["port", "web"]), "");
    assert!(rules(&host, " dnat_ip ").is_empty());
    assert!(TcpStream::connect(format!("127.0.0.1:{number}")).is_err());
    host.ok(&["network", "connect", "mid", "web"]);
    let number = port(&host);
    assert!(fetched(&number).unwrap().ends_with("page\n"));
    host.ok(&["rm", "-f", "web"]);
    assert!(rules(&host, " dnat_ip ").is_empty() && rules(&host, " open ").is_empty());
}

#[test]
fn one_that_does_not_run_changes_for_its_next_start() {
    let host = host();
    let [_, two] = networks(&host, ["one", "two"]);
    host.ok(&["create", "--name", "cc", "--network", "one", "busybox", "sleep", "1000"]);
    host.ok(&["network", "connect", "two", "cc"]);
    host.ok(&["network", "disconnect", "one", "cc"]);
    assert_eq!(on(&host, "cc"), ["two"]);
    host.ok(&["start", "cc"]);
    assert_eq!(links(&host, "cc"), "eth0");
    assert_eq!(way_out(&host, "cc"), at(&two, 1));
    host.ok(&["kill", "cc"]);
    host.ok(&["network", "connect", "one", "cc"]);
    host.ok(&["start", "cc"]);
    assert_eq!(on(&host, "cc"), ["one", "two"]);
    // Who has no network of its own gets none beside.
    for (mode, says) in [
        ("host", "cannot be disconnected from host network or connected to host network"),
        ("none", "with one of the networks in private (none) mode"),
        ("container:cc", "container sharing network namespace with another container"),
    ] {
        sleep(&host, "other", &["--network", mode]);
        let refused = host.fails(1, &["network", "connect", "one", "other"]);
        assert!(refused.contains(says), "{mode}: {refused}");
        host.ok(&["rm", "-f", "other"]);
    }
    sleep(&host, "other", &["--network", "none"]);
    host.ok(&["network", "disconnect", "none", "other"]);
    host.ok(&["network", "connect", "one", "other"]);
    assert_eq!(
        (on(&host, "other"), links(&host, "other")),
        (vec!["one".to_owned()], "eth0".to_owned())
    );
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let host = host();
    let [one, two] = networks(&host, ["one", "two"]);
    sleep(&host, "cc", &["--network", "one"]);
    sleep(&host, "dd", &["--network", "two", "--ip", &at(&two, 9)]);
    let before = host.census();
    let (taken, outside) = (at(&two, 9), at(&one, 9));
    for (words, says) in [
        (&["--ip", &taken, "two", "cc"][..], "Address already in use"),
        (
            &["--ip", &outside, "two", "cc"],
            "no configured subnet or ip-range contain the IP address",
        ),
        (
            &["--ip", &outside, "bridge", "cc"],
            "only when connecting to networks with user configured",
        ),
        (&["--alias", "x", "bridge", "cc"], "only supported for user-defined networks"),
        (&["--alias", "a b", "two", "cc"], "invalid network alias \"a b\""),
        (&["--driver-opt", "a=b", "two", "cc"], "invalid option \"a\""),
        (&["--driver-opt", "com.docker.network.endpoint.ifname=eth0", "two", "cc"], "two links"),
        (&["--link", ":dd", "two", "cc"], "bad format for links"),
        (&["nosuch", "cc"], "network nosuch not found"),
        (&["two", "nosuch"], "No such container: nosuch"),
        (&["host", "cc"], "connected to host network"),
        (&["none", "cc"], "private (none) mode"),
    ] {
        let refused = host.fails(1, &[&["network", "connect"][..], words].concat());
        assert!(refused.contains(says), "{words:?}: {refused}");
    }
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
    let run = ["run", "--rm", "--network", "one", "--network", "nosuch", "busybox", "true"];
    assert!(host.fails(125, &run).contains("network nosuch not found"));
    let run = ["run", "--rm", "--network", "one", "--network", "bridge", "busybox", "true"];
    assert!(host.fails(125, &run).contains("cannot attach both user-defined and non-user-defined"));
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
    // Who is looked at from inside has an exec more.
    assert_eq!((on(&host, "cc"), links(&host, "cc")), (vec!["one".to_owned()], "eth0".to_owned()));
}

/// The container writes its own file of hosts as it likes.
#[test]
fn a_spoilt_file_of_hosts_keeps_no_change_away() {
    let host = host();
    let _ = networks(&host, ["one", "two"]);
    sleep(&host, "cc", &["--network", "one"]);
    let before = leases(&host);
    for spoil in [r"printf 'a\377b\n' >> /etc/hosts", "truncate -s 2G /etc/hosts"] {
        host.ok(&["exec", "cc", "sh", "-c", spoil]);
        host.ok(&["network", "connect", "two", "cc"]);
        let line = format!("^{}", address(&host, "cc", "two"));
        if spoil.starts_with("printf") {
            host.ok(&["exec", "cc", "grep", "-q", &line, "/etc/hosts"]);
        }
        host.ok(&["network", "disconnect", "two", "cc"]);
        assert_eq!((links(&host, "cc"), leases(&host)), ("eth0".to_owned(), before.clone()));
    }
}

/// What is called as another's id begins is not that.
#[test]
fn a_name_goes_before_the_beginning_of_an_id() {
    let host = host();
    host.ok(&["network", "create", "--subnet", &subnet(), "other"]);
    let id = host.ok(&["network", "inspect", "-f", "{{.Id}}", "other"]);
    let short = &id[..3];
    host.ok(&["network", "create", "--subnet", &subnet(), short]);
    let named = format!("name={short},alias=mine");
    sleep(&host, "cc", &["--network", &named, "--network", &id[..12]]);
    assert_eq!(on(&host, "cc").len(), 2);
    assert_ne!(address(&host, "cc", "other"), address(&host, "cc", short));
    stay(&host, "other", "asks", &["--dns", "127.0.0.11"]);
    let asks = asker(&host, "asks");
    assert_eq!(told(&ask(&asks, "cc.", RecordType::A)), address(&host, "cc", "other"));
    assert_eq!(told(&ask(&asks, "mine.", RecordType::A)), "ServFail");
    sleep(&host, "dd", &["--network", "name=default,gw-priority=1"]);
    assert_ne!(address(&host, "dd", "bridge"), "");
}

/// Runs a command that dies at one of its steps.
fn dying(host: &Host, step: &str, words: &[&str]) -> Ran {
    let ran = host.command(words).env("DHOW_FAILPOINT", format!("{step}=kill")).output();
    Ran::new(&ran.unwrap())
}

/// Whoever dies at it: what is asked for once more is done, and nothing is left at the end.
#[test]
fn a_change_that_was_killed_is_made_good() {
    let host = host();
    let _ = networks(&host, ["one", "two"]);
    serve(&host, "two", "server", &[]);
    sleep(&host, "cc", &["--network", "one", "-p", "127.0.0.1:0:80"]);
    let server = address(&host, "server", "two");
    let (connect, disconnect) = (
        ["network", "connect", "--gw-priority", "3", "two", "cc"],
        ["network", "disconnect", "two", "cc"],
    );
    for step in ["connect.leased", "start.link", "connect.linked", "connect.saved"] {
        assert_ne!(dying(&host, step, &connect).code, Some(0), "{step}");
        // It may be on it by then.
        let again = host.run(&connect);
        assert!(again.code == Some(0) || again.err.contains("already exists"), "{}", again.err);
        reaches(&host, "cc", &server);
        host.ok(&disconnect);
        assert_eq!(links(&host, "cc"), "eth0", "{step}");
    }
    let before = leases(&host);
    for step in ["disconnect.unlinked", "connect.saved"] {
        host.ok(&connect);
        assert_ne!(dying(&host, step, &disconnect).code, Some(0), "{step}");
        let again = host.run(&disconnect);
        assert!(again.code == Some(0) || again.err.contains("is not connected"), "{}", again.err);
        assert_eq!(
            (links(&host, "cc"), leases(&host)),
            ("eth0".to_owned(), before.clone()),
            "{step}"
        );
        let ours: Vec<_> = rules(&host, " dnat_ip ").into_iter().collect();
        let leads = ours.len() == 1 && ours[0].contains(&address(&host, "cc", "one"));
        assert!(leads, "{step}: {ours:?}");
    }
    assert_ne!(dying(&host, "connect.leased", &connect).code, Some(0));
    host.ok(&["rm", "-f", "server"]);
    // Its lease is of nobody who is on it.
    host.ok(&["network", "rm", "two"]);
    host.ok(&["rm", "-f", "cc"]);
    assert_eq!(leases(&host), "0");
}

/// Who builds the firewall while a container moves has read its former record; what that published is taken back.
#[test]
fn what_is_published_meanwhile_of_a_former_place_is_taken_back() {
    let host = host();
    let _ = networks(&host, ["one", "two"]);
    sleep(&host, "cc", &["--network", "one", "-p", "127.0.0.1:0:80"]);
    sleep(&host, "other", &["--network", "two", "-p", "127.0.0.1:0:80"]);
    let (former, kept) = (address(&host, "cc", "one"), address(&host, "other", "two"));
    let leads = |to: &str| rules(&host, " dnat_ip ").iter().any(|rule| rule.contains(to));
    let shown: Value =
        serde_json::from_str(&host.ok(&["network", "firewall", "--format", "json"])).unwrap();
    let table = shown["Table"].as_str().unwrap();
    let listed = admin(&["nft", "list", "map", "ip", table, "dnat_ip"]);
    let elements = listed.split_once("elements = ").unwrap().1.split_once('}').unwrap().0;
    let mut leave = host.command(&["network", "disconnect", "one", "cc"]);
    let witness = host.scratch().join("saved");
    let wish = format!("connect.saved=wait={}", witness.display());
    let mut leave = host.spawn(leave.env("DHOW_FAILPOINT", wish));
    until("its record says so", || witness.exists());
    load(&format!("add element ip {table} dnat_ip {elements} }}"));
    assert!(leads(&former) && leads(&kept), "{listed}");
    std::fs::remove_file(&witness).unwrap();
    assert!(leave.wait().unwrap().success());
    assert!(!leads(&former) && leads(&kept), "{:?}", rules(&host, " dnat_ip "));
}

/// The shim takes back what it knows as soon as its container ends, and what comes behind that stays with nobody.
#[test]
fn what_is_published_while_its_container_ends_is_taken_back() {
    let host = host();
    let _ = networks(&host, ["one", "two"]);
    sleep(&host, "cc", &["--network", "one", "-p", "127.0.0.1:0:80"]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "cc"]).parse().unwrap();
    let witness = host.scratch().join("told");
    let mut connect = host.command(&["network", "connect", "--gw-priority", "1", "two", "cc"]);
    let wish = format!("connect.told=wait={}", witness.display());
    let mut connect = host.spawn(connect.env("DHOW_FAILPOINT", wish));
    until("its shim to know of them", || witness.exists());
    host.kill_9(pid);
    until("its end", || host.ok(&["inspect", "-f", "{{.State.Running}}", "cc"]) == "false");
    std::fs::remove_file(&witness).unwrap();
    connect.wait().unwrap();
    assert_eq!(rules(&host, " dnat_ip "), Vec::<String>::new());
    host.ok(&["start", "cc"]);
    let led = rules(&host, " dnat_ip ");
    assert!(led.len() == 1 && led[0].contains(&address(&host, "cc", "two")), "{led:?}");
}

/// It was started when there was one network for each, and its record does not say what its link is called.
#[test]
fn the_way_out_of_a_container_of_an_earlier_dhow_comes_back() {
    let host = host();
    let [one, zwei] = networks(&host, ["one", "zwei"]);
    sleep(&host, "cc", &["--network", "zwei"]);
    host.rewrite("containers", "cc", |record| {
        let place = &mut record["progress"]["Started"]["endpoint"];
        assert!(place.as_object_mut().unwrap().remove("links").is_some());
    });
    for _ in 0..2 {
        host.ok(&["network", "connect", "one", "cc"]);
        assert_eq!(way_out(&host, "cc"), at(&one, 1));
        host.ok(&["network", "disconnect", "one", "cc"]);
        assert_eq!(way_out(&host, "cc"), at(&zwei, 1));
        assert_eq!(links(&host, "cc"), "eth0");
    }
}

/// A newer dhow knows options, and fields, that this one does not. Such a network is in nobody's way but its own.
#[test]
fn a_network_that_a_newer_dhow_has_written_keeps_no_other_from_anything() {
    let host = host();
    let [newer, _] = networks(&host, ["newer", "other"]);
    let colour = "com.docker.network.bridge.colour";
    let option = |record: &mut Value| record["made"]["options"][colour] = "blue".into();
    let field = |record: &mut Value| record["made"]["shape"] = "round".into();
    let inner = |subnet: &str| subnet.replace("/24", "/25");
    for (what, says) in [("an option", colour), ("a field", "shape")] {
        let change =
            |record: &mut Value| if says == colour { option(record) } else { field(record) };
        host.rewrite("networks", "newer", change);
        let warned = host.run(&["info"]);
        let warned = format!("{}{}", warned.out, warned.err);
        assert!(warned.contains("network newer") && warned.contains(says), "{what}: {warned}");
        let run = ["run", "--rm", "--network", "newer", "busybox", "true"];
        let refused = host.fails(125, &run);
        assert!(refused.contains(says), "{what}: {refused}");
        // Its addresses are its own.
        let overlap = ["network", "create", "--subnet", &inner(&newer), "third"];
        let refused = host.fails(1, &overlap);
        assert!(refused.contains("of network newer"), "{what}: {refused}");
        // Others come, go, publish, and have their rules built anew.
        host.ok(&["network", "create", "--subnet", &subnet(), "third"]);
        sleep(&host, "cc", &["--network", "other", "-p", "127.0.0.1:0:80"]);
        let shown = host.ok(&["network", "firewall", "--format", "json"]);
        let table = serde_json::from_str::<Value>(&shown).unwrap()["Table"].clone();
        load(&format!("delete table ip {}", table.as_str().unwrap()));
        host.ok(&["network", "connect", "third", "cc"]);
        let led = rules(&host, " dnat_ip ");
        assert!(led.len() == 1 && led[0].contains(&address(&host, "cc", "other")), "{led:?}");
        host.ok(&["rm", "-f", "cc"]);
        host.ok(&["network", "rm", "third"]);
        host.rewrite("networks", "newer", |record| {
            record["made"]["options"].as_object_mut().unwrap().remove(colour);
            record["made"].as_object_mut().unwrap().remove("shape");
        });
        host.ok(&run);
    }
    host.ok(&["network", "rm", "newer", "other"]);
}

/// Its address is another's again, its link is gone, and nobody is told that it is there.
#[test]
fn a_change_that_fails_gives_back_what_it_took() {
    let host = host();
    let [_, two] = networks(&host, ["one", "two"]);
    sleep(&host, "cc", &["--network", "one"]);
    let connect = ["network", "connect", "two", "cc"];
    let all = || {
        let hosts = host.ok(&["exec", "cc", "cat", "/etc/hosts"]);
        (leases(&host), links(&host, "cc"), on(&host, "cc"), hosts)
    };
    let before = all();
    for step in ["connect.leased", "connect.linked"] {
        let ran = host.command(&connect).env("DHOW_FAILPOINT", format!("{step}=error")).output();
        let ran = Ran::new(&ran.unwrap());
        assert_ne!(ran.code, Some(0), "{step}: {}", ran.out);
        assert_eq!(all(), before, "{step}: {}", ran.err);
    }
    host.ok(&connect);
    assert_eq!(address(&host, "cc", "two"), at(&two, 2));
    let hosts = host.ok(&["exec", "cc", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&at(&two, 2)), "{hosts}");
}
