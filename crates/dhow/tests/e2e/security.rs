//! What a container cannot do, seen from inside.

use crate::host;

#[test]
fn a_default_container_has_dockers_rights() {
    let host = host();
    let status = host.ok(&[
        "run",
        "--rm",
        "busybox",
        "grep",
        "-E",
        "^(Cap|NoNewPrivs|Seccomp):|^Cap",
        "/proc/self/status",
    ]);
    assert!(
        status.contains("CapInh:\t0000000000000000")
            && status.contains("CapEff:\t00000000a80425fb"),
        "{status}"
    );
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let fds = host.ok(&["run", "--rm", "busybox", "sh", "-c", "ls /proc/1/fd; true"]);
    assert_eq!(
        fds.split_whitespace().filter(|fd| fd.parse::<u32>().is_ok_and(|fd| fd < 10)).count(),
        3,
        "{fds}"
    );
}

#[test]
fn kernel_files_are_masked_or_read_only() {
    let host = host();
    let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l; \
                  echo 1 > /proc/sys/kernel/sysrq 2>/dev/null || echo refused; \
                  mount -t tmpfs x /tmp 2>/dev/null || echo refused; touch /sys/x 2>/dev/null || echo refused";
    assert_eq!(
        host.ok(&["run", "--rm", "busybox", "sh", "-c", script]),
        "0\n0\nrefused\nrefused\nrefused"
    );
}

/// Root of a container may change owners and modes, at `/dev/stdin` as well. So that is never what the host has.
#[test]
fn a_null_device_as_a_stream_is_not_the_hosts() {
    use std::os::unix::fs::MetadataExt;
    let host = host();
    let hosts = std::fs::metadata("/dev/null").unwrap();
    let hosts = format!("{}:{}", hosts.dev(), hosts.ino());
    let stat = ["stat", "-Lc", "%d:%i %t:%T", "/dev/stdin", "/dev/null"];
    let is_own = |words: &[&str]| {
        let told = host.ok(&[words, &stat[..]].concat());
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0] == lines[1] && lines[0].ends_with(" 1:3"), "{words:?}: {told}");
        assert_ne!(lines[0].split(' ').next(), Some(hosts.as_str()), "{words:?}");
    };
    let run = ["run", "--rm", "--network=none"];
    is_own(&[&run[..], &["busybox"]].concat());
    is_own(&[&run[..], &["-u", "1000", "--read-only", "busybox"]].concat());
    is_own(&[&run[..], &["--userns=auto", "busybox"]].concat());
    host.ok(&["run", "-d", "--name", "nn", "--network=none", "busybox", "sleep", "1000"]);
    is_own(&["exec", "nn"]);
    // What the container has put there is not taken for one, nor waited for.
    for other in ["touch /dev/null", "mkfifo /dev/null", "ln -s zero /dev/null", ":"] {
        host.ok(&["exec", "nn", "sh", "-c", &format!("rm -f /dev/null; {other}")]);
        let told = host.ok(&["exec", "nn", "stat", "-Lc", "%d:%i %t:%T", "/dev/stdin"]);
        assert!(told.ends_with(" 1:3") && !told.starts_with(&format!("{hosts} ")), "{told}");
    }
}

#[test]
fn a_working_directory_outside_is_refused() {
    let host = host();
    for fd in 3..12 {
        let dir = format!("/proc/self/fd/{fd}");
        let ran = host.run(&["run", "--rm", "-w", &dir, "busybox", "pwd"]);
        assert_ne!(ran.code, Some(0), "{dir}: {}", ran.out);
    }
}

#[test]
fn the_binary_that_enters_a_container_cannot_be_written() {
    let host = host();
    let before = std::fs::read(crate::DHOW).unwrap();
    host.ok(&["run", "-d", "--name", "evil", "--init", "busybox", "sh", "-c",
        "while :; do for e in /proc/[0-9]*/exe; do (echo x > $e) 2>/dev/null && echo $e >> /wrote; done; done"]);
    for _ in 0..20 {
        host.ok(&["exec", "evil", "true"]);
    }
    // Whatever it wrote to were its own files.
    let wrote = host.run(&["exec", "evil", "cat", "/wrote"]);
    assert_eq!(wrote.out, "", "{}", wrote.out);
    assert!(std::fs::read(crate::DHOW).unwrap() == before);
    // Not only because it runs, which it will not do for ever.
    let write = "for e in /proc/1/exe /sbin/dhow-init; do (echo x > $e) 2>&1; done; true";
    let said = host.ok(&["run", "--rm", "--init", "busybox", "sh", "-c", write]);
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
}

#[test]
fn nothing_of_the_state_is_open_to_others() {
    use std::os::unix::fs::MetadataExt;
    let host = host();
    host.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    for root in [host.root(), host.run_root()] {
        assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o077, 0, "{}", root.display());
    }
}
