//! load, save, tag, rmi, inspect, history.

use crate::host;

#[test]
fn what_is_saved_can_be_loaded() {
    let host = host();
    let other = testkit::Host::new(crate::DHOW);
    let archive = host.scratch().join("saved.tar");
    let path = archive.to_string_lossy();
    host.ok(&["tag", "busybox", "copy:1"]);
    host.ok(&["save", "-o", &path, "busybox", "copy:1"]);
    let loaded = other.ok(&["load", "-i", &path]);
    assert!(
        loaded.contains("Loaded image: busybox:latest") && loaded.contains("Loaded image: copy:1"),
        "{loaded}"
    );
    let id = |host: &testkit::Host| host.ok(&["image", "inspect", "-f", "{{.Id}}", "copy:1"]);
    assert_eq!(id(&host), id(&other));
    assert_eq!(other.ok(&["run", "--rm", "copy:1", "echo", "hi"]), "hi");
}

#[test]
fn pipes_serve_as_files() {
    let host = host();
    let saved = host.command(&["save", "busybox"]).output().unwrap();
    assert!(saved.status.success());
    let other = testkit::Host::new(crate::DHOW);
    let ran = other.feed(&["load", "-q"], &saved.stdout);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Loaded image: busybox:latest"),
        "{}",
        ran.err
    );
}

#[test]
fn names_come_and_go() {
    let host = host();
    host.ok(&["tag", "busybox", "a/b:1"]);
    assert_eq!(host.ok(&["rmi", "a/b:1"]), "Untagged: a/b:1");
    host.ok(&["create", "--name", "u1", "busybox"]);
    let used = host.fails(1, &["rmi", "busybox"]);
    assert!(used.contains("unable to remove repository reference"), "{used}");
    host.ok(&["rm", "u1"]);
    assert!(host.ok(&["rmi", "busybox"]).contains("Deleted: sha256:"));
    assert_eq!(host.ok(&["images", "-q"]), "");
    assert!(host.fails(1, &["rmi", "busybox"]).contains("No such image: busybox:latest"));
}

#[test]
fn an_image_says_what_it_is() {
    let host = host();
    assert_eq!(
        host.ok(&["image", "inspect", "-f", "{{json .Config.Cmd}} {{.Os}}", "busybox"]),
        "[\"sh\"] linux"
    );
    assert!(host.ok(&["history", "--format", "{{.CreatedBy}}", "busybox"]).contains("testkit"));
    let table = host.ok(&["images"]);
    assert!(table.lines().nth(1).unwrap().starts_with("busybox"), "{table}");
}
