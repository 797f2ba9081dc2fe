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

/// The content of a file of the container's cgroup: on v1, or on v2.
pub(crate) fn limit(id: &str, files: [&str; 2]) -> String {
    let found = find(files[0], id).or_else(|| find(files[1], id)).unwrap();
    found.trim().to_owned()
}

/// A block device of this host, and its number.
fn disk() -> (String, String) {
    let disks = std::fs::read_dir("/sys/block").unwrap().flatten();
    let named = |disk: std::fs::DirEntry| format!("/dev/{}", disk.file_name().to_string_lossy());
    let there = disks.map(named).filter(|node| std::path::Path::new(node).exists());
    let node = there.min().unwrap();
    let name = node.trim_start_matches("/dev/");
    let number = std::fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
    (node.clone(), number.trim().to_owned())
}

#[test]
fn rates_of_a_device_are_in_the_kernels_files() {
    let host = host();
    let (disk, number) = disk();
    let with = |rate: &str| format!("{disk}:{rate}");
    let ran = host.run(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--device-read-bps",
        &with("1mb"),
        "--device-write-iops",
        &with("77"),
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown = host.ok(&[
        "inspect",
        "-f",
        "{{json .HostConfig.BlkioDeviceReadBps}} {{json .HostConfig.BlkioDeviceWriteIOps}}",
        "c1",
    ]);
    if ran.err.contains("discarded") {
        assert_eq!((ran.err.matches("discarded.").count(), shown.as_str()), (2, "[] []"));
        return;
    }
    let want = format!(r#"[{{"Path":"{disk}","Rate":1048576}}] [{{"Path":"{disk}","Rate":77}}]"#);
    assert_eq!(shown, want);
    let read = limit(&ran.out, ["blkio.throttle.read_bps_device", "io.max"]);
    let both = format!("{number} rbps=1048576 wbps=max riops=max wiops=77");
    assert!([format!("{number} 1048576"), both.clone()].contains(&read), "{read}");
    let write = limit(&ran.out, ["blkio.throttle.write_iops_device", "io.max"]);
    assert!([format!("{number} 77"), both].contains(&write), "{write}");
}

/// Each is kept, or said to be lacking; never neither.
#[test]
fn what_this_kernel_lacks_is_said() {
    let host = host();
    for (option, value, files, kept) in [
        ("--blkio-weight", "300", ["blkio.bfq.weight", "io.bfq.weight"], ["300", "default 300"]),
        ("--memory-swappiness", "7", ["memory.swappiness"; 2], ["7"; 2]),
        (
            "--memory-reservation",
            "64m",
            ["memory.soft_limit_in_bytes", "memory.low"],
            ["67108864"; 2],
        ),
    ] {
        let ran = host.run(&["run", "-d", option, value, "busybox", "sleep", "1000"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        if !ran.err.contains("Your kernel does not support") {
            let found = limit(&ran.out, files);
            assert!(kept.contains(&found.as_str()), "{option}: {found}");
        }
    }
    let realtime = host.run(&[
        "run",
        "-d",
        "--cpu-rt-period",
        "1000000",
        "--cpu-rt-runtime",
        "900",
        "busybox",
        "sleep",
        "1000",
    ]);
    match realtime.code {
        Some(0) => assert_eq!(limit(&realtime.out, ["cpu.rt_runtime_us"; 2]), "900"),
        _ => assert!(realtime.err.contains("Your kernel does not support CPU real-time scheduler")),
    }
}

#[test]
fn limits_that_no_device_can_have_are_refused() {
    let host = host();
    for (options, code, why) in [
        // Docker's client takes these words for a command that is missing.
        (
            ["--device-read-bps", "/dev/nosuch:1mb"],
            127,
            "stat /dev/nosuch: no such file or directory",
        ),
        (["--device-write-bps", "/dev/null:1mb"], 125, "/dev/null is not a block device"),
    ] {
        let refused =
            host.fails(code, &[&["run", "--rm"], &options[..], &["busybox", "true"]].concat());
        assert!(refused.contains(why), "{refused}");
    }
    let order = ["create", "--cpu-rt-runtime", "20", "--cpu-rt-period", "10", "busybox"];
    assert!(
        host.fails(1, &order)
            .contains("cpu real-time runtime cannot be higher than cpu real-time period")
    );
    assert_eq!(host.ok(&["ps", "-aq"]), "");
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
