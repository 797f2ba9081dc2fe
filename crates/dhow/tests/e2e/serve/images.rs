//! What image requests of newer API versions ask: manifests, and one platform.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::Pair;

/// The status line and the body of an answer.
fn get(pair: &Pair, path: &str) -> (String, Value) {
    let request = format!("GET {path} HTTP/1.1\nHost: d\nConnection: close\n\n");
    let reply = pair.service.say(&request);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().to_owned();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {reply}")))
}

/// A platform in a query.
fn platform(architecture: &str) -> String {
    format!("platform=%7B%22os%22:%22linux%22,%22architecture%22:%22{architecture}%22%7D")
}

#[test]
fn the_manifest_of_an_image_has_its_real_size() {
    let pair = Pair::new();
    let (_, list) = get(&pair, "/v1.51/images/json?manifests=1");
    let manifest = &list[0]["Manifests"][0];
    let size = |value: &Value| value.as_u64().unwrap();
    let described = size(&manifest["Descriptor"]["size"]);
    assert!(described > 100, "{manifest}");
    let packed = size(&manifest["Size"]["Content"]);
    assert!(packed > described, "{manifest}");
    let unpacked = size(&manifest["ImageData"]["Size"]["Unpacked"]);
    assert_eq!(size(&manifest["Size"]["Total"]), packed + unpacked);
    assert!(manifest["Descriptor"]["mediaType"].as_str().unwrap().contains("manifest"));

    let (_, shown) = get(&pair, "/v1.51/images/busybox/json?manifests=1");
    assert_eq!(&shown["Manifests"][0], manifest);
    for path in ["/v1.51/images/busybox/json", "/v1.47/images/busybox/json?manifests=1"] {
        let (_, plain) = get(&pair, path);
        assert!(plain.get("Manifests").is_none(), "{path}");
    }
}

#[test]
fn an_image_is_there_for_its_own_platform_alone() {
    let pair = Pair::new();
    let own = get(&pair, "/v1.51/images/busybox/json").1["Architecture"].clone();
    let own = platform(own.as_str().unwrap());
    for what in ["json", "history"] {
        let ask = |query: &str| get(&pair, &format!("/v1.51/images/busybox/{what}?{query}"));
        assert_eq!(ask(&own).0, "200");
        let (status, body) = ask(&platform("s390x"));
        let words = body["message"].as_str().unwrap();
        assert_eq!(status, "404");
        assert!(words.starts_with("image with reference busybox was found but"), "{words}");
        assert!(words.ends_with("does not match the specified platform (linux/s390x)"), "{words}");
        for (query, words) in [
            ("platform=linux", "failed to parse platform: "),
            ("platform=%7B%22os%22:%22linux%22%7D", "both OS and Architecture must be provided"),
        ] {
            let (status, body) = ask(query);
            assert_eq!(status, "400", "{body}");
            assert!(body["message"].as_str().unwrap().starts_with(words), "{body}");
        }
        // It had no effect before these versions.
        let old = format!("/v1.47/images/busybox/{what}?{}", platform("s390x"));
        assert_eq!(get(&pair, &old).0, "200");
    }
    let both = format!("/v1.51/images/busybox/json?manifests=1&{own}");
    let (status, body) = get(&pair, &both);
    assert_eq!(status, "400");
    assert!(body["message"].as_str().unwrap().starts_with("conflicting options: "), "{body}");
}

#[test]
fn archives_are_asked_for_a_platform_as_docker_asks() {
    let pair = Pair::new();
    let own = get(&pair, "/v1.51/images/busybox/json").1["Architecture"].clone();
    let own = platform(own.as_str().unwrap());
    let ask = |path: &str, query: &str| {
        let request = format!("GET {path}?{query} HTTP/1.0\nHost: d\n\n");
        let mut stream = UnixStream::connect(&pair.service.socket).unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    let path = "/v1.51/images/busybox/get";
    assert_eq!(ask(path, &own), "200");
    assert_eq!(ask(path, &platform("s390x")), "501");
    assert_eq!(ask(path, "platform=%7B%22os%22:%22linux%22%7D"), "400");
}
