//! `cp`: Docker's rules both ways, what is mounted, what a container does meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use testkit::{Host, Ran, Swap, until};

use crate::events::now;
use crate::host;

/// What Docker 20.10 with its client 28.2 made of each copy: what came and went, or the error.
const DOCKER: &str = include_str!("cp/table.txt");

/// What is copied.
const SOURCES: &str = "mkdir -p s/dir/sub && echo f >s/file && echo i >s/dir/in && ln -s file s/lfile && ln -s dir s/ldir && ln -s none s/broken";
/// What there is at each destination.
const THERE: &str =
    "mkdir -p dir/old && echo o >file && ln -s file lfile && ln -s dir ldir && ln -s none broken";
/// Tells of everything in `t`.
const LIST: &str = r#"find t | while read x; do if [ -L "$x" ]; then echo "l$(readlink $x) $x"; elif [ -d "$x" ]; then echo "d $x"; else echo "$(cat $x) $x"; fi; done"#;

/// One line of the table.
struct Case {
    number: usize,
    line: &'static str,
    /// `to` or `from`.
    way: &'static str,
    flags: &'static [&'static str],
    source: &'static str,
    target: &'static str,
}

fn cases() -> Vec<Case> {
    let parse = |(number, line): (usize, &'static str)| {
        let words: Vec<&'static str> = line.split_once(" => ").unwrap().0.split(' ').collect();
        let (way, flags, rest): (_, &[&str], _) = match &words[..] {
            [way, "-L", rest @ ..] => (*way, &["-L"], rest.to_vec()),
            [way, rest @ ..] => (*way, &[], rest.to_vec()),
            [] => panic!("an empty line"),
        };
        Case { number, line, way, flags, source: rest[0], target: rest[1] }
    };
    DOCKER.lines().enumerate().map(parse).collect()
}

/// Runs a shell script.
#[expect(clippy::disallowed_methods, reason = "a test makes its files as a user does")]
pub(crate) fn shell(dir: &Path, script: &str) -> String {
    let output = std::process::Command::new("sh").arg("-ec").arg(script).current_dir(dir).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn destinations(cases: &[Case], way: &str) -> String {
    let here = cases.iter().filter(|case| case.way == way);
    let made = here.map(|case| format!("(mkdir -p t/{0} && cd t/{0} && {THERE})", case.number));
    made.collect::<Vec<_>>().join("\n")
}

/// What a listing says of each case, beyond what there was.
fn changes(listing: &str) -> BTreeMap<usize, String> {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for line in listing.lines() {
        let (what, path) = line.rsplit_once(" t").unwrap();
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let Ok(number) = parts.next().unwrap().parse() else { continue };
        let rest = parts.next().unwrap_or_default();
        found.entry(number).or_default().insert(format!("{what}:{rest}"));
    }
    let before = ["d:", "d:dir", "d:dir/old", "o:file", "lfile:lfile", "ldir:ldir", "lnone:broken"];
    let before: BTreeSet<String> = before.into_iter().map(str::to_owned).collect();
    let told = |there: &BTreeSet<String>| {
        let came = there.difference(&before).map(|what| format!("+{what}"));
        let went = before.difference(there).map(|what| format!("-{what}"));
        came.chain(went).collect::<Vec<_>>().join(" ")
    };
    found.iter().map(|(number, there)| (*number, told(there))).collect()
}

fn copy(host: &Host, case: &Case, here: &str) -> Ran {
    let Case { number, source, target, .. } = case;
    let (from, to) = match case.way {
        "to" => (format!("{here}/s/{source}"), format!("cpt:/t/{number}/{target}")),
        _ => (format!("cpt:/s/{source}"), format!("{here}/t/{number}/{target}")),
    };
    let words = [&["cp"], case.flags, &[from.as_str(), to.as_str()]].concat();
    host.run(&words)
}

#[test]
fn what_is_made_where_is_as_in_docker() {
    let host = host();
    let here = host.scratch().join("here");
    fs::create_dir(&here).unwrap();
    let (all, shown) = (cases(), here.to_str().unwrap().to_owned());
    shell(&here, &format!("{SOURCES}\n{}", destinations(&all, "from")));
    let inside = format!("{SOURCES}\n{}\nsleep 1000", destinations(&all, "to"));
    host.ok(&["run", "-d", "--name", "cpt", "--network", "none", "busybox", "sh", "-ec", &inside]);
    until("what is copied", || host.run(&["cp", "cpt:/t/38/broken", "-"]).code == Some(0));
    let run = |cases: &[Case]| -> Vec<Ran> {
        cases.iter().map(|case| copy(&host, case, &shown)).collect()
    };
    let (first, second) = all.split_at(all.len() / 2);
    let ran = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(second));
        let mut ran = run(first);
        ran.extend(other.join().unwrap());
        ran
    });
    let mut changed = changes(&host.ok(&["exec", "cpt", "sh", "-c", LIST]));
    changed.extend(changes(&shell(&here, LIST)));
    let line = |(case, ran): (&Case, &Ran)| {
        let error = ran.err.replace(&shown, "LOCAL").replace(&format!("/t/{}", case.number), "/T");
        let change = changed.get(&case.number).cloned().unwrap_or_default();
        let what = if ran.code == Some(0) { change } else { error };
        format!("{} => {what}", case.line.split_once(" => ").unwrap().0)
    };
    let got: Vec<String> = all.iter().zip(&ran).map(line).collect();
    compare(&got);
}

fn compare(got: &[String]) {
    let wanted: Vec<&str> = DOCKER.lines().collect();
    let differ = got.iter().zip(wanted).filter(|(got, wanted)| got != wanted);
    let differ: Vec<String> = differ.map(|(got, want)| format!("{got}\n  not {want}")).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn owners_and_modes_are_kept_or_the_users() {
    let host = host();
    let dir = host.scratch();
    shell(
        dir,
        "echo x >f; chown 1234:2345 f; chmod 4750 f; mkdir d; ln f d/one; ln f d/two; chmod 2711 d",
    );
    host.ok(&[
        "create",
        "--name",
        "cc",
        "-u",
        "33:44",
        "--network",
        "none",
        "busybox",
        "sleep",
        "9",
    ]);
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    host.ok(&["cp", &file("f"), "cc:/kept"]);
    host.ok(&["cp", "-a", &file("f"), "cc:/users"]);
    host.ok(&["cp", &file("d"), "cc:/"]);
    host.ok(&["start", "cc"]);
    let script = "stat -c '%a %u:%g %h' /kept /users /d /d/one";
    assert_eq!(
        host.ok(&["exec", "-u", "0", "cc", "sh", "-c", script]),
        "4750 1234:2345 1\n4750 33:44 1\n2711 0:0 2\n4750 1234:2345 2"
    );
    host.ok(&["cp", "cc:/kept", &file("back")]);
    let back = fs::metadata(file("back")).unwrap();
    assert_eq!((back.permissions().mode() & 0o7777, back.uid()), (0o4750, 0));
    host.ok(&["rm", "-f", "cc"]);
}

/// All that is mounted, in containers that run, are paused, and do not run.
#[test]
fn copies_go_through_what_is_mounted() {
    let host = host();
    let bound = host.scratch().join("bound");
    fs::create_dir(&bound).unwrap();
    let bind = format!("{}:/bind", bound.display());
    let file = host.scratch().join("f");
    fs::write(&file, "text").unwrap();
    let file = file.to_str().unwrap();
    let options = [
        "--name",
        "cc",
        "--network",
        "none",
        "-v",
        "data:/vol",
        "-v",
        "data:/ro:ro",
        "-v",
        &bind,
        "--tmpfs",
        "/mem",
        "busybox",
        "sleep",
        "1000",
    ];
    host.ok(&[&["create"], &options[..]].concat());
    let read = |path: &str| host.run(&["cp", path, "-"]).out.contains("text");
    host.ok(&["cp", file, "cc:/vol/stopped"]);
    host.ok(&["cp", file, "cc:/bind/stopped"]);
    let refused = host.fails(1, &["cp", file, "cc:/ro/x"]);
    assert!(refused.ends_with("mounted volume is marked read-only"), "{refused}");
    assert!(read("cc:/ro/stopped") && bound.join("stopped").exists());
    host.ok(&["start", "cc"]);
    host.ok(&["cp", file, "cc:/mem/running"]);
    host.ok(&["cp", file, "cc:/vol/running"]);
    assert!(host.fails(1, &["cp", file, "cc:/ro/x"]).ends_with("is marked read-only"));
    host.ok(&["pause", "cc"]);
    host.ok(&["cp", file, "cc:/mem/paused"]);
    assert!(read("cc:/mem/running"));
    host.ok(&["unpause", "cc"]);
    let there = host.ok(&["exec", "cc", "sh", "-c", "cd /; ls mem vol bind"]);
    assert_eq!(there, "bind:\nstopped\n\nmem:\npaused\nrunning\n\nvol:\nrunning\nstopped");
    // A file of the kernel has no size, and its directories would never end.
    assert!(host.ok(&["cp", "cc:/proc/version", "-"]).contains("Linux version"));
    assert!(!host.ok(&["cp", "cc:/", "-"]).contains("proc/version"));
    let refused = host.fails(1, &["cp", file, "cc:/proc/sys/kernel/x"]);
    assert!(
        refused.contains("the kernel's own files") || refused.contains("read-only"),
        "{refused}"
    );
    host.ok(&["rm", "-f", "cc"]);
}

/// The kernel keeps mounts from being removed only for those that are in their namespace.
#[test]
fn what_is_mounted_in_a_container_that_runs_stays_so() {
    let host = host();
    let dir = host.scratch();
    shell(dir, "echo bound >bound; echo new >f");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let bind = format!("{}:/etc/bound", path("bound"));
    let words = ["run", "-d", "--name", "cc", "--network", "none", "-v", &bind, "-v", "vol:/vol"];
    host.ok(&[&words[..], &["busybox", "sleep", "1000"]].concat());
    let mounts = || host.ok(&["exec", "cc", "cat", "/proc/mounts"]);
    let before = mounts();
    for target in ["cc:/etc/bound", "cc:/etc/hosts"] {
        let refused = host.fails(1, &["cp", &path("f"), target]).to_lowercase();
        assert!(refused.contains("device or resource busy"), "{refused}");
    }
    shell(dir, "mkdir s; echo x >s/vol; tar cf vol.tar -C s vol");
    let over = host.feed(&["cp", "-", "cc:/"], &fs::read(dir.join("vol.tar")).unwrap());
    assert_ne!(over.code, Some(0), "a file in place of what is mounted");
    assert_eq!(mounts(), before);
    assert_eq!(host.ok(&["exec", "cc", "cat", "/etc/bound"]), "bound");
    assert_eq!(fs::read_to_string(dir.join("bound")).unwrap(), "bound\n");
    host.ok(&["rm", "-f", "cc"]);
}

/// What stands at the top of procfs and sysfs is not given an archive's times and modes. The mode is
/// what it is already, since the host's own has it from the same place. The time may be any other: the
/// kernel forgets it with the inode.
#[test]
fn directories_of_the_kernel_stay_as_they_are() {
    let host = host();
    let dir = host.scratch();
    shell(
        dir,
        "mkdir -p t/sys t/made; chmod 555 t/sys; chmod 700 t/made; touch -d @1000 t/sys; \
         tar cf t.tar -C t sys made",
    );
    host.ok(&[
        "run",
        "-d",
        "--privileged",
        "--name",
        "cc",
        "--network",
        "none",
        "busybox",
        "sleep",
        "1000",
    ]);
    let copy = host.feed(&["cp", "-", "cc:/"], &fs::read(dir.join("t.tar")).unwrap());
    assert_eq!(copy.code, Some(0), "{}", copy.err);
    let seen = host.ok(&["exec", "cc", "stat", "-c", "%a %Y", "/sys"]);
    let (mode, time) = seen.split_once(' ').unwrap();
    assert!(mode == "555" && time != "1000", "{seen}");
    assert_eq!(host.ok(&["exec", "cc", "stat", "-c", "%a", "/made"]), "700");
    host.ok(&["rm", "-f", "cc"]);
}

#[test]
fn a_read_only_root_takes_nothing() {
    let host = host();
    let file = host.scratch().join("f");
    fs::write(&file, "text").unwrap();
    let file = file.to_str().unwrap();
    let options = [
        "--name",
        "cc",
        "--read-only",
        "--network",
        "none",
        "-v",
        "vol:/vol",
        "busybox",
        "sleep",
        "9",
    ];
    host.ok(&[&["create"], &options[..]].concat());
    for _ in ["stopped", "running"] {
        let refused = host.fails(1, &["cp", file, "cc:/etc/x"]);
        assert!(refused.ends_with("container rootfs is marked read-only"), "{refused}");
        host.ok(&["cp", file, "cc:/vol/x"]);
        host.ok(&["start", "cc"]);
    }
    assert!(host.ok(&["events", "--until", &now()]).contains("extract-to-dir"));
    host.ok(&["rm", "-f", "cc"]);
}

#[test]
fn archives_come_and_go_by_the_standard_streams() {
    let host = host();
    host.ok(&["create", "--name", "aa", "--network", "none", "busybox"]);
    host.ok(&["create", "--name", "bb", "--network", "none", "busybox"]);
    let dir = host.scratch();
    shell(dir, "mkdir x; echo 1 >x/1; mkfifo x/fifo; tar czf x.tgz x");
    assert_eq!(
        host.feed(&["cp", "-", "aa:/tmp"], &fs::read(dir.join("x.tgz")).unwrap()).code,
        Some(0)
    );
    let refused = host.feed(&["cp", "-", "aa:/nosuch"], b"");
    assert_eq!(refused.err, "destination \"aa:/nosuch\" must be a directory");
    let refused = host.feed(&["cp", "-", "aa:/tmp"], b"nothing of the kind");
    assert_eq!((refused.code, refused.err.contains("archive")), (Some(1), true), "{}", refused.err);
    host.ok(&["cp", "aa:/tmp/x", "bb:/tmp/"]);
    host.ok(&["cp", "aa:/tmp/x", "bb:/tmp/renamed"]);
    host.ok(&["cp", "aa:/tmp/x/.", "bb:/tmp/inside"]);
    host.ok(&["cp", "bb:/tmp/.", dir.join("back").to_str().unwrap()]);
    let made = shell(&dir.join("back"), "find . | sort");
    assert_eq!(
        made,
        ".\n./inside\n./inside/1\n./inside/fifo\n./renamed\n./renamed/1\n./renamed/fifo\n./x\n./x/1\n./x/fifo\n"
    );
    host.ok(&["rm", "aa", "bb"]);
}

/// What does not come whole leaves nothing, and what it would have replaced stays.
#[test]
fn a_copy_that_fails_leaves_no_half_file() {
    let host = host();
    let dir = host.scratch();
    let words = [
        "run",
        "-d",
        "--name",
        "cc",
        "--network",
        "none",
        "--tmpfs",
        "/small:size=256k",
        "busybox",
        "sh",
        "-c",
        "echo old >/small/big; sleep 1000",
    ];
    host.ok(&words);
    shell(
        dir,
        "head -c 1000000 /dev/zero >big; tar cf big.tar big; head -c 500000 big.tar >half.tar",
    );
    until("what is copied", || host.run(&["cp", "cc:/small/big", "-"]).out.contains("old"));
    let full = host.fails(1, &["cp", dir.join("big").to_str().unwrap(), "cc:/small/big"]);
    assert!(full.contains("No space left"), "{full}");
    let half = host.feed(&["cp", "-", "cc:/tmp"], &fs::read(dir.join("half.tar")).unwrap());
    assert_eq!(half.code, Some(1));
    let there = host.ok(&["exec", "cc", "sh", "-c", "ls -a /small /tmp; cat /small/big"]);
    assert_eq!(there, "/small:\n.\n..\nbig\n\n/tmp:\n.\n..\nold");
    host.ok(&["rm", "-f", "cc"]);
}

/// A directory and a symlink to a directory of the host change places as fast as they can, in a
/// volume of containers that are copied from and to (CVE-2018-15664, CVE-2026-42306).
#[test]
fn links_that_are_swapped_lead_nowhere_outside() {
    let host = host();
    let dir = host.scratch();
    shell(
        dir,
        "mkdir canary racing racing/a; echo secret >canary/secret; echo inside >racing/a/secret; echo x >f",
    );
    symlink(dir.join("canary"), dir.join("racing/b")).unwrap();
    let bind = format!("{}:/r", dir.join("racing").display());
    let inside = "mkdir -p /run /var; ln -s /run /var/run; echo up; sleep 1000";
    let words = ["--network", "none", "-v", &bind, "busybox", "sh", "-c", inside];
    host.ok(&[&["run", "-d", "--name", "run"], &words[..]].concat());
    host.ok(&[&["create", "--name", "lone"], &words[..]].concat());
    until("what it says", || host.ok(&["logs", "run"]) == "up");
    let swap = Swap::start(&dir.join("racing/a"), &dir.join("racing/b"));
    let file = dir.join("f");
    let file = file.to_str().unwrap();
    let mut copied = 0;
    for round in 0..40 {
        let who = if round % 2 == 0 { "run" } else { "lone" };
        let read = host.run(&["cp", &format!("{who}:/r/a/secret"), "-"]);
        assert!(!read.out.contains("secret\n"), "{}", read.out);
        let wrote = host.run(&["cp", file, &format!("{who}:/r/a/")]);
        copied += usize::from(wrote.code == Some(0));
    }
    drop(swap);
    assert!(copied > 0, "nothing was copied at all");
    assert_eq!(fs::read_dir(dir.join("canary")).unwrap().count(), 1, "the host was written to");
    // A link that stays inside is followed.
    host.ok(&["cp", dir.join("f").to_str().unwrap(), "run:/var/run/x"]);
    host.ok(&["rm", "-f", "run", "lone"]);
}

/// Programs that others were made to run by an archive (CVE-2026-41567) or a name (CVE-2019-14271).
#[test]
fn nothing_of_a_container_runs_on_the_host() {
    let host = host();
    let dir = host.scratch();
    let marker = dir.join("ran");
    let trojan = dir.join("trojan");
    fs::write(&trojan, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
    fs::set_permissions(&trojan, fs::Permissions::from_mode(0o755)).unwrap();
    host.ok(&["create", "--name", "cc", "-u", "nobody", "--network", "none", "busybox"]);
    for name in ["unpigz", "xz", "gzip", "tar"] {
        host.ok(&["cp", trojan.to_str().unwrap(), &format!("cc:/bin/{name}")]);
    }
    fs::create_dir(dir.join("lib")).unwrap();
    fs::copy(&trojan, dir.join("lib/libnss_files.so.2")).unwrap();
    host.ok(&["cp", dir.join("lib").to_str().unwrap(), "cc:/"]);
    shell(dir, "echo 1 >1; tar czf 1.tgz 1");
    let archive = fs::read(dir.join("1.tgz")).unwrap();
    assert_eq!(host.feed(&["cp", "-a", "-", "cc:/tmp"], &archive).code, Some(0));
    assert!(!marker.exists());
    host.ok(&["rm", "cc"]);
}

/// A server that is not to be trusted, or an archive of its own making, gives what was asked for or
/// nothing.
#[test]
fn an_archive_writes_below_its_directory_only() {
    let host = host();
    let dir = host.scratch();
    host.ok(&["create", "--name", "cc", "--network", "none", "busybox"]);
    shell(
        dir,
        "mkdir -p t/sub; echo x >t/x; ln -s /etc t/out; tar cPf up.tar --transform 's,^t/x,../../x,' t/x; tar cf link.tar -C t out; tar rf link.tar -C t --transform 's,^x,out/dhow-x,' x",
    );
    let up = host.feed(&["cp", "-", "cc:/tmp"], &fs::read(dir.join("up.tar")).unwrap());
    assert!(up.code == Some(1) && up.err.contains("leads outside"), "{}", up.err);
    // Inside of the container, the link is the container's own business.
    let link = host.feed(&["cp", "-", "cc:/tmp"], &fs::read(dir.join("link.tar")).unwrap());
    assert_eq!(link.code, Some(0), "{}", link.err);
    assert!(!Path::new("/etc/dhow-x").exists());
    assert!(host.ok(&["cp", "cc:/etc/dhow-x", "-"]).contains('x'));
    // On the way out, too: the link is copied, and nothing is copied through it.
    host.ok(&["cp", "cc:/tmp/.", dir.join("taken").to_str().unwrap()]);
    assert_eq!(fs::read_link(dir.join("taken/out")).unwrap(), Path::new("/etc"));
    host.ok(&["rm", "cc"]);
}

#[test]
fn a_start_waits_for_a_copy_into_what_does_not_run() {
    let host = host();
    host.ok(&["create", "--name", "cc", "--network", "none", "busybox", "cat", "/tmp/x"]);
    let dir = host.scratch();
    shell(dir, "echo whole >x; tar cf x.tar x");
    let mut copy = host.spawn(host.command(&["cp", "-", "cc:/tmp"]).stdin(Stdio::piped()));
    let mut input = copy.stdin.take().unwrap();
    let archive = fs::read(dir.join("x.tar")).unwrap();
    std::io::Write::write_all(&mut input, &archive[..512]).unwrap();
    // It has the container once its overlay is in use.
    let lock = host.root().join("containers");
    let id = fs::read_dir(lock).unwrap().next().unwrap().unwrap().path().join("op.lock");
    // The kernel's list tells of it: who tried to take it would be in the copy's way.
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(id).unwrap());
    let locks = || fs::read_to_string("/proc/locks").unwrap();
    let is_it = |line: &str| line.contains("FLOCK") && line.contains(&format!(":{inode} "));
    until("the copy's lock", || locks().lines().any(is_it));
    let start = host.spawn(&mut host.command(&["start", "-a", "cc"]));
    std::io::Write::write_all(&mut input, &archive[512..]).unwrap();
    drop(input);
    assert!(copy.wait().unwrap().success());
    assert_eq!(Ran::new(&start.wait_with_output().unwrap()).out, "whole");
    host.ok(&["rm", "cc"]);
}

/// Archives as people have them; nothing of the container's unpacks them.
#[test]
fn archives_are_unpacked_whatever_they_are_compressed_with() {
    let host = host();
    let dir = host.scratch();
    shell(
        dir,
        "mkdir d; echo text >d/f; tar cf d.tar d; xz -k d.tar; bzip2 -k d.tar; gzip -k d.tar",
    );
    host.ok(&["create", "--name", "cc", "--network", "none", "busybox", "cat", "/x/d/f"]);
    for name in ["d.tar", "d.tar.xz", "d.tar.bz2", "d.tar.gz"] {
        let archive = fs::read(dir.join(name)).unwrap();
        host.ok(&["cp", "-q", dir.join("d").to_str().unwrap(), "cc:/x"]);
        let ran = host.feed(&["cp", "-", "cc:/x"], &archive);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
        assert_eq!(host.ok(&["start", "-a", "cc"]), "text", "{name}");
        host.ok(&["rm", "cc"]);
        host.ok(&["create", "--name", "cc", "--network", "none", "busybox", "cat", "/x/d/f"]);
        // The same of whole images and of root file systems.
        let id = host.feed(&["import", "-", "tree:1"], &archive);
        assert!(id.out.starts_with("sha256:"), "{name}: {}", id.err);
        let mount = "type=image,src=tree:1,dst=/t,image-subpath=d";
        let read = ["run", "--rm", "--network", "none", "--mount", mount, "busybox", "cat", "/t/f"];
        assert_eq!(host.ok(&read), "text", "{name}");
    }
    let cut = fs::read(dir.join("d.tar.xz")).unwrap();
    assert_eq!(host.feed(&["cp", "-", "cc:/"], &cut[..cut.len() / 2]).code, Some(1));
    host.ok(&["save", "-o", dir.join("i.tar").to_str().unwrap(), "busybox"]);
    shell(dir, "xz -1k i.tar; bzip2 -k i.tar");
    for name in ["i.tar.xz", "i.tar.bz2"] {
        let loaded = host.ok(&["load", "-i", dir.join(name).to_str().unwrap()]);
        assert_eq!(loaded, "Loaded image: busybox:latest", "{name}");
    }
}
