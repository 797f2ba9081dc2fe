//! What a container cannot see or do.

use crate::bundle::{Bundle, process, spec};
use serde_json::json;

#[test]
fn every_namespace_is_its_own() {
    let bundle = Bundle::new();
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let inside =
        bundle.sh("for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done");
    for (kind, link) in kinds.iter().zip(inside.lines()) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(link.starts_with(kind), "{link}");
        assert_ne!(outside.to_str().unwrap(), link);
    }
    assert_eq!(inside.lines().count(), kinds.len());
}

#[test]
fn its_first_process_is_pid_1_of_a_session_of_its_own() {
    let bundle = Bundle::new();
    // Fields of stat: pid (name) state parent group session.
    let stat = bundle.sh("read pid name state parent group session rest < /proc/1/stat; echo $pid $parent $group $session");
    assert_eq!(stat, "1 0 1 1\n");
    assert_eq!(bundle.sh("hostname"), "box\n");
}

#[test]
fn capabilities_are_dockers_and_nothing_is_inheritable() {
    let bundle = Bundle::new();
    let status =
        bundle.run(&spec(&["grep", "-E", "^(Cap|NoNewPrivs|Groups)", "/proc/self/status"]));
    let status = status.unwrap().good();
    assert_eq!(
        status,
        "Groups:\t0 \nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n\
         CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n"
    );
}

#[test]
fn another_user_has_the_bounding_set_only() {
    let bundle = Bundle::new();
    let mut spec = spec(&["sh", "-c", "id; grep -E '^Cap' /proc/self/status; umask"]);
    spec["process"]["user"] =
        json!({ "uid": 33, "gid": 44, "umask": 0o027, "additionalGids": [44, 55] });
    spec["process"]["capabilities"]["effective"] = json!([]);
    spec["process"]["capabilities"]["permitted"] = json!([]);
    assert_eq!(
        bundle.run(&spec).unwrap().good(),
        "uid=33 gid=44 groups=44,55\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
         CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n0027\n"
    );
}

#[test]
fn ambient_capabilities_reach_a_user() {
    let bundle = Bundle::new();
    let mut spec = spec(&["grep", "-E", "^Cap(Eff|Amb)", "/proc/self/status"]);
    let one = json!(["CAP_NET_BIND_SERVICE"]);
    spec["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    spec["process"]["capabilities"] = json!({
        "bounding": one, "effective": one, "permitted": one, "inheritable": one, "ambient": one,
    });
    let expected = "CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n";
    assert_eq!(bundle.run(&spec).unwrap().good(), expected);
}

#[test]
fn only_the_standard_streams_are_inherited() {
    let bundle = Bundle::new();
    // A descriptor of this process that forgot to be close-on-exec.
    let leak = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    // `ls` itself has the directory open as 3.
    assert_eq!(bundle.run(&spec(&["ls", "/proc/self/fd"])).unwrap().good(), "0\n1\n2\n3\n");
    assert_eq!(bundle.sh("readlink /proc/self/fd/3 || echo none"), "none\n");
}

#[test]
fn a_working_directory_outside_of_the_root_is_refused() {
    let bundle = Bundle::new();
    let leak = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    for fd in 3..64 {
        let mut spec = spec(&["pwd"]);
        let cwd = format!("/proc/self/fd/{fd}");
        spec["process"]["cwd"] = json!(cwd);
        // One that is missing would be made, which procfs refuses.
        let error = bundle.run(&spec).unwrap_err();
        assert!(matches!(error, runtime::LaunchError::WorkingDirectory { .. }), "{error}");
    }
    let mut exec = process(&["pwd"]);
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    for cwd in ["/proc/self/fd/5", "/proc/1/root", "/proc/self/cwd"] {
        exec["cwd"] = json!(cwd);
        let error = container.exec(&exec).unwrap_err();
        assert!(matches!(error, runtime::LaunchError::WorkingDirectory { .. }), "{error}");
    }
}

#[test]
fn masked_paths_read_as_empty_and_read_only_paths_refuse_writes() {
    let bundle = Bundle::new();
    assert_eq!(bundle.sh("cat /proc/interrupts /proc/keys | wc -c; ls -A /sys/firmware"), "0\n");
    assert_eq!(bundle.sh("stat -c '%F %t:%T' /proc/keys"), "character special file 1:3\n");
    let refused = bundle
        .sh("for f in /proc/sys/kernel/core_pattern /sys/fs/cgroup/x /sys/firmware/x; \
         do (echo x > $f) 2>&1 | grep -o 'Read-only file system'; done");
    assert_eq!(refused.lines().count(), 3, "{refused}");
}

#[test]
fn the_keys_of_the_caller_stay_with_it() {
    let bundle = Bundle::new();
    let own = std::fs::read_to_string("/proc/key-users").unwrap();
    assert!(!own.is_empty());
    let mut spec = spec(&["cat", "/proc/keys"]);
    spec["linux"]["maskedPaths"] = json!([]);
    let keys = bundle.run(&spec).unwrap().good();
    assert!(keys.contains("_ses.test"), "{keys}");
}

#[test]
fn a_filter_is_loaded_with_and_without_no_new_privs() {
    use crate::bundle::{filter, filter_ref};
    let bundle = Bundle::new();
    // uname(2) is 63 on x86-64 and 160 on AArch64; 38 is ENOSYS.
    let number = if cfg!(target_arch = "x86_64") { 63 } else { 160 };
    let instructions = filter(number, 38);
    for locked in [false, true] {
        let mut spec = spec(&[
            "sh",
            "-c",
            "busybox uname -s 2>&1; grep -E '^(Seccomp|CapEff):' /proc/self/status",
        ]);
        spec["process"]["noNewPrivileges"] = json!(locked);
        let output = bundle.run_filtered(&spec, Some(filter_ref(&instructions)));
        let output = output.unwrap();
        assert!(output.stdout.contains("CapEff:\t00000000a80425fb\nSeccomp:\t2\n"), "{output:?}");
        assert!(!output.stdout.contains("Linux"), "{output:?}");
    }
}

#[test]
fn sysctls_of_its_own_namespaces_are_set() {
    let bundle = Bundle::new();
    let mut spec =
        spec(&["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax"]);
    spec["linux"]["sysctl"] =
        json!({ "net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "4242" });
    let before = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    assert_eq!(bundle.run(&spec).unwrap().good(), "77\n4242\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
}
