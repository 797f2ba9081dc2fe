//! Memory, CPU and task limits, as the kernel has them.

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
        "-m",
        "64m",
        "busybox",
        "sleep",
        "1000",
    ]);
    let stats = host.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "c1"]);
    assert!(stats.ends_with("/ 64MiB"), "{stats}");
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "c1"]);
    let quota = find("cpu.cfs_quota_us", &id).or_else(|| find("cpu.max", &id)).unwrap();
    assert!(quota.starts_with("50000"), "{quota}");
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
