//! Processes that are killed at any moment, and many at once.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use model::RootTag;
use net::host::{Ipv6Loopback, Stack};
use net::names::Names;
use net::nft::{Firewall, PortRule, Source, Wanted};

use testkit::{until, until_is};

use crate::host;

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
    until("what is listed", || host.ok(&["ps", "-aq"]).is_empty());
}

#[test]
fn a_killed_shim_is_noticed_and_cleaned_up() {
    let host = host();
    host.ok(&["run", "-d", "--rm", "--name", "gone", "-p", "0:80", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "stays", "busybox", "sleep", "1000"]);
    let shims = host.shims();
    assert_eq!(shims.len(), 2);
    shims.iter().for_each(|pid| host.kill_9(*pid));
    until("what is inspected", || {
        host.ok(&["inspect", "-f", "{{.State.Running}}", "stays"]) != "true"
    });
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
    let process = until_is("its word", || {
        Some(host.ok(&["logs", "left"])).filter(|said| !said.is_empty()).ok_or("it says nothing")
    });
    let shims = host.shims();
    assert_eq!(shims.len(), 1);
    host.kill_9(shims[0]);
    until("what is inspected", || {
        host.ok(&["inspect", "-f", "{{.State.Running}}", "left"]) != "true"
    });
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

/// What is in the kernel and below the runtime root names its container: one that there is not.
#[test]
fn a_repair_takes_back_what_belongs_to_nobody() {
    let host = host();
    host.ok(&["run", "-d", "-p", "0:80", "busybox", "sleep", "1000"]);
    let (own, parent) = (published(&host), tag(&host).dashed("dhow"));
    let nobody = model::ContainerId::from_random([7; 32]);
    let id = nobody.to_string();
    for dir in cgroups("", &parent) {
        std::fs::create_dir_all(dir.join(&id)).unwrap();
    }
    let below_run = ["c", "exec"].map(|dir| host.run_root().join(dir).join(&id));
    for dir in &below_run {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("left"), "").unwrap();
    }
    let rule = PortRule { owner: nobody, host: "127.0.0.9:9".parse().unwrap(), ..own[0] };
    let firewall =
        Firewall::open(&Names::of(&tag(&host)), Stack::Dual, Ipv6Loopback::Closed).unwrap();
    firewall.publish(&[rule], &mut Source::OneContainer(&Wanted::default())).unwrap();
    assert_eq!((published(&host).len(), cgroups(&parent, &id).is_empty()), (own.len() + 1, false));
    host.ok(&["system", "check", "--repair"]);
    assert_eq!(published(&host), own);
    assert_eq!(cgroups(&parent, &id), Vec::<PathBuf>::new());
    assert!(below_run.iter().all(|dir| !dir.exists()), "{below_run:?}");
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
fn the_end_of_a_killed_shims_container_is_known() {
    let host = host();
    let (id, _) = orphan(&host, &[]);
    let mut waiting = host.spawn(&mut host.command(&["attach", "--no-stdin", "left"]));
    waiting.wait().unwrap();
    host.ok(&["system", "check", "--repair"]);
    let state = "{{.State.Status}} {{.State.ExitCode}}";
    assert_eq!(host.ok(&["inspect", "-f", state, "left"]), "exited 255");
    let exit = host.root().join("containers").join(id).join("exit.json");
    assert!(std::fs::read_to_string(exit).unwrap().contains("255"));
    let journal = std::fs::read_to_string(host.run_root().join("events")).unwrap();
    let told = |what: &str| journal.matches(&format!("\"{what}\"")).count();
    assert_eq!((told("die"), told("disconnect")), (1, 1));
}

#[test]
fn rm_takes_back_what_a_killed_start_has_left() {
    let host = host();
    let places = [("DHOW_FAILPOINT", "start.published"), ("DHOW_SHIM_FAILPOINT", "shim.cgroup")];
    for (variable, step) in places {
        let id = host.ok(&["create", "--name", "cut", "-p", "0:80", "busybox", "true"]);
        let status = host
            .command(&["start", "cut"])
            .env(variable, format!("{step}=kill"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "{step}");
        host.ok(&["rm", "cut"]);
        assert_eq!(published(&host), [], "{step}");
        assert!(cgroups(&tag(&host).dashed("dhow"), &id).is_empty(), "{step}");
    }
}

/// Its port would lead into whichever container has its address next.
#[test]
fn a_start_takes_back_what_a_killed_start_has_published() {
    let host = host();
    host.ok(&["create", "--name", "cut", "-p", "0:80", "busybox", "sleep", "1000"]);
    let mut start = host.command(&["start", "cut"]);
    let start = start.env("DHOW_FAILPOINT", "start.published=kill");
    assert_eq!(start.output().unwrap().status.signal(), Some(9));
    let cut: Vec<u16> = published(&host).iter().map(|rule| rule.host.port()).collect();
    assert!(!cut.is_empty());
    host.ok(&["start", "cut"]);
    assert!(published(&host).iter().all(|rule| !cut.contains(&rule.host.port())), "{cut:?}");
    host.ok(&["kill", "cut"]);
    host.ok(&["wait", "cut"]);
    assert_eq!(published(&host), []);
}

#[test]
fn a_shim_that_dies_at_its_start_is_not_started_for_ever() {
    let host = host();
    host.ok(&["create", "--name", "still", "busybox", "true"]);
    let status = host
        .command(&["start", "-a", "still"])
        .env("DHOW_SHIM_FAILPOINT", "shim.began=kill")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    host.ok(&["rm", "still"]);
}

/// How often each command is killed at random.
const ROUNDS: u64 = 8;
/// Where a command may die: a run and a pull make fewer system calls than that in each thread.
const CALLS: u64 = 260;
/// Where a shim may die: it passes fewer places than that.
const PLACES: u64 = 9;

/// A generator that a failure can be repeated with.
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end + 1
    }
}

/// Runs a command whose every thread dies at its `call`-th system call; 1 if it did. Whoever executes
/// another program, as a shim does, is let go.
#[expect(clippy::disallowed_methods, reason = "the tracer is a program of the host")]
fn kill_at_call(host: &testkit::Host, words: &[&str], call: u64, shim: &str) -> u64 {
    let plain = host.command(words);
    let inject = format!("inject=all:signal=KILL:when={call}");
    let mut traced = std::process::Command::new("strace");
    traced.args(["-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e", &inject]);
    traced.arg(plain.get_program()).args(plain.get_args()).env_clear();
    traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.env("DHOW_SHIM_FAILPOINT", shim).stdin(Stdio::null());
    let status = traced.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    // The tracer ends as whom it traces.
    u64::from(status.signal() == Some(9))
}

#[test]
fn death_at_any_moment_is_forgotten() {
    let host = host();
    let layer: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let app = testkit::Image::busybox().unwrap().with_files("app:latest", &[("f", &layer)]);
    let registry = testkit::Registry::start();
    let reference = registry.push_image(&app.unwrap());
    host.ok(&["network", "ls"]);
    host.ok(&["run", "--rm", "-p", "0:80", "-v", "/data", "busybox", "true"]);
    host.ok(&["run", "--name", "kept", "busybox", "echo", "kept"]);
    let before = host.at_rest();
    let mut deaths = 0;
    let mut seed = Seed(0x0b5e_55ed);
    for round in 0..ROUNDS {
        let (call, place) = (seed.below(CALLS), seed.below(PLACES));
        let what = format!("round {round}: call {call}, place {place}");
        let shim =
            if round % 2 == 0 { format!("*=kill@{place}") } else { String::from("*=kill@99") };
        let run = ["run", "--rm", "--name", "half", "-p", "0:80", "-v", "/data", "busybox", "true"];
        deaths += kill_at_call(&host, &run, call, &shim);
        deaths += kill_at_call(&host, &["pull", "-q", &reference], call, &shim);
        assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "on"]), "on", "{what}");
        // It was made, or it was not.
        let _ = host.run(&["rm", "-fv", "half"]);
        host.ok(&run);
        host.ok(&["pull", "-q", &reference]);
        let size = ["run", "--rm", "--network", "none", &reference, "wc", "-c", "/data/f"];
        assert_eq!(host.ok(&size), "1200000 /data/f", "{what}");
        host.ok(&["rmi", &reference]);
        host.until_idle();
        let left = host.settled(&before, crate::walk::is_trash);
        assert!(left.is_empty(), "{what}, before a repair: {left:#?}");
        host.ok(&["system", "check", "--repair"]);
        let left = host.settled(&before, |_| false);
        assert!(left.is_empty(), "{what}, after a repair: {left:#?}");
    }
    assert!(deaths >= ROUNDS, "only {deaths} commands died");
    assert_eq!(host.ok(&["start", "-a", "kept"]), "kept");
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
    host.until_idle();
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
