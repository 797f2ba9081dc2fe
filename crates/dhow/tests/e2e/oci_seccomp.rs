//! What the OCI's specification says of seccomp, and `dhow oci` does.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::oci::Bundle;
use crate::oci_spec::said;

/// What an agent is sent: the state, and the descriptor.
fn asked(agent: &UnixListener) -> (Value, OwnedFd) {
    let mut waiting = [PollFd::new(agent, PollFlags::IN)];
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut waiting, Some(&patience)), Ok(1), "nobody asks");
    let (peer, _) = agent.accept().unwrap();
    let (mut bytes, mut fds) = (vec![0; 1 << 16], Vec::new());
    let len = sys::fdpass::recv(peer.as_fd(), &mut bytes, &mut fds).unwrap();
    (serde_json::from_slice(&bytes[..len]).unwrap(), fds.pop().unwrap())
}

/// config-linux.md, "Seccomp": `listenerPath` and `listenerMetadata`, "The Container Process State".
#[test]
fn a_listener_is_sent_the_descriptor() {
    let bundle = Bundle::new();
    let agent = UnixListener::bind(bundle.path().join("agent")).unwrap();
    for locked in [true, false] {
        bundle.change(|spec| {
            spec["process"]["noNewPrivileges"] = json!(locked);
            spec["annotations"] = json!({ "a": "b" });
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": bundle.path().join("agent"), "listenerMetadata": "mine",
                "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"],
                "syscalls": [{ "names": ["mkdir", "mkdirat", "sendmsg", "close"], "action": "SCMP_ACT_NOTIFY" }],
            });
        });
        bundle.runs(&["busybox", "mkdir", "/x"]);
        let out = bundle.create("one", &[]);
        bundle.ok(&["start", "one"]);
        let (told, fd) = asked(&agent);
        let pid = told["pid"].as_i64().unwrap();
        let state = json!({
            "ociVersion": told["ociVersion"], "fds": ["seccompFd"], "pid": pid, "metadata": "mine",
            "state": {
                "ociVersion": told["ociVersion"], "id": "one", "status": "created", "pid": pid,
                "bundle": bundle.path(), "annotations": { "a": "b" },
            },
        });
        assert_eq!(told, state);
        let kind = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        assert_eq!(kind.to_str(), Some("anon_inode:seccomp notify"));
        let mut waiting = [PollFd::new(&fd, PollFlags::IN)];
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut waiting, Some(&patience)), Ok(1), "the program does not ask");
        assert_eq!(bundle.state("one")["status"], "running");
        // Nobody decides any more: the calls fail.
        drop(fd);
        crate::oci::wait_for_end(pid);
        let said = fs::read_to_string(out).unwrap();
        assert!(said.contains("Function not implemented"), "{said}");
        bundle.ok(&["delete", "one"]);
    }
    bundle.nothing_is_left();
}

/// The same of a process that `exec` adds, and of an agent that is not there.
#[test]
fn a_listener_of_an_exec() {
    let bundle = Bundle::new();
    let path = bundle.path().join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    bundle.change(|spec| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
        });
    });
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    let (first, _kept) = asked(&agent);
    // Its process outlives it, with its streams.
    let mut command = bundle.command(&["exec", "-d", "--pid-file", "pid", "one", "sleep", "1000"]);
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let (told, _fd) = asked(&agent);
    let pid: i64 = fs::read_to_string(bundle.path().join("pid")).unwrap().parse().unwrap();
    assert_eq!((&told["pid"], &told["state"]["pid"]), (&json!(pid), &first["pid"]));
    assert_eq!(told["state"]["status"], "running");
    fs::remove_file(&path).unwrap();
    let ran = bundle.run(&["exec", "one", "true"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.err.contains("failed to connect with seccomp agent"), "{}", ran.err);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.runs(&["true"]);
    assert!(bundle.fails(&["run", "one"]).contains("failed to connect with seccomp agent"));
    bundle.nothing_is_left();
}

/// A process that never lets another of its priority have its processor would wait for its own thread.
#[test]
fn who_waits_for_no_other_asks_nobody() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["process"]["scheduler"] = json!({ "policy": "SCHED_FIFO", "priority": 1 });
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": bundle.path().join("agent"),
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }],
        });
    });
    assert!(bundle.fails(&["create", "one"]).contains("SCHED_FIFO with a filter"));
    bundle.nothing_is_left();
}

/// config-linux.md, "Seccomp": what is answered, and that a filter is compiled once.
#[test]
fn a_filter_is_compiled_once() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
        });
    });
    let kept = bundle.path().join("state/@filters");
    let files =
        || fs::read_dir(&kept).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let script = ["sh", "-c", "busybox mkdir /x 2>&1; true"];
    assert!(said(&bundle, &script).contains("Operation not supported"));
    let first = files();
    let inode = |path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    assert_eq!(first.len(), 1);
    let number = inode(&first[0]);
    assert!(said(&bundle, &script).contains("Operation not supported"));
    assert_eq!((files(), inode(&first[0])), (first.clone(), number));
    // Where others can put something nothing is believed, or kept.
    fs::remove_file(&first[0]).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(said(&bundle, &script).contains("Operation not supported"));
    assert_eq!(files().len(), 0);
    bundle.nothing_is_left();
}
