//! `dhow oci checkpoint` and `restore`, with runc's flags.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;
use testkit::until_is;

use crate::oci::{Bundle, wait_for_end};

/// What the container counts, once it is more than `least`.
fn count(bundle: &Bundle, least: u64) -> u64 {
    until_is("a count", || {
        let text = fs::read_to_string(bundle.path().join("rootfs/count")).unwrap_or_default();
        text.trim().parse::<u64>().ok().filter(|number| *number > least).ok_or(text)
    })
}

#[test]
fn a_container_is_written_down_and_made_again() {
    let criu = testkit::criu().unwrap();
    let criu = criu.to_str().unwrap();
    let bundle = Bundle::new();
    bundle.change(|spec| spec["root"]["readonly"] = json!(false));
    // It counts in its memory: a start would begin again.
    let script = "i=0; while :; do i=$((i+1)); echo $i >/new; busybox mv /new /count; busybox usleep 10000; done";
    bundle.runs(&["sh", "-c", script]);
    // Somebody waits for its word while it is created, and nobody when it is started.
    let mut create = bundle.command(&["create", "one"]);
    create.env("NOTIFY_SOCKET", "/no/such/manager");
    let null = || Stdio::null();
    assert!(create.stdout(null()).stderr(null()).status().unwrap().success());
    bundle.ok(&["start", "one"]);
    count(&bundle, 3);
    for flag in ["--tcp-established", "--lazy-pages", "--pre-dump", "--shell-job"] {
        assert!(
            bundle
                .fails(&["checkpoint", flag, "one"])
                .contains(&format!("{flag} is not supported"))
        );
    }
    let work = bundle.path().join("work");
    let log = work.join("criu.log");
    let words = ["--criu", criu, "checkpoint", "--image-path", "images", "--work-path", "work"];
    bundle.ok(&[&words[..], &["--leave-running", "one"]].concat());
    assert!(fs::read_to_string(&log).unwrap().contains("Dumping"));
    assert!(!bundle.path().join("images/criu.log").exists());
    assert_eq!(bundle.state("one")["status"], "running");
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    fs::remove_dir_all(bundle.path().join("images")).unwrap();
    bundle.ok(&["--criu", criu, "checkpoint", "--image-path", "images", "--file-locks", "one"]);
    wait_for_end(pid);
    // As with runc it is gone then, and comes again under its own name.
    bundle.nothing_is_left();
    let before = count(&bundle, 3);
    // What others could have written is not believed.
    let descriptors = bundle.path().join("images/descriptors.json");
    let mode = |mode| {
        fs::set_permissions(&descriptors, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o666);
    let told = bundle.fails(&["--criu", criu, "restore", "--image-path", "images", "two"]);
    assert!(told.contains("is not trusted") && told.contains("descriptors.json"), "{told}");
    mode(0o600);
    let words = ["--criu", criu, "restore", "--image-path", "images", "--work-path", "work"];
    let mut restore = bundle.command(&[&words[..], &["-d", "--pid-file", "pid", "one"]].concat());
    let told = fs::File::create(bundle.path().join("told")).unwrap();
    let status = restore.stdout(null()).stderr(told).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(bundle.path().join("told")).unwrap());
    let after = count(&bundle, before);
    assert!(after < before + 10_000, "{before} {after}");
    assert!(fs::read_to_string(&log).unwrap().contains("Restoring"));
    let state = bundle.state("one");
    assert_eq!(state["status"], "running");
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    assert_eq!(state["pid"].to_string(), pid);
    let told = bundle.ok(&["exec", "one", "busybox", "ip", "addr", "show", "dev", "lo"]);
    assert!(told.contains(",UP") && told.contains("127.0.0.1/8"), "{told}");
    bundle.ok(&["delete", "-f", "one"]);
    let told =
        bundle.fails(&["--criu", "nosuch-criu", "restore", "--image-path", "images", "three"]);
    assert!(told.contains("nosuch-criu is not installed"), "{told}");
    bundle.nothing_is_left();
}
