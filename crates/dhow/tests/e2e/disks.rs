//! File systems that are full, and that lose their power.

use std::path::PathBuf;

use testkit::{Disk, Host, Image};

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

fn app(host: &Host) -> PathBuf {
    let content: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let image = Image::busybox().unwrap().with_files("app:latest", &[("f", &content)]).unwrap();
    image.archive(host.scratch()).unwrap()
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

    // The container's own writes: its problem, and over when it is.
    let fills = ["run", "--rm", "--network", "none", "app", "dd", "if=/dev/zero", "of=/big"];
    let ran = host.run(&fills);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains(FULL), "{}", ran.err);
    assert_eq!(host.ok(&["ps", "-a", "--format", "{{.Names}}"]), "made");

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
    // What frees space works.
    host.ok(&["ps", "-a"]);
    host.ok(&["rm", "made"]);
    std::fs::remove_file(filler).unwrap();
    host.ok(&["create", "--name", "made", "app", "echo", "made"]);
    assert_eq!(host.ok(&["start", "-a", "made"]), "made");
    host.ok(&["rm", "made"]);
    host.until_idle();
    assert_eq!(host.settled(&before, |_| false), Vec::<String>::new());
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
    fn new(at_rest: &Disk, place: &std::path::Path) -> Self {
        let disk = at_rest.copy(&place.join("data"), &place.join("cut.img"));
        let host = Host::with_roots(DHOW, &disk.path().join("root"), &place.join("run"));
        let archive = app(&host).to_string_lossy().into_owned();
        Self { host, disk, archive }
    }

    /// All that was acknowledged is there; what was not can be had again.
    fn check(&self, what: &str, wants: Wants) {
        let host = &self.host;
        let run = |image: &str| {
            ["run", "--rm", "--network", "none", image, "echo", "up"].map(str::to_owned)
        };
        let index = std::fs::read(host.root().join("images/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index)
            .unwrap_or_else(|error| panic!("{what}: index.json: {error}"));
        assert!(index["manifests"].as_array().is_some_and(|list| !list.is_empty()), "{what}");
        for (image, is_acknowledged) in
            [("busybox", true), ("app", wants == Wants::App), ("other:1", wants == Wants::Tag)]
        {
            let is_there = host.run(&["image", "inspect", image]).code == Some(0);
            assert!(is_there || !is_acknowledged, "{what}: {image} is lost");
            if is_there {
                let words = run(image);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                assert_eq!(host.ok(&words), "up", "{what}");
                host.ok(&["save", "-o", "/dev/null", image]);
            }
        }
        if wants == Wants::Container {
            let group = host.ok(&["start", "-a", "made"]);
            assert!(group.contains("nogroup:x:65534:"), "{what}: {group}");
        }
        host.ok(&["load", "-i", &self.archive]);
        host.ok(&["save", "-o", "/dev/null", "app"]);
        let size = ["run", "--rm", "--network", "none", "app", "wc", "-c", "/data/f"];
        assert_eq!(host.ok(&size), "400000 /data/f", "{what}");
        host.ok(&["system", "check", "--repair"]);
        host.until_idle();
    }
}

/// What has been acknowledged before the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    App,
    Tag,
    Container,
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    use sys::failpoint::Point as P;
    let place = scratch();
    let at_rest = Disk::ext4(&place.path().join("rest"), &place.path().join("rest.img"), 48 * MIB);
    {
        let host =
            Host::with_roots(DHOW, &at_rest.path().join("root"), &place.path().join("rest-run"));
        let archive = testkit::busybox_archive(host.scratch()).unwrap();
        host.ok(&["load", "-i", &archive.to_string_lossy()]);
        host.keep_roots();
    }
    let load: &[Option<P>] = &[
        None,
        Some(P::PublishSync),
        Some(P::PublishSynced),
        Some(P::PublishBlobs),
        Some(P::PublishLayers),
        Some(P::PublishRows),
        Some(P::PublishCommit),
        Some(P::PublishDone),
    ];
    let create = ["create", "--name", "made", "-v", "vol:/etc", "busybox", "cat", "/etc/group"];
    let tag = ["tag", "busybox", "other:1"];
    for (words, points, wants) in [
        (&["load", "-i", "APP"][..], load, Wants::App),
        (&tag[..], &[None, Some(P::TagIndex), Some(P::TagDone)][..], Wants::Tag),
        (&create[..], &[None, Some(P::CreateRow), Some(P::CreateFilled)][..], Wants::Container),
    ] {
        for point in points {
            let name = point.map_or("done", P::name);
            let mut powered = Powered::new(&at_rest, place.path());
            let words: Vec<&str> = words
                .iter()
                .map(|word| if *word == "APP" { powered.archive.as_str() } else { word })
                .collect();
            let mut command = powered.host.command(&words);
            if let Some(point) = point {
                command.env("DHOW_FAILPOINT", format!("{}=kill", point.name()));
            }
            let output = command.output().unwrap();
            assert_eq!(output.status.success(), point.is_none(), "{name}: {output:?}");
            powered.disk.cut_power();
            // The machine went down: what lives in memory is gone too.
            let _ = std::fs::remove_dir_all(powered.host.run_root());
            let wants = if point.is_none() { wants } else { Wants::Nothing };
            powered.check(&format!("{name} of {}", words[0]), wants);
        }
    }
}
