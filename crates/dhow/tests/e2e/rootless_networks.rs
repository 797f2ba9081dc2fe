//! Networks that an ordinary user makes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

use testkit::{Host, until, until_is};

use crate::DHOW;
use crate::rootless_network::{PASTA, SERVE, ask, carriers, parent, port};

/// The user's processes.
fn processes(host: &Host) -> Vec<u32> {
    let uid = host.uid().unwrap();
    // One that nobody has waited for yet has no words any more.
    let has_words =
        |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| !it.is_empty());
    let is_users = |pid: &u32| {
        std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid)
            && has_words(pid)
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_users).collect()
}

fn serve(host: &Host, name: &str, network: &str) {
    let run = ["run", "-d", "--name", name, "--network", network, "-p", "127.0.0.1:0:80"];
    host.ok(&[&run[..], &["busybox", "sh", "-c", SERVE]].concat());
}

/// What a container gets from another, which it finds by its name; whoever serves may not have begun.
fn fetched(host: &Host, from: &str, name: &str, network: &str) -> String {
    host.ok(&["exec", from, "ping", "-c", "1", "-W", "60", name]);
    let url = format!("http://{}/f", address(host, name, network));
    until_is("an answer", || {
        let ran = host.run(&["exec", from, "wget", "-qO-", &url]);
        if ran.code == Some(0) { Ok(ran.out) } else { Err(ran.err) }
    })
}

fn address(host: &Host, name: &str, network: &str) -> String {
    let field = format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}");
    host.ok(&["inspect", "-f", &field, name])
}

#[test]
fn containers_reach_each_other_by_name_on_their_network_alone() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "one"]);
    host.ok(&["network", "create", "two"]);
    serve(&host, "web", "one");
    let mac = "02:00:00:00:00:07";
    let aliased = ["--network-alias", "friend", "--mac-address", mac, "--network", "one"];
    host.ok(
        &[&["run", "-d", "--name", "peer"], &aliased[..], &["busybox", "sleep", "1000"]].concat()
    );
    host.ok(&["run", "-d", "--name", "far", "--network", "two", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["exec", "peer", "cat", "/sys/class/net/eth0/address"]), mac);
    assert_eq!(fetched(&host, "peer", "web", "one"), "page");
    host.ok(&["exec", "web", "ping", "-c", "1", "-W", "60", "friend"]);
    let address = address(&host, "web", "one");
    host.fails(1, &["exec", "far", "busybox", "nslookup", "web"]);
    let url = format!("http://{address}/f");
    let fetch = ["busybox", "timeout", "1", "wget", "-qO-", &url];
    assert_ne!(host.run(&[&["exec", "far"][..], &fetch].concat()).code, Some(0));
    assert_eq!(fetched(&host, "peer", "web", "one"), "page");
    // It is told where it is, and has it no more when it has left.
    host.ok(&["network", "connect", "one", "far"]);
    assert_eq!(fetched(&host, "far", "web", "one"), "page");
    host.ok(&["network", "disconnect", "one", "far"]);
    host.fails(1, &["exec", "far", "busybox", "nslookup", "web"]);
}

/// Two publish the same port of theirs, which the host has twice; a third is there by its address.
#[test]
fn published_ports_lead_from_the_host_to_the_container_that_publishes_them() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "net"]);
    serve(&host, "first", "net");
    let say = "echo other > /var/www/f; exec httpd -f -p 80 -h /var/www";
    let run = ["run", "-d", "--name", "second", "--network", "net", "-p", "0.0.0.0:0:80"];
    host.ok(&[&run[..], &["busybox", "sh", "-c", say]].concat());
    let (first, second) = (port(&host, "first", "80"), port(&host, "second", "80"));
    assert!(ask(&format!("127.0.0.1:{first}")).ends_with("page\n"));
    assert!(ask(&format!("127.0.0.1:{second}")).ends_with("other\n"));
    assert!(TcpStream::connect(format!("127.0.0.2:{first}")).is_err(), "only there");
    // By another address of the host the container hears who asks.
    let address = net::user::host_address().expect("this host has an address of its own");
    assert!(ask(&format!("{address}:{second}")).ends_with("other\n"));

    let same = format!("127.0.0.1:{first}:80");
    let taken = host.run(&["run", "--rm", "--network", "net", "-p", &same, "busybox", "true"]);
    assert!(taken.err.contains("port is already allocated"), "{taken:?}");
    host.ok(&["stop", "-t", "0", "first"]);
    until("the port to close", || TcpStream::connect(format!("127.0.0.1:{first}")).is_err());
    host.ok(&["start", "first"]);
    let again = port(&host, "first", "80");
    assert!(ask(&format!("127.0.0.1:{again}")).ends_with("page\n"));
    assert!(ask(&format!("127.0.0.1:{second}")).ends_with("other\n"));
}

#[test]
fn datagrams_are_forwarded_and_slirp4netns_will_do() {
    for host in [Host::of_user(DHOW), Host::of_user(DHOW).lacking(PASTA)] {
        host.ok(&["network", "create", "net"]);
        let run = ["run", "-d", "--name", "box", "--network", "net", "-p", "127.0.0.1:0:7/udp"];
        host.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
        let number = port(&host, "box", "7/udp");
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let refused = "grep ^Udp: /proc/net/snmp";
        until("a datagram that nobody takes", || {
            let _ = sender.send_to(b"x", format!("127.0.0.1:{number}"));
            let told = host.ok(&["exec", "box", "sh", "-c", refused]);
            told.lines().nth(1).unwrap().split(' ').nth(2) != Some("0")
        });
        serve(&host, "web", "net");
        let number = port(&host, "web", "80");
        assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
        reaches_the_host(&host);
    }
}

#[test]
fn the_host_is_reached_from_a_network_and_not_from_an_internal_one() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "net"]);
    host.ok(&["network", "create", "--internal", "inner"]);
    reaches_the_host(&host);
    let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let number = open.local_addr().unwrap().port();
    let address = net::user::host_address().expect("this host has an address of its own");
    let url = format!("http://{address}:{number}/");
    let fetch = ["busybox", "busybox", "timeout", "1", "wget", "-qO-", &url];
    let ran = host.run(&[&["run", "--rm", "--network", "inner"][..], &fetch].concat());
    assert_ne!(ran.code, Some(0), "{ran:?}");
}

/// At the address by which it reaches others, under its name.
fn reaches_the_host(host: &Host) {
    let address = net::user::host_address().expect("this host has an address of its own");
    let open = std::net::TcpListener::bind((address, 0)).unwrap();
    let number = open.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut client, _) = open.accept().unwrap();
        // A question that is not read would be answered by a reset.
        let _ = client.read(&mut [0; 1024]).unwrap();
        client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n").unwrap();
    });
    let run = |words: &[&str]| {
        host.ok(&[&["run", "--rm", "--network", "net", "busybox"], words].concat())
    };
    let named = run(&["busybox", "nslookup", "host.docker.internal"]);
    assert!(named.contains(&format!("Address: {address}")), "{named}");
    assert_eq!(run(&["wget", "-qO-", &format!("http://{address}:{number}/")]), "hello");
    answering.join().unwrap();
}

/// Each container has its own, so the others do not even notice.
#[test]
fn a_program_that_is_killed_is_started_again_and_a_killed_guardian_takes_its_own_along() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "net"]);
    serve(&host, "web", "net");
    let before = carriers(&host);
    serve(&host, "peer", "net");
    let number = port(&host, "web", "80");
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
    let [carrier] = before[..] else { panic!("one container has one: {before:?}") };
    host.kill_9(i32::try_from(carrier).unwrap());
    until("what the log says of it", || {
        let ran = host.run(&["logs", "web"]);
        format!("{}{}", ran.out, ran.err).contains("the network was made again]")
    });
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
    let its = carriers(&host).into_iter().find(|pid| !before.contains(pid)).unwrap();
    assert_eq!(carriers(&host).len(), 2, "{its}");
    // Whoever has made the namespace goes; the other keeps it.
    let shims: Vec<_> = carriers(&host).into_iter().map(|pid| parent(parent(pid))).collect();
    let web = host.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]);
    let of_web = parent(web.parse().unwrap());
    assert!(shims.contains(&of_web));
    host.kill_9(of_web.cast_signed());
    until("the end of its program", || carriers(&host).len() == 1);
    host.ok(&["start", "web"]);
    assert_eq!(fetched(&host, "peer", "web", "net"), "page");
    assert_eq!(fetched(&host, "web", "peer", "net"), "page");
    host.ok(&["rm", "-f", "web", "peer"]);
    until("the end of all", || processes(&host).is_empty());
    host.ok(&["network", "rm", "net"]);
}

/// However early a start is killed, the next ones are on one network.
#[test]
fn a_start_that_is_killed_leaves_nothing_in_the_way() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "net"]);
    for step in ["start.endpoint", "start.published", "start.prepared", "start.launched"] {
        let run = ["run", "-d", "--name", "cut", "--network", "net", "-p", "127.0.0.1:0:80"];
        let mut run = host.command(&[&run[..], &["busybox", "sleep", "1000"]].concat());
        run.env("DHOW_FAILPOINT", format!("{step}=kill"));
        assert!(!run.output().unwrap().status.success(), "{step}");
        serve(&host, "web", "net");
        let peer = ["run", "-d", "--name", "peer", "--network", "net", "busybox", "sleep", "1000"];
        host.ok(&peer);
        assert_eq!(fetched(&host, "peer", "web", "net"), "page", "{step}");
        host.ok(&["rm", "-f", "web", "peer", "cut"]);
    }
    until("the end of all", || processes(&host).is_empty());
}

/// None is there before them: one makes it, and the others wait for that one.
#[test]
fn containers_that_start_at_once_are_on_the_same_network() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "net"]);
    let names = ["one", "two", "three", "four"];
    let starts: Vec<_> = names
        .iter()
        .map(|name| {
            let run = ["run", "-d", "--name", name, "--network", "net", "busybox", "sleep", "1000"];
            host.command(&run).stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    for name in &names[1..] {
        host.ok(&["exec", "one", "ping", "-c", "1", "-W", "60", name]);
    }
}

/// How many sockets its shim has, but for those by which it is talked to.
fn sockets_of_shim(host: &Host, name: &str) -> usize {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let shim = parent(pid.parse().unwrap());
    let local = std::fs::read_to_string(format!("/proc/{shim}/net/unix")).unwrap();
    let is_local =
        |inode: &str| local.lines().any(|line| line.split_whitespace().nth(6) == Some(inode));
    let all = std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap().flatten();
    let links = all.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let sockets = links.filter_map(|link| {
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    });
    sockets.filter(|inode| !is_local(inode)).count()
}

/// Its program stays, and with it what it brings: by way of no network, and of one that publishes nothing.
#[test]
fn a_container_that_comes_back_from_no_network_has_its_ports_and_the_hosts_name() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "one"]);
    host.ok(&["network", "create", "two"]);
    host.ok(&["network", "create", "--internal", "inner"]);
    serve(&host, "web", "one");
    let number = port(&host, "web", "80");
    let published = || ask(&format!("127.0.0.1:{number}"));
    assert!(published().ends_with("page\n"));
    // Two at which it is asked for names, and one that owns what the port is brought to. Another of IPv6 may go: nothing
    // is brought to that.
    let held = |where_to: &str| {
        let sockets = sockets_of_shim(&host, "web");
        assert!(sockets > 2, "{sockets} sockets {where_to}");
    };
    held("before");
    let change = |verb: &str, network: &str| host.ok(&["network", verb, network, "web"]);
    let lookup = ["exec", "web", "busybox", "nslookup", "host.docker.internal"];
    let address = net::user::host_address().expect("this host has an address of its own");
    change("disconnect", "one");
    assert_eq!(host.ok(&["port", "web"]), "");
    held("on no network");
    let same = format!("127.0.0.1:{number}:80");
    let wished = host.run(&["run", "--rm", "--network", "two", "-p", &same, "busybox", "true"]);
    let why = format!("127.0.0.1:{number} failed: port is already allocated by container web");
    assert!(wished.err.contains(&why), "{wished:?}");
    for (to, from) in [("two", ""), ("inner", "two"), ("one", "inner")] {
        change("connect", to);
        if !from.is_empty() {
            change("disconnect", from);
        }
        held(to);
        assert!(host.ok(&lookup).contains(&format!("Address: {address}")), "{to}");
        if to == "inner" {
            assert_eq!(host.ok(&["port", "web"]), "");
            continue;
        }
        assert_eq!(port(&host, "web", "80"), number, "{to}");
        assert!(published().ends_with("page\n"), "{to}");
    }
    // What was kept goes with the container.
    change("disconnect", "one");
    host.ok(&["restart", "-t", "0", "web"]);
    host.ok(&["rm", "-f", "web"]);
    until("the end of all", || processes(&host).is_empty());
}

#[test]
fn the_default_network_goes_with_no_other() {
    let host = Host::of_user(DHOW);
    host.ok(&["network", "create", "net"]);
    host.ok(&["run", "-d", "--name", "own", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "box", "--network", "net", "busybox", "sleep", "1000"]);
    let why = "the default network of an ordinary user is each container's own";
    for (network, name) in [("net", "own"), ("bridge", "box")] {
        let ran = host.run(&["network", "connect", network, name]);
        assert!(ran.err.contains(why), "{ran:?}");
    }
}
