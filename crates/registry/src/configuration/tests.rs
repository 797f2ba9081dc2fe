//! Directories as administrators make them, and what they say about one registry.

use super::*;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----\n";

/// Two directories with these files, and what they say about `lab:5000`.
fn check(files: &[(&str, &str)]) -> Result<Host, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let dirs = ConfigDirs { own: dir.path().join("dhow"), docker: Some(dir.path().join("docker")) };
    let place = format!("{}/", dir.path().display());
    load(&dirs, "lab:5000")
        .map(|hosts| hosts.host("lab:5000"))
        .map_err(|error| error.to_string().replace(&place, ""))
}

const TOML: &str = "dhow/certs.d/lab:5000/hosts.toml";

#[test]
fn nothing_configured_is_the_usual() {
    assert_eq!(check(&[]), Ok(Host::default()));
    assert_eq!(check(&[("dhow/certs.d/other/hosts.toml", "nonsense")]), Ok(Host::default()));
}

#[test]
fn a_server_has_a_scheme() {
    let host = check(&[(TOML, "server = 'http://lab:5000/v2'\n")]).unwrap();
    assert_eq!(host.origin("lab:5000").to_string(), "http://lab:5000");
    assert_eq!(host.trust, Trust::Verified);
    let host = check(&[(TOML, "server = 'https://10.0.0.1:443'\nskip_verify = true")]).unwrap();
    assert_eq!(host.origin("lab:5000").to_string(), "https://10.0.0.1");
    assert_eq!(host.trust, Trust::Anyone);
}

#[test]
fn certificates_are_found_as_docker_and_as_containerd_name_them() {
    let dir = "dhow/certs.d/lab:5000";
    let host = check(&[
        (&format!("{dir}/ca.crt"), CERTIFICATE),
        (&format!("{dir}/client.cert"), CERTIFICATE),
        (&format!("{dir}/client.key"), KEY),
        ("docker/certs.d/lab:5000/x.crt", CERTIFICATE),
    ])
    .unwrap();
    assert_eq!(host.authorities.len(), 2);
    let (chain, key) = host.identity.unwrap().parts();
    assert_eq!((chain[0].as_ref(), key.secret_der()), (&[1, 2, 3][..], &[4, 5, 6][..]));
    let toml = "ca = ['a.pem']\nclient = [['a.pem', 'k.pem']]";
    let both =
        [(TOML, toml), (&format!("{dir}/a.pem"), CERTIFICATE), (&format!("{dir}/k.pem"), KEY)];
    let host = check(&both).unwrap();
    assert_eq!(host.authorities.len(), 1);
    assert!(host.identity.is_some());
}

#[test]
fn docker_may_call_a_registry_insecure() {
    for (entry, is_insecure) in [
        ("lab:5000", true),
        ("lab", false),
        ("http://lab:5000", true),
        ("lab:5001", false),
        ("10.0.0.0/8", false),
    ] {
        let daemon = format!(r#"{{"insecure-registries":["{entry}"],"debug":true}}"#);
        let host = check(&[("docker/daemon.json", &daemon)]).unwrap();
        assert_eq!(host.server == Server::Either, is_insecure, "{entry}");
        assert_eq!(host.trust == Trust::Anyone, is_insecure, "{entry}");
    }
    for (block, host, inside) in [
        ("10.0.0.0/8", "10.9.8.7", Some(true)),
        ("10.0.0.0/8", "11.0.0.1", Some(false)),
        ("0.0.0.0/0", "11.0.0.1", Some(true)),
        ("fd00::/16", "fd00::1", Some(true)),
        ("fd00::/16", "10.0.0.1", None),
        ("10.0.0.0/33", "10.0.0.1", None),
    ] {
        assert_eq!(in_block(block, host), inside, "{block} {host}");
    }
}

#[test]
fn what_dhow_is_told_counts_more_than_what_docker_is() {
    let daemon = ("docker/daemon.json", r#"{"insecure-registries":["lab:5000"]}"#);
    for toml in ["", "skip_verify = false", "server = 'https://lab:5000'"] {
        let host = check(&[daemon, (TOML, toml)]).unwrap();
        assert_eq!(host.origin("lab:5000").to_string(), "https://lab:5000", "{toml}");
        assert!(host.server != Server::Either && host.trust == Trust::Verified, "{toml}");
    }
    let host = check(&[daemon, ("dhow/certs.d/lab:5000/ca.crt", CERTIFICATE)]).unwrap();
    assert_eq!((host.server, host.trust), (Server::Usual, Trust::Verified));
    let host = check(&[daemon, (TOML, "skip_verify = true")]).unwrap();
    assert_eq!((host.server, host.trust), (Server::Either, Trust::Anyone));
    let both = [
        ("docker/certs.d/lab:5000/x.crt", CERTIFICATE),
        ("dhow/certs.d/lab:5000/y.crt", CERTIFICATE),
    ];
    assert_eq!(check(&both).unwrap().authorities.len(), 2);
}

#[test]
fn a_file_that_is_wrong_is_named_with_its_line() {
    for (file, text, want) in [
        (TOML, "server = 'http://lab'\nskip_verify = 7\n", ": line 2: invalid type"),
        (TOML, "\n\nsrever = 'http://lab'", ": line 3: unknown field `srever`"),
        (TOML, "server = ", ": line 1: "),
        (TOML, "server = 'lab:5000'", ": server = \"lab:5000\": "),
        (TOML, "server = 'http://lab/path'", ": server = \"http://lab/path\": paths are not"),
        (TOML, "[host.'https://mirror']", ": [host] tables (mirrors) are not supported yet"),
        ("dhow/certs.d/lab:5000/ca.crt", "x", ": it holds no certificate in PEM form"),
        ("docker/daemon.json", "{\n\"insecure-registries\": 1}", ": invalid type"),
    ] {
        let error = check(&[(file, text)]).unwrap_err();
        assert!(error.starts_with(&format!("{file}{want}")), "{error}");
    }
    let missing = check(&[(TOML, "ca = 'nosuch.pem'")]).unwrap_err();
    assert_eq!(missing, "read dhow/certs.d/lab:5000/nosuch.pem: entity not found");
}
