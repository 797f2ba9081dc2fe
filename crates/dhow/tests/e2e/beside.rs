//! Beside the firewalls of others that drop what they do not know: ufw, firewalld, and an administrator's own.
//! `engines::beside` has Docker.
//!
//! The host of these tests is a network namespace, and the outside another one (`crate::firewall`).

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use testkit::{Host, until};

use crate::firewall::{HOST, NEIGHBOUR, Outside, serve, with_neighbour};

/// What an administrator's program says, which must succeed.
pub(crate) fn admin(words: &[&str]) -> String {
    let output = command(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[expect(clippy::disallowed_methods, reason = "an administrator runs what there is")]
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Runs a program that reads `input`.
fn feed(words: &[&str], input: &str) -> Output {
    let mut child = command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn load(rules: &str) {
    assert!(feed(&["nft", "-f", "-"], rules).status.success(), "{rules}");
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host beside whose firewall a container serves a page, and whose neighbour does.
pub(crate) struct Beside<'a> {
    pub(crate) host: &'a Host,
    pub(crate) outside: &'a Outside,
    bridge: String,
    table: String,
    _page: Running,
}

impl<'a> Beside<'a> {
    /// The firewall of others is there already.
    pub(crate) fn start(host: &'a Host, outside: &'a Outside) -> Self {
        let www = host.scratch().join("www");
        fs::create_dir_all(&www).unwrap();
        fs::write(www.join("f"), "theirs\n").unwrap();
        let netns = outside.netns();
        let serving = ["nsenter", &netns, "busybox", "httpd", "-f", "-p", "80", "-h"];
        let page = command(&[&serving[..], &[www.to_str().unwrap()]].concat()).spawn().unwrap();
        serve(host, "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"]);
        let told: Value =
            serde_json::from_str(&host.ok(&["network", "firewall", "--format", "json"])).unwrap();
        let networks = told["Networks"].as_array().unwrap();
        let bridge = networks.iter().find(|network| network["Name"] == "bridge").unwrap();
        Self {
            host,
            outside,
            bridge: bridge["Bridge"].as_str().unwrap().to_owned(),
            table: told["Table"].as_str().unwrap().to_owned(),
            _page: Running(page),
        }
    }

    /// What must be so whatever the firewall of others: containers reach others and are reached by what they
    /// publish, and by nothing else.
    pub(crate) fn works(&self) {
        let theirs = format!("http://{NEIGHBOUR}/f");
        until("the outside is reached", || self.fetch(&theirs) == "theirs");
        self.is_published();
        let seen = self.host.run(&["logs", "web"]).err;
        assert!(seen.contains(NEIGHBOUR), "who asks keeps the address of its own: {seen}");
        self.outside.is_kept_from(HOST, 8081); // what is of this host alone
        let all = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = self.host.ok(&["inspect", "-f", all, "web"]);
        self.outside.ip(&["route", "replace", &address, "via", HOST]);
        self.outside.is_kept_from(&address, 80); // the container's own address
    }

    pub(crate) fn is_published(&self) {
        self.outside.sees(8080);
    }

    /// That nothing is let in which somebody has forbidden.
    pub(crate) fn is_forbidden(&self) {
        self.outside.is_kept_from(HOST, 8080); // somebody has forbidden that
    }

    /// What the container fetches within a second; nothing if nobody answers.
    pub(crate) fn fetch(&self, url: &str) -> String {
        let fetch = ["busybox", "timeout", "1", "busybox", "wget", "-qO-", url];
        self.host.run(&[&["exec", "web"], &fetch[..]].concat()).out
    }

    /// What a container's start does.
    pub(crate) fn start_one(&self) {
        self.host.ok(&["run", "--rm", "busybox", "true"]);
    }

    /// Our rules among those of others, as `iptables` tells them.
    fn ours(&self) -> Vec<String> {
        let mark = format!("--comment {} ", self.table);
        let ours = |program| {
            let told = admin(&[program, "-S"]);
            told.lines().filter(|line| line.contains(&mark)).map(str::to_owned).collect::<Vec<_>>()
        };
        ["iptables", "ip6tables"].into_iter().flat_map(ours).collect()
    }

    /// The two that each family has.
    fn pair(&self) -> [String; 2] {
        let rule = |side| {
            let (bridge, table) = (&self.bridge, &self.table);
            format!("-A FORWARD {side} {bridge} -m comment --comment {table} -j ACCEPT")
        };
        [rule("-o"), rule("-i")]
    }

    /// That they are before this rule of the forward chain, or at its end.
    pub(crate) fn is_before(&self, next: Option<&str>) {
        let told = admin(&["iptables", "-S", "FORWARD"]);
        let lines: Vec<&str> = told.lines().collect();
        let pair = self.pair();
        let first = lines.iter().position(|line| *line == pair[0]);
        let first = first.unwrap_or_else(|| panic!("{told}"));
        assert_eq!(lines.get(first + 1).copied(), Some(pair[1].as_str()), "{told}");
        assert_eq!(lines.get(first + 2).copied(), next, "{told}");
    }

    /// That a network takes with it what it has there, and the root all that is left.
    pub(crate) fn leaves_nothing(self) {
        self.host.ok(&[
            "network",
            "create",
            "-o",
            "com.docker.network.bridge.name=beside1",
            "more",
        ]);
        let of_it = |rules: &str| rules.matches("\"beside1\"").count();
        let in_others = || {
            let tables = admin(&["nft", "list", "tables"]);
            let others = tables.lines().filter(|line| !line.ends_with(self.table.as_str()));
            others
                .map(|line| {
                    admin(&[&["nft", "list"], &line.split(' ').collect::<Vec<_>>()[..]].concat())
                })
                .collect::<String>()
        };
        assert_ne!(of_it(&in_others()), 0, "{}", in_others());
        self.host.ok(&["network", "rm", "more"]);
        assert_eq!(of_it(&in_others()), 0, "{}", in_others());
        assert!(in_others().contains(&self.bridge), "{}", in_others());
        self.host.ok(&["system", "reset", "--force"]);
        assert!(!in_others().contains(&self.bridge), "{}", in_others());
    }
}

#[test]
fn a_policy_of_iptables_keeps_no_container_from_its_network() {
    with_neighbour(|host, outside| {
        admin(&["iptables", "-P", "FORWARD", "DROP"]);
        admin(&["ip6tables", "-P", "FORWARD", "DROP"]);
        let beside = Beside::start(host, outside);
        beside.works();
        assert_eq!(beside.ours(), [beside.pair(), beside.pair()].concat());
        // iptables knows them by what it shows of them; what it has written is known to be ours.
        let saved = admin(&["iptables-save"]);
        feed(&["iptables-restore"], &saved);
        beside.start_one();
        assert_eq!(beside.ours(), [beside.pair(), beside.pair()].concat());
        let rule = beside.pair()[1].replace("-A ", "-D ");
        admin(&[&["iptables"], &rule.split(' ').collect::<Vec<_>>()[..]].concat());
        beside.start_one();
        beside.is_before(None);
        // What comes to stand behind ours is before them from the next start on.
        admin(&["iptables", "-A", "FORWARD", "-i", "eth0", "-p", "tcp", "-j", "DROP"]);
        beside.start_one();
        beside.is_before(None);
        beside.is_forbidden();
        admin(&["iptables", "-F", "FORWARD"]);
        admin(&["iptables", "-A", "FORWARD", "-j", "REJECT"]);
        admin(&["iptables", "-P", "FORWARD", "ACCEPT"]);
        beside.start_one();
        beside.is_before(Some("-A FORWARD -j REJECT --reject-with icmp-port-unreachable"));
        beside.is_published();
        beside.leaves_nothing();
    });
}

/// Nor is it asked where the administrator wants to be: `firewall = "respect"`.
#[test]
fn a_firewall_that_is_respected_gets_no_rules() {
    with_neighbour(|host, outside| {
        admin(&["iptables", "-P", "FORWARD", "DROP"]);
        let beside = Beside::start(host, outside);
        assert_eq!(beside.ours(), beside.pair());
        let shown = host.ok(&["network", "firewall"]);
        assert!(shown.contains(&format!("refused, but for {}", beside.bridge)), "{shown}");
        let etc = host.scratch().join("etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("dhow.toml"), "firewall = \"respect\"\n").unwrap();
        beside.start_one();
        assert_eq!(beside.ours(), [""; 0]);
        beside.is_forbidden();
    });
}

/// The file that Debian has `nft` load at boot, with the policy that its readers are told to have.
const NFTABLES_CONF: &str = "
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname lo accept
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        tcp dport 81 drop
    }
}";

#[test]
fn what_is_flushed_beside_a_policy_of_nftables_comes_back() {
    with_neighbour(|host, outside| {
        load(NFTABLES_CONF);
        let beside = Beside::start(host, outside);
        serve(host, "denied", &["-p", "8090:81"]);
        host.ok(&["exec", "denied", "httpd", "-p", "81", "-h", "/var/www"]);
        beside.works();
        outside.is_kept_from(HOST, 8090); // a rule of the administrator's
        load(&format!("flush ruleset\n{NFTABLES_CONF}"));
        beside.is_forbidden();
        beside.start_one();
        beside.works();
        beside.leaves_nothing();
    });
}

/// What firewalld 1.3 writes for a link in its zone `public`: that zone's chain refuses what it does not know,
/// two calls below the chain at the hook.
const FIREWALLD: &str = include_str!("beside/firewalld.nft");

#[test]
fn a_zone_of_firewalld_keeps_no_container_from_its_network() {
    with_neighbour(|host, outside| {
        load(FIREWALLD);
        let beside = Beside::start(host, outside);
        beside.works();
        let zone = admin(&["nft", "list", "chain", "inet", "firewalld", "filter_FWD_public"]);
        let last: Vec<&str> = zone.lines().rev().map(str::trim).take(5).collect();
        assert!(last[2].starts_with("reject"), "{zone}");
        assert!(last[3].contains(&beside.bridge) && last[4].contains(&beside.bridge), "{zone}");
        // A deny of the zone comes before.
        let deny = "inet firewalld filter_FWD_public_deny";
        load(&format!("add rule {deny} ip daddr 192.0.2.2 counter drop"));
        let theirs = format!("http://{NEIGHBOUR}/f");
        until("what it sends is dropped", || {
            assert_eq!(beside.fetch(&theirs), "");
            let shown = admin(
                &[&["nft", "list", "chain"], &deny.split(' ').collect::<Vec<_>>()[..]].concat(),
            );
            shown.contains("counter packets") && !shown.contains("counter packets 0 ")
        });
        load("flush chain inet firewalld filter_FWD_public_deny");
        // As after `firewall-cmd --reload`.
        load(&format!("delete table inet firewalld\n{FIREWALLD}"));
        beside.start_one();
        beside.works();
        beside.leaves_nothing();
    });
}

/// A table that the kernel keeps for the program that has made it, as firewalld 2 does.
#[test]
fn a_table_that_nobody_may_change_is_told_of() {
    with_neighbour(|host, outside| {
        let mut owner = Running(command(&["nft", "-i"]).stdin(Stdio::piped()).spawn().unwrap());
        let owns = "add table inet firewalld { flags owner; chain f { type filter hook forward priority 10; policy drop; }; }\n";
        owner.0.stdin.as_mut().unwrap().write_all(owns.as_bytes()).unwrap();
        until("the table", || admin(&["nft", "list", "tables"]).contains("firewalld"));
        let warned = host.run(&["run", "--rm", "busybox", "true"]);
        assert_eq!(warned.code, Some(0), "{}", warned.err);
        for part in [
            "inet firewalld f refuses what it does not know",
            "firewall-cmd --permanent --zone=trusted --add-interface=dhow",
        ] {
            assert!(warned.err.contains(part), "{}", warned.err);
        }
        let shown = host.ok(&["network", "firewall"]);
        assert!(shown.contains("only the program that made it may change that"), "{shown}");
        let doctor = host.run(&["doctor"]).out;
        assert!(doctor.contains("--zone=trusted --add-interface=dhow0"), "{doctor}");
        serve(host, "web", &["-p", "8080:80"]);
        outside.is_kept_from(HOST, 8080);
        // Who names the bridge there knows what for.
        let name = shown.lines().find(|line| line.starts_with("bridge ")).unwrap().to_owned();
        let bridge = name.split_whitespace().nth(1).unwrap();
        let rules = format!(
            "add rule inet firewalld f iifname {bridge} accept\nadd rule inet firewalld f oifname {bridge} accept\n"
        );
        owner.0.stdin.as_mut().unwrap().write_all(rules.as_bytes()).unwrap();
        let listed = || admin(&["nft", "list", "table", "inet", "firewalld"]);
        until("the rules", || listed().contains("oifname"));
        assert_eq!(host.run(&["run", "--rm", "busybox", "true"]).err, "");
        outside.sees(8080);
    });
}

/// ufw with a configuration of its own, as Debian installs it.
struct Ufw<'a> {
    etc: &'a Path,
}

impl<'a> Ufw<'a> {
    fn new(etc: &'a Path) -> Self {
        admin(&["mkdir", "-p", &etc.join("ufw/applications.d").to_string_lossy()]);
        let files = "cp /usr/share/ufw/*.rules /usr/share/ufw/*.init /usr/share/ufw/ufw.conf \"$0\"/ufw; \
                     chmod 640 \"$0\"/ufw/*.rules; : >\"$0\"/ufw/sysctl.conf";
        admin(&["sh", "-c", files, &etc.to_string_lossy()]);
        let ufw = Self { etc };
        ufw.settle("DROP");
        ufw
    }

    fn settle(&self, forward: &str) {
        let policies = format!(
            "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\n\
             DEFAULT_FORWARD_POLICY=\"{forward}\"\nDEFAULT_APPLICATION_POLICY=\"SKIP\"\nMANAGE_BUILTINS=no\n\
             IPT_SYSCTL=/etc/ufw/sysctl.conf\nIPT_MODULES=\"\"\n"
        );
        fs::write(self.etc.join("default"), policies).unwrap();
    }

    /// Its files are where it looks for them, for this command alone.
    fn ok(&self, words: &[&str]) -> String {
        let there = "mount -t tmpfs none /run; mount --bind \"$0\"/ufw /etc/ufw; \
                     mount --bind \"$0\"/default /etc/default/ufw; exec ufw \"$@\"";
        let etc = self.etc.to_string_lossy();
        let enter = ["unshare", "-m", "--propagation", "private", "sh", "-ec", there, &etc];
        admin(&[&enter[..], words].concat())
    }
}

#[test]
fn ufw_keeps_no_container_from_its_network() {
    with_neighbour(|host, outside| {
        let etc = host.scratch().join("ufw");
        let ufw = Ufw::new(&etc);
        ufw.ok(&["--force", "enable"]);
        let beside = Beside::start(host, outside);
        beside.works();
        // Before what logs that it was blocked.
        beside.is_before(Some("-A FORWARD -j ufw-after-logging-forward"));
        assert!(ufw.ok(&["status"]).contains("Status: active"));
        ufw.ok(&["route", "deny", "proto", "tcp", "from", NEIGHBOUR, "to", "any", "port", "80"]);
        beside.is_forbidden();
        ufw.ok(&[
            "route", "delete", "deny", "proto", "tcp", "from", NEIGHBOUR, "to", "any", "port", "80",
        ]);
        // Its chains are called behind ours then, up to the next start.
        ufw.settle("REJECT");
        ufw.ok(&["reload"]);
        beside.is_published();
        beside.start_one();
        beside.is_before(Some("-A FORWARD -j ufw-after-logging-forward"));
        beside.is_published();
        beside.leaves_nothing();
    });
}
