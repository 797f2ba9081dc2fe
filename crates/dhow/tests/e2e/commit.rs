//! `commit`: what a container has changed becomes an image that runs.

use testkit::{Host, until};

use crate::events::now;
use crate::host;

/// What an image says about how it is run.
fn config(host: &Host, image: &str, field: &str) -> String {
    host.ok(&["inspect", "--type", "image", "-f", &format!("{{{{json .Config.{field}}}}}"), image])
}

fn layers(host: &Host, image: &str) -> String {
    host.ok(&["inspect", "--type", "image", "-f", "{{len .RootFS.Layers}}", image])
}

#[test]
fn what_a_container_has_changed_is_in_the_image() {
    let host = host();
    let change = "echo new >/new; chmod 4750 /new; rm /etc/group; rm -r /root; mkdir /root; touch /root/own; \
        mkdir /deep; mkfifo /deep/fifo; ln -s new /link; chown 5:6 /tmp; echo up; sleep 1000";
    host.ok(&["run", "-d", "--name", "c1", "--network", "none", "busybox", "sh", "-c", change]);
    until("what it says", || host.ok(&["logs", "c1"]) == "up");
    let id = host.ok(&["commit", "-a", "Me <me@x>", "-m", "why", "c1", "made"]);
    let shown = "{{.Id}} {{.Author}} {{.Comment}} {{json .RepoTags}}";
    assert_eq!(
        host.ok(&["inspect", "--type", "image", "-f", shown, "made"]),
        format!("{id} Me <me@x> why [\"made:latest\"]")
    );
    // What it was made of stands in its configuration, as Docker writes it.
    let base = host.ok(&["inspect", "--type", "image", "-f", "{{.Id}}", "busybox"]);
    let parent = host.ok(&["inspect", "--type", "image", "-f", "{{.Parent}}", "made"]);
    assert_eq!(parent, base);
    let step =
        host.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made"]);
    let step = step.lines().next().unwrap().to_owned();
    assert!(step.starts_with("sh -c echo new") && step.ends_with("|why"), "{step}");
    let look = "stat -c '%a %n' /new; cat /link; ls -A /root; ls -d /etc/group; stat -c %u:%g /tmp; ls -l /deep | tail -n 1 | cut -c 1; ls -A / | grep dockerenv";
    let out = host.run(&["run", "--rm", "--network", "none", "made", "sh", "-c", look]);
    assert_eq!(out.out, "4750 /new\nnew\nown\n5:6\np\n.dockerenv");
    // What dhow itself has made in the container is not in the image.
    host.ok(&["create", "--name", "c2", "--network", "none", "made"]);
    let archive = host.ok(&["export", "-o", "/dev/stdout", "c2"]);
    assert!(!archive.contains("dockerenv") && !archive.contains("dhow-init"));
    assert_eq!(host.ok(&["diff", "c2"]), "");
    host.ok(&["rm", "-f", "c1", "c2"]);
    assert_eq!(layers(&host, "made"), "2");
}

#[test]
fn a_container_without_a_change_adds_no_layer() {
    let host = host();
    for made in [&["create"][..], &["run", "-d"]] {
        host.ok(&[made, &["--name", "c1", "--network", "none", "busybox", "true"]].concat());
        host.ok(&["commit", "c1", "same"]);
        assert_eq!(layers(&host, "same"), layers(&host, "busybox"));
        host.ok(&["rm", "-f", "c1"]);
    }
    assert_eq!(host.ok(&["history", "-q", "same"]).lines().count(), 2);
}

#[test]
fn the_configuration_is_the_containers_and_what_is_changed() {
    let host = host();
    let words = [
        "create",
        "--name",
        "c1",
        "--network",
        "none",
        "-e",
        "A=1",
        "-l",
        "lab=x",
        "-w",
        "/tmp",
        "-v",
        "/anon",
        "-v",
        "named:/named",
        "--expose",
        "81",
        "--stop-signal",
        "INT",
        "busybox",
        "sh",
    ];
    host.ok(&words);
    host.ok(&["commit", "c1", "plain:1"]);
    for (field, want) in [
        ("Cmd", r#"["sh"]"#),
        ("Entrypoint", "null"),
        ("Volumes", r#"{"/anon":{}}"#),
        ("WorkingDir", r#""/tmp""#),
        ("Labels", r#"{"lab":"x"}"#),
        ("ExposedPorts", r#"{"81/tcp":{}}"#),
        ("StopSignal", r#""SIGINT""#),
    ] {
        assert_eq!(config(&host, "plain:1", field), want, "{field}");
    }
    let changes = [
        "ENTRYPOINT [\"a\"]",
        "ENV B=$A C=\"x y\"",
        "EXPOSE 90",
        "LABEL z=1",
        "USER 5:6",
        "VOLUME /v1 /v2",
        "WORKDIR sub",
        "STOPSIGNAL KILL",
        "ONBUILD RUN x",
        "HEALTHCHECK --interval=5s CMD foo",
    ];
    let mut words = vec!["commit"];
    changes.iter().for_each(|change| words.extend(["-c", change]));
    host.ok(&[&words[..], &["c1", "changed"]].concat());
    for (field, want) in [
        ("Cmd", "null"),
        ("Entrypoint", r#"["a"]"#),
        ("Volumes", r#"{"/anon":{},"/v1":{},"/v2":{}}"#),
        ("WorkingDir", r#""/tmp/sub""#),
        ("Labels", r#"{"lab":"x","z":"1"}"#),
        ("ExposedPorts", r#"{"81/tcp":{},"90/tcp":{}}"#),
        ("StopSignal", r#""KILL""#),
        ("OnBuild", r#"["RUN x"]"#),
        ("User", r#""5:6""#),
        ("Healthcheck", r#"{"Test":["CMD-SHELL","foo"],"Interval":5000000000}"#),
    ] {
        assert_eq!(config(&host, "changed", field), want, "{field}");
    }
    let env = config(&host, "changed", "Env");
    assert!(env.contains("\"B=1\"") && env.contains("\"C=x y\""), "{env}");
    host.ok(&["rm", "-v", "c1"]);
}

#[test]
fn a_container_stands_still_meanwhile_unless_it_shall_not() {
    let host = host();
    host.ok(&["run", "-d", "--name", "c1", "--network", "none", "busybox", "sleep", "1000"]);
    let told = |words: &[&str]| {
        let since = now();
        host.ok(words);
        let span = ["events", "--since", &since, "--until", &now(), "--format", "{{.Action}}"];
        host.ok(&span).lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(&["commit", "c1", "x1"]), "pause unpause create tag commit");
    assert_eq!(told(&["commit", "--no-pause", "c1"]), "create commit");
    assert_eq!(told(&["commit", "--pause=false", "c1"]), "create commit");
    host.ok(&["pause", "c1"]);
    assert_eq!(told(&["commit", "c1"]), "create commit");
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "c1"]), "paused");
    host.ok(&["rm", "-f", "c1"]);
}

#[test]
fn what_makes_no_image_is_refused() {
    let host = host();
    host.ok(&["create", "--name", "c1", "--network", "none", "busybox"]);
    host.ok(&["commit", "-c", "CMD [\"echo\", \"hi\"]", "c1", "says"]);
    assert_eq!(host.ok(&["run", "--rm", "--network", "none", "says"]), "hi");
    host.ok(&["rmi", "says"]);
    for (words, want) in [
        (&["-c", "RUN x", "c1"][..], "RUN is not a valid change command"),
        (&["-c", "ENV A", "c1"], "ENV must have two arguments"),
        (&["-c", "", "c1"], "file with no instructions"),
        (&["nosuch"], "No such container: nosuch"),
        (&["c1", "BAD"], "must be lowercase"),
        (&["--pause", "--no-pause", "c1"], "cannot be used together"),
    ] {
        let refused = host.fails(1, &[&["commit"], words].concat());
        assert!(refused.contains(want), "{words:?}: {refused}");
    }
    assert_eq!(host.ok(&["images", "-q"]).lines().count(), 1);
    host.ok(&["rm", "c1"]);
}

#[test]
fn an_import_takes_the_same_changes() {
    let host = host();
    host.ok(&["create", "--name", "c1", "--network", "none", "busybox"]);
    let tar = host.scratch().join("root.tar");
    let tar = tar.to_str().unwrap();
    host.ok(&["export", "-o", tar, "c1"]);
    host.ok(&["import", "-c", "CMD [\"echo\", \"in\"]", "-c", "ENV A=1", "-m", "why", tar, "im:1"]);
    assert_eq!(host.ok(&["run", "--rm", "--network", "none", "im:1"]), "in");
    let refused = host.fails(1, &["import", "-c", "FOO", tar, "im:2"]);
    assert!(refused.contains("FOO is not a valid change command"), "{refused}");
    host.ok(&["rm", "c1"]);
}

#[test]
fn a_container_goes_on_whose_commit_is_killed() {
    let host = host();
    host.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]);
    let mut commit = host.command(&["commit", "c1", "made"]);
    let killed = commit.env("DHOW_FAILPOINT", "publish.sync=kill").output().unwrap();
    assert_eq!(killed.status.code(), None);
    let status = ["inspect", "-f", "{{.State.Status}}", "c1"];
    until("its state", || host.ok(&status) == "running");
    let until = now();
    let events = ["events", "--until", &until, "-f", "container=c1", "--format", "{{.Action}}"];
    let told = host.ok(&events);
    assert!(told.contains("pause\nunpause"), "{told}");
    assert_eq!(host.ok(&["exec", "c1", "echo", "on"]), "on");
    // One that was frozen before stays so.
    host.ok(&["pause", "c1"]);
    let mut commit = host.command(&["commit", "c1", "made"]);
    commit.env("DHOW_FAILPOINT", "publish.sync=kill").output().unwrap();
    assert_eq!(host.ok(&status), "paused");
}
