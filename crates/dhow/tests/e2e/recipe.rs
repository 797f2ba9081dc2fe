//! `inspect --as`: what is told makes the same container again.

use serde_json::Value;
use testkit::{Host, Ran};

use crate::host;

/// What was asked for, as inspection shows it, without what is each container's own.
fn asked(host: &Host, name: &str) -> Value {
    let shown = host.ok(&["container", "inspect", name]);
    let mut all: Value = serde_json::from_str(&shown).unwrap();
    let config = all[0]["Config"].take();
    let mut config = config.as_object().unwrap().clone();
    let id = &all[0]["Id"].as_str().unwrap()[..12];
    if config["Hostname"] == *id {
        config.remove("Hostname");
    }
    serde_json::json!([
        config,
        all[0]["HostConfig"].take(),
        all[0]["Args"].take(),
        all[0]["Dhow"].take()
    ])
}

/// Runs a line of a shell, in which `dhow` is this one.
#[expect(clippy::disallowed_methods, reason = "tests run the shell as a user does")]
fn in_shell(host: &Host, line: &str) -> Ran {
    let line = line.replacen("dhow run", "exec \"$DHOW\" create", 1);
    let mut command = std::process::Command::new("sh");
    for (name, value) in host.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Ran::new(&command.args(["-c", &line]).env("DHOW", crate::DHOW).output().unwrap())
}

#[track_caller]
fn makes_the_same(host: &Host, flags: &[&str], command: &[&str]) {
    let all = [&["create", "--name", "first"][..], flags, &["busybox"], command].concat();
    host.ok(&all);
    let told = host.ok(&["inspect", "--as", "run", "first"]);
    let before = asked(host, "first");
    host.ok(&["rm", "first"]);
    let again = in_shell(host, &told);
    assert_eq!(again.code, Some(0), "{told}\n{}", again.err);
    assert_eq!(asked(host, "first"), before, "{told}");
    host.ok(&["rm", "first"]);
}

/// Flags and the words behind the image.
#[rustfmt::skip]
const MADE: &[(&[&str], &[&str])] = &[
    (&[], &[]),
    (
        &["-h", "web", "--domainname", "d.org", "-u", "1:2", "-w", "/tmp", "--group-add", "7"],
        &["sh", "-c", "echo \"it's $HOME\"; # \\ *", ""],
    ),
    (
        &["-e", "A=a b'c\"d\n$e", "-l", "k=v w", "-l", "empty", "--annotation", "a.b=c", "-it"],
        &["--", "-x"],
    ),
    (
        &[
            "-p", "127.0.0.1:9998:80", "-p", "[::1]::81/udp", "--expose", "82", "-P", "--dns", "9.9.9.9",
            "--dns-option", "ndots:2", "--dns-search", "x.org", "--add-host", "h:1.2.3.4",
        ],
        &["true"],
    ),
    (
        &[
            "-v", "vol:/v:ro", "-v", "/anonymous", "--tmpfs", "/t:size=1m", "--mount", "type=tmpfs,target=/m,tmpfs-mode=0700",
            "--mount", "type=volume,source=vol,target=/w,readonly",
            "--mount", "type=volume,source=told,target=/l,volume-label=a=b,volume-label=c=d,volume-driver=local", "--shm-size", "32m", "--device", "/dev/null:/dev/x:r",
            "--device-cgroup-rule", "c 1:3 r", "--read-only",
        ],
        &["true"],
    ),
    (
        &[
            "-m", "64m", "--memory-reservation", "32m", "--memory-swap", "96m", "--cpus", "0.25", "-c", "512",
            "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "50", "--oom-score-adj", "5", "--ulimit",
            "nofile=10:20", "--cgroup-parent", "/above",
        ],
        &["true"],
    ),
    (
        &[
            "--cap-add", "SYS_TIME", "--cap-drop", "MKNOD", "--security-opt", "no-new-privileges", "--security-opt",
            "systempaths=unconfined", "--security-opt", "seccomp=unconfined", "--sysctl", "net.ipv4.ip_default_ttl=9",
            "--cgroupns", "host", "--ipc", "shareable", "--pid", "host", "--userns", "host",
        ],
        &["true"],
    ),
    (&["--privileged", "--network", "host", "--uts", "host"], &["true"]),
    (
        &[
            "--init", "--rm", "--stop-signal", "SIGUSR1", "--stop-timeout", "3", "--no-healthcheck", "--log-opt",
            "max-size=1m", "--entrypoint", "/bin/echo",
        ],
        &["a b"],
    ),
    (
        &[
            "--restart", "on-failure:3", "--health-cmd", "test -e '/a b'", "--health-interval", "90s", "--health-retries",
            "4", "--health-start-period", "1500ms", "--health-on-failure", "stop",
        ],
        &["true"],
    ),
    (&["--entrypoint", "", "--network", "none", "--log-driver", "none"], &["true"]),
];

#[test]
fn a_command_line_makes_the_container_again() {
    let host = host();
    for (flags, command) in MADE {
        makes_the_same(&host, flags, command);
    }
}

#[test]
fn recipes_are_of_containers() {
    let host = host();
    host.ok(&["create", "--name", "made", "busybox"]);
    let service = host.ok(&["container", "inspect", "--as", "compose", "made"]);
    let want = "services:\n  made:\n    image: \"busybox\"\n    container_name: \"made\"\n";
    assert!(service.starts_with(want), "{service}");
    for (words, why) in [
        (&["inspect", "--as", "run", "nosuch"][..], "No such container: nosuch"),
        (&["inspect", "--as", "run", "-f", "x", "made"], "cannot specify both --format and --as"),
        (&["inspect", "--as", "run", "--type", "image", "busybox"], "--as is of containers alone"),
    ] {
        let told = host.fails(1, words);
        assert!(told.contains(why), "{words:?}: {told}");
    }
    let unknown = host.fails(125, &["inspect", "--as", "podman", "made"]);
    assert!(unknown.contains("it is run or compose"), "{unknown}");
}
