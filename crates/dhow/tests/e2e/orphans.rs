//! What goes on without its guardian, and lives of which nobody has written down the end.

use testkit::{Host, until};

use crate::host;

/// Whether a process runs: one that has ended may wait for whoever it was left to.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest).trim_start();
    !matches!(state.chars().next(), None | Some('Z' | 'X'))
}

fn state(host: &Host, fields: &str) -> String {
    host.ok(&["inspect", "-f", fields, "c1"])
}

/// Whoever changes its user gets rid of the signal that comes with its parent's death.
#[test]
fn a_first_process_that_outlives_its_shim_is_ended_by_the_next_command() {
    let host = host();
    // It changes hands once more, so that what it was told before it ran counts no more.
    let command = ["busybox", "su", "-s", "/bin/sh", "nobody", "-c", "exec sleep 1000"];
    let options = ["run", "-d", "--name", "c1", "-p", "0:80", "busybox"];
    host.ok(&[&options[..], &command].concat());
    let pid = state(&host, "{{.State.Pid}}");
    let is_other = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains("Uid:\t65534\t65534")
    };
    until("the other", is_other);
    let shims = host.shims();
    host.kill_9(shims[0]);
    until("its state", || state(&host, "{{.State.Running}}") != "true");
    assert!(runs(&pid), "it is not of the kind that this is about");
    // Nobody guards it, so it counts as ended; the next container's maker sees to it that it has.
    assert_eq!(state(&host, "{{.State.Status}} {{.State.ExitCode}}"), "exited 255");
    assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "on"]), "on");
    assert!(!runs(&pid));
    host.ok(&["start", "c1"]);
    assert_eq!(host.ok(&["exec", "c1", "echo", "on"]), "on");
}

/// The end before is forgotten, and the row says nothing of the new life yet.
#[test]
fn a_life_is_not_mistaken_for_the_one_before_whose_end_was_forgotten() {
    let host = host();
    let witness = host.scratch().join("killed");
    let kill = format!("shim.recorded=kill@2={}", witness.display());
    let command = ["--name", "c1", "busybox", "sh", "-c", "exit 3"];
    let run = [&["run", "-d", "--restart", "always"][..], &command].concat();
    let ran = host.command(&run).env("DHOW_SHIM_FAILPOINT", kill).output().unwrap();
    assert!(ran.status.success());
    until("the witness", || witness.exists());
    host.until_idle();
    // Nobody has seen how the second life ended: not as the first one did, whose code was 3.
    assert_eq!(state(&host, "{{.State.Status}} {{.State.ExitCode}}"), "exited 255");
    host.ok(&["update", "--restart", "no", "c1"]);
    assert_eq!(host.run(&["start", "-a", "c1"]).code, Some(3));
    assert_eq!(state(&host, "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
}
