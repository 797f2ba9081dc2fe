//! `exec`: codes, streams, users, and what happens when the container ends.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::host;

#[test]
fn a_process_runs_in_a_container_that_runs() {
    let host = host();
    host.ok(&["run", "-d", "--name", "e1", "-e", "A=1", "busybox", "sleep", "1000"]);
    let ran = host.run(&[
        "exec",
        "-e",
        "B=2",
        "-w",
        "/tmp",
        "e1",
        "sh",
        "-c",
        "echo $A$B; pwd; echo err >&2; exit 6",
    ]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(6), "12\n/tmp", "err"));
    assert_eq!(host.ok(&["exec", "-u", "nobody", "e1", "id", "-u"]), "65534");
    assert_eq!(host.feed(&["exec", "-i", "e1", "cat"], b"in").out, "in");
    // It is in the container's namespaces and cgroup, with its limits on capabilities.
    assert_eq!(host.ok(&["exec", "e1", "cat", "/proc/1/comm"]), "sleep");
    assert_eq!(
        host.ok(&["exec", "e1", "grep", "CapEff", "/proc/self/status"]),
        "CapEff:\t00000000a80425fb"
    );
}

#[test]
fn what_cannot_run_says_why() {
    let host = host();
    host.ok(&["run", "-d", "--name", "e1", "busybox", "sleep", "1000"]);
    let missing = host.run(&["exec", "e1", "nosuch"]);
    assert_eq!(missing.code, Some(127));
    assert!(
        format!("{}{}", missing.out, missing.err).contains("executable file not found in $PATH")
    );
    assert_eq!(host.run(&["exec", "e1", "/etc"]).code, Some(126));
    let user = host.fails(1, &["exec", "-u", "nosuch", "e1", "true"]);
    assert!(
        user.contains("unable to find user nosuch: no matching entries in passwd file"),
        "{user}"
    );
    host.ok(&["stop", "-t", "0", "e1"]);
    assert!(host.fails(1, &["exec", "e1", "true"]).contains("is not running"));
}

#[test]
fn a_detached_exec_goes_on() {
    let host = host();
    host.ok(&["run", "-d", "--name", "e1", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["exec", "-d", "e1", "sh", "-c", "echo done > /done"]), "");
    host.ok(&["exec", "e1", "sh", "-c", "until [ -e /done ]; do sleep 0.02; done"]);
}

#[test]
fn inspect_names_the_execs_that_run() {
    let host = host();
    host.ok(&["run", "-d", "--name", "e1", "busybox", "sleep", "1000"]);
    let execs = || host.ok(&["inspect", "-f", "{{json .ExecIDs}}", "e1"]);
    host.ok(&["exec", "e1", "true"]);
    assert_eq!(execs(), "null");
    host.ok(&["exec", "-d", "e1", "sleep", "1000"]);
    assert_eq!(execs().len(), r#"[""]"#.len() + 64, "{}", execs());
}

#[test]
fn an_exec_ends_with_its_container() {
    let host = host();
    host.ok(&["run", "-d", "--name", "e1", "busybox", "sleep", "1000"]);
    let mut exec =
        host.spawn(&mut host.command(&["exec", "e1", "sh", "-c", "echo up; sleep 1000"]));
    let mut first = [0; 3];
    std::io::Read::read_exact(exec.stdout.as_mut().unwrap(), &mut first).unwrap();
    host.ok(&["kill", "e1"]);
    assert_eq!(exec.wait().unwrap().code(), Some(137));
}

/// What is beside when a container's execs were looked through last.
const LOOKED_THROUGH: &str = "looked-through";

/// How many are known however old they are.
const LAST: usize = 16;

/// The files of this host's execs.
fn files(host: &testkit::Host) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(host.run_root().join("exec")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
    files.map(|file| file.path()).collect()
}

/// The records among them.
fn records(host: &testkit::Host) -> Vec<PathBuf> {
    files(host).into_iter().filter(|path| !path.ends_with(LOOKED_THROUGH)).collect()
}

/// As if nobody had touched it for an hour.
fn age(record: &PathBuf) {
    let file = File::options().write(true).open(record).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

#[test]
fn an_exec_is_forgotten_some_time_after_its_end() {
    let host = host();
    let id = host.ok(&["run", "-d", "--name", "e1", "busybox", "sleep", "1000"]);
    host.ok(&["exec", "e1", "true"]);
    host.ok(&["exec", "-d", "e1", "sleep", "1000"]);
    let first = records(&host);
    assert_eq!(first.len(), 2);
    for record in &first {
        assert!(record.starts_with(host.run_root().join("exec").join(&id)));
        assert_eq!(record.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let folder = record.parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }
    // The last are known, however old.
    files(&host).iter().for_each(age);
    for _ in 0..LAST {
        host.ok(&["exec", "e1", "true"]);
    }
    assert_eq!(records(&host).len(), 2 + LAST);
    // Old and ended is seen first, and is known for a while after that.
    let looked = first[0].with_file_name(LOOKED_THROUGH);
    let age_first = || first.iter().chain([&looked]).for_each(age);
    age_first();
    host.ok(&["exec", "e1", "true"]);
    assert_eq!(records(&host).len(), 3 + LAST);
    // Just looked through: not again so soon.
    first.iter().for_each(age);
    host.ok(&["exec", "e1", "true"]);
    assert_eq!(records(&host).len(), 4 + LAST);
    age_first();
    host.ok(&["exec", "e1", "true"]);
    // All but the first that has ended.
    assert_eq!(records(&host).len(), 4 + LAST);
    let still: Vec<_> = first.iter().filter(|record| record.exists()).collect();
    assert_eq!(still.len(), 1);
    assert!(std::fs::read_to_string(still[0]).unwrap().contains("sleep"));
    // All go with the container.
    host.ok(&["rm", "-f", "e1"]);
    assert_eq!(records(&host).len(), 0);
    assert!(!host.run_root().join("exec").join(&id).exists());
}
