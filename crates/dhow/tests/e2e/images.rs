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
fn a_repository_is_saved_with_all_of_its_tags() {
    let host = host();
    let other = testkit::Host::new(crate::DHOW);
    let archive = host.scratch().join("saved.tar");
    let path = archive.to_string_lossy();
    // Without one that is called `latest`.
    for tag in ["many:1", "many:2", "other:1"] {
        host.ok(&["tag", "busybox", tag]);
    }
    host.ok(&["save", "-o", &path, "many"]);
    assert_eq!(other.ok(&["load", "-i", &path]), "Loaded image: many:1\nLoaded image: many:2");
    let refused = host.fails(1, &["save", "-o", &path, "many", "nosuch"]);
    assert!(refused.ends_with("No such image: nosuch:latest"), "{refused}");
}

#[test]
fn what_cannot_be_saved_leaves_no_file() {
    let host = host();
    let dir = host.scratch().join("out");
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("a.tar");
    for verb in ["save", "export"] {
        host.fails(1, &[verb, "-o", &path.to_string_lossy(), "nosuch"]);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{verb}");
    }
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
    assert_eq!(
        host.fails(1, &["tag", "busybox", "sha256:aa"]),
        "Error response from daemon: refusing to create an ambiguous tag using digest algorithm as name"
    );
    let image = testkit::Image::busybox().unwrap();
    let image = image.with_files("sha256:72329897073f", &[("f", b"x")]).unwrap();
    let archive = image.archive(host.scratch()).unwrap();
    let refused = host.fails(1, &["load", "-i", &archive.to_string_lossy()]);
    assert!(refused.contains("ambiguous tag"), "{refused}");
    host.ok(&["create", "--name", "u1", "busybox"]);
    let used = host.fails(1, &["rmi", "busybox"]);
    assert!(used.contains("unable to remove repository reference"), "{used}");
    host.ok(&["rm", "u1"]);
    assert!(host.ok(&["rmi", "busybox"]).contains("Deleted: sha256:"));
    assert_eq!(host.ok(&["images", "-q"]), "");
    assert!(host.fails(1, &["rmi", "busybox"]).contains("No such image: busybox:latest"));
}

#[test]
fn an_image_that_runs_can_lose_its_name_but_stays() {
    let host = host();
    let id = host.ok(&["images", "-q", "busybox"]);
    host.ok(&["run", "-d", "--name", "r1", "--network", "none", "busybox", "sleep", "1000"]);
    let by_id = host.fails(1, &["rmi", "-f", &id]);
    let begin = format!(
        "Error response from daemon: conflict: unable to delete {id} (cannot be forced) - image is being used by running container "
    );
    assert!(by_id.starts_with(&begin), "{by_id}");
    assert_eq!(host.ok(&["rmi", "-f", "busybox"]), "Untagged: busybox:latest");
    assert_eq!(host.ok(&["images", "--format", "{{.ID}} {{.Repository}}"]), format!("{id} <none>"));
    assert_eq!(host.ok(&["images", "-q", "-f", "dangling=true"]), id);
    host.ok(&["rm", "-f", "r1"]);
    assert!(host.ok(&["rmi", &id]).starts_with(&format!("Deleted: sha256:{id}")));
}

#[test]
fn lists_show_the_names_that_are_asked_for() {
    let host = host();
    host.ok(&["tag", "busybox", "a/b:1"]);
    let names = |arguments: &[&str]| {
        let all = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], arguments].concat();
        host.ok(&all)
    };
    assert_eq!(names(&["a/b"]), "a/b:1");
    assert_eq!(names(&["-f", "reference=busy*"]), "busybox:latest");
    assert_eq!(names(&["-f", "until=24h"]), "a/b:1\nbusybox:latest");
    assert_eq!(names(&["-f", "until=2026-01-01T00:00:00Z"]), "");
    // A template counts even beside -q, as in Docker, for images alone.
    assert_eq!(names(&["-q", "busybox"]), "busybox:latest");
    let refusal = host.fails(1, &["images", "-f", "dangling=maybe"]);
    assert_eq!(refusal, "Error response from daemon: invalid filter 'dangling=[maybe]'");
}

#[test]
fn an_image_says_what_it_is() {
    let host = host();
    assert_eq!(
        host.ok(&["image", "inspect", "-f", "{{json .Config.Cmd}} {{.Os}}", "busybox"]),
        "[\"sh\"] linux"
    );
    // Clients of this API look for what says nothing, too.
    let whole: serde_json::Value =
        serde_json::from_str(&host.ok(&["image", "inspect", "busybox"])).unwrap();
    let config = &whole[0]["Config"];
    assert_eq!((config["User"].as_str(), config["Labels"].is_null()), (Some(""), true), "{config}");
    assert!(config.as_object().unwrap().contains_key("Entrypoint"), "{config}");
    assert!(host.ok(&["history", "--format", "{{.CreatedBy}}", "busybox"]).contains("testkit"));
    let table = host.ok(&["images"]);
    assert!(table.lines().nth(1).unwrap().starts_with("busybox"), "{table}");
}

#[test]
fn a_prune_takes_dangling_images_and_unused_ones_if_asked() {
    let host = host();
    let id = |name: &str| host.ok(&["image", "inspect", "-f", "{{.Id}}", name]);
    let archive = host.scratch().join("one.tar");
    host.ok(&["create", "--name", "source", "busybox"]);
    host.ok(&["export", "-o", &archive.to_string_lossy(), "source"]);
    let import = |name: &str, change: &str| {
        host.ok(&["import", "-c", change, &archive.to_string_lossy(), name]);
        id(name)
    };
    let first = import("one:1", "LABEL v=1");
    let second = import("one:1", "LABEL v=2");
    let prune = |more: &[&str]| host.ok(&[&["image", "prune", "-f"], more].concat());
    assert_eq!(prune(&["--filter", "until=1h"]), "Total reclaimed space: 0B", "none is so old");
    assert_eq!(prune(&["--filter", "label=v=2"]), "Total reclaimed space: 0B", "it has a name");
    // Its layer is the second's as well.
    let gone = format!("Deleted Images:\ndeleted: {first}\n\nTotal reclaimed space: 0B");
    assert_eq!(prune(&[]), gone);
    host.ok(&["tag", "busybox", "also:1"]);
    let gone = prune(&["-a"]);
    let names = format!("untagged: also:1\nuntagged: one:1\ndeleted: {second}\ndeleted: sha256:");
    for line in names.lines() {
        assert!(gone.contains(line), "{line}: {gone}");
    }
    assert!(!gone.ends_with(" 0B"), "its layer is nobody's now: {gone}");
    assert_eq!(host.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "busybox:latest");
    let refused = host.fails(1, &["image", "prune", "-f", "--filter", "dangling=0"]);
    assert!(refused.contains("invalid filter 'dangling=[0 true]'"), "{refused}");
    let asked = host.feed(&["image", "prune", "-a"], b"n\n");
    assert!(asked.out.starts_with("WARNING! This will remove all images without"), "{}", asked.out);
}

#[test]
fn an_image_counts_its_containers() {
    let host = host();
    host.ok(&["tag", "busybox", "other:1"]);
    let counts = || host.ok(&["images", "--format", "{{.Repository}} {{.Containers}}"]);
    assert_eq!(counts(), "busybox 0\nother 0");
    // Those that do not run count, by whatever name their image was asked for.
    host.ok(&["create", "--name", "c1", "busybox"]);
    host.ok(&["run", "--name", "c2", "other:1", "true"]);
    assert_eq!(counts(), "busybox 2\nother 2");
    host.ok(&["rm", "c1"]);
    assert_eq!(counts(), "busybox 1\nother 1");
}

/// They go into the request's address, which takes 64 KiB (Docker's 1 MiB).
#[test]
fn changes_that_are_too_long_are_told_before_anything_is_read() {
    let host = host();
    let empty = vec![0; 1024];
    let import = |size: usize, source: &str| {
        let change = format!("ENV LONG={}", "x".repeat(size));
        host.feed(&["import", "-c", &change, source, "long:1"], &empty)
    };
    let long = import(66_000, "-");
    assert_eq!(long.code, Some(1), "{}", long.out);
    assert_eq!(
        long.err,
        "POST /images/create: the options are 66066 bytes long as they are sent, and at most 65534 can be"
    );
    assert_eq!(host.run(&["image", "inspect", "long:1"]).code, Some(1));
    let fits = import(65_000, "-");
    assert_eq!(fits.code, Some(0), "{}", fits.err);
    let length = host.ok(&["image", "inspect", "-f", "{{len (index .Config.Env 0)}}", "long:1"]);
    assert_eq!(length, "65005");
}
