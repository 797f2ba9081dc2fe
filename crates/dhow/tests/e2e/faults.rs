//! Processes that are killed at any moment, and many at once.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use model::RootTag;
use net::host::{Ipv6Loopback, Stack};
use net::names::Names;
use net::nft::{Firewall, PortRule};

use crate::host;

/// Kills a process that this test started.
#[expect(clippy::disallowed_methods, reason = "the standard library kills only children")]
fn kill_9(pid: &str) {
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// Shims of this host's containers.
fn shims(host: &testkit::Host) -> Vec<String> {
    let root = host.root().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        if words.iter().any(|word| word == "shim") && words.contains(&root) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_killed_command_line_takes_nothing_with_it() {
    let host = host();
    let mut run = host.spawn(&mut host.command(&[
        "run",
        "--rm",
        "--name",
        "k1",
        "busybox",
        "sh",
        "-c",
        "echo up; sleep 1000",
    ]));
    let mut first = [0; 3];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut first).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "k1"]), "running");
    // Its shim removes it when it ends.
    host.ok(&["kill", "k1"]);
    while !host.ok(&["ps", "-aq"]).is_empty() {}
}

#[test]
fn a_killed_shim_is_noticed_and_cleaned_up() {
    let host = host();
    host.ok(&["run", "-d", "--rm", "--name", "gone", "-p", "0:80", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "stays", "busybox", "sleep", "1000"]);
    let shims = shims(&host);
    assert_eq!(shims.len(), 2);
    shims.iter().for_each(|pid| kill_9(pid));
    while host.ok(&["inspect", "-f", "{{.State.Running}}", "stays"]) == "true" {}
    // What the shims have left says that both run; nobody owns their lives any more.
    assert_eq!(host.ok(&["ps", "-q"]), "");
    // The next container finds everything in order.
    assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "on"]), "on");
    assert_eq!(host.ok(&["ps", "-a", "--format", "{{.Names}}"]), "stays");
    assert_eq!(host.run(&["start", "stays"]).code, Some(0));
}

/// Cgroups of this name, in whichever hierarchy.
fn cgroups(parent: &str, name: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let mounts = mounts.chain([PathBuf::from("/sys/fs/cgroup")]);
    mounts.map(|mount| mount.join(parent).join(name)).filter(|path| path.exists()).collect()
}

/// What is in the names of this host's kernel objects.
fn tag(host: &testkit::Host) -> RootTag {
    RootTag::of_path(host.root().as_os_str().as_encoded_bytes())
}

/// What this host's firewall publishes.
fn published(host: &testkit::Host) -> Vec<PortRule> {
    let names = Names::of(&tag(host));
    Firewall::open(&names, Stack::Dual, Ipv6Loopback::Closed).unwrap().published().unwrap()
}

/// Whether a process runs: one that has ended may wait for whoever it was left to.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest).trim_start();
    !matches!(state.chars().next(), None | Some('Z' | 'X'))
}

/// Kills the one shim of this host with a container that shares the host's processes, so that
/// whoever is not the init goes on.
fn orphan(host: &testkit::Host, more: &[&str]) -> (String, String) {
    let arguments = ["run", "-d", "--name", "left", "--pid", "host", "-p", "0:80"];
    let command = ["busybox", "sh", "-c", "sleep 1000 & echo $!; wait"];
    let id = host.ok(&[&arguments[..], more, &command].concat());
    let process = loop {
        let said = host.ok(&["logs", "left"]);
        if !said.is_empty() {
            break said;
        }
    };
    let shims = shims(host);
    assert_eq!(shims.len(), 1);
    kill_9(&shims[0]);
    while host.ok(&["inspect", "-f", "{{.State.Running}}", "left"]) == "true" {}
    assert!(runs(&process), "the orphan goes on");
    assert!(!published(host).is_empty());
    (id, process)
}

#[test]
fn rm_takes_back_what_a_killed_shim_has_left() {
    let host = host();
    let own = tag(&host).dashed("dhow-test-rm");
    let places: [(&str, &[&str]); 2] =
        [(&tag(&host).dashed("dhow"), &[]), (&own, &["--cgroup-parent", &own])];
    for (parent, more) in places {
        let (id, process) = orphan(&host, more);
        assert!(!cgroups(parent, &id).is_empty());
        host.ok(&["rm", "-f", "left"]);
        assert!(!runs(&process));
        assert!(cgroups(parent, &id).is_empty());
        assert_eq!(published(&host), []);
        assert!(!host.run_root().join("c").join(&id).exists());
    }
    cgroups("", &own).iter().for_each(|dir| std::fs::remove_dir(dir).unwrap());
}

#[test]
fn a_repair_takes_back_what_a_killed_shim_has_left_wherever_its_cgroup_is() {
    let host = host();
    let parent = &tag(&host).dashed("dhow-test-repair");
    let (id, process) = orphan(&host, &["--cgroup-parent", parent]);
    // A new shim that has launched nothing is no reason to believe the old one's last words.
    let mut waiting = host.spawn(&mut host.command(&["attach", "--no-stdin", "left"]));
    assert_eq!(waiting.wait().unwrap().code(), Some(1), "it does not run");
    host.ok(&["system", "check", "--repair"]);
    assert!(!runs(&process));
    assert!(cgroups(parent, &id).is_empty());
    assert_eq!(published(&host), []);
    cgroups("", parent).iter().for_each(|dir| std::fs::remove_dir(dir).unwrap());
}

#[test]
fn a_start_after_a_killed_shim_publishes_only_its_own() {
    let host = host();
    orphan(&host, &[]);
    host.ok(&["start", "left"]);
    let port = host.ok(&["port", "left", "80/tcp"]);
    let port: u16 = port.lines().next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(published(&host).iter().all(|rule| rule.host.port() == port));
}

#[test]
fn death_at_each_step_of_a_run_leaves_nothing() {
    for step in ["start.saved", "start.launched", "remove.files"] {
        let host = host();
        let status = host
            .command(&["run", "--rm", "-v", "/data", "-p", "0:80", "busybox", "true"])
            .env("DHOW_FAILPOINT", format!("{step}=kill"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{step}");
        assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "on"]), "on", "{step}");
        host.ok(&["system", "check", "--repair"]);
        let left = host.ok(&["ps", "-aq"]);
        assert!(left.is_empty() || step == "start.saved", "{step}: {left}");
    }
}

#[test]
fn twenty_at_once_do_not_disturb_each_other() {
    let host = host();
    std::thread::scope(|scope| {
        for worker in 0..20 {
            let host = &host;
            scope.spawn(move || churn(host, &format!("w{worker:02}")));
        }
    });
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    while !shims(&host).is_empty() {}
}

/// Runs, uses, stops and removes containers.
fn churn(host: &testkit::Host, name: &str) {
    for _ in 0..3 {
        host.ok(&["run", "-d", "--name", name, "-p", "0:80", "busybox", "sleep", "1000"]);
        assert_eq!(host.ok(&["exec", name, "echo", "in"]), "in");
        host.ok(&["stop", "-t", "0", name]);
        host.ok(&["rm", name]);
        assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "x"]), "x");
    }
}
