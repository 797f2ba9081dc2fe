//! Memory, CPU and task limits, as the kernel has them.

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::host;

#[test]
fn an_oom_kill_is_seen() {
    let host = host();
    let ran = host.run(&[
        "run",
        "--name",
        "o1",
        "--memory",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        "x=$(yes 0123456789abcdef | head -c 100000000); echo survived",
    ]);
    assert_eq!(ran.code, Some(137), "{} {}", ran.out, ran.err);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.OOMKilled}} {{.HostConfig.Memory}}", "o1"]),
        "true 16777216"
    );
}

#[test]
fn a_limit_on_tasks_ends_a_bomb() {
    let host = host();
    let ran = host.run(&[
        "run",
        "--rm",
        "--pids-limit",
        "20",
        "busybox",
        "sh",
        "-c",
        "i=0; while [ $i -lt 50 ]; do sleep 100 & i=$((i+1)); done 2>&1 | head -n 1; true",
    ]);
    assert!(format!("{}{}", ran.out, ran.err).contains("can't fork"), "{} {}", ran.out, ran.err);
}

#[test]
fn limits_are_in_the_kernels_files() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--pids-limit",
        "77",
        "-m",
        "64m",
        "busybox",
        "sleep",
        "1000",
    ]);
    let stats = host.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "c1"]);
    assert!(stats.ends_with("/ 64MiB"), "{stats}");
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "c1"]);
    // On v1, and on v2.
    for (files, want) in [
        (["cpu.cfs_quota_us", "cpu.max"], ["50000", "50000 100000"]),
        (["cpu.shares", "cpu.weight"], ["512", "59"]),
        (["memory.limit_in_bytes", "memory.max"], ["67108864"; 2]),
        (["pids.max"; 2], ["77"; 2]),
    ] {
        let found = find(files[0], &id).or_else(|| find(files[1], &id)).unwrap();
        assert!(want.contains(&found.trim()), "{files:?}: {found}");
    }
}

#[test]
fn devices_of_the_host_are_out_of_reach() {
    let host = host();
    // The nodes can be made, as in Docker; what a foreign one names (`loop-control`, whether or not
    // the host has it) is refused before anybody asks what it is.
    let script = "busybox mknod /zero c 1 5 && head -c 1 /zero | wc -c; busybox mknod /node c 10 237 && head -c 1 /node";
    let ran = host.run(&["run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "1"), "{}", ran.err);
    assert!(ran.err.contains("/node: Operation not permitted"), "{}", ran.err);
    // Given for reading, it is not there for writing.
    let node = host.scratch().join("node");
    let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR | Mode::WUSR);
    mknodat(CWD, &node, kind, mode, makedev(10, 237)).unwrap();
    let device = format!("{}:/dev/given:r", node.display());
    let opened = |redirection: &str| {
        let script = format!("exec 3{redirection} /dev/given");
        host.run(&["run", "--rm", "--device", &device, "busybox", "sh", "-c", &script]).err
    };
    assert!(!opened("<").contains("Operation not permitted"));
    assert!(opened(">").contains("Operation not permitted"));
}

/// The content of a file of the container's cgroup.
fn find(file: &str, id: &str) -> Option<String> {
    let mut folders = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        if folder.ends_with(id) && folder.join(file).exists() {
            return std::fs::read_to_string(folder.join(file)).ok();
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    None
}

#[test]
fn too_little_memory_is_refused() {
    let host = host();
    assert!(
        host.fails(125, &["run", "-m", "1m", "busybox"])
            .contains("Minimum memory limit allowed is 6MB")
    );
}

#[test]
fn processors_that_are_not_there_are_refused() {
    let host = host();
    let info = host.ok(&["info", "--format", "{{.NCPU}}"]);
    let count: u32 = info.parse().unwrap();
    let many = (count + 1).to_string();
    assert_eq!(
        host.fails(125, &["run", "--rm", "--cpus", &many, "busybox", "true"]),
        format!(
            "dhow: Error response from daemon: range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available\n\nRun 'dhow run --help' for more information"
        )
    );
    host.ok(&["run", "--rm", "--cpus", &info, "busybox", "true"]);
    for (option, what) in [("--cpuset-cpus", "CPUs"), ("--cpuset-mems", "memory nodes")] {
        let refused = host.fails(1, &["create", option, "0-4000", "busybox"]);
        let begin = format!("Requested {what} are not available - requested 0-4000, available: 0");
        assert!(refused.contains(&begin), "{refused}");
        host.ok(&["run", "--rm", option, "0", "busybox", "true"]);
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}
