//! Who is shown what.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry::{Credentials, PullError, Secret};

use crate::fixture::{Client, Image, error};
use crate::server::{Reply, Request, Server};

/// `me:hunter2`
const BASIC: &str = "Basic bWU6aHVudGVyMg==";

fn basic() -> Credentials {
    Credentials::Basic { user: "me".into(), password: Secret::new("hunter2") }
}

/// A registry that gives what it has for `Bearer good`, and a token service beside it.
fn with_tokens(image: &Image, token: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    let contents = image.contents();
    Server::start(move |request| {
        if request.target.starts_with("/token") {
            return token(request);
        }
        if request.header("authorization") == Some("Bearer good") {
            return contents.serve(request);
        }
        let realm = format!("http://{}/token?fixed=1", request.header("host").unwrap());
        error(401, "UNAUTHORIZED", "authentication required").with(
            "WWW-Authenticate",
            format!("Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:app:pull,push\""),
        )
    })
}

#[test]
fn a_token_is_fetched_once_and_shown_with_each_request() {
    let image = Image::new(&[1000; 5]);
    let server = with_tokens(&image, |_| Reply::new(200, r#"{"token":"good","expires_in":300}"#));
    let client = Client::new();
    client.pull_from(&server).unwrap();
    client.assert_has(&image, &format!("{}/app", server.address));
    let asked = server.seen_with("/token");
    assert_eq!(asked.len(), 1);
    // No more than a pull needs, whatever the registry proposes.
    assert_eq!(
        asked[0].target,
        "/token?fixed=1&scope=repository%3Aapp%3Apull&service=the%20registry"
    );
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(server.seen_with("/v2/").len(), 1 + 1 + 1 + 5);
}

#[test]
fn a_token_that_is_not_accepted_any_more_is_renewed_once_for_all_threads() {
    let image = Image::new(&[1000; 3]);
    let layers = [0, 1, 2].map(|at| image.path(at));
    let (given, refused, together) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(3));
    let contents = image.contents();
    let server = Server::start(move |request| {
        if request.target.starts_with("/token") {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::new(200, format!(r#"{{"access_token":"t{number}"}}"#));
        }
        let is_layer = layers.contains(&request.target);
        let needed = if is_layer { "Bearer t2" } else { "Bearer t1" };
        if request.header("authorization") == Some(needed) {
            return contents.serve(request);
        }
        // All three threads have shown the old token before any of them hears that.
        if is_layer && refused.fetch_add(1, Ordering::SeqCst) < 3 {
            together.wait();
        }
        let realm = format!("http://{}/token", request.header("host").unwrap());
        Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    Client::new().pull_from(&server).unwrap();
    assert_eq!(server.seen_with("/token").len(), 2);
}

#[test]
fn name_and_password_go_to_the_token_service_alone() {
    let image = Image::new(&[1000]);
    let server = with_tokens(&image, |request| match request.header("authorization") {
        Some(BASIC) => Reply::new(200, r#"{"token":"good"}"#),
        _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
    });
    let mut client = Client::new();
    assert_eq!(
        client.refusal(&server),
        "pull access denied for HOST/app, repository does not exist or may require 'docker login': incorrect username or password"
    );
    client.credentials = basic();
    client.pull_from(&server).unwrap();
    assert!(server.seen_with("/token")[1].target.contains("&account=me"));
    let shown: Vec<_> = server.seen_with("/v2/");
    assert!(shown.iter().all(|request| request.header("authorization") != Some(BASIC)));
}

#[test]
fn an_identity_token_is_exchanged_in_a_form() {
    let image = Image::new(&[1000]);
    let server = with_tokens(&image, |request| {
        let is_good = request.method == "POST"
            && request.body.contains("grant_type=refresh_token")
            && request.body.contains("refresh_token=hunter2")
            && request.body.contains("scope=repository%3Aapp%3Apull");
        let answer = if is_good { r#"{"access_token":"good"}"# } else { "{}" };
        Reply::new(200, answer)
    });
    let mut client = Client::new();
    client.credentials = Credentials::IdentityToken(Secret::new("hunter2"));
    client.pull_from(&server).unwrap();
    assert!(server.seen().iter().all(|request| !request.target.contains("hunter2")));
}

/// A form with a secret is meant for one host, wherever that points.
#[test]
fn a_form_does_not_follow_a_redirect() {
    let image = Image::new(&[1000]);
    let elsewhere = Server::start(|_| Reply::new(200, r#"{"access_token":"good"}"#));
    let to = format!("http://{}/token", elsewhere.address);
    let server = with_tokens(&image, move |_| Reply::new(307, "").with("Location", to.as_str()));
    let mut client = Client::new();
    client.credentials = Credentials::IdentityToken(Secret::new("hunter2"));
    let refusal = client.refusal(&server);
    assert!(refusal.contains("answered 307"), "{refusal}");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_registry_token_is_used_as_it_is() {
    let image = Image::new(&[1000]);
    let server = with_tokens(&image, |_| Reply::new(500, ""));
    let mut client = Client::new();
    client.credentials = Credentials::RegistryToken(Secret::new("bad"));
    assert!(client.refusal(&server).ends_with("unauthorized: token refused"));
    client.credentials = Credentials::RegistryToken(Secret::new("good"));
    client.pull_from(&server).unwrap();
    assert!(server.seen_with("/token").is_empty());
}

#[test]
fn basic_authorisation_comes_after_it_was_asked_for() {
    let image = Image::new(&[1000]);
    let contents = image.contents();
    let server = Server::start(move |request| match request.header("authorization") {
        Some(BASIC) => contents.serve(request),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let mut client = Client::new();
    client.credentials = basic();
    client.pull_from(&server).unwrap();
    assert_eq!(server.seen()[0].header("authorization"), None);
    client.credentials = Credentials::Basic { user: "me".into(), password: Secret::new("wrong") };
    let refusal = client.pull_from(&server).unwrap_err();
    let words = "unauthorized: incorrect username or password";
    assert!(
        matches!(&refusal, PullError::Unauthorized { reason, .. } if reason == words),
        "{refusal}"
    );
}

#[test]
fn a_registry_that_never_has_enough_is_left_alone() {
    let image = Image::new(&[1000]);
    let server = with_tokens(&image, |_| Reply::new(200, r#"{"token":"bad"}"#));
    let refusal = Client::new().refusal(&server);
    assert!(refusal.starts_with("pull access denied for HOST/app, "), "{refusal}");
    assert_eq!((server.seen_with("/v2/").len(), server.seen_with("/token").len()), (2, 1));
}

#[test]
fn a_token_service_that_makes_no_sense_is_named() {
    let image = Image::new(&[1000]);
    for (answer, end) in [
        (Reply::new(200, "{}"), "token service http://HOST gave no token"),
        (Reply::new(200, vec![b' '; 3 << 20]), "HOST sent more than 1048576 bytes"),
        (Reply::new(404, ""), "token service http://HOST answered 404 Not Found"),
    ] {
        let (status, body) = (answer.status, answer.body);
        let server = with_tokens(&image, move |_| Reply::new(status, body.clone()));
        let refusal = Client::new().refusal(&server);
        assert!(refusal.ends_with(end), "{refusal}");
    }
    let server = Server::start(|_| {
        Reply::new(401, "").with("WWW-Authenticate", "Bearer realm=\"file:///etc/passwd\"")
    });
    let refusal = Client::new().refusal(&server);
    assert!(refusal.contains("its token service has a bad address"), "{refusal}");
}

#[test]
fn another_host_sees_no_authorisation_and_gets_none_by_asking() {
    let image = Image::new(&[1000]);
    let contents = image.contents();
    let config = contents.clone();
    // Layers lie elsewhere, as most registries have it.
    let elsewhere = Server::start(move |request| config.serve(request));
    let greedy = Server::start(|request| {
        let realm = format!("http://{}/token", request.header("host").unwrap());
        Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    for (target, is_good) in [(&elsewhere, true), (&greedy, false)] {
        let contents = contents.clone();
        let to = target.address;
        let server = Server::start(move |request| match request.header("authorization") {
            Some(BASIC) if request.target.contains("/blobs/") => {
                Reply::new(307, "").with("Location", format!("http://{to}{}", request.target))
            }
            Some(BASIC) => contents.serve(request),
            _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        });
        let mut client = Client::new();
        client.credentials = basic();
        assert_eq!(client.pull_from(&server).is_ok(), is_good);
        assert!(!target.seen().is_empty());
        for request in target.seen() {
            assert_eq!(request.header("authorization"), None, "{request:?}");
            assert!(!request.target.contains("token"), "{request:?}");
        }
    }
}

#[test]
fn secrets_are_in_no_message() {
    let image = Image::new(&[1000]);
    let server = with_tokens(&image, |_| Reply::new(403, ""));
    let mut client = Client::new();
    for credentials in [basic(), Credentials::IdentityToken(Secret::new("hunter2"))] {
        client.credentials = credentials;
        let error = client.pull_from(&server).unwrap_err();
        let all = format!("{error} {error:?} {:?}", client.credentials);
        assert!(!all.contains("hunter2") && !all.contains("bWU6aHVudGVyMg"), "{all}");
    }
}
