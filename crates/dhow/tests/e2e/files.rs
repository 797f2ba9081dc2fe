//! Volumes, binds, tmpfs, read-only roots, export.

use std::collections::BTreeSet;

use crate::host;

#[test]
fn a_named_volume_outlives_its_container() {
    let host = host();
    host.ok(&["run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/f"]);
    assert_eq!(host.ok(&["run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/f"]), "kept");
    host.ok(&["create", "--name", "u1", "-v", "data:/data", "busybox"]);
    assert!(host.fails(1, &["volume", "rm", "data"]).contains("volume is in use"));
    host.ok(&["rm", "u1"]);
    assert_eq!(host.ok(&["volume", "rm", "data"]), "data");
}

#[test]
fn an_empty_volume_is_filled_from_the_image() {
    let host = host();
    let out = host.ok(&[
        "run",
        "--rm",
        "-v",
        "etc:/etc",
        "busybox",
        "sh",
        "-c",
        "cat /etc/passwd | head -n 1; stat -c %a /etc",
    ]);
    assert_eq!(out, "root:x:0:0:root:/root:/bin/sh\n755");
    assert_eq!(
        host.ok(&[
            "run",
            "--rm",
            "-v",
            "none:/etc:nocopy",
            "busybox",
            "sh",
            "-c",
            "ls /etc | grep -c passwd || true"
        ]),
        "0"
    );
    host.ok(&["volume", "rm", "etc", "none"]);
}

#[test]
fn a_filled_volume_has_the_directorys_own_mode() {
    let host = host();
    assert_eq!(
        host.ok(&["run", "--rm", "-v", "tt:/tmp", "busybox", "stat", "-c", "%a", "/tmp"]),
        "1777"
    );
}

#[test]
fn anonymous_volumes_go_with_rm() {
    let host = host();
    host.ok(&["run", "--rm", "-v", "/data", "busybox", "touch", "/data/x"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
    host.ok(&["run", "--name", "a1", "-v", "/data", "busybox", "true"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]).len(), 64);
    host.ok(&["rm", "-v", "a1"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
}

/// Also one whose name was drawn: it has become the user's when the user names it.
#[test]
fn a_volume_that_the_user_names_stays() {
    let host = host();
    let made = host.ok(&["volume", "create"]);
    host.ok(&[
        "run",
        "--name",
        "first",
        "-v",
        "/data",
        "busybox",
        "sh",
        "-c",
        "echo kept >/data/f",
    ]);
    let drawn = host.ok(&["inspect", "-f", "{{(index .Mounts 0).Name}}", "first"]);
    host.ok(&["rm", "first"]);
    for name in [&made, &drawn] {
        let named = format!("{name}:/data");
        host.ok(&["run", "--rm", "-v", &named, "busybox", "sh", "-c", "echo more >>/data/f"]);
        host.ok(&["create", "--name", "next", "-v", &named, "-v", "/own", "busybox"]);
        host.ok(&["rm", "-v", "next"]);
        let mut create = host.command(&["create", "-v", &named, "busybox"]);
        let killed = create.env("DHOW_FAILPOINT", "create.volumes=kill").output().unwrap();
        assert!(!killed.status.success());
        host.ok(&["system", "check", "--repair"]);
    }
    // The list's own order is the natural one, in which drawn names may stand either way.
    let left = host.ok(&["volume", "ls", "-q"]);
    assert_eq!(
        left.lines().collect::<BTreeSet<_>>(),
        BTreeSet::from([made.as_str(), drawn.as_str()])
    );
    let read = ["run", "--rm", "-v", &format!("{drawn}:/data"), "busybox", "cat", "/data/f"];
    assert_eq!(host.ok(&read), "kept\nmore");
}

/// One file that nobody can delete must not stop all others.
#[test]
#[expect(clippy::disallowed_methods, reason = "only a program of the host makes files immutable")]
fn a_file_that_cannot_be_deleted_is_in_nobodys_way() {
    let host = host();
    host.ok(&["run", "--name", "stuck", "busybox", "touch", "/fixed"]);
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "stuck"]);
    let upper = host.root().join("containers").join(id).join("upper/fixed");
    let set = |flag: &str, path: &std::path::Path| {
        assert!(
            std::process::Command::new("chattr").arg(flag).arg(path).status().unwrap().success()
        );
    };
    set("+i", &upper);
    let refused = host.fails(1, &["rm", "stuck"]);
    assert!(refused.contains("Operation not permitted"), "{refused}");
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    let archive = testkit::busybox_archive(host.scratch()).unwrap();
    host.ok(&["load", "-i", &archive.to_string_lossy()]);
    host.ok(&["run", "--rm", "busybox", "true"]);
    let refused = host.fails(1, &["system", "check", "--repair"]);
    assert!(refused.contains("Operation not permitted"), "{refused}");
    let bins = std::fs::read_dir(host.root().join("trash")).unwrap().flatten();
    bins.for_each(|bin| set("-i", &bin.path().join("upper/fixed")));
    host.ok(&["system", "check", "--repair"]);
    assert_eq!(std::fs::read_dir(host.root().join("trash")).unwrap().count(), 0);
}

#[test]
fn diff_tells_what_the_container_has_changed() {
    let host = host();
    let script = "echo x:x:1: >> /etc/group; rm /etc/passwd; mkdir -p /new/dir; echo y > /new/dir/f; \
                  echo z > /made; rm /made; touch /bin";
    let mounts = ["-v", "/data", "--init", "-w", "/work"];
    let run =
        [&["run", "--name", "changed"][..], &mounts, &["busybox", "sh", "-c", script]].concat();
    host.ok(&run);
    assert_eq!(
        host.ok(&["diff", "changed"]),
        "C /bin\nA /data\nC /etc\nC /etc/group\nD /etc/passwd\nA /new\nA /new/dir\nA /new/dir/f\nA /work"
    );
    // What every container gets is nobody's change, whether or not the image has it.
    host.ok(&["run", "--name", "same", "busybox", "true"]);
    assert_eq!(host.ok(&["diff", "same"]), "");
    host.ok(&["create", "--name", "fresh", "busybox"]);
    assert_eq!(host.ok(&["container", "diff", "fresh"]), "");
    assert_eq!(
        host.fails(1, &["diff", "nosuch"]),
        "Error response from daemon: No such container: nosuch"
    );
}

#[test]
fn binds_are_the_hosts_own_files() {
    let host = host();
    let dir = host.scratch().join("bind");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "host\n").unwrap();
    let bind = format!("{}:/mnt", dir.display());
    assert_eq!(
        host.ok(&[
            "run",
            "--rm",
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            "cat /mnt/f; echo new > /mnt/g"
        ]),
        "host"
    );
    assert_eq!(std::fs::read_to_string(dir.join("g")).unwrap(), "new\n");
    let read_only = format!("{bind}:ro");
    let ran = host.run(&["run", "--rm", "-v", &read_only, "busybox", "touch", "/mnt/h"]);
    assert!(ran.code == Some(1) && ran.err.contains("Read-only file system"), "{}", ran.err);
    let missing = format!("type=bind,source={},target=/x", host.scratch().join("nosuch").display());
    assert!(
        host.fails(125, &["run", "--rm", "--mount", &missing, "busybox"])
            .contains("bind source path does not exist")
    );
}

#[test]
fn memory_and_read_only_roots() {
    let host = host();
    let out = host.ok(&["run", "--rm", "--read-only", "--tmpfs", "/scratch:size=1m", "busybox", "sh", "-c",
        "touch /x 2>/dev/null || echo refused; touch /scratch/x && echo written; grep ' /scratch ' /proc/mounts | cut -d' ' -f3"]);
    assert_eq!(out, "refused\nwritten\ntmpfs");
}

#[test]
fn export_writes_the_tree() {
    let host = host();
    host.ok(&["run", "--name", "x1", "busybox", "sh", "-c", "echo mine > /new"]);
    let archive = host.scratch().join("x.tar");
    host.ok(&["export", "-o", &archive.to_string_lossy(), "x1"]);
    host.ok(&["import", &archive.to_string_lossy(), "made:1"]);
    assert_eq!(host.ok(&["run", "--rm", "made:1", "/bin/cat", "/new"]), "mine");
}

#[test]
fn a_volume_in_use_stays_and_its_user_is_named() {
    let host = host();
    let user = host.ok(&["create", "-v", "data:/d", "busybox", "true"]);
    let refused = host.fails(1, &["volume", "rm", "data"]);
    assert!(refused.contains(&format!("remove data: volume is in use - [{user}]")), "{refused}");
    host.ok(&["rm", &user]);
    host.ok(&["volume", "rm", "data"]);
    assert!(!host.root().join("volumes/data").exists());
}

#[test]
fn a_prune_takes_anonymous_volumes_and_all_only_if_asked() {
    let host = host();
    host.ok(&["volume", "create", "named"]);
    host.ok(&["volume", "create", "--label", "keep", "labelled"]);
    let script = "head -c 3000 /dev/zero > /anon/f";
    let run = ["run", "--name", "left", "-v", "/anon", "busybox", "sh", "-c", script];
    host.ok(&run);
    host.ok(&["create", "-v", "/used", "-v", "data:/data", "busybox"]);
    let prune = |more: &[&str]| host.ok(&[&["volume", "prune", "-f"], more].concat());
    assert_eq!(prune(&[]), "Total reclaimed space: 0B", "all are used");
    let format = "{{range .Mounts}}{{.Name}}{{end}}";
    let anonymous = host.ok(&["inspect", "-f", format, "left"]);
    host.ok(&["rm", "left"]);
    let gone = format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 3kB");
    assert_eq!(prune(&[]), gone);
    assert!(!host.root().join("volumes").join(&anonymous).exists());
    let gone = "Deleted Volumes:\nnamed\n\nTotal reclaimed space: 0B";
    assert_eq!(prune(&["-a", "--filter", "label!=keep"]), gone);
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 3, "used, data and labelled");
    let refused = host.fails(1, &["volume", "prune", "-f", "--filter", "dangling=true"]);
    assert!(refused.contains("invalid filter 'dangling'"), "{refused}");
    let refused = host.fails(1, &["volume", "prune", "-a", "--filter", "all=1"]);
    assert!(refused.contains("cannot specify both --all and --filter all=1"), "{refused}");
    let asked = host.feed(&["volume", "prune"], b"");
    assert_eq!(asked.code, Some(0));
    assert!(asked.out.starts_with("WARNING! This will remove anonymous local volumes"));
}

#[test]
fn our_files_lie_in_an_etc_of_the_users_and_under_files_of_the_users() {
    let host = host();
    let script = "hostname; cat /etc/hostname; grep -c nameserver /etc/resolv.conf; \
                  grep -c ip6-allnodes /etc/hosts";
    for mount in [["-v", "ro:/etc:ro"], ["-v", "etc:/etc"], ["--tmpfs", "/etc"]] {
        let run = [&["run", "--rm", "-h", "box", "--network", "none"], &mount[..]].concat();
        let run = [&run[..], &["--dns", "1.2.3.4", "busybox", "sh", "-c", script]].concat();
        let lines = host.run(&run).out;
        assert_eq!(lines, "box\nbox\n1\n1", "{mount:?}");
    }
    let own = host.scratch().join("own");
    std::fs::write(&own, "mine\n").unwrap();
    let bind = format!("{}:/etc/resolv.conf", own.display());
    let run = ["run", "--rm", "-v", &bind, "-v", "etc:/etc", "busybox", "cat", "/etc/resolv.conf"];
    assert_eq!(host.ok(&run), "mine");
    host.ok(&["volume", "rm", "etc", "ro"]);
}

#[test]
fn a_file_and_a_directory_are_not_mounted_on_each_other() {
    let host = host();
    let file = host.scratch().join("file");
    std::fs::write(&file, "").unwrap();
    for bind in
        [format!("{}:/etc", file.display()), format!("{}:/etc/passwd", host.scratch().display())]
    {
        let refused = host.fails(125, &["run", "--rm", "-v", &bind, "busybox", "true"]);
        assert!(
            refused.contains("a directory and a file cannot be mounted on each other"),
            "{refused}"
        );
    }
}

#[test]
fn what_a_private_source_cannot_pass_on_is_refused() {
    let host = host();
    let dir = host.scratch().join("private");
    std::fs::create_dir(&dir).unwrap();
    let path = dir.display();
    // A mount of its own, private whatever the machine's are.
    rustix::mount::mount(c"none", &dir, c"tmpfs", rustix::mount::MountFlags::empty(), None)
        .unwrap();
    let set = rustix::mount::MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change(&dir, set).unwrap();
    let run = |mode: &str| {
        let bind = format!("{path}:/mnt:{mode}");
        host.run(&["run", "--rm", "-v", &bind, "busybox", "true"])
    };
    let (shared, slave) = (run("shared"), run("rslave"));
    let set = rustix::mount::MountPropagationFlags::SHARED;
    rustix::mount::mount_change(&dir, set).unwrap();
    let (then_shared, then_slave) = (run("shared"), run("rslave"));
    rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::DETACH).unwrap();
    for (ran, kind) in [(shared, "shared"), (slave, "shared or slave")] {
        let says = format!("path {path} is mounted on {path} but it is not a {kind} mount");
        assert!(ran.code == Some(125) && ran.err.contains(&says), "{}", ran.err);
    }
    for ran in [then_shared, then_slave] {
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
}

#[test]
fn a_tmpfs_may_have_a_share_of_the_memory() {
    let host = host();
    let size = |size: &str| -> u64 {
        let tmpfs = format!("/t:size={size}");
        let script = "df -k /t | tail -n 1 | awk '{ print $2 }'";
        let kib = host.ok(&["run", "--rm", "--tmpfs", &tmpfs, "busybox", "sh", "-c", script]);
        kib.parse().unwrap()
    };
    let (one, two) = (size("1%"), size("2%"));
    assert!(one > 0 && two >= 2 * one - 8 && two <= 2 * one + 8, "{one} {two}");
}
