//! More processes in a running container.

use serde_json::json;
use sys::process::Exit;

use crate::bundle::{Bundle, docker_capabilities, enter, process, spec};

#[test]
fn a_process_joins_every_namespace() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let line = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; hostname; cat /proc/1/comm";
    let inside = container.exec(&process(&["sh", "-c", line])).unwrap().good();
    let pid = container.running.pid.as_raw_nonzero();
    for (kind, link) in kinds.iter().zip(inside.lines()) {
        let of_init = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(of_init.to_str().unwrap(), link);
    }
    assert!(inside.ends_with("box\nsleep\n"), "{inside}");
    // This process itself has stayed where it was.
    assert_eq!(
        std::fs::read_link("/proc/thread-self/ns/pid_for_children").unwrap(),
        std::fs::read_link("/proc/thread-self/ns/pid").unwrap()
    );
}

#[test]
fn its_capabilities_are_its_own() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let mut wished = process(&["grep", "-E", "^Cap(Eff|Bnd|Inh)", "/proc/self/status"]);
    let seen = container.exec(&wished).unwrap().good();
    assert_eq!(
        seen,
        "CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n"
    );
    // `exec --privileged`: more than the container has.
    let mut names = docker_capabilities();
    for set in ["bounding", "effective", "permitted"] {
        names[set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
    }
    wished["capabilities"] = names;
    let seen = container.exec(&wished).unwrap().good();
    assert!(seen.contains("CapEff:\t00000000a82425fb"), "{seen}");
}

#[test]
fn it_inherits_nothing_and_cannot_reach_our_program() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let seen = container.exec(&process(&["ls", "/proc/self/fd"])).unwrap().good();
    assert_eq!(seen, "0\n1\n2\n3\n");
}

/// A container that may mount can put anything over its own procfs; what we write about a process
/// goes to the kernel all the same (CVE-2019-16884, CVE-2025-52881).
#[test]
fn a_covered_procfs_is_not_written_to() {
    let bundle = Bundle::new();
    let mut spec = spec(&["sleep", "1000"]);
    let mut names = docker_capabilities();
    for set in ["bounding", "effective", "permitted"] {
        names[set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
    }
    spec["process"]["capabilities"] = names.clone();
    let container = bundle.sleeper(&spec);
    let line = "mount -t tmpfs none /proc && mkdir /proc/self && touch /proc/self/oom_score_adj";
    let mut cover = process(&["sh", "-c", line]);
    cover["capabilities"] = names;
    assert_eq!(container.exec(&cover).unwrap().good(), "");
    let mut wished = process(&["sleep", "1000"]);
    wished["oomScoreAdj"] = json!(321);
    let wished = serde_json::from_value(wished).unwrap();
    let (stdio, _pipes) = crate::bundle::Pipes::new();
    let running = enter(container.enter(&wished, stdio)).unwrap();
    let score = format!("/proc/{}/oom_score_adj", running.pid.as_raw_nonzero());
    let score = std::fs::read_to_string(score);
    container.kill();
    sys::process::wait(&running.pidfd).unwrap();
    assert_eq!(score.unwrap(), "321\n");
}

#[test]
fn programs_are_told_apart_as_at_the_start() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let fails = |args: &[&str]| container.exec(&process(args)).unwrap_err();
    let missing = fails(&["nosuch"]);
    assert_eq!(missing.to_string(), r#"exec: "nosuch": executable file not found in $PATH"#);
    assert_eq!(fails(&["/etc"]).shell_code(), Some(126));
    let mut process = process(&["true"]);
    process["cwd"] = json!("/no/such");
    let error = container.exec(&process).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"chdir to cwd ("/no/such") set in config.json failed: no such file or directory"#
    );
    assert_eq!(error.shell_code(), Some(127));
}

#[test]
fn a_container_that_has_ended_cannot_be_entered() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["true"]));
    let mut poll =
        [rustix::event::PollFd::new(&container.running.pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, None).unwrap();
    let error = container.exec(&process(&["true"])).unwrap_err();
    assert_eq!(error.to_string(), "enter the pid namespace of the container: no such process");
}

#[test]
fn it_dies_with_its_container() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let wished = serde_json::from_value(process(&["sleep", "1000"])).unwrap();
    let (stdio, _pipes) = crate::bundle::Pipes::new();
    let running = enter(container.enter(&wished, stdio)).unwrap();
    container.kill();
    assert_eq!(sys::process::wait(&running.pidfd).map(Exit::shell_code), Ok(137));
}
