//! What is pushed, and what is asked of a registry beside images.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::push::PushStep;
use registry::{Credentials, Login, Push, PushError, Pushed, Search, Secret, Subject};
use store::oci::digest;

use crate::fixture::{Client, Image, error};
use crate::server::{Reply, Request, Sending, Server};

/// A client that has an image, under the name that it has at `server`.
fn with_image(image: &Image) -> Client {
    let client = Client::new();
    let source = image.contents().start();
    client.pull_from(&source).unwrap();
    client
}

fn push(client: &Client, server: &Server) -> (Result<Pushed, PushError>, Vec<PushStep>) {
    let image = client.store.images().list().unwrap().remove(0).id;
    let reference = format!("{}/app:v1", server.address).parse().unwrap();
    let credentials = client.credentials.clone();
    let push = Push { reference: &reference, image, credentials, now_ns: 1 };
    let mut steps = Vec::new();
    let pushed = client.registry.push(&client.store, &push, &mut |_, step| steps.push(step));
    (pushed, steps)
}

/// A registry that has nothing, and takes everything at `place`; the first requests for which `fault` has an answer
/// get that.
fn taker(fault: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::start(move |request| fault(request).unwrap_or_else(|| takes(request)))
}

fn takes(request: &Request) -> Reply {
    match (request.method.as_str(), request.target.as_str()) {
        ("HEAD", _) => Reply::new(404, ""),
        ("POST", "/v2/app/blobs/uploads/") => {
            Reply::new(202, "").with("Location", "/upload/1?state=a")
        }
        ("PUT", target) if target.starts_with("/upload/1?state=a&digest=sha256:") => {
            Reply::new(201, "")
        }
        ("PUT", "/v2/app/manifests/v1") => {
            let told = digest(request.body.as_bytes()).to_string();
            Reply::new(201, "").with("Docker-Content-Digest", told)
        }
        _ => error(400, "UNSUPPORTED", "not expected"),
    }
}

fn words(pushed: Result<Pushed, PushError>, server: &Server) -> String {
    pushed.unwrap_err().to_string().replace(&server.address.to_string(), "HOST")
}

#[test]
fn blobs_go_first_and_the_manifest_last() {
    let image = Image::new(&[300_000, 10]);
    let server = taker(|_| None);
    let client = with_image(&image);
    let (pushed, steps) = push(&client, &server);
    let manifest = image.manifest.to_string();
    let expected = Pushed { digest: digest(manifest.as_bytes()), size: manifest.len() as u64 };
    assert_eq!(pushed.unwrap(), expected);
    assert_eq!(steps[..2], [PushStep::Preparing, PushStep::Preparing]);
    assert_eq!(steps.iter().filter(|step| **step == PushStep::Pushed).count(), 2);
    let sent = server.seen_with("");
    let puts: Vec<&Request> = sent.iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(puts.len(), 4);
    let config = digest(image.config.to_string().as_bytes()).to_string();
    // The configuration when its layers are there, and then what names them all.
    assert!(puts[2].target.ends_with(&config), "{}", puts[2].target);
    assert_eq!(puts[3].body, manifest);
    assert_eq!(puts[3].header("content-type"), Some("application/vnd.oci.image.manifest.v1+json"));
    let large = image.layers[0].len().to_string();
    assert!(puts.iter().any(|put| put.header("content-length") == Some(&large)));
    let record = client.store.images().list().unwrap().remove(0);
    let name = format!("{}/app@{}", server.address, expected.digest);
    assert!(record.repo_digests.iter().any(|digest| digest.to_string() == name));
}

#[test]
fn what_breaks_off_begins_anew_and_a_forgotten_place_too() {
    let image = Image::new(&[10]);
    let count = AtomicUsize::new(0);
    let server = taker(move |request| {
        let is_blob = request.method == "PUT" && request.target.starts_with("/upload/");
        match is_blob.then(|| count.fetch_add(1, Ordering::SeqCst))? {
            // The connection ends before an answer.
            0 => Some(Reply::new(201, "").sending(Sending::Never)),
            1 => Some(error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")),
            2 => Some(Reply::new(503, "")),
            _ => None,
        }
    });
    let (pushed, _) = push(&with_image(&image), &server);
    pushed.unwrap();
    assert_eq!(server.seen_with("blobs/uploads").len(), 5);
}

#[test]
fn a_layer_that_another_repository_does_not_give_is_sent() {
    for status in [401, 403, 404, 405] {
        let image = Image::new(&[10]);
        let server = taker(move |request| {
            request.target.contains("?mount=").then(|| Reply::new(status, ""))
        });
        let client = with_image(&image);
        // It was pushed to a neighbour.
        let neighbour = format!("{}/neighbour:v1", server.address).parse().unwrap();
        let record = client.store.images().list().unwrap().remove(0);
        let name = store::NewImage {
            manifest: image.manifest.to_string().into_bytes(),
            config: image.config.to_string().into_bytes(),
            tags: Vec::new(),
            repo_digests: vec![model::Reference::at_digest(&neighbour, record.manifest)],
            now_ns: 1,
        };
        client.store.begin().unwrap().publish(&[name]).unwrap();
        let (pushed, steps) = push(&client, &server);
        pushed.unwrap();
        assert!(steps.contains(&PushStep::Pushed), "{status}: {steps:?}");
        let asked = format!("?mount={}&from=neighbour", image.layer(0));
        assert_eq!(server.seen_with(&asked).len(), 1, "{status}");
        let begun = server.seen_with("uploads/");
        assert!(begun.iter().all(|post| post.header("content-length") == Some("0")), "{status}");
    }
}

#[test]
fn what_is_there_is_not_sent() {
    let image = Image::new(&[10]);
    let server = taker(|request| (request.method == "HEAD").then(|| Reply::new(200, "")));
    let (pushed, steps) = push(&with_image(&image), &server);
    pushed.unwrap();
    assert_eq!(steps, [PushStep::Preparing, PushStep::Exists]);
    assert_eq!(server.seen_with("upload").len(), 0);
}

#[test]
fn a_place_elsewhere_gets_no_credentials() {
    let other = taker(|_| None);
    let location = format!("http://{}/upload/1?state=a", other.address);
    let image = Image::new(&[10]);
    let server = taker(move |request| {
        if request.header("authorization").is_none() {
            let basic = "Basic realm=\"test\"";
            return Some(Reply::new(401, "").with("WWW-Authenticate", basic));
        }
        let begins = request.target == "/v2/app/blobs/uploads/";
        begins.then(|| Reply::new(202, "").with("Location", &location))
    });
    let mut client = with_image(&image);
    client.credentials = Credentials::Basic { user: "me".into(), password: Secret::new("hunter2") };
    push(&client, &server).0.unwrap();
    let seen = other.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_registry_that_has_got_something_else_is_not_believed() {
    let image = Image::new(&[10]);
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let told = wrong.clone();
    let server = taker(move |request| {
        let is_last = request.target == "/v2/app/manifests/v1";
        is_last.then(|| Reply::new(201, "").with("Docker-Content-Digest", &told))
    });
    let (pushed, _) = push(&with_image(&image), &server);
    assert!(words(pushed, &server).ends_with(&format!("the registry has got {wrong} instead")));
}

/// What a registry answers, and the end of what is told then.
type Case = (fn() -> Reply, &'static str);

#[test]
fn refusals_are_told_in_the_registrys_words() {
    let image = Image::new(&[10]);
    let cases: [Case; 4] = [
        (|| error(403, "DENIED", "not yours"), "push access to HOST/app denied: denied: not yours"),
        (
            || Reply::new(403, ""),
            "push access to HOST/app denied: denied: requested access to the resource is denied",
        ),
        (
            || error(413, "SIZE_INVALID", "too much"),
            "the registry answered 413 Payload Too Large: size invalid: too much",
        ),
        (|| Reply::new(202, ""), "the registry names no place to send it to"),
    ];
    for (reply, expected) in cases {
        let server = taker(move |request| (request.method == "POST").then(reply));
        let (pushed, _) = push(&with_image(&image), &server);
        let told = words(pushed, &server);
        assert!(told.ends_with(expected), "{told}");
    }
}

#[test]
fn somebody_is_let_in_or_not() {
    let server = Server::start(|request| {
        let basic = Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"test\"");
        match request.header("authorization") {
            // me:hunter2
            Some("Basic bWU6aHVudGVyMg==") if request.target == "/v2/" => Reply::new(200, "{}"),
            _ => basic,
        }
    });
    let client = Client::new();
    let domain = server.address.to_string();
    let login = |password: &str| {
        let password = Secret::new(password);
        let credentials = Credentials::Basic { user: "me".into(), password };
        client.registry.login(Login { domain: &domain, credentials })
    };
    login("hunter2").unwrap();
    assert_eq!(
        login("wrong").unwrap_err().to_string(),
        format!("login attempt to {domain} failed: unauthorized: incorrect username or password")
    );
}

#[test]
fn what_is_there_is_described_without_being_fetched() {
    let image = Image::new(&[10]);
    let server = image.contents().start();
    let client = Client::new();
    let reference = format!("{}/app", server.address).parse().unwrap();
    let subject = Subject { reference: &reference, credentials: Credentials::Anonymous };
    let found = client.registry.describe(&client.store, &subject).unwrap();
    let manifest = image.manifest.to_string();
    assert_eq!(found.digest, digest(manifest.as_bytes()));
    assert_eq!(found.size, manifest.len() as u64);
    assert_eq!(found.media_type, "application/vnd.oci.image.manifest.v1+json");
    let platforms: Vec<String> = found.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, [model::Platform::host().to_string()]);
    assert_eq!(server.seen_with(&image.path(0)).len(), 0);
    let reference = format!("{}/app:nosuch", server.address).parse().unwrap();
    let subject = Subject { reference: &reference, credentials: Credentials::Anonymous };
    let told = client.registry.describe(&client.store, &subject).unwrap_err().to_string();
    assert!(told.contains("not found: manifest unknown"), "{told}");
}

#[test]
fn words_are_searched_in_the_registry_that_they_begin_with() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v1/search?q=a%20b%26c&n=2" => Reply::new(
            200,
            r#"{"results":[{"name":"x","description":null,"star_count":3,"is_official":true},{"name":"y"},{"name":"z"}]}"#,
        ),
        _ => Reply::new(200, "<html>"),
    });
    let client = Client::new();
    let search = |words: &str| {
        let term = format!("{}/{words}", server.address);
        let search = Search { term: &term, limit: 2, credentials: Credentials::Anonymous };
        client.registry.search(&search)
    };
    let found = search("a b&c").unwrap();
    let told: Vec<(&str, i64, bool)> = found
        .iter()
        .map(|found| (found.name.as_str(), found.star_count, found.is_official))
        .collect();
    // No more than were asked for, whatever the registry sends.
    assert_eq!(told, [("x", 3, true), ("y", 0, false)]);
    assert!(search("other").unwrap_err().to_string().contains("it is no list of results"));
    assert!(search("").unwrap_err().to_string().contains("has no words"));
}
