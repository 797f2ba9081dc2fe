//! `dhow oci` and containers whose mount namespace others have: what is mounted for them is where others see it, and
//! nothing of the others' changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sys::mount::{Attributes, Depth, Propagation};

use crate::oci::Bundle;
use crate::oci_spec::add;

/// A container without a mount namespace, which sleeps.
fn without_mounts() -> Bundle {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        let list = spec["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|one| one["type"] != "mount");
        spec["linux"]["maskedPaths"] = json!([]);
        spec["linux"]["readonlyPaths"] = json!([]);
    });
    bundle.runs(&["sleep", "1000"]);
    bundle
}

fn started(bundle: &Bundle) -> i64 {
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    bundle.state("one")["pid"].as_i64().unwrap()
}

/// Where something is mounted below a directory, as a process sees it.
fn mounted(process: &str, below: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let points = table.lines().map(|line| PathBuf::from(line.split(' ').nth(4).unwrap()));
    points.filter(|point| point.starts_with(below)).collect()
}

fn namespace(process: impl std::fmt::Display) -> PathBuf {
    fs::read_link(format!("/proc/{process}/ns/mnt")).unwrap()
}

/// A mount of a directory on itself, which others share; gone when it is dropped.
struct Shared(PathBuf);

impl Shared {
    fn new(place: &Path, source: &Path) -> Self {
        fs::create_dir_all(place).unwrap();
        let tree = sys::mount::clone_tree(source, Depth::Single).unwrap();
        let how = Attributes::propagation(Propagation::Shared);
        sys::mount::set_attr(&tree, Depth::Single, &how).unwrap();
        sys::mount::attach(&tree, fs::File::open(place).unwrap()).unwrap();
        Self(place.to_owned())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// config-linux.md, "Namespaces": a type that is not named is the runtime's. Every process of the container is in its
/// root all the same, and the root goes with it.
#[test]
fn a_container_without_a_mount_namespace_has_its_root_among_the_hosts_mounts() {
    let bundle = without_mounts();
    let root = bundle.path().join("rootfs");
    let pid = started(&bundle);
    assert_eq!(namespace(pid), namespace("self"));
    assert_eq!(fs::read_link(format!("/proc/{pid}/root")).unwrap(), root);
    let there = mounted("self", &root);
    assert!(there.contains(&root) && there.contains(&root.join("dev/pts")), "{there:?}");
    let inside = |words: &[&str]| bundle.ok(&[&["exec", "one"], words].concat());
    assert_eq!(inside(&["ls", "/"]), "bin\ndev\nproc\nsys");
    assert_eq!(inside(&["sh", "-c", "cd ..; echo */busybox"]), "bin/busybox");
    let table = inside(&["cat", "/proc/self/mountinfo"]);
    let mut points = table.lines().map(|line| line.split(' ').nth(4).unwrap());
    assert_eq!((points.next(), points.next()), (Some("/"), Some("/proc")), "{table}");
    bundle.ok(&["delete", "-f", "one"]);
    assert_eq!(mounted("self", &root), Vec::<PathBuf>::new());
    bundle.nothing_is_left();
}

/// As a unit with `PrivateTmp=` has one, in which the container's root is a copy of no importance.
#[test]
#[expect(clippy::disallowed_methods, reason = "a program of the host's makes the namespace")]
fn who_deletes_it_may_be_among_other_mounts() {
    let bundle = without_mounts();
    let root = bundle.path().join("rootfs");
    started(&bundle);
    assert!(mounted("self", &root).contains(&root));
    let state = bundle.path().join("state");
    let mut delete = Command::new("unshare");
    delete.args(["--mount", crate::DHOW, "oci", "--root"]).arg(state);
    assert!(delete.args(["delete", "-f", "one"]).status().unwrap().success());
    assert_eq!(mounted("self", &root), Vec::<PathBuf>::new());
    bundle.nothing_is_left();
}

/// A host with systemd shares its mounts with copies of itself, as other containers have them.
#[test]
fn what_is_mounted_in_such_a_root_does_not_reach_copies_of_the_hosts_mounts() {
    let bundle = without_mounts();
    let root = bundle.path().join("rootfs");
    let own = Shared::new(&root, &root);
    let copy = Shared::new(&bundle.path().join("copy"), &root);
    // The container's root lies below the mount that is shared.
    let inner = root.join("inner");
    fs::create_dir(&inner).unwrap();
    for name in ["bin", "proc", "dev", "sys"] {
        fs::create_dir(inner.join(name)).unwrap();
    }
    testkit::install("/bin/busybox", &inner.join("bin/sleep"));
    bundle.change(|spec| spec["root"]["path"] = json!("rootfs/inner"));
    started(&bundle);
    let seen = mounted("self", &copy.0);
    assert_eq!(seen, [copy.0.clone(), copy.0.join("inner")]);
    bundle.ok(&["delete", "-f", "one"]);
    assert_eq!(mounted("self", &copy.0), std::slice::from_ref(&copy.0));
    assert_eq!(mounted("self", &root), std::slice::from_ref(&own.0));
    drop(own);
    bundle.nothing_is_left();
}

/// Neither a start that fails nor one that is killed leaves its root behind.
#[test]
fn a_root_whose_container_was_never_made_does_not_stay() {
    let bundle = without_mounts();
    let root = bundle.path().join("rootfs");
    let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let seen = bundle.path().join("seen");
    let script =
        format!("grep -c {} /proc/self/mountinfo >{}; exit 1", root.display(), seen.display());
    bundle.change(|spec| spec["hooks"] = json!({ "createRuntime": hook(&script) }));
    assert!(bundle.fails(&["run", "one"]).contains("createRuntime hook #0"));
    assert_ne!(fs::read_to_string(&seen).unwrap(), "0\n");
    assert_eq!(mounted("self", &root), Vec::<PathBuf>::new());
    bundle.nothing_is_left();
    bundle.change(|spec| spec["hooks"] = json!({ "createRuntime": hook("kill -9 $PPID; read x") }));
    let killed = bundle.run(&["create", "one"]);
    assert_eq!(killed.code, None, "{}", killed.err);
    assert!(mounted("self", &root).contains(&root));
    bundle.ok(&["delete", "-f", "one"]);
    assert_eq!(mounted("self", &root), Vec::<PathBuf>::new());
    bundle.nothing_is_left();
}

/// What lies on the container's root is not the container's to take away.
#[test]
fn a_root_that_somebody_has_covered_is_not_uncovered() {
    let bundle = without_mounts();
    let root = bundle.path().join("rootfs");
    started(&bundle);
    let cover = Shared::new(&root, &bundle.path().join("state"));
    let refused = bundle.fails(&["delete", "-f", "one"]);
    assert!(refused.contains("something else is mounted on"), "{refused}");
    drop(cover);
    bundle.ok(&["delete", "one"]);
    assert_eq!(mounted("self", &root), Vec::<PathBuf>::new());
    bundle.nothing_is_left();
}

/// What would need mounts of the container's own is refused, and not left out.
#[test]
fn what_needs_a_mount_namespace_is_refused_without_one() {
    let refused = |change: fn(&mut Value)| {
        let bundle = without_mounts();
        bundle.change(change);
        let told = bundle.fails(&["run", "one"]);
        assert_eq!(mounted("self", &bundle.path().join("rootfs")), Vec::<PathBuf>::new());
        bundle.nothing_is_left();
        told
    };
    let told = refused(|spec| spec["linux"]["maskedPaths"] = json!(["/proc/keys"]));
    assert!(told.contains("linux.maskedPaths needs a mount namespace"), "{told}");
    let told = refused(|spec| spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]));
    assert!(told.contains("linux.readonlyPaths needs a mount namespace"), "{told}");
    let told = refused(|spec| {
        add(spec, "user", None);
        let one = json!([{ "containerID": 0, "hostID": 100_000, "size": 9 }]);
        spec["linux"]["uidMappings"] = one.clone();
        spec["linux"]["gidMappings"] = one;
    });
    assert!(told.contains("a user namespace needs a mount namespace"), "{told}");
}

/// A process in a mount namespace of its own.
struct Holder(Child);

impl Holder {
    #[expect(clippy::disallowed_methods, reason = "a program of the host's makes the namespace")]
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "echo; exec sleep 1000"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// config-linux.md, "Namespaces", `path`: the container is in that mount namespace and in its own root, and what the
/// namespace had stays in it.
#[test]
fn a_mount_namespace_is_joined_and_left_as_it_was() {
    let bundle = without_mounts();
    let root = bundle.path().join("rootfs");
    let holder = Holder::new();
    let theirs = holder.0.id().to_string();
    let path = format!("/proc/{theirs}/ns/mnt");
    bundle.change(|spec| add(spec, "mount", Some(&path)));
    let before = fs::read_to_string(format!("/proc/{theirs}/mountinfo")).unwrap();
    let pid = started(&bundle);
    assert_eq!(namespace(pid), namespace(&theirs));
    assert!(mounted(&theirs, &root).contains(&root.join("dev/pts")));
    assert_eq!(mounted("self", &root), Vec::<PathBuf>::new());
    assert_eq!(bundle.ok(&["exec", "one", "ls", "/"]), "bin\ndev\nproc\nsys");
    bundle.ok(&["delete", "-f", "one"]);
    assert_eq!(fs::read_to_string(format!("/proc/{theirs}/mountinfo")).unwrap(), before);
    // One that is gone has taken the root along.
    started(&bundle);
    drop(holder);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}
