//! Docker's own command line and a registry of Debian's, by way of the service.

use std::io::Write as _;
use std::process::Stdio;

use testkit::{Distribution, Ran};

use super::Pair;

#[test]
fn docker_logs_in_pushes_and_pulls() {
    let registry = Distribution::start_for_me();
    let pair = Pair::new();
    let address = registry.address.to_string();
    let image = format!("{address}/team/app:v1");
    pair.ok(&["tag", "busybox", &image]);
    let told = pair.ends(1, &["push", &image]);
    assert!(told.err.contains("denied: no basic auth credentials"), "{}", told.err);
    let login = |password: &[u8]| {
        let mut login = pair.command(&["login", "-u", "me", "--password-stdin", &address]);
        let piped = login.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password).unwrap();
        Ran::new(&child.wait_with_output().unwrap())
    };
    let wrong = login(b"wrong");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("unauthorized: incorrect username or password"), "{}", wrong.err);
    let right = login(b"hunter2");
    assert_eq!((right.code, right.out.as_str()), (Some(0), "Login Succeeded"), "{}", right.err);
    let told = pair.ok(&["push", &image]);
    let last = told.lines().last().unwrap();
    let digest = last.strip_prefix("v1: digest: ").and_then(|rest| rest.split(' ').next());
    let digest = digest.unwrap_or_else(|| panic!("{told}"));
    pair.ok(&["rmi", &image]);
    let by_digest = format!("{address}/team/app@{digest}");
    assert!(pair.ok(&["pull", &by_digest]).contains(&format!("Digest: {digest}")));
    // dhow's own command line reads what Docker's has kept.
    pair.host.ok(&["pull", "-q", &image]);
}

#[test]
fn what_a_registry_has_is_described() {
    let registry = Distribution::start();
    let pair = Pair::new();
    let image = format!("{}/app", registry.address);
    pair.ok(&["tag", "busybox", &image]);
    let told = pair.ok(&["push", "-q", &image]);
    assert_eq!(told, format!("{image}:latest"));
    let get = |name: &str| {
        let ask =
            format!("GET /v1.47/distribution/{name}/json HTTP/1.1\nHost: d\nConnection: close\n\n");
        pair.service.say(&ask)
    };
    let reply = get(&image);
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains(r#"{"Descriptor":{"mediaType":"application/vnd."#), "{reply}");
    assert!(reply.contains(r#""Platforms":[{"architecture":""#), "{reply}");
    assert!(get(&format!("{image}:nosuch")).starts_with("HTTP/1.1 404 "));
    let reply = get("127.0.0.1:1/app");
    assert!(reply.starts_with("HTTP/1.1 500 "), "{reply}");
}
