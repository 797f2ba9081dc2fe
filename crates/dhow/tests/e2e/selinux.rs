//! Labels of SELinux on a host that has none: what is asked for has no effect, as in Docker, and is read
//! all the same.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::host;

#[test]
#[expect(clippy::print_stderr, reason = "what is left out is said")]
fn a_label_is_read_and_has_no_effect_without_selinux() {
    if fs::exists("/sys/fs/selinux/enforce").unwrap() {
        eprintln!("left out: this host has SELinux, and what is tested is what happens without");
        return;
    }
    let host = host();
    let dir = host.scratch().join("given");
    fs::create_dir(&dir).unwrap();
    let bind = format!("{}:/given:Z", dir.display());
    let options =
        ["--security-opt", "label=type:container_t", "--security-opt", "label:level:s0:c1,c2"];
    let run = [&["run", "-d", "--name", "c1"][..], &options, &["-v", &bind, "busybox"]].concat();
    host.ok(&[&run[..], &["sleep", "1000"]].concat());
    let format = "{{.ProcessLabel}}|{{.MountLabel}}|{{json .HostConfig.SecurityOpt}}|\
                  {{(index .Mounts 0).Mode}}";
    assert_eq!(
        host.ok(&["inspect", "-f", format, "c1"]),
        r#"||["label=type:container_t","label:level:s0:c1,c2"]|Z"#
    );
    assert_eq!(host.ok(&["exec", "c1", "touch", "/given/x"]), "");
    let mut names = [0_u8; 256];
    assert_eq!(rustix::fs::listxattr(dir.join("x"), &mut names).unwrap(), 0);
    for bad in ["label=kind:x", "label=type:", "label=type:a b", "label=nothing"] {
        let told = host.fails(125, &["run", "--security-opt", bad, "busybox", "true"]);
        assert!(told.contains("invalid --security-opt"), "{bad}: {told}");
    }
    host.ok(&["run", "--rm", "--security-opt", "label=disable", "busybox", "true"]);
    assert!(!host.root().join("selinux").exists());
}

/// Whoever was killed while it made or removed a container has left the container's pair of categories.
#[test]
fn categories_of_containers_that_are_no_more_are_taken_back() {
    let host = host();
    let id = host.ok(&["create", "busybox"]);
    let dir = host.root().join("selinux");
    fs::create_dir(&dir).unwrap();
    let old = SystemTime::now() - Duration::from_secs(3600);
    let none = "0".repeat(64);
    for (pair, owner, made) in [
        ("c1,c2", &id, old),
        ("c1,c3", &none, old),
        ("c1,c4", &String::new(), old),
        // Its row may be on the way.
        ("c1,c5", &none, SystemTime::now()),
    ] {
        fs::write(dir.join(pair), owner).unwrap();
        fs::File::options().write(true).open(dir.join(pair)).unwrap().set_modified(made).unwrap();
    }
    host.ok(&["system", "check", "--repair"]);
    let left = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["c1,c2", "c1,c5"]);
}
