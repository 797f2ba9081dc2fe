//! What is open to whom: asked of dhow, and tried from outside.
//!
//! The host of these tests is a network namespace with a neighbour in another one, so that rules which refuse
//! everything are nobody else's.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Output};

use serde_json::Value;
use sys::process::{Namespaces, setns};
use testkit::{Host, until, until_is};

use crate::networks::{said, subnet};

const SERVE: &str = "echo page > /var/www/f; exec httpd -f -v -p 80 -h /var/www";
/// The host's address, and its neighbour's.
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const NEIGHBOUR: &str = "192.0.2.2";

/// Who is outside.
pub(crate) struct Outside(OwnedFd);

impl Outside {
    /// Waits until a port of the host leads to the page.
    #[track_caller]
    pub(crate) fn sees(&self, port: u16) {
        self.sees_at(&format!("{HOST}:{port}"));
    }

    /// Waits until an address, and its port if it is another than 80, leads to the page.
    #[track_caller]
    pub(crate) fn sees_at(&self, address: &str) {
        until_is(address, || match self.fetch_within("4", address) {
            Some(page) if page == "page" => Ok(()),
            other => Err(other),
        });
    }

    /// Waits until somebody answers there.
    #[track_caller]
    pub(crate) fn reaches(&self, address: &str, port: u16) {
        self.sees_at(&format!("{address}:{port}"));
    }

    /// That nobody answers there, within a second.
    #[track_caller]
    pub(crate) fn is_kept_from(&self, address: &str, port: u16) {
        let answer = self.fetch_within("1", &format!("{address}:{port}"));
        assert_eq!(answer, None, "{address}:{port}");
    }

    /// That a port of the host leads to nothing, within four seconds.
    #[track_caller]
    pub(crate) fn misses(&self, port: u16) {
        self.misses_at(&format!("{HOST}:{port}"));
    }

    /// As `misses`, of any address.
    #[track_caller]
    pub(crate) fn misses_at(&self, address: &str) {
        assert_eq!(self.fetch_within("4", address), None, "{address}");
    }

    fn fetch_within(&self, seconds: &str, address: &str) -> Option<String> {
        let url = format!("http://{address}/f");
        let page = self.said(&["busybox", "timeout", seconds, "busybox", "wget", "-qO-", &url]);
        (!page.is_empty()).then(|| page.trim().to_owned())
    }

    /// Changes its links and routes.
    pub(crate) fn ip(&self, words: &[&str]) {
        said(&[&["nsenter", &self.netns(), "ip"], words].concat());
    }

    /// For `nsenter`.
    pub(crate) fn netns(&self) -> String {
        format!("--net={}", path(&self.0))
    }

    /// What an administrator's program says there.
    pub(crate) fn said(&self, words: &[&str]) -> String {
        said(&[&["nsenter", &self.netns()], words].concat())
    }
}

/// What the host itself gets of a published port within four seconds.
pub(crate) fn by_loopback(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/f");
    said(&["busybox", "timeout", "4", "busybox", "wget", "-qO-", &url]).trim().to_owned()
}

fn path(netns: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd())
}

/// Tests a host that has a neighbour, and no other network.
pub(crate) fn with_neighbour(test: impl FnOnce(&Host, &Outside) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let netns = net::endpoint::isolated().unwrap();
            let outside = Outside(net::endpoint::isolated().unwrap());
            setns(&netns, Namespaces::NET).unwrap();
            let there = path(&outside.0);
            let ip =
                |words: &str| said(&[&["ip"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
            ip(&format!("link add eth0 type veth peer name eth0 netns {there}"));
            ip(&format!("addr add {HOST}/24 dev eth0"));
            ip("link set eth0 up");
            outside.ip(&["addr", "add", &format!("{NEIGHBOUR}/24"), "dev", "eth0"]);
            outside.ip(&["link", "set", "eth0", "up"]);
            test(&crate::host(), &outside);
        });
        thread.join().unwrap();
    });
}

/// Changes the rules of the host as its administrator does.
pub(crate) fn nft(rules: &str) {
    for rule in rules.lines().map(str::trim) {
        said(&[&["nft"], &rule.split(' ').collect::<Vec<_>>()[..]].concat());
    }
}

pub(crate) fn serve(host: &Host, name: &str, more: &[&str]) -> testkit::Ran {
    let run = [&["run", "-d", "--name", name], more, &["busybox", "sh", "-c", SERVE]].concat();
    let ran = host.run(&run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let listens = "until wget -qO- http://127.0.0.1/f; do usleep 9999; done 2>/dev/null";
    host.ok(&["exec", name, "sh", "-c", listens]);
    ran
}

fn json(host: &Host, words: &[&str]) -> Value {
    serde_json::from_str(&host.ok(&[words, &["--format", "json"]].concat())).unwrap()
}

/// The published port of that number, as it is told.
fn told(host: &Host, port: u16) -> Value {
    let ports = json(host, &["port", "audit"]);
    let is_it =
        |one: &&Value| one["HostPort"] == port && one["HostIP"].as_str().unwrap().contains('.');
    ports.as_array().unwrap().iter().find(is_it).unwrap().clone()
}

#[test]
fn what_is_open_is_what_is_told() {
    with_neighbour(|host, outside| {
        let quiet = serve(host, "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"]);
        assert_eq!(quiet.err, "", "there is no other firewall");
        outside.sees(8080);
        outside.misses(8081);
        let (open, closed) = (told(host, 8080), told(host, 8081));
        assert_eq!([&open["Reach"], &closed["Reach"]], ["anyone", "host"]);
        assert_eq!([&open["Container"], &open["ContainerPort"]], [&Value::from("web"), &80.into()]);
        let at = open["At"].as_array().unwrap();
        assert!(at.iter().any(|at| at["IP"] == HOST && at["Link"] == "eth0"), "{at:?}");
        assert!(!at.iter().any(|at| at["Link"].as_str().unwrap().starts_with("dhow")), "{at:?}");
        let shown = host.ok(&["port", "audit"]);
        assert!(shown.contains("0.0.0.0:8080/tcp") && shown.contains("anyone"), "{shown}");
        // What they have both in view is not asked of a container of that name.
        assert!(
            host.fails(1, &["container", "port", "audit"]).contains("No such container: audit")
        );
        let wrong = host.fails(1, &["port", "audit", "--format", "yaml"]);
        assert!(wrong.contains("there is json alone"), "{wrong}");
    });
}

#[test]
fn a_firewall_that_is_not_asked_is_told_of() {
    with_neighbour(|host, outside| {
        nft("add table ip filter
             add chain ip filter INPUT { type filter hook input priority 0; policy drop; }
             add rule ip filter INPUT iifname lo accept
             add chain ip filter FORWARD { type filter hook forward priority 0; policy accept; }");
        let warned = serve(host, "web", &["-p", "8080:80", "-p", "8443:443"]).err;
        let want = "WARNING: port 80/tcp of the container and 1 more will be open to anyone: the host's firewall (ip \
                    filter INPUT) is not asked";
        assert!(warned.starts_with(want) && warned.lines().count() == 1, "{warned}");
        let local = host.run(&["run", "--rm", "-p", "127.0.0.1:9090:80", "busybox", "true"]);
        assert_eq!(local.err, "", "nobody but this host");
        // Docker's way, until it is settled otherwise.
        outside.sees(8080);
        let open = told(host, 8080);
        assert_eq!(open["Bypasses"], serde_json::json!(["ip filter INPUT"]));
        assert_eq!(open["Asks"], serde_json::json!([]));
        // What another forbids at the hook of packets that pass is forbidden.
        nft("add chain ip filter FORWARD { policy drop; }");
        outside.misses(8080);
        assert_eq!(told(host, 8080)["Asks"], serde_json::json!(["ip filter FORWARD"]));
        let shown = host.ok(&["network", "firewall"]);
        for line in [
            "Published ports:",
            "Chains of others:",
            "past ip filter INPUT; asks ip filter FORWARD",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        host.ok(&["run", "--rm", "busybox", "true"]);
        // But for what nobody has forbidden.
        outside.sees(8080);
        assert_eq!(told(host, 8080)["Asks"], serde_json::json!([]));
        nft("delete table ip filter");
    });
}

#[test]
fn networks_are_told_and_drawn() {
    with_neighbour(|host, _| {
        let subnet = subnet();
        host.ok(&["network", "create", "--subnet", &subnet, "--internal", "inner"]);
        serve(host, "web", &["-p", "8080-8082:80-82"]);
        host.ok(&["run", "-d", "--name", "db", "--network", "inner", "busybox", "sleep", "1000"]);
        host.ok(&["run", "-d", "--name", "job", "--network", "none", "busybox", "sleep", "1000"]);
        let shown = json(host, &["network", "firewall"]);
        assert_eq!([&shown["HostRules"], &shown["Intact"]], [&Value::from("bypass"), &true.into()]);
        let networks = shown["Networks"].as_array().unwrap();
        let inner = networks.iter().find(|network| network["Name"] == "inner").unwrap();
        assert_eq!(
            [&inner["Internal"], &inner["Masqueraded"]],
            [&Value::from(true), &false.into()]
        );
        assert_eq!(inner["Subnets"][0], subnet.as_str());
        // Each chain that the kernel has is told of.
        let table = shown["Table"].as_str().unwrap();
        let live = said(&["nft", "list", "table", "ip", table]);
        let chains = shown["Chains"].as_array().unwrap();
        assert_eq!(live.matches("\tchain ").count(), chains.len(), "{live}");
        for chain in chains {
            let name = chain["Name"].as_str().unwrap();
            assert!(live.contains(&format!("chain {name} {{")), "{name}: {live}");
        }
        let drawn = host.ok(&["network", "graph"]);
        for line in [
            "◀─ 0.0.0.0:8080-8082/tcp leads to 80-82, for anyone",
            "nothing leads out",
            "└─ db  ",
            "none: nothing leads out\n└─ job",
        ] {
            assert!(drawn.contains(line), "{line}: {drawn}");
        }
        let image = host.ok(&["network", "graph", "--format", "svg"]);
        let file = host.scratch().join("graph.svg");
        fs::write(&file, &image).unwrap();
        assert!(image.starts_with("<svg ") && image.ends_with("</svg>"), "{image}");
        nft(&format!("delete table ip {table}"));
        until("what is flushed is told", || {
            json(host, &["network", "firewall"])["Intact"] == false
        });
    });
}

/// The host's own rules, asked about what is published.
#[test]
fn a_firewall_that_is_respected_decides() {
    with_neighbour(|host, outside| {
        let etc = host.scratch().join("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("dhow.toml"), "firewall = \"respect\"\n").unwrap();
        nft("add table ip filter
             add chain ip filter INPUT { type filter hook input priority 0; policy drop; }
             add rule ip filter INPUT iifname lo accept
             add rule ip filter INPUT ct state established accept");
        let quiet = serve(host, "web", &["-p", "8080:80", "-p", "8081:80"]);
        assert_eq!(quiet.err, "", "nothing passes by it");
        assert_eq!(json(host, &["network", "firewall"])["Intact"], true);
        assert_eq!(told(host, 8080)["Asks"], serde_json::json!(["ip filter INPUT"]));
        until("this host asks itself nothing", || by_loopback(8080) == "page");
        let url = format!("http://{HOST}:8080/f");
        let fetch = ["busybox", "timeout", "4", "busybox", "wget", "-qO-", &url];
        until("a container's page", || {
            host.run(&[&["run", "--rm", "busybox"], &fetch[..]].concat()).out == "page"
        });
        outside.misses(8080);
        nft("add rule ip filter INPUT tcp dport 8080 accept");
        outside.sees(8080);
        outside.misses(8081); // nobody has let that in
        let shown = host.ok(&["network", "firewall"]);
        let table = shown.lines().next().unwrap().split(' ').find(|word| word.starts_with("dhow"));
        let table = table.unwrap().trim_end_matches(',').to_owned();
        let admitted = said(&["nft", "list", "set", "ip", &table, "admitted"]);
        assert!(
            admitted.contains(&format!("{NEIGHBOUR} . {HOST} . tcp . 8080 timeout")),
            "{admitted}"
        );
        // Who was let in has the address of its own inside.
        let seen = host.run(&["logs", "web"]).err;
        assert!(seen.contains(NEIGHBOUR), "{seen}");
        // What is settled otherwise holds from the next start on.
        fs::write(etc.join("dhow.toml"), "").unwrap();
        assert_eq!(json(host, &["network", "firewall"])["Intact"], false);
        host.ok(&["run", "--rm", "busybox", "true"]);
        assert_eq!(json(host, &["network", "firewall"])["Intact"], true);
        outside.sees(8081);
        nft("delete table ip filter");
    });
}

/// One that has many places to send from, or to, takes the room of no other.
#[test]
fn who_sends_to_everything_keeps_nobody_else_out() {
    with_neighbour(|host, outside| {
        let etc = host.scratch().join("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("dhow.toml"), "firewall = \"respect\"\n").unwrap();
        said(&["ip", "addr", "add", "198.51.100.1/24", "dev", "eth0"]);
        outside.ip(&["addr", "add", "198.51.100.2/24", "dev", "eth0"]);
        serve(host, "web", &["-p", "8080:80", "-p", "21000-22999:21000-22999/udp"]);
        let send = format!("for p in {{21000..22999}}; do echo x >/dev/udp/{HOST}/$p; done");
        let began = std::time::Instant::now();
        outside.said(&["bash", "-c", &send]);
        let table = json(host, &["network", "firewall"])["Table"].as_str().unwrap().to_owned();
        let admitted = said(&["nft", "list", "set", "ip", &table, "admitted"]);
        let count = admitted.matches(" . udp . ").count();
        // What one sender may at once, and what has come to it while it sent.
        let most = 200 + 200 * (usize::try_from(began.elapsed().as_secs()).unwrap() + 1) / 60;
        assert!((150..=most).contains(&count), "{count} of 2000, and not {most}");
        // Its neighbours have the rest of what their place may.
        let neighbours = "192.0.2.99";
        outside.ip(&["addr", "add", &format!("{neighbours}/24"), "dev", "eth0"]);
        let senders = said(&["nft", "list", "set", "ip", &table, "senders"]);
        assert!(senders.contains("192.0.2.0"), "{senders}");
        outside.ip(&["route", "replace", &format!("{HOST}/32"), "dev", "eth0", "src", neighbours]);
        outside.sees(8080);
        assert!(admitted.contains("timeout 3m"), "UDP is remembered for longer: {admitted}");
        outside.sees_at("198.51.100.1:8080");
        assert_eq!(json(host, &["network", "firewall"])["Intact"], true);
    });
}

#[test]
fn a_long_range_is_published() {
    with_neighbour(|host, outside| {
        serve(host, "web", &["-p", "21000-21299:80-379"]);
        outside.sees(21000);
        let ports = json(host, &["port", "audit"]);
        let v4 = |port: &&Value| port["HostIP"] == "0.0.0.0";
        assert_eq!(ports.as_array().unwrap().iter().filter(v4).count(), 1);
        assert_eq!([&told(host, 21000)["ContainerPort"], &told(host, 21000)["Count"]], [80, 300]);
        let drawn = host.ok(&["network", "graph"]);
        assert!(drawn.contains("0.0.0.0:21000-21299/tcp leads to 80-379"), "{drawn}");
    });
}

/// Runs a command with other limits of open files.
fn with_files(host: &Host, limit: &str, words: &[&str]) -> Output {
    let wished = host.command(words);
    #[expect(clippy::disallowed_methods, reason = "a test runs what it likes")]
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]);
    command.arg(wished.get_program()).args(wished.get_args()).env_clear();
    command.envs(wished.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.output().unwrap()
}

/// Its shim has two sockets of each, more than a message carries descriptors, and no process of the container may
/// have them.
#[test]
fn a_thousand_single_ports_are_published() {
    with_neighbour(|host, outside| {
        let run = ["run", "-d", "--name", "web", "-p", "80-1079", "busybox"];
        let run = [&run[..], &["sh", "-c", SERVE]].concat();
        // The limits of a service, and of whoever may not have as many.
        let ran = with_files(host, "-S -n 1024", &run);
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
        let more = ["run", "-d", "--rm", "-p", "80-1079", "busybox", "true"];
        let ran = with_files(host, "-n 1000", &more);
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(125), "{said}");
        assert!(said.contains("cannot publish 1000 ports: they need "), "{said}");
        assert!(said.contains(" open files, and the limit is 1000 (raise "), "{said}");
        host.ok(&["exec", "web", "httpd", "-p", "1079", "-h", "/var/www"]);
        for inside in ["80", "1079"] {
            let shown = host.ok(&["port", "web", inside]);
            let port = shown.lines().next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
            outside.sees(port);
        }
        assert_eq!(host.ok(&["exec", "web", "sh", "-c", "ls /proc/self/fd | wc -l"]), "4");
        host.ok(&["rm", "-f", "web"]);
        assert_eq!(json(host, &["port", "audit"]).as_array().unwrap().len(), 0);
        host.until_idle();
    });
}
