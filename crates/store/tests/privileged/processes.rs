//! Several processes on one root, and processes that die in the middle.
//!
//! The other process is this test binary, started again with a task in its environment.

use std::fs::File;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use model::port::Protocol;
use model::{ContainerId, NetworkId};
use rustix::fs::FlockOperation;
use store::{
    AddressError, ContainerRow, ContainerRowError, Durability, PortError, PortLease, Store,
};

use crate::fixture::{Place, counts, docker_archive, oci_archive, options, pack, two_layers};

const TASK: &str = "DHOW_STORE_TEST_TASK";
const ROOT: &str = "DHOW_STORE_TEST_ROOT";
const FAILPOINT: &str = "DHOW_FAILPOINT";

/// What the other processes run; without a task it only says that there is none.
#[test]
fn task() {
    let Some(task) = std::env::var_os(TASK) else {
        assert!(std::env::var_os(ROOT).is_none(), "a root without a task");
        return;
    };
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let gate = File::open(root.join("gate")).unwrap();
    rustix::fs::flock(&gate, FlockOperation::LockShared).unwrap();
    let store = Store::open(&root).unwrap();
    match task.to_str().unwrap() {
        "load" => {
            let archive = std::fs::read(root.join("archive")).unwrap();
            store.load(Cursor::new(archive), &options(), &mut |_| ()).unwrap();
        }
        "remove" => {
            let none = std::collections::BTreeSet::new();
            store.images().remove("a:1", store::Force::No, &none).unwrap();
        }
        number => churn(&store, number.parse().unwrap()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the test starts itself as another process")]
fn start(root: &Path, task: &str, failpoint: Option<&str>) -> Child {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::task", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task).env(ROOT, root).env_remove(FAILPOINT);
    if let Some(failpoint) = failpoint {
        command.env(FAILPOINT, failpoint);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs a task to its end, or to where it dies.
fn run(root: &Path, task: &str, failpoint: Option<&str>) -> Output {
    File::create(root.join("gate")).unwrap();
    start(root, task, failpoint).wait_with_output().unwrap()
}

/// Runs tasks that all begin at once.
fn run_together(root: &Path, tasks: &[String]) {
    let gate = File::create(root.join("gate")).unwrap();
    rustix::fs::flock(&gate, FlockOperation::LockExclusive).unwrap();
    let children: Vec<Child> = tasks.iter().map(|task| start(root, task, None)).collect();
    drop(gate);
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_kill_anywhere_in_a_load_leaves_all_or_nothing() {
    let archive = docker_archive(&two_layers(), &["a:1"]);
    for (point, survives) in [
        ("load.read", false),
        ("publish.sync", false),
        ("publish.synced", false),
        ("publish.rows", false),
        ("publish.done", true),
    ] {
        let place = Place::new();
        let root = place.dir.path();
        std::fs::write(root.join("archive"), &archive).unwrap();
        let output = run(root, "load", Some(&format!("{point}=kill")));
        assert!(!output.status.success(), "{point} was not reached");
        place.store.gc().unwrap();
        if survives {
            assert!(place.store.images().resolve("a:1").is_ok(), "{point}");
        } else {
            place.assert_empty(point);
        }
        place.load(archive.clone()).unwrap_or_else(|error| panic!("after {point}: {error}"));
        let record = place.store.images().resolve("a:1").unwrap();
        let diff_ids: Vec<_> = record.layers.iter().map(|layer| layer.diff_id).collect();
        let lowers = place.store.lowers(&diff_ids).unwrap();
        assert_eq!(std::fs::read(lowers[0].join("etc/changed")).unwrap(), b"new", "{point}");
        assert_eq!((counts(root)["leases"], counts(root)["trash"]), (0, 0), "{point}");
    }
}

#[test]
fn an_error_anywhere_in_a_load_is_told_and_leaves_nothing() {
    let archive = docker_archive(&two_layers(), &["a:1"]);
    for point in ["load.read", "publish.sync", "publish.synced", "publish.rows"] {
        let place = Place::new();
        std::fs::write(place.dir.path().join("archive"), &archive).unwrap();
        let output = run(place.dir.path(), "load", Some(&format!("{point}=error")));
        assert!(!output.status.success(), "{point} was not reached");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("Input/output error"), "{point}: {told}");
        place.store.gc().unwrap();
        place.assert_empty(point);
    }
}

#[test]
fn a_kill_in_a_removal_is_finished_or_undone() {
    for (point, is_gone) in [("untag.rows", false), ("untag.trash", true)] {
        let place = Place::new();
        place.load(docker_archive(&two_layers(), &["a:1"])).unwrap();
        let output = run(place.dir.path(), "remove", Some(&format!("{point}=kill")));
        assert!(!output.status.success(), "{point} was not reached");
        if !is_gone {
            // The rows are still there, so the removal can be asked for again.
            let none = std::collections::BTreeSet::new();
            place.store.images().remove("a:1", store::Force::No, &none).unwrap();
        }
        place.store.gc().unwrap();
        place.assert_empty(point);
    }
}

#[test]
fn processes_that_load_the_same_image_at_once_all_succeed() {
    let layers = two_layers();
    for archive in [
        docker_archive(&layers, &["a:1"]),
        pack(
            &oci_archive(&layers, model::image::Compression::Gzip, "docker.io/library/a:1").members,
        ),
    ] {
        let place = Place::new();
        std::fs::write(place.dir.path().join("archive"), archive).unwrap();
        run_together(place.dir.path(), &vec!["load".to_owned(); 6]);
        let found = place.counts();
        assert_eq!(found["snapshots"], 2, "each layer is there once");
        assert_eq!(found["images/blobs/sha256"], 4);
        for empty in ["ingest", "staging", "trash", "leases"] {
            assert_eq!(found[empty], 0, "{empty}");
        }
        place.store.check_database().unwrap();
    }
}

const PROCESSES: usize = 8;
const ROUNDS: usize = 40;

#[test]
fn processes_that_churn_containers_lose_and_leak_nothing() {
    let place = Place::new();
    let tasks: Vec<String> = (0..PROCESSES).map(|number| number.to_string()).collect();
    run_together(place.dir.path(), &tasks);
    assert_eq!(place.store.containers().list().unwrap().len(), PROCESSES, "one each is kept");
    let network = NetworkId::from_random([1; 32]);
    let addresses = place.store.addresses().of_network(&network).unwrap();
    assert_eq!(addresses.len(), PROCESSES, "each kept one has its own address");
    assert_eq!(place.store.ports().list().unwrap().len(), PROCESSES);
    place.store.check_database().unwrap();
}

/// Creates, updates, leases for, and removes containers; keeps the last one.
fn churn(store: &Store, number: u8) {
    for round in 0..ROUNDS {
        let mut bytes = [number; 32];
        bytes[0] = u8::try_from(round).unwrap();
        let id = ContainerId::from_random(bytes);
        let row = ContainerRow {
            id,
            name: format!("c{number}-{round}").parse().unwrap(),
            image: None,
            created_ns: 0,
            auto_remove: true,
            record: "0".to_owned(),
        };
        store.containers().insert(&row, Durability::Eventual).unwrap();
        lease(store, &id);
        store
            .containers()
            .update::<ContainerRowError>(&id, Durability::Eventual, |old| Ok(format!("{old}1")))
            .unwrap();
        assert_eq!(store.containers().get(&id).unwrap().unwrap().record, "01");
        let is_last = round + 1 == ROUNDS;
        if !is_last {
            assert!(store.remove_container(&id, &[], Durability::Eventual).unwrap().was_there);
        }
    }
}

fn lease(store: &Store, id: &ContainerId) {
    let network = NetworkId::from_random([1; 32]);
    let addresses = store.addresses().lease::<AddressError>(&network, id, |used| {
        let all = (1..=254).map(|n| IpAddr::from(Ipv4Addr::new(10, 0, 0, n)));
        Ok(all.into_iter().find(|address| !used.contains(address)).into_iter().collect())
    });
    assert_eq!(addresses.unwrap().len(), 1);
    let host_ip = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let mut ranges = (300..650).map(|number| {
        let (first, last) = (100 * number, 100 * number + 99);
        PortLease { protocol: Protocol::Tcp, host_ip, first, last }
    });
    let taken = |range: &PortLease| match store.ports().lease(id, &[*range]) {
        Ok(()) => false,
        Err(PortError::Taken { .. }) => true,
        Err(error) => panic!("{error}"),
    };
    assert!(ranges.any(|range| !taken(&range)));
}
