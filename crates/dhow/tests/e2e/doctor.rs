//! `doctor`: what a host gives and lacks, as root and as an ordinary user.

use std::path::Path;

use serde_json::Value;
use testkit::Host;

/// Every file and directory below one.
fn below(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries.map(|entry| entry.path()).collect();
    let deeper: Vec<_> = all.iter().flat_map(|path| below(path)).collect();
    all.extend(deeper);
    all.sort();
    all
}

fn verdict<'a>(found: &'a [Value], about: &str) -> Option<&'a str> {
    let one = found.iter().find(|one| one["About"] == about)?;
    one["Verdict"].as_str()
}

#[test]
fn it_looks_and_changes_nothing() {
    let host = Host::new(crate::DHOW);
    let before = below(host.scratch());
    let ran = host.run(&["doctor", "--format", "json"]);
    let found: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    // Containers run here: that is what the other tests are about.
    for about in ["kernel", "namespaces", "overlayfs", "disk", "control groups", "seccomp"] {
        assert!(matches!(verdict(&found, about), Some("ok" | "limited")), "{about}: {found:?}");
    }
    assert_eq!((ran.code, verdict(&found, "subordinate ids")), (Some(0), None), "{found:?}");
    for one in &found {
        let is_ok = one["Verdict"] == "ok";
        assert_eq!((one["Cost"].is_null(), one["Mend"].is_null()), (is_ok, is_ok), "{one}");
    }
    let shown = host.ok(&["system", "doctor"]);
    assert!(shown.starts_with("ok       kernel "), "{shown}");
    assert_eq!(below(host.scratch()), before);
}

#[test]
fn it_is_about_this_host_alone() {
    let host = Host::new(crate::DHOW);
    let error = host.fails(1, &["-H", "unix:///no/such.sock", "doctor"]);
    assert!(error.contains("dhow doctor looks at this host"), "{error}");
    assert!(host.fails(1, &["doctor", "--format", "yaml"]).contains("there is json alone"));
}

#[test]
fn a_user_without_ids_is_told_how_to_get_some() {
    let host = Host::of_user_with(crate::DHOW, "");
    let ran = host.run(&["doctor", "--format", "json"]);
    let found: Vec<Value> =
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
    assert_eq!((ran.code, verdict(&found, "subordinate ids")), (Some(1), Some("missing")));
    assert_eq!(verdict(&found, "firewall"), None, "only root may look");
    assert!(!host.root().exists());
    host.keep_roots();
}
