//! The default bridge, published ports, none, host, another container's.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use testkit::until_is;

use crate::host;

/// Asks a port of the host and returns the answer; the server may need a moment to listen.
fn ask(address: &str) -> String {
    until_is("an answer", || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        stream.write_all(b"GET /f HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    })
}

const SERVE: &str = "echo page > /var/www/f; exec httpd -f -p 80 -h /var/www";

#[test]
fn a_published_port_is_reachable() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:0:80",
        "-p",
        "80",
        "busybox",
        "sh",
        "-c",
        SERVE,
    ]);
    let port = host.ok(&[
        "inspect",
        "-f",
        "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
        "web",
    ]);
    assert!(ask(&format!("127.0.0.1:{port}")).ends_with("page\n"));
    // From another container through the gateway, and from the server to itself.
    let gateway =
        host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "web"]);
    let open = host.ok(&["port", "web", "80"]);
    let open = open
        .lines()
        .find(|line| line.starts_with("0.0.0.0:"))
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    let url = format!("http://{gateway}:{open}/f");
    assert_eq!(host.ok(&["run", "--rm", "busybox", "wget", "-qO-", &url]), "page");
    assert_eq!(host.ok(&["exec", "web", "wget", "-qO-", &url]), "page");
    host.ok(&["rm", "-f", "web"]);
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err());
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    let host = host();
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let publish = format!("{port}:80");
    let refused = host.fails(125, &["run", "--name", "p1", "-p", &publish, "busybox", "true"]);
    assert!(refused.contains("address already in use"), "{refused}");
    drop(listener);
    host.ok(&["run", "-d", "--name", "first", "-p", &publish, "busybox", "sleep", "1000"]);
    let refused = host.fails(125, &["run", "--rm", "-p", &publish, "busybox", "true"]);
    assert!(refused.contains("port is already allocated by container first"), "{refused}");
}

#[test]
fn containers_reach_each_other_by_address() {
    let host = host();
    host.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", SERVE]);
    let address =
        host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web"]);
    let script = format!("until wget -qO- http://{address}/f; do sleep 0.05; done 2>/dev/null");
    assert_eq!(host.ok(&["run", "--rm", "busybox", "sh", "-c", &script]), "page");
    let hosts = host.ok(&["exec", "web", "grep", &address, "/etc/hosts"]);
    assert!(hosts.starts_with(&address));
}

#[test]
fn none_host_and_anothers_network() {
    let host = host();
    let links = |args: &[&str]| {
        let mut all = vec!["run", "--rm"];
        all.extend(args);
        all.extend(["busybox", "ls", "/sys/class/net"]);
        let shown = host.ok(&all);
        // A kernel that has tunnels built in puts these into each new namespace.
        let own = shown.lines().filter(|name| !["sit0", "tunl0", "ip6tnl0"].contains(name));
        own.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(links(&["--network", "none"]), "lo");
    assert!(
        links(&["--network", "host"]).contains("eth0")
            || links(&["--network", "host"]).contains("lo")
    );
    host.ok(&["run", "-d", "--name", "owner", "busybox", "sleep", "1000"]);
    let address =
        host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "owner"]);
    let shared = host.ok(&[
        "run",
        "--rm",
        "--network",
        "container:owner",
        "busybox",
        "ip",
        "addr",
        "show",
        "eth0",
    ]);
    assert!(shared.contains(&address), "{shared}");
}

#[test]
fn who_shares_a_network_shares_its_names_and_files() {
    let host = host();
    let names =
        ["-h", "xname", "--domainname", "corp", "--dns", "1.2.3.4", "--add-host", "a:1.1.1.1"];
    let run = ["run", "-d", "--name", "owner"];
    let id = host.ok(&[&run[..], &names, &["busybox", "sleep", "1000"]].concat());
    let script = "hostname; cat /etc/hostname /proc/sys/kernel/domainname /etc/resolv.conf; \
                  echo $HOSTNAME; grep -c 1.1.1.1 /etc/hosts; echo 2.2.2.2 added >> /etc/hosts";
    let shared = ["--network", "container:owner", "busybox", "sh", "-c", script];
    let seen = host.ok(&[&["run", "--name", "guest"][..], &shared].concat());
    assert!(seen.starts_with("xname\nxname\ncorp\nnameserver 127.0.0.11\n"), "{seen}");
    assert!(seen.ends_with("xname\n1"), "{seen}");
    assert_eq!(host.ok(&["exec", "owner", "tail", "-1", "/etc/hosts"]), "2.2.2.2 added");
    let shown = |what: &str, of: &str| host.ok(&["inspect", "-f", what, of]);
    assert_eq!(shown("{{.Config.Hostname}}.{{.Config.Domainname}}", "guest"), "xname.corp");
    assert_eq!(shown("{{.HostConfig.NetworkMode}}", "guest"), format!("container:{id}"));
    assert_eq!(shown("{{.HostsPath}}", "guest"), shown("{{.HostsPath}}", "owner"));
}

#[test]
fn who_joins_a_guest_joins_the_owner_and_files_of_its_own_win() {
    let host = host();
    let start = |name: &str, network: &str| {
        host.ok(&["run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1000"]);
    };
    start("owner", "bridge");
    start("guest", "container:owner");
    host.ok(&["exec", "owner", "sh", "-c", "echo 2.2.2.2 added >> /etc/hosts"]);
    let last = |more: &[&str]| {
        let run = ["run", "--rm", "--network", "container:guest"];
        host.ok(&[&run, more, &["busybox", "tail", "-1", "/etc/hosts"]].concat())
    };
    assert_eq!(last(&[]), "2.2.2.2 added");
    let own = host.scratch().join("own");
    std::fs::write(&own, "mine\n").unwrap();
    assert_eq!(last(&["-v", &format!("{}:/etc/hosts", own.display())]), "mine");
}

#[test]
fn what_the_owner_of_a_network_decides_cannot_be_decided_again() {
    let host = host();
    host.ok(&["create", "--name", "owner", "busybox", "true"]);
    for (flag, message) in [
        (&["-h", "a"][..], "conflicting options: hostname and the network mode"),
        (
            &["--add-host", "a:1.1.1.1"],
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (&["--dns", "1.1.1.1"], "conflicting options: dns and the network mode"),
        (&["-p", "80"], "conflicting options: port publishing and the container type network mode"),
        (&["-P"], "conflicting options: port publishing and the container type network mode"),
        (
            &["--expose", "9"],
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            &["--mac-address", "02:42:ac:11:00:09"],
            "conflicting options: mac-address and the network mode",
        ),
        (&[], "cannot join network of a non running container: "),
        (&["--pid", "container:owner"], "failed to join PID namespace: container "),
    ] {
        let run = ["run", "--rm", "--network", "container:owner"];
        let refused = host.fails(125, &[&run, flag, &["busybox", "true"]].concat());
        assert!(refused.contains(message), "{flag:?}: {refused}");
    }
    let refused = host.fails(125, &["run", "--rm", "--network", "container:no", "busybox", "true"]);
    assert!(refused.contains("No such container: no"), "{refused}");
}

#[test]
fn names_on_the_hosts_network_are_the_containers_own() {
    let host = host();
    host.ok(&["create", "--name", "one", "--network", "host", "busybox"]);
    let id = host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.host.NetworkID}}", "one"]);
    assert_eq!(id, host.ok(&["network", "inspect", "-f", "{{.Id}}", "host"]));
    let run = |more: &[&str]| {
        let script = "hostname; cat /etc/hostname; grep -c 'own$' /etc/hosts";
        let run = ["run", "--rm", "--network", "host"];
        host.run(&[&run, more, &["busybox", "sh", "-c", script]].concat()).out
    };
    assert_eq!(run(&["-h", "foo"]), "foo\nfoo\n0");
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(run(&["--add-host", "own:1.1.1.1"]), format!("{machine}{machine}1"));
    let uts = ["run", "--rm", "--uts", "host", "busybox", "hostname"];
    assert_eq!(host.ok(&uts), machine.trim_end());
}

/// A socket in the network namespace of a container.
fn bound_inside(pid: &str, address: &str) -> UdpSocket {
    let netns = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let bind = || {
        sys::process::setns(&netns, sys::process::Namespaces::NET).unwrap();
        UdpSocket::bind(address).unwrap()
    };
    std::thread::scope(|scope| scope.spawn(bind).join()).unwrap()
}

/// The kernel remembers where a flow goes; a sender that began before the port was published would
/// go on to the host for as long as it does not pause.
#[test]
fn a_sender_of_udp_that_came_early_is_let_in() {
    let host = host();
    // The tables are there, so that flows are tracked.
    host.ok(&["run", "--rm", "busybox", "true"]);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"early", ("127.0.0.1", port)).unwrap();
    let publish = format!("127.0.0.1:{port}:7/udp");
    host.ok(&["run", "-d", "--name", "ear", "-p", &publish, "busybox", "sleep", "1000"]);
    let ear = bound_inside(&host.ok(&["inspect", "-f", "{{.State.Pid}}", "ear"]), "0.0.0.0:7");
    // Only a test that fails waits so long.
    ear.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    sender.send_to(b"again", ("127.0.0.1", port)).unwrap();
    let mut heard = [0; 5];
    ear.recv(&mut heard).unwrap();
    assert_eq!(&heard, b"again");
}

#[test]
fn shared_memory_goes_with_the_ipc_namespace() {
    let host = host();
    host.ok(&["run", "-d", "--name", "closed", "busybox", "sleep", "1000"]);
    let refused = host.fails(125, &["run", "--rm", "--ipc", "container:closed", "busybox", "true"]);
    assert!(refused.contains("non-shareable IPC"), "{refused}");
    host.ok(&["run", "-d", "--name", "open", "--ipc", "shareable", "busybox", "sleep", "1000"]);
    let script = "touch /dev/shm/here; readlink /proc/self/ns/ipc";
    let joined =
        host.ok(&["run", "--rm", "--ipc", "container:open", "busybox", "sh", "-c", script]);
    assert_eq!(joined, host.ok(&["exec", "open", "sh", "-c", "readlink /proc/self/ns/ipc"]));
    assert_eq!(host.ok(&["exec", "open", "ls", "/dev/shm"]), "here");
}
