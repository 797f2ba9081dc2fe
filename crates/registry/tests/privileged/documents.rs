//! Manifests, indexes and configurations: chosen, verified, refused.

use model::Platform;
use model::image::media_type::{DOCKER_LIST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use registry::{Credentials, Repository};
use serde_json::{Value, json};
use store::oci::digest;

use crate::fixture::{Client, Contents, Image, error, for_platform};
use crate::server::{Reply, Sending, Server};

fn host() -> String {
    Platform::host().architecture
}

#[test]
fn an_index_gives_the_image_for_this_machine() {
    let (mine, other) = (Image::new(&[1000]), Image::new(&[2000]).of("s390x"));
    let mut contents = Contents::default();
    contents.add(&mine);
    contents.add(&other);
    let attestation = for_platform(other.described(), "unknown", "unknown");
    let nested = contents.index(&[for_platform(mine.described(), "linux", &host())]);
    let nested = contents.manifest(OCI_INDEX, &nested);
    let entries = [for_platform(other.described(), "linux", "s390x"), attestation, nested];
    let index = contents.index(&entries);
    contents.tag("latest", OCI_INDEX, &index);
    let server = contents.start();

    let mut client = Client::new();
    let pulled = client.pull_from(&server).unwrap();
    // The repository's digest is that of the index.
    assert_eq!(pulled.digest, digest(index.to_string().as_bytes()));
    let name = format!("{}/app", server.address);
    client.assert_has(&mine, &name);
    client.assert_has(&mine, &format!("{name}@{}", pulled.digest));
    assert!(server.seen_with(&other.layer(0).to_string()).is_empty());

    client.platform = Some("linux/s390x".parse().unwrap());
    client.pull_from(&server).unwrap();
    client.assert_has(&other, &name);
}

#[test]
fn a_digest_gives_an_image_without_a_tag() {
    let image = Image::new(&[1000]);
    let server = image.contents().start();
    let client = Client::new();
    let manifest = digest(image.manifest.to_string().as_bytes());
    client.pull(&format!("{}/app:latest@{manifest}", server.address)).unwrap();
    let list = client.store.images().list().unwrap();
    let names: Vec<String> = list[0].repo_digests.iter().map(ToString::to_string).collect();
    assert_eq!(names, [format!("{}/app@{manifest}", server.address)]);
    assert!(list[0].tags.is_empty());
}

#[test]
fn a_platform_that_is_missing_is_named() {
    let other = Image::new(&[1000]).of("s390x");
    let mut contents = other.contents();
    let index = contents.index(&[for_platform(other.described(), "linux", "s390x")]);
    contents.tag("list", OCI_INDEX, &index);
    let server = contents.start();
    let mut client = Client::new();
    let refusal = client.pull(&format!("{}/app:list", server.address)).unwrap_err().to_string();
    let wanted = Platform::host();
    assert_eq!(
        refusal,
        format!(
            "no matching manifest for {wanted} in the manifest list entries; there are: linux/s390x"
        )
    );
    client.platform = Some("linux/riscv64".parse().unwrap());
    assert_eq!(
        client.refusal(&server),
        "image with reference HOST/app:latest was found but its platform (linux/s390x) does not match the specified platform (linux/riscv64)"
    );
    // Without a wish, the only one is taken.
    client.platform = None;
    client.pull_from(&server).unwrap();
}

#[test]
fn an_entry_that_does_not_say_what_it_is_for_is_looked_into() {
    let (mine, other) = (Image::new(&[1000]), Image::new(&[2000]).of("s390x"));
    let mut contents = Contents::default();
    contents.add(&mine);
    contents.add(&other);
    let index = contents.index(&[other.described(), mine.described()]);
    contents.tag("latest", OCI_INDEX, &index);
    let server = contents.start();
    let client = Client::new();
    client.pull_from(&server).unwrap();
    client.assert_has(&mine, &format!("{}/app", server.address));
}

#[test]
fn what_is_not_there_is_named_in_dockers_words() {
    let server = Image::new(&[1000]).contents().start();
    let client = Client::new();
    let refusal = client.pull(&format!("{}/app:no", server.address)).unwrap_err().to_string();
    let name = format!("{}/app:no", server.address);
    assert_eq!(
        refusal,
        format!("manifest for {name} not found: manifest unknown: manifest unknown")
    );

    let denied = "pull access denied for HOST/app, repository does not exist or may require 'docker login': ";
    for (status, code, message, (begin, end)) in [
        (
            404,
            "NAME_UNKNOWN",
            "not known to registry",
            ("repository HOST/app not found: ", "name unknown: not known to registry"),
        ),
        (404, "", "", ("manifest for HOST/app:latest not found: ", "manifest unknown")),
        (403, "DENIED", "no", (denied, "denied: no")),
        (401, "UNAUTHORIZED", "", (denied, "no basic auth credentials")),
    ] {
        let server = Server::start(move |_| {
            error(status, code, message).with("WWW-Authenticate", "Basic realm=\"x\"")
        });
        let refusal = client.refusal(&server);
        assert_eq!(refusal, format!("{begin}{end}"));
    }
}

#[test]
fn a_registry_that_is_asked_too_often_says_so() {
    let server =
        Server::start(|_| error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit."));
    let error = Client::new().pull_from(&server).unwrap_err();
    assert!(error.is_rate_limit(), "{error}");
    let end = ": toomanyrequests: You have reached your pull rate limit.";
    assert!(error.to_string().ends_with(end), "{error}");
}

#[test]
fn tags_are_listed_over_all_pages() {
    let server = Server::start(|request| {
        let page = |tags: &str| Reply::new(200, format!(r#"{{"name":"app","tags":[{tags}]}}"#));
        match request.target.as_str() {
            "/v2/app/tags/list?n=1000" => {
                page("\"b\",\"a\"").with("Link", "</v2/app/tags/list?n=1000&last=a>; rel=\"next\"")
            }
            // An empty page that points to itself is the end.
            "/v2/app/tags/list?n=1000&last=c" => {
                page("").with("Link", "</v2/app/tags/list?n=1000&last=c>; rel=\"next\"")
            }
            "/v2/app/tags/list?n=1000&last=a" => {
                page("\"c\"").with("Link", "</v2/app/tags/list?n=1000&last=c>; rel=\"next\"")
            }
            _ => error(404, "NAME_UNKNOWN", "no"),
        }
    });
    let tags = |name: &str| {
        let name = format!("{}/{name}", server.address).parse().unwrap();
        Client::new()
            .registry
            .tags(&Repository { name: &name, credentials: Credentials::Anonymous })
    };
    assert_eq!(tags("app").unwrap(), ["b", "a", "c"]);
    let refusal = tags("other").unwrap_err().to_string();
    assert_eq!(refusal, format!("repository {}/other not found: name unknown: no", server.address));
}

/// Serves `document` as `app:latest`, with all blobs of `image`.
fn refusal_of(image: &Image, media_type: &str, document: &Value) -> String {
    let mut contents = image.contents();
    contents.tag("latest", media_type, document);
    let server = contents.start();
    let refusal = Client::new().refusal(&server);
    assert!(server.seen_with(&image.path(0)).is_empty(), "a layer was asked for: {refusal}");
    refusal
}

#[test]
fn a_bad_manifest_is_refused_before_any_layer_is_asked_for() {
    let image = Image::new(&[1000]);
    let bent = |bend: &dyn Fn(&mut Value)| {
        let mut manifest = image.manifest.clone();
        bend(&mut manifest);
        refusal_of(&image, OCI_MANIFEST, &manifest)
    };
    let name = image.layer(0);
    for size in [-1_i64, i64::MIN, 1 << 62] {
        assert_eq!(
            bent(&|manifest| manifest["layers"][0]["size"] = size.into()),
            format!(
                "HOST/app:latest from HOST: blob {name} is said to have {size} bytes, which no blob of an image can have"
            )
        );
    }
    let foreign = bent(&|manifest| {
        manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/foreign"]);
    });
    assert!(foreign.ends_with("is a foreign layer, which dhow does not fetch"), "{foreign}");
    let both = bent(&|manifest| manifest["manifests"] = json!([]));
    assert!(both.ends_with("so it is neither manifest nor index"), "{both}");
    let digest = bent(&|manifest| manifest["layers"][0]["digest"] = "sha256:../../x".into());
    assert!(digest.contains("manifest cannot be read"), "{digest}");
    let artifact = bent(&|manifest| {
        manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    });
    assert!(artifact.ends_with("is not that of an image configuration"), "{artifact}");
    // What is none is not even fetched.
    let artifact = bent(&|manifest| {
        manifest["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
        manifest["config"]["digest"] = format!("sha256:{}", "ab".repeat(32)).into();
    });
    assert!(artifact.ends_with("is not that of an image configuration"), "{artifact}");
    let fewer = bent(&|manifest| manifest["layers"] = json!([]));
    assert!(fewer.ends_with("the manifest has 0 layers, the configuration 1 diff ids"), "{fewer}");
    let config = bent(&|manifest| manifest["config"]["size"] = 1.into());
    assert!(config.contains("sent more than") || config.contains("bytes, its descriptor says 1"));
}

#[test]
fn a_document_that_is_not_what_it_is_served_as_is_refused() {
    let image = Image::new(&[1000]);
    let refusal = refusal_of(&image, DOCKER_LIST, &image.manifest);
    assert!(refusal.ends_with("is not that of an image manifest"), "{refusal}");
    let index = json!({"schemaVersion": 2, "manifests": []});
    let refusal = refusal_of(&image, OCI_MANIFEST, &index);
    assert!(refusal.ends_with("is not that of an image index"), "{refusal}");
}

#[test]
fn a_manifest_that_is_said_to_be_too_large_is_not_asked_for() {
    let image = Image::new(&[1000]);
    let mut contents = image.contents();
    let mut entry = for_platform(image.described(), "linux", &host());
    entry["size"] = (5 << 20).into();
    let name = entry["digest"].as_str().unwrap().to_owned();
    let index = contents.index(&[entry]);
    contents.tag("latest", OCI_INDEX, &index);
    let server = contents.start();
    let refusal = Client::new().refusal(&server);
    assert!(
        refusal.ends_with("manifest has 5242880 bytes, at most 4194304 are accepted"),
        "{refusal}"
    );
    assert!(server.seen_with(&name).is_empty());
}

#[test]
fn schema_1_is_refused_by_name() {
    let image = Image::new(&[1000]);
    let old = json!({"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []});
    for kind in ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"] {
        assert_eq!(
            refusal_of(&image, kind, &old),
            "HOST/app:latest is in Docker's image format v2, schema 1, which is not supported: it has to be pushed again by a newer tool"
        );
    }
}

#[test]
fn another_content_than_the_digest_names_is_refused() {
    let image = Image::new(&[1000]);
    let wanted = format!("sha256:{}", "ab".repeat(32));
    let mut contents = image.contents();
    contents.tag(&wanted, OCI_MANIFEST, &image.manifest);
    let entry = {
        let mut entry = for_platform(image.described(), "linux", &host());
        entry["digest"] = wanted.clone().into();
        entry
    };
    let index = contents.index(&[entry]);
    contents.tag("list", OCI_INDEX, &index);
    let mut wrong_config = image.manifest.clone();
    wrong_config["config"]["digest"] = wanted.clone().into();
    contents.tag("config", OCI_MANIFEST, &wrong_config);
    contents.blobs.insert(wanted.clone(), image.config.to_string().into_bytes());
    // The registry's own word for the digest is a hint, and this one lies.
    let lie = wanted.clone();
    let server =
        Server::start(move |request| contents.serve(request).with("Docker-Content-Digest", &lie));
    let client = Client::new();
    for name in [format!("app@{wanted}"), "app:list".into(), "app:config".into()] {
        let refusal = client.pull(&format!("{}/{name}", server.address)).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("{wanted} has another content: its digest is")),
            "{refusal}"
        );
    }
    assert!(client.store.images().list().unwrap().is_empty());
}

#[test]
fn a_huge_manifest_is_not_read_to_its_end() {
    for sending in [|| Sending::Whole, || Sending::Chunked] {
        let server =
            Server::start(move |_| Reply::new(200, vec![b' '; 40 << 20]).sending(sending()));
        assert_eq!(
            Client::new().refusal(&server),
            "pull HOST/app:latest from HOST: HOST sent more than 4194304 bytes"
        );
    }
}

#[test]
fn an_index_that_names_itself_ends() {
    let mut contents = Contents::default();
    // Nested deeper than anybody means.
    let mut entry = json!({"mediaType": OCI_CONFIG, "digest": format!("sha256:{}", "ab".repeat(32)), "size": 2});
    for _ in 0..20 {
        let index = contents.index(&[entry]);
        entry = contents.manifest(OCI_INDEX, &index);
    }
    let index = contents.index(&[entry]);
    contents.tag("latest", OCI_INDEX, &index);
    let refusal = Client::new().refusal(&contents.start());
    assert!(refusal.ends_with("indexes are nested deeper than 8"), "{refusal}");
}

#[test]
fn a_long_index_is_not_walked_through() {
    let mut contents = Contents::default();
    let entries: Vec<Value> = (0..200)
        .map(|at| {
            let index =
                json!({"schemaVersion": 2, "manifests": [], "annotations": {"at": at.to_string()}});
            contents.manifest(OCI_INDEX, &index)
        })
        .collect();
    let index = contents.index(&entries);
    contents.tag("latest", OCI_INDEX, &index);
    let server = contents.start();
    let refusal = Client::new().refusal(&server);
    assert!(refusal.starts_with("no matching manifest for "), "{refusal}");
    assert_eq!(server.seen_with("/manifests/").len(), 33);
}

#[test]
fn one_blob_with_two_diff_ids_is_refused() {
    let mut image = Image::new(&[1000]);
    let layer = image.manifest["layers"][0].clone();
    image.manifest["layers"] = json!([layer, layer]);
    let diff_id = image.config["rootfs"]["diff_ids"][0].clone();
    image.config["rootfs"]["diff_ids"] = json!([diff_id, format!("sha256:{}", "ab".repeat(32))]);
    let image = image.of(&host());
    let refusal = Client::new().refusal(&image.contents().start());
    assert!(refusal.contains("has several diff ids for blob"), "{refusal}");
}
