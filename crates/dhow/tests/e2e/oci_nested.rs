//! `dhow oci` in a user namespace, as in another engine's container or by an ordinary user: what only the
//! kernel of such a place refuses.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::{Ran, until};

use crate::oci::Bundle;
use crate::oci_spec::add;

/// As many ids as most containers have.
const IDS: &str = "0 0 65536\n";

/// Runs a script as root of a user namespace, with mounts of its own.
#[expect(clippy::disallowed_methods, reason = "the test makes the namespace that it is about")]
fn nested(bundle: &Bundle, script: &str) -> Ran {
    let script = format!("read go; {script}");
    let mut command = Command::new("unshare");
    // Control groups of version 1 are not the namespace's to limit devices by. To mount those of version 2 anew would
    // take `nsdelegate` from a host that has no others.
    let enter = "[ -e /sys/fs/cgroup/cgroup.controllers ] || { umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; }; \
                 exec unshare -Um --propagation private sh -c \"$0\"";
    command.args(["-m", "--propagation", "private", "sh", "-c", enter, &script]);
    command.current_dir(bundle.path()).env("DHOW", crate::DHOW);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    let namespace = |of: &str| fs::read_link(format!("{of}/ns/user")).ok();
    let own = namespace("/proc/self");
    until("a user namespace", || namespace(&process) != own);
    for map in ["gid_map", "uid_map"] {
        fs::write(format!("{process}/{map}"), IDS).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    Ran::new(&child.wait_with_output().unwrap())
}

/// There the kernel makes no new procfs where none is visible: what is written about a process goes to the
/// host's, not to what its container has put in the place of its own (CVE-2019-16884, CVE-2025-52881).
#[test]
fn an_exec_does_not_write_to_what_a_container_has_for_procfs() {
    for make in ["touch", "mkfifo"] {
        let bundle = Bundle::new();
        bundle.runs(&["sleep", "1000"]);
        bundle.change(|spec| {
            add(spec, "cgroup", None);
            spec["root"]["readonly"] = json!(false);
            // Devices are not its own to limit.
            spec["linux"]["resources"] = json!({ "devices": [{ "allow": true, "access": "rwm" }] });
            for set in ["bounding", "effective", "permitted"] {
                let set = spec["process"]["capabilities"][set].as_array_mut().unwrap();
                set.push(json!("CAP_SYS_ADMIN"));
            }
        });
        let process = json!({
            "args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"],
            "user": { "uid": 0, "gid": 0 }, "oomScoreAdj": 321,
        });
        fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
        let script = format!(
            "set -e; dhow() {{ timeout -s KILL 20 \"$DHOW\" oci --root state \"$@\" </dev/null >out 2>&1 || \
             {{ cat out; exit 1; }}; }}
             dhow run -d one
             dhow exec one sh -c 'busybox umount -l /proc && busybox mkdir -p /proc/self && \
             busybox {make} /proc/self/oom_score_adj'
             dhow exec -d --pid-file pid --process process.json one
             cat /proc/$(cat pid)/oom_score_adj
             dhow delete -f one"
        );
        let ran = nested(&bundle, &script);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "321"), "{make}: {ran:?}");
        bundle.nothing_is_left();
    }
}
