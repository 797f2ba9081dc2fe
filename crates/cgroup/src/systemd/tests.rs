//! The manager against a peer of the tests' own: what it is asked, and what its answers mean.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use super::*;

/// What the peer answers a method with.
type Answers = fn(&str, usize) -> Answer;

enum Answer {
    Text(&'static str, &'static str),
    Nothing,
    Error(&'static str),
    /// A job, and how it ends: that is told before the job is named.
    Job(&'static str),
    Hangup,
    /// A job that does not end, while others' do until nobody listens any more.
    Chatter,
}

/// What the bus calls the peer.
const SYSTEMD: &str = ":1.2";

struct Peer {
    directory: std::path::PathBuf,
    thread: JoinHandle<Vec<String>>,
}

impl Peer {
    fn new(name: &str, answers: Answers) -> Self {
        let name = format!("dhow-test-bus-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let listener = UnixListener::bind(directory.join("bus")).unwrap();
        let thread = std::thread::spawn(move || serve(&listener.accept().unwrap().0, answers));
        Self { directory, thread }
    }

    fn manager(&self) -> Result<Manager, SystemdError> {
        Manager::connect(&self.directory.join("bus"))
    }

    /// The methods that were called.
    fn heard(self) -> Vec<String> {
        let heard = self.thread.join().unwrap();
        std::fs::remove_dir_all(self.directory).unwrap();
        heard
    }
}

fn serve(mut stream: &UnixStream, answers: Answers) -> Vec<String> {
    let mut greeting = [0; b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".len()];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
    stream.write_all(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n").unwrap();
    let mut heard = Vec::new();
    loop {
        let mut prelude = [0; wire::PRELUDE];
        if stream.read_exact(&mut prelude).is_err() {
            return heard;
        }
        let mut bytes = prelude.to_vec();
        bytes.resize(wire::whole(prelude).unwrap(), 0);
        stream.read_exact(&mut bytes[wire::PRELUDE..]).unwrap();
        let serial = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let member = wire::member(&bytes).unwrap();
        let times = heard.iter().filter(|other| **other == member).count();
        let send = |bytes: Vec<u8>| (&mut &*stream).write_all(&bytes).unwrap();
        match answers(&member, times) {
            Answer::Text(kind, text) => send(wire::answer(serial, kind, text)),
            Answer::Nothing => send(wire::answer(serial, "", "")),
            Answer::Error(name) => send(wire::error(serial, name)),
            Answer::Job(result) => {
                send(wire::job_removed(SYSTEMD, "/job/of/others", "failed"));
                // Anybody on the bus may say so.
                send(wire::job_removed(":1.666", "/job/17", "canceled"));
                send(wire::job_removed(SYSTEMD, "/job/17", result));
                send(wire::answer(serial, "o", "/job/17"));
            }
            Answer::Hangup => return heard,
            Answer::Chatter => {
                send(wire::answer(serial, "o", "/job/17"));
                let other = wire::job_removed(SYSTEMD, "/job/of/others", "done");
                while (&mut &*stream).write_all(&other).is_ok() {}
            }
        }
        heard.push(member);
    }
}

fn scope() -> Scope {
    Scope::new("system.slice", "dhow", "abc").unwrap()
}

/// What systemd does, as far as it does not matter to a test.
fn usual(member: &str) -> Answer {
    match member {
        "Hello" => Answer::Text("s", ":1.7"),
        "Get" => Answer::Text("v", ""),
        "StartTransientUnit" | "StopUnit" => Answer::Job("done"),
        _ => Answer::Nothing,
    }
}

#[test]
fn a_unit_is_started_and_ended() {
    let peer = Peer::new("plain", |member, _| usual(member));
    let mut manager = peer.manager().unwrap();
    drop(manager.start(&scope(), Vec::new(), Version::V2).unwrap());
    manager.end(scope().unit()).unwrap();
    drop(manager);
    let expected = [
        "Hello",
        "Get",
        "AddMatch",
        "Subscribe",
        "StartTransientUnit",
        "AddMatch",
        "Subscribe",
        "StopUnit",
        "ResetFailedUnit",
    ];
    assert_eq!(peer.heard(), expected);
}

#[test]
fn one_that_failed_before_is_forgotten() {
    let peer = Peer::new("again", |member, times| match (member, times) {
        ("StartTransientUnit", 0) => Answer::Error(EXISTS),
        _ => usual(member),
    });
    let mut manager = peer.manager().unwrap();
    drop(manager.start(&scope(), Vec::new(), Version::V2).unwrap());
    drop(manager);
    let heard = peer.heard();
    assert_eq!(heard[4..], ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn one_that_is_gone_has_ended() {
    let peer = Peer::new("gone", |member, _| match member {
        "StopUnit" => Answer::Error(NO_UNIT),
        _ => usual(member),
    });
    let mut manager = peer.manager().unwrap();
    manager.end(scope().unit()).unwrap();
    drop(manager);
    assert_eq!(peer.heard().last().unwrap(), "StopUnit");
}

#[test]
fn a_job_that_fails_is_an_error() {
    let peer = Peer::new("failed", |member, _| match member {
        "StartTransientUnit" => Answer::Job("failed"),
        _ => usual(member),
    });
    let mut manager = peer.manager().unwrap();
    let error = manager.start(&scope(), Vec::new(), Version::V2).unwrap_err();
    assert_eq!(error.to_string(), r#"systemd's job for dhow-abc.scope ended as "failed""#);
    drop(manager);
    peer.heard();
}

#[test]
fn the_ends_of_others_jobs_do_not_prolong_a_wait() {
    let peer = Peer::new("chatter", |member, _| match member {
        "StopUnit" => Answer::Chatter,
        _ => usual(member),
    });
    let mut manager = peer.manager().unwrap();
    manager.bus.patience = std::time::Duration::from_millis(200);
    let error = manager.end(scope().unit()).unwrap_err();
    let SystemdError::Bus(BusError::Speak { source, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
    drop(manager);
    peer.heard();
}

#[test]
fn a_bus_that_goes_is_an_error() {
    let peer = Peer::new("hangup", |member, _| match member {
        "StartTransientUnit" => Answer::Hangup,
        _ => usual(member),
    });
    let mut manager = peer.manager().unwrap();
    let error = manager.start(&scope(), Vec::new(), Version::V2).unwrap_err();
    assert!(matches!(error, SystemdError::Bus(BusError::Speak { .. })), "{error:?}");
    drop(manager);
    peer.heard();
}

#[test]
fn a_users_units_are_below_its_manager() {
    let peer = Peer::new("user", |member, _| match member {
        "Get" => Answer::Text("v", "/user.slice/user@7.service"),
        _ => usual(member),
    });
    let manager = peer.manager().unwrap();
    let parent = manager.parent(&Hierarchies::none(), &scope()).unwrap();
    assert_eq!(parent, "user.slice/user@7.service/system.slice");
    drop(manager);
    peer.heard();
}

#[test]
fn a_process_enters_a_scope_of_its_own() {
    let peer = Peer::new("enter", |member, _| usual(member));
    let mut manager = peer.manager().unwrap();
    manager.enter(&scope()).unwrap();
    drop(manager);
    let expected = ["Hello", "Get", "AddMatch", "Subscribe", "StartTransientUnit"];
    assert_eq!(peer.heard(), expected);
}

#[test]
fn nothing_is_told_if_nothing_is_given() {
    let peer = Peer::new("limits", |member, _| usual(member));
    let mut manager = peer.manager().unwrap();
    manager.tell("a.scope", &[]).unwrap();
    manager.tell("a.scope", &[("TasksMax".into(), wire::Value::Number(5))]).unwrap();
    drop(manager);
    assert_eq!(peer.heard(), ["Hello", "Get", "SetUnitProperties"]);
}
