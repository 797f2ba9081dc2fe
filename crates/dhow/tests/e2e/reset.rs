//! `system reset`: a root goes whole, also one whose records cannot be read any more.

use std::path::PathBuf;

use model::{NameOrId, RootTag};
use net::names::Names;
use net::scan::{Presence, scan};
use rustix::process::{Pid, Signal, kill_process};
use store::{Durability, Found, Store};

use testkit::until;

use crate::host;

/// One container that stays and publishes a port, one that goes with its process, one that somebody
/// waits for, and one that has ended.
fn busy() -> (testkit::Host, std::process::Child) {
    let host = host();
    host.ok(&["run", "-d", "--name", "stays", "-p", "0:80", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--rm", "--name", "goes", "-v", "/data", "busybox", "sleep", "1000"]);
    host.ok(&["run", "--name", "ended", "busybox", "true"]);
    let awaited = ["run", "--rm", "--name", "awaited", "busybox", "sleep", "1000"];
    let run = host.spawn(&mut host.command(&awaited));
    let state = ["inspect", "-f", "{{.State.Running}}", "awaited"];
    until("its state", || host.run(&state).out == "true");
    (host, run)
}

/// As of a start on a host with AppArmor.
fn note_profile(host: &testkit::Host) {
    std::fs::write(host.run_root().join("apparmor"), "profile").unwrap();
}

/// Resets and looks that nothing is left; what was said.
fn reset(host: &testkit::Host) -> String {
    let ran = host.run(&["system", "reset", "--force"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    host.until_idle();
    let tag = RootTag::of_path(host.root().as_os_str().as_encoded_bytes());
    let kernel = scan(&Names::of(&tag)).unwrap();
    assert_eq!((kernel.bridge, kernel.ports), (Presence::Absent, Vec::new()));
    assert_eq!(cgroups(&tag.dashed("dhow")), Vec::<PathBuf>::new());
    for dir in [host.root(), host.run_root()] {
        assert!(!dir.exists(), "{} is left", dir.display());
    }
    ran.err
}

/// Cgroups of this name, in whichever hierarchy.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let all = mounts.chain([PathBuf::from("/sys/fs/cgroup")]).map(|mount| mount.join(name));
    all.filter(|path| path.exists()).collect()
}

fn set_database(host: &testkit::Host, content: &[u8]) {
    let file = |name: &str| host.root().join(name);
    for log in ["dhow.db-wal", "dhow.db-shm"] {
        std::fs::remove_file(file(log)).unwrap();
    }
    std::fs::write(file("dhow.db"), content).unwrap();
}

#[test]
fn a_root_goes_whole() {
    let (host, mut run) = busy();
    note_profile(&host);
    assert_eq!(reset(&host), "");
    run.wait().unwrap();
}

#[test]
fn a_root_with_a_damaged_database_goes_all_the_same() {
    let (host, mut run) = busy();
    set_database(&host, &[7; 16384]);
    let refused = host.fails(1, &["ps"]);
    assert!(refused.contains("is damaged"), "{refused}");
    let said = reset(&host);
    let path = host.root().join("dhow.db");
    let begin = format!("WARNING: removed without being read: {} is damaged (", path.display());
    assert!(said.starts_with(&begin) && said.lines().count() == 1, "{said}");
    run.wait().unwrap();
}

#[test]
fn a_root_of_a_newer_dhow_goes_all_the_same() {
    let (host, mut run) = busy();
    set_database(&host, &empty_database(99));
    let said = reset(&host);
    assert!(said.contains("dhow.db has schema 99, this dhow knows up to "), "{said}");
    run.wait().unwrap();
}

/// A page that is a database without tables, of this version.
fn empty_database(version: u32) -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[..16].copy_from_slice(b"SQLite format 3\0");
    // Size of a page, versions of the format, and fractions that never change.
    page[16..24].copy_from_slice(&[0x10, 0, 1, 1, 0, 64, 32, 32]);
    // The number of changes, and of pages.
    page[24..32].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    page[60..64].copy_from_slice(&version.to_be_bytes());
    page[92..96].copy_from_slice(&[0, 0, 0, 1]);
    // An empty leaf, whose content begins at the end of the page.
    page[100..108].copy_from_slice(&[13, 0, 0, 0, 0, 0x10, 0, 0]);
    page
}

#[test]
fn records_and_states_that_cannot_be_read_are_named() {
    let (host, mut run) = busy();
    let store = Store::open(&host.root()).unwrap();
    let id = |name: &str| match store.containers().find(&NameOrId::new(name.to_owned())).unwrap() {
        Found::One(row) => row.id,
        found @ (Found::None | Found::Ambiguous) => panic!("{name}: {found:?}"),
    };
    let (stays, ended) = (id("stays"), id("ended"));
    store.containers().set_record(&ended, "{}", Durability::Now).unwrap();
    let state = host.run_root().join("c").join(stays.to_string()).join("state.json");
    std::fs::write(state, "damaged").unwrap();
    drop(store);
    let said = reset(&host);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("the record of container ended"), "{said}");
    assert!(said.contains("state.json is damaged"), "{said}");
    run.wait().unwrap();
}

#[test]
fn a_shim_that_does_not_answer_keeps_nobody_waiting() {
    let (host, mut run) = busy();
    kill_process(Pid::from_raw(host.shims()[0]).unwrap(), Signal::STOP).unwrap();
    assert_eq!(reset(&host), "");
    run.wait().unwrap();
}

/// The last resort: shims are killed where they all are, and their containers die with them.
#[test]
fn shims_that_do_not_answer_or_are_not_found_keep_nothing() {
    let (host, mut run) = busy();
    set_database(&host, &[7; 16384]);
    let shims = host.shims();
    let stopped = Pid::from_raw(shims[0]).unwrap();
    kill_process(stopped, Signal::STOP).unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", shims[1])).unwrap();
    let id = line.split(|byte| *byte == 0).nth(3).unwrap();
    let id = String::from_utf8(id.to_vec()).unwrap();
    std::fs::remove_dir_all(host.run_root().join("c").join(id)).unwrap();
    reset(&host);
    run.wait().unwrap();
}
