//! What the documents of an image may be, and what each bad one is called.

use super::*;
use serde_json::{Value, json};

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": media_type::OCI_CONFIG, "digest": A, "size": 10},
        "layers": [{"mediaType": media_type::OCI_LAYER_GZIP, "digest": B, "size": 20}],
    })
}

fn config() -> Value {
    json!({
        "os": "linux", "architecture": "amd64", "created": "2015-10-31T22:22:56.015925234Z",
        "rootfs": {"type": "layers", "diff_ids": [A]},
    })
}

/// The verdict on a manifest and a configuration, changed as told.
fn verdict(change: impl FnOnce(&mut Value, &mut Value)) -> Result<Vec<LayerSpec>, String> {
    let (mut manifest, mut config) = (manifest(), config());
    change(&mut manifest, &mut config);
    let run = || {
        let config = parse_config(config.to_string().as_bytes())?;
        match parse(manifest.to_string().as_bytes())? {
            Document::Manifest(manifest) => layers(&manifest, &config),
            Document::Index(_) => Ok(Vec::new()),
        }
    };
    run().map_err(|error: DocumentError| error.to_string())
}

fn refused(change: impl FnOnce(&mut Value, &mut Value)) -> String {
    verdict(change).expect_err("this should have been refused")
}

#[test]
fn a_sound_image_gives_its_layers() {
    let layers = verdict(|_, _| ()).unwrap();
    assert_eq!(layers[0].diff_id.to_string(), A);
    assert_eq!(layers[0].blob.to_string(), B);
    assert_eq!((layers[0].size, layers[0].compression), (20, Compression::Gzip));
}

#[test]
fn hostile_sizes_are_refused_before_any_download() {
    for size in [-1_i64, 1 << 62, i64::MIN] {
        let message = refused(|manifest, _| manifest["layers"][0]["size"] = size.into());
        assert_eq!(
            message,
            format!("blob {B} is said to have {size} bytes, which no blob of an image can have")
        );
    }
    let message = refused(|manifest, _| manifest["config"]["size"] = (5 << 20).into());
    assert_eq!(message, "configuration has 5242880 bytes, at most 4194304 are accepted");
}

#[test]
fn each_bad_document_is_named() {
    type Change = fn(&mut Value, &mut Value);
    let cases: [(Change, &str); 19] = [
        (|m, _| *m = json!({}), "manifest cannot be read: missing field `schemaVersion`"),
        (|m, _| *m = json!(null), "manifest cannot be read: invalid type: null"),
        (|m, _| *m = json!([]), "manifest cannot be read: "),
        (
            |m, _| m["schemaVersion"] = 1.into(),
            "manifest has schema version 1, only 2 is supported",
        ),
        (|m, _| m["manifests"] = json!([]), "the document has both layers and manifests"),
        (
            |m, _| m["mediaType"] = "text/html".into(),
            "media type \"text/html\" is not that of an image manifest",
        ),
        (
            |m, _| m["config"]["mediaType"] = "application/json".into(),
            "media type \"application/json\" is not that of an image configuration",
        ),
        (
            |m, _| m["layers"][0]["mediaType"] = "x/y".into(),
            "media type \"x/y\" is not that of a layer",
        ),
        (
            |m, _| m["layers"][0]["digest"] = "sha256:../../etc".into(),
            "manifest cannot be read: invalid digest",
        ),
        (
            |m, _| *m = json!({"schemaVersion": 2, "mediaType": "text/html", "manifests": []}),
            "media type \"text/html\" is not that of an image index",
        ),
        (|m, _| m["layers"][0]["urls"] = json!(["http://x/"]), "layer sha256:bbbb"),
        (
            |m, _| {
                m["layers"][0]["mediaType"] =
                    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
            },
            "layer sha256:bbbb",
        ),
        (|m, _| m["layers"] = json!([]), "the manifest has 0 layers, the configuration 1 diff ids"),
        (|_, c| *c = json!({}), "configuration cannot be read: missing field `rootfs`"),
        (
            |_, c| c["rootfs"]["type"] = "tree".into(),
            "root file system type \"tree\" is not supported",
        ),
        (
            |_, c| c["os"] = "windows".into(),
            "images for operating system \"windows\" cannot be used",
        ),
        (|_, c| c["architecture"] = "".into(), "the configuration names no architecture"),
        (
            |_, c| c["rootfs"]["diff_ids"] = json!(vec![A; 501]),
            "the image has 501 layers, at most 500 are accepted",
        ),
        (
            |_, c| c["created"] = "yesterday".into(),
            "the configuration's creation time \"yesterday\"",
        ),
    ];
    for (change, message) in cases {
        let actual = refused(change);
        assert!(actual.starts_with(message), "{actual:?} does not start with {message:?}");
    }
}

#[test]
fn counts_and_depth_are_bounded() {
    let layer = manifest()["layers"][0].clone();
    let message = refused(|manifest, _| manifest["layers"] = Value::Array(vec![layer; 501]));
    assert_eq!(message, "the image has 501 layers, at most 500 are accepted");
    let entry = manifest()["config"].clone();
    let index = json!({"schemaVersion": 2, "manifests": vec![entry; 1001]});
    let error = parse(index.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the index has 1001 entries, at most 1000 are accepted");
    let deep = "[".repeat(100_000);
    assert!(matches!(parse(deep.as_bytes()), Err(DocumentError::Json { .. })));
    let long = b" ".repeat(usize::try_from(DOCUMENT_MAX).unwrap() + 1);
    assert!(matches!(parse(&long), Err(DocumentError::TooLarge { .. })));
}

#[test]
fn content_is_checked_against_its_descriptor() {
    let bytes = b"{}";
    let mut descriptor: Descriptor =
        serde_json::from_value(json!({"mediaType": "", "digest": digest(bytes), "size": 2}))
            .unwrap();
    verify("manifest", &descriptor, bytes).unwrap();
    assert!(matches!(verify("manifest", &descriptor, b"[]"), Err(DocumentError::Digest { .. })));
    descriptor.size = 3;
    assert!(matches!(verify("manifest", &descriptor, bytes), Err(DocumentError::Size { .. })));
}

#[test]
fn the_best_platform_is_chosen_and_attestations_never() {
    let entry = |digest: &str, os: &str, architecture: &str, variant: &str| {
        json!({"digest": digest, "size": 1,
               "platform": {"os": os, "architecture": architecture, "variant": variant}})
    };
    let index = json!({"schemaVersion": 2, "manifests": [
        entry(A, "unknown", "unknown", ""), entry(A, "linux", "arm", "v6"), entry(B, "linux", "arm", "v7"),
    ]});
    let Document::Index(index) = parse(index.to_string().as_bytes()).unwrap() else { panic!() };
    let chosen = choose(&index, &"linux/arm/v7".parse().unwrap()).unwrap();
    assert_eq!(chosen.digest.to_string(), B);
    let error = choose(&index, &"linux/s390x".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no image for platform linux/s390x; there are: linux/arm/v6, linux/arm/v7"
    );
}

#[test]
fn chain_ids_are_those_of_the_specification() {
    let (a, b): (Digest, Digest) = (A.parse().unwrap(), B.parse().unwrap());
    let chain = chain_ids(&[a, b]);
    assert_eq!(chain, [a, digest(format!("{A} {B}").as_bytes())]);
}

#[test]
fn times_that_do_not_fit_are_clamped() {
    let config: ImageConfig = serde_json::from_value(json!({
        "created": "9999-12-30T00:00:00Z", "rootfs": {"type": "layers", "diff_ids": []},
    }))
    .unwrap();
    assert_eq!(created_ns(&config).unwrap(), i64::MAX);
}
