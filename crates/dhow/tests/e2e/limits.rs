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

/// The kernel takes the options of a new mount in the host's namespace for those of the whole hierarchy, which
/// would lose `nsdelegate` on version 2.
#[test]
fn the_hosts_hierarchies_keep_their_options() {
    let host = host();
    let mounts = || {
        let all = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let about = all.lines().filter(|line| line.contains(" cgroup")).map(str::to_owned);
        about.collect::<Vec<_>>()
    };
    let before = mounts();
    assert!(!before.is_empty());
    for more in [&["--privileged"][..], &[]] {
        let run = ["run", "--rm", "--network", "none", "--cgroupns", "host"];
        let command = ["busybox", "sh", "-c", "find /sys/fs/cgroup -name cgroup.procs | grep -c ."];
        let seen = host.ok(&[&run[..], more, &command].concat());
        assert_ne!(seen, "0", "{more:?}");
        assert_eq!(mounts(), before, "{more:?}");
    }
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

/// Whether this host's kernel places containers on processors.
pub(crate) fn has_sets(host: &testkit::Host) -> bool {
    host.ok(&["info", "-f", "{{.CPUSet}}"]) == "true"
}

/// The content of a file of the container's cgroup: on v1, or on v2.
pub(crate) fn limit(id: &str, files: [&str; 2]) -> String {
    let found = find(files[0], id).or_else(|| find(files[1], id)).unwrap();
    found.trim().to_owned()
}

/// Block devices of this host, with their numbers.
fn disks() -> Vec<(String, String)> {
    let mut disks: Vec<_> = std::fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .map(|disk| {
            let number = std::fs::read_to_string(disk.path().join("dev")).unwrap();
            (format!("/dev/{}", disk.file_name().to_string_lossy()), number.trim().to_owned())
        })
        .filter(|(node, _)| std::path::Path::new(node).exists())
        .collect();
    disks.sort();
    disks
}

#[test]
fn rates_of_a_device_are_in_the_kernels_files() {
    let host = host();
    let (disk, number) = disks().remove(0);
    let with = |rate: &str| format!("{disk}:{rate}");
    let rates = [
        ("--device-read-bps", with("1mb"), "blkio.throttle.read_bps_device", "1048576"),
        ("--device-write-bps", with("2mb"), "blkio.throttle.write_bps_device", "2097152"),
        ("--device-read-iops", with("66"), "blkio.throttle.read_iops_device", "66"),
        ("--device-write-iops", with("77"), "blkio.throttle.write_iops_device", "77"),
    ];
    let mut run = vec!["run", "-d", "--name", "c1"];
    run.extend(rates.iter().flat_map(|(option, rate, ..)| [*option, rate]));
    run.extend(["busybox", "sleep", "1000"]);
    let ran = host.run(&run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown = host.ok(&[
        "inspect",
        "-f",
        "{{json .HostConfig.BlkioDeviceReadBps}} {{json .HostConfig.BlkioDeviceWriteIOps}}",
        "c1",
    ]);
    if ran.err.contains("discarded") {
        assert_eq!((ran.err.matches("discarded.").count(), shown.as_str()), (4, "[] []"));
        return;
    }
    let want = format!(r#"[{{"Path":"{disk}","Rate":1048576}}] [{{"Path":"{disk}","Rate":77}}]"#);
    assert_eq!(shown, want);
    let all = format!("{number} rbps=1048576 wbps=2097152 riops=66 wiops=77");
    for (option, _, file, rate) in rates {
        let found = limit(&ran.out, [file, "io.max"]);
        assert!([format!("{number} {rate}"), all.clone()].contains(&found), "{option}: {found}");
    }
}

/// The kernel takes one only of a disk that BFQ schedules; another is refused by name.
#[test]
fn weights_of_a_device_are_in_the_kernels_files() {
    let host = host();
    let is_weighed = |node: &str| {
        let queue = format!("/sys/block/{}/queue/scheduler", node.trim_start_matches("/dev/"));
        std::fs::read_to_string(queue).is_ok_and(|text| text.contains("[bfq]"))
    };
    let disks = disks();
    let weighed = disks.iter().find(|(node, _)| is_weighed(node));
    let (disk, number) = weighed.unwrap_or(&disks[0]);
    let weight = format!("{disk}:300");
    let ran =
        host.run(&["run", "-d", "--blkio-weight-device", &weight, "busybox", "sleep", "1000"]);
    if ran.err.contains("Weight-device discarded") {
        return;
    }
    let files = ["blkio.bfq.weight_device", "io.bfq.weight"];
    if weighed.is_some() {
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let found = limit(&ran.out, files);
        assert!(found.lines().any(|line| line == format!("{number} 300")), "{found}");
    } else if ran.code == Some(0) {
        let found = limit(&ran.out, ["blkio.weight_device", "io.weight"]);
        assert!(found.lines().any(|line| line.starts_with(number)), "{found}");
    } else {
        assert!(files.iter().any(|file| ran.err.contains(file)), "{}", ran.err);
    }
}

/// Each is kept, or said to be lacking; never neither.
#[test]
fn what_this_kernel_lacks_is_said() {
    let host = host();
    for (options, files, kept) in [
        (
            &["--blkio-weight", "300"][..],
            ["blkio.bfq.weight", "io.bfq.weight"],
            ["300", "default 300"],
        ),
        (&["--memory-swappiness", "7"], ["memory.swappiness"; 2], ["7"; 2]),
        (
            &["--memory-reservation", "64m"],
            ["memory.soft_limit_in_bytes", "memory.low"],
            ["67108864"; 2],
        ),
        (
            &["--oom-kill-disable", "-m", "64m"],
            ["memory.oom_control"; 2],
            ["oom_kill_disable 1"; 2],
        ),
        (&["--cpu-shares", "512"], ["cpu.shares", "cpu.weight"], ["512", "59"]),
        (&["--cpu-quota", "30000"], ["cpu.cfs_quota_us", "cpu.max"], ["30000", "30000 100000"]),
        (&["--cpuset-cpus", "0"], ["cpuset.cpus"; 2], ["0"; 2]),
        (&["--cpuset-mems", "0"], ["cpuset.mems"; 2], ["0"; 2]),
    ] {
        let ran = host.run(&[&["run", "-d"], options, &["busybox", "sleep", "1000"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        if !ran.err.contains("Your kernel does not support") {
            let found = limit(&ran.out, files);
            let first = found.lines().next().unwrap_or_default();
            assert!(kept.contains(&first), "{options:?}: {found}");
        }
    }
    let realtime = ["run", "-d", "--cpu-rt-period", "800000", "--cpu-rt-runtime", "900"];
    let realtime = host.run(&[&realtime[..], &["busybox", "sleep", "1000"]].concat());
    if realtime.code == Some(0) {
        let kept = |file| limit(&realtime.out, [file; 2]);
        assert_eq!(
            (kept("cpu.rt_runtime_us"), kept("cpu.rt_period_us")),
            ("900".into(), "800000".into())
        );
    } else {
        assert!(realtime.err.contains("Your kernel does not support CPU real-time scheduler"));
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
        if !has_sets(&host) {
            let ran = host.run(&["run", "--rm", option, "0-4000", "busybox", "true"]);
            assert!(ran.err.contains("Cpuset discarded."), "{}", ran.err);
            continue;
        }
        let refused = host.fails(1, &["create", option, "0-4000", "busybox"]);
        let begin = format!("Requested {what} are not available - requested 0-4000, available: 0");
        assert!(refused.contains(&begin), "{refused}");
        host.ok(&["run", "--rm", option, "0", "busybox", "true"]);
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}
