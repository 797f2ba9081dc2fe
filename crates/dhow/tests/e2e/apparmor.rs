//! The default profile of AppArmor, on a host that has it: who gets it, and what it keeps from a container that
//! was given rights which would be enough without it.

use std::fs;
use std::path::Path;
use std::process::Child;

use serde_json::Value;
use testkit::{Host, Ran};

use crate::host;

/// Every system call, and nothing masked or read-only: what is refused then, AppArmor refuses.
const OPEN: [&str; 6] = [
    "--network=none",
    "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined",
    "--cap-add=SYS_ADMIN",
    "--cap-add=SYS_PTRACE",
    "--pid=host",
];

/// Whether what is tested is here.
fn has_apparmor() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    enabled.starts_with('Y') && Path::new("/sys/kernel/security/apparmor/profiles").exists()
}

/// A host without it says so, and a container that asks for a profile does not run without one.
fn is_told_of_the_lack(host: &Host) {
    assert!(!host.ok(&["info", "--format", "{{.SecurityOptions}}"]).contains("apparmor"));
    let asked = [
        "run",
        "--rm",
        "--network=none",
        "--security-opt=apparmor=dhow-default",
        "busybox",
        "true",
    ];
    let refused = host.fails(125, &asked);
    assert!(refused.contains("AppArmor is not enabled on this host"), "{refused}");
    host.ok(&["run", "--rm", "--network=none", "busybox", "true"]);
}

/// The profiles of the processes, and that of the inspection.
fn profiles(host: &Host, options: &[&str]) -> [String; 3] {
    let run = [&["run", "-d", "--name", "c1", "--network=none"], options].concat();
    host.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    let current = "/proc/1/attr/current";
    let own = host.ok(&["exec", "c1", "cat", "/proc/self/attr/current"]);
    let seen = [
        host.ok(&["exec", "c1", "cat", current]),
        own,
        host.ok(&["inspect", "-f", "{{.AppArmorProfile}}", "c1"]),
    ];
    // It hears signals of whoever manages it.
    host.ok(&["kill", "c1"]);
    host.ok(&["rm", "-f", "c1"]);
    seen
}

#[test]
fn who_names_no_profile_has_the_default() {
    let host = host();
    if !has_apparmor() {
        return is_told_of_the_lack(&host);
    }
    let default = ["dhow-default (enforce)", "dhow-default (enforce)", "dhow-default"];
    assert_eq!(profiles(&host, &[]), default);
    assert_eq!(profiles(&host, &["--security-opt=apparmor=dhow-default"]), default);
    assert_eq!(profiles(&host, &["--security-opt=no-new-privileges", "--user=1000"]), default);
    assert_eq!(profiles(&host, &["--userns=auto"]), default);
    for open in ["--privileged", "--security-opt=apparmor=unconfined"] {
        assert_eq!(profiles(&host, &[open]), ["unconfined"; 3], "{open}");
    }
    let info: Value = serde_json::from_str(&host.ok(&["info", "--format", "json"])).unwrap();
    assert_eq!(info["SecurityOptions"][0], "name=apparmor", "{info}");
    let wrong = host.fails(125, &["run", "--security-opt=apparmor=no-such", "busybox", "true"]);
    assert!(wrong.contains("there is no such profile on this host"), "{wrong}");
}

/// A process of the host's that a container may be let loose on.
struct Victim(Child);

impl Victim {
    #[expect(clippy::disallowed_methods, reason = "a process of the host's, as anybody starts one")]
    fn new() -> Self {
        let mut sleep = std::process::Command::new("sleep");
        Self(sleep.arg("1000").spawn().unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn rights_that_were_given_away_do_not_reach_the_host() {
    let host = host();
    if !has_apparmor() {
        return is_told_of_the_lack(&host);
    }
    let victim = Victim::new();
    let pid = victim.0.id();
    // Its own, at a place that is the kernel's elsewhere.
    let own = host.scratch().join("own");
    fs::create_dir(&own).unwrap();
    let bind = format!("--volume={}:/sys/kernel", own.display());
    let run = |more: &[&str], script: &str| -> Ran {
        let open = [&["run", "--rm", &bind], &OPEN[..], more].concat();
        host.run(&[&open[..], &["busybox", "sh", "-c", script]].concat())
    };
    for script in [
        "mkdir -p /m && mount -t tmpfs none /m".to_owned(),
        "mkdir -p /m && mount --bind /proc/sys /m".to_owned(),
        "echo name >/proc/sys/kernel/domainname".to_owned(),
        "echo 1 >/sys/kernel/file".to_owned(),
        format!("kill -0 {pid}"),
        format!("ls /proc/{pid}/root/"),
    ] {
        let refused = run(&[], &script);
        assert_ne!(refused.code, Some(0), "{script}: {}", refused.out);
        assert!(refused.err.to_lowercase().contains("denied"), "{script}: {}", refused.err);
        let let_go = run(&["--security-opt=apparmor=unconfined"], &script);
        assert_eq!(let_go.code, Some(0), "{script}: {}", let_go.err);
    }
    let shared = run(&[], "echo 65536 >/proc/sys/kernel/shmmax && kill -0 $$ && umount /proc/sys");
    assert!(!shared.err.contains("denied"), "what is its own stays so: {}", shared.err);
}
