//! Writable layers: overlays of few and many layers, what a container changed, removal, healing.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use model::ContainerId;
use rustix::fs::Mode;
use store::{ChangeKind, ContainerLayer, ContainerRow, Durability, Persistence};
use sys::root::{Final, Root};

use crate::fixture::{Place, docker_archive, tar, two_layers};

/// A container of image `a:1`.
fn container(place: &Place, layers: &[Vec<u8>]) -> (ContainerId, ContainerLayer) {
    place.load(docker_archive(layers, &["a:1"])).unwrap();
    let image = place.store.images().resolve("a:1").unwrap();
    let row = ContainerRow {
        id: ContainerId::from_random([7; 32]),
        name: "web".parse().unwrap(),
        image: Some(image.id),
        created_ns: 1,
        auto_remove: false,
        record: "{}".to_owned(),
    };
    place.store.containers().insert(&row, Durability::Now).unwrap();
    (row.id, place.store.container_layer(&row.id).unwrap())
}

fn mounted(layer: &ContainerLayer, persistence: Persistence) -> Root {
    let mount: OwnedFd = layer.mount(persistence).unwrap();
    Root::from_fd(mount)
}

fn read(root: &Root, path: &str) -> Option<Vec<u8>> {
    root.read_untrusted(path, 1 << 20, Final::NoFollow).ok()
}

#[test]
fn a_container_sees_its_image_and_keeps_what_it_writes() {
    let place = Place::new();
    let (_, layer) = container(&place, &two_layers());
    let root = mounted(&layer, Persistence::Durable);
    assert_eq!(read(&root, "etc/kept").unwrap(), b"below");
    assert_eq!(read(&root, "etc/changed").unwrap(), b"new");
    assert_eq!(read(&root, "gone"), None, "the whiteout hides it");
    root.write_file("etc/mine", b"written", Mode::from(0o600)).unwrap();
    drop(root);
    let again = mounted(&layer, Persistence::Durable);
    assert_eq!(read(&again, "etc/mine").unwrap(), b"written");
}

#[test]
fn overlays_of_no_one_and_many_layers_mount() {
    for count in [0_u32, 1, 120] {
        let place = Place::new();
        let layers: Vec<Vec<u8>> = (0..count)
            .map(|n| tar(&[("same", n.to_string().as_bytes()), (&format!("only-{n}"), b"")]))
            .collect();
        let (_, layer) = container(&place, &layers);
        let root = mounted(&layer, Persistence::Durable);
        let top = count.checked_sub(1).map(|n| n.to_string().into_bytes());
        assert_eq!(read(&root, "same"), top, "{count} layers");
        assert_eq!(
            root.read_dir(".").unwrap().len(),
            usize::try_from(count).unwrap() + usize::from(count > 0)
        );
        root.write_file("new", b"", Mode::from(0o600)).unwrap();
    }
}

#[test]
fn a_volatile_layer_mounts_again() {
    let place = Place::new();
    let (_, layer) = container(&place, &two_layers());
    for round in 0..3 {
        let root = mounted(&layer, Persistence::Volatile);
        root.write_file(format!("round-{round}"), b"", Mode::from(0o600)).unwrap();
    }
    let root = mounted(&layer, Persistence::Volatile);
    assert!(read(&root, "round-0").is_some());
}

#[test]
fn the_root_directory_looks_like_the_images() {
    let place = Place::new();
    let mut writer = store::tar::Writer::new(Vec::new());
    let entry = store::tar::Entry {
        name: b"./".to_vec(),
        kind: store::tar::Kind::Directory,
        mode: 0o1711,
        uid: 5,
        ..store::tar::Entry::default()
    };
    writer.begin(&entry).unwrap();
    let (_, layer) = container(&place, &[writer.finish().unwrap()]);
    let stat = mounted(&layer, Persistence::Durable).metadata(".").unwrap();
    assert_eq!((stat.st_mode & 0o7777, stat.st_uid), (0o1711, 5));
}

#[test]
fn changes_are_listed_as_docker_does() {
    let place = Place::new();
    let (_, layer) = container(&place, &two_layers());
    assert_eq!(layer.changes(&[]).unwrap(), []);
    let root = mounted(&layer, Persistence::Durable);
    root.write_file("etc/changed", b"12345", Mode::from(0o644)).unwrap();
    root.remove("etc/kept").unwrap();
    root.mkdir("new", Mode::from(0o755)).unwrap();
    root.write_file("new/file", b"123", Mode::from(0o644)).unwrap();
    root.link("new/file", "new/second").unwrap();
    let changes: Vec<(String, ChangeKind)> = layer
        .changes(&[])
        .unwrap()
        .into_iter()
        .map(|change| (change.path.to_str().unwrap().to_owned(), change.kind))
        .collect();
    use ChangeKind::{Added, Deleted, Modified};
    let expected = [
        ("/etc", Modified),
        ("/etc/changed", Modified),
        ("/etc/kept", Deleted),
        ("/new", Added),
        ("/new/file", Added),
        ("/new/second", Added),
    ];
    assert_eq!(changes, expected.map(|(path, kind)| (path.to_owned(), kind)));
}

#[test]
fn sizes_are_counted_as_docker_does() {
    let place = Place::new();
    let (id, layer) = container(&place, &two_layers());
    let usage = || place.store.container_usage(&id).unwrap();
    let image = place.store.images().resolve("a:1").unwrap();
    assert_eq!((usage().written.unwrap(), usage().layers), (0, image.size()));
    let root = mounted(&layer, Persistence::Durable);
    root.write_file("etc/changed", b"12345", Mode::from(0o644)).unwrap();
    root.remove("etc/kept").unwrap();
    root.mkdir("new", Mode::from(0o755)).unwrap();
    root.write_file("new/file", b"123", Mode::from(0o644)).unwrap();
    root.link("new/file", "new/second").unwrap();
    root.symlink("file", "new/symlink").unwrap();
    assert_eq!(usage().written.unwrap(), 12, "5, 3 once, and the 4 of the symlink's target");
    let never_started = ContainerId::from_random([8; 32]);
    let usage = place.store.container_usage(&never_started).unwrap();
    assert_eq!((usage.written.unwrap(), usage.layers), (0, 0));
}

#[test]
fn a_removed_container_leaves_nothing_but_its_image() {
    let place = Place::new();
    let before = {
        place.load(docker_archive(&two_layers(), &["a:1"])).unwrap();
        place.counts()
    };
    let (id, layer) = container(&place, &two_layers());
    let root = mounted(&layer, Persistence::Durable);
    // Deeper than any recursion or descriptor limit would bear.
    let mut path = String::new();
    for _ in 0..40 {
        path.push_str("d/");
        root.mkdir(&path, Mode::from(0o700)).unwrap();
    }
    drop(root);
    std::fs::write(layer.dir().join("hosts"), "x").unwrap();
    assert!(place.store.remove_container(&id, &[], Durability::Now).unwrap().was_there);
    assert!(!place.store.remove_container(&id, &[], Durability::Now).unwrap().was_there);
    assert_eq!(place.counts(), before);
}

#[test]
fn a_lost_or_damaged_layer_heals_from_its_blob() {
    // As a power cut leaves what was not flushed: files of the right name without a byte.
    let empty = |path: std::path::PathBuf| std::fs::write(path, "").unwrap();
    let damages: [&dyn Fn(&Path); 4] = [
        &|dir| std::fs::remove_dir_all(dir).unwrap(),
        &|dir| {
            empty(dir.join("seal"));
            empty(dir.join("fs/etc/kept"));
        },
        &|dir| {
            std::fs::remove_file(dir.join("seal")).unwrap();
            empty(dir.join("fs/etc/kept"));
        },
        &|dir| std::fs::remove_dir_all(dir.join("fs")).unwrap(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let place = Place::new();
        let (id, layer) = container(&place, &two_layers());
        damage(layer.lowers()[1].parent().unwrap());
        let healed = place.store.container_layer(&id).unwrap();
        let root = mounted(&healed, Persistence::Durable);
        assert_eq!(read(&root, "etc/kept").unwrap(), b"below", "damage {number}");
        place.store.gc().unwrap();
        assert_eq!(place.counts()["snapshots"], 2, "damage {number}: the remains are collected");
    }
}

#[test]
fn a_layer_without_its_blob_is_named() {
    let place = Place::new();
    let (id, layer) = container(&place, &two_layers());
    let image = place.store.images().resolve("a:1").unwrap();
    std::fs::remove_dir_all(layer.lowers()[1].parent().unwrap()).unwrap();
    let blob = image.layers[0].blob;
    std::fs::remove_file(place.dir.path().join("images/blobs/sha256").join(blob.hex())).unwrap();
    let error = place.store.container_layer(&id).unwrap_err().to_string();
    assert!(error.contains(&image.layers[0].diff_id.to_string()), "{error}");
    assert!(error.contains("pull or load"), "{error}");
    // Loading heals both.
    place.load(docker_archive(&two_layers(), &["a:1"])).unwrap();
    place.store.container_layer(&id).unwrap();
}

#[test]
fn a_container_outlives_the_forced_removal_of_its_image() {
    let place = Place::new();
    let (id, _) = container(&place, &two_layers());
    let images = place.store.images();
    let none = std::collections::BTreeSet::new();
    let refused = images.remove("a:1", store::Force::No, &none).unwrap_err().to_string();
    let image = images.resolve("a:1").unwrap();
    let expected = format!(
        "conflict: unable to remove repository reference \"a:1\" (must force) - container {} is \
         using its referenced image {}",
        id.short(),
        image.id.short()
    );
    assert_eq!(refused, expected);
    let running = std::collections::BTreeSet::from([id]);
    let by_id = image.id.to_string();
    let refused = images.remove(&by_id, store::Force::Yes, &running).unwrap_err().to_string();
    assert!(refused.contains("(cannot be forced) - image is being used by running container"));
    let removed = images.remove("a:1", store::Force::Yes, &none).unwrap();
    assert_eq!(removed.len(), 2, "the name and the image, no layer: {removed:?}");
    let layer = place.store.container_layer(&id).unwrap();
    assert_eq!(read(&mounted(&layer, Persistence::Durable), "etc/changed").unwrap(), b"new");
    place.store.remove_container(&id, &[], Durability::Now).unwrap();
    place.store.gc().unwrap();
    place.assert_empty("container and image are gone");
}

#[test]
fn a_directory_of_the_host_gets_a_throw_away_layer() {
    let place = Place::new();
    let host = tempfile::tempdir().unwrap();
    std::fs::set_permissions(host.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(host.path().join("file"), "host").unwrap();
    let row = ContainerRow {
        id: ContainerId::from_random([8; 32]),
        name: "sandbox".parse().unwrap(),
        image: None,
        created_ns: 1,
        auto_remove: true,
        record: String::new(),
    };
    place.store.containers().insert(&row, Durability::Eventual).unwrap();
    let layer = place.store.container_layer_on(&row.id, host.path()).unwrap();
    let root = mounted(&layer, Persistence::Volatile);
    root.write_file("file", b"sandbox", Mode::from(0o644)).unwrap();
    assert_eq!(read(&root, "file").unwrap(), b"sandbox");
    assert_eq!(std::fs::read(host.path().join("file")).unwrap(), b"host");
}
