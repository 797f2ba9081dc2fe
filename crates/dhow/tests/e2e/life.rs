//! create, start, stop, kill, wait, rm, rename, pause; names and ids.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use model::NameOrId;
use store::{Durability, Found, Store};
use testkit::until;

use crate::host;

#[test]
fn a_container_can_be_started_again() {
    let host = host();
    let id = host.ok(&["create", "--name", "twice", "busybox", "sh", "-c", "echo run; exit 3"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "twice"]), "created");
    for _ in 0..2 {
        let ran = host.run(&["start", "-a", "twice"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), "run"), "{}", ran.err);
    }
    assert_eq!(host.ok(&["logs", &id[..12]]), "run\nrun");
    assert_eq!(host.ok(&["wait", "twice"]), "3");
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "twice"]),
        "exited 3"
    );
}

#[test]
fn stop_asks_and_then_kills() {
    let host = host();
    host.ok(&["run", "-d", "--name", "deaf", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["stop", "-t", "0", "deaf"]), "deaf");
    assert_eq!(host.ok(&["wait", "deaf"]), "137");
    host.ok(&[
        "run",
        "-d",
        "--name",
        "heeds",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done",
    ]);
    until("what it says", || host.ok(&["logs", "heeds"]) == "ready");
    host.ok(&["stop", "heeds"]);
    assert_eq!(host.ok(&["wait", "heeds"]), "5");
    // Stopping what has stopped is no error.
    assert_eq!(host.ok(&["stop", "heeds"]), "heeds");
}

#[test]
fn kill_needs_a_running_container() {
    let host = host();
    host.ok(&["run", "-d", "--name", "k1", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["kill", "k1"]), "k1");
    let again = host.fails(1, &["kill", "k1"]);
    assert!(again.contains("is not running"), "{again}");
    let bad = host.fails(1, &["kill", "-s", "FOO", "k1"]);
    assert!(bad.to_lowercase().contains("invalid signal: foo"), "{bad}");
}

#[test]
fn rm_refuses_what_runs() {
    let host = host();
    host.ok(&["run", "-d", "--name", "r1", "busybox", "sleep", "1000"]);
    let refused = host.fails(1, &["rm", "r1"]);
    assert!(refused.contains("cannot remove container \"r1\": container is running"), "{refused}");
    host.ok(&["rm", "-f", "r1"]);
    // A missing one is no failure with -f, in Docker's words.
    let missing = host.run(&["rm", "-f", "r1"]);
    assert_eq!(missing.code, Some(0));
    assert!(missing.err.contains("No such container: r1"), "{}", missing.err);
    host.fails(1, &["rm", "r1"]);
}

#[test]
fn names_are_unique_and_ids_have_prefixes() {
    let host = host();
    let id = host.ok(&["create", "--name", "one", "busybox"]);
    let taken = host.fails(125, &["run", "--name", "one", "busybox"]);
    assert!(
        taken.contains(&format!(
            "The container name \"/one\" is already in use by container \"{id}\""
        )),
        "{taken}"
    );
    assert_eq!(host.ok(&["inspect", "-f", "{{.Id}}", &id[..6]]), id);
    assert!(
        host.fails(1, &["create", "--name", "x", "busybox"]).contains("Invalid container name (x)")
    );
    host.ok(&["rm", "one"]);
    host.ok(&["create", "--name", "one", "busybox"]);
}

#[test]
fn a_paused_container_waits() {
    let host = host();
    host.ok(&["run", "-d", "--name", "p1", "busybox", "sleep", "1000"]);
    host.ok(&["pause", "p1"]);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Running}}", "p1"]),
        "paused true"
    );
    assert!(host.fails(1, &["pause", "p1"]).contains("is already paused"));
    assert!(
        host.fails(1, &["exec", "p1", "true"])
            .contains("Container p1 is paused, unpause the container before exec")
    );
    assert_eq!(
        host.fails(1, &["attach", "--no-stdin", "p1"]),
        "You cannot attach to a paused container, unpause it first"
    );
    assert!(
        host.fails(1, &["start", "p1"])
            .contains("cannot start a paused container, try unpause instead")
    );
    host.ok(&["unpause", "p1"]);
    host.ok(&["exec", "p1", "true"]);
}

#[test]
fn wait_tells_the_code_of_one_that_ends_later() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "w1",
        "busybox",
        "sh",
        "-c",
        "cat /fifo 2>/dev/null; while [ ! -e /go ]; do sleep 0.05; done; exit 4",
    ]);
    let waiting = host.spawn(&mut host.command(&["wait", "w1"]));
    host.ok(&["exec", "w1", "touch", "/go"]);
    let ran = testkit::Ran::new(&waiting.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "4"));
}

#[test]
fn a_container_that_runs_gets_another_name() {
    let host = host();
    let id = host.ok(&["run", "-d", "--name", "r1", "busybox", "sleep", "1000"]);
    host.ok(&["rename", "r1", "r2"]);
    assert_eq!(host.ok(&["ps", "--format", "{{.Names}}"]), "r2");
    assert_eq!(host.ok(&["exec", "r2", "hostname"]), id[..12]);
    host.ok(&["create", "--name", "r1", "busybox"]);
    assert_eq!(
        host.fails(1, &["rename", "r1", "r2"]),
        format!(
            "Error response from daemon: Error when allocating new name: Conflict. The container name \"/r2\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
        )
    );
    // A stop saves nothing of the old name.
    host.ok(&["stop", "-t", "0", "r2"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.Name}}", &id]), "/r2");
}

#[test]
fn prune_removes_what_does_not_run_and_is_old_or_labelled_so() {
    let host = host();
    let write = "head -c 3000 /dev/zero > /written";
    let ended = host.ok(&["create", "--name", "ended", "busybox", "sh", "-c", write]);
    host.ok(&["start", "-a", "ended"]);
    let kept = host.ok(&["create", "--label", "keep", "-v", "/data", "busybox"]);
    let runs = host.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    host.ok(&["pause", &runs]);
    let prune = |filter: &str| host.ok(&["container", "prune", "-f", "--filter", filter]);
    assert_eq!(prune("until=1h"), "Total reclaimed space: 0B", "none is so old");
    assert_eq!(
        prune("label!=keep"),
        format!("Deleted Containers:\n{ended}\n\nTotal reclaimed space: 3kB")
    );
    let refused = host.fails(1, &["container", "prune", "-f", "--filter", "status=exited"]);
    assert!(refused.contains("invalid filter 'status'"), "{refused}");
    // Whoever does not say yes keeps all.
    let asked = host.feed(&["container", "prune"], b"n\n");
    assert_eq!(asked.code, Some(0));
    assert!(asked.out.starts_with("WARNING! This will remove all stopped containers."));
    let asked = host.feed(&["container", "prune"], b"y\n");
    assert!(asked.out.contains(&kept), "{}", asked.out);
    assert_eq!(host.ok(&["ps", "-aq", "--no-trunc"]), runs);
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 1, "volumes stay");
}

#[test]
fn a_start_that_fails_leaves_the_container_created() {
    let host = host();
    host.ok(&["create", "--name", "f1", "busybox", "nosuch"]);
    host.fails(1, &["start", "f1"]);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "f1"]),
        "created 127"
    );
    host.ok(&["rm", "f1"]);
}

#[test]
fn sizes_are_what_was_written_and_that_with_the_image() {
    let host = host();
    host.ok(&["create", "--name", "idle", "busybox"]);
    host.ok(&[
        "run",
        "--name",
        "wrote",
        "busybox",
        "sh",
        "-c",
        "head -c 5000 /dev/zero >/f; ln /f /g",
    ]);
    let image: u64 = host.ok(&["image", "inspect", "-f", "{{.Size}}", "busybox"]).parse().unwrap();
    let sizes = |name: &str| host.ok(&["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", name]);
    assert_eq!(sizes("idle"), format!("0 {image}"));
    assert_eq!(sizes("wrote"), format!("5000 {}", image + 5000));
    let listed = host.ok(&["ps", "-as", "--format", "{{.Names}} {{.Size}}"]);
    assert!(
        listed.starts_with("wrote 5kB (virtual ") && listed.contains("\nidle 0B (virtual "),
        "{listed}"
    );
    let without = host.ok(&["inspect", "-f", "{{json .}}", "wrote"]);
    assert!(!without.contains("SizeRw"), "{without}");
    assert_eq!(host.ok(&["ps", "-a", "-n", "1", "--format", "{{.Names}}"]), "wrote");
}

/// The wait for the removal is asked for by a program of its own, as `run --rm` is.
#[test]
fn a_restart_keeps_a_container_that_goes_with_its_process() {
    let host = host();
    let script = "trap 'exit 7' TERM; trap 'exit 9' INT; echo up; while :; do sleep 0.1; done";
    let sh = ["busybox", "sh", "-c", script];
    let started = |name: &str| host.ok(&["inspect", "-f", "{{.State.StartedAt}}", name]);
    let ups = |name: &str, count: usize| {
        until("what it says", || host.ok(&["logs", name]).lines().count() >= count);
    };
    // Nobody but its shim would remove the one, a `run` the other.
    host.ok(&[&["run", "-d", "--rm", "--name", "alone"][..], &sh].concat());
    let run =
        host.spawn(&mut host.command(&[&["run", "--rm", "--name", "awaited"][..], &sh].concat()));
    until("what is inspected", || host.run(&["inspect", "awaited"]).code == Some(0));
    for name in ["alone", "awaited"] {
        ups(name, 1);
        for count in 2..7 {
            let before = started(name);
            assert_eq!(host.ok(&["restart", name]), name);
            assert_ne!(started(name), before);
            ups(name, count);
        }
    }
    // Ended for good they go, and the one who waits hears of the last end.
    host.ok(&["stop", "-s", "INT", "awaited"]);
    assert_eq!(testkit::Ran::new(&run.wait_with_output().unwrap()).code, Some(9));
    host.ok(&["stop", "alone"]);
    until("what is listed", || host.ok(&["ps", "-aq"]).is_empty());
}

#[test]
fn names_are_taken_as_the_api_shows_them_and_never_empty() {
    let host = host();
    host.ok(&["run", "-d", "--name", "s1", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.Name}}", "/s1"]), "/s1");
    assert_eq!(host.ok(&["exec", "/s1", "echo", "x"]), "x");
    assert_eq!(host.ok(&["stop", "-t", "0", "/s1"]), "/s1");
    assert_eq!(host.ok(&["rm", "/s1"]), "/s1");
    let empty = "invalid container name or ID: value is empty";
    for command in ["start", "stop", "kill", "logs"] {
        assert_eq!(host.fails(1, &[command, ""]), empty, "{command}");
    }
    assert_eq!(host.fails(1, &["inspect", ""]), empty);
}

/// One that waits for signals is shown by the kernel as if it did not block them.
#[test]
fn a_first_process_that_waits_for_signals_has_its_time() {
    let host = host();
    let script = "echo ::sysinit:/bin/true >/etc/inittab; exec busybox init";
    host.ok(&["run", "-d", "--name", "waits", "busybox", "sh", "-c", script]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "waits"]);
    // `rt_sigtimedwait` of either architecture.
    let waits = |call: &str| call.starts_with("128 ") || call.starts_with("137 ");
    until("its state", || waits(&std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap()));
    // Longer than one that is deaf is looked at; this one does not end by what it hears.
    host.ok(&["stop", "-s", "HUP", "-t", "2", "waits"]);
    let until = crate::events::now();
    let told = host.ok(&["events", "--until", &until, "-f", "container=waits"]);
    assert!(told.contains("container kill") && !told.contains("unheard"), "{told}");
}

/// The kernel drops a signal for which the first process has no handler.
#[test]
fn who_cannot_hear_its_stop_signal_is_not_waited_for() {
    let host = host();
    // Far longer than this test may take.
    let run = |name: &str, command: &[&str]| {
        let options = ["run", "-d", "--stop-timeout", "3600", "--name", name, "busybox"];
        host.ok(&[&options[..], command].concat());
    };
    run("deaf", &["sleep", "1000"]);
    assert_eq!(host.ok(&["stop", "deaf"]), "deaf");
    let state = "{{.State.ExitCode}}";
    assert_eq!(host.ok(&["inspect", "-f", state, "deaf"]), "137");
    let until = crate::events::now();
    let format = "{{.Action}} {{.Actor.Attributes.signal}}";
    let asked = ["events", "--until", &until, "-f", "container=deaf", "--format", format];
    let told = host.ok(&asked);
    assert!(told.contains("kill 15\nunheard 15\nkill 9\ndie"), "{told}");
    // One that comes to hear it a moment later is asked again.
    run(
        "late",
        &["sh", "-c", "while ! [ -e /now ]; do :; done; trap 'exit 7' TERM; while :; do :; done"],
    );
    // It is looked at for a second: who lets it go on is inside already.
    let touch = "echo inside; read go; touch /now";
    let mut inside = host.command(&["exec", "-i", "late", "sh", "-c", touch]);
    let mut inside = host.spawn(inside.stdin(Stdio::piped()));
    let mut told = BufReader::new(inside.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "inside");
    let mut stop = host.spawn(&mut host.command(&["stop", "late"]));
    inside.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(stop.wait().unwrap().success());
    inside.wait().unwrap();
    assert_eq!(host.ok(&["inspect", "-f", state, "late"]), "7");
    // `--init` has handlers.
    host.ok(&["run", "-d", "--init", "--name", "init", "busybox", "sleep", "1000"]);
    host.ok(&["stop", "init"]);
    assert_eq!(host.ok(&["inspect", "-f", state, "init"]), "143");
}

/// A newer dhow's, with a wish that this one does not know.
#[test]
fn a_container_that_cannot_be_read_is_removed_and_keeps_no_port_from_others() {
    let host = host();
    let store = Store::open(&host.root()).unwrap();
    let make_newer = |name: &str, from: &str, to: &str| {
        let containers = store.containers();
        let found = containers.find(&NameOrId::new(name.to_owned())).unwrap();
        let Found::One(row) = found else { panic!("{name}") };
        let newer = row.record.replacen(from, to, 1);
        assert_ne!(newer, row.record);
        containers.set_record(&row.id, &newer, Durability::Now).unwrap();
        assert!(host.fails(1, &["inspect", name]).contains("the record of container"));
    };
    let volume = ["-v", "/anonymous", "busybox", "sleep", "1000"];
    host.ok(&[&["create", "--name", "idle"][..], &volume].concat());
    make_newer("idle", "{", r#"{"wish":1,"#);
    // The first that publishes something here has all of it laid.
    let publishes = ["run", "-d", "--network", "bridge", "-p", "127.0.0.1:0:80", "--name"];
    let sleeps = ["busybox", "sleep", "1000"];
    host.ok(&[&publishes[..], &["other"], &sleeps].concat());
    assert!(host.ok(&["port", "other"]).contains("127.0.0.1:"));
    host.ok(&["rm", "-v", "idle"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");

    host.ok(&[&publishes[..], &["runs"], &volume].concat());
    make_newer("runs", r#""security":{"#, r#""security":{"wish":1,"#);
    assert!(host.fails(1, &["rm", "runs"]).contains("container is running"));
    host.ok(&["rm", "-fv", "runs", "other"]);
    assert_eq!(host.ok(&["ps", "-aq"]) + &host.ok(&["volume", "ls", "-q"]), "");
    until("no shim is left", || host.shims().is_empty());
}
