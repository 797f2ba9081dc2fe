//! Each malformed thing gets one clear line, the right code, and leaves no trace.

use crate::host;

#[test]
fn one_line_names_the_thing() {
    let host = host();
    for (arguments, code, says) in [
        (&["run", "Bad", "true"][..], 125, "repository name (library/Bad) must be lowercase"),
        (&["run", "-p", "99999:80", "busybox"], 125, "invalid hostPort: 99999"),
        (&["run", "-v", "a:b:c:d", "busybox"], 125, "a:b:c:d"),
        (&["run", "-v", "/a:/", "busybox"], 125, "destination can't be '/'"),
        (&["run", "-m", "lots", "busybox"], 125, "lots"),
        (&["run", "-h", "a\nb", "busybox"], 125, "hostname"),
        (&["run", "-u", "4294967296", "busybox", "true"], 125, "4294967296"),
        (&["run", "--rm", "-u", "nosuch", "busybox", "true"], 125, "unable to find user nosuch"),
        (&["run", "-w", "relative", "busybox"], 125, "relative"),
        (&["run", "--cap-add", "FOO", "busybox"], 125, "FOO"),
        (&["run", "--rm", "--restart", "always", "busybox"], 125, "--restart"),
        (&["run", "--rm", "--network", "nosuch", "busybox", "true"], 125, "nosuch"),
        (&["run", "--rm", "--ulimit", "nosuch=1", "busybox"], 125, "nosuch"),
        (&["inspect", "nosuch"], 1, "No such object: nosuch"),
        (&["start", "nosuch"], 1, "No such container: nosuch"),
        (&["logs", "nosuch"], 1, "No such container: nosuch"),
        (&["nosuch"], 1, "nosuch"),
        (&["run"], 1, "requires at least 1 argument"),
    ] {
        let ran = host.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn damaged_archives_leave_nothing() {
    let host = host();
    let whole = std::fs::read(testkit::busybox_archive(host.scratch()).unwrap()).unwrap();
    let before = files(&host);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("junk", vec![7; 4096]),
        ("cut in the header", whole[..700].to_vec()),
        ("cut in the layer", whole[..whole.len() / 2].to_vec()),
        ("flipped", flipped),
        ("cut gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1]),
    ] {
        let ran = host.feed(&["load"], &bytes);
        assert_eq!(ran.code, Some(1), "{name}: {} {}", ran.out, ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{name}: {}", ran.err);
    }
    assert_eq!(files(&host), before);
}

/// Every file of the store but the database.
fn files(host: &testkit::Host) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["images", "snapshots", "staging", "ingest", "trash"]
        .map(|name| host.root().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
