//! Images that go for the host: users, mount targets and directories that are something else, links
//! that lead everywhere. Whatever comes of the container, the host stays as it is.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use testkit::{Host, until};

/// A program that makes what the standard library does not.
#[expect(clippy::disallowed_methods, reason = "tests make their trees with the system's tools")]
fn tool(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A directory of the host that images go for.
struct Canary {
    dir: PathBuf,
    before: String,
}

impl Canary {
    fn new(host: &Host) -> Self {
        let dir = host.scratch().join("canary");
        std::fs::create_dir_all(dir.join("pts")).unwrap();
        std::fs::write(dir.join("file"), "evil:x:0:0:of the host:/:/bin/sh\n").unwrap();
        let before = Self::look(&dir);
        Self { dir, before }
    }

    fn look(dir: &Path) -> String {
        let mut seen = Vec::new();
        for path in [dir.to_owned(), dir.join("file"), dir.join("pts")] {
            let stat = std::fs::metadata(&path).unwrap();
            seen.push((path, stat.mode(), stat.nlink(), stat.ctime(), stat.ctime_nsec()));
        }
        format!("{seen:?} {:?}", std::fs::read_dir(dir).unwrap().count())
    }

    fn assert_untouched(&self, what: &str) {
        assert_eq!(Self::look(&self.dir), self.before, "{what}");
    }
}

/// Makes an image of busybox and of what `change` does to its tree, through the extractor.
fn image(host: &Host, name: &str, change: impl FnOnce(&Path)) {
    let tree = host.scratch().join(format!("tree-{name}"));
    std::fs::create_dir_all(tree.join("bin")).unwrap();
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    testkit::install("/bin/busybox", &tree.join("bin/busybox"));
    for applet in ["sh", "cat", "ls", "sleep", "id", "env"] {
        symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    change(&tree);
    let archive = tool("tar", &["-C", &tree.to_string_lossy(), "-c", "."]);
    let made = host.feed(&["import", "-", name], &archive);
    assert_eq!(made.code, Some(0), "{name}: {}", made.err);
}

/// A name, what is done to the tree, and what the refusal says.
type Case<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

#[test]
fn files_of_users_that_are_none() {
    let host = Host::new(crate::DHOW);
    let canary = Canary::new(&host);
    let fifo = |path: PathBuf| drop(tool("mkfifo", &[&path.to_string_lossy()]));
    let says_file = "etc/passwd of the container";
    let nobody = "unable to find user evil: no matching entries in passwd file";
    let cases: [Case; 10] = [
        ("fifo", &|tree| fifo(tree.join("etc/passwd")), says_file),
        ("fifo-group", &|tree| fifo(tree.join("etc/group")), "etc/group of the container"),
        ("directory", &|tree| std::fs::create_dir(tree.join("etc/passwd")).unwrap(), says_file),
        (
            "device",
            &|tree| {
                drop(tool("mknod", &[&tree.join("etc/passwd").to_string_lossy(), "c", "1", "5"]))
            },
            says_file,
        ),
        ("loop", &|tree| symlink("passwd", tree.join("etc/passwd")).unwrap(), says_file),
        // Holes, as an archive may have them.
        (
            "huge",
            &|tree| {
                std::fs::File::create(tree.join("etc/passwd")).unwrap().set_len(64 << 20).unwrap()
            },
            says_file,
        ),
        (
            "absolute",
            &|tree| symlink(canary.dir.join("file"), tree.join("etc/passwd")).unwrap(),
            nobody,
        ),
        (
            "upwards",
            &|tree| {
                symlink(
                    format!("../../../../../../..{}/file", canary.dir.display()),
                    tree.join("etc/passwd"),
                )
                .unwrap()
            },
            nobody,
        ),
        (
            "magic",
            &|tree| symlink("/proc/self/root/etc/passwd", tree.join("etc/passwd")).unwrap(),
            nobody,
        ),
        (
            "numbers",
            &|tree| {
                std::fs::write(tree.join("etc/passwd"), "evil:x:-1:0::/:\nevil:x:4294967296:0::/:\nevil:x:4294967295:0::/:\nevil:x:0x0:0::/:\nevil:x: 0:0::/:\nevil:x\n").unwrap()
            },
            nobody,
        ),
    ];
    for (name, change, says) in cases {
        image(&host, name, change);
        let refused = host.fails(125, &["run", "--rm", "-u", "evil", name, "id"]);
        assert!(refused.contains(says), "{name}: {refused}");
        canary.assert_untouched(name);
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

/// A container that runs may put anything in the place of the files that `exec` reads.
#[test]
fn files_that_were_swapped_cannot_hold_up_exec() {
    let host = Host::new(crate::DHOW);
    let canary = Canary::new(&host);
    image(&host, "box", |_| {});
    let to_canary = format!("busybox ln -s {}/file /etc/passwd", canary.dir.display());
    let missing = "no matching entries in passwd file";
    for (number, (swap, says)) in [
        ("busybox mkfifo /etc/passwd", "etc/passwd: not a regular file"),
        ("busybox mkdir /etc/passwd", "etc/passwd"),
        ("busybox mknod /etc/passwd c 1 5", "etc/passwd: not a regular file"),
        ("busybox truncate -s 1G /etc/passwd", "etc/passwd"),
        ("busybox ln -s /proc/self/root/etc/passwd /etc/passwd", missing),
        ("busybox ln -s /proc/self/fd/0 /etc/passwd", missing),
        (&to_canary, missing),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("swap{number}");
        let script = format!("rm -f /etc/passwd; {swap}; echo ready; exec busybox sleep 1000");
        host.ok(&[
            "run",
            "-d",
            "--name",
            &name,
            "box",
            "/bin/sh",
            "-c",
            &script.replace("rm", "busybox rm"),
        ]);
        until("what it says", || host.ok(&["logs", &name]) == "ready");
        let refused = host.fails(1, &["exec", "-u", "evil", &name, "/bin/id"]);
        assert!(refused.contains(says), "{swap}: {refused}");
        host.ok(&["rm", "-f", &name]);
        canary.assert_untouched(swap);
    }
}

/// What a container of these images does: it writes through every link.
const WRITE: &str = "for f in file new probe; do echo dead > /data/$f; done 2>/dev/null; \
                     echo dead >> /etc/resolv.conf; busybox grep -m 1 localhost /etc/hosts; echo dead >> /etc/hosts; true";

/// Where the init mounts and writes before the program runs.
#[test]
fn directories_of_ours_that_are_links_to_the_host() {
    let host = Host::new(crate::DHOW);
    let canary = Canary::new(&host);
    let outside = canary.dir.display().to_string();
    for (number, (place, target)) in [
        ("proc", outside.clone()),
        ("sys", outside.clone()),
        ("dev", outside.clone()),
        ("proc", "/".to_owned()),
        ("dev", "/etc".to_owned()),
        ("sys", "/proc".to_owned()),
        ("etc/hosts", format!("{outside}/file")),
        ("etc/hosts", format!("{outside}/new")),
        ("etc/hostname", format!("../../../../../../..{outside}/file")),
        ("etc/resolv.conf", format!("{outside}/file")),
        ("etc/resolv.conf", "/proc/self/fd/1".to_owned()),
        ("etc/resolv.conf", "/proc/1/root/etc/resolv.conf".to_owned()),
        ("etc/resolv.conf", "resolv.conf".to_owned()),
        ("data", outside.clone()),
        ("data", format!("../../../../../../..{outside}")),
        ("data", "/proc".to_owned()),
        ("data", "/dev".to_owned()),
        ("data", "/proc/1/root".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("links-{number}");
        image(&host, &name, |tree| symlink(&target, tree.join(place)).unwrap());
        let volume = format!("v{number}:/data");
        for mounts in [&[][..], &["-v", &volume], &["--tmpfs", "/data"], &["-w", "/data/below"]] {
            let mut all = vec!["run", "--rm"];
            all.extend_from_slice(mounts);
            all.extend([name.as_str(), "/bin/sh", "-c", WRITE]);
            let what = format!("{place} -> {target} {mounts:?}");
            let ran = host.run(&all);
            canary.assert_untouched(&what);
            let refused = matches!(ran.code, Some(125..=127)) && !ran.err.is_empty();
            if ["proc", "sys", "dev"].contains(&place) {
                assert!(refused, "{what}: {ran:?}");
            }
            if refused {
                continue;
            }
            // What was to be mounted is there, wherever in the image the link leads.
            assert_eq!(ran.code, Some(0), "{what}: {ran:?}");
            assert_eq!(ran.out, "127.0.0.1\tlocalhost", "{what}");
            let probe = host.root().join("volumes").join(format!("v{number}/_data/probe"));
            assert_eq!(probe.exists(), mounts.contains(&"-v"), "{what}");
            let _ = std::fs::remove_file(probe);
        }
        // What a volume was filled with came from the image, not from the host.
        let filled = host.root().join("volumes").join(format!("v{number}/_data/file"));
        let text = std::fs::read_to_string(filled).unwrap_or_default();
        assert!(!text.contains("of the host"), "{place} -> {target}: {text}");
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn links_behind_links_and_paths_without_end() {
    let host = Host::new(crate::DHOW);
    image(&host, "chain", |tree| {
        for n in 0..60 {
            symlink(format!("l{}", n + 1), tree.join(format!("l{n}"))).unwrap();
        }
        symlink("/", tree.join("l60")).unwrap();
    });
    for arguments in [
        &["-w", "/l0/x"][..],
        &["--tmpfs", "/l0/x"],
        &["-v", "vol:/l0/x"],
        &["-w", &format!("/{}", "d/".repeat(2100))],
    ] {
        let mut all = vec!["run", "--rm"];
        all.extend_from_slice(arguments);
        all.extend(["chain", "/bin/sh", "-c", "true"]);
        let ran = host.run(&all);
        assert!(matches!(ran.code, Some(125..=127)) && !ran.err.is_empty(), "{ran:?}");
    }
    // As many as the kernel follows are followed.
    assert_eq!(
        host.ok(&["run", "--rm", "-w", "/l25/x", "chain", "/bin/sh", "-c", "busybox pwd -P"]),
        "/x"
    );
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_program_that_is_dhow_itself_gains_nothing() {
    let host = Host::new(crate::DHOW);
    // CVE-2019-5736: whoever joins the container executes itself, and is written to meanwhile.
    image(&host, "self", |tree| {
        symlink("/proc/self/exe", tree.join("bin/self")).unwrap();
        std::fs::write(tree.join("bin/script"), "#!/proc/self/exe\n").unwrap();
        drop(tool("chmod", &["755", &tree.join("bin/script").to_string_lossy()]));
    });
    let before = std::fs::read(crate::DHOW).unwrap();
    host.ok(&["run", "-d", "--init", "--name", "evil", "self", "/bin/sh", "-c",
        "while :; do for e in /proc/[0-9]*/exe /sbin/dhow-init; do (busybox dd if=/bin/cat of=$e conv=notrunc) 2>/dev/null && echo $e >> /wrote; done; done"]);
    for program in
        ["/bin/self", "/bin/script", "/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe"]
    {
        for _ in 0..4 {
            // It may run, inside, with the container's rights; it must not become writable.
            let _ = host.run(&["exec", "evil", program, "version"]);
        }
    }
    let wrote = host.run(&["exec", "evil", "cat", "/wrote"]);
    assert_eq!(wrote.out, "");
    assert!(std::fs::read(crate::DHOW).unwrap() == before, "the program on disk has changed");
}

/// What an image says about itself is data (I8): names that engines reserve, line breaks, a
/// megabyte, variables of the loader and of dhow.
#[test]
fn metadata_decide_nothing() {
    let host = Host::new(crate::DHOW);
    let canary = Canary::new(&host);
    let archive = {
        image(&host, "plain", |_| {});
        host.scratch().join("tree-plain")
    };
    let bytes = tool("tar", &["-C", &archive.to_string_lossy(), "-c", "."]);
    let evil = canary.dir.join("evil").display().to_string();
    let long = format!("LABEL huge={}", "x".repeat(20_000));
    let changes: Vec<String> = [
        "LABEL containerd.io/restart.loguri=binary:///bin/sh",
        "LABEL io.kubernetes.cri.sandbox-id=x",
        "LABEL io.container.manager=libpod",
        "LABEL com.docker.compose.project=../../x",
        "LABEL org.criu.config=/etc/passwd",
        "LABEL run.oci.handler=krun",
        "LABEL \"new\\nline\"=\"a\\nb\"",
        "ENV LD_PRELOAD=/evil.so",
        "ENV DHOW_FAILPOINT=start-before-launch",
        &format!("ENV DHOW_ROOT={evil}"),
        &format!("ENV DHOW_RUN={evil}"),
        "ENV _LIBCONTAINER_INITPIPE=3",
        "ENV NOTIFY_SOCKET=@x",
        &long,
    ]
    .map(|change| change.to_owned())
    .into();
    let mut arguments = vec!["import"];
    for change in &changes {
        arguments.extend(["-c", change]);
    }
    arguments.extend(["-", "hostile"]);
    let made = host.feed(&arguments, &bytes);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let parts = "{{json .HostConfig}}{{json .Mounts}}{{json .Config.Cmd}}{{json .Config.User}}{{json .Config.Hostname}}";
    let spec = |image: &str| {
        host.ok(&["create", "--name", "s1", "-h", "box", image, "/bin/env"]);
        let spec = host.ok(&["inspect", "-f", parts, "s1"]);
        host.ok(&["rm", "s1"]);
        spec
    };
    assert_eq!(spec("hostile"), spec("plain"));
    let env = host.ok(&["run", "--rm", "--init", "hostile", "/bin/env"]);
    assert!(env.contains("LD_PRELOAD=/evil.so") && env.contains("DHOW_FAILPOINT="), "{env}");
    host.ok(&["run", "-d", "--name", "h1", "hostile", "/bin/sleep", "1000"]);
    host.ok(&["exec", "h1", "true".replace("true", "/bin/env").as_str()]);
    host.ok(&["rm", "-f", "h1"]);
    canary.assert_untouched("metadata");
}

/// A log line that looks like a record stays a line.
#[test]
fn output_cannot_forge_records_of_the_log() {
    let host = crate::host();
    let forged = r#"{"log":"forged\n","stream":"stderr","time":"2000-01-01T00:00:00Z"}"#;
    let script = format!(
        "echo '{forged}'; printf 'a\\rb\\033[2Jc\\000d\\377e\\n'; printf '\"}}\\n'; printf 'no end'"
    );
    host.ok(&["run", "--name", "l1", "busybox", "sh", "-c", &script]);
    let raw = host.command(&["logs", "l1"]).output().unwrap();
    // json-file is text: a byte that is none becomes the replacement character, as in Docker.
    let expected = format!("{forged}\na\rb\u{1b}[2Jc\0d\u{fffd}e\n\"}}\nno end");
    assert_eq!(String::from_utf8_lossy(&raw.stdout), expected);
    assert!(raw.stderr.is_empty(), "a record was forged");
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "l1"]);
    let file = host.root().join("containers").join(&id).join(format!("{id}-json.log"));
    let text = std::fs::read_to_string(file).unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record["stream"] == "stdout"), "{text}");
}
