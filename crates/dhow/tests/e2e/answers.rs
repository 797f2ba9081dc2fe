//! What commands answer where scripts rely on Docker's answer: codes, words and fields.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testkit::Host;

use crate::host;

/// Each fails with this code and these words.
#[track_caller]
fn refused(host: &Host, commands: &[(&[&str], i32, &str)]) {
    for (arguments, code, words) in commands {
        let ran = host.run(arguments);
        let line = arguments.join(" ");
        assert_eq!(ran.code, Some(*code), "dhow {line}: {}", ran.err);
        assert!(ran.err.contains(words), "dhow {line}: {}", ran.err);
    }
}

#[test]
fn ids_by_the_name_that_the_structures_of_go_have() {
    let host = host();
    let id = host.ok(&["create", "--name", "ids", "busybox"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.ID}}", "ids"]), id);
    for (kind, name) in [("image", "busybox"), ("network", "bridge")] {
        let by = |field: &str| host.ok(&[kind, "inspect", "-f", field, name]);
        assert_eq!(by("{{.ID}}"), by("{{.Id}}"));
    }
}

#[test]
fn a_read_only_root_has_read_only_names_in_it() {
    let host = host();
    let write =
        "for f in hosts hostname resolv.conf; do echo x >> /etc/$f && echo $f; done; echo end";
    let run = |more: &[&str]| {
        let all = [&["run", "--rm"], more, &["busybox", "sh", "-c", write]].concat();
        host.run(&all).out
    };
    assert_eq!(run(&[]), "hosts\nhostname\nresolv.conf\nend");
    assert_eq!(run(&["--read-only"]), "end");
    assert_eq!(run(&["--read-only", "--userns", "auto"]), "end");
}

#[test]
fn who_follows_a_log_until_a_moment_waits_no_longer() {
    let host = host();
    let chat = "while :; do echo line; sleep 0.05; done";
    host.ok(&["run", "-d", "--name", "chat", "busybox", "sh", "-c", chat]);
    host.ok(&["run", "-d", "--name", "mute", "busybox", "sleep", "1000"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |moment: Duration| format!("{}.{:09}", moment.as_secs(), moment.subsec_nanos());
    let (past, soon) = (at(now - Duration::from_secs(60)), at(now + Duration::from_millis(700)));
    let follow = |until: &str, name: &str| host.ok(&["logs", "-f", "--until", until, name]);
    assert_eq!(follow(&past, "chat"), "");
    assert_eq!(follow(&past, "mute"), "");
    assert!(follow(&soon, "chat").starts_with("line"));
    assert_eq!(follow(&soon, "mute"), "");
    // It was not their end that was waited for.
    assert_eq!(host.ok(&["ps", "--format", "{{.State}}"]), "running\nrunning");
    host.ok(&["rm", "-f", "chat", "mute"]);
}

#[test]
fn a_start_that_failed_is_the_end_that_is_waited_for() {
    let host = host();
    host.ok(&["create", "--name", "never", "busybox"]);
    assert_eq!(host.ok(&["wait", "never"]), "0");
    host.ok(&["create", "--name", "failed", "busybox", "/nosuch"]);
    refused(&host, &[(&["start", "failed"], 1, "no such file or directory")]);
    assert_eq!(host.ok(&["wait", "failed"]), "127");
}

#[test]
fn an_empty_command_is_one_that_is_not_found() {
    let host = host();
    let words = "exec: \"\": executable file not found in $PATH";
    refused(&host, &[(&["run", "--rm", "busybox", ""], 127, words)]);
    // An empty entry point is none, and so is an empty health check.
    assert_eq!(host.ok(&["run", "--rm", "--entrypoint", "", "busybox", "echo", "x"]), "x");
    host.ok(&["create", "--name", "check", "--health-cmd", "", "busybox"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{json .Config.Healthcheck}}", "check"]), "null");
}

#[test]
fn an_address_on_no_network_is_refused() {
    let host = host();
    host.ok(&["create", "--name", "other", "busybox"]);
    for network in ["none", "host", "container:other"] {
        for address in [["--ip", "1.2.3.4"], ["--ip6", "::5"], ["--link-local-ip", "169.254.1.2"]] {
            let line = [&["run", "--rm", "--network", network], &address[..], &["busybox"]];
            let words = "supported on user defined networks only";
            refused(&host, &[(&line.concat(), 125, words)]);
        }
    }
}

#[test]
fn refusals_name_what_is_wrong() {
    let host = host();
    host.ok(&["create", "--name", "idle", "busybox"]);
    let id = host.ok(&["inspect", "-f", "{{.ID}}", "idle"]);
    let not_paused = format!("Container {id} is not paused");
    let not_running = format!("cannot kill container: idle: container {id} is not running");
    refused(
        &host,
        &[
            (&["unpause", "idle"], 1, &not_paused),
            (&["kill", "idle"], 1, &not_running),
            (&["kill", "-s", "FOO", "idle"], 1, "cannot kill container: idle: invalid signal: FOO"),
            (&["kill", "nosuch"], 1, "cannot kill container: nosuch: No such container: nosuch"),
            (&["cp", "idle:/bin/sh", "nosuch:/"], 1, "No such container: nosuch"),
            (&["cp", "idle:/bin", "nosuch:/bin/sh"], 1, "No such container: nosuch"),
            (&["run", "--rm", "--cpus", "-1.5", "busybox"], 125, "and -1.5 is asked for"),
            (
                &["run", "--rm", "-w", "/bin/sh", "busybox"],
                125,
                "Cannot mkdir: /bin/sh is not a directory",
            ),
            (&["stats", "--no-stream", "nosuch", "other"], 1, "No such container: nosuch\n"),
            (&["stats", "--no-stream", "nosuch", "other"], 1, "No such container: other"),
        ],
    );
}

#[test]
fn an_image_without_a_message_says_where_it_comes_from() {
    let host = host();
    host.ok(&["create", "--name", "source", "busybox"]);
    let archive = host.scratch().join("tree.tar");
    let archive = archive.to_str().unwrap();
    host.ok(&["export", "-o", archive, "source"]);
    host.ok(&["import", archive, "plain"]);
    host.ok(&["import", "-m", "by hand", archive, "told"]);
    let comment = |name: &str| host.ok(&["image", "inspect", "-f", "{{.Comment}}", name]);
    assert_eq!(
        (comment("plain").as_str(), comment("told").as_str()),
        ("Imported from -", "by hand")
    );
    // An empty name is none.
    let id = host.ok(&["commit", "source", ""]);
    assert_eq!(host.ok(&["image", "inspect", "-f", "{{.RepoTags}}", &id]), "[]");
}

#[test]
fn only_what_runs_has_ports_to_filter_by() {
    let host = host();
    host.ok(&["create", "--name", "rests", "--expose", "80", "busybox"]);
    host.ok(&["run", "-d", "--name", "works", "--expose", "80", "busybox", "sleep", "1000"]);
    let names = host.ok(&["ps", "-a", "--filter", "expose=80", "--format", "{{.Names}}"]);
    assert_eq!(names, "works");
    host.ok(&["rm", "-f", "works"]);
}
