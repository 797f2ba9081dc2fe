//! `--volumes-from`, parts of volumes, volumes with labels and options, and what is refused of them.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Swap, until};

use crate::host;

#[test]
fn volumes_come_from_containers_that_run_or_not() {
    let host = host();
    let bound = host.scratch().join("bound");
    fs::create_dir(&bound).unwrap();
    let bind = format!("{}:/bind:ro", bound.display());
    let options = [
        "create",
        "--name",
        "first",
        "--network",
        "none",
        "-v",
        "named:/named",
        "-v",
        "/anon",
        "-v",
        &bind,
        "--tmpfs",
        "/typed",
        "--mount",
        "type=tmpfs,dst=/mem",
        "busybox",
    ];
    host.ok(&options);
    let look = "for d in named anon bind mem typed; do grep -q \" /$d \" /proc/mounts && echo $d; done; \
        echo x >/named/x; echo y >/anon/y; touch /bind/z 2>/dev/null && echo written; :";
    let words = [
        "run",
        "--name",
        "second",
        "--network",
        "none",
        "--volumes-from",
        "first",
        "busybox",
        "sh",
        "-c",
        look,
    ];
    assert_eq!(host.ok(&words), "named\nanon\nbind\nmem");
    let look = "cat /named/x /anon/y; touch /named/z 2>/dev/null && echo written; :";
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--volumes-from",
        "second:ro",
        "busybox",
        "sh",
        "-c",
        look,
    ];
    assert_eq!(host.ok(&words), "x\ny");
    let shown = "{{json .HostConfig.VolumesFrom}}{{range .Mounts}} {{.Type}}:{{.Destination}}:{{.RW}}{{end}}";
    assert_eq!(
        host.ok(&["inspect", "-f", shown, "second"]),
        "[\"first\"] volume:/anon:true bind:/bind:false tmpfs:/mem:true volume:/named:true"
    );
    // The volume without a name goes with the last that has it.
    host.ok(&["rm", "-v", "first"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 2);
    host.ok(&["rm", "-v", "second"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "named");
}

#[test]
fn ones_own_mounts_count_and_so_do_names() {
    let host = host();
    host.ok(&["create", "--name", "first", "-v", "named:/named", "busybox"]);
    let inherits = ["run", "--rm", "--network", "none", "--volumes-from", "first"];
    let own = ["-v", "own:/named", "busybox", "touch", "/named/x"];
    host.ok(&[&inherits[..], &own].concat());
    assert_eq!(host.ok(&[&inherits[..], &["busybox", "ls", "/named"]].concat()), "");
    host.ok(&["rm", "first"]);
    for (wish, want) in [("nosuch", "No such container: nosuch"), ("x1:yy", "invalid mode: yy")] {
        let refused = host.fails(125, &["run", "--volumes-from", wish, "busybox"]);
        assert!(refused.contains(want) && !refused.contains("Unable to find image"), "{refused}");
    }
}

#[test]
fn a_part_of_a_volume_is_mounted_and_nothing_beside_it() {
    let host = host();
    let fill = "mkdir -p /v/a/b && echo in >/v/a/b/f && echo out >/v/secret && ln -s /a/b /v/link && ln -s /../../../etc /v/up";
    host.ok(&["run", "--rm", "--network", "none", "-v", "vol:/v", "busybox", "sh", "-c", fill]);
    let run = |part: &str| {
        let mount = format!("type=volume,src=vol,dst=/m,volume-subpath={part}");
        host.run(&["run", "--rm", "--network", "none", "--mount", &mount, "busybox", "ls", "/m"])
    };
    assert_eq!(run("a/b").out, "f");
    assert_eq!(run("link").out, "f");
    for (part, want) in [
        ("nosuch", "no such file or directory"),
        ("up", "no such file or directory"),
        ("../x", "subpath must be a relative path within the volume"),
        ("/a", "subpath must be a relative path within the volume"),
    ] {
        let refused = run(part);
        assert!(refused.code != Some(0) && refused.err.contains(want), "{part}: {}", refused.err);
    }
    host.ok(&["volume", "rm", "vol"]);
}

/// The part and a link to a directory of the host change places while containers start.
#[test]
fn a_part_that_is_swapped_leads_nowhere_outside() {
    let host = host();
    host.ok(&["volume", "create", "vol"]);
    let data = host.root().join("volumes/vol/_data");
    let canary = host.scratch().join("canary");
    fs::create_dir_all(data.join("part")).unwrap();
    fs::create_dir(&canary).unwrap();
    fs::write(data.join("part/inside"), "").unwrap();
    fs::write(canary.join("outside"), "").unwrap();
    symlink(&canary, data.join("other")).unwrap();
    let swap = Swap::start(&data.join("part"), &data.join("other"));
    let mount = "type=volume,src=vol,dst=/m,volume-subpath=part";
    let words = ["run", "--rm", "--network", "none", "--mount", mount, "busybox", "ls", "/m"];
    let mut mounted = 0;
    for _ in 0..20 {
        let ran = host.run(&words);
        assert!(!ran.out.contains("outside"), "{}", ran.out);
        mounted += usize::from(ran.out == "inside");
    }
    drop(swap);
    assert!(mounted > 0, "nothing was mounted at all");
    host.ok(&["volume", "rm", "vol"]);
}

#[test]
fn volumes_have_the_labels_and_options_that_a_mount_gives_them() {
    let host = host();
    let mount = "type=volume,src=vol,dst=/m,volume-label=a=b,volume-label=c,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m";
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--mount",
        mount,
        "busybox",
        "grep",
        " /m ",
        "/proc/mounts",
    ];
    assert!(host.ok(&words).contains("size=1024k"), "not the size that was asked for");
    let shown = "{{json .Labels}} {{json .Options}}";
    assert_eq!(
        host.ok(&["volume", "inspect", "-f", shown, "vol"]),
        r#"{"a":"b","c":""} {"device":"tmpfs","o":"size=1m","type":"tmpfs"}"#
    );
    host.ok(&["volume", "rm", "vol"]);
}

#[test]
fn a_volume_with_options_is_what_they_name() {
    let host = host();
    let dir = host.scratch().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("f"), "text").unwrap();
    let device = format!("device={}", dir.display());
    let make = |name: &str, options: &[&str]| {
        let mut words = vec!["volume", "create"];
        options.iter().for_each(|option| words.extend(["-o", option]));
        words.push(name);
        host.ok(&words)
    };
    make("bound", &["type=none", "o=bind", &device]);
    make("readonly", &["type=none", "o=bind,ro", &device]);
    make("memory", &["type=tmpfs", "device=tmpfs", "o=size=2m,mode=700"]);
    make("gone", &["type=none", "o=bind", "device=/no/such"]);
    make("remote", &["type=nfs", "o=addr=127.0.0.1", "device=:/x"]);
    let sh = |volume: &str, script: &str| {
        let bind = format!("{volume}:/m");
        host.run(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", script])
    };
    assert_eq!(sh("bound", "cat /m/f; echo new >/m/g").out, "text");
    assert_eq!(fs::read_to_string(dir.join("g")).unwrap(), "new\n");
    assert!(sh("readonly", "touch /m/h").err.contains("Read-only"));
    // Those that run at once have one memory; with the last of them it is gone.
    host.ok(&[
        "run",
        "-d",
        "--name",
        "first",
        "--network",
        "none",
        "-v",
        "memory:/m",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(sh("memory", "stat -c %a /m; echo shared >/m/x").out, "700");
    assert_eq!(host.ok(&["exec", "first", "cat", "/m/x"]), "shared");
    assert!(host.ok(&["cp", "first:/m/x", "-"]).contains("shared"));
    let file = dir.join("f").to_str().unwrap().to_owned();
    host.ok(&["cp", &file, "first:/m/"]);
    host.ok(&["stop", "-t", "0", "first"]);
    let refused = host.fails(1, &["cp", &file, "first:/m/"]);
    assert!(refused.contains("memory that only containers that run have"), "{refused}");
    // Another directory in its place is not taken for it.
    let words = ["run", "-d", "--name", "other", "--network", "none", "-v", "memory:/a/m"];
    let swap = "mv /a /b; mkdir -p /a/m; touch /a/m/other; touch /done; sleep 1000";
    host.ok(&[&words[..], &["busybox", "sh", "-c", swap]].concat());
    until("what is in the container", || {
        host.run(&["exec", "other", "test", "-e", "/done"]).code == Some(0)
    });
    assert_eq!(sh("memory", "ls /m").out, "");
    host.ok(&["rm", "-f", "other"]);
    host.ok(&["rm", "-f", "first"]);
    assert_eq!(sh("memory", "ls /m").out, "");
    for (volume, want) in [
        ("gone", "no such file or directory"),
        ("remote", "failed to mount local volume: mount :/x:"),
    ] {
        let refused = sh(volume, "true");
        assert!(refused.code != Some(0) && refused.err.contains(want), "{}", refused.err);
    }
    host.ok(&["volume", "rm", "bound", "readonly", "memory", "gone", "remote"]);
}

/// The server by its address, no password, and who is to blame.
#[test]
fn a_volume_of_another_host_tells_what_is_asked_for() {
    let host = host();
    let make = |name: &str, options: &[&str]| {
        let mut words = vec!["volume", "create"];
        options.iter().for_each(|option| words.extend(["-o", option]));
        words.push(name);
        host.ok(&words)
    };
    let sh = |volume: &str, script: &str| {
        let bind = format!("{volume}:/m");
        host.run(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", script])
    };
    // What the kernel is given: the server by its address, and what else is asked. Nobody answers there, or this
    // kernel has no such file system.
    let share = "type=cifs o=addr=localhost,port=9,username=u,password=secret,vers=3.0 device=//localhost/x";
    make("share", &share.split(' ').collect::<Vec<_>>());
    let refused = sh("share", "true");
    let want = ["mount //localhost/x:", ",port=9,username=u,password=********,vers=3.0: "];
    assert!(want.iter().all(|want| refused.err.contains(want)), "{}", refused.err);
    let is_address =
        ["127.0.0.1", "::1"].iter().any(|ip| refused.err.contains(&format!("data: addr={ip},")));
    assert!(is_address && !refused.err.contains("secret"), "{}", refused.err);
    let has = |kind: &str| fs::read_to_string("/proc/filesystems").unwrap().contains(kind);
    let lacks =
        "no such device: this kernel has no file system cifs; load its module (modprobe cifs)";
    assert!(has("cifs") || refused.err.contains(lacks), "{}", refused.err);
    make("lost", &["type=nfs", "o=addr=no-such-host.invalid", "device=:/x"]);
    let refused = sh("lost", "true");
    let want = "error resolving passed in network volume address: lookup no-such-host.invalid: ";
    assert!(refused.err.contains(want), "{}", refused.err);
    host.ok(&["volume", "rm", "share", "lost"]);
}

#[test]
fn what_no_driver_can_do_is_refused() {
    let host = host();
    let no_driver = "error looking up volume plugin foo: plugin \"foo\" not found";
    for (code, words, want) in [
        (1, &["volume", "create", "-d", "foo", "vol"][..], &*format!("create vol: {no_driver}")),
        (1, &["volume", "create", "-o", "x=1", "vol"], "create vol: invalid option: \"x\""),
        (
            1,
            &["volume", "create", "-o", "type=tmpfs", "vol"],
            "missing required option: \"device\"",
        ),
        (125, &["run", "--volume-driver", "foo", "-v", "vol:/a", "busybox"], no_driver),
        (
            125,
            &["run", "--mount", "type=volume,src=vol,dst=/a,volume-driver=foo", "busybox"],
            no_driver,
        ),
        (
            125,
            &["run", "--storage-opt", "size=1G", "busybox"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (125, &["run", "--storage-opt", "foo=1", "busybox"], "Unknown option foo"),
    ] {
        let refused = host.fails(code, words);
        assert!(refused.contains(want), "{words:?}: {refused}");
        assert!(!refused.contains("Unable to find image"), "{refused}");
    }
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn a_bind_makes_its_source_if_it_is_told_to() {
    let host = host();
    let source = host.scratch().join("made/here");
    let mount = |more: &str| format!("type=bind,src={},dst=/m{more}", source.display());
    let refused = host.fails(125, &["run", "--rm", "--mount", &mount(""), "busybox", "true"]);
    assert!(refused.contains("bind source path does not exist"), "{refused}");
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--mount",
        &mount(",bind-create-src"),
        "busybox",
        "touch",
        "/m/f",
    ];
    host.ok(&words);
    assert!(source.join("f").exists());
}

/// As in Docker: also what comes from another container, or is the image's, takes a standard place.
#[test]
fn an_inherited_mount_takes_the_place_of_a_standard_one() {
    let host = host();
    let places = ["/dev/shm", "/dev/mqueue", "/sys"];
    let volumes: Vec<String> = places.iter().map(|place| format!("VOLUME {place}")).collect();
    let changes = volumes.iter().flat_map(|volume| ["-c", volume.as_str()]);
    host.ok(&["create", "--name", "made", "busybox"]);
    let commit: Vec<&str> =
        ["commit"].into_iter().chain(changes).chain(["made", "vols:1"]).collect();
    host.ok(&commit);
    let kinds = |options: &[&str]| {
        let look = [
            "sh",
            "-c",
            "mount | grep -E ' (/dev/shm|/dev/mqueue|/sys) ' | cut -d' ' -f3,5 | sort",
        ];
        host.ok(&[&["run", "--rm", "--network", "none"], options, &look].concat())
    };
    let standard = "/dev/mqueue mqueue\n/dev/shm tmpfs\n/sys sysfs";
    assert_eq!(kinds(&["busybox"]), standard);
    let of_image = kinds(&["vols:1"]);
    for (line, place) in of_image.lines().zip(["/dev/mqueue", "/dev/shm", "/sys"]) {
        assert!(line.starts_with(place) && !standard.contains(line), "{of_image}");
    }
    host.ok(&["create", "--name", "ff", "-v", "vol:/dev/shm", "busybox"]);
    let inherited = kinds(&["--volumes-from", "ff", "busybox"]);
    assert!(
        !inherited.contains("/dev/shm tmpfs") && inherited.contains("/sys sysfs"),
        "{inherited}"
    );
    // Nothing stands in for procfs, whoever asks.
    host.ok(&["commit", "-c", "VOLUME /proc", "made", "proc:1"]);
    let refused = host.fails(125, &["run", "--rm", "--network", "none", "proc:1", "true"]);
    assert!(refused.contains("cannot be mounted inside /proc"), "{refused}");
}

/// It is made as whoever calls, who has no more rights by that.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "setpriv(1) makes a caller who is not the process's user"
)]
fn a_new_directory_of_a_bind_belongs_to_the_caller() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let host = host();
    let open = host.scratch().join("open");
    let closed = host.scratch().join("closed");
    for dir in [&open, &closed] {
        fs::create_dir(dir).unwrap();
    }
    fs::set_permissions(host.scratch(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(&open, Some(4711), Some(4711)).unwrap();
    let run = |dir: &std::path::Path| {
        let bind = format!("{}:/new", dir.display());
        let words = ["run", "--rm", "--network", "none", "-v", &bind, "busybox", "true"];
        let command = host.command(&words);
        let mut caller = std::process::Command::new("setpriv");
        caller
            .args(["--ruid=4711", "--rgid=4712", "--keep-groups"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| caller.env(name, value));
        }
        let output = caller.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let new = open.join("some/new");
    assert_eq!(run(&new), (Some(0), String::new()));
    for dir in [&new, &open.join("some")] {
        let stat = fs::metadata(dir).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o777), (4711, 4712, 0o755), "{dir:?}");
    }
    let (code, refused) = run(&closed.join("new"));
    assert!(code == Some(125) && refused.contains("Permission denied"), "{code:?} {refused}");
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
    // Whoever is root has root's.
    let bind = format!("{}:/new", closed.join("roots").display());
    host.ok(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "true"]);
    assert_eq!(fs::metadata(closed.join("roots")).unwrap().uid(), 0);
}
