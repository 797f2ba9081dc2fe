//! File systems that are full, and that lose their power.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitOptions, waitpid};
use sys::failpoint::Point;
use testkit::{Disk, FileSystem, Host, Image, until};

use crate::DHOW;

const MIB: u64 = 1 << 20;
/// What the kernel says of a full file system.
const FULL: &str = "No space left on device";

/// A place for images and mount points.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dhow-test-disk-").tempdir().unwrap()
}

/// One line that names what is full.
#[track_caller]
fn assert_full(said: &str, names: &str) {
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(FULL) && said.contains(names), "{said}");
}

fn image() -> Image {
    let content: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    Image::busybox().unwrap().with_files("app:latest", &[("f", &content)]).unwrap()
}

fn app(host: &Host) -> PathBuf {
    image().archive(host.scratch()).unwrap()
}

#[test]
fn a_full_data_root_is_named_and_nothing_is_left() {
    let place = scratch();
    let disk = Disk::memory(&place.path().join("data"), 3 * MIB);
    let root = disk.path().join("root");
    let host = Host::with_roots(DHOW, &root, &place.path().join("run"));
    let archive = app(&host);
    let archive = archive.to_string_lossy();
    let said = host.fails(1, &["load", "-i", &archive]);
    assert_full(&said, &root.to_string_lossy());
    disk.resize(64 * MIB);
    host.ok(&["load", "-i", &archive]);
    // What every first container leaves for the next.
    host.ok(&["network", "ls"]);
    host.ok(&["run", "--rm", "-p", "0:80", "-v", "/data", "app", "true"]);
    let before = host.at_rest();
    host.ok(&["create", "--name", "made", "app", "echo", "made"]);
    host.ok(&["run", "-d", "--name", "runs", "--network", "none", "app", "sleep", "1000"]);
    host.ok(&["volume", "create", "unused"]);
    host.ok(&["tag", "app", "other"]);

    // The container's own writes: its problem, and over when it is.
    let fills = ["run", "--rm", "--network", "none", "app", "dd", "if=/dev/zero", "of=/big"];
    let ran = host.run(&fills);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains(FULL), "{}", ran.err);
    assert_eq!(host.ok(&["ps", "-a", "--format", "{{.Names}}"]), "runs\nmade");

    let filler = disk.fill();
    let registry = testkit::Registry::start();
    let reference = registry.push_image(&Image::busybox().unwrap());
    for (code, words) in [
        (1, &["pull", &reference][..]),
        (125, &["run", "--rm", "-v", "/data", "app", "true"]),
        (1, &["create", "--name", "more", "-v", "/data", "app"]),
        (1, &["start", "made"]),
    ] {
        let said = host.fails(code, words);
        assert!(said.to_lowercase().contains("full") || said.contains(FULL), "{words:?}: {said}");
        let hint = |line: &&str| !line.is_empty() && !line.starts_with("Run 'dhow");
        assert_eq!(said.lines().filter(hint).count(), 1, "{said}");
        assert!(said.contains(&*root.to_string_lossy()), "{words:?} names no place: {said}");
    }
    // What frees space works, whatever cannot be written down.
    host.ok(&["ps", "-a"]);
    for words in
        [&["rm", "-f", "runs"][..], &["rm", "made"], &["volume", "rm", "unused"], &["rmi", "other"]]
    {
        host.ok(words);
        let _ = disk.fill();
    }
    std::fs::remove_file(filler).unwrap();
    host.ok(&["create", "--name", "made", "app", "echo", "made"]);
    assert_eq!(host.ok(&["start", "-a", "made"]), "made");
    host.ok(&["rm", "made"]);
    host.until_idle();
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
}

/// A container whose own disk, and dhow's, is full can still be looked at, entered, stopped and removed,
/// and what could not be done has not been done by half.
#[test]
fn a_container_on_a_full_disk_can_be_worked_with() {
    let place = scratch();
    let disk = Disk::memory(&place.path().join("data"), 24 * MIB);
    let host = Host::with_roots(DHOW, &disk.path().join("root"), &place.path().join("run"));
    let archive = testkit::busybox_archive(host.scratch()).unwrap();
    host.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
    let mount = "type=tmpfs,destination=/own,tmpfs-size=64k";
    let run =
        ["run", "-d", "--name", "full", "--network", "none", "-v", "vol:/vol", "--mount", mount];
    let says = "echo before; trap 'echo asked; exit 7' TERM; while :; do sleep 0.1; done";
    host.ok(&[&run[..], &["--cpu-shares", "512", "busybox", "sh", "-c", says]].concat());
    until("what it says", || host.ok(&["logs", "full"]) == "before");
    let sh = |script: &str| host.run(&["exec", "full", "sh", "-c", script]);

    // Its own disk: its own business.
    let own = sh("dd if=/dev/zero of=/own/x 2>&1");
    assert!(own.code == Some(1) && own.out.contains(FULL), "{own:?}");
    let filler = disk.fill();
    let before = host.ok(&["inspect", "full"]);
    for file in ["/vol/x", "/x"] {
        let ran = sh(&format!("dd if=/dev/zero of={file} 2>&1"));
        assert!(ran.code == Some(1) && ran.out.contains(FULL), "{file}: {ran:?}");
    }
    // What it says to its log is lost, and nothing waits for it.
    let loud = sh(
        "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done >/proc/1/fd/1; echo done",
    );
    assert_eq!(loud.out, "done", "{}", loud.err);
    assert!(host.ok(&["logs", "full"]).starts_with("before"));

    // What cannot be written down is refused in one line, and has not happened.
    for words in [&["update", "--cpu-shares", "256", "full"][..], &["commit", "full", "made"]] {
        let said = host.fails(1, words);
        assert!(said.contains(FULL) || said.contains("full"), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
    }
    assert_eq!(host.ok(&["inspect", "full"]), before);
    assert_eq!(host.ok(&["images", "-q", "made"]), "");
    let shares = "cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null";
    let shares = sh(shares).out;
    assert!(
        ["512", "59", "20"].contains(&&*shares),
        "the kernel's and the record's differ: {shares}"
    );
    assert_eq!(host.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "full running");
    assert_eq!(sh("echo alive").out, "alive");

    // It hears that it is to stop, and whoever stops it hears of it.
    host.ok(&["stop", "-t", "20", "full"]);
    let status = host.ok(&["ps", "-a", "--format", "{{.Status}}"]);
    assert!(status.starts_with("Exited (7) "), "{status}");
    assert!(host.ok(&["logs", "full"]).starts_with("before"));
    let said = host.fails(1, &["start", "full"]);
    assert!(said.to_lowercase().contains("full") || said.contains(FULL), "{said}");
    std::fs::remove_file(filler).unwrap();
    host.ok(&["start", "full"]);
    until("what it says", || host.ok(&["logs", "--tail", "1", "full"]).contains("before"));
    assert_eq!(sh("echo alive").out, "alive");
    let _ = disk.fill();
    host.ok(&["rm", "-f", "full"]);
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_full_runtime_root_is_named_and_nothing_is_left() {
    let place = scratch();
    let disk = Disk::memory(&place.path().join("tmp"), MIB);
    let (root, run) = (place.path().join("root"), disk.path().join("run"));
    let host = Host::with_roots(DHOW, &root, &run);
    let archive = app(&host);
    host.ok(&["load", "-i", &archive.to_string_lossy()]);
    host.ok(&["run", "--rm", "-p", "0:80", "app", "true"]);
    let before = host.at_rest();
    let filler = disk.fill();
    let ran = host.run(&["run", "--rm", "-p", "0:80", "app", "true"]);
    // A directory in memory costs no block, so that a container may run all the same.
    if ran.code != Some(0) {
        assert_eq!(ran.code, Some(125), "{}", ran.err);
        assert!(ran.err.contains(FULL) && ran.err.contains(&*run.to_string_lossy()), "{}", ran.err);
    }
    std::fs::remove_file(filler).unwrap();
    host.ok(&["run", "--rm", "-p", "0:80", "app", "true"]);
    host.until_idle();
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
}

/// A data root with an acknowledged image, ready to lose its power.
struct Powered {
    host: Host,
    disk: Disk,
    archive: String,
}

impl Powered {
    /// From a copy of `at_rest`, at the same path, so that the root is the same.
    fn new(at_rest: &Disk, place: &Path) -> Self {
        let disk = at_rest.copy(&place.join("data"), &place.join("cut.img"));
        let host = Host::with_roots(DHOW, &disk.path().join("root"), &place.join("run"));
        let archive = app(&host).to_string_lossy().into_owned();
        Self { host, disk, archive }
    }

    /// The power is cut, and comes back: what lives in memory is gone too.
    fn go_down(&mut self) {
        self.disk.cut_power();
        let _ = std::fs::remove_dir_all(self.host.run_root());
    }

    /// All that was acknowledged is there; what was not can be had again.
    fn check(&self, what: &str, wants: Wants<'_>) {
        let host = &self.host;
        let index = std::fs::read(host.root().join("images/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index)
            .unwrap_or_else(|error| panic!("{what}: index.json: {error}"));
        assert!(index["manifests"].as_array().is_some_and(|list| !list.is_empty()), "{what}");
        self.check_image(what, "busybox", true);
        for image in ["app", "other:1"] {
            self.check_image(what, image, false);
        }
        if let Wants::Image(image) = wants {
            self.check_image(what, image, true);
        }
        if let Wants::Container(says) = wants {
            let said = host.ok(&["start", "-a", "made"]);
            assert!(said.contains(says), "{what}: {said}");
        }
        // Whether or not the container that filled it was acknowledged.
        let read =
            ["run", "--rm", "-v", "vol:/etc", "--network", "none", "busybox", "cat", "/etc/group"];
        let group = host.ok(&read);
        assert!(group.contains("nogroup:x:65534:"), "{what}: the volume has {group:?}");
        host.ok(&["load", "-i", &self.archive]);
        host.ok(&["save", "-o", "/dev/null", "app"]);
        let size = ["run", "--rm", "--network", "none", "app", "wc", "-c", "/data/f"];
        assert_eq!(host.ok(&size), "400000 /data/f", "{what}");
        host.ok(&["system", "check", "--repair"]);
        host.until_idle();
    }

    /// An image is whole, or not there at all.
    fn check_image(&self, what: &str, image: &str, is_acknowledged: bool) {
        let host = &self.host;
        if host.run(&["image", "inspect", image]).code != Some(0) {
            assert!(!is_acknowledged, "{what}: {image} is lost");
            return;
        }
        assert_eq!(
            host.ok(&["run", "--rm", "--network", "none", image, "echo", "up"]),
            "up",
            "{what}"
        );
        host.ok(&["save", "-o", "/dev/null", image]);
    }
}

/// What has been acknowledged before the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants<'n> {
    Nothing,
    Image(&'n str),
    /// It says this when it is started.
    Container(&'n str),
}

/// The steps of a command that lead to what is acknowledged; without one it comes to its end.
type Steps = &'static [Option<Point>];

const PUBLISHED: Steps = &[
    None,
    Some(Point::PublishSync),
    Some(Point::PublishSynced),
    Some(Point::PublishBlobs),
    Some(Point::PublishLayers),
    Some(Point::PublishRows),
    Some(Point::PublishCommit),
    Some(Point::PublishDone),
];
const TAGGED: Steps = &[None, Some(Point::TagIndex), Some(Point::TagDone)];
const CREATED: Steps = &[None, Some(Point::CreateRow), Some(Point::CreateFilled)];

/// A data root at rest that has an image.
fn at_rest(kind: FileSystem, place: &Path) -> Disk {
    let disk = Disk::image(kind, &place.join("rest"), &place.join("rest.img"));
    let host = Host::with_roots(DHOW, &disk.path().join("root"), &place.join("rest-run"));
    let archive = testkit::busybox_archive(host.scratch()).unwrap();
    host.ok(&["load", "-i", &archive.to_string_lossy()]);
    host.keep_roots();
    disk
}

/// Cuts the power at a step of a command, or after it, and looks at what is left.
fn cut(at_rest: &Disk, place: &Path, words: &[&str], step: Option<Point>, wants: Wants<'_>) {
    let mut powered = Powered::new(at_rest, place);
    let archive = powered.archive.clone();
    let words = words.iter().map(|word| if *word == "APP" { archive.as_str() } else { word });
    let words: Vec<&str> = words.collect();
    let mut command = powered.host.command(&words);
    if let Some(step) = step {
        command.env("DHOW_FAILPOINT", format!("{}=kill", step.name()));
    }
    let name = step.map_or("done", Point::name);
    let output = command.output().unwrap();
    assert_eq!(output.status.success(), step.is_none(), "{name}: {output:?}");
    powered.go_down();
    let wants = if step.is_none() { wants } else { Wants::Nothing };
    powered.check(&format!("{name} of {}", words[0]), wants);
}

fn until_stopped(child: &std::process::Child) {
    let pid = Pid::from_child(child);
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
}

fn survives_power_cuts(kind: FileSystem) {
    let place = scratch();
    let at_rest = at_rest(kind, place.path());
    let registry = testkit::Registry::start();
    let reference = registry.push_image(&image());
    let create = ["create", "--name", "made", "-v", "vol:/etc", "busybox", "cat", "/etc/group"];
    for (words, steps, wants) in [
        (&["load", "-i", "APP"][..], PUBLISHED, Wants::Image("app")),
        (&["pull", &reference][..], PUBLISHED, Wants::Image(&reference)),
        (&["tag", "busybox", "other:1"][..], TAGGED, Wants::Image("other:1")),
        (&create[..], CREATED, Wants::Container("nogroup:x:65534:")),
    ] {
        for step in steps {
            cut(&at_rest, place.path(), words, *step, wants);
        }
    }
    // In the middle of a copy. The process must not end before the power is cut: as the last one that
    // has the image mounted it would flush the disk.
    let mut powered = Powered::new(&at_rest, place.path());
    let mut create = powered.host.command(&create);
    let mut create = powered
        .host
        .spawn(create.env("DHOW_FAILPOINT", format!("{}=stop", Point::CreateCopied.name())));
    until_stopped(&create);
    powered.go_down();
    create.kill().unwrap();
    create.wait().unwrap();
    powered.check("while a volume is filled", Wants::Nothing);

    let mut powered = Powered::new(&at_rest, place.path());
    powered.host.ok(&["run", "--name", "made", "busybox", "echo", "ran"]);
    powered.go_down();
    powered.check("after a run", Wants::Container("ran"));
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_on_ext4() {
    survives_power_cuts(FileSystem::Ext4);
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_on_xfs() {
    survives_power_cuts(FileSystem::Xfs);
}
