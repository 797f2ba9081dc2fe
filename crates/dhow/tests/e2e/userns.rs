//! `--userns=auto`: a container whose users are nobody on the host, and whose files are everybody's own.

use std::os::unix::fs::MetadataExt;

use crate::cp::shell;
use crate::host;

/// What a container's first process is on the host.
fn outside(host: &testkit::Host, container: &str) -> (u32, String) {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", container]);
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    (std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), map)
}

#[test]
fn each_container_has_users_of_its_own() {
    let host = host();
    for name in ["aa", "bb"] {
        host.ok(&["run", "-d", "--userns=auto", "--name", name, "busybox", "sleep", "1000"]);
    }
    let ((a, map), (b, _)) = (outside(&host, "aa"), outside(&host, "bb"));
    assert!(a >= 0x7000_0000 && b >= a + 65536, "{a} {b}");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", &a.to_string(), "65536"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.HostConfig.UsernsMode}}", "aa"]), "auto");
    // Root inside, with all that is in it; more processes are too.
    let who =
        "id -u; stat -c %u /proc/1 /etc/hosts /dev/null /dev/shm /bin/busybox;  echo x > /dev/null";
    let script = ["exec", "--privileged", "aa", "sh", "-c", who];
    assert_eq!(host.ok(&script), "0\n0\n0\n0\n0\n0");
    assert_eq!(
        host.ok(&["exec", "-u", "33:33", "-t", "aa", "id"]).trim(),
        "uid=33(www) gid=33(www) groups=33(www)"
    );
    let pid = host.ok(&["exec", "aa", "sh", "-c", "cat /proc/self/uid_map"]);
    assert_eq!(pid.split_whitespace().nth(1), Some(&*a.to_string()));
    // Ids that have been given back are given out again.
    host.ok(&["rm", "-f", "aa"]);
    host.ok(&["run", "-d", "--userns=auto", "--name", "cc", "busybox", "sleep", "1000"]);
    assert_eq!(outside(&host, "cc").0, a);
}

/// No file on disk has ids of a container's, so none has to change hands.
#[test]
fn files_keep_their_owners() {
    let host = host();
    let bound = host.scratch().join("bound");
    std::fs::create_dir(&bound).unwrap();
    std::fs::write(bound.join("from-host"), "text").unwrap();
    let bind = format!("{}:/bound:idmap", bound.display());
    let script = "touch /made /vol/made /bound/made && chown 33:33 /made /vol/made /bound/made && \
                  chmod 4755 /made && stat -c '%u %a' /made /vol/made /bound/made /bound/from-host && cat /bound/from-host";
    let run = [
        "run",
        "--name",
        "box",
        "--userns=auto",
        "-v",
        "vol:/vol",
        "-v",
        &bind,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    assert_eq!(host.ok(&run), "33 4755\n33 644\n33 644\n0 644\ntext");
    assert_eq!(std::fs::metadata(bound.join("made")).unwrap().uid(), 33);
    assert_eq!(std::fs::metadata(host.root().join("volumes/vol/_data/made")).unwrap().uid(), 33);
    // The same in a container with the host's users, and again in another with its own.
    let look = ["stat", "-c", "%u", "/vol/made"];
    for userns in ["host", "auto"] {
        let mut words = vec!["run", "--rm", "--userns", userns, "-v", "vol:/vol", "busybox"];
        words.extend(look);
        assert_eq!(host.ok(&words), "33", "{userns}");
    }
    assert_eq!(host.ok(&["diff", "box"]).lines().filter(|line| line.contains("made")).count(), 1);
    assert_eq!(host.ok(&["start", "-a", "box"]), "33 4755\n33 644\n33 644\n0 644\ntext");
}

/// Who may run containers with users of their own has not given them root's rights on the host's files.
#[test]
fn a_bind_shows_the_hosts_owners_as_nobody() {
    let host = host();
    let bound = host.scratch().join("bound");
    std::fs::create_dir(&bound).unwrap();
    std::fs::write(bound.join("secret"), "text").unwrap();
    let only_root = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(bound.join("secret"), only_root).unwrap();
    let plain = format!("{}:/bound", bound.display());
    let mount = format!("type=bind,source={},target=/bound", bound.display());
    let script = "stat -c %u /bound /bound/secret; cat /bound/secret 2>/dev/null || echo refused; \
                  touch /bound/made 2>/dev/null || echo not written";
    for (flag, value) in [("-v", &plain), ("--mount", &mount)] {
        let run = ["run", "--rm", "--userns=auto", flag, value, "busybox", "sh", "-c", script];
        assert_eq!(host.ok(&run), "65534\n65534\nrefused\nnot written", "{flag}");
    }
    assert!(!bound.join("made").exists());
    // In a container with the host's users there is nothing to show differently.
    for mode in ["", ":idmap"] {
        let bind = format!("{plain}{mode}");
        let run = ["run", "--rm", "-v", &bind, "busybox", "cat", "/bound/secret"];
        assert_eq!(host.ok(&run), "text", "{mode}");
    }
}

#[test]
fn it_has_a_network_a_terminal_an_init_and_limits() {
    let host = host();
    let flags = [
        "run",
        "--rm",
        "--userns=auto",
        "--init",
        "-t",
        "--tmpfs",
        "/scratch:mode=700",
        "-u",
        "33",
        "--group-add",
        "77",
        "--sysctl",
        "net.core.somaxconn=99",
        "--oom-score-adj",
        "500",
        "--ulimit",
        "nofile=100",
        "-w",
        "/work/here",
    ];
    let script = "id -u; cat /proc/sys/net/core/somaxconn /proc/self/oom_score_adj; ulimit -n; pwd; stat -c %u:%a /scratch; \
                  tty; ip -o -4 addr show eth0 | wc -l; echo out > /dev/stderr; cat /proc/1/comm";
    let mut words = flags.to_vec();
    words.extend(["busybox", "sh", "-c", script]);
    let seen = host.ok(&words).replace('\r', "");
    let lines = if std::env::var_os("DHOW_TEST_NETWORK").is_some() { "0" } else { "1" };
    assert_eq!(
        seen,
        format!("33\n99\n500\n100\n/work/here\n0:700\n/dev/pts/0\n{lines}\nout\ndhow-init")
    );
    // What it writes to is its own, also where that is a pipe.
    let again = [
        "run",
        "--rm",
        "--userns=auto",
        "-u",
        "33",
        "busybox",
        "sh",
        "-c",
        "echo again > /proc/self/fd/1",
    ];
    assert_eq!(host.ok(&again), "again");
}

/// The init of such a container has a second process for a moment, who sets up its ids.
#[test]
fn one_process_is_enough_for_users_of_its_own() {
    let host = host();
    for network in ["none", "bridge"] {
        let network = format!("--network={network}");
        let run = ["run", "--rm", "--userns=auto", "--pids-limit", "1", &network, "busybox"];
        assert_eq!(host.ok(&[&run[..], &["echo", "one"]].concat()), "one");
        let two =
            host.run(&[&run[..], &["sh", "-c", "echo started; sleep 0 & wait; echo two"]].concat());
        assert!(two.out.contains("started"), "{two:?}");
        assert!(!two.out.contains("two") || two.err.contains("fork"), "{two:?}");
    }
}

/// The host's root is nobody's inside, and what a container's root is on the host may do nothing.
#[test]
fn nothing_of_the_host_is_its_roots() {
    let host = host();
    let script = "(echo -1000 > /proc/1/oom_score_adj) 2>/dev/null || echo kept; \
                  mknod /n c 1 3 2>/dev/null || echo no node; mount -t tmpfs x /tmp && echo mounted; \
                  was=$(cat /proc/sys/vm/swappiness); (echo $was > /proc/sys/vm/swappiness) 2>/dev/null || echo no parameter";
    let all = [
        "run",
        "--rm",
        "--userns=auto",
        "--cap-add",
        "ALL",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "systempaths=unconfined",
        // Its default profile mounts nothing.
        "--security-opt",
        "apparmor=unconfined",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    // It has all rights over what is its own, and none over the rest.
    assert_eq!(host.ok(&all), "kept\nno node\nmounted\nno parameter");
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let host = host();
    host.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    for (flags, why) in [
        (&["--privileged"][..], "privileged mode is incompatible with user namespaces."),
        (
            &["--network", "host"],
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            &["--pid", "host"],
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
        (&["--network", "container:other"], "cannot share namespaces of another container"),
    ] {
        let mut words = vec!["run", "--rm", "--userns=auto"];
        words.extend(flags);
        words.extend(["busybox", "true"]);
        let refused = host.fails(125, &words);
        assert!(refused.contains(why), "{flags:?}: {refused}");
    }
    // A file system that knows no other ids.
    let bind = ["run", "--rm", "--userns=auto", "-v", "/proc:/p:idmap", "busybox", "true"];
    let refused = host.fails(125, &bind);
    assert!(
        refused.contains("/proc cannot be shown with other owners: its file system"),
        "{refused}"
    );
}

#[test]
fn copies_have_the_ids_that_the_container_sees() {
    let host = host();
    let dir = host.scratch();
    shell(dir, "mkdir -p t/d; echo x >t/f; echo x >t/d/f; chown 33:44 t/f; tar cf t.tar -C t f d");
    host.ok(&[
        "run",
        "-d",
        "--userns=auto",
        "-u",
        "5:6",
        "--name",
        "cc",
        "--network",
        "none",
        "-v",
        "vol:/vol",
        "--tmpfs",
        "/mem",
        "busybox",
        "sleep",
        "1000",
    ]);
    let archive = std::fs::read(dir.join("t.tar")).unwrap();
    for at in ["", "/vol", "/mem"] {
        let copy = host.feed(&["cp", "-a", "-", &format!("cc:{at}/")], &archive);
        assert_eq!(copy.code, Some(0), "{at}: {}", copy.err);
        let look = format!("stat -c '%u:%g' {at}/f {at}/d {at}/d/f");
        let seen = host.ok(&["exec", "-u", "0", "cc", "sh", "-c", &look]);
        let taken = host.ok(&["cp", &format!("cc:{at}/f"), "-"]);
        assert_eq!(seen, "5:6\n5:6\n5:6", "{at}");
        assert!(taken.contains("0000005\x000000006\0"), "{at}");
    }
    let copy = host.feed(&["cp", "-", "cc:/"], &archive);
    assert_eq!(copy.code, Some(0), "{}", copy.err);
    assert_eq!(host.ok(&["exec", "-u", "0", "cc", "stat", "-c", "%u:%g", "/f"]), "33:44");
    host.ok(&["rm", "-f", "cc"]);
}
