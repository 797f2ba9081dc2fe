//! `update`: other limits and another restart policy, for containers that run and that do not.

use rustix::process::{Pid, Signal, kill_process};
use testkit::until_is;

use crate::events::now;
use crate::host;
use crate::limits::{has_sets, limit};

const SHOWN: &str = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.CpuShares}} {{.CpusetCpus}} {{json .PidsLimit}}{{end}}";

#[test]
fn a_running_container_gets_what_is_given_and_keeps_the_rest() {
    let host = host();
    let id =
        host.ok(&["run", "-d", "--name", "u1", "--cpu-shares", "300", "busybox", "sleep", "1000"]);
    let given =
        ["update", "-m", "64m", "--memory-swap", "128m", "--cpus", "0.5", "--pids-limit", "50"];
    let set = if has_sets(&host) { "0" } else { "" };
    let placed = if set.is_empty() { &[][..] } else { &["--cpuset-cpus", set] };
    assert_eq!(host.ok(&[&given[..], placed, &["u1"]].concat()), "u1");
    let limits = |files| limit(&id, files);
    let memory = ["memory.limit_in_bytes", "memory.max"];
    assert_eq!(limits(memory), "67108864");
    assert_eq!(limits(["cpu.cfs_quota_us", "cpu.max"]).split(' ').next(), Some("50000"));
    assert_eq!(limits(["pids.max"; 2]), "50");
    if !set.is_empty() {
        assert_eq!(limits(["cpuset.cpus"; 2]), set);
    }
    assert!(["300", "39"].contains(&limits(["cpu.shares", "cpu.weight"]).as_str()));
    let shown = |memory, pids| {
        let want = format!("{memory} 134217728 500000000 300 {set} {pids}");
        assert_eq!(host.ok(&["inspect", "-f", SHOWN, "u1"]), want);
    };
    shown(67_108_864, 50);
    // One that is frozen as well, and one thing alone.
    host.ok(&["pause", "u1"]);
    assert_eq!(host.ok(&["container", "update", "--memory", "32m", "u1"]), "u1");
    assert_eq!(limits(memory), "33554432");
    host.ok(&["unpause", "u1"]);
    shown(33_554_432, 50);
    // Zero says nothing, and a limit can be taken away.
    host.ok(&["update", "-m", "0", "--cpus", "0", "--pids-limit", "-1", "u1"]);
    assert_eq!(limits(["pids.max"; 2]), "max");
    shown(33_554_432, -1);
    let until = now();
    let told = [
        "events",
        "--until",
        &until,
        "-f",
        "event=update",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ];
    assert_eq!(host.ok(&told), "update u1\nupdate u1\nupdate u1");
}

#[test]
fn a_container_that_does_not_run_has_it_at_its_next_start() {
    let host = host();
    let id = host.ok(&["create", "--name", "u1", "busybox", "sleep", "1000"]);
    host.ok(&["update", "--pids-limit", "44", "--cpu-quota", "30000", "u1"]);
    host.ok(&["start", "u1"]);
    assert_eq!(limit(&id, ["pids.max"; 2]), "44");
    assert_eq!(limit(&id, ["cpu.cfs_quota_us", "cpu.max"]).split(' ').next(), Some("30000"));
    host.ok(&["kill", "u1"]);
    host.ok(&["update", "--pids-limit", "45", "--cpu-quota", "-1", "u1"]);
    host.ok(&["start", "u1"]);
    assert_eq!(limit(&id, ["pids.max"; 2]), "45");
    let quota = limit(&id, ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["-1", "max 100000"].contains(&quota.as_str()), "{quota}");
}

#[test]
fn what_does_not_suit_a_container_changes_nothing() {
    let host = host();
    let id = host.ok(&[
        "run", "-d", "--rm", "--name", "u1", "-m", "64m", "--cpus", "1", "busybox", "sleep", "1000",
    ]);
    let cannot = |options: &[&str], why: &str| {
        let refused = host.fails(1, &[&["update"], options, &["u1"]].concat());
        assert_eq!(refused, format!("Error response from daemon: {why}"), "{options:?}");
    };
    let update = |why: &str| format!("Cannot update container {id}: {why}");
    cannot(
        &["-m", "1g"],
        &update(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
    );
    cannot(
        &["--memory-swap", "16m"],
        &update("Minimum memoryswap limit should be larger than memory limit, see usage"),
    );
    cannot(
        &["--cpu-quota", "50000", "--pids-limit", "5"],
        &update(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
    );
    cannot(
        &["--restart", "always"],
        &update("Restart policy cannot be updated because AutoRemove is enabled for the container"),
    );
    cannot(&["-m", "1m"], "Minimum memory limit allowed is 6MB");
    cannot(
        &["--restart", "foo"],
        "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
    );
    if has_sets(&host) {
        assert!(
            host.fails(1, &["update", "--cpuset-cpus", "4000", "u1"])
                .contains("Requested CPUs are not available")
        );
    }
    assert_eq!(
        host.fails(1, &["update", "u1"]),
        "you must provide one or more flags when using this command"
    );
    assert_eq!(
        host.fails(1, &["update", "-m", "9m", "nosuch"]),
        "Error response from daemon: No such container: nosuch"
    );
    assert_eq!(host.ok(&["inspect", "-f", SHOWN, "u1"]), "67108864 134217728 1000000000 0  null");
    assert_eq!(limit(&id, ["pids.max"; 2]), "4096");
    assert_eq!(limit(&id, ["memory.limit_in_bytes", "memory.max"]), "67108864");
}

#[test]
fn a_living_shim_heeds_another_restart_policy() {
    let host = host();
    host.ok(&["run", "-d", "--name", "u1", "busybox", "sleep", "1000"]);
    host.ok(&["update", "--restart", "on-failure:5", "u1"]);
    let policy =
        "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(host.ok(&["inspect", "-f", policy, "u1"]), "on-failure 5");
    let pid: i32 = host.ok(&["inspect", "-f", "{{.State.Pid}}", "u1"]).parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let count = ["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "u1"];
    let mut shown = (0..2000).map(|_| host.ok(&count));
    assert!(shown.any(|shown| shown == "1 running"));
    host.ok(&["update", "--restart", "no", "u1"]);
    host.ok(&["kill", "u1"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "u1"]), "exited");
}

#[test]
fn labels_are_heeded_at_once_and_variables_at_the_next_start() {
    let host = host();
    let script = "env | grep ^V; exec sleep 1000";
    host.ok(&[
        "run", "-d", "--name", "u1", "--label", "a=1", "--label", "b=2", "-e", "V1=x", "-e",
        "V2=y", "busybox", "sh", "-c", script,
    ]);
    let until_logged = |wanted| {
        until_is("the log", || {
            let logs = host.ok(&["logs", "u1"]);
            if logs == wanted { Ok(()) } else { Err(logs) }
        });
    };
    until_logged("V1=x\nV2=y");
    host.ok(&[
        "update",
        "--label-add",
        "a=3",
        "--label-add",
        "c=4",
        "--label-rm",
        "b",
        "--env-add",
        "V1=z",
        "--env-rm",
        "V2",
        "u1",
    ]);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{json .Config.Labels}}", "u1"]),
        r#"{"a":"3","c":"4"}"#
    );
    assert_eq!(host.ok(&["ps", "-q", "--filter", "label=c=4"]).len(), 12);
    assert_eq!(host.ok(&["ps", "-q", "--filter", "label=b"]), "");
    host.ok(&["restart", "-t", "0", "u1"]);
    until_logged("V1=x\nV2=y\nV1=z");
    let until = now();
    let told =
        ["events", "--until", &until, "-f", "event=die", "--format", "{{.Actor.Attributes.a}}"];
    assert_eq!(host.ok(&told), "3", "its shim knows");
    assert_eq!(
        host.fails(1, &["update", "--env-add", "V3", "u1"]),
        "Error response from daemon: invalid environment variable: V3"
    );
}
