//! Volumes that are cloned, renamed, labelled and counted.

use std::fs;
use std::os::unix::fs::MetadataExt;

use sys::failpoint::Point;
use testkit::{Disk, FileSystem, Host};

use crate::events::now;
use crate::{DHOW, host};

/// Runs a shell with a volume at `/v`.
fn sh(host: &Host, volume: &str, script: &str) -> String {
    let bind = format!("{volume}:/v");
    host.ok(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", script])
}

#[test]
fn a_clone_has_all_that_the_volume_has_and_goes_its_own_way() {
    let host = host();
    host.ok(&["volume", "create", "--label", "k=v", "from"]);
    let data = host.root().join("volumes/from/_data");
    sh(
        &host,
        "from",
        "cd /v; echo one >f; ln f hard; ln -s f soft; mkfifo fifo; chown 7:8 f; chmod 4711 f; mkdir .wh.d; \
         echo x >.wh.d/.wh..wh..opq; mknod null c 1 3; chmod 1770 /v; chown 3:4 /v; touch -d @1000 f",
    );
    // What an engine in a container keeps there.
    let root = sys::root::Root::open(&data).unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    root.mknod("gone", kind, rustix::fs::Mode::empty(), 0).unwrap();
    root.set_xattr(".wh.d", c"trusted.overlay.opaque", b"y").unwrap();
    let _listens = std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap();
    let said = host.run(&["volume", "clone", "from", "to"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "to"), "{}", said.err);
    assert!(said.err.contains("left out: 1 sockets"), "{}", said.err);
    // How large a directory is may depend on what was in it, such as the socket.
    let look = "cd /v; stat -c '%n %F %a %u:%g %h %t,%T' . * .wh.d .wh.d/.wh..wh..opq | grep -v socket; \
                stat -c '%s %Y' f .wh.d/.wh..wh..opq; cat hard";
    assert_eq!(sh(&host, "from", look), sh(&host, "to", look));
    let copy = sys::root::Root::open(host.root().join("volumes/to/_data")).unwrap();
    assert_eq!(
        copy.get_xattr(".wh.d", c"trusted.overlay.opaque").unwrap().as_deref(),
        Some(&b"y"[..])
    );
    assert_eq!(copy.metadata("gone").unwrap().st_rdev, 0);
    assert_eq!(host.ok(&["volume", "inspect", "-f", "{{json .Labels}}", "to"]), r#"{"k":"v"}"#);
    sh(&host, "to", "echo two >/v/f");
    assert_eq!(sh(&host, "from", "cat /v/hard"), "one");
    for (from, to, want) in [
        ("nosuch", "x1", "get nosuch: no such volume"),
        ("from", "to", "volume to already exists"),
        ("from", "a/b", "includes invalid characters for a local volume name"),
    ] {
        let said = host.fails(1, &["volume", "clone", from, to]);
        assert!(said.contains(want) && said.lines().count() == 1, "{said}");
    }
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "from\nto");
}

#[test]
fn a_clone_shares_what_the_file_system_can_share() {
    let place = tempfile::Builder::new().prefix("dhow-test-clone-").tempdir().unwrap();
    let image = place.path().join("image");
    let disk = Disk::image(FileSystem::Xfs, &place.path().join("data"), &image);
    let host = Host::with_roots(DHOW, &disk.path().join("root"), &place.path().join("run"));
    host.ok(&["volume", "create", "from"]);
    let file = disk.path().join("root/volumes/from/_data/big");
    fs::write(&file, vec![7; 32 << 20]).unwrap();
    let free = || rustix::fs::statvfs(disk.path()).unwrap().f_bavail;
    rustix::fs::syncfs(fs::File::open(&file).unwrap()).unwrap();
    let before = free();
    host.ok(&["volume", "clone", "from", "to"]);
    let copy = fs::read(disk.path().join("root/volumes/to/_data/big")).unwrap();
    assert!(copy == vec![7; 32 << 20]);
    // 4 MiB of 4096 bytes each; the copy would take 32.
    let taken = before.saturating_sub(free());
    assert!(taken < 1024, "{taken} blocks");
}

#[test]
fn containers_stand_still_while_a_clone_asks_for_it() {
    let host = host();
    let beats = "i=0; while :; do i=$((i+1)); echo $i >/v/a; echo $i >/v/b; done";
    host.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "-v",
        "from:/v",
        "busybox",
        "sh",
        "-c",
        beats,
    ]);
    host.ok(&["volume", "clone", "--pause", "from", "to"]);
    let until = now();
    let events =
        ["events", "--until", &until, "--filter", "container=box", "--format", "{{.Action}}"];
    let told = host.ok(&events);
    let about: Vec<&str> = told.lines().filter(|line| line.ends_with("pause")).collect();
    assert_eq!(about, ["pause", "unpause"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "box"]), "running");
}

#[test]
fn containers_follow_a_volume_to_its_new_name() {
    let host = host();
    host.ok(&["create", "--name", "short", "-v", "old:/v:ro", "busybox", "cat", "/v/f"]);
    let long = "type=volume,src=old,dst=/v";
    host.ok(&["create", "--name", "long", "--mount", long, "busybox", "cat", "/v/f"]);
    sh(&host, "old", "echo kept >/v/f");
    host.ok(&["volume", "rename", "old", "new"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "new");
    for name in ["short", "long"] {
        assert_eq!(host.ok(&["start", "-a", name]), "kept");
        assert_eq!(host.ok(&["inspect", "-f", "{{(index .Mounts 0).Name}}", name]), "new");
        let shown = host.ok(&["inspect", "-f", "{{json .HostConfig}}", name]);
        assert!(!shown.contains("old"), "{shown}");
        assert!(host.ok(&["inspect", "--as", "run", name]).contains("new"));
    }
    let shown = ["inspect", "-f", "{{json .HostConfig.Binds}}", "short"];
    assert_eq!(host.ok(&shown), r#"["new:/v:ro"]"#);
    // Nothing points anywhere any more, and the old name is free.
    let dir = host.root().join("volumes");
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["new"]);
    let inside: Vec<_> =
        fs::read_dir(dir.join("new")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(inside, ["_data"]);
    host.ok(&["volume", "create", "old"]);
    let filter = ["--filter", "type=volume", "--filter", "event=rename"];
    let until = now();
    let events =
        [&["events", "--until", &until][..], &filter, &["--format", "{{json .Actor}}"]].concat();
    let told = host.ok(&events);
    assert!(told.contains(r#""ID":"new""#) && told.contains(r#""oldName":"old""#), "{told}");
}

#[test]
fn what_somebody_names_is_anonymous_no_more() {
    let host = host();
    host.ok(&["create", "--name", "box", "-v", "/v", "busybox"]);
    let drawn = host.ok(&["volume", "ls", "-q"]);
    host.ok(&["volume", "rename", &drawn, "mine"]);
    host.ok(&["rm", "-v", "box"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "mine");
    host.ok(&["volume", "prune", "-f"]);
    assert_eq!(host.ok(&["volume", "ls", "-q", "--filter", "dangling=true"]), "mine");
}

#[test]
fn renames_that_make_no_sense_are_refused_in_a_line() {
    let host = host();
    host.ok(&["volume", "create", "other"]);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        "-v",
        "data:/v",
        "busybox",
        "sleep",
        "1000",
    ]);
    for (from, to, want) in [
        (
            "data",
            "new",
            "rename data: volume is in use by container web, which runs: stop it first",
        ),
        ("nosuch", "new", "get nosuch: no such volume"),
        ("data", "other", "volume other already exists"),
        ("other", "other", "volume other already exists"),
        ("other", "x", "includes invalid characters for a local volume name"),
    ] {
        let said = host.fails(1, &["volume", "rename", from, to]);
        assert!(said.contains(want) && said.lines().count() == 1, "{from} {to}: {said}");
    }
}

/// What a volume is called that was renamed to `new`, after another command.
fn last_name(next: &[&str]) -> &'static str {
    if next[1] == "rename" { "newer" } else { "new" }
}

/// Whoever comes next after a kill between the row and the directory: a collection, one who makes a
/// volume of the old name, one who removes the new one, one who renames it again.
#[test]
fn a_rename_that_was_cut_short_loses_nothing() {
    let host = host();
    for point in [Point::VolumeRenamed, Point::VolumeMoved] {
        for next in [
            &["system", "check", "--repair"][..],
            &["volume", "create", "old"],
            &["volume", "rename", "new", "newer"],
            &["run", "--rm", "--network", "none", "-v", "new:/bin2", "busybox", "true"],
            &["volume", "rm", "new"],
        ] {
            sh(&host, "old", "echo kept >/v/f");
            let wish = format!("{}=kill", point.name());
            let mut command = host.command(&["volume", "rename", "old", "new"]);
            assert!(!command.env("DHOW_FAILPOINT", wish).status().unwrap().success());
            host.ok(next);
            if next[1] != "rm" {
                let name = last_name(next);
                assert_eq!(sh(&host, name, "cat /v/f"), "kept", "{point:?} {next:?}");
                let look = fs::symlink_metadata(host.root().join("volumes").join(name)).unwrap();
                let is_own = look.is_dir() && look.uid() == 0;
                assert!(is_own || next[0] == "run", "{point:?} {next:?}");
                host.ok(&["volume", "rm", name]);
            }
            let _ = host.run(&["volume", "rm", "-f", "old"]);
            host.ok(&["system", "check", "--repair"]);
            let left = fs::read_dir(host.root().join("volumes")).unwrap().count();
            assert_eq!(left, 0, "{point:?} {next:?}");
        }
    }
}

#[test]
fn sizes_are_counted_where_they_are_asked_for() {
    let host = host();
    sh(&host, "data", "head -c 3000 /dev/zero >/v/f");
    host.ok(&["volume", "create", "empty"]);
    assert_eq!(
        host.ok(&["volume", "ls", "--size"]),
        "DRIVER    VOLUME NAME   SIZE\nlocal     data          3kB\nlocal     empty         0B"
    );
    let row = [
        "volume",
        "ls",
        "-s",
        "--filter",
        "name=data",
        "--format",
        "{{.Name}} {{.Size}} {{.Links}}",
    ];
    assert_eq!(host.ok(&row), "data 3kB 0");
    assert_eq!(
        host.ok(&["volume", "ls"]),
        "DRIVER    VOLUME NAME\nlocal     data\nlocal     empty"
    );
}

#[test]
fn labels_come_and_go() {
    let host = host();
    host.ok(&["volume", "create", "--label", "a=1", "--label", "b=2", "data"]);
    let update =
        ["volume", "update", "--label-add", "b=3", "--label-add", "c=4", "--label-rm", "a", "data"];
    assert_eq!(host.ok(&update), "data");
    let labels = ["volume", "inspect", "-f", "{{json .Labels}}", "data"];
    assert_eq!(host.ok(&labels), r#"{"b":"3","c":"4"}"#);
    assert_eq!(host.ok(&["volume", "ls", "-q", "--filter", "label=c=4"]), "data");
    for words in [
        &["volume", "update", "data"][..],
        &["volume", "update", "--availability", "pause", "data"],
    ] {
        assert!(host.fails(1, words).contains("can only update cluster volumes"));
    }
    for words in
        [&["volume", "update", "nosuch"][..], &["volume", "update", "--label-add", "a=b", "nosuch"]]
    {
        assert!(host.fails(1, words).contains("get nosuch: no such volume"));
    }
}
