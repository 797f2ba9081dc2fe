//! `spec`: a specification to begin with, as runc writes it: a shell in `rootfs`.

use std::fs::OpenOptions;
use std::io::Write;

use serde_json::{Value, json};

use super::OCI_VERSION;
use super::arguments::SpecArgs;
use super::fault::Fault;
use crate::HostFacts;
use crate::facts::CgroupView;

/// Writes config.json, which must not be there.
pub(super) fn spec(args: &SpecArgs) -> Result<(), Fault> {
    let path = args.bundle.join("config.json");
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.map_err(Fault::file("make", &path))?;
    // A user mounts control groups in a namespace for them alone.
    let view = if args.rootless { CgroupView::Unified } else { HostFacts::detect()?.cgroups };
    let mut spec = sample(&view);
    if args.rootless {
        for_a_user(&mut spec);
    }
    writeln!(file, "{spec:#}").map_err(Fault::file("write", path))
}

/// What an ordinary user can have: one's own ids alone, the host's network, no limits.
fn for_a_user(spec: &mut Value) {
    let range = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = range(rustix::process::geteuid().as_raw());
    linux["gidMappings"] = range(rustix::process::getegid().as_raw());
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|one| one["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
    }
    for mount in spec["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            // A sysfs belongs to the network namespace, which is the host's.
            let options = json!(["rbind", "nosuid", "noexec", "nodev", "ro"]);
            *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": options });
        }
        if let Some(options) = mount["options"].as_array_mut() {
            let is_owner = |word: &str| word.starts_with("gid=") || word.starts_with("uid=");
            options.retain(|word| !word.as_str().is_some_and(is_owner));
        }
    }
}

/// Of version 1 a container has its own view without a namespace for it, and runc's users may add one.
fn sample(view: &CgroupView) -> Value {
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount"];
    kinds.extend((*view == CgroupView::Unified).then_some("cgroup"));
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "dhow",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

fn mounts() -> Value {
    let mount = |to: &str, kind: &str, from: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": from, "options": options });
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}
