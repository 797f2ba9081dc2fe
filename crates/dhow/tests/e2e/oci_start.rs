//! What `dhow oci` does of runc's around a start: interfaces, service managers, groups, errors of usage.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Ran, until};

use crate::oci::Bundle;
use crate::oci_spec::{add, said, with_users};

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the test lays out interfaces of the host")]
fn ip(words: &str) -> String {
    let ran = Ran::new(&Command::new("ip").args(words.split(' ')).output().unwrap());
    assert_eq!(ran.code, Some(0), "ip {words}: {}", ran.err);
    ran.out
}

fn has_ipv6() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6")
        .is_ok_and(|text| text == "0\n")
}

/// A pair of interfaces of the host, one of them with addresses.
struct Pair {
    left: String,
    right: String,
}

impl Pair {
    fn new(bundle: &Bundle) -> Self {
        let tag: String = bundle.tag().chars().rev().take(6).collect();
        let pair = Self { left: format!("dl{tag}"), right: format!("dr{tag}") };
        let Self { left, right } = &pair;
        ip(&format!("link add {left} type veth peer name {right}"));
        ip(&format!("addr add 10.99.77.2/24 dev {left}"));
        if has_ipv6() {
            ip(&format!("addr add fd99:77::2/64 dev {left} nodad"));
        }
        pair
    }

    /// Whether somebody shows its addresses.
    fn is_shown(told: &str) -> bool {
        told.contains("10.99.77.2/24") && (!has_ipv6() || told.contains("fd99:77::2/64"))
    }
}

impl Drop for Pair {
    #[expect(clippy::disallowed_methods, reason = "the test takes away what it has laid out")]
    fn drop(&mut self) {
        // Either end may have gone with a container, and the other with it.
        for name in [&self.left, &self.right] {
            let _ = Command::new("ip").args(["link", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

/// The program is not the installed one where the container could find it (CVE-2019-5736).
#[test]
fn what_enters_a_container_cannot_be_written_to() {
    let bundle = Bundle::new();
    let found = bundle.path().join("found");
    // Run on the host, by the command that starts the container.
    let look = format!("/bin/readlink /proc/$PPID/exe >{}", found.display());
    let poststart = json!([{ "path": "/bin/sh", "args": ["sh", "-c", look] }]);
    let start_container = json!([{ "path": "/bin/true" }]);
    let installed = fs::canonicalize(crate::DHOW).unwrap();
    for (enters, hooks) in [
        (false, json!({ "poststart": poststart })),
        (true, json!({ "poststart": poststart, "startContainer": start_container })),
    ] {
        bundle.change(|spec| spec["hooks"] = hooks);
        bundle.runs(&["true"]);
        bundle.create("one", &[]);
        let pid = bundle.state("one")["pid"].as_i64().unwrap();
        let waits = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert_ne!(waits, installed, "the process that waits");
        bundle.ok(&["start", "one"]);
        let starts = fs::read_to_string(&found).unwrap();
        assert_eq!(starts.trim() != installed.to_str().unwrap(), enters, "start: {starts}");
        bundle.ok(&["delete", "-f", "one"]);
    }
    bundle.nothing_is_left();
}

/// What is executed first does nothing but execute the sealed image: the C library, which asks for memory, is not set
/// up before it.
#[test]
#[cfg(all(target_arch = "x86_64", target_feature = "crt-static"))]
#[expect(clippy::disallowed_methods, reason = "the tracer is a program of the host")]
fn the_image_is_sealed_before_anything_else() {
    let bundle = Bundle::new();
    bundle.runs(&["true"]);
    let runc = bundle.path().join("runc");
    std::os::unix::fs::symlink(crate::DHOW, &runc).unwrap();
    let trace = bundle.path().join("trace");
    let state = bundle.path().join("state");
    for (program, role) in [(std::path::Path::new(crate::DHOW), &["oci"][..]), (&runc, &[])] {
        let mut traced = Command::new("strace");
        traced.args(["-f", "-e", "trace=execve,execveat,brk", "-o"]).arg(&trace);
        traced.arg(program).args(role).arg("--root").arg(&state).args(["run", "one"]);
        let ran = Ran::new(&traced.current_dir(bundle.path()).output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let all = fs::read_to_string(&trace).unwrap();
        let mut calls = all.lines().filter_map(|line| line.split_whitespace().nth(1));
        assert!(calls.next().is_some_and(|call| call.starts_with("execve(")), "{all}");
        assert!(calls.next().is_some_and(|call| call.starts_with("execveat(")), "{all}");
        assert!(calls.next().is_some_and(|call| call.starts_with("brk(")), "{all}");
        assert_eq!(all.matches("oci-sealed").count(), 1, "{all}");
    }
    bundle.nothing_is_left();
}

/// The word by which the runtime calls its sealed image is not believed: a container could find the installed program.
#[test]
#[expect(clippy::disallowed_methods, reason = "it is called as nobody else calls it")]
fn a_program_that_is_not_sealed_is_not_taken_for_it() {
    let bundle = Bundle::new();
    bundle.runs(&["true"]);
    let mut command = Command::new(crate::DHOW);
    command.args(["oci-sealed", "dhow", "--root"]).arg(bundle.path().join("state"));
    command.args(["run", "one"]).current_dir(bundle.path());
    let ran = Ran::new(&command.output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("no sealed image"), "{}", ran.err);
    bundle.nothing_is_left();
}

/// config-linux.md, "Network Devices".
#[test]
fn network_devices() {
    for bundle in [Bundle::new(), with_users()] {
        let pair = Pair::new(&bundle);
        bundle.change(|spec| {
            spec["linux"]["netDevices"] = json!({ &pair.left: { "name": "own0" } });
        });
        let told = said(&bundle, &["busybox", "ip", "addr", "show", "dev", "own0"]);
        assert!(Pair::is_shown(&told), "{told}");
        assert!(told.contains(",UP"), "{told}");
        bundle.change(|spec| spec["linux"]["netDevices"] = json!({ "nosuch": {} }));
        assert!(bundle.fails(&["run", "one"]).contains("find the interface nosuch"));
        bundle.change(|spec| {
            let list = spec["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|one| one["type"] != "network");
        });
        assert!(bundle.fails(&["run", "one"]).contains("netDevices needs a network namespace"));
        bundle.nothing_is_left();
    }
}

/// A namespace that somebody else has goes on when a create fails, and would keep what it was given.
#[test]
fn network_devices_of_a_create_that_fails_go_back() {
    let bundle = Bundle::new();
    let pair = Pair::new(&bundle);
    let apart = Apart::new();
    bundle.change(|spec| add_path(spec, &apart.path()));
    let is_back = || {
        let told = ip(&format!("addr show dev {}", pair.left));
        assert!(Pair::is_shown(&told), "{told}");
        assert!(!apart.links().contains("own0"));
    };
    // The second takes the name of the first.
    bundle.change(|spec| {
        spec["linux"]["netDevices"] =
            json!({ &pair.left: { "name": "own0" }, &pair.right: { "name": "own0" } });
    });
    let failed = bundle.fails(&["run", "one"]);
    assert!(failed.contains(&format!("move the interface {}", pair.right)), "{failed}");
    is_back();
    // What fails has nothing to do with it.
    bundle.change(|spec| {
        spec["linux"]["netDevices"] = json!({ &pair.left: { "name": "own0" } });
        spec["process"]["args"] = json!(["nosuch"]);
    });
    ip(&format!("link set {} up", pair.left));
    bundle.fails(&["run", "one"]);
    is_back();
    assert!(ip(&format!("addr show dev {}", pair.left)).contains(",UP"));
    drop(apart);
    bundle.nothing_is_left();
}

/// A network namespace that somebody has, and that ends with them: `ip netns` leaves a mount behind.
struct Apart(std::process::Child);

#[expect(clippy::disallowed_methods, reason = "the test lays out interfaces of the host")]
impl Apart {
    fn new() -> Self {
        let apart = Self(Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap());
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        until("a network namespace", || std::fs::read_link(apart.path()).unwrap() != own);
        apart
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn links(&self) -> String {
        let net = format!("--net={}", self.path());
        let ran = Command::new("nsenter").args([&net, "ip", "addr", "show"]).output().unwrap();
        Ran::new(&ran).out
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Puts the container into a network namespace that is there.
fn add_path(spec: &mut Value, path: &str) {
    let list = spec["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|one| one["type"] != "network");
    add(spec, "network", Some(path));
}

/// The same section, of a name that is a template: the kernel makes one that nobody has.
#[test]
fn network_devices_of_a_template() {
    let bundle = Bundle::new();
    let pair = Pair::new(&bundle);
    bundle.change(|spec| {
        let own = json!({ "name": "own%d" });
        spec["linux"]["netDevices"] = json!({ &pair.left: own, &pair.right: own });
    });
    let told = said(&bundle, &["busybox", "ip", "addr", "show", "dev", "own0"]);
    assert!(told.contains("10.99.77.2/24") && told.contains(",UP"), "{told}");
    let pair = Pair::new(&Bundle::new());
    bundle.change(|spec| {
        spec["linux"]["netDevices"] =
            json!({ &pair.left: { "name": "own" }, &pair.right: { "name": "own" } });
    });
    assert!(bundle.fails(&["run", "one"]).contains("move the interface"));
    bundle.nothing_is_left();
}

/// runc and crun do so, and engines without a network of their own rely on it.
#[test]
fn the_loopback_interface_is_up() {
    for bundle in [Bundle::new(), with_users()] {
        let told = said(&bundle, &["busybox", "ip", "addr", "show", "dev", "lo"]);
        assert!(told.contains(",UP") && told.contains("127.0.0.1/8"), "{told}");
        bundle.nothing_is_left();
    }
}

/// A manager's sockets are the first process's own.
#[test]
#[expect(clippy::disallowed_methods, reason = "a shell opens the descriptors")]
fn descriptors_of_a_service_manager() {
    let bundle = Bundle::new();
    bundle.runs(&["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $$; cat <&3; cat <&4"]);
    let script = "echo a >a; echo b >b; exec 3<a 4<b; export LISTEN_FDS=1 LISTEN_PID=$$; \
                  exec \"$DHOW\" oci --root state run --preserve-fds 1 one";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env("DHOW", crate::DHOW).current_dir(bundle.path());
    let ran = Ran::new(&shell.stdin(Stdio::null()).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "1 1 1\na\nb"), "{}", ran.err);
    bundle.nothing_is_left();
}

/// A manager that waits for readiness hears of it, and of who stands for the container.
#[test]
fn readiness_is_passed_on() {
    let bundle = Bundle::new();
    let manager = UnixDatagram::bind(bundle.path().join("manager")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let command = |words: &[&str]| {
        let mut command = bundle.command(words);
        command.env("NOTIFY_SOCKET", bundle.path().join("manager"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // busybox cannot send a datagram to a Unix socket, so the test says it in the container's place.
    bundle.runs(&["sh", "-c", "test $NOTIFY_SOCKET = /run/notify/notify.sock && exec sleep 1000"]);
    bundle.change(|spec| spec["root"]["readonly"] = json!(false));
    assert!(command(&["create", "one"]).status().unwrap().success());
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    let mut start = command(&["start", "one"]).spawn().unwrap();
    let own = format!("/proc/{pid}/root/run/notify/notify.sock");
    let sender = UnixDatagram::unbound().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while sender.send_to(b"STATUS=busy\nREADY=1\n", &own).is_err() {
        assert!(std::time::Instant::now() < deadline, "nobody listens");
        std::thread::yield_now();
    }
    assert!(start.wait().unwrap().success());
    assert_eq!(heard(), format!("READY=1\nMAINPID={pid}"));
    assert_eq!(bundle.state("one")["status"], "running");
    bundle.ok(&["delete", "-f", "one"]);
    // Who waits for a word keeps nobody from the container.
    assert!(command(&["create", "one"]).status().unwrap().success());
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    let mut start = command(&["start", "one"]).spawn().unwrap();
    let own = format!("/proc/{pid}/root/run/notify/notify.sock");
    while sender.connect(&own).is_err() {
        assert!(std::time::Instant::now() < deadline, "nobody listens");
        std::thread::yield_now();
    }
    let mut delete = command(&["delete", "-f", "one"]).spawn().unwrap();
    let is_deleted = loop {
        match delete.try_wait().unwrap() {
            Some(status) => break status.success(),
            None if std::time::Instant::now() > deadline => {
                start.kill().unwrap();
                delete.wait().unwrap();
                break false;
            }
            None => std::thread::yield_now(),
        }
    };
    assert!(is_deleted, "it waits for who waits");
    assert!(start.wait().unwrap().success());
    // One that ends without a word keeps nobody.
    bundle.runs(&["true"]);
    assert!(command(&["run", "-d", "one"]).status().unwrap().success());
    bundle.ok(&["delete", "-f", "one"]);
    assert!(command(&["run", "one"]).status().unwrap().success());
    bundle.nothing_is_left();
}

/// What is offered is what is done: engines go by it.
#[test]
fn features_name_what_a_specification_may_ask_for() {
    let bundle = Bundle::new();
    let told: Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert_eq!(told["linux"]["selinux"]["enabled"], true);
    // At the top, beside the annotations.
    assert_eq!(told["potentiallyUnsafeConfigAnnotations"], json!(["org.systemd.property."]));
}

/// A command line that is not understood is told where engines look.
#[test]
fn errors_of_usage_are_in_the_log() {
    let bundle = Bundle::new();
    for words in [&["create", "--nosuch", "one"][..], &["nosuch"], &["state"]] {
        let log = bundle.path().join("log");
        let all = [&["--log", "log", "--log-format=json"], words].concat();
        let ran = bundle.run(&all);
        assert_eq!(ran.code, Some(1), "{words:?}");
        let told = fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert!(ran.err.contains(last["msg"].as_str().unwrap()), "{told} {}", ran.err);
        fs::remove_file(log).unwrap();
    }
}

/// `exec --cgroup`, of a group that somebody has made below the container's.
#[test]
fn an_exec_in_a_group_below_the_containers() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.change(|spec| add(spec, "cgroup", None));
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    for group in bundle.groups() {
        let below = group.join("below");
        fs::create_dir(&below).unwrap();
        // On version 1 a new group has no processors, unless the one above says otherwise.
        let is_version_1 = !group.join("cgroup.controllers").exists();
        for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|_| is_version_1) {
            let Ok(above) = fs::read_to_string(group.join(file)) else { continue };
            fs::write(below.join(file), above).unwrap();
        }
    }
    let ran = bundle.run(&["exec", "--cgroup", "/below", "one", "cat", "/proc/self/cgroup"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.lines().any(|line| line.ends_with(":/below")), "{}", ran.out);
    // Hierarchies of version 1 by their controllers, the others staying where they are.
    let legacy: Vec<PathBuf> =
        bundle.groups().into_iter().filter(|group| group.join("tasks").exists()).collect();
    let has = |name: &str| legacy.iter().any(|g| g.iter().any(|part| part == name));
    if has("memory") && has("pids") {
        let words = ["--cgroup", "memory:below", "--cgroup", "pids:/below/"];
        let words = [&["exec"], &words[..], &["one", "cat", "/proc/self/cgroup"]].concat();
        let ran = bundle.run(&words);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let below: Vec<&str> = ran.out.lines().filter(|line| line.ends_with("/below")).collect();
        assert_eq!(below.len(), 2, "{}", ran.out);
        assert!(below.iter().all(|l| l.contains(":memory:") || l.contains(":pids:")), "{below:?}");
    }
    let why_not = [
        ("nosuch", "nosuch/cgroup.procs: no such file"),
        ("../x", "is not a sub cgroup path"),
        ("nosuch:x", "unknown controller nosuch"),
    ];
    for (path, why) in why_not {
        let ran = bundle.run(&["exec", "--cgroup", path, "one", "true"]);
        assert_eq!(ran.code, Some(255), "{path}");
        assert!(ran.err.contains(why), "{path}: {}", ran.err);
    }
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// config-linux.md, "PIDs": 0 and -1, and "Unified" where there is no version 2.
#[test]
fn limits_at_their_edges() {
    let (bundle, users) = (Bundle::new(), with_users());
    let limit = |bundle: &Bundle, limit: i64| {
        bundle.change(|spec| spec["linux"]["resources"]["pids"] = json!({ "limit": limit }));
        bundle.runs(&["sleep", "1000"]);
        bundle.create("one", &[]);
        bundle.ok(&["start", "one"]);
        let found =
            bundle.groups().iter().find_map(|g| fs::read_to_string(g.join("pids.max")).ok());
        bundle.ok(&["delete", "-f", "one"]);
        found.unwrap().trim().to_owned()
    };
    let found = [0, -1, 9].map(|number| limit(&bundle, number));
    assert_eq!(found, ["1", "max", "9"]);
    // Its process is born twice, which takes more than one for a moment.
    assert_eq!(limit(&users, 0), "1");
    users.nothing_is_left();
    bundle.change(|spec| spec["linux"]["resources"]["unified"] = json!({ "nosuch.max": "1" }));
    let told = bundle.fails(&["run", "one"]);
    assert!(told.contains("nosuch"), "{told}");
    bundle.nothing_is_left();
}

/// `spec --rootless`: what an ordinary user can have.
#[test]
fn a_specification_for_an_ordinary_user() {
    let bundle = Bundle::new();
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    bundle.ok(&["spec", "--rootless"]);
    bundle.change(|spec| {
        spec["process"]["terminal"] = json!(false);
        spec["linux"]["cgroupsPath"] = json!(format!("/dhow-test-oci/{}", bundle.tag()));
    });
    let told = said(&bundle, &["sh", "-c", "cat /proc/self/uid_map; ls /sys | grep -c class"]);
    let words: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "1", "1"]);
    bundle.nothing_is_left();
}
