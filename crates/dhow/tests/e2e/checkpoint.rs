//! Checkpoints: what a container did is gone on with, and what else it is comes from its record.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use testkit::{Host, until_is};

use crate::events::now;

/// Counts, a line at a time.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done";

/// A host with the images and a criu that works on its kernel.
fn host() -> Host {
    testkit::criu().unwrap();
    crate::host()
}

fn numbers(host: &Host, name: &str) -> Vec<u32> {
    host.ok(&["logs", name]).lines().map(|line| line.parse().unwrap()).collect()
}

/// Waits until the container has counted beyond what it had, and returns all that it has counted.
fn goes_on(host: &Host, name: &str) -> Vec<u32> {
    let before = numbers(host, name).len();
    until_is("more numbers", || {
        let now = numbers(host, name);
        if now.len() > before + 2 { Ok(now) } else { Err(now.len()) }
    })
}

fn look(host: &Host, name: &str, format: &str) -> String {
    host.ok(&["inspect", "-f", format, name])
}

fn container_dir(host: &Host, name: &str) -> PathBuf {
    host.root().join("containers").join(look(host, name, "{{.Id}}"))
}

fn count(host: &Host, name: &str, more: &[&str]) {
    let run = ["run", "-d", "--name", name];
    host.ok(&[&run[..], more, &["busybox", "sh", "-c", COUNT]].concat());
    goes_on(host, name);
}

#[test]
fn a_process_goes_on_where_it_was_as_often_as_one_wants() {
    let host = host();
    count(&host, "cc", &["--network", "none", "--restart", "always"]);
    assert_eq!(host.ok(&["checkpoint", "create", "cc", "one"]), "one");
    assert_eq!(look(&host, "cc", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    let written = numbers(&host, "cc");
    assert_eq!(host.ok(&["checkpoint", "ls", "cc"]), "CHECKPOINT NAME\none");
    host.ok(&["start", "--checkpoint", "one", "cc"]);
    let first = goes_on(&host, "cc");
    // Nothing was lost and nothing was done twice.
    assert!(is_counted(&first), "{first:?}");
    host.ok(&["kill", "cc"]);
    assert_eq!(look(&host, "cc", "{{.State.Status}}"), "exited");
    let ended = numbers(&host, "cc").len();
    host.ok(&["start", "--checkpoint", "one", "cc"]);
    let second = goes_on(&host, "cc").split_off(ended);
    assert_eq!(second[0], *written.last().unwrap() + 1, "{second:?}");
    // A restored one is written down as well.
    host.ok(&["checkpoint", "create", "cc", "two"]);
    let last = *numbers(&host, "cc").last().unwrap();
    let ended = numbers(&host, "cc").len();
    host.ok(&["start", "--checkpoint", "two", "cc"]);
    assert_eq!(goes_on(&host, "cc")[ended], last + 1);
    assert_eq!(host.ok(&["checkpoint", "ls", "cc"]), "CHECKPOINT NAME\none\ntwo");
    host.ok(&["checkpoint", "rm", "cc", "one"]);
    assert_eq!(host.ok(&["checkpoint", "ls", "cc"]), "CHECKPOINT NAME\ntwo");
    let dir = container_dir(&host, "cc");
    host.ok(&["rm", "-f", "cc"]);
    assert!(!dir.exists());
}

fn is_counted(numbers: &[u32]) -> bool {
    numbers.iter().zip(1..).all(|(number, wanted)| *number == wanted)
}

/// Asks a server that may need a moment.
fn ask(port: &str) -> String {
    until_is("an answer", || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        stream.write_all(b"GET /f HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    })
}

/// All that is mounted, without the numbers, which differ at each start.
fn mounts(host: &Host, name: &str) -> String {
    let mounts = host.ok(&["exec", name, "cat", "/proc/self/mountinfo"]);
    let mut lines: Vec<String> = mounts.lines().map(mount).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Where, what of it, how, and which kind. A mask may be called otherwise.
fn mount(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let kind = words.iter().position(|word| *word == "-").unwrap() + 1;
    [words[4], words[3], words[5], words[kind]].join(" ")
}

#[test]
fn what_a_container_is_comes_from_its_record_and_what_it_had_from_the_checkpoint() {
    let host = host();
    let bound = host.scratch().join("bound");
    fs::create_dir(&bound).unwrap();
    let bind = format!("{}:/srv/bound:ro", bound.display());
    let serve = "echo kept >/scratch/f; echo page >/www/f; cd /scratch; httpd -f -p 80 -h /www";
    host.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:0:80",
        "-v",
        "www:/www",
        "-v",
        &bind,
        "--tmpfs",
        "/scratch",
        "--read-only",
        "--init",
        "--hostname",
        "told",
        "-m",
        "64m",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "NET_BIND_SERVICE",
        "--ulimit",
        "nofile=99",
        "busybox",
        "sh",
        "-c",
        serve,
    ]);
    let port = || {
        let format = "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}";
        look(&host, "web", format)
    };
    assert!(ask(&port()).ends_with("page\n"));
    let status = "cat /proc/1/status | grep -E 'Cap|Seccomp|NoNew|Groups'; cat /proc/1/cgroup /proc/1/limits";
    let status = || host.ok(&["exec", "web", "sh", "-c", status]);
    let (mounted, is) = (mounts(&host, "web"), status());
    host.ok(&["checkpoint", "create", "web", "one"]);
    fs::write(bound.join("new"), "seen\n").unwrap();
    host.ok(&["start", "--checkpoint", "one", "web"]);
    assert!(ask(&port()).ends_with("page\n"));
    assert_eq!(mounts(&host, "web"), mounted);
    assert_eq!(status(), is);
    let look = "cat /scratch/f /srv/bound/new; hostname; echo x >/srv/bound/y || echo no >/www/f";
    let seen = host.ok(&["exec", "web", "sh", "-c", look]);
    assert_eq!(seen, "kept\nseen\ntold");
    assert!(ask(&port()).ends_with("no\n"));
    // It is a container like any other.
    host.ok(&["pause", "web"]);
    host.ok(&["unpause", "web"]);
    host.ok(&["stop", "-t", "5", "web"]);
    host.ok(&["start", "web"]);
    assert!(ask(&port()).ends_with("page\n"));
}

#[test]
fn one_may_go_on_while_it_is_written_down() {
    let host = host();
    let dir = host.scratch().join("kept").display().to_string();
    count(&host, "cc", &["--network", "none", "--rm"]);
    host.ok(&["checkpoint", "create", "--leave-running", "cc", "one"]);
    host.ok(&["checkpoint", "create", "--leave-running", "--checkpoint-dir", &dir, "cc", "two"]);
    assert!(is_counted(&goes_on(&host, "cc")));
    assert_eq!(look(&host, "cc", "{{.State.Status}}"), "running");
    assert_eq!(host.ok(&["checkpoint", "ls", "cc"]), "CHECKPOINT NAME\none");
    let list = ["checkpoint", "ls", "--checkpoint-dir", &dir, "cc"];
    assert_eq!(host.ok(&list), "CHECKPOINT NAME\ntwo");
    let events = host.ok(&["events", "--until", &now(), "-f", "event=checkpoint"]);
    assert_eq!(events.lines().count(), 2, "{events}");
    host.ok(&["checkpoint", "rm", "--checkpoint-dir", &dir, "cc", "two"]);
    assert_eq!(host.ok(&list), "CHECKPOINT NAME");
}

#[test]
fn what_cannot_be_written_down_is_refused_before_it_is_frozen() {
    let host = host();
    count(&host, "cc", &["--network", "none"]);
    let refused = |words: &[&str], why: &str| {
        let told = host.fails(1, words);
        assert!(told.contains(why), "{words:?}: {told}");
    };
    for name in ["../../x", "x/../../y", ".x", "", "a b"] {
        refused(&["checkpoint", "create", "cc", name], "Invalid checkpoint ID");
        if !name.is_empty() {
            refused(&["checkpoint", "rm", "cc", name], "Invalid checkpoint ID");
            refused(&["start", "--checkpoint", name, "cc"], "Invalid checkpoint ID");
        }
    }
    refused(&["checkpoint", "create", "nosuch", "one"], "No such container: nosuch");
    refused(&["checkpoint", "rm", "cc", "nosuch"], "checkpoint nosuch does not exist");
    refused(&["checkpoint", "create", "--checkpoint-dir", "d", "cc", "one"], "is not absolute");
    let none =
        host.command(&["checkpoint", "create", "cc", "one"]).env("DHOW_CRIU", "none").output();
    let told = String::from_utf8(none.unwrap().stderr).unwrap();
    assert!(told.contains("checkpoints need criu") && told.contains("install"), "{told}");
    let exec = host.ok(&["exec", "-d", "cc", "sleep", "1000"]);
    refused(&["checkpoint", "create", "cc", "one"], "1 exec(s) run in it");
    assert!(exec.is_empty());
    host.ok(&["pause", "cc"]);
    refused(&["checkpoint", "create", "cc", "one"], "is paused");
    host.ok(&["unpause", "cc"]);
    goes_on(&host, "cc");
    for (more, why) in [
        (&["-t"][..], "it has a terminal"),
        (&["--pid", "host"], "no pid namespace of its own"),
        (&["--pid", "container:cc"], "no pid namespace of its own"),
        (&["--userns", "auto"], "a user namespace of its own"),
        (&["--rm"], "its checkpoints with it"),
    ] {
        let name = ["run", "-d", "--name", "odd", "--network", "none"];
        host.ok(&[&name[..], more, &["busybox", "sleep", "1000"]].concat());
        refused(&["checkpoint", "create", "odd", "one"], why);
        host.ok(&["rm", "-f", "odd"]);
    }
    host.ok(&["run", "-d", "--name", "odd", "--privileged", "busybox", "sleep", "1000"]);
    host.ok(&["exec", "odd", "mount", "-t", "ramfs", "none", "/tmp"]);
    refused(&["checkpoint", "create", "odd", "one"], "ramfs is mounted on /tmp");
    assert_eq!(host.ok(&["checkpoint", "ls", "odd"]), "CHECKPOINT NAME");
    host.ok(&["stop", "-t", "0", "odd"]);
    refused(&["checkpoint", "create", "odd", "one"], "is not running");
}

/// Takes what there is of a checkpoint and leaves it in a state that criu does not like.
fn damage(images: &Path) {
    let pages = fs::read_dir(images).unwrap().flatten().map(|entry| entry.path());
    let pages = pages.filter(|path| path.to_string_lossy().contains("/core-"));
    pages.for_each(|path| fs::write(path, b"no").unwrap());
}

#[test]
fn a_failure_of_criu_is_told_and_leaves_nothing() {
    let host = host();
    count(&host, "cc", &["-p", "127.0.0.1:0:80"]);
    let mut dead = host.command(&["checkpoint", "create", "cc", "one"]);
    let told = dead.env("DHOW_CRIU", "/bin/false").output().unwrap().stderr;
    let told = String::from_utf8(told).unwrap();
    assert!(
        told.contains("Cannot checkpoint container cc: criu: it ended without an answer"),
        "{told}"
    );
    goes_on(&host, "cc");
    host.ok(&["checkpoint", "create", "cc", "one"]);
    let dir = container_dir(&host, "cc");
    damage(&dir.join("checkpoints/one"));
    let told = host.fails(1, &["start", "--checkpoint", "one", "cc"]);
    let log = dir.join("criu.log");
    assert!(told.contains("restore the checkpoint: criu: "), "{told}");
    assert!(told.contains(&format!("all of it: {}", log.display())) && log.exists(), "{told}");
    assert!(!dir.join("restore").exists());
    // It is as after any start that failed.
    host.ok(&["start", "cc"]);
    goes_on(&host, "cc");
    assert!(host.fails(1, &["checkpoint", "create", "cc", "one"]).contains("already exists"));
}

#[test]
fn a_checkpoint_that_others_can_write_is_not_believed() {
    let host = host();
    count(&host, "cc", &["--network", "none"]);
    host.ok(&["checkpoint", "create", "cc", "one"]);
    let images = container_dir(&host, "cc").join("checkpoints/one");
    let refused = || {
        let told = host.fails(1, &["start", "--checkpoint", "one", "cc"]);
        assert!(told.contains("not trusted"), "{told}");
    };
    fs::set_permissions(&images, fs::Permissions::from_mode(0o777)).unwrap();
    refused();
    fs::set_permissions(&images, fs::Permissions::from_mode(0o700)).unwrap();
    let file = images.join("inventory.img");
    std::os::unix::fs::chown(&file, Some(1000), None).unwrap();
    refused();
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    host.ok(&["start", "--checkpoint", "one", "cc"]);
    goes_on(&host, "cc");
}

/// A directory that anybody can write to: what lies there already may be somebody's trap.
#[test]
fn where_others_write_nothing_of_theirs_is_followed_removed_or_believed() {
    let host = host();
    count(&host, "cc", &["--network", "none"]);
    let (shared, victim) = (host.scratch().join("shared"), host.scratch().join("victim"));
    for dir in [&shared, &victim] {
        fs::create_dir(dir).unwrap();
    }
    fs::create_dir(victim.join(".ssh")).unwrap();
    fs::create_dir(victim.join("one")).unwrap();
    fs::write(victim.join("one/dhow.json"), "{}").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let own = shared.join(look(&host, "cc", "{{.Id}}"));
    let kept = shared.display().to_string();
    let on = |words: &[&str], name: &str| {
        [words, &["--checkpoint-dir", &kept, "cc", name][..]].concat().join(" ")
    };
    let all_refused = |name: &str| {
        // Before another is written, what begins with a dot is swept away.
        for (words, name) in [
            (&["checkpoint", "create"][..], "two"),
            (&["checkpoint", "create"], name),
            (&["checkpoint", "rm"], name),
        ] {
            let words = on(words, name);
            let told = host.fails(1, &words.split(' ').collect::<Vec<_>>());
            assert!(told.contains("not trusted"), "{words}: {told}");
        }
        assert!(victim.join(".ssh").exists() && victim.join("one").exists());
    };
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::symlink(&victim, own.join("checkpoints")).unwrap();
    all_refused("one");
    fs::remove_file(own.join("checkpoints")).unwrap();
    fs::create_dir(own.join("checkpoints")).unwrap();
    std::os::unix::fs::symlink(victim.join(".ssh"), own.join("checkpoints/.one")).unwrap();
    fs::create_dir(own.join("checkpoints/one")).unwrap();
    fs::write(own.join("checkpoints/one/dhow.json"), "{}").unwrap();
    // Whoever owns a level above decides what is below it.
    std::os::unix::fs::chown(&own, Some(1000), None).unwrap();
    all_refused("one");
    std::os::unix::fs::chown(&own, Some(0), None).unwrap();
    fs::set_permissions(own.join("checkpoints"), fs::Permissions::from_mode(0o777)).unwrap();
    all_refused("one");
    fs::remove_dir_all(&own).unwrap();
    std::os::unix::fs::symlink(&victim, &own).unwrap();
    all_refused("one");
    fs::remove_file(&own).unwrap();
    // It is good for ours.
    let create = on(&["checkpoint", "create"], "one");
    host.ok(&create.split(' ').collect::<Vec<_>>());
    host.ok(&["start", "--checkpoint", "one", "--checkpoint-dir", &kept, "cc"]);
    assert!(is_counted(&goes_on(&host, "cc")));
}

/// Something in the place of criu that reads its request, does this, and ends.
fn other_criu(host: &Host, does: &str) -> PathBuf {
    let path = host.scratch().join("other-criu");
    let hear = "hear() { dd bs=65536 count=1 of=/dev/null 2>/dev/null; }";
    testkit::program(&path, format!("#!/bin/sh\n{hear}\nhear\n{does}\n"));
    path
}

fn is_running(words: &[&str]) -> bool {
    let wanted: String = words.iter().map(|word| format!("{word}\0")).collect();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut told = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    told.any(|told| told == wanted.as_bytes())
}

#[test]
fn a_criu_that_dies_while_it_restores_leaves_no_process() {
    let host = host();
    count(&host, "cc", &["--network", "none"]);
    host.ok(&["checkpoint", "create", "cc", "one"]);
    let seconds = format!("61.{}", std::process::id());
    // That it all went well is not believed of one that has not shown what it made.
    for (answer, why) in
        [("", "ended without an answer"), ("printf '\\010\\002\\020\\001' >&0", "has not shown")]
    {
        let does = format!("sleep {seconds} </dev/null >/dev/null 2>&1 &\n{answer}");
        let mut start = host.command(&["start", "--checkpoint", "one", "cc"]);
        let told = start.env("DHOW_CRIU", other_criu(&host, &does)).output().unwrap();
        let told = String::from_utf8(told.stderr).unwrap();
        assert!(told.contains(why), "{told}");
        assert!(!is_running(&["sleep", &seconds]), "{why}");
    }
    host.ok(&["start", "--checkpoint", "one", "cc"]);
    goes_on(&host, "cc");
}

#[test]
fn a_criu_that_dies_when_all_is_written_leaves_a_checkpoint_or_none() {
    let host = host();
    count(&host, "cc", &["--network", "none"]);
    // It says that all is written, and does not stay for the answer.
    let does = "printf '\\010\\006\\020\\001\\052\\013\\012\\011post-dump' >&0; hear";
    let criu = other_criu(&host, does);
    let create = |more: &[&str]| {
        let words = [&["checkpoint", "create"][..], more, &["cc", "one"]].concat();
        host.command(&words).env("DHOW_CRIU", &criu).output().unwrap()
    };
    let told = String::from_utf8(create(&["--leave-running"]).stderr).unwrap();
    assert!(told.contains("ended without an answer"), "{told}");
    let dir = container_dir(&host, "cc").join("checkpoints");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    goes_on(&host, "cc");
    // The container's end has been asked for by then.
    let done = create(&[]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(look(&host, "cc", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert_eq!(host.ok(&["checkpoint", "ls", "cc"]), "CHECKPOINT NAME\none");
}

/// Each is written down from a container that may do something, for one that may not.
#[test]
fn what_comes_back_may_do_no_more_than_its_container() {
    let host = host();
    let dir = host.scratch().join("kept");
    let place = |name: &str| dir.join(look(&host, name, "{{.Id}}")).join("checkpoints");
    let kept = dir.display().to_string();
    for (more, less, why) in [
        (&["--cap-add", "SYS_ADMIN"][..], &[][..], "CapBnd"),
        (&["--security-opt", "seccomp=unconfined"], &[], "no filter of system calls"),
        (&[], &["--read-only"], "on /etc/hosts, which a start does not mount so"),
        (&["--tmpfs", "/home"], &[], "a tmpfs on /home, which a start does not mount so"),
        (&["--network", "host"], &["--network", "bridge"], "in another net namespace"),
        // Without its mount criu has nothing in the place of the host's.
        (&["--ipc", "host"], &["-v", "/dev/shm:/dev/shm"], "in the host's ipc namespace"),
        (&["--uts", "host"], &[], "in the host's uts namespace"),
        (&[], &["--user", "1000"], "Uid 0, where 1000 is started"),
    ] {
        let run = ["--name"];
        let none = |more: &[&'static str]| -> &'static [&'static str] {
            if more.contains(&"--network") { &[] } else { &["--network", "none"] }
        };
        let name = [&["run", "-d"][..], none(more), &run, &["more"], more].concat();
        host.ok(&[&name[..], &["busybox", "sh", "-c", COUNT]].concat());
        host.ok(&["checkpoint", "create", "--checkpoint-dir", &kept, "more", "one"]);
        let name = [&["run", "-d"][..], none(less), &run, &["less"], less].concat();
        host.ok(&[&name[..], &["busybox", "sh", "-c", COUNT]].concat());
        host.ok(&["kill", "less"]);
        let before = numbers(&host, "less");
        fs::create_dir_all(place("less").parent().unwrap()).unwrap();
        fs::rename(place("more"), place("less")).unwrap();
        let start = ["start", "--checkpoint", "one", "--checkpoint-dir", &kept, "less"];
        let told = host.fails(1, &start);
        assert!(told.contains(why) && told.contains("more than the container may"), "{told}");
        assert_eq!(numbers(&host, "less"), before, "{why}: it ran");
        host.ok(&["rm", "-f", "more", "less"]);
    }
}

/// Whoever sends an archive may never come to its end.
#[test]
fn while_an_archive_comes_the_container_is_everybodys() {
    let host = host();
    count(&host, "cc", &["--network", "none"]);
    let pipe = host.scratch().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let path = pipe.display().to_string();
    let import = ["checkpoint", "import", "-i", &path, "cc", "slow"];
    let mut importing = host.spawn(&mut host.command(&import));
    let mut out = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    // More than all the buffers on the way hold.
    let mut header = [0_u8; 512];
    header[..4].copy_from_slice(b"data");
    header[100..108].copy_from_slice(b"0000600\0");
    header[124..136].copy_from_slice(b"00100000000\0");
    header[156..157].copy_from_slice(b"0");
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header).unwrap();
    out.write_all(&vec![0; 6 << 20]).unwrap();
    let stages = || {
        let dir = container_dir(&host, "cc").join("checkpoints");
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!(stages(), [".slow"]);
    let same = host.fails(1, &["checkpoint", "import", "-i", "/dev/null", "cc", "slow"]);
    assert!(same.contains("is being written by another command"), "{same}");
    host.ok(&["checkpoint", "create", "cc", "fast"]);
    host.ok(&["start", "--checkpoint", "fast", "cc"]);
    host.ok(&["checkpoint", "rm", "cc", "fast"]);
    assert_eq!(stages(), [".slow"], "what somebody is at is not swept away");
    drop(out);
    assert_eq!(importing.wait().unwrap().code(), Some(1));
    assert!(stages().is_empty());
    host.ok(&["rm", "-f", "cc"]);
}

#[test]
fn one_that_is_carried_as_an_archive_goes_on_elsewhere() {
    let host = host();
    let file = host.scratch().join("one.tar");
    let path = file.display().to_string();
    count(&host, "cc", &["--network", "none"]);
    assert_eq!(host.ok(&["checkpoint", "create", "--export", &path, "cc", "one"]), "one");
    let written = *numbers(&host, "cc").last().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
    // Another container of the same image goes on with it.
    count(&host, "other", &["--network", "none"]);
    host.ok(&["kill", "other"]);
    let before = numbers(&host, "other").len();
    assert_eq!(host.ok(&["checkpoint", "import", "-i", &path, "other", "two"]), "two");
    assert_eq!(host.ok(&["checkpoint", "ls", "other"]), "CHECKPOINT NAME\ntwo");
    host.ok(&["start", "--checkpoint", "two", "other"]);
    assert_eq!(goes_on(&host, "other")[before], written + 1);
    let again = host.fails(1, &["checkpoint", "import", "-i", &path, "cc", "one"]);
    assert!(again.contains("already exists"), "{again}");
    host.ok(&["checkpoint", "export", "-o", &path, "other", "two"]);
    // What is none leaves nothing.
    let whole = fs::read(&file).unwrap();
    for (bytes, why) in [
        (&whole[..whole.len() / 2], "import checkpoint bad"),
        (&whole[512..1024], "import checkpoint bad"),
        (b"".as_slice(), "import checkpoint bad"),
    ] {
        let told = host.feed(&["checkpoint", "import", "cc", "bad"], bytes);
        assert_eq!(told.code, Some(1));
        assert!(told.err.contains(why) || told.err.contains("read the checkpoint"), "{}", told.err);
    }
    assert_eq!(host.ok(&["checkpoint", "ls", "cc"]), "CHECKPOINT NAME\none");
    let dir = container_dir(&host, "cc").join("checkpoints");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    let none = host.fails(1, &["checkpoint", "export", "-o", &path, "cc", "none"]);
    assert!(none.contains("checkpoint none does not exist"), "{none}");
    let partial =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".one.tar");
    assert!(!fs::read_dir(host.scratch()).unwrap().flatten().any(|entry| partial(&entry)));
}
