//! What the OCI's specification says of a container, section by section, and `dhow oci` does.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use serde_json::{Value, json};

use crate::oci::Bundle;

/// Runs the words in a container of this bundle and gives what they said.
#[track_caller]
pub(crate) fn said(bundle: &Bundle, words: &[&str]) -> String {
    bundle.runs(words);
    bundle.ok(&["run", "one"])
}

pub(crate) fn add(spec: &mut Value, kind: &str, path: Option<&str>) {
    let mut one = json!({ "type": kind });
    if let Some(path) = path {
        one["path"] = json!(path);
    }
    let list = spec["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|there| there["type"] != kind);
    list.push(one);
}

fn map(ranges: &[(u32, u32, u32)]) -> Value {
    let range = |(inside, outside, count): &(u32, u32, u32)| json!({ "containerID": inside, "hostID": outside, "size": count });
    ranges.iter().map(range).collect()
}

/// A bundle whose container has ids of its own, in several ranges.
pub(crate) fn with_users() -> Bundle {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        add(spec, "user", None);
        // Version 1 is mounted by who owns the namespace for it, and the sample has none there.
        add(spec, "cgroup", None);
        spec["linux"]["uidMappings"] = map(&[(0, 100_000, 1), (1, 200_000, 999)]);
        spec["linux"]["gidMappings"] = map(&[(0, 300_000, 10), (10, 400_000, 990)]);
        spec["root"]["readonly"] = json!(false);
    });
    chown(bundle.path().join("rootfs"), Some(100_000), Some(300_000)).unwrap();
    bundle
}

fn start(bundle: &Bundle, id: &str) -> i64 {
    bundle.create(id, &[]);
    bundle.ok(&["start", id]);
    bundle.state(id)["pid"].as_i64().unwrap()
}

/// config-linux.md, "User namespace mappings".
#[test]
fn user_namespace_mappings() {
    let bundle = with_users();
    let device = bundle.path().join("zero");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &device,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 5),
    )
    .unwrap();
    bundle.change(|spec| {
        spec["process"]["cwd"] = json!("/made/here");
        spec["linux"]["devices"] = json!([{ "path": device, "type": "c", "major": 1, "minor": 5 }]);
    });
    let script = "cat /proc/self/uid_map; ls -ldn / /dev /dev/null /made | while read m l u g r; \
                  do echo $m $u $g; done; ls -ln $0 >/dev/null && echo found";
    let told = said(&bundle, &["sh", "-c", script, device.to_str().unwrap()]);
    let lines: Vec<Vec<&str>> = told.lines().map(|l| l.split_whitespace().collect()).collect();
    let want = [
        vec!["0", "100000", "1"],
        vec!["1", "200000", "999"],
        vec!["drwxr-xr-x", "0", "0"],
        vec!["drwxr-xr-x", "0", "0"],
        vec!["crw-rw-rw-", "0", "0"],
        vec!["drwxr-xr-x", "0", "0"],
        vec!["found"],
    ];
    assert_eq!(lines, want);
    let made = fs::metadata(bundle.path().join("rootfs/made/here")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_000, 300_000));
    // One that the host has neither there nor by the kernel's name is none.
    bundle.change(|spec| spec["linux"]["devices"][0]["minor"] = json!(77));
    assert!(bundle.fails(&["run", "one"]).contains("no such device"), "a device");
    bundle.nothing_is_left();
}

/// config-linux.md, "User namespace mappings", are optional: without any every id is itself.
#[test]
fn a_user_namespace_without_mappings() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        add(spec, "user", None);
        add(spec, "cgroup", None);
    });
    let maps = ["cat", "/proc/self/uid_map", "/proc/self/gid_map"];
    let mut expected = Vec::new();
    for file in &maps[1..] {
        for line in fs::read_to_string(file).unwrap().lines() {
            let numbers: Vec<&str> = line.split_whitespace().collect();
            expected.push(format!("{0} {0} {1}", numbers[0], numbers[2]));
        }
    }
    bundle.runs(&maps);
    let ran = bundle.run(&["run", "one"]);
    let lines: Vec<String> =
        ran.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, expected, "{}", ran.err);
    assert!(ran.err.contains("linux.uidMappings is missing: every id is itself"), "{}", ran.err);
    bundle.runs(&["sleep", "1000"]);
    let pid = start(&bundle, "one");
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(namespace(&pid.to_string()), namespace("self"));
    assert_eq!(bundle.ok(&["exec", "one", "echo", "in"]), "in");
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// config-linux.md, "User namespace mappings": who enters, and who joins by path.
#[test]
fn a_user_namespace_is_entered_and_joined() {
    let bundle = with_users();
    bundle.change(|spec| {
        spec["process"]["user"] = json!({ "uid": 7, "gid": 12, "additionalGids": [3] });
    });
    bundle.runs(&["sleep", "1000"]);
    let pid = start(&bundle, "one");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("\nUid:\t200006\t") && status.contains("\nGid:\t400002\t"), "{status}");
    let script = "id -u; id -g; echo x >/proc/self/fd/2";
    let ran = bundle.run(&["exec", "--user", "1:2", "one", "sh", "-c", script]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("1\n2", "x"));
    let spec = fs::read(bundle.path().join("config.json")).unwrap();
    bundle.change(|spec| {
        spec["linux"]["cgroupsPath"] = json!(format!("/dhow-test-oci/{}-two", bundle.tag()));
        spec["linux"].as_object_mut().unwrap().remove("uidMappings");
        spec["linux"].as_object_mut().unwrap().remove("gidMappings");
        spec["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        add(spec, "user", Some(&format!("/proc/{pid}/ns/user")));
        add(spec, "pid", Some(&format!("/proc/{pid}/ns/pid")));
    });
    bundle.runs(&["sh", "-c", "cat /proc/1/comm; cat /proc/self/gid_map; id -u"]);
    let told = bundle.ok(&["run", "two"]);
    let words: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(words, ["sleep", "0", "300000", "10", "10", "400000", "990", "0"]);
    bundle.change(|spec| {
        spec["linux"]["uidMappings"] = map(&[(0, 100_000, 2)]);
        spec["linux"]["gidMappings"] = map(&[(0, 100_000, 2)]);
    });
    assert!(bundle.fails(&["run", "two"]).contains("are not those of the user namespace"));
    fs::write(bundle.path().join("config.json"), spec).unwrap();
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// config.md, "POSIX-platform Hooks", of a container with users of its own: those of its namespaces are its
/// root's.
#[test]
fn hooks_with_a_user_namespace() {
    let bundle = with_users();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.path(), mode).unwrap();
    let told = bundle.path().join("rootfs/told");
    fs::write(&told, "").unwrap();
    chown(&told, Some(100_000), Some(300_000)).unwrap();
    let line = format!("cat /proc/self/uid_map >>{}", told.display());
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", line] }]);
    bundle.change(|spec| {
        spec["hooks"] = json!({ "createRuntime": hook, "createContainer": hook });
    });
    said(&bundle, &["true"]);
    let told = fs::read_to_string(told).unwrap();
    let first: Vec<Vec<&str>> = told.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(first[0], ["0", "0", "4294967295"], "{told}");
    assert_eq!(first[1], ["0", "100000", "1"], "{told}");
    bundle.nothing_is_left();
}

/// config-linux.md, "Offset for Time Namespace".
#[test]
fn offset_for_time_namespace() {
    let bundle = Bundle::new();
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        bundle.change(|spec| add(spec, "time", None));
        bundle.runs(&["true"]);
        assert!(bundle.fails(&["run", "one"]).contains("new time namespace"));
        return bundle.nothing_is_left();
    }
    bundle.change(|spec| {
        add(spec, "time", None);
        spec["linux"]["timeOffsets"] =
            json!({ "boottime": { "secs": 40_000_000 }, "monotonic": { "secs": 5, "nanosecs": 6 } });
    });
    let offsets = said(&bundle, &["cat", "/proc/self/timens_offsets"]);
    let words: Vec<&str> = offsets.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "5", "6", "boottime", "40000000", "0"]);
    bundle.runs(&["sleep", "1000"]);
    let pid = start(&bundle, "one");
    let uptime = |text: String| text.split(['.', ' ']).next().unwrap().parse::<u64>().unwrap();
    assert!(uptime(bundle.ok(&["exec", "one", "cat", "/proc/uptime"])) > 40_000_000);
    bundle.change(|spec| {
        spec["linux"]["cgroupsPath"] = json!(format!("/dhow-test-oci/{}-two", bundle.tag()));
        add(spec, "time", Some(&format!("/proc/{pid}/ns/time")));
        spec["linux"].as_object_mut().unwrap().remove("timeOffsets");
    });
    bundle.runs(&["cat", "/proc/uptime"]);
    assert!(uptime(bundle.ok(&["run", "two"])) > 40_000_000);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.change(|spec| spec["linux"]["timeOffsets"] = json!({ "realtime": { "secs": 1 } }));
    bundle.change(|spec| add(spec, "time", None));
    bundle.change(|spec| {
        spec["linux"]["cgroupsPath"] = json!(format!("/dhow-test-oci/{}", bundle.tag()))
    });
    assert!(bundle.fails(&["run", "one"]).contains("neither monotonic nor boottime"));
    bundle.nothing_is_left();
}

/// config.md, "Linux Process": `scheduler`, `ioPriority`, `oomScoreAdj`; config-linux.md, "Personality";
/// config.md, "Domainname".
#[test]
fn what_the_kernel_is_told_of_a_process() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 9 });
        spec["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
        spec["process"]["oomScoreAdj"] = json!(1000);
        spec["linux"]["personality"] = json!({ "domain": "LINUX32" });
        spec["domainname"] = json!("example.org");
    });
    bundle.runs(&["sleep", "1000"]);
    let pid = start(&bundle, "one");
    let own = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let stat = own("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!((fields[16], fields[38]), ("9", "3"), "nice and policy");
    assert_eq!((own("oom_score_adj").trim(), own("personality").trim()), ("1000", "00000008"));
    let script = "uname -m; cat /proc/sys/kernel/domainname";
    let told = bundle.ok(&["exec", "one", "sh", "-c", script]);
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["i686", "example.org"]);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.change(|spec| spec["process"]["oomScoreAdj"] = json!(-1001));
    assert!(bundle.fails(&["run", "one"]).contains("process.oomScoreAdj: -1001 is out of range"));
    bundle.nothing_is_left();
}

/// config-linux.md, "Memory policy"; a kernel without nodes says that it has none.
#[test]
fn memory_policy() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["linux"]["memoryPolicy"] =
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    });
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        bundle.runs(&["true"]);
        assert!(bundle.fails(&["run", "one"]).contains("set memory policy"));
        return bundle.nothing_is_left();
    }
    bundle.runs(&["sleep", "1000"]);
    let pid = start(&bundle, "one");
    let maps = fs::read_to_string(format!("/proc/{pid}/numa_maps")).unwrap();
    assert!(maps.contains("interleave=static:0"), "{maps}");
    let told =
        bundle.ok(&["exec", "one", "grep", "-c", "interleave=static", "/proc/self/numa_maps"]);
    assert_ne!(told, "0");
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// config.md, "POSIX process": every kind of limit.
#[test]
fn rlimits_of_every_kind() {
    let bundle = Bundle::new();
    let kinds = [
        "AS",
        "CORE",
        "CPU",
        "DATA",
        "FSIZE",
        "LOCKS",
        "MEMLOCK",
        "MSGQUEUE",
        "NICE",
        "NOFILE",
        "NPROC",
        "RSS",
        "RTPRIO",
        "RTTIME",
        "SIGPENDING",
        "STACK",
    ];
    let all: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            // What the tests themselves may not exceed.
            let soft = if matches!(*kind, "NICE" | "RTPRIO") { 0 } else { 1 << 30 };
            let hard = if soft == 0 { 0 } else { soft + 1 };
            let (soft, hard) = match *kind {
                "NOFILE" | "NPROC" | "SIGPENDING" => (101, 102),
                "MSGQUEUE" | "MEMLOCK" => (4096, 8192),
                _ => (soft, hard),
            };
            json!({ "type": format!("RLIMIT_{kind}"), "soft": soft, "hard": hard })
        })
        .collect();
    bundle.change(|spec| spec["process"]["rlimits"] = json!(all));
    let told = said(&bundle, &["cat", "/proc/self/limits"]);
    let pairs: Vec<String> = told
        .lines()
        .skip(1)
        .map(|line| line[26..].split_whitespace().take(2).collect::<Vec<_>>().join("/"))
        .collect();
    let (large, small) = ("1073741824/1073741825", "101/102");
    let want = [
        large,
        large,
        large,
        large,
        large,
        large,
        small,
        small,
        "4096/8192",
        large,
        large,
        small,
        "4096/8192",
        "0/0",
        "0/0",
        large,
    ];
    assert_eq!(pairs, want, "{told}");
    bundle.nothing_is_left();
}

/// config.md, "Linux Process": `execCPUAffinity`.
#[test]
fn exec_cpu_affinity() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    start(&bundle, "one");
    let on = |affinity: Value| {
        let process = json!({
            "args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"],
            "user": { "uid": 0, "gid": 0 }, "execCPUAffinity": affinity,
        });
        fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
        let ran = bundle.run(&["exec", "--process", "process.json", "one"]);
        (ran.out.split_whitespace().last().unwrap_or_default().to_owned(), ran.err)
    };
    assert_eq!(on(json!({ "initial": "0-1", "final": "0" })).0, "0");
    let (_, wrong) = on(json!({ "final": "x" }));
    assert!(wrong.contains("execCPUAffinity"), "{wrong}");
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// crun's `run.oci.keep_original_groups`, which Podman asks for by `--group-add keep-groups`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a program of the host's has the groups")]
fn groups_of_the_caller_are_kept_for_who_asks() {
    let groups = |bundle: &Bundle, value: &str, words: &[&str]| {
        bundle.change(|spec| {
            spec["annotations"] = json!({ "run.oci.keep_original_groups": value });
            spec["process"]["user"]["additionalGids"] = json!([77]);
        });
        let mut command = std::process::Command::new("setpriv");
        command.args(["--groups", "41,42", crate::DHOW, "oci", "--root"]);
        command.arg(bundle.path().join("state")).args(words).current_dir(bundle.path());
        // Its streams are the container's then, and would keep us.
        if words.contains(&"-d") {
            let null = std::process::Stdio::null;
            command.stdout(null()).stderr(null());
            assert!(command.stdin(null()).status().unwrap().success());
            return Default::default();
        }
        let ran = testkit::Ran::new(&command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        (ran.out.trim_end().to_owned(), ran.err)
    };
    let status = ["grep", "Groups:", "/proc/self/status"];
    let bundle = Bundle::new();
    bundle.runs(&status);
    let (out, err) = groups(&bundle, "1", &["run", "one"]);
    assert_eq!(out, "Groups:\t41 42");
    assert!(err.contains("additionalGids are left out"), "{err}");
    assert_eq!(groups(&bundle, "0", &["run", "one"]).0, "Groups:\t77");
    bundle.runs(&["sleep", "1000"]);
    groups(&bundle, "1", &["run", "-d", "one"]);
    let (out, _) = groups(&bundle, "0", &[&["exec", "one"][..], &status].concat());
    assert_eq!(out, "Groups:\t41 42", "it is asked for once, of the container");
    bundle.ok(&["delete", "-f", "one"]);
    let bundle = with_users();
    bundle.runs(&status);
    // Nobody's, since they are none of the namespace.
    assert_eq!(groups(&bundle, "1", &["run", "one"]).0, "Groups:\t65534 65534");
    bundle.nothing_is_left();
}

/// crun's `delete --regex`.
#[test]
fn all_containers_that_an_expression_is_found_in_are_deleted() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    for id in ["web-1", "web-2", "other"] {
        bundle.change(|spec| {
            spec["linux"]["cgroupsPath"] = json!(format!("/dhow-test-oci/{}-{id}", bundle.tag()));
        });
        bundle.create(id, &[]);
    }
    bundle.ok(&["start", "web-2"]);
    // One that runs keeps the others from nothing.
    assert!(bundle.fails(&["delete", "--regex", "^web"]).contains("web-2"));
    assert_eq!(bundle.ok(&["list", "-q"]), "other\nweb-2");
    bundle.ok(&["delete", "-f", "-r", "b-[0-9]"]);
    assert_eq!(bundle.ok(&["list", "-q"]), "other");
    assert!(bundle.fails(&["delete", "-r", "(x"]).contains("invalid regular expression (x"));
    bundle.ok(&["delete", "-r", "nobody"]);
    bundle.ok(&["delete", "other"]);
    bundle.nothing_is_left();
}
