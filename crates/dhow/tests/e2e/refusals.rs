//! Security options that do not parse are refused and never mean "no policy" (RT-20): one line that
//! names the option, code 125, and no container.

use crate::host;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_profile_that_is_none_is_refused() {
    let host = host();
    let allow = r#""action":"SCMP_ACT_ALLOW""#;
    let rule = |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#);
    let with = |field: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{field}}}"#);
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "seccomp profile"),
        (" \n".to_owned(), "seccomp profile"),
        ("not json".to_owned(), "seccomp profile"),
        ("{".to_owned(), "seccomp profile"),
        ("{}".to_owned(), "defaultAction"),
        ("[]".to_owned(), "defaultAction"),
        ("null".to_owned(), "defaultAction"),
        ("\"SCMP_ACT_ALLOW\"".to_owned(), "defaultAction"),
        (r#"["SCMP_ACT_ALLOW"]"#.to_owned(), "defaultAction"),
        (r#"{"defaultAction":1}"#.to_owned(), "defaultAction"),
        (r#"{"defaultAction":null}"#.to_owned(), "defaultAction"),
        (r#"{"defaultaction":"SCMP_ACT_ALLOW"}"#.to_owned(), "defaultAction"),
        (r#"{"defaultAction":"NOSUCH"}"#.to_owned(), "NOSUCH"),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO"} {}"#.to_owned(), "seccomp profile"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultAction":"SCMP_ACT_ERRNO"}"#.to_owned(),
            "seccomp",
        ),
        (with(r#""nosuch":1"#), "nosuch"),
        (with(r#""syscalls":{}"#), "seccomp profile"),
        (with(r#""syscalls":["read"]"#), "seccomp profile"),
        (with(r#""architectures":["SCMP_ARCH_NOSUCH"]"#), "SCMP_ARCH_NOSUCH"),
        (
            with(
                r#""architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]"#,
            ),
            "architectures",
        ),
        (with(r#""flags":["NOSUCH"]"#), "NOSUCH"),
        (with(r#""defaultErrnoRet":70000"#), "70000"),
        (rule(r#"{"names":["read"],"action":"SCMP_ACT_NOSUCH"}"#), "SCMP_ACT_NOSUCH"),
        (rule(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#), "listenerPath"),
        (rule(r#"{"names":["read"]}"#), "action"),
        (rule(&format!(r#"{{{allow}}}"#)), "seccomp profile"),
        (rule(&format!(r#"{{"names":"read",{allow}}}"#)), "seccomp profile"),
        (rule(&format!(r#"{{"names":["read"],{allow},"when":1}}"#)), "when"),
        (
            rule(&format!(
                r#"{{"names":["read"],{allow},"args":[{{"index":9,"value":1,"op":"SCMP_CMP_EQ"}}]}}"#
            )),
            "9",
        ),
        (
            rule(&format!(
                r#"{{"names":["read"],{allow},"args":[{{"index":0,"value":1,"op":"SCMP_CMP_NOSUCH"}}]}}"#
            )),
            "SCMP_CMP_NOSUCH",
        ),
        (
            rule(&format!(
                r#"{{"names":["read"],{allow},"args":[{{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}}]}}"#
            )),
            "-1",
        ),
        (
            rule(&format!(r#"{{"names":["read"],{allow},"includes":{{"caps":["CAP_NOSUCH"]}}}}"#)),
            "CAP_NOSUCH",
        ),
        (rule(&format!(r#"{{"names":["read"],{allow},"includes":{{"minKernel":"new"}}}}"#)), "new"),
    ];
    let profile = host.scratch().join("p.json");
    let option = format!("seccomp={}", profile.display());
    for (text, says) in &cases {
        std::fs::write(&profile, text).unwrap();
        refused(&host, &["--security-opt", &option], says);
        let created = host.run(&["create", "--security-opt", &option, "busybox", "true"]);
        // A profile whose shape is right is compiled when the container starts.
        if created.code == Some(0) {
            host.ok(&["rm", created.out.trim()]);
        }
    }
    refused(&host, &["--security-opt", "seccomp=/nosuch"], "/nosuch");
    refused(&host, &["--security-opt", "seccomp=/etc"], "/etc");
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    // A profile that is one is used: what it denies is denied.
    std::fs::write(&profile, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["uname"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#).unwrap();
    let uname = ["busybox", "busybox", "uname"];
    assert_eq!(host.run(&[&["run", "--rm"][..], &uname].concat()).out, "Linux");
    let ran = host.run(&[&["run", "--rm", "--security-opt", &option][..], &uname].concat());
    assert!(!ran.out.contains("Linux"), "{ran:?}");
}

/// A run that is refused: its flags, and what the line says.
#[track_caller]
fn refused(host: &testkit::Host, flags: &[&str], says: &str) {
    let mut all = vec!["run", "--rm"];
    all.extend_from_slice(flags);
    all.extend(["busybox", "true"]);
    let ran = host.run(&all);
    // Docker's client takes these words for those about a command that is not there.
    let code = if ran.err.contains("\": no such file or directory") { 127 } else { 125 };
    assert_eq!(ran.code, Some(code), "{flags:?} ({says}): {} {}", ran.out, ran.err);
    assert!(ran.err.contains(says), "{flags:?}: {}", ran.err);
    assert_eq!(ran.out, "", "{flags:?}");
    assert_eq!(host.ok(&["ps", "-aq"]), "", "{flags:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn options_that_do_not_parse_are_refused() {
    let host = host();
    for (flags, says) in [
        (&["--security-opt", "nosuch"][..], "nosuch"),
        (&["--security-opt", "nosuch=1"], "nosuch=1"),
        (&["--security-opt", "=x"], "=x"),
        (&["--security-opt", ""], "security-opt"),
        (&["--security-opt", "seccomp"], "seccomp"),
        (&["--security-opt", "seccomp="], "seccomp"),
        (&["--security-opt", "Seccomp=unconfined"], "Seccomp"),
        (&["--security-opt", "seccomp=Unconfined"], "Unconfined"),
        (&["--security-opt", "no-new-privileges=maybe"], "no-new-privileges=maybe"),
        (&["--security-opt", "no-new-privileges:yes"], "no-new-privileges:yes"),
        (&["--security-opt", "apparmor"], "apparmor"),
        (&["--security-opt", "apparmor="], "apparmor"),
        (&["--security-opt", "apparmor=no-such-profile"], "apparmor=no-such-profile"),
        (&["--security-opt", "label=kind:x_t"], "bad label option"),
        (&["--security-opt", "label="], "label"),
        (&["--security-opt", "systempaths=confined"], "systempaths=confined"),
        (&["--security-opt", "systempaths="], "systempaths="),
        (&["--security-opt", "systempaths"], "systempaths"),
        (&["--security-opt", "mask=/x"], "mask=/x"),
        (&["--security-opt", "writable-cgroups=maybe"], "writable-cgroups"),
        (&["--cap-add", "NOSUCH"], "CAP_NOSUCH"),
        (&["--cap-add", ""], "CAP_"),
        (&["--cap-add", "NET_ADMIN,SYS_ADMIN"], "CAP_NET_ADMIN,SYS_ADMIN"),
        (&["--cap-drop", "NOSUCH"], "CAP_NOSUCH"),
        (&["--cap-drop", "ALLL"], "CAP_ALLL"),
        (&["--sysctl", "kernel.core_pattern=x"], "kernel.core_pattern"),
        (&["--sysctl", "net/../kernel/core_pattern=x"], "net/../kernel/core_pattern"),
        (&["--sysctl", "net.ipv4.ip_forward"], "net.ipv4.ip_forward"),
        (&["--sysctl", "net.ipv4.ip_forward=1\n2"], "one line"),
        (&["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], "the host's network"),
        (&["--ipc", "host", "--sysctl", "kernel.msgmax=1"], "IPC"),
        (&["--device", "/dev/null:relative"], "relative"),
        (&["--device", "/dev/null:/x:q"], "q"),
        (&["--device", "/nosuch"], "custom device \"/nosuch\": no such file or directory"),
        (&["--device", "/etc/passwd"], "/etc/passwd"),
        (&["--device-cgroup-rule", "x 1:1 rwm"], "x 1:1 rwm"),
        (&["--device-cgroup-rule", "c 1:1 rwmx"], "c 1:1 rwmx"),
        (&["--userns", "nosuch"], "USER mode"),
        (&["--pid", "nosuch"], "PID mode"),
        (&["--pid", "container:"], "PID mode"),
        (&["--pid", "container:nosuch"], "No such container: nosuch"),
        (&["--ipc", "nosuch"], "IPC mode"),
        (&["--uts", "nosuch"], "UTS mode"),
        (&["--cgroupns", "nosuch"], "CGROUP mode"),
        (&["--runtime", "nosuch"], "runtime name: nosuch"),
        (&["--cgroup-parent", "../x"], "../x"),
        (&["--ulimit", "nofile=10:5"], "10 > 5"),
        (&["--ulimit", "nosuch=1"], "nosuch"),
        (&["--oom-score-adj", "2000"], "2000"),
        (&["-u", "-1"], "-1"),
        (&["-u", "4294967295"], "4294967295"),
        (&["-u", "4294967296"], "4294967296"),
        (&["-u", "0:4294967295"], "4294967295"),
        (&["-u", "a\nb"], r"a\nb"),
        (&["--group-add", "4294967295"], "4294967295"),
        (&["--group-add", "a\nb"], r"a\nb"),
        (&["-h", "a\nb"], "hostname"),
        (&["-h", "a b"], "hostname"),
        (&["--domainname", "a\n6.6.6.6 b"], "domain name"),
        (&["--add-host", "a\nb:1.2.3.4"], "add-host"),
        (&["--add-host", "a:1.2.3.4\n6.6.6.6 b"], "add-host"),
        (&["--dns", "1.2.3.4\noptions x"], "1.2.3.4"),
        (&["--dns-search", "a\nnameserver 6.6.6.6"], "not a valid domain"),
        (&["--dns-option", "a\nnameserver 6.6.6.6"], "DNS option"),
        (&["--tmpfs", "/proc"], "inside /proc"),
        (&["--tmpfs", "/proc/sys"], "inside /proc"),
        (&["-v", "/etc:/proc/sys"], "inside /proc"),
        (&["-v", "/etc:/proc/../proc/sys"], "inside /proc"),
        (&["-w", "/proc/self/cwd"], "outside of the container's root"),
    ] {
        refused(&host, flags, says);
    }
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn what_turns_a_defence_off_says_so_by_name() {
    let host = host();
    let status = |flags: &[&str]| {
        let mut all = vec!["run", "--rm"];
        all.extend_from_slice(flags);
        all.extend(["busybox", "grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"]);
        host.ok(&all).replace('\t', "")
    };
    assert_eq!(status(&[]), "CapEff:00000000a80425fb\nNoNewPrivs:0\nSeccomp:2");
    assert_eq!(
        status(&["--security-opt", "seccomp=unconfined"]),
        "CapEff:00000000a80425fb\nNoNewPrivs:0\nSeccomp:0"
    );
    assert_eq!(
        status(&["--security-opt", "seccomp=builtin"]),
        "CapEff:00000000a80425fb\nNoNewPrivs:0\nSeccomp:2"
    );
    assert_eq!(
        status(&["--security-opt", "no-new-privileges"]),
        "CapEff:00000000a80425fb\nNoNewPrivs:1\nSeccomp:2"
    );
    assert_eq!(status(&["--cap-drop", "ALL"]), "CapEff:0000000000000000\nNoNewPrivs:0\nSeccomp:2");
    assert_eq!(
        status(&["--cap-drop", "all", "--cap-add", "net_raw"]),
        "CapEff:0000000000002000\nNoNewPrivs:0\nSeccomp:2"
    );
    // There is no module on whose profile or label these could turn anything off.
    assert_eq!(
        status(&["--security-opt", "apparmor=unconfined", "--security-opt", "label=disable"]),
        status(&[])
    );
}
