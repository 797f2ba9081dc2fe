//! `idmap`: what a container's user makes belongs to the owner of the directory, and the other way round.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use testkit::Host;

use crate::host;

/// A directory of somebody's, with a file of theirs in it.
fn of(host: &Host, uid: u32, gid: u32) -> PathBuf {
    let dir = host.scratch().join("work");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("there"), "").unwrap();
    for path in [&dir, &dir.join("there")] {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    dir
}

fn owner(path: &Path) -> (u32, u32) {
    let there = fs::symlink_metadata(path).unwrap();
    (there.uid(), there.gid())
}

#[test]
fn files_belong_to_the_owner_of_the_directory_and_to_the_containers_user() {
    let host = host();
    let dir = of(&host, 4321, 4322);
    let bind = format!("{}:/w:idmap", dir.display());
    let mount = format!("type=bind,src={},dst=/w,idmap", dir.display());
    let volume = "type=volume,src=data,dst=/w,idmap";
    host.ok(&["volume", "create", "data"]);
    let data = host.root().join("volumes/data/_data");
    fs::write(data.join("there"), "").unwrap();
    for path in [&data, &data.join("there")] {
        chown(path, Some(4321), Some(4322)).unwrap();
    }
    let mut round = 0;
    for (flag, value, on_host) in [
        ("-v", bind.as_str(), &dir),
        ("--mount", &mount, &dir),
        ("--mount", volume, &data),
        ("-v", "data:/w:idmap", &data),
    ] {
        for user in ["0:0", "33:44"] {
            round += 1;
            let script = format!(
                "stat -c %u:%g /w /w/there; umask; touch /w/made{round}; stat -c %u:%g /w/made{round}"
            );
            let run = [
                "run",
                "--rm",
                "--network",
                "none",
                "-u",
                user,
                flag,
                value,
                "busybox",
                "sh",
                "-c",
                &script,
            ];
            assert_eq!(host.ok(&run), format!("{user}\n{user}\n0022\n{user}"), "{flag} {value}");
            // And so do containers of different users what others of them have made.
            assert_eq!(owner(&on_host.join(format!("made{round}"))), (4321, 4322));
        }
    }
    // The one who has changed places is seen where the other was.
    let script = "chown 4321:4322 /w/there; stat -c %u:%g /w/there";
    let run = ["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", script];
    assert_eq!(host.ok(&run), "4321:4322");
    assert_eq!(owner(&dir.join("there")), (0, 0));
    // Nobody else is anybody else.
    let script = "touch /w/third; chown 77:78 /w/third";
    host.ok(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", script]);
    assert_eq!(owner(&dir.join("third")), (77, 78));
    // Without the word all is as it is.
    let plain = format!("{}:/w", dir.display());
    let run =
        ["run", "--rm", "--network", "none", "-v", &plain, "busybox", "stat", "-c", "%u", "/w"];
    assert_eq!(host.ok(&run), "4321");
}

#[test]
fn two_users_at_once_share_a_directory_as_its_owner() {
    let host = host();
    let dir = of(&host, 4321, 4322);
    let bind = format!("{}:/w:idmap", dir.display());
    for (name, user) in [("one", "1001:1001"), ("two", "1002:1002")] {
        host.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "none",
            "-u",
            user,
            "-v",
            &bind,
            "busybox",
            "sleep",
            "1000",
        ]);
    }
    host.ok(&["exec", "one", "sh", "-c", "echo from one >/w/f"]);
    host.ok(&["exec", "two", "sh", "-c", "echo from two >>/w/f"]);
    assert_eq!(
        host.ok(&["exec", "one", "sh", "-c", "cat /w/f; stat -c %u /w/f"]),
        "from one\nfrom two\n1001"
    );
    assert_eq!(owner(&dir.join("f")), (4321, 4322));
}

#[test]
fn a_user_namespace_is_no_obstacle() {
    let host = host();
    let dir = of(&host, 4321, 4322);
    let bind = format!("{}:/w:idmap", dir.display());
    let script = "stat -c %u:%g /w /w/there; touch /w/made";
    for user in ["0:0", "33:44"] {
        let run = [
            "run",
            "--rm",
            "--network",
            "none",
            "--userns=auto",
            "-u",
            user,
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            script,
        ];
        assert_eq!(host.ok(&run), format!("{user}\n{user}"));
        assert_eq!(owner(&dir.join("made")), (4321, 4322));
        fs::remove_file(dir.join("made")).unwrap();
    }
    // An owner that the container has no id for.
    chown(&dir, Some(3_000_000), Some(3_000_000)).unwrap();
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "--userns=auto",
        "-v",
        &bind,
        "busybox",
        "touch",
        "/w/made",
    ];
    host.ok(&run);
    assert_eq!(owner(&dir.join("made")), (3_000_000, 3_000_000));
}

#[test]
fn ids_are_mapped_one_by_one() {
    let host = host();
    let dir = of(&host, 4321, 4322);
    let map = "idmap=uids=4321-5-1#0-100-10;gids=4322-6-1";
    let bind = format!("{}:/w:{map}", dir.display());
    let mount = format!("type=bind,src={},dst=/w,{map}", dir.display());
    for (flag, value) in [("-v", &bind), ("--mount", &mount)] {
        let script =
            "stat -c %u:%g /w; touch /w/made 2>/dev/null || echo refused; chown 103:6 /w/there";
        let run = ["run", "--rm", "--network", "none", flag, value, "busybox", "sh", "-c", script];
        // Root is nobody there: what has no place in the map cannot be made.
        assert_eq!(host.ok(&run), "5:6\nrefused");
        assert_eq!(owner(&dir.join("there")), (3, 4322));
        chown(dir.join("there"), Some(4321), Some(4322)).unwrap();
    }
    for bad in ["idmap=x", "idmap=uids=0-1-1#0-2-1"] {
        let bind = format!("{}:/w:{bad}", dir.display());
        let said = host.fails(125, &["run", "--rm", "-v", &bind, "busybox", "true"]);
        assert!(said.contains("invalid idmap"), "{said}");
    }
    let said =
        host.fails(125, &["run", "--rm", "--mount", "type=tmpfs,dst=/w,idmap", "busybox", "true"]);
    assert!(said.contains("field Idmap must not be specified"), "{said}");
}

#[test]
fn it_is_so_wherever_the_mount_comes_from() {
    let host = host();
    let dir = of(&host, 4321, 4322);
    let bind = format!("{}:/w:idmap", dir.display());
    // By an update, while it runs.
    host.ok(&[
        "run",
        "-d",
        "--name",
        "late",
        "--network",
        "none",
        "-u",
        "33:44",
        "busybox",
        "sleep",
        "1000",
    ]);
    host.ok(&["update", "-v", &bind, "late"]);
    assert_eq!(host.ok(&["exec", "late", "sh", "-c", "touch /w/late; stat -c %u:%g /w"]), "33:44");
    assert_eq!(owner(&dir.join("late")), (4321, 4322));
    // After a restart, and as another container's.
    host.ok(&["restart", "-t", "0", "late"]);
    assert_eq!(host.ok(&["exec", "late", "stat", "-c", "%u:%g", "/w/late"]), "33:44");
    // In what is copied to and from one that does not run.
    let mount = format!("type=bind,src={},dst=/w,idmap", dir.display());
    host.ok(&["create", "--name", "still", "-u", "33:44", "--mount", &mount, "busybox"]);
    let file = host.scratch().join("file");
    fs::write(&file, "text").unwrap();
    chown(&file, Some(33), Some(44)).unwrap();
    host.ok(&["cp", "-a", &file.to_string_lossy(), "still:/w/copied"]);
    assert_eq!(owner(&dir.join("copied")), (4321, 4322));
    // And it is shown.
    assert_eq!(
        host.ok(&["inspect", "-f", "{{json .HostConfig.Binds}}", "late"]),
        format!("[\"{bind}\"]")
    );
    assert!(host.ok(&["inspect", "--as", "run", "still"]).contains(",idmap"));
    assert!(host.ok(&["inspect", "--as", "run", "late"]).contains(":idmap"));
}

#[test]
fn a_file_system_that_cannot_says_so_in_a_line() {
    let host = host();
    let run =
        ["run", "--rm", "--network", "none", "-u", "33", "-v", "/proc:/p:idmap", "busybox", "true"];
    let said = host.fails(125, &run);
    assert!(said.contains("/proc cannot be shown with other owners: its file system"), "{said}");
}
