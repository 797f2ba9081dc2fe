//! `load`, `save`, `import`: what comes in, what is refused, and that nothing else stays.

use std::io::Cursor;

use model::image::{Compression, RunConfig};
use model::{ImageId, Reference};
use store::{Force, Import, LoadError, Removed, SaveError, oci};

use crate::fixture::{
    Place, blob_name, config_of, docker_archive, docker_members, gzip, oci_archive, pack, tar,
    tar_with_link, two_layers, zstd,
};

fn read(place: &Place, image: &str, layer_from_top: usize, path: &str) -> Option<Vec<u8>> {
    let record = place.store.images().resolve(image).unwrap();
    let diff_ids: Vec<_> = record.layers.iter().map(|layer| layer.diff_id).collect();
    let lowers = place.store.lowers(&diff_ids).unwrap();
    std::fs::read(lowers[layer_from_top].join(path)).ok()
}

#[test]
fn a_docker_archive_becomes_an_image() {
    let place = Place::new();
    let layers = two_layers();
    let loaded = place.load(docker_archive(&layers, &["busybox:1", "x/y:latest"])).unwrap();
    let id = ImageId(oci::digest(&config_of(&layers)));
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id, id, "Docker's id: the digest of the configuration");
    let tags: Vec<String> = loaded[0].tags.iter().map(Reference::familiar).collect();
    assert_eq!(tags, ["busybox:1", "x/y:latest"]);
    assert_eq!(read(&place, "busybox:1", 0, "etc/changed").unwrap(), b"new");
    assert_eq!(read(&place, "x/y", 1, "etc/kept").unwrap(), b"below");
    let record = place.store.images().resolve(&id.short()).unwrap();
    assert_eq!(record.size(), record.layers.iter().map(|layer| layer.size).sum::<u64>());
    assert_eq!(record.config.config.cmd, Some(vec!["sh".to_owned()]));
    let counts = place.counts();
    assert_eq!(counts["images/blobs/sha256"], 4, "manifest, configuration, two layers");
    assert_eq!((counts["snapshots"], counts["ingest"], counts["staging"]), (2, 0, 0));
    assert_eq!((counts["leases"], counts["trash"]), (0, 0));
}

#[test]
fn members_may_come_in_any_order_and_compressed_anyhow() {
    let layers = two_layers();
    let mut backwards = docker_members(&layers, &["a:1"]);
    backwards.reverse();
    let compressed: Vec<_> = docker_members(&layers, &["a:1"])
        .into_iter()
        .map(|(name, bytes)| {
            let bytes = if name.ends_with("layer.tar") { gzip(&bytes) } else { bytes };
            (name, bytes)
        })
        .collect();
    let plain = docker_archive(&layers, &["a:1"]);
    for (what, archive) in [
        ("backwards", pack(&backwards)),
        ("gzip layers", pack(&compressed)),
        ("gzip", gzip(&plain)),
        ("zstd", zstd(&plain)),
        ("trailing zeros", [plain.clone(), vec![0; 10240]].concat()),
    ] {
        let place = Place::new();
        let loaded = place.load(archive).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(loaded[0].id.0, oci::digest(&config_of(&layers)), "{what}");
        assert_eq!(read(&place, "a:1", 0, "etc/changed").unwrap(), b"new", "{what}");
    }
}

#[test]
fn a_layer_that_is_a_symlink_to_another_is_followed() {
    let layer = tar(&[("file", b"content")]);
    let layers = vec![layer.clone(), layer];
    let mut members = docker_members(&layers, &["a:1"]);
    let link = format!("{:064x}/layer.tar", 1);
    members.retain(|(name, _)| *name != link);
    let files: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let place = Place::new();
    place.load(tar_with_link(&files, &link, &format!("../{:064x}/layer.tar", 0))).unwrap();
    assert_eq!(place.counts()["snapshots"], 1, "one tree for both");
    let record = place.store.images().resolve("a:1").unwrap();
    assert_eq!(record.layers.len(), 2);
}

#[test]
fn an_oci_archive_keeps_its_manifest() {
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        let place = Place::new();
        let archive = oci_archive(&two_layers(), compression, "registry.example/a/b:v1");
        place.load(pack(&archive.members)).unwrap();
        let record = place.store.images().resolve("registry.example/a/b:v1").unwrap();
        assert_eq!(record.manifest, oci::digest(&archive.manifest), "{compression:?}");
        assert_eq!(record.id.0, oci::digest(&archive.config));
        let (_, bytes) = place.store.images().manifest(&record.id).unwrap();
        assert_eq!(bytes, archive.manifest);
        assert_eq!(place.store.images().config_bytes(&record.id).unwrap().unwrap(), archive.config);
        assert_eq!(record.tags.len(), 1, "ref.name alone names nothing");
    }
}

#[test]
fn what_is_saved_loads_as_docker_archive_and_as_oci_archive() {
    let from = Place::new();
    from.load(pack(
        &oci_archive(&two_layers(), Compression::Gzip, "docker.io/library/a:1").members,
    ))
    .unwrap();
    let original = from.store.images().resolve("a:1").unwrap();
    from.store.images().tag(&original.id, &"docker.io/library/a:2".parse().unwrap()).unwrap();
    let mut saved = Vec::new();
    from.store.save(&["a"], &mut saved).unwrap();
    for (what, without) in [("both", "nothing"), ("docker", "index.json"), ("oci", "manifest.json")]
    {
        let to = Place::new();
        let loaded = to.load(without_member(&saved, without)).unwrap();
        assert_eq!(loaded[0].id, original.id, "{what}");
        let tags: Vec<String> = loaded[0].tags.iter().map(Reference::familiar).collect();
        assert_eq!(tags, ["a:1", "a:2"], "{what}");
        let record = to.store.images().resolve("a:2").unwrap();
        if without != "index.json" {
            assert_eq!(record.manifest, original.manifest, "{what}");
        }
        assert_eq!(read(&to, "a:1", 0, "etc/changed").unwrap(), b"new", "{what}");
    }
}

/// The archive, with one member called otherwise.
fn without_member(archive: &[u8], name: &str) -> Vec<u8> {
    let mut reader = store::tar::Reader::new(archive);
    let mut writer = store::tar::Writer::new(Vec::new());
    let mut entry = store::tar::Entry::default();
    while reader.next_entry(&mut entry).unwrap() {
        if entry.name == name.as_bytes() {
            entry.name = b"ignored".to_vec();
        }
        writer.begin(&entry).unwrap();
        while let Some(piece) = reader.piece().unwrap() {
            let len = piece.bytes.len();
            writer.data(piece.bytes).unwrap();
            reader.consume(len);
        }
    }
    writer.finish().unwrap()
}

#[test]
fn loading_again_changes_nothing_and_tags_move() {
    let place = Place::new();
    let first = docker_archive(&two_layers(), &["a:1"]);
    place.load(first.clone()).unwrap();
    let before = place.counts();
    let again = place.load(first).unwrap();
    assert_eq!((place.counts(), again[0].replaced.len()), (before, 0));
    let other = place.load(docker_archive(&[tar(&[("f", b"")])], &["a:1"])).unwrap();
    assert_eq!(other[0].replaced.len(), 1);
    assert_eq!(other[0].replaced[0].1, again[0].id, "the old one lost its name");
    assert_eq!(place.store.images().get(&again[0].id).unwrap().unwrap().tags, []);
    assert_eq!(place.store.images().resolve("a:1").unwrap().id, other[0].id);
}

#[test]
fn a_truncated_archive_leaves_nothing() {
    let members = oci_archive(&two_layers(), Compression::Gzip, "a/b:1").members;
    for archive in [docker_archive(&two_layers(), &["a:1"]), pack(&members)] {
        // Two zero blocks end an archive; without the second one it is still whole.
        let end = archive.len() - 1024;
        for length in (0..end).step_by(257).chain([end - 1]) {
            let place = Place::new();
            let answer = place.load(archive[..length].to_vec());
            assert!(answer.is_err(), "{length} of {} bytes were an image", archive.len());
            place.assert_empty(&format!("{length} bytes"));
        }
        let whole = gzip(&archive);
        let place = Place::new();
        place.load(whole[..whole.len() - 9].to_vec()).unwrap_err();
        place.assert_empty("cut gzip");
    }
}

#[test]
fn a_layer_of_a_known_size_but_another_content_is_unpacked() {
    let place = Place::new();
    let layer = |content: &[u8]| tar(&[("file", content)]);
    place.load(docker_archive(&[layer(b"one")], &["a:1"])).unwrap();
    place.load(docker_archive(&[layer(b"two")], &["b:1"])).unwrap();
    assert_eq!(read(&place, "a:1", 0, "file").unwrap(), b"one");
    assert_eq!(read(&place, "b:1", 0, "file").unwrap(), b"two");
    assert_eq!(place.counts()["snapshots"], 2);
}

type Change = fn(&mut Vec<(String, Vec<u8>)>);

fn replace(members: &mut [(String, Vec<u8>)], ending: &str, old: &str, new: &str) {
    let (_, bytes) = members.iter_mut().find(|(name, _)| name.ends_with(ending)).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(old), "{text}");
    *bytes = text.replacen(old, new, 1).into_bytes();
}

#[test]
fn each_corrupt_docker_archive_is_named_and_leaves_nothing() {
    let cases: [(Change, &str); 10] = [
        (|m| m.retain(|(n, _)| !n.ends_with("layer.tar")), "the archive lacks 000"),
        (|m| m.retain(|(n, _)| n.len() != 69), "which manifest.json names"),
        (|m| m.retain(|(n, _)| n != "manifest.json"), "before version 1.10"),
        (|m| m.clear(), "neither manifest.json nor index.json"),
        (|m| replace(m, "manifest.json", "[", "{"), "manifest.json: image list cannot be read"),
        (|m| replace(m, "manifest.json", "a:1", "A:1"), "the archive's tag \"A:1\" cannot be used"),
        (|m| m[2].1[1024] ^= 1, "has the wrong content: its diff id is"),
        (|m| m[2].1[0] ^= 1, "/layer.tar: entry"),
        (|m| m[2].1.truncate(700), "/layer.tar: entry"),
        (|m| m[2].1 = tar(&[("../../escape", b"x")]), "the name leads outside the image"),
    ];
    for (change, message) in cases {
        let place = Place::new();
        let mut members = docker_members(&two_layers(), &["a:1"]);
        change(&mut members);
        let error = place.load(pack(&members)).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
        assert!(!error.contains('\n'), "more than one line: {error:?}");
        place.assert_empty(&error);
    }
}

#[test]
fn each_corrupt_oci_archive_is_named_and_leaves_nothing() {
    let blob = |m: &Vec<(String, Vec<u8>)>, n: usize| m[n].0.clone();
    let cases: [(Change, &str); 7] = [
        (|m| drop(m.remove(3)), "which index.json names"),
        (|m| drop(m.remove(4)), "which the manifest names"),
        (|m| drop(m.remove(5)), "which the manifest names"),
        (|m| m[3].1.push(b' '), "bytes, its descriptor says"),
        (|m| replace(m, "", "amd64", "amd65"), "has another content"),
        (|m| m[5].1[20] ^= 0x55, "layer sha256:"),
        (|m| m[0].1 = b"{\"schemaVersion\":2}".to_vec(), "index.json: "),
    ];
    for (number, (change, message)) in cases.into_iter().enumerate() {
        let place = Place::new();
        let archive = oci_archive(&two_layers(), Compression::Gzip, "a/b:1");
        let mut members = archive.members;
        if number == 4 {
            let config = members.iter().position(|(n, _)| *n == blob_name(&archive.config));
            members.swap(0, config.unwrap());
        }
        assert!(blob(&members, 2).starts_with("blobs/") || number == 4);
        change(&mut members);
        let error = place.load(pack(&members)).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
        place.assert_empty(&error);
    }
}

#[test]
fn what_is_no_image_archive_is_named() {
    let place = Place::new();
    for (junk, message) in [
        (b"".to_vec(), "no image archive"),
        (b"junk".repeat(500), "not a tar header"),
        (vec![0; 4096], "no image archive"),
        (b"\xfd7zXZ\0 and so on".to_vec(), "XZ"),
        (b"\x04\x22\x4d\x18 and so on".to_vec(), "compressed with lz4"),
        (tar(&[("etc/passwd", b"root")]), "a root file system becomes an image with `dhow import`"),
    ] {
        let error = place.load(junk).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
        place.assert_empty(&error);
    }
}

#[test]
fn a_root_file_system_is_imported() {
    let place = Place::new();
    let mut config = RunConfig::default();
    store::changes::apply(&mut config, &["CMD [\"/bin/x\"]", "ENV A=b"]).unwrap();
    let import = Import {
        config,
        platform: "linux/amd64".parse().unwrap(),
        comment: "from a test".to_owned(),
        tag: Some("docker.io/library/mine:1".parse().unwrap()),
        created: "2024-01-01T00:00:00Z".to_owned(),
        now_ns: 1,
    };
    let tree = tar(&[("bin/", b""), ("bin/x", b"#!")]);
    let id = place.store.import(Cursor::new(gzip(&tree)), &import).unwrap();
    let record = place.store.images().resolve("mine:1").unwrap();
    assert_eq!(record.id, id);
    assert_eq!(record.layers[0].diff_id, oci::digest(&tree));
    assert_eq!(record.config.config.env, ["A=b"]);
    assert_eq!(read(&place, "mine:1", 0, "bin/x").unwrap(), b"#!");
    let history = store::images::history(&record);
    assert_eq!((history[0].comment.as_str(), history[0].size), ("from a test", 2));
    let other = Place::new();
    other.store.import(Cursor::new(b"junk".repeat(500)), &import).unwrap_err();
    other.assert_empty("junk import");
}

#[test]
fn a_damaged_blob_is_not_saved() {
    let place = Place::new();
    place.load(docker_archive(&two_layers(), &["a:1"])).unwrap();
    let record = place.store.images().resolve("a:1").unwrap();
    let path = place.dir.path().join("images").join(blob_name(&two_layers()[0]));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = place.store.save(&["a:1"], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, SaveError::Blob(_)), "{error}");
    assert!(error.to_string().contains(&record.layers[0].blob.to_string()));
    let missing = place.store.save(&["nosuch"], &mut Vec::new()).unwrap_err();
    assert_eq!(missing.to_string(), "No such image: nosuch:latest");
}

#[test]
fn an_archive_has_limits() {
    let refusal = |archive: Vec<u8>| {
        let place = Place::new();
        let error = place.load(archive).unwrap_err();
        place.assert_empty("an archive over its limits");
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    };
    let document = |name: usize, size: usize| {
        let mut text = b"{".to_vec();
        text.resize(size, b' ');
        (format!("{name}.json"), text)
    };
    let many: Vec<_> = (0..20_001).map(|name| document(name, 2)).collect();
    let large: Vec<_> = (0..17).map(|name| document(name, 4 << 20)).collect();
    let bomb = zstd(&vec![0; 64 << 20]).repeat(17);
    for (archive, says) in [
        (pack(&many), "more than 20000 members"),
        (pack(&large), "more than 67108864 bytes of metadata"),
        (bomb, "decompression bomb"),
    ] {
        let said = refusal(archive);
        assert!(said.contains(says), "{said}");
    }
    // A layer that is a link to itself.
    let mut members = docker_members(&two_layers(), &["a:1"]);
    let (name, _) = members.remove(2);
    let files: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let said = refusal(tar_with_link(&files, &name, &format!("../{name}")));
    assert!(said.contains(&name), "{said}");
}

#[test]
fn a_removed_image_leaves_nothing() {
    let place = Place::new();
    place.load(docker_archive(&two_layers(), &["a:1", "a:2"])).unwrap();
    let shared = vec![two_layers()[0].clone()];
    place.load(docker_archive(&shared, &["b:1"])).unwrap();
    let images = place.store.images();
    let none = std::collections::BTreeSet::new();
    assert_eq!(
        images.remove("a:1", Force::No, &none).unwrap(),
        [Removed::Untagged("a:1".to_owned())]
    );
    let record = images.resolve("a:2").unwrap();
    let removed = images.remove("a:2", Force::No, &none).unwrap();
    let expected = [
        Removed::Untagged("a:2".to_owned()),
        Removed::Deleted(record.id.0),
        Removed::Deleted(record.layers[1].chain_id),
    ];
    assert_eq!(removed, expected, "the lower layer is still another image's");
    assert_eq!(place.counts()["snapshots"], 1);
    images.remove("b", Force::No, &none).unwrap_err();
    images.remove("b:1", Force::No, &none).unwrap();
    place.assert_empty("after rmi");
    let index = std::fs::read_to_string(place.dir.path().join("images/index.json")).unwrap();
    assert!(index.contains("\"manifests\":[]"), "{index}");
}

#[test]
fn the_image_directory_is_an_oci_layout_that_loads() {
    let from = Place::new();
    from.load(docker_archive(&two_layers(), &["a:1"])).unwrap();
    let images = from.dir.path().join("images");
    let mut members = Vec::new();
    for name in ["index.json", "oci-layout"] {
        members.push((name.to_owned(), std::fs::read(images.join(name)).unwrap()));
    }
    for entry in std::fs::read_dir(images.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let name = format!("blobs/sha256/{}", entry.file_name().to_str().unwrap());
        members.push((name, std::fs::read(entry.path()).unwrap()));
    }
    // The way out that the error of a damaged database names.
    let to = Place::new();
    to.load(pack(&members)).unwrap();
    assert_eq!(read(&to, "a:1", 0, "etc/changed").unwrap(), b"new");
}

#[test]
fn a_layer_with_another_diff_id_is_refused() {
    let place = Place::new();
    let mut members = docker_members(&two_layers(), &["a:1"]);
    members[2].1 = tar(&[("other", b"")]);
    let error = place.load(pack(&members)).unwrap_err();
    assert!(matches!(error, LoadError::WrongLayer { .. }), "{error}");
    place.assert_empty("wrong diff id");
}
