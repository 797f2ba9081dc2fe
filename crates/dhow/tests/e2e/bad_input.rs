//! Each malformed thing gets one clear line that names the thing and the place, the right code, and
//! leaves no trace.

use std::path::{Path, PathBuf};

use testkit::{Host, Ran};

use crate::host;

/// Everything below the roots but the directories that are always there, the database, and caches.
fn trace(host: &Host) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let roots = [host.root(), host.run_root()];
    let mut folders = roots.to_vec();
    while let Some(folder) = folders.pop() {
        let is_root = roots.contains(&folder);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, is_folder) = (entry.path(), entry.file_type().unwrap().is_dir());
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_root && (name.starts_with("dhow.db") || name == "cache") {
                continue;
            }
            if is_folder {
                folders.push(path.clone());
            }
            if !(is_root && is_folder) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn assert_same(host: &Host, before: &[PathBuf], what: &str) {
    let after = trace(host);
    let more: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    assert!(more.is_empty() && after.len() == before.len(), "{what} left or took: {more:?}");
}

/// The text of an error without the advice below it: one line.
#[track_caller]
fn line(ran: &Ran, what: &str) -> String {
    let advice = |line: &&str| {
        !line.is_empty() && !line.starts_with("Run 'dhow") && !line.starts_with("Usage:")
    };
    // A pull and an inspect say what they are about to do, or give an empty list, first.
    let lines: Vec<_> = ran.err.lines().filter(advice).collect();
    let own = |line: &&&str| !line.starts_with("Unable to find image");
    let own: Vec<_> = lines.iter().filter(own).collect();
    assert_eq!(own.len(), 1, "{what}: {}", ran.err);
    (**own[0]).to_owned()
}

/// Runs each command, which must fail with this code and this text, and leave nothing.
fn refused(host: &Host, cases: &[(&[&str], i32, &str)]) {
    let before = trace(host);
    for (arguments, code, says) in cases {
        let ran = host.run(arguments);
        assert_eq!(ran.code, Some(*code), "{arguments:?}: {} {}", ran.out, ran.err);
        let said = line(&ran, &format!("{arguments:?}"));
        assert!(said.contains(says), "{arguments:?}: {}", ran.err);
        assert_same(host, &before, &format!("{arguments:?}"));
    }
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn references_and_names() {
    let host = host();
    let long = "n".repeat(300);
    refused(
        &host,
        &[
            (&["run", "Bad", "true"], 125, "repository name (library/Bad) must be lowercase"),
            (&["run", "a b", "true"], 125, "invalid reference format"),
            (&["run", "a//b", "true"], 125, "invalid reference format"),
            (&["run", "../a", "true"], 125, "invalid reference format"),
            (&["run", "a:", "true"], 125, "invalid reference format"),
            (&["run", "a@sha256:12", "true"], 125, "invalid reference format"),
            (
                &["run", "a@md5:d41d8cd98f00b204e9800998ecf8427e", "true"],
                125,
                "invalid reference format",
            ),
            (&["run", "localhost:99999/a", "true"], 125, "port 99999 is not valid"),
            (&["run", "", "true"], 125, "no image specified"),
            (&["run", "--pull", "never", "nosuch", "true"], 125, "No such image: nosuch:latest"),
            (&["run", "localhost:1/nosuch", "true"], 125, "connect to localhost:1"),
            (&["pull", "Bad"], 1, "must be lowercase"),
            (&["tag", "busybox", "../x"], 1, "\"../x\" is not a valid repository/tag"),
            (&["tag", "nosuch", "x"], 1, "No such image: nosuch:latest"),
            (&["rmi", "nosuch"], 1, "No such image: nosuch:latest"),
            (&["save", "nosuch"], 1, "No such image: nosuch:latest"),
            (&["history", "nosuch"], 1, "No such image: nosuch:latest"),
            (&["inspect", "nosuch"], 1, "No such object: nosuch"),
            (&["start", "nosuch"], 1, "No such container: nosuch"),
            (&["logs", "nosuch"], 1, "No such container: nosuch"),
            (&["exec", "nosuch", "true"], 1, "No such container: nosuch"),
            (&["rm", "nosuch"], 1, "No such container: nosuch"),
            (&["rm", ""], 1, "Container name cannot be empty"),
            (&["kill", "-s", "NOSUCH", "nosuch"], 1, "invalid signal: NOSUCH"),
            (&["volume", "rm", "nosuch"], 1, "nosuch: no such volume"),
            (&["volume", "create", "../x"], 1, "\"../x\" includes invalid characters"),
            (&["run", "--name", "../x", "busybox"], 125, "Invalid container name (../x)"),
            (&["run", "--name", "a/b", "busybox"], 125, "Invalid container name (a/b)"),
            (&["run", "--name", &long, "busybox"], 125, "container name"),
            (&["run", "-v", "a/b:/x", "busybox"], 125, "\"a/b\" includes invalid characters"),
            (
                &["run", "--rm", "--network", "nosuch", "busybox", "true"],
                125,
                "network nosuch not found",
            ),
            (&["nosuch"], 1, "nosuch"),
            (&["run"], 1, "requires at least 1 argument"),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn flags() {
    let host = host();
    refused(
        &host,
        &[
            (&["run", "--nosuch", "busybox"], 125, "--nosuch"),
            (&["run", "-p", "99999:80", "busybox"], 125, "invalid hostPort: 99999"),
            (&["run", "-p", "0:70000", "busybox"], 125, "invalid containerPort: 70000"),
            (&["run", "-p", "80:80/xyz", "busybox"], 125, "invalid proto: xyz"),
            (&["run", "-p", "1-3:1-2", "busybox"], 125, "1-2 and 1-3"),
            (&["run", "-v", "a:b:c:d", "busybox"], 125, "a:b:c:d"),
            (&["run", "-v", "/a:/", "busybox"], 125, "destination can't be '/'"),
            (&["run", "-v", "/a:/b:nosuch", "busybox"], 125, "invalid mode: nosuch"),
            (&["run", "--mount", "type=bind,src=/a", "busybox"], 125, "target is required"),
            (&["run", "--mount", "type=nosuch,dst=/a", "busybox"], 125, "\"nosuch\""),
            (
                &["run", "--mount", "type=bind,src=/nosuch,dst=/a", "busybox"],
                125,
                "bind source path does not exist: /nosuch",
            ),
            (
                &["run", "--tmpfs", "relative", "busybox"],
                125,
                "'relative' mount path must be absolute",
            ),
            (&["run", "--tmpfs", "/a:nosuch=1", "busybox"], 125, "nosuch=1"),
            (&["run", "-m", "lots", "busybox"], 125, "lots"),
            (&["run", "-m", "1", "busybox"], 125, "Minimum memory limit allowed is 6MB"),
            (&["run", "--cpus", "-1", "busybox"], 125, "CPUs"),
            (&["run", "-h", "a\nb", "busybox"], 125, "hostname"),
            (&["run", "-u", "4294967296", "busybox", "true"], 125, "4294967296"),
            (
                &["run", "-u", "nosuch", "--rm", "busybox", "true"],
                125,
                "unable to find user nosuch",
            ),
            (
                &["run", "-u", "0:nosuch", "--rm", "busybox", "true"],
                125,
                "unable to find group nosuch",
            ),
            (&["run", "-w", "relative", "busybox"], 125, "relative"),
            (&["run", "--cap-add", "FOO", "busybox"], 125, "CAP_FOO"),
            (&["run", "--ulimit", "nosuch=1", "busybox"], 125, "nosuch"),
            (&["run", "--log-driver", "nosuch", "busybox"], 125, "'nosuch'"),
            (&["run", "--log-opt", "max-size=x", "busybox"], 125, "max-size: \"x\""),
            (&["run", "--stop-signal", "NOSUCH", "busybox"], 125, "invalid signal: NOSUCH"),
            (&["run", "-e", "=x", "busybox"], 125, "=x"),
            (&["run", "--env-file", "/nosuch", "busybox"], 125, "open /nosuch"),
            (&["run", "--cidfile", "/nosuch/id", "busybox"], 125, "open /nosuch/id"),
            (&["run", "--cidfile", "/etc/passwd", "busybox"], 125, "/etc/passwd"),
            (&["run", "--rootfs", "/nosuch", "true"], 125, "/nosuch"),
            // What cannot be together.
            (&["run", "--rm", "--restart", "always", "busybox"], 125, "both --restart and --rm"),
            (&["run", "-d", "-a", "stdout", "busybox"], 1, "both --attach and --detach"),
            (
                &["run", "--cpus", "1", "--cpu-quota", "5000", "busybox"],
                125,
                "Nano CPUs and CPU Quota",
            ),
            (&["run", "-m", "8m", "--memory-swap", "7m", "busybox"], 125, "memoryswap"),
            (
                &["run", "--no-healthcheck", "--health-cmd", "x", "busybox"],
                125,
                "--no-healthcheck conflicts",
            ),
            (
                &["run", "--tmpfs", "/a", "-v", "/etc:/a", "busybox"],
                125,
                "Duplicate mount point: /a",
            ),
            (
                &["run", "--rm", "--network", "container:nosuch", "busybox"],
                125,
                "No such container: nosuch",
            ),
            (&["run", "-t", "-i", "busybox"], 1, "not a TTY"),
            (&["ps", "-f", "nosuch=1"], 1, "invalid filter 'nosuch'"),
            (&["ps", "--format", "{{"], 1, "unclosed action"),
            (&["logs", "--since", "x", "nosuch"], 1, "\"x\""),
            (&["load", "-i", "/nosuch"], 1, "open /nosuch"),
            (&["load", "-i", "/etc"], 1, "/etc is a directory"),
            (&["import", "/nosuch", "x"], 1, "open /nosuch"),
            (&["import", "/etc", "x"], 1, "/etc is a directory"),
        ],
    );
}

#[test]
fn programs_that_are_not() {
    let host = host();
    let bad = host.scratch().join("bad");
    std::fs::write(&bad, "\u{7f}ELF is not enough").unwrap();
    set_mode(&bad, 0o755);
    let plain = host.scratch().join("plain");
    std::fs::write(&plain, "text").unwrap();
    set_mode(&plain, 0o644);
    let script = host.scratch().join("script");
    std::fs::write(&script, "#!/no/interpreter\n").unwrap();
    set_mode(&script, 0o755);
    let folder = format!("{}:/mnt:ro", host.scratch().display());
    for init in [&[][..], &["--init"]] {
        for (program, code, says) in [
            ("nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH"),
            ("/nosuch", 127, "/nosuch"),
            ("/etc", 126, "/etc"),
            ("/mnt/plain", 126, "/mnt/plain"),
            ("/mnt/bad", 126, "/mnt/bad"),
            ("/mnt/script", 127, "/mnt/script"),
        ] {
            let mut all = vec!["run", "--rm", "-v", &folder];
            all.extend_from_slice(init);
            all.extend(["busybox", program]);
            let ran = host.run(&all);
            let said = line(&ran, &format!("{init:?} {program}"));
            assert_eq!(ran.code, Some(code), "{init:?} {program}: {said}");
            assert!(said.contains(says), "{init:?} {program}: {said}");
        }
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions).unwrap();
}

#[test]
fn a_name_or_a_port_in_use() {
    let host = host();
    host.ok(&["run", "-d", "--name", "first", "-p", "0:80", "busybox", "sleep", "1000"]);
    let port = host.ok(&["port", "first", "80"]);
    let port = port.lines().next().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let publish = format!("{port}:80");
    refused(
        &host,
        &[
            (
                &["run", "--name", "first", "busybox"],
                125,
                "The container name \"/first\" is already in use",
            ),
            (
                &["create", "--name", "first", "busybox"],
                1,
                "The container name \"/first\" is already in use",
            ),
            (&["run", "--rm", "-p", &publish, "busybox"], 125, &format!("0.0.0.0:{port}")),
            (&["rm", "first"], 1, "first"),
            (&["rmi", "busybox"], 1, "busybox"),
        ],
    );
}

/// Nobody may use another user's state, and is told so.
#[test]
fn a_root_that_is_not_ours() {
    use std::os::unix::process::CommandExt as _;
    let host = host();
    let mut stranger = host.command(&["ps"]);
    let ran = Ran::new(&stranger.uid(65534).gid(65534).output().unwrap());
    assert_eq!(ran.code, Some(1), "{} {}", ran.out, ran.err);
    let said = line(&ran, "ps of a stranger");
    // An ordinary user's commands look at the runtime root first.
    let run = host.root().with_file_name("run").display().to_string();
    assert!(said.contains(&run) && said.contains("a directory of the user's own"), "{said}");
    let file = host.scratch().join("a-file");
    std::fs::write(&file, "").unwrap();
    let mut nowhere = host.command(&["ps"]);
    let ran = Ran::new(&nowhere.env("DHOW_ROOT", file.join("below")).output().unwrap());
    assert_eq!(ran.code, Some(1), "{} {}", ran.out, ran.err);
    assert!(line(&ran, "a root in a file").contains("a-file/below"), "{}", ran.err);
}

#[test]
fn damaged_archives_leave_nothing() {
    let host = host();
    let whole = std::fs::read(testkit::busybox_archive(host.scratch()).unwrap()).unwrap();
    let before = trace(&host);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (name, bytes, says) in [
        ("empty", Vec::new(), "archive"),
        ("junk", vec![7; 4096], "not a tar header"),
        ("cut in the header", whole[..700].to_vec(), "truncated"),
        ("cut in the layer", whole[..whole.len() / 2].to_vec(), "truncated"),
        ("flipped", flipped, "0.tar"),
        ("cut gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1], "deflate"),
        ("xz", b"\xfd7zXZ\0\0\x04".repeat(100), "XZ"),
        (
            "config outside",
            docker_archive("../../../../etc/passwd", "layer.tar"),
            "../../../../etc/passwd",
        ),
        (
            "layer outside",
            docker_archive("config.json", "../../../etc/passwd"),
            "../../../etc/passwd",
        ),
        ("config missing", docker_archive("nosuch.json", "layer.tar"), "nosuch.json"),
        ("another layer", docker_archive("config.json", "layer.tar"), "layer.tar"),
    ] {
        let ran = host.feed(&["load"], &bytes);
        assert_eq!(ran.code, Some(1), "{name}: {} {}", ran.out, ran.err);
        let said = line(&ran, name);
        assert!(said.contains(says), "{name}: {said}");
        assert_same(&host, &before, name);
    }
}

#[test]
fn layers_that_escape_leave_nothing() {
    let host = host();
    let before = trace(&host);
    let canary = host.scratch().join("canary");
    std::fs::write(&canary, "alive").unwrap();
    let outside = canary.to_string_lossy().into_owned();
    let up = format!("../../../../../../..{outside}");
    let (file, link, symlink) = (b'0', b'1', b'2');
    for (name, members, says) in [
        ("dots", vec![("../x", file, "")], "entry 1 \"../x\": the name leads outside the image"),
        (
            "dots inside",
            vec![("a/../../x", file, "")],
            "entry 1 \"a/../../x\": the name leads outside",
        ),
        ("hard link up", vec![("hard", link, up.as_str())], "entry 1 \"hard\": hard link target"),
        (
            "hard link absolute",
            vec![("hard", link, outside.as_str())],
            "does not exist in this layer",
        ),
        (
            "through a symlink",
            vec![("soft", symlink, outside.as_str()), ("soft/x", file, "")],
            "entry 2 \"soft/x\": a directory on the way is not a directory",
        ),
        (
            "hard link through a symlink",
            vec![("soft", symlink, "/"), ("hard", link, up.as_str())],
            "is outside the image",
        ),
        (
            "whiteout of dots",
            vec![(".wh...", file, "")],
            "entry 1 \".wh...\": the whiteout names nothing",
        ),
    ] {
        let ran = host.feed(&["import", "-", "evil"], &tar(&members));
        assert_eq!(ran.code, Some(1), "{name}: {} {}", ran.out, ran.err);
        let said = line(&ran, name);
        assert!(said.contains(says), "{name}: {said}");
        assert_same(&host, &before, name);
        assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    }
    // Absolute names and links that stay inside are an image like any other.
    let inside = tar(&[
        ("/etc/x", file, ""),
        ("l", symlink, &outside),
        ("m", symlink, "/etc"),
        ("m/y", file, ""),
    ]);
    assert_eq!(host.feed(&["import", "-", "fine"], &inside).code, Some(0));
}

/// A docker-archive whose manifest names these members, with a layer that is not the configuration's.
fn docker_archive(config: &str, layer: &str) -> Vec<u8> {
    let manifest =
        format!(r#"[{{"Config":"{config}","RepoTags":["evil:1"],"Layers":["{layer}"]}}]"#);
    let diff_id = "sha256:".to_owned() + &"0".repeat(64);
    let document = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},"config":{{}}}}"#
    );
    let mut archive = member("manifest.json", b'0', "", manifest.as_bytes());
    archive.extend(member("config.json", b'0', "", document.as_bytes()));
    archive.extend(member("layer.tar", b'0', "", &tar(&[("a", b'0', "")])));
    archive.extend([0; 1024]);
    archive
}

/// An archive of empty members: name, type, link target.
fn tar(members: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut archive: Vec<u8> =
        members.iter().flat_map(|(name, kind, target)| member(name, *kind, target, b"")).collect();
    archive.extend([0; 1024]);
    archive
}

fn member(name: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}
