//! What runc's and crun's own suites ask of a runtime beyond the specification's letter, and engines have come to
//! rely on.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::{Ran, until};

use crate::oci::{Bundle, wait_for_end};
use crate::oci_spec::{said, with_users};

/// config.md, "Linux Process": a capability that cannot be granted is told and fails no container.
#[test]
fn a_capability_that_cannot_be_given_is_a_warning() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_FLY"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL", "CAP_CHOWN"],
        });
    });
    bundle.runs(&["grep", "Cap", "/proc/self/status"]);
    let ran = bundle.run(&["run", "one"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("CapAmb:\t0000000000000020"), "{}", ran.out);
    assert!(ran.err.contains("unknown or unavailable capabilities: [CAP_FLY]"), "{}", ran.err);
    assert!(ran.err.contains("can't raise ambient capability CAP_CHOWN"), "{}", ran.err);
    assert!(!ran.err.contains("CAP_KILL"), "{}", ran.err);
    // One that exec adds is ambient if it is inheritable.
    bundle.change(|spec| spec["process"]["capabilities"]["ambient"] = json!([]));
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    for (name, mask) in [("CAP_KILL", "0000000000000020"), ("CAP_CHOWN", "0000000000000000")] {
        let words = ["exec", "--cap", name, "one", "grep", "CapAmb", "/proc/self/status"];
        assert_eq!(bundle.ok(&words), format!("CapAmb:\t{mask}"));
    }
    let ran = bundle.run(&["exec", "--cap", "CAP_FLY", "one", "true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("unknown or unavailable capabilities: [CAP_FLY]"), "{}", ran.err);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// The first process of a pid namespace has no default actions, and still ends when it is asked to before it is
/// started (runtime.md, "Kill").
#[test]
fn a_created_process_heeds_those_who_ask_it_to_end() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        bundle.create("one", &[]);
        let pid = bundle.state("one")["pid"].as_i64().unwrap();
        bundle.ok(&["kill", "one", "USR1"]);
        assert_eq!(bundle.state("one")["status"], "created");
        bundle.ok(&["kill", "one", signal]);
        wait_for_end(pid);
        assert_eq!(bundle.state("one")["status"], "stopped", "{signal}");
        bundle.ok(&["delete", "one"]);
    }
    // A program gets them as ever.
    bundle.runs(&["grep", "^Sig[BIC]", "/proc/self/status"]);
    let blocked = bundle.ok(&["run", "one"]);
    assert!(blocked.contains("SigBlk:\t0000000000000000"), "{blocked}");
    bundle.nothing_is_left();
}

/// Also while somebody is there who may start it, and says nothing.
#[test]
fn a_created_process_is_asked_to_end_beside_a_silent_visitor() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    let open = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = open();
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let visitor = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    let door = SocketAddrUnix::new(bundle.path().join("state/one/start.sock")).unwrap();
    rustix::net::connect(&visitor, &door).unwrap();
    until("the visitor is let in", || open() > before);
    bundle.ok(&["kill", "one", "TERM"]);
    wait_for_end(pid);
    assert_eq!(bundle.state("one")["status"], "stopped");
    drop(visitor);
    bundle.ok(&["delete", "one"]);
    bundle.nothing_is_left();
}

/// The table of `ps` is that of ps(1), with its options.
#[test]
fn processes_are_shown_in_the_columns_of_ps() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    let pid = bundle.state("one")["pid"].to_string();
    let table = |words: &[&str]| {
        let text = bundle.ok(&[&["ps", "one"], words].concat());
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let all: Vec<String> = table(&[]);
    assert_eq!(all[0], "UID PID PPID C STIME TTY TIME CMD");
    assert!(
        all[1].starts_with(&format!("root {pid} ")) && all[1].ends_with(" sleep 1000"),
        "{all:?}"
    );
    let all: Vec<String> = table(&["-e", "-x"]);
    assert_eq!(all[0], "PID TTY STAT TIME COMMAND");
    let all: Vec<String> = table(&["-o", "pid,args"]);
    assert_eq!(all, ["PID COMMAND".to_owned(), format!("{pid} sleep 1000")]);
    assert!(bundle.fails(&["ps", "one", "--sort=pid"]).contains("unsupported option: --sort=pid"));
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// A failed command begins with what failed, in the words that engines show, and with its own name.
#[test]
fn a_failure_begins_with_the_command() {
    let bundle = Bundle::new();
    bundle.runs(&["/nosuch"]);
    let told = bundle.fails(&["create", "one"]);
    let words = "dhow oci create failed: unable to start container process: exec: ";
    assert!(told.contains(words), "{told}");
    bundle.change(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/t", "type": "tmpfs", "options": ["size=x"] }));
    });
    let told = bundle.fails(&["run", "one"]);
    let words = "dhow oci run failed: unable to start container process: error during container init: error mounting tmpfs on /t";
    assert!(told.contains(words), "{told}");
    let told = bundle.run(&["exec", "one", "true"]).err;
    assert!(told.contains("exec failed: container does not exist"), "{told}");
    bundle.nothing_is_left();
}

/// A process that waits to be started has neither what its caller had open nor what only its way here needed.
#[test]
fn a_created_process_keeps_nothing_open() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    let out = bundle.create("one", &[]);
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let known = |path: &Path| {
        path == Path::new("/dev/null")
            || path == out
            || path == Path::new("anon_inode:[signalfd]")
            || path.to_string_lossy().starts_with("socket:")
    };
    let strange: Vec<_> = open.filter(|path| !known(path)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    bundle.ok(&["start", "one"]);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// Who starts a container may be kept to processors that are no affair of the container's.
#[test]
fn processors_are_those_of_the_control_group() {
    let bundle = Bundle::new();
    let kept = |words: &[&str]| {
        let command = bundle.command(words);
        #[expect(clippy::disallowed_methods, reason = "the caller is kept to a processor")]
        let mut pinned = Command::new("taskset");
        pinned.args(["--cpu-list", "0"]).arg(command.get_program()).args(command.get_args());
        let ran = Ran::new(&pinned.current_dir(bundle.path()).output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out
    };
    let line = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let all = said(&bundle, &line);
    assert_eq!(kept(&["run", "one"]), all);
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    assert_eq!(kept(&[&["exec", "one"], &line[..]].concat()), all);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

#[test]
fn a_control_group_that_is_used_or_frozen_is_refused() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    assert!(bundle.fails(&["create", "two"]).contains("container's cgroup is not empty"));
    let groups = bundle.groups();
    bundle.ok(&["delete", "-f", "one"]);
    for (file, word) in [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")] {
        let has_freezer = |group: &&std::path::PathBuf| {
            let parent = group.parent().unwrap_or(group);
            parent.join(file).exists()
        };
        let Some(group) = groups.iter().find(has_freezer) else { continue };
        fs::create_dir(group).unwrap();
        fs::write(group.join(file), word).unwrap();
        let told = bundle.fails(&["create", "two"]);
        fs::remove_dir(group).unwrap();
        assert!(told.contains("container's cgroup unexpectedly frozen"), "{told}");
        break;
    }
    // One that is there in a hierarchy without a freezer, as engines make it for a limit of their own.
    let without = groups.iter().find(|group| group.starts_with("/sys/fs/cgroup/cpu"));
    if let Some(group) = without {
        fs::create_dir(group).unwrap();
        bundle.create("two", &[]);
        bundle.ok(&["delete", "-f", "two"]);
    }
    bundle.nothing_is_left();
}

/// Version 1 of control groups without a namespace for them, which the root of a user namespace cannot mount.
#[test]
fn a_user_namespace_sees_its_control_groups() {
    let bundle = with_users();
    bundle.change(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != "cgroup");
    });
    let words = "cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | grep -c .; \
                 echo x 2>/dev/null >/sys/fs/cgroup/x && echo written";
    bundle.runs(&["sh", "-c", words]);
    let ran = bundle.run(&["run", "one"]);
    let count: usize = ran.out.lines().next().and_then(|line| line.parse().ok()).unwrap_or(0);
    assert!(count > 0 && !ran.out.contains("written"), "{} {}", ran.out, ran.err);
    bundle.nothing_is_left();
}

fn end(pid: i64) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Nobody's end is that of the others where the container has the host's pids.
#[test]
fn a_container_without_a_pid_namespace_is_killed_whole() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != "pid");
    });
    bundle.runs(&["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"]);
    let (said, stdout) = std::io::pipe().unwrap();
    let created = bundle.command(&["create", "one"]).stdout(stdout).status().unwrap();
    assert!(created.success());
    bundle.ok(&["start", "one"]);
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line).unwrap();
    let pids: Vec<i64> = serde_json::from_str(&bundle.ok(&["ps", "-f", "json", "one"])).unwrap();
    assert_eq!((line.as_str(), pids.len()), ("ready\n", 3));
    // The first alone, whom the others outlive.
    let first = bundle.state("one")["pid"].as_i64().unwrap();
    end(first);
    wait_for_end(first);
    assert_eq!(bundle.state("one")["status"], "stopped");
    bundle.ok(&["kill", "one", "KILL"]);
    pids.into_iter().for_each(wait_for_end);
    assert!(bundle.fails(&["kill", "one", "KILL"]).contains("container not running"));
    // Podman asks so whether there is somebody.
    bundle.ok(&["kill", "-a", "one", "0"]);
    bundle.ok(&["delete", "one"]);
    bundle.nothing_is_left();
}

/// A tmpfs keeps the mode of what it covers, unless somebody says which it has.
#[test]
fn a_tmpfs_keeps_the_mode_of_its_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let bundle = Bundle::new();
    let place = bundle.path().join("rootfs/place");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o710)).unwrap();
    for (options, mode) in [(json!([]), "drwx--x---"), (json!(["mode=0701"]), "drwx-----x")] {
        bundle.change(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/place");
            mounts.push(json!({ "destination": "/place", "type": "tmpfs", "source": "tmpfs", "options": options }));
        });
        let line = said(&bundle, &["ls", "-ld", "/place"]);
        assert!(line.starts_with(mode), "{line}");
    }
    bundle.nothing_is_left();
}

/// A hook in the container is called what it is told to be called, has the program's environment if it has none of its
/// own, and one that looks at the root before it is entered begins there.
#[test]
fn hooks_in_the_container() {
    let bundle = Bundle::new();
    let script = "#!/bin/sh\n[ -x bin/busybox ] && touch made\n";
    let host = bundle.path().join("host.sh");
    testkit::program(&host, script);
    bundle.change(|spec| {
        spec["root"]["readonly"] = json!(false);
        spec["process"]["env"] = json!(["PATH=/bin", "ONE=two"]);
        spec["hooks"] = json!({
            "createContainer": [{ "path": host }],
            "startContainer": [{ "path": "/bin/busybox", "args": ["sh", "-c", "echo $ONE $HOME >/said"] }],
        });
    });
    assert_eq!(said(&bundle, &["cat", "/said"]), "two /");
    assert!(bundle.path().join("rootfs/made").exists());
    bundle.nothing_is_left();
}
