//! `volume export` and `volume import`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

use rustix::fs::{FileType, Mode};
use sys::failpoint::Point;
use sys::root::Root;
use testkit::Host;

use crate::events::now;
use crate::host;

/// All that a container sees of a volume.
const LOOK: &str = "cd /v; stat -c '%n %F %a %u:%g %h %t,%T %s %Y' . * sub/* | sort; cat hard";

fn sh(host: &Host, volume: &str, script: &str) -> String {
    let bind = format!("{volume}:/v");
    host.ok(&["run", "--rm", "--network", "none", "-v", &bind, "busybox", "sh", "-c", script])
}

/// A volume with something of everything.
fn fill(host: &Host, volume: &str) -> Root {
    sh(
        host,
        volume,
        "cd /v; echo one >f; ln f hard; ln -s f soft; mkfifo fifo; chown 7:8 f; chmod 4711 f; mkdir sub; \
         echo x >sub/.wh..wh..opq; mknod null c 1 3; chown 3:4 /v; chmod 2750 /v; \
         touch -d @1000 f",
    );
    let root = Root::open(host.root().join("volumes").join(volume).join("_data")).unwrap();
    let hole = root.create_file("sub/hole", Mode::RUSR).unwrap();
    rustix::fs::ftruncate(hole, 8 << 20).unwrap();
    root.mknod("gone", FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    root.set_xattr("sub", c"trusted.overlay.opaque", b"y").unwrap();
    root.set_xattr("", c"user.k", b"v").unwrap();
    let then = rustix::fs::Timespec { tv_sec: 2000, tv_nsec: 0 };
    root.set_times("", then, then).unwrap();
    root
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let host = host();
    fill(&host, "from");
    for (compression, magic) in
        [("zstd", &[0x28, 0xb5, 0x2f, 0xfd][..]), ("gzip", &[0x1f, 0x8b]), ("none", b"")]
    {
        let file = host.scratch().join(compression);
        let path = file.to_string_lossy().into_owned();
        host.ok(&["volume", "export", "--compression", compression, "-o", &path, "from"]);
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.starts_with(magic), "{compression}");
        assert_eq!(&bytes[257..262] == b"ustar", compression == "none");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let to = format!("to-{compression}");
        assert_eq!(host.ok(&["volume", "import", "-i", &path, "--label", "k=v", &to]), to);
        assert_eq!(sh(&host, "from", LOOK), sh(&host, &to, LOOK), "{compression}");
        let copy = Root::open(host.root().join("volumes").join(&to).join("_data")).unwrap();
        let xattr = |path: &str, name| copy.get_xattr(path, name).unwrap();
        assert_eq!(xattr("sub", c"trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
        assert_eq!(xattr("", c"user.k").as_deref(), Some(&b"v"[..]));
        let (gone, hole) = (copy.metadata("gone").unwrap(), copy.metadata("sub/hole").unwrap());
        assert_eq!(
            (gone.st_rdev, FileType::from_raw_mode(gone.st_mode)),
            (0, FileType::CharacterDevice)
        );
        assert!(hole.st_size == 8 << 20 && hole.st_blocks < 64, "{}", hole.st_blocks);
        let labels = ["volume", "inspect", "-f", "{{json .Labels}}", &to];
        assert_eq!(host.ok(&labels), r#"{"k":"v"}"#);
    }
}

#[test]
fn pipes_carry_it_and_containers_stand_still() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "writer",
        "--network",
        "none",
        "-v",
        "from:/v",
        "busybox",
        "sleep",
        "1000",
    ]);
    host.ok(&["exec", "writer", "sh", "-c", "echo text >/v/f"]);
    let mut export = host.command(&["volume", "export", "--pause", "from"]);
    let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut import = host.command(&["volume", "import", "to"]);
    let imported = import.stdin(export.stdout.take().unwrap()).output().unwrap();
    assert!(export.wait().unwrap().success());
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    assert_eq!(sh(&host, "to", "cat /v/f"), "text");
    let until = now();
    let events =
        ["events", "--until", &until, "--filter", "container=writer", "--format", "{{.Action}}"];
    let told = host.ok(&events);
    assert!(told.ends_with("pause\nunpause"), "{told}");
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let host = host();
    fill(&host, "from");
    let whole = host.scratch().join("whole");
    let whole = whole.to_string_lossy();
    host.ok(&["volume", "export", "--compression", "none", "-o", &whole, "from"]);
    let part = host.scratch().join("part");
    let bytes = fs::read(&*whole).unwrap();
    File::create(&part).unwrap().write_all(&bytes[..bytes.len() / 2]).unwrap();
    let part = part.to_string_lossy();
    let outside = host.scratch().join("dir");
    fs::create_dir(&outside).unwrap();
    let device = format!("device={}", outside.display());
    let bound = ["--opt", "type=none", "--opt", "o=bind", "--opt", &device];
    host.ok(&["volume", "create", "empty"]);
    for options in [&[][..], &bound] {
        let words = [&["volume", "import", "-i", &part], options, &["new"]].concat();
        let said = host.fails(1, &words);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(host.ok(&["volume", "ls", "-q"]), "empty\nfrom");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
    assert_eq!(fs::read_dir(host.root().join("staging")).unwrap().count(), 0);
    host.fails(1, &["volume", "import", "-i", &part, "empty"]);
    assert_eq!(sh(&host, "empty", "ls -A /v"), "");
    // And what is there is not written over.
    for (words, want) in [
        (&["from"][..], "volume from is not empty"),
        (
            &["--label", "a=b", "empty"],
            "volume empty already exists: labels and options are for a new one",
        ),
        (&["x"], "includes invalid characters for a local volume name"),
    ] {
        let said = host.fails(1, &[&["volume", "import", "-i", &whole], words].concat());
        assert!(said.contains(want) && said.lines().count() == 1, "{said}");
    }
    for (words, want) in [
        (&["nosuch"][..], "get nosuch: no such volume"),
        (&["--compression", "rar", "from"], "unknown compression: \"rar\" (zstd, gzip or none)"),
    ] {
        let out = host.scratch().join("never");
        let out = out.to_string_lossy();
        let said = host.fails(1, &[&["volume", "export", "-o", &out], words].concat());
        assert!(said.contains(want), "{said}");
        assert!(!Path::new(&*out).exists());
    }
}

#[test]
fn an_archive_without_its_end_is_none() {
    let host = host();
    fill(&host, "from");
    let whole = host.scratch().join("whole");
    let path = whole.to_string_lossy();
    host.ok(&["volume", "export", "--compression", "none", "-o", &path, "from"]);
    let mut bytes = fs::read(&whole).unwrap();
    // All entries are there, but for the two empty blocks behind them.
    let is_empty = |block: &&[u8]| block.iter().all(|byte| *byte == 0);
    let empty = bytes.rchunks(512).take_while(is_empty).count();
    bytes.truncate(bytes.len() - empty * 512);
    host.ok(&["volume", "create", "empty"]);
    for (name, bytes) in [("cut", bytes.as_slice()), ("nothing", b"")] {
        let part = host.scratch().join(name);
        fs::write(&part, bytes).unwrap();
        let part = part.to_string_lossy();
        for to in ["new", "empty"] {
            let said = host.fails(1, &["volume", "import", "-i", &part, to]);
            assert!(said.contains("the archive is cut off: its end is missing"), "{said}");
        }
    }
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "empty\nfrom");
    assert_eq!(sh(&host, "empty", "ls -A /v"), "");
}

#[test]
fn a_volume_stays_as_it_is_where_the_archive_says_nothing() {
    let host = host();
    fill(&host, "from");
    let out = format!("{}:/out", host.scratch().display());
    // One file, and no directory above it.
    host.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "from:/v",
        "-v",
        &out,
        "busybox",
        "busybox",
        "tar",
        "cf",
        "/out/plain",
        "-C",
        "/v",
        "f",
    ]);
    sh(&host, "to", "chown 5:6 /v; chmod 751 /v");
    let path = host.scratch().join("plain");
    host.ok(&["volume", "import", "-i", &path.to_string_lossy(), "to"]);
    assert_eq!(sh(&host, "to", "stat -c '%a %u:%g' /v; cat /v/f"), "751 5:6\none");
}

#[test]
fn one_import_at_a_time_and_what_a_killed_one_has_left_goes() {
    let host = host();
    let bytes = archive(&host);
    let file = host.scratch().join("archive");
    let file = file.to_string_lossy();
    host.ok(&["volume", "create", "to"]);
    let top = host.root().join("volumes/to/_data");
    begin(&host, "to", &bytes).end();
    assert!(fs::read_dir(&top).unwrap().next().is_some(), "what it had begun is there");
    // The copy of an image's files that was cut short before it was moved in.
    let fill = host.root().join("volumes/to/_fill");
    fs::create_dir(&fill).unwrap();
    fs::write(fill.join("of-an-image"), "").unwrap();
    // Its files are its own: a container that keeps their directory locked keeps nobody from it.
    let locked = File::open(&top).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let import = ["volume", "import", "-i", &file, "to"];
    host.ok(&import);
    assert!(!fill.exists());
    assert_eq!(sh(&host, "from", LOOK), sh(&host, "to", LOOK));
    // A directory of the user's that is called as ours are is the user's.
    host.ok(&["volume", "create", "users"]);
    let own = format!(".import-{}", "0a".repeat(32));
    let left = host.root().join("volumes/users/_data").join(own);
    fs::create_dir(&left).unwrap();
    let said = host.fails(1, &["volume", "import", "-i", &file, "users"]);
    assert!(said.contains("is not empty: empty it, or import under another name"), "{said}");
    assert!(left.exists());
}

/// An import that has read half of its archive.
struct Begun {
    import: Child,
    input: ChildStdin,
}

impl Begun {
    /// It is killed.
    fn end(mut self) {
        self.import.kill().unwrap();
        self.import.wait().unwrap();
    }
}

fn begin(host: &Host, volume: &str, archive: &[u8]) -> Begun {
    let mut import = host.command(&["volume", "import", volume]);
    let mut import = import.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(&archive[..archive.len() / 2]).unwrap();
    let data = host.root().join("volumes").join(volume).join("_data");
    let has_begun = || {
        let top = fs::read_dir(&data).unwrap().next();
        top.is_some_and(|partial| {
            fs::read_dir(partial.unwrap().path()).is_ok_and(|mut it| it.next().is_some())
        })
    };
    testkit::until("the import has begun", has_begun);
    Begun { import, input }
}

/// An archive of a volume, of which half is more than anybody keeps in memory.
fn archive(host: &Host) -> Vec<u8> {
    fill(host, "from");
    sh(host, "from", "dd if=/dev/urandom of=/v/sub/large bs=1M count=8");
    let path = host.scratch().join("archive");
    host.ok(&["volume", "export", "--compression", "none", "-o", &path.to_string_lossy(), "from"]);
    fs::read(&path).unwrap()
}

/// What is not whole is in no archive and in no copy, and what was killed is gone with the first of them.
#[test]
fn half_of_an_import_is_neither_exported_nor_cloned() {
    let host = host();
    let bytes = archive(&host);
    host.ok(&["volume", "create", "to"]);
    let begun = begin(&host, "to", &bytes);
    let out = host.scratch().join("out");
    let out = out.to_string_lossy();
    let export = ["volume", "export", "--compression", "none", "-o", &out, "to"];
    for words in [&export[..], &["volume", "clone", "to", "copy"]] {
        let said = host.fails(1, words);
        assert!(said.contains("volume to is being imported into"), "{said}");
    }
    let file = host.scratch().join("archive");
    let said = host.fails(1, &["volume", "import", "-i", &file.to_string_lossy(), "to"]);
    assert!(said.contains("is being imported into, exported or cloned"), "{said}");
    begun.end();
    host.ok(&export);
    let exported = fs::read(&*out).unwrap();
    assert!(!exported.windows(8).any(|part| part == b".import-"));
    begin(&host, "to", &bytes).end();
    host.ok(&["volume", "clone", "to", "copy"]);
    for volume in ["to", "copy"] {
        let data = host.root().join("volumes").join(volume).join("_data");
        assert!(fs::read_dir(data).unwrap().next().is_none(), "{volume}");
    }
}

/// What is whole is moved up by whoever comes next, if the import cannot.
#[test]
fn an_import_that_is_whole_is_finished() {
    let host = host();
    fill(&host, "from");
    let file = host.scratch().join("archive");
    let file = file.to_string_lossy();
    host.ok(&["volume", "export", "-o", &file, "from"]);
    let from = sh(&host, "from", LOOK);
    let out = host.scratch().join("out");
    let out = out.to_string_lossy();
    for (how, next) in [
        ("kill@1", &["volume", "export", "-o", &out, "to"][..]),
        ("kill@2", &["volume", "clone", "to", "copy"]),
        ("error@2", &["volume", "clone", "to", "copy"]),
        ("kill@2", &["volume", "import", "-i", &file, "to"]),
    ] {
        host.ok(&["volume", "create", "to"]);
        let wish = format!("{}={how}", Point::VolumeImported.name());
        let mut import = host.command(&["volume", "import", "-i", &file, "to"]);
        assert!(!import.env("DHOW_FAILPOINT", wish).status().unwrap().success(), "{how}");
        let data = host.root().join("volumes/to/_data");
        assert!(fs::read_dir(&data).unwrap().count() > 1, "{how}: a part is in its place");
        match next[1] {
            "import" => {
                let said = host.fails(1, next);
                assert!(said.contains("volume to is not empty"), "{said}");
            }
            "export" => {
                host.ok(next);
                host.ok(&["volume", "import", "-i", &out, "copy"]);
            }
            _ => drop(host.ok(next)),
        }
        assert_eq!(sh(&host, "to", LOOK), from, "{how} {next:?}");
        if next[1] != "import" {
            assert_eq!(sh(&host, "copy", LOOK), from, "{how} {next:?}");
            host.ok(&["volume", "rm", "copy"]);
        }
        assert!(!host.root().join("volumes/to/import").exists(), "{how} {next:?}");
        host.ok(&["volume", "rm", "to"]);
    }
}

/// Success is said of a volume that is there.
#[test]
fn a_volume_that_is_removed_while_it_is_filled_is_missed() {
    let host = host();
    let bytes = archive(&host);
    for again in [false, true] {
        host.ok(&["volume", "create", "to"]);
        // The first of it is there when the volume goes.
        let Begun { import, mut input } = begin(&host, "to", &bytes);
        host.ok(&["volume", "rm", "to"]);
        if again {
            host.ok(&["volume", "create", "to"]);
        }
        // Who has failed before the end reads no more.
        let _ = input.write_all(&bytes[bytes.len() / 2..]);
        drop(input);
        let ended = import.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("volume to was removed while the archive was unpacked"), "{said}");
        if again {
            let data = host.root().join("volumes/to/_data");
            assert!(fs::read_dir(&data).unwrap().next().is_none());
            host.ok(&["volume", "rm", "to"]);
        }
    }
}

/// An overlay is another file system each time that it is mounted.
#[test]
fn a_file_system_that_is_mounted_anew_is_filled() {
    let host = host();
    // An overlay has no whiteouts in it.
    sh(&host, "from", "cd /v; echo one >f; mkdir sub; chown 3:4 .");
    let file = host.scratch().join("file");
    let file = file.to_string_lossy();
    host.ok(&["volume", "export", "-o", &file, "from"]);
    for volume in ["made", "there"] {
        let dir = |name: &str| {
            let dir = host.scratch().join(format!("{volume}-{name}"));
            fs::create_dir(&dir).unwrap();
            dir
        };
        let (lower, upper, work) = (dir("lower"), dir("upper"), dir("work"));
        let [l, u, w] = [&lower, &upper, &work].map(|it| it.display());
        let o = format!("o=lowerdir={l},upperdir={u},workdir={w}");
        let options = ["--opt", "type=overlay", "--opt", "device=overlay", "--opt", &o, volume];
        let import = ["volume", "import", "-i", &file];
        if volume == "made" {
            host.ok(&[&import[..], &options].concat());
        } else {
            host.ok(&[&["volume", "create"][..], &options].concat());
            host.ok(&[&import[..], &[volume]].concat());
        }
        assert_eq!(fs::read_to_string(upper.join("f")).unwrap(), "one\n", "{volume}");
        assert_eq!(fs::metadata(&upper).unwrap().uid(), 3, "{volume}");
    }
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "from\nmade\nthere");
}

#[test]
fn an_empty_volume_is_filled_whatever_it_is() {
    let host = host();
    fill(&host, "from");
    let file = host.scratch().join("file");
    let file = file.to_string_lossy();
    host.ok(&["volume", "export", "-o", &file, "from"]);
    // In use by a container that runs: it sees what comes.
    host.ok(&[
        "run",
        "-d",
        "--name",
        "there",
        "--network",
        "none",
        "-v",
        "empty:/v",
        "busybox",
        "sleep",
        "1000",
    ]);
    host.ok(&["volume", "import", "-i", &file, "empty"]);
    // What comes changes the time of the directory that was there.
    let plain = |text: String| text.lines().skip(1).collect::<Vec<_>>().join("\n");
    let inside = host.ok(&["exec", "there", "sh", "-c", LOOK]);
    assert_eq!(plain(inside), plain(sh(&host, "from", LOOK)));
    // A directory of the host, by the options of a volume.
    let outside = host.scratch().join("dir");
    fs::create_dir(&outside).unwrap();
    chown(&outside, Some(9), Some(9)).unwrap();
    let device = format!("device={}", outside.display());
    host.ok(&[
        "volume",
        "import",
        "-i",
        &file,
        "--opt",
        "type=none",
        "--opt",
        "o=bind",
        "--opt",
        &device,
        "bound",
    ]);
    assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "one\n");
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 3);
    assert_eq!(plain(sh(&host, "bound", LOOK)), plain(sh(&host, "from", LOOK)));
    // Memory of a container that runs is one too, and that of none is nothing.
    let memory = ["--opt", "type=tmpfs", "--opt", "device=tmpfs"];
    host.ok(&[&["volume", "create"][..], &memory, &["mem"]].concat());
    let said = host.fails(1, &["volume", "export", "-o", "/dev/null", "mem"]);
    assert!(said.contains("volume mem is memory, and no container runs that has it"), "{said}");
}
