//! An ordinary user, with nothing but newuidmap and a range of ids.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sys::failpoint::Point;
use testkit::{Host, until};

use crate::{DHOW, host};

/// A host of an ordinary user, with the busybox image.
fn user() -> Host {
    Host::of_user(DHOW)
}

/// What a container's first process is in.
fn namespace(host: &Host, container: &str) -> PathBuf {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", container]);
    std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap()
}

/// The processes of a user.
fn processes(uid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_users = |pid: &u32| {
        // One that has ended and is not reaped yet belongs to whoever reaps.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let lives = stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X']));
        let owner = std::fs::metadata(format!("/proc/{pid}")).map(|meta| meta.uid());
        lives && owner.is_ok_and(|owner| owner == uid)
    };
    numbers.filter(is_users).collect()
}

#[test]
fn a_container_lives_and_ends_as_with_root() {
    let host = user();
    let show = "id -u; id -un; wc -l < /proc/self/uid_map; echo x > /dev/null; ls -d /dev/zero; \
                stat -c '%t:%T' /dev/full; stat -c %u /bin/busybox /etc/hosts /dev/pts/ptmx; touch /file";
    let shown = host.ok(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", show]);
    assert_eq!(shown, "0\nroot\n2\n/dev/zero\n1:7\n0\n0\n0");
    let script = "echo up; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done";
    let run = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", script];
    host.ok(&run);
    assert_eq!(host.ok(&["exec", "-u", "www", "box", "id", "-u"]), "33");
    assert_eq!(host.ok(&["exec", "box", "sh", "-c", "echo $$ | grep -c ."]), "1");
    let ps = host.ok(&["exec", "box", "ps"]);
    assert!(ps.contains("    1 root     sh -c echo up"), "{ps}");
    let top = host.ok(&["top", "box"]);
    assert!(top.contains("sh -c echo up"), "{top}");
    host.ok(&["stop", "box"]);
    assert_eq!(host.ok(&["logs", "box"]), "up\nbye");
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "box"]), "3");
    host.ok(&["start", "box"]);
    host.ok(&["kill", "box"]);
    assert_eq!(host.ok(&["wait", "box"]), "137");
    host.ok(&["rm", "box"]);
    let init = ["run", "--rm", "--network", "none", "--init", "busybox", "cat", "/proc/1/comm"];
    assert_eq!(host.ok(&init), "dhow-init");
    // What ends leaves nothing that runs: nobody keeps the namespace.
    let uid = host.uid().unwrap();
    until("the end of all processes", || processes(uid).is_empty());
}

#[test]
fn a_terminal_and_the_namespaces_of_others() {
    let host = user();
    let mut terminal =
        host.terminal(&["run", "--rm", "-it", "--network", "none", "busybox", "tty"]);
    terminal.expect("/dev/pts/0");
    assert_eq!(terminal.end(), 0);
    let run = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"];
    host.ok(&run);
    let joined = ["run", "--rm", "--network", "container:box", "--pid", "container:box"];
    let ps = host.ok(&[&joined[..], &["busybox", "ps"]].concat());
    assert!(ps.contains("    1 root     sleep 1000"), "{ps}");
    let hosts = ["run", "--rm", "--pid", "host", "--network", "host", "busybox", "sh", "-c"];
    let seen =
        host.ok(
            &[&hosts[..], &["ls -d /proc/2 /sys/class/net/lo && cat /proc/self/uid_map"]].concat()
        );
    assert!(seen.starts_with("/proc/2\n/sys/class/net/lo\n"), "{seen}");
    assert!(
        host.fails(1, &["exec", "box", "sh", "-c", "echo 1 > /proc/sys/kernel/panic"])
            .contains("Read-only")
    );
}

/// A program with the setuid bit has the rights that it gives, and another user's files are another's.
#[test]
fn there_are_users_to_change_between() {
    let host = user();
    let run = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"];
    host.ok(&run);
    // An empty password, and a copy that is root's for whoever runs it.
    let setup = "printf 'root::0:0::/:/bin/sh\\nwww:x:33:33::/:/bin/sh\\n' > /etc/passwd; cp /bin/busybox /su; \
                 chmod 4755 /su; echo secret > /mine; chmod 600 /mine";
    host.ok(&["exec", "box", "sh", "-c", setup]);
    let refused = host.fails(1, &["exec", "-u", "33", "box", "cat", "/mine"]);
    assert!(refused.contains("Permission denied"), "{refused}");
    let become_root = "/su root -c 'id -u; cat /mine'";
    assert_eq!(host.ok(&["exec", "-u", "33", "box", "sh", "-c", become_root]), "0\nsecret");
}

#[test]
fn files_belong_to_the_user_outside_and_to_root_inside() {
    let host = user();
    let uid = host.uid().unwrap();
    let dir = host.scratch().join("bound");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("mine"), "text").unwrap();
    host.give(&dir);
    host.give(&dir.join("mine"));
    let bind = format!("{}:/bound", dir.display());
    let new = format!("{}:/new", host.scratch().join("new").display());
    let script = "stat -c %u /bound/mine; touch /bound/made; touch /bound/www; chown 33 /bound/www; touch /vol/f; \
                  echo changed > /etc/motd";
    let run =
        ["run", "--name", "box", "--network", "none", "-v", &bind, "-v", &new, "-v", "vol:/vol"];
    assert_eq!(host.ok(&[&run[..], &["busybox", "sh", "-c", script]].concat()), "0");
    let owner = |path: &Path| std::fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&dir.join("made")), uid);
    assert_eq!(owner(&dir.join("www")), uid + 33, "the range begins with 1");
    assert_eq!(owner(&host.scratch().join("new")), uid);
    let changed = host.ok(&["diff", "box"]);
    assert!(changed.lines().any(|line| line == "A /etc/motd"), "{changed}");
    host.ok(&["commit", "box", "mine"]);
    let cat = ["run", "--rm", "--network", "none", "-v", "vol:/vol", "mine", "sh", "-c"];
    assert_eq!(host.ok(&[&cat[..], &["cat /etc/motd; ls /vol"]].concat()), "changed\nf");
    let out = host.scratch().join("out");
    host.ok(&["cp", "box:/etc/motd", &out.to_string_lossy()]);
    assert_eq!(
        (owner(&out), std::fs::read_to_string(&out).unwrap()),
        (uid, "changed\n".to_owned())
    );
    let archive = host.scratch().join("saved.tar");
    host.ok(&["save", "-o", &archive.to_string_lossy(), "mine"]);
    host.ok(&["rmi", "-f", "mine"]);
    host.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
    assert_eq!(
        host.ok(&["run", "--rm", "--network", "none", "mine", "cat", "/etc/motd"]),
        "changed"
    );
}

#[test]
fn root_and_the_user_see_nothing_of_each_other() {
    let (roots, users) = (host(), user());
    users.ok(&["create", "--name", "box", "busybox"]);
    assert_eq!(roots.ok(&["ps", "-aq"]), "");
    let (root, run) = (users.root(), users.run_root());
    for dir in [&root, &run] {
        let meta = std::fs::metadata(dir).unwrap();
        assert_eq!((meta.uid(), meta.permissions().mode() & 0o777), (users.uid().unwrap(), 0o700));
    }
    // The defaults of the user's own directories.
    let home = users.scratch().join("home");
    std::fs::create_dir(&home).unwrap();
    users.give(&home);
    let mut command = users.command(&["info", "-f", "{{.DockerRootDir}} {{.SecurityOptions}}"]);
    command.env_remove("DHOW_ROOT").env_remove("DHOW_RUN").env("HOME", &home);
    command.env("XDG_RUNTIME_DIR", home.join("run"));
    let said = testkit::Ran::new(&command.output().unwrap());
    let expected = format!("{}/.local/share/dhow ", home.display());
    assert!(said.out.starts_with(&expected) && said.out.contains("name=rootless"), "{said:?}");
    assert!(!roots.ok(&["info", "-f", "{{.SecurityOptions}}"]).contains("rootless"));
}

/// Whoever comes first makes the namespace, all others find it: they would not be able to join each other.
#[test]
fn all_of_a_user_is_in_one_namespace() {
    let host = user();
    let run = |name| ["run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000"];
    let names = ["aa", "bb", "cc", "dd", "ee"];
    let started = names.map(|name| host.spawn(&mut host.command(&run(name))));
    for child in started {
        let ran = testkit::Ran::new(&child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let first = namespace(&host, "aa");
    assert!(names.iter().all(|name| namespace(&host, name) == first));
    // Who has made it does not matter: the others are in it.
    host.ok(&["rm", "-f", "aa", "bb", "cc", "dd"]);
    host.ok(&run("aa"));
    assert_eq!(namespace(&host, "aa"), first);
    // Killed, all of them: nobody is in the way of the next.
    let uid = host.uid().unwrap();
    for pid in processes(uid) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    until("the end of all processes", || processes(uid).is_empty());
    host.ok(&run("ff"));
    assert_eq!(host.ok(&["exec", "ff", "id", "-u"]), "0");
    assert_eq!(host.ok(&["ps", "-q"]).lines().count(), 1);
}

#[test]
fn a_policy_starts_it_again_in_the_same_namespace() {
    let host = user();
    let script = "test -e /again && exec sleep 1000; touch /again; exit 1";
    let run =
        ["run", "-d", "--name", "box", "--network", "none", "--restart", "on-failure", "busybox"];
    host.ok(&[&run[..], &["sh", "-c", script]].concat());
    let counted = ["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "box"];
    until("its state", || host.ok(&counted) == "1 running");
    host.ok(&["run", "-d", "--name", "other", "--network", "none", "busybox", "sleep", "1000"]);
    assert_eq!(namespace(&host, "box"), namespace(&host, "other"));
}

/// Whoever looks while the program that removes a container has just taken its shim's place, or while that
/// which starts it again is born, finds the namespace that it is in.
#[test]
fn what_a_shim_becomes_or_starts_is_seen_in_the_namespace() {
    for (policy, point, role) in
        [("--rm", Point::ReapBegan, "reap"), ("--restart=always", Point::ReviveBegan, "revive")]
    {
        let host = user();
        let witness = host.scratch().join("witness");
        std::fs::write(&witness, "").unwrap();
        host.give(&witness);
        let run = ["run", "-d", "--network", "none", policy, "busybox", "true"];
        let wish = format!("{}=stop={}", point.name(), witness.display());
        let ran = host.command(&run).env("DHOW_SHIM_FAILPOINT", wish).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        until("the witness", || std::fs::read_to_string(&witness).unwrap() == point.name());
        let uid = host.uid().unwrap();
        let is_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&format!("\0{role}\0"))
        };
        let pid = processes(uid).into_iter().find(is_it).unwrap();
        // The shim of what is started again is in the namespace as well, and would be found.
        for shim in processes(uid).into_iter().filter(|other| *other != pid) {
            host.kill_9(i32::try_from(shim).unwrap());
        }
        let inside = std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
        host.ok(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"]);
        assert_eq!(namespace(&host, "box"), inside, "{role}");
        host.kill_9(i32::try_from(pid).unwrap());
    }
}

/// The namespaces of whoever has entered one as root are no business of an ordinary user's.
#[test]
fn root_of_another_namespace_is_no_ordinary_user() {
    let host = host();
    let (root, run) = (host.root(), host.run_root());
    let (root, run) = (root.to_string_lossy(), run.to_string_lossy());
    let id = "0".repeat(64);
    let nested = ["-r", DHOW, "--root", &*root, "--run-root", &*run, "reap", &id];
    #[expect(clippy::disallowed_methods, reason = "tests run the program as a user does")]
    let reaped = std::process::Command::new("unshare").args(nested).env_clear().output().unwrap();
    assert!(reaped.status.success(), "{reaped:?}");
    assert!(!host.run_root().join("userns").exists());
}

/// Who may write where the locks are could hold them, and lead us into a namespace of its own.
#[test]
fn the_runtime_root_is_the_users_alone() {
    let host = Host::of_user_with(DHOW, "{range}\n");
    let directory = |name: &str, mode| {
        let dir = host.scratch().join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
        dir
    };
    let (foreign, open, own) =
        (directory("foreign", 0o777), directory("open", 0o770), directory("own", 0o700));
    host.give(&open);
    host.give(&own);
    let link = host.scratch().join("link");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    for refused in [&foreign, &open, &link] {
        let said = host.fails(1, &["--run-root", &refused.to_string_lossy(), "images"]);
        let why = format!("{} has to be a directory of the user's own", refused.display());
        assert!(said.contains(&why), "{said}");
        assert!(!refused.join("userns").exists());
    }
    host.ok(&["--run-root", &own.to_string_lossy(), "images"]);
    host.keep_roots();
}

/// One that asks the user's session, or looks at its own user, is not in the namespace of containers.
#[test]
fn a_credential_helper_is_run_as_the_user() {
    let host = user();
    let (bin, config) = (host.scratch().join("bin"), host.scratch().join("config"));
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(&config).unwrap();
    let (helper, seen) = (bin.join("docker-credential-who"), host.scratch().join("seen"));
    let script = format!(
        "#!/bin/sh\n(id -u; cat /proc/self/uid_map; cat) > {}\necho '{{\"ServerURL\":\"\",\"Username\":\"u\",\"Secret\":\"s\"}}'\n",
        seen.display()
    );
    testkit::program(&helper, script);
    std::fs::write(config.join("config.json"), r#"{"credsStore":"who"}"#).unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let mut command = host.command(&["pull", "127.0.0.1:1/none"]);
    command.env("PATH", path).env("DOCKER_CONFIG", &config);
    let ran = testkit::Ran::new(&command.output().unwrap());
    // Nobody listens at that registry.
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let expected = format!("{}\n{map}127.0.0.1:1", host.uid().unwrap());
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), expected, "{ran:?}");
}

/// Who may write above a root could put another in its place.
#[test]
fn nobody_else_may_change_what_is_above_the_roots() {
    let host = Host::of_user_with(DHOW, "{range}\n");
    let open = host.scratch().join("open");
    let (root, run) = (open.join("root"), open.join("run"));
    for dir in [&open, &root, &run] {
        std::fs::create_dir(dir).unwrap();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        host.give(dir);
    }
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o707)).unwrap();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    for (option, dir) in [("--root", text(&root)), ("--run-root", text(&run))] {
        let said = host.fails(1, &[option, &dir, "images"]);
        let why = format!("{} belongs to another user or others may write to it", open.display());
        assert!(said.contains(&why) && said.contains(&format!("another {option}")), "{said}");
        let doctor = host.run(&[option, &dir, "doctor"]).out;
        assert!(doctor.contains("missing  owners of roots"), "{doctor}");
    }
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o701)).unwrap();
    host.ok(&["--root", &text(&root), "--run-root", &text(&run), "images"]);
    host.keep_roots();
}

#[test]
fn what_is_missing_is_named() {
    let host = Host::of_user_with(DHOW, "somebody:1:65536\n");
    let said = host.fails(1, &["images"]);
    assert!(
        said.contains("has 0 subordinate ids in /etc/subuid") && said.contains("usermod"),
        "{said}"
    );
    // What needs no engine works all the same.
    host.ok(&["context", "ls"]);
    host.ok(&["--version"]);
    host.keep_roots();
    let host = Host::of_user_with(DHOW, "{range}\n").lacking("/usr/bin/newgidmap");
    let said = host.fails(1, &["images"]);
    assert!(said.contains("newgidmap is not installed") && said.contains("uidmap"), "{said}");
    host.keep_roots();
}

#[test]
fn what_only_root_can_is_refused() {
    let host = user();
    for (refused, why) in [
        ("--userns=auto", "only root gives containers ids of their own"),
        (
            "--mac-address=02:00:00:00:00:01",
            "--mac-address: the default network of an ordinary user has a link address of its own",
        ),
        ("--userns=keep-id", "--userns=keep-id is not supported: the files of images belong"),
        ("--userns=keep-id:uid=7,gid=8", "--userns=keep-id is not supported"),
        ("--userns=nomap", "--userns=nomap is not supported: all containers of an ordinary user"),
    ] {
        let said = host.fails(1, &["create", "--network", "bridge", refused, "busybox"]);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    // The user's own namespace is what the host's is to root.
    let own = ["run", "--rm", "--userns=host", "--network", "none", "busybox", "id", "-u"];
    assert_eq!(host.ok(&own), "0");
    host.ok(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"]);
    let said = host.fails(1, &["checkpoint", "create", "box", "one"]);
    assert!(said.contains("checkpoints need root"), "{said}");
    for refused in ["import", "export"] {
        let said = host.fails(1, &["checkpoint", refused, "box", "one"]);
        assert!(said.contains("checkpoints need root"), "{refused}: {said}");
    }
    // Limits: those of a machine without delegation are discarded, with Docker's words.
    let is_limited = host.ok(&["info", "-f", "{{.MemoryLimit}}"]) == "true";
    let made = host.run(&["create", "-m", "64m", "busybox"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(made.err.contains("Limitation discarded"), !is_limited, "{made:?}");
    let warned = host.ok(&["info", "-f", "{{.Warnings}}"]);
    assert_eq!(warned.contains("No control group is delegated"), !is_limited, "{warned}");
}
