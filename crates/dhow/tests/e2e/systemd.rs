//! systemd as a container's first process, as Podman's `--systemd` has it.

use testkit::Host;

use crate::DHOW;

/// A host that has the `systemd` image.
pub(crate) fn host() -> Host {
    let host = Host::with_busybox(DHOW);
    let archive = testkit::systemd_archive().expect("make an image of Debian with systemd");
    host.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
    host
}

/// Asks until it has booted: before it listens, it cannot be waited for.
pub(crate) fn until_it_runs(host: &Host, container: &str) {
    for _ in 0..2000 {
        let asked = host.run(&["exec", container, "systemctl", "is-system-running", "--wait"]);
        match asked.out.as_str() {
            "running" => return,
            "" | "unknown" | "offline" | "initializing" | "starting" => {}
            other => {
                let failed = host.run(&["exec", container, "systemctl", "--failed", "--no-pager"]);
                panic!("{other}: {}{}", asked.err, failed.out);
            }
        }
        let state = host.ok(&["inspect", "-f", "{{.State.Status}}", container]);
        assert_eq!(state, "running", "{}", host.run(&["logs", container]).out);
    }
    panic!("it does not boot: {}", host.run(&["logs", container]).out);
}

#[test]
fn it_boots_starts_services_and_stops_cleanly() {
    let host = host();
    let id =
        host.ok(&["run", "-d", "-t", "--name", "box", "--memory", "256m", "systemd", "/sbin/init"]);
    until_it_runs(&host, "box");
    let unit = "printf '[Service]\\nExecStart=/bin/sleep 1000\\nPrivateTmp=yes\\n' > /etc/systemd/system/hello.service; \
                systemctl start hello && systemctl is-active hello && systemctl show -P ControlGroup hello";
    assert_eq!(host.ok(&["exec", "box", "sh", "-c", unit]), "active\n/system.slice/hello.service");
    // The machine is called after the container, and knows what it is.
    assert_eq!(host.ok(&["exec", "box", "cat", "/etc/machine-id"]), id[..32]);
    let seen = host.ok(&["exec", "box", "systemctl", "show", "-P", "Virtualization"]);
    assert_eq!(
        seen, "docker",
        "systemd takes an OCI container with Docker's mark for one of Docker's"
    );
    // A terminal that it lets go of and opens again for each line is not lost.
    let log = host.ok(&["logs", "box"]);
    assert!(log.contains("Reached target") && log.contains("basic.target"), "{log}");
    host.ok(&["stop", "-t", "60", "box"]);
    let log = host.ok(&["logs", "box"]);
    assert!(log.contains("Exiting container."), "{log}");
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "box"]), "0");
}

#[test]
fn it_boots_with_users_of_its_own() {
    let host = host();
    host.ok(&["run", "-d", "--name", "box", "--userns=auto", "systemd", "/sbin/init"]);
    until_it_runs(&host, "box");
    let map = host.ok(&["exec", "box", "cat", "/proc/1/uid_map"]);
    assert!(!map.contains("4294967295"), "{map}");
    host.ok(&["stop", "-t", "60", "box"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "box"]), "0");
}

/// What it may write to are control groups of its own; its limits and everybody else's are not.
#[test]
fn it_cannot_lift_its_own_limits() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--memory",
        "256m",
        "--pids-limit",
        "500",
        "systemd",
        "/sbin/init",
    ]);
    until_it_runs(&host, "box");
    let lift = "for f in /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max \
                /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; do \
                (echo 1000000000 > $f) 2>/dev/null && echo lifted $f; done; \
                cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
                find /sys/fs/cgroup -name release_agent";
    assert_eq!(host.ok(&["exec", "box", "sh", "-c", lift]), "268435456");
}

#[test]
fn it_is_told_by_its_command_or_by_a_flag() {
    let host = Host::with_busybox(DHOW);
    let look = "grep -c '^[a-z]* /run tmpfs' /proc/mounts; echo $container; echo $container_uuid | wc -c; \
                grep -c ' /sys/fs/cgroup/systemd cgroup rw\\| /sys/fs/cgroup cgroup2 rw' /proc/mounts";
    let seen = |flags: &[&str], program: &str| {
        let mut words = vec!["run", "--rm"];
        words.extend(flags);
        words.extend(["--entrypoint", program, "busybox", "-c", look]);
        host.run(&words).out
    };
    let (prepared, plain) = ("1\noci\n33\n1", "0\n\n1\n0");
    assert_eq!(seen(&[], "/bin/sh"), plain);
    assert_eq!(seen(&["--systemd", "always"], "/bin/sh"), prepared);
    assert_eq!(
        seen(&["--systemd=always", "-e", "container=mine"], "/bin/sh"),
        prepared.replace("oci", "mine")
    );
    assert_eq!(
        host.fails(125, &["run", "--rm", "--systemd=maybe", "busybox"])
            .lines()
            .next()
            .unwrap_or_default(),
        "dhow: Error response from daemon: cannot parse bool \"maybe\": --systemd is true, false or always"
    );
    let signal = |flags: &[&str]| {
        let mut words = vec!["create"];
        words.extend(flags);
        words.extend(["busybox", "/sbin/init"]);
        let id = host.ok(&words);
        host.ok(&["inspect", "-f", "{{.Config.StopSignal}}", &id])
    };
    assert_eq!(signal(&[]), "SIGRTMIN+3");
    assert_eq!(signal(&["--systemd=false"]), "");
    assert_eq!(signal(&["--stop-signal", "TERM"]), "SIGTERM");
}

#[test]
fn a_container_may_be_given_its_control_groups() {
    let host = Host::with_busybox(DHOW);
    let make =
        "cd /sys/fs/cgroup; [ -d systemd ] && cd systemd; mkdir own && rmdir own && echo made";
    let made = |option: &str| {
        host.run(&["run", "--rm", "--security-opt", option, "busybox", "sh", "-c", make]).out
    };
    assert_eq!(made("writable-cgroups"), "made");
    assert_eq!(made("writable-cgroups=true"), "made");
    assert_eq!(made("writable-cgroups=false"), "");
    let refused = host.fails(
        125,
        &["run", "--rm", "--security-opt", "writable-cgroups=maybe", "busybox", "true"],
    );
    assert!(refused.contains("invalid --security-opt: \"writable-cgroups=maybe\""), "{refused}");
}
