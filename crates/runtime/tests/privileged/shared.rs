//! What a container shares with others by wish: namespaces, control groups, volumes.

use std::sync::atomic::{AtomicBool, Ordering};

use cgroup::{Cgroup, DeviceRules, Hierarchies, Limits};
use runtime::{CgroupEntry, HostFacts, Launch};
use rustix::fs::{CWD, RenameFlags};
use serde_json::json;
use sys::process::{Exit, Namespaces};

use crate::bundle::{Bundle, Pipes, bind, process, spec, start, with_mount};

#[test]
fn a_given_network_namespace_is_joined() {
    let bundle = Bundle::new();
    let netns = sys::netns::create().unwrap();
    let expected = rustix::fs::fstat(&netns).unwrap().st_ino;
    let wish = serde_json::from_value(spec(&["readlink", "/proc/self/ns/net"])).unwrap();
    let facts = HostFacts::detect().unwrap();
    let (stdio, pipes) = Pipes::new();
    let launch = Launch {
        namespaces: vec![(Namespaces::NET, netns)],
        ..bundle.launch(&wish, &facts, stdio)
    };
    let output = pipes.finish(start(launch).unwrap().go().unwrap());
    assert_eq!(output.good(), format!("net:[{expected}]\n"));
}

/// A second container in the pid namespace of the first, waiting for its go.
#[test]
fn a_waiting_init_cannot_be_looked_into_by_its_neighbours() {
    let bundle = Bundle::new();
    let first = bundle.sleeper(&spec(&["sleep", "1000"]));
    let pid = first.running.pid.as_raw_nonzero();
    let mut second = spec(&["true"]);
    let kinds = second["linux"]["namespaces"].as_array_mut().unwrap();
    for kind in kinds {
        if kind["type"] == "pid" {
            kind["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
    let second = serde_json::from_value(second).unwrap();
    let facts = HostFacts::detect().unwrap();
    let (stdio, pipes) = Pipes::new();
    let ready = start(bundle.launch(&second, &facts, stdio)).unwrap();
    // Its capabilities are the container's own already, so that nothing but the flag protects it.
    let look = "readlink /proc/2/exe || readlink /proc/2/fd/0 || readlink /proc/2/root || cat /proc/2/environ";
    let seen = first.exec(&process(&["sh", "-c", look])).unwrap();
    // The first container cannot end before the second has been reaped, so that comes first.
    assert_eq!(pipes.finish(ready.go().unwrap()).exit, Exit::Code(0));
    assert_eq!((seen.stdout.as_str(), seen.exit), ("", Exit::Code(1)), "{seen:?}");
    assert!(seen.stderr.contains("/proc/2/environ"), "{seen:?}");
}

#[test]
fn a_process_is_in_its_control_group_and_sees_it_as_the_root() {
    let bundle = Bundle::new();
    let hierarchies = Hierarchies::detect().unwrap();
    let name = format!("dhow-runtime-test-{}", std::process::id());
    let rules = DeviceRules::unrestricted();
    let group = Cgroup::create(&hierarchies, "", &name, &Limits::default(), &rules).unwrap();
    let run = || {
        let wish = serde_json::from_value(spec(&["cat", "/proc/self/cgroup"])).unwrap();
        let facts = HostFacts::detect().unwrap();
        let (stdio, pipes) = Pipes::new();
        let cgroup =
            CgroupEntry { into: group.clone_into(), procs: group.entry().unwrap().into_files() };
        let launch = Launch { cgroup, ..bundle.launch(&wish, &facts, stdio) };
        let ready = start(launch).unwrap();
        let inside = group.pids().unwrap() == [ready.pid()];
        (inside, pipes.finish(ready.go().unwrap()).good())
    };
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    group.remove().unwrap();
    let (inside, seen) = seen.unwrap();
    assert!(inside);
    assert!(seen.lines().all(|line| line.ends_with(":/")), "{seen}");
}

/// The target of a mount changes between a directory and a symlink, as another container that
/// shares the volume could do it (CVE-2021-30465).
#[test]
fn a_racing_volume_leads_nowhere_outside() {
    let bundle = Bundle::new();
    let outside = bundle.outside();
    let canary = outside.join("canary");
    let volume = outside.join("volume");
    std::fs::create_dir(&canary).unwrap();
    std::fs::create_dir_all(volume.join("a")).unwrap();
    std::os::unix::fs::symlink(&canary, volume.join("b")).unwrap();
    let mut wish = spec(&["true"]);
    wish = with_mount(wish, bind(&volume, "/volume", "rbind,rprivate"));
    wish = with_mount(wish, bind(&bundle.path("etc"), "/volume/a/made/here", "rbind,rprivate"));
    let stop = AtomicBool::new(false);
    let started = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b) = (volume.join("a"), volume.join("b"));
            while !stop.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
            }
        });
        let runs = (0..100).filter(|_| bundle.run(&wish).is_ok()).count();
        stop.store(true, Ordering::Relaxed);
        runs
    });
    assert!(started > 0, "no start survived the race");
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn joining_what_is_no_namespace_is_named() {
    let bundle = Bundle::new();
    let mut wish = spec(&["true"]);
    wish["linux"]["namespaces"][3]["path"] = json!("/dev/null");
    let error = bundle.run(&wish).unwrap_err();
    assert_eq!(error.to_string(), "init: join ipc namespace: invalid argument");
}
