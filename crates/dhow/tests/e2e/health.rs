//! Health checks: how a container is, who says so, and what follows from it.

use testkit::{Host, until};

use crate::host;

const STATUS: &str = "{{.State.Health.Status}}";

fn look(host: &Host, format: &str, name: &str) -> String {
    host.ok(&["inspect", "-f", format, name])
}

fn until_seen(host: &Host, format: &str, name: &str, wanted: &str) {
    until("its state", || look(host, format, name) == wanted);
}

/// Starts a container that sleeps and is checked every 50 ms.
fn run(host: &Host, name: &str, more: &[&str]) {
    let before =
        ["run", "-d", "--name", name, "--stop-signal", "KILL", "--health-interval", "50ms"];
    host.ok(&[&before[..], more, &["busybox", "sleep", "1000"]].concat());
}

#[test]
fn a_container_is_what_its_checks_say() {
    let host = host();
    run(&host, "h1", &["--health-cmd", "cat /ok", "--health-retries", "2"]);
    until_seen(&host, STATUS, "h1", "unhealthy");
    host.ok(&["exec", "h1", "sh", "-c", "echo fine >/ok"]);
    until_seen(&host, STATUS, "h1", "healthy");
    until_seen(&host, "{{len .State.Health.Log}} {{.State.Health.FailingStreak}}", "h1", "5 0");
    assert_eq!(look(&host, "{{(index .State.Health.Log 4).Output}}", "h1"), "fine");
    let status = |name: &str| {
        host.ok(&["ps", "-a", "--format", "{{.Status}}", "-f", &format!("name={name}")])
    };
    assert!(status("h1").ends_with(" (healthy)"), "{}", status("h1"));
    let named = |health: &str| {
        host.ok(&["ps", "-a", "--format", "{{.Names}}", "-f", &format!("health={health}")])
    };
    // One that has not been checked, and one that is not at all.
    run(&host, "h2", &["--health-cmd", "true", "--health-interval", "1h"]);
    host.ok(&["run", "-d", "--name", "h3", "--no-healthcheck", "busybox", "sleep", "1000"]);
    assert_eq!(
        look(&host, "{{json .State.Health}}", "h2"),
        r#"{"Status":"starting","FailingStreak":0,"Log":[]}"#
    );
    assert!(status("h2").ends_with(" (health: starting)"), "{}", status("h2"));
    assert_eq!(
        look(&host, "{{json .State.Health}} {{json .Config.Healthcheck}}", "h3"),
        r#"null {"Test":["NONE"]}"#
    );
    assert_eq!(
        (named("healthy"), named("starting"), named("none")),
        ("h1".into(), "h2".into(), "h3".into())
    );
    // Nobody looks at what is frozen or has ended.
    host.ok(&["pause", "h1"]);
    assert!(status("h1").ends_with(" (Paused)"), "{}", status("h1"));
    assert_eq!(look(&host, STATUS, "h1"), "unhealthy");
    host.ok(&["unpause", "h1"]);
    until_seen(&host, STATUS, "h1", "healthy");
    host.ok(&["stop", "h1"]);
    assert_eq!(
        look(&host, "{{.State.Health.Status}} {{len .State.Health.Log}}", "h1"),
        "unhealthy 5"
    );
    assert_eq!(named("unhealthy"), "h1");
    host.ok(&["start", "h1"]);
    until_seen(&host, STATUS, "h1", "healthy");
}

#[test]
fn checks_and_changes_are_told() {
    let host = host();
    run(&host, "told", &["--health-cmd", "exit $(cat /code)", "-e", "X=1"]);
    host.ok(&["exec", "told", "sh", "-c", "echo 0 >/code"]);
    until_seen(&host, STATUS, "told", "healthy");
    host.ok(&["rm", "-f", "told"]);
    let now = crate::events::now();
    let all = ["events", "--until", &now, "--filter", "container=told", "--format", "{{.Action}}"];
    let told = host.ok(&all);
    let line = "sh -c exit $(cat /code)";
    let wanted = [
        format!("exec_create: /bin/{line}"),
        format!("exec_start: /bin/{line}"),
        "exec_die".to_owned(),
        "health_status: healthy".to_owned(),
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert!(wanted.iter().all(|wanted| lines.contains(&&**wanted)), "{told}");
    let changes = lines.iter().filter(|line| **line == wanted[3]).count();
    assert_eq!(changes, 1, "only changes are told: {told}");
}

#[test]
fn a_check_that_takes_too_long_ends_with_all_that_it_started() {
    let host = host();
    let slow = "echo hi; sleep 3000 & sleep 3000";
    run(
        &host,
        "slow",
        &["--health-cmd", slow, "--health-timeout", "100ms", "--health-retries", "1"],
    );
    until_seen(&host, STATUS, "slow", "unhealthy");
    let first = "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}";
    assert_eq!(look(&host, first, "slow"), "-1 Health check exceeded timeout (100ms): hi");
    host.ok(&["pause", "slow"]);
    host.ok(&["unpause", "slow"]);
    // The next one may run already.
    let sleeps = "ps | grep 'sleep 3000' | grep -v grep | wc -l";
    until("none or both", || {
        ["0", "2"].contains(&&*host.ok(&["exec", "slow", "sh", "-c", sleeps]))
    });
}

#[test]
fn a_check_is_the_images_unless_the_user_says_otherwise() {
    let host = host();
    let root = host.scratch().join("root.tar").to_string_lossy().into_owned();
    host.ok(&["create", "--name", "base", "busybox"]);
    host.ok(&["export", "-o", &root, "base"]);
    let check = "HEALTHCHECK --interval=1h --retries=7 CMD true";
    host.ok(&["import", "-c", check, "-c", "ENV PATH=/bin", &root, "checked"]);
    let shown = |more: &[&str]| {
        let id = host.ok(&[&["create"][..], more, &["checked", "true"]].concat());
        look(&host, "{{json .Config.Healthcheck}}", &id)
    };
    assert_eq!(shown(&[]), r#"{"Test":["CMD-SHELL","true"],"Interval":3600000000000,"Retries":7}"#);
    assert_eq!(
        shown(&["--health-retries", "2", "--health-timeout", "3s"]),
        r#"{"Test":["CMD-SHELL","true"],"Interval":3600000000000,"Timeout":3000000000,"Retries":2}"#
    );
    assert_eq!(shown(&["--no-healthcheck"]), r#"{"Test":["NONE"]}"#);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "of-image",
        "--health-interval",
        "50ms",
        "checked",
        "sleep",
        "1000",
    ]);
    until_seen(&host, STATUS, "of-image", "healthy");
}

#[test]
fn what_is_unhealthy_is_restarted_stopped_or_killed() {
    let host = host();
    // Healthy from its second life on: what is written stays.
    let once = "test -e /again || { touch /again; exit 1; }";
    let run = |name: &str, action: &str, more: &[&str]| {
        let check = ["--health-cmd", once, "--health-retries", "1", "--health-on-failure", action];
        run(&host, name, &[&check[..], more].concat());
    };
    let state = "{{.State.Status}} {{.RestartCount}}";
    run("again", "restart", &[]);
    until_seen(&host, state, "again", "running 1");
    until_seen(&host, STATUS, "again", "healthy");
    assert_eq!(look(&host, "{{json .Dhow}}", "again"), r#"{"OnUnhealthy":"restart"}"#);
    run("stops", "stop", &["--restart", "always"]);
    until_seen(&host, state, "stops", "exited 0");
    run("dies", "kill", &["--restart", "always"]);
    until_seen(&host, state, "dies", "running 1");
    until_seen(&host, STATUS, "dies", "healthy");
    let refused = host.fails(1, &["create", "--health-on-failure", "pray", "busybox"]);
    assert!(refused.contains("use one of none, restart, stop, kill"), "{refused}");
    let refused =
        host.fails(1, &["create", "--rm", "--health-on-failure", "restart", "busybox", "true"]);
    assert!(
        refused.contains("can't create 'AutoRemove' container with restart policy"),
        "{refused}"
    );
}
