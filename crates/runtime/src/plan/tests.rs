//! Plans of whole specifications, as snapshots.

use std::ffi::CStr;

use expect_test::{Expect, expect};
use oci_spec::runtime::{LinuxDevice, Spec};
use serde_json::{Value, json};

use super::*;
use crate::capabilities::CapSet;
use crate::step::Entry;

fn facts(cgroups: CgroupView) -> HostFacts {
    HostFacts {
        capabilities: CapSet::up_to(40),
        last_capability: 40,
        cgroups,
        apparmor: false,
        selinux: false,
        users: UserIds::Hosts,
    }
}

fn extras() -> Extras {
    Extras {
        id: "c1".to_owned(),
        given: Namespaces::NONE,
        filter: Filter::None,
        orphan: Orphan::Lives,
        hooks_at: None,
        keyring: Keyring::New,
        preserved: 0,
        starter: Starter::Parent,
        entrance: Entrance::Pivot,
        customs: Customs::default(),
        program: None,
    }
}

/// The least that can be planned.
fn small() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/bin:relative:/bin"],
            "cwd": "/",
        },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
    })
}

fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[key] = value;
    spec
}

/// On a host with AppArmor.
pub(crate) fn confined(profile: &str) -> InitPlan {
    let spec = with(small(), "/process/apparmorProfile", json!(profile));
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let facts = HostFacts { apparmor: true, ..facts(CgroupView::Unified) };
    plan(&spec, &facts, &extras()).unwrap()
}

fn planned(spec: Value, extras: &Extras) -> Result<InitPlan, PlanError> {
    let spec: Spec = serde_json::from_value(spec).unwrap();
    plan(&spec, &facts(CgroupView::Unified), extras)
}

fn check(spec: Value, expect: Expect) {
    let text = match planned(spec, &extras()) {
        Ok(plan) => plan.to_string(),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&text);
}

/// What only the host's root may do comes first; all else belongs to the namespace.
#[test]
fn in_a_user_namespace() {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let spec = with(small(), "/linux/uidMappings", map.clone());
    let spec = with(spec, "/linux/gidMappings", map);
    let spec = with(spec, "/linux/maskedPaths", json!(["/proc/keys"]));
    let spec = with(spec, "/process/oomScoreAdj", json!(5));
    let spec = with(spec, "/process/user", json!({ "uid": 33, "gid": 33 }));
    let given = Extras { given: Namespaces::USER, ..extras() };
    expect![[r#"
        new namespaces 
        open user namespace Given
        tree 0: tmpfs with 12 entries for ids 0 100000 65536
        join the cgroup
        set affinity to any processor
        make a procfs of its own
        set oom_score_adj 5
        give the pipes to user 100033 of the host
        enter the user namespace
        become root of the user namespace
        be born into new namespaces mnt,pid
        isolate mounts
        make the mask
        attach the root file system
        mount tmpfs on /dev [nosuid,strictatime]
        new session keyring
        mask /proc/keys
        enter the root file system
        make / slave
        take the standard streams
        set umask 0022
        approach /
        drop bounding capabilities 1ffffffffff
        become user 33:33
        set capabilities 0
        go to /
        find the program
        keep the descriptors below 3 only
        await go
        execute the program
    "#]]
    .assert_eq(&planned(spec.clone(), &given).unwrap().to_string());
    let unmapped = with(spec.clone(), "/process/user", json!({ "uid": 65536, "gid": 0 }));
    let refused = planned(unmapped, &given).unwrap_err().to_string();
    assert_eq!(refused, "process.user.uid: 65536 is out of range");
    // A map without a namespace, and the other way round.
    for (spec, extras) in [(spec, extras()), (small(), given)] {
        let refused = planned(spec, &extras).unwrap_err().to_string();
        assert_eq!(refused, "either linux.uidMappings or a user namespace is missing");
    }
}

/// Nothing of a mount namespace that others have is cut off, covered or put away, and only who has said where the root
/// is attached gets such a container.
#[test]
fn in_a_mount_namespace_of_others() {
    let in_place = Extras { entrance: Entrance::InPlace("/b/rootfs".into()), ..extras() };
    let shared = with(small(), "/linux/namespaces", json!([{ "type": "pid" }]));
    let text = planned(shared.clone(), &in_place).unwrap().to_string();
    let lines: Vec<&str> = text.lines().take_while(|line| *line != "set umask 0022").collect();
    expect![[r#"
        new namespaces pid
        join the cgroup
        set affinity to any processor
        attach the root file system in place at /b/rootfs
        mount tmpfs on /dev [nosuid,strictatime] source=tmpfs mode=755 size=65536k with 12 entries
        new session keyring
        enter the root file system by chroot
        make / slave
        take the standard streams"#]]
    .assert_eq(&lines.join("\n"));
    let joined = json!([{ "type": "mount", "path": "/n" }, { "type": "pid" }]);
    let joined = with(small(), "/linux/namespaces", joined);
    let text = planned(joined.clone(), &in_place).unwrap().to_string();
    assert!(text.contains("join mnt namespace\nattach the root file system in place"), "{text}");
    for spec in [shared, joined] {
        let refused = planned(spec, &extras()).unwrap_err().to_string();
        assert_eq!(refused, "a mount namespace in linux.namespaces is missing");
    }
    let refused = planned(small(), &in_place).unwrap_err().to_string();
    assert!(refused.contains("with a mount namespace of its own"), "{refused}");
}

/// What is set before the user namespace is entered is what its root could not set, and a child keeps.
#[test]
fn clocks_and_turns_come_before_the_process_is_born_again() {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 9 }]);
    let spec = with(small(), "/linux/uidMappings", map.clone());
    let spec = with(spec, "/linux/gidMappings", map);
    let kinds =
        json!([{ "type": "mount" }, { "type": "time" }, { "type": "network", "path": "/n" }]);
    let mut spec = with(spec, "/linux/namespaces", kinds);
    spec["linux"]["timeOffsets"] =
        json!({ "monotonic": { "secs": -1 }, "boottime": { "nanosecs": 2 } });
    spec["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_RT", "priority": 3 });
    spec["process"]["scheduler"] = json!({ "policy": "SCHED_DEADLINE", "runtime": 1 });
    spec["linux"]["personality"] = json!({ "domain": "LINUX32" });
    let given = Extras { given: Namespaces::USER, ..extras() };
    let text = planned(spec, &given).unwrap().to_string();
    let lines: Vec<&str> = text.lines().skip_while(|line| *line != "join the cgroup").collect();
    let (before, after) =
        lines.split_at(lines.iter().position(|l| *l == "isolate mounts").unwrap());
    expect![[r#"
        join the cgroup
        set affinity to any processor
        make a procfs of its own
        set I/O priority 1:3
        give the pipes to user 100000 of the host
        join net namespace
        new time namespace
        enter the user namespace
        become root of the user namespace
        be born into new namespaces mnt"#]]
    .assert_eq(&before.join("\n"));
    assert!(after.contains(&"set scheduling policy 6") && after.contains(&"set personality 0x8"));
}

#[test]
fn the_least() {
    check(
        small(),
        expect![[r#"
            new namespaces mnt,pid
            join the cgroup
            set affinity to any processor
            isolate mounts
            attach the root file system
            mount tmpfs on /dev [nosuid,strictatime] source=tmpfs mode=755 size=65536k with 12 entries
            new session keyring
            enter the root file system
            make / slave
            take the standard streams
            set umask 0022
            approach /
            drop bounding capabilities 1ffffffffff
            become user 0:0
            set capabilities 0
            go to /
            find the program
            keep the descriptors below 3 only
            await go
            execute the program
        "#]],
    );
}

/// As the engine writes it, with most of what a user can ask for.
fn full() -> Value {
    let mount = |target: &str, kind: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({ "destination": target, "type": kind, "source": kind, "options": options })
    };
    let bind = |source: &str, target: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({ "destination": target, "type": "bind", "source": source, "options": options })
    };
    let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
    let mut spec = small();
    spec["hostname"] = json!("box");
    spec["root"]["readonly"] = json!(true);
    spec["process"]["terminal"] = json!(true);
    spec["process"]["consoleSize"] = json!({ "height": 24, "width": 80 });
    spec["process"]["cwd"] = json!("/srv/app");
    spec["process"]["user"] = json!({ "uid": 33, "gid": 33, "additionalGids": [33, 44] });
    spec["process"]["capabilities"] = json!({ "bounding": caps, "effective": [], "permitted": [] });
    spec["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096 }]);
    spec["process"]["oomScoreAdj"] = json!(0);
    spec["mounts"] = json!([
        mount("/proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "nosuid,strictatime,mode=755"),
        mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "nosuid,noexec,nodev,ro"),
        mount("/run", "tmpfs", "tmpcopyup,size=1m"),
        bind("/v/hosts", "/etc/hosts", "rbind,rprivate,rw"),
        bind("/v/data", "/data", "rbind,rslave,rro"),
    ]);
    let kinds = ["mount", "pid", "network", "ipc", "uts", "cgroup"];
    spec["linux"] = json!({
        "namespaces": kinds.map(|kind| json!({ "type": kind })),
        "rootfsPropagation": "rprivate",
        "sysctl": { "net.core.somaxconn": "9", "kernel.sem": "1 2 3 4" },
        "devices": [{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
    });
    spec
}

#[test]
fn everything_at_once() {
    let extras =
        Extras { filter: Filter::Given, orphan: Orphan::Dies, given: Namespaces::NET, ..extras() };
    let text = planned(full(), &extras).unwrap().to_string();
    expect![[r#"
        new namespaces mnt,pid,ipc,uts
        open net namespace Given
        tree 0: tmpfs filled from /run
        tree 1: mounts[6] /v/hosts Recursive
        tree 2: mounts[7] /v/data Recursive
        join the cgroup
        set affinity to any processor
        join net namespace
        new cgroup namespace
        isolate mounts
        make the mask
        attach the root file system
        mount proc on /proc [nosuid,nodev,noexec] source=proc
        mount tmpfs on /dev [nosuid,strictatime] source=tmpfs mode=755 with 14 entries
        mount devpts on /dev/pts [nosuid,noexec] source=devpts newinstance ptmxmode=0666 mode=0620 gid=5
        mount sysfs on /sys [ro,nosuid,nodev,noexec] source=sysfs
        mount cgroup2 on /sys/fs/cgroup [ro,nosuid,nodev,noexec] source=cgroup
        mount tmpfs on /run []
        mount /v/hosts on /etc/hosts [ rprivate]
        mount /v/data on /data [ all:ro rslave]
        make working directory /srv/app
        open a terminal
        bind /dev/console
        make a procfs of its own
        set sys/kernel/sem
        set sys/net/core/somaxconn
        set host name "box"
        new session keyring
        make /proc/sys read-only
        mask /proc/kcore
        make the root file system read-only
        enter the root file system
        set limit Nofile
        set oom_score_adj 0
        take the standard streams
        set umask 0022
        approach /srv/app
        drop bounding capabilities 1ffffffffde
        become user 33:33
        set capabilities 200000
        go to /srv/app
        find the program
        die with the parent
        keep the descriptors below 3 only
        await go
        load the seccomp filter
        set capabilities 0
        execute the program
    "#]].assert_eq(&text);
}

#[test]
fn version_1_control_groups_are_a_directory_of_mounts() {
    let lists = [vec!["cpu".to_owned(), "cpuacct".to_owned()], vec!["name=systemd".to_owned()]];
    let mount = json!([{ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }]);
    let spec = serde_json::from_value(with(small(), "/mounts", mount)).unwrap();
    let plan = plan(&spec, &facts(CgroupView::Legacy(lists.to_vec())), &extras()).unwrap();
    let text = plan.to_string();
    let is_about = |line: &&str| line.contains("/cgroup") || line.contains("cgroup namespace");
    let mounts: Vec<&str> = text.lines().filter(is_about).collect();
    expect![[r#"
        open cgroup namespace Path("/proc/self/ns/cgroup")
        mount tmpfs on /sys/fs/cgroup [ro,nosuid,nodev,noexec] source=tmpfs mode=755 with 4 entries
        new cgroup namespace
        mount cgroup on /sys/fs/cgroup/cpu,cpuacct [ro,nosuid,nodev,noexec] source=cgroup cpu cpuacct
        mount cgroup on /sys/fs/cgroup/systemd [ro,nosuid,nodev,noexec] source=cgroup name=systemd
        join cgroup namespace"#]].assert_eq(&mounts.join("\n"));
}

/// A mount of its own would give the host's hierarchy other options.
#[test]
fn a_container_without_a_cgroup_namespace_is_shown_its_callers_version_2() {
    let mount = json!([{ "type": "cgroup", "source": "cgroup", "destination": "/sys/fs/cgroup",
        "options": ["ro", "nosuid"] }]);
    let plan = planned(with(small(), "/mounts", mount), &extras()).unwrap().to_string();
    let about: Vec<&str> = plan.lines().filter(|line| line.contains("/sys/fs/cgroup")).collect();
    expect![[r#"
        tree 0: mounts[0] /sys/fs/cgroup Recursive
        mount /sys/fs/cgroup on /sys/fs/cgroup [ro,nosuid rslave]"#]]
    .assert_eq(&about.join("\n"));
}

#[test]
fn a_device_of_the_host_takes_the_place_of_a_standard_one_but_not_of_the_terminals() {
    let device = |path: &str, minor: i64| json!({ "path": path, "type": "c", "major": 5, "minor": minor, "fileMode": 0o600 });
    let devices = json!([device("/dev/ptmx", 2), device("/dev/tty", 0), device("/dev/core", 7)]);
    let spec = with(small(), "/linux/devices", devices);
    let devices: Vec<LinuxDevice> =
        serde_json::from_value(spec["linux"]["devices"].clone()).unwrap();
    let makers = UserIds::Hosts;
    let dev::Devices { content, elsewhere, shown: _ } =
        dev::plan(&devices, dev::Console::Absent, makers).unwrap();
    let named = |wanted: &CStr| {
        let all = content.iter().filter(|entry| match entry {
            Entry::Node(name, _) | Entry::Link(name, _) => name.as_c_str() == wanted,
            Entry::File(_) | Entry::Directory(_) => false,
        });
        all.map(|entry| matches!(entry, Entry::Link(..))).collect::<Vec<_>>()
    };
    assert_eq!(
        (named(c"ptmx"), named(c"tty"), named(c"core")),
        (vec![true], vec![false], vec![false])
    );
    assert_eq!(elsewhere, Vec::new());
}

#[test]
fn namespaces_by_path_are_joined() {
    let namespaces = json!([
        { "type": "mount" },
        { "type": "pid", "path": "/proc/7/ns/pid" },
        { "type": "ipc", "path": "/proc/7/ns/ipc" },
        { "type": "uts", "path": "" },
    ]);
    let text =
        planned(with(small(), "/linux/namespaces", namespaces), &extras()).unwrap().to_string();
    let about: Vec<&str> = text.lines().filter(|line| line.contains("namespace")).collect();
    expect![[r#"
        new namespaces mnt,uts
        open pid namespace Path("/proc/7/ns/pid")
        open ipc namespace Path("/proc/7/ns/ipc")
        join ipc namespace"#]]
    .assert_eq(&about.join("\n"));
}

#[test]
fn a_filter_without_no_new_privs_keeps_one_capability_until_it_is_loaded() {
    let extras = Extras { filter: Filter::Given, ..extras() };
    let last = |spec: Value| {
        let text = planned(spec, &extras).unwrap().to_string();
        let from = text.find("set capabilities").unwrap();
        text[from..].to_owned()
    };
    expect![[r#"
        set capabilities 200000
        go to /
        find the program
        keep the descriptors below 3 only
        await go
        load the seccomp filter
        set capabilities 0
        execute the program
    "#]]
    .assert_eq(&last(small()));
    expect![[r#"
        set capabilities 0
        go to /
        find the program
        keep the descriptors below 3 only
        await go
        load the seccomp filter
        execute the program
    "#]]
    .assert_eq(&last(with(small(), "/process/noNewPrivileges", json!(true))));
}

#[test]
fn names_are_looked_for_in_the_absolute_directories_of_path() {
    let candidates = |args: Value| {
        let plan = planned(with(small(), "/process/args", args), &extras()).unwrap();
        format!("{:?}", plan.program.candidates)
    };
    expect![[r#"InPath(["/usr/bin/sh", "/bin/sh"])"#]].assert_eq(&candidates(json!(["sh"])));
    expect![[r#"At("./sh")"#]].assert_eq(&candidates(json!(["./sh"])));
}

#[test]
fn capabilities_that_the_host_lacks_are_left_out() {
    let caps = json!(["CAP_CHOWN", "CAP_SYS_RESOURCE"]);
    let caps = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    let spec = serde_json::from_value(with(small(), "/process/capabilities", caps)).unwrap();
    let mut facts = facts(CgroupView::Unified);
    facts.capabilities = CapSet::DOCKER_DEFAULT;
    let plan = plan(&spec, &facts, &extras()).unwrap();
    assert!(plan.to_string().contains("set capabilities 1\n"), "{plan}");
}

#[test]
fn a_capability_without_a_name_yet_is_dropped_as_well() {
    let spec = serde_json::from_value(small()).unwrap();
    let mut facts = facts(CgroupView::Unified);
    facts.last_capability = 45;
    let plan = plan(&spec, &facts, &extras()).unwrap();
    assert!(plan.to_string().contains("drop bounding capabilities 3fffffffffff\n"), "{plan}");
}

/// Each wrong specification, and the one line that it gets.
#[test]
fn what_cannot_be_done_is_refused_with_its_name() {
    let mount = |target: &str, kind: &str, source: &str, option: &str| {
        let mount =
            json!({ "destination": target, "type": kind, "source": source, "options": [option] });
        with(small(), "/mounts", json!([mount]))
    };
    let device = |kind: &str| {
        let device = json!({ "path": "/dev/x", "type": kind, "major": -1, "minor": 0 });
        with(small(), "/linux/devices", json!([device]))
    };
    let twice = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "pid" }]);
    let user = json!([{ "type": "mount" }, { "type": "user" }]);
    let wrong = [
        with(small(), "/linux/namespaces", json!([{ "type": "pid" }])),
        with(small(), "/linux/namespaces", twice),
        with(small(), "/linux/namespaces", user),
        with(small(), "/hostname", json!("box")),
        with(small(), "/linux/sysctl", json!({ "kernel.core_pattern": "|/x" })),
        with(small(), "/linux/sysctl", json!({ "net.core.somaxconn": "1" })),
        with(small(), "/linux/rootfsPropagation", json!("sideways")),
        with(small(), "/linux/personality", json!({ "domain": "LINUX32", "flags": ["X"] })),
        with(small(), "/linux/timeOffsets", json!({ "boottime": { "secs": 1 } })),
        with(small(), "/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "1-0" })),
        with(small(), "/linux/uidMappings", json!([{ "containerID": 0, "hostID": 1, "size": 1 }])),
        mount("/proc", "tmpfs", "tmpfs", "ro"),
        mount("/x/../proc/self", "bind", "/x", "rbind"),
        mount("/proc/sys/kernel", "bind", "/x", "rbind"),
        mount("/data", "bind", "relative", "rbind"),
        mount("/data", "bind", "/x", "sideways"),
        mount("/data", "bind", "/x", "idmap"),
        mount("/data", "tmpfs", "tmpfs", &format!("size={}", "1".repeat(300))),
        device("c"),
        device("a"),
    ];
    expect![[r#"
        a mount namespace in linux.namespaces is missing
        linux.namespaces lists pid twice
        a user namespace that is not brought is not supported
        hostname needs a uts namespace of the container's own
        sysctl "kernel.core_pattern" is not in a namespace of its own, so it would change the host
        sysctl "net.core.somaxconn" needs a network namespace of the container's own
        linux.rootfsPropagation: "sideways" is none of private, slave, shared, unbindable
        linux.personality.flags is not supported
        linux.timeOffsets needs a time namespace of the container's own
        linux.memoryPolicy.nodes: "1-0" is no list of numbers, or one of them is too large
        linux.gidMappings is missing
        mount on "/proc": cannot be mounted inside /proc
        mount on "/proc/self": cannot be mounted inside /proc
        mount on "/proc/sys/kernel": cannot be mounted inside /proc
        mount on "/data": the source of a bind must be an absolute path
        mount on "/data": option "sideways" is not supported
        mount on "/data": idmap without mappings needs a user namespace of the container's own
        mount on "/data": option "size" has more than 255 bytes
        device "/dev/x": its major or minor number is out of range
        device "/dev/x": type a is for rules, not for nodes"#]]
    .assert_eq(&refusals(wrong));
}

#[test]
fn processes_that_cannot_be_are_refused_with_their_field() {
    let wrong = [
        with(small(), "/process/args", json!([])),
        with(small(), "/process/args", json!(["a\0b"])),
        with(small(), "/process/env", json!(["NAME"])),
        with(small(), "/process/cwd", json!("relative")),
        with(small(), "/process/terminal", json!(true)),
        with(small(), "/process/user", json!({ "uid": u32::MAX, "gid": 0 })),
        with(small(), "/process/oomScoreAdj", json!(1001)),
        with(small(), "/process/rlimits", json!([{ "type": "RLIMIT_CPU", "soft": 2, "hard": 1 }])),
        with(small(), "/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 })),
        with(small(), "/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": 20 })),
        with(small(), "/process/scheduler", json!({ "policy": "SCHED_BATCH", "priority": 1 })),
        with(small(), "/process/scheduler", json!({ "policy": "SCHED_FIFO", "runtime": 1 })),
        with(small(), "/process/apparmorProfile", json!("strict")),
        with(small(), "/process/selinuxLabel", json!("a:b:c")),
    ];
    expect![[r#"
        process.args is missing
        process.args: "a\0b" holds a NUL byte
        process.env: "NAME" is not of the form NAME=VALUE
        process.cwd: "relative" is not an absolute path
        a devpts mount on /dev/pts for process.terminal is missing
        process.user.uid: 4294967295 is out of range
        process.oomScoreAdj: 1001 is out of range
        process.rlimits[].soft: 2 is out of range
        process.ioPriority.priority: 8 is out of range
        process.scheduler.nice: 20 is out of range
        process.scheduler.priority without SCHED_FIFO or SCHED_RR is not supported
        process.scheduler.runtime, deadline and period without SCHED_DEADLINE is not supported
        process.apparmorProfile without AppArmor in the kernel is not supported
        process.selinuxLabel without SELinux in the kernel is not supported"#]]
    .assert_eq(&refusals(wrong));
}

fn refusals<const N: usize>(wrong: [Value; N]) -> String {
    let refusal = |spec| planned(spec, &extras()).map_or_else(|e| e.to_string(), |p| p.to_string());
    wrong.map(refusal).join("\n")
}

#[test]
fn an_exec_joins_and_then_does_the_same_as_a_start() {
    let spec = full();
    let process = serde_json::from_value(spec["process"].clone()).unwrap();
    let plan =
        plan_exec(&process, &facts(CgroupView::Unified), &Surroundings::default(), &extras())
            .unwrap();
    let lines: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    expect![[r#"
        join the cgroup
        set affinity to any processor
        make a procfs of its own
        enter the container's namespaces
        new session keyring
        open a terminal
        set limit Nofile
        set oom_score_adj 0
        take the standard streams
        set umask 0022
        approach /srv/app
        drop bounding capabilities 1ffffffffde
        become user 33:33
        set capabilities 0
        go to /srv/app
        find the program
        keep the descriptors below 3 only
        await go
        execute the program"#]]
    .assert_eq(&lines.join("\n"));
}

/// Where there is SELinux, the program has its label, and so have the file systems that are made.
#[test]
fn labels_are_given_to_the_program_and_to_new_mounts() {
    let label = "system_u:system_r:container_t:s0:c1,c2";
    let files = "system_u:object_r:container_file_t:s0:c1,c2";
    let mut spec = with(small(), "/process/selinuxLabel", json!(label));
    spec["linux"]["mountLabel"] = json!(files);
    let lines = |spec: &Value, facts: &HostFacts| {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        plan(&spec, facts, &extras()).map_err(|error| error.to_string()).map(|p| p.to_string())
    };
    let host = facts(CgroupView::Unified);
    let refused = "process.selinuxLabel without SELinux in the kernel is not supported";
    assert_eq!(
        lines(&with(small(), "/process/selinuxLabel", json!(label)), &host),
        Err(refused.to_owned())
    );
    let refused = "linux.mountLabel without SELinux in the kernel is not supported";
    assert_eq!(lines(&spec, &host), Err(refused.to_owned()));
    let plan = lines(&spec, &HostFacts { selinux: true, ..host }).unwrap();
    let labelled: Vec<&str> = plan.lines().filter(|line| line.contains("s0:c1,c2")).collect();
    let dev =
        labelled.iter().any(|line| line.starts_with("mount tmpfs on /dev") && line.contains(files));
    assert!(dev && !labelled.iter().any(|line| line.contains("proc on")), "{labelled:?}");
    let set = plan.find(&format!("set SELinux label {label:?}")).unwrap();
    assert!(plan.find("make a procfs of its own").unwrap() < set, "{plan}");
    assert!(set < plan.find("execute the program").unwrap());
    let twice = with(
        small(),
        "/mounts",
        json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/t", "type": "tmpfs", "source": "t", "options": ["context=own"] },
        ]),
    );
    let mut spec = twice;
    spec["linux"]["mountLabel"] = json!(files);
    let host = HostFacts { selinux: true, ..facts(CgroupView::Unified) };
    let plan = lines(&spec, &host).unwrap();
    assert!(
        plan.lines().any(|line| line.contains("on /t ")
            && line.contains("context=own")
            && !line.contains(files)),
        "{plan}"
    );
}

/// The root file system is where hooks look for it, and can be written to while they run.
#[test]
fn hooks_are_awaited_before_the_root_is_entered() {
    let mut spec = with(small(), "/hooks", json!({ "createContainer": [{ "path": "/bin/hook" }] }));
    spec["root"]["readonly"] = json!(true);
    let planned = |spec: &Value, extras: &Extras| {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let plan = plan(&spec, &facts(CgroupView::Unified), extras);
        plan.map_err(|error| error.to_string()).map(|plan| plan.to_string())
    };
    assert_eq!(planned(&spec, &extras()), Err("a bundle for hooks is missing".to_owned()));
    let with_bundle = Extras { hooks_at: Some("/run/b/rootfs".into()), ..extras() };
    let plan = planned(&spec, &with_bundle).unwrap();
    let order = [
        "attach the root file system at /run/b/rootfs",
        "await hooks",
        "make the root file system read-only",
        "enter the root file system",
    ];
    let places: Vec<usize> = order.iter().map(|line| plan.find(line).unwrap()).collect();
    assert!(places.is_sorted(), "{plan}");
    spec["hooks"] = json!({ "createContainer": [{ "path": "bin/hook" }] });
    let wrong = planned(&spec, &with_bundle).unwrap_err();
    assert_eq!(wrong, "createContainer hook bin/hook: its path is not absolute");
    let plan = planned(&small(), &with_bundle).unwrap();
    assert!(plan.contains("attach the root file system\n") && !plan.contains("hooks"), "{plan}");
}

#[test]
fn in_a_user_namespace_the_hosts_devices_are_shown() {
    let spec = json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 } },
        "linux": {
            "namespaces": [{ "type": "mount" }],
            "devices": [
                { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 },
                { "path": "/dev/pipe", "type": "p" },
                { "path": "/srv/disk", "type": "b", "major": 8, "minor": 0 },
            ],
        },
    });
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let nested = HostFacts { users: UserIds::Nested, ..facts(CgroupView::Unified) };
    let plan = plan(&spec, &nested, &extras()).unwrap();
    let shown: Vec<String> = plan
        .trees
        .iter()
        .filter_map(|tree| match tree {
            Tree::Device { path, node } => Some(format!("{} {node}", path.display())),
            Tree::Bind { .. } | Tree::Filled { .. } | Tree::CopyUp { .. } | Tree::Users(_) => None,
        })
        .collect();
    assert_eq!(shown.len(), 8);
    assert_eq!(shown[0], "/dev/null character device 1:3");
    assert_eq!(shown[6], "/dev/fuse character device 10:229");
    assert_eq!(shown[7], "/srv/disk block device 8:0");
    let nodes = plan.steps.iter().filter(|step| matches!(step, Step::Node(..))).count();
    assert_eq!(nodes, 0, "nobody makes nodes there");
}
