//! Tests of names and of the rules by which they are removed.

use std::collections::BTreeSet;

use model::image::Compression;
use model::{ContainerId, Digest, ImageId, Reference};

use super::{Force, RemoveError, Removed, ResolveError, compose, history};
use crate::oci::{self, LayerSpec};
use crate::{ContainerRow, Durability, NewImage, Store};

struct Place {
    _dir: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self { _dir: dir, store }
    }

    /// An image without layers, told apart by its author.
    fn image(&self, author: &str, tags: &[&str], digests: &[&str]) -> ImageId {
        let config = model::image::ImageConfig {
            author: Some(author.to_owned()),
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..Default::default()
        };
        let composed = compose(&config, &[]);
        let parse = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let manifest = oci::digest(&composed.manifest);
        let repo_digests: Vec<Reference> = parse(digests);
        let image = NewImage {
            manifest: composed.manifest,
            config: composed.config,
            tags: parse(tags),
            repo_digests: repo_digests.iter().map(|name| name.at_digest(manifest)).collect(),
            now_ns: 1,
        };
        let operation = self.store.begin().unwrap();
        operation.publish(&[image]).unwrap()[0].id
    }

    fn container(&self, byte: u8, image: ImageId) -> ContainerId {
        let row = ContainerRow {
            id: ContainerId::from_random([byte; 32]),
            name: format!("c{byte}").parse().unwrap(),
            image: Some(image),
            created_ns: 0,
            auto_remove: false,
            record: String::new(),
        };
        self.store.containers().insert(&row, Durability::Now).unwrap();
        row.id
    }

    fn remove(&self, typed: &str, force: Force) -> Result<Vec<Removed>, RemoveError> {
        self.store.images().remove(typed, force, &BTreeSet::new())
    }

    fn names(&self, id: &ImageId) -> usize {
        let record = self.store.images().get(id).unwrap();
        record.map_or(0, |record| record.tags.len() + record.repo_digests.len())
    }
}

fn untagged(names: &[&str]) -> Vec<Removed> {
    names.iter().map(|name| Removed::Untagged((*name).to_owned())).collect()
}

#[test]
fn a_typed_text_finds_its_image() {
    let place = Place::new();
    let id = place.image("a", &["debian:latest", "r.example:5000/x/y:1"], &["debian"]);
    let manifest = place.store.images().get(&id).unwrap().unwrap().manifest;
    let by_digest = format!("debian@{manifest}");
    let with_both = format!("debian:whatever@{manifest}");
    let full = id.to_string();
    for typed in [
        "debian",
        "docker.io/library/debian:latest",
        "r.example:5000/x/y:1",
        &by_digest,
        &with_both,
        &full,
        &full[7..],
        &full[7..12],
        &full[..12],
        &manifest.to_string(),
    ] {
        let found = place.store.images().resolve(typed);
        assert_eq!(found.unwrap_or_else(|e| panic!("{typed}: {e}")).id, id, "{typed}");
        assert_eq!(place.store.images().resolve_id(typed).unwrap(), id, "{typed}");
    }
}

#[test]
fn what_is_not_found_is_named_as_docker_does() {
    let place = Place::new();
    place.image("a", &["debian:latest"], &[]);
    let images = place.store.images();
    let message = |typed: &str| images.resolve(typed).unwrap_err().to_string();
    assert_eq!(message("nosuch"), "No such image: nosuch:latest");
    assert_eq!(message("debian:2"), "No such image: debian:2");
    assert_eq!(message("beef"), "No such image: beef:latest");
    assert_eq!(
        message("Bad"),
        "invalid reference format: repository name (library/Bad) must be lowercase"
    );
    assert_eq!(message("a b"), "invalid reference format");
    let id = "0".repeat(64);
    assert_eq!(message(&id), format!("No such image: {id}"));
    assert_eq!(message(&format!("sha256:{id}")), format!("No such image: sha256:{id}"));
}

#[test]
fn the_beginning_of_several_ids_is_ambiguous() {
    let place = Place::new();
    let ids: Vec<String> = (0..40).map(|n| place.image(&n.to_string(), &[], &[]).0.hex()).collect();
    // Of 40 ids, two begin with the same digit.
    let first = ids.iter().map(|id| &id[..1]);
    let digit = first.clone().find(|digit| first.clone().filter(|d| d == digit).count() > 1);
    let found = place.store.images().resolve(digit.unwrap());
    assert!(matches!(found, Err(ResolveError::Ambiguous(_))), "{found:?}");
}

#[test]
fn a_name_hides_the_beginning_of_an_id() {
    let place = Place::new();
    let hidden = place.image("a", &[], &[]);
    let named = place.image("b", &[&format!("{}:latest", hidden.short())], &[]);
    assert_eq!(place.store.images().resolve(&hidden.short()).unwrap().id, named);
}

#[test]
fn a_tag_moves() {
    let place = Place::new();
    let (one, two) = (place.image("1", &["a:1"], &[]), place.image("2", &[], &[]));
    let tag: Reference = "a:1".parse().unwrap();
    assert_eq!(place.store.images().tag(&two, &tag).unwrap(), Some(one));
    assert_eq!(place.store.images().tag(&two, &tag).unwrap(), None);
    assert_eq!(place.names(&one), 0);
    assert!(place.store.images().tag(&two, &"a".parse().unwrap()).is_err());
    let gone = ImageId(Digest::from_bytes([1; 32]));
    assert!(place.store.images().tag(&gone, &tag).is_err());
}

#[test]
fn the_index_mirrors_the_tags() {
    let place = Place::new();
    let id = place.image("a", &["a:1"], &[]);
    place.store.images().tag(&id, &"x.example/b:2".parse().unwrap()).unwrap();
    let index = std::fs::read(place.store.root().join("images/index.json")).unwrap();
    let oci::Document::Index(index) = oci::parse(&index).unwrap() else { panic!("no index") };
    let names: Vec<&String> = index
        .manifests
        .iter()
        .map(|entry| &entry.annotations["org.opencontainers.image.ref.name"])
        .collect();
    assert_eq!(names, ["docker.io/library/a:1", "x.example/b:2"]);
    for entry in &index.manifests {
        let path = place.store.root().join("images/blobs/sha256").join(entry.digest.hex());
        let bytes = std::fs::read(path).unwrap();
        oci::verify("manifest", entry, &bytes).unwrap();
    }
}

#[test]
fn a_tag_beside_others_is_only_untagged() {
    let place = Place::new();
    let id = place.image("a", &["a:1", "a:2"], &["a"]);
    assert_eq!(place.remove("a:1", Force::No).unwrap(), untagged(&["a:1"]));
    assert_eq!(place.names(&id), 2, "the other tag, and the digest of the repository");
}

#[test]
fn with_the_last_tag_of_a_repository_go_its_digests_and_the_image() {
    let place = Place::new();
    let id = place.image("a", &["a:1"], &["a"]);
    let manifest = place.store.images().get(&id).unwrap().unwrap().manifest;
    let digest = format!("a@{manifest}");
    let mut expected = untagged(&["a:1", &digest]);
    expected.push(Removed::Deleted(id.0));
    assert_eq!(place.remove("a:1", Force::No).unwrap(), expected);
    assert_eq!(place.store.images().get(&id).unwrap(), None);
    assert_eq!(place.store.blobs().size(&id.0).unwrap(), None, "its blobs are collected");
}

#[test]
fn a_digest_of_another_repository_keeps_the_image() {
    let place = Place::new();
    let id = place.image("a", &["a:1"], &["b"]);
    assert_eq!(place.remove("a:1", Force::No).unwrap(), untagged(&["a:1"]));
    assert_eq!(place.names(&id), 1);
}

#[test]
fn an_id_with_several_tags_must_be_forced() {
    let place = Place::new();
    let id = place.image("a", &["a:1", "b:1"], &[]);
    let refused = place.remove(&id.short(), Force::No).unwrap_err();
    let expected = format!(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple \
         repositories",
        id.short()
    );
    assert_eq!(refused.to_string(), expected);
    assert_eq!(place.names(&id), 2, "nothing was removed");
    let mut expected = untagged(&["a:1", "b:1"]);
    expected.push(Removed::Deleted(id.0));
    assert_eq!(place.remove(&id.short(), Force::Yes).unwrap(), expected);
}

#[test]
fn containers_keep_an_image_by_dockers_rules() {
    let place = Place::new();
    let id = place.image("a", &["a:1", "a:2"], &[]);
    let container = place.container(1, id);
    assert_eq!(place.remove("a:1", Force::No).unwrap(), untagged(&["a:1"]));
    assert!(matches!(place.remove("a:2", Force::No), Err(RemoveError::Referenced { .. })));
    assert!(matches!(place.remove(&id.short(), Force::No), Err(RemoveError::Stopped { .. })));
    let running = BTreeSet::from([container]);
    let refused = place.store.images().remove(&id.short(), Force::Yes, &running).unwrap_err();
    let expected = format!(
        "conflict: unable to delete {} (cannot be forced) - image is being used by running \
         container {}",
        id.short(),
        container.short()
    );
    assert_eq!(refused.to_string(), expected);
    assert_eq!(place.remove("a:2", Force::Yes).unwrap().len(), 2);
}

#[test]
fn by_name_an_image_that_runs_loses_its_last_name_if_that_is_forced() {
    let place = Place::new();
    let digest = format!("a@sha256:{}", "0".repeat(64));
    let id = place.image("a", &["a:1"], &[&digest]);
    let running = BTreeSet::from([place.container(1, id)]);
    let remove = |typed: &str, force| place.store.images().remove(typed, force, &running);
    assert!(matches!(remove("a:1", Force::No), Err(RemoveError::Referenced { .. })));
    assert!(matches!(remove(&id.short(), Force::Yes), Err(RemoveError::Running { .. })));
    let removed = remove("a:1", Force::Yes).unwrap();
    assert!(removed.iter().all(|step| matches!(step, Removed::Untagged(_))), "{removed:?}");
    assert_eq!(removed.len(), 2);
    // It is there, without a name.
    assert_eq!(place.store.images().resolve(&id.short()).unwrap().tags, []);
}

#[test]
fn several_names_are_a_reason_before_a_container_that_is_stopped() {
    let place = Place::new();
    let id = place.image("a", &["a:1", "b:1"], &[]);
    let container = place.container(1, id);
    assert!(matches!(place.remove(&id.short(), Force::No), Err(RemoveError::ManyNames(_))));
    let running = BTreeSet::from([container]);
    let refused = place.store.images().remove(&id.short(), Force::No, &running).unwrap_err();
    assert!(matches!(refused, RemoveError::Running { .. }), "{refused}");
}

#[test]
fn an_image_whose_layers_are_missing_is_refused() {
    let place = Place::new();
    let layer = LayerSpec {
        diff_id: Digest::from_bytes([1; 32]),
        blob: Digest::from_bytes([2; 32]),
        size: 3,
        media_type: Compression::Plain.media_type().to_owned(),
        compression: Compression::Plain,
    };
    let config = model::image::ImageConfig {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        ..Default::default()
    };
    let composed = compose(&config, std::slice::from_ref(&layer));
    let image = NewImage {
        manifest: composed.manifest,
        config: composed.config,
        tags: Vec::new(),
        repo_digests: Vec::new(),
        now_ns: 0,
    };
    let operation = place.store.begin().unwrap();
    let error = operation.publish(&[image]).unwrap_err();
    assert!(error.to_string().contains(&layer.diff_id.to_string()), "{error}");
    drop(operation);
    assert_eq!(std::fs::read_dir(place.store.root().join("ingest")).unwrap().count(), 0);
    assert!(place.store.images().list().unwrap().is_empty());
}

#[test]
fn what_an_operation_uses_is_not_collected_until_it_ends() {
    let place = Place::new();
    let operation = place.store.begin().unwrap();
    let mut ingest = operation.ingest_unknown().unwrap();
    ingest.append(b"content").unwrap();
    let digest = operation.commit_blob(ingest).unwrap();
    place.store.gc().unwrap();
    assert_eq!(place.store.blobs().size(&digest).unwrap(), Some(7));
    drop(operation);
    place.store.gc().unwrap();
    assert_eq!(place.store.blobs().size(&digest).unwrap(), None);
}

#[test]
fn history_is_newest_first_and_gives_layers_their_sizes() {
    let layer = |size| super::ImageLayer {
        diff_id: Digest::from_bytes([1; 32]),
        chain_id: Digest::from_bytes([1; 32]),
        blob: Digest::from_bytes([1; 32]),
        media_type: String::new(),
        blob_size: 0,
        size,
    };
    let step = |text: &str, empty_layer| model::image::History {
        created_by: Some(text.to_owned()),
        empty_layer,
        ..Default::default()
    };
    let id = ImageId(Digest::from_bytes([9; 32]));
    let image = super::ImageRecord {
        id,
        manifest: id.0,
        manifest_type: String::new(),
        manifest_size: 0,
        config_size: 0,
        config: model::image::ImageConfig {
            history: vec![step("ADD", false), step("CMD", true), step("RUN", false)],
            ..Default::default()
        },
        created_ns: 0,
        added_ns: 0,
        layers: vec![layer(10), layer(20)],
        tags: vec!["a:1".parse().unwrap()],
        repo_digests: Vec::new(),
    };
    let lines: Vec<(String, u64, Option<ImageId>)> =
        history(&image).into_iter().map(|e| (e.created_by, e.size, e.id)).collect();
    let expected = [("RUN", 20, Some(id)), ("CMD", 0, None), ("ADD", 10, None)];
    assert_eq!(lines, expected.map(|(text, size, id)| (text.to_owned(), size, id)));
}

#[test]
fn a_record_tells_the_bytes_of_manifest_and_configuration() {
    let place = Place::new();
    let id = place.image("a", &["a:1"], &[]);
    let record = place.store.images().get(&id).unwrap().unwrap();
    let (kind, manifest) = place.store.images().manifest(&id).unwrap();
    let config = place.store.images().config_bytes(&id).unwrap().unwrap();
    assert_eq!(record.manifest_type, kind);
    assert_eq!(record.manifest_size, manifest.len() as u64);
    assert_eq!(record.config_size, config.len() as u64);
    assert_eq!(record.packed(), (manifest.len() + config.len()) as u64);
}
