//! What two processes of one start say, and in which order.

use super::*;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use sys::process::{CloneArgs, clone3, wait};

use crate::message::Report;

/// The numbers of `read` and of `sendmsg`.
#[cfg(target_arch = "x86_64")]
const CALLS: [&str; 2] = ["0", "46"];
/// The numbers of `read` and of `sendmsg`.
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [&str; 2] = ["63", "211"];

/// In which of the two calls a process waits, once it does.
fn waits_in(process: &str) -> &'static str {
    loop {
        let call = std::fs::read_to_string(format!("/proc/{process}/syscall")).unwrap();
        let number = call.split_whitespace().next().unwrap();
        if let Some(known) = CALLS.iter().find(|known| **known == number) {
            return known;
        }
    }
}

/// Our children beside this one that have been made since.
fn siblings(before: &[String]) -> Vec<String> {
    let mut now = children();
    now.retain(|child| !before.contains(child));
    now
}

/// Of this thread, which is the one that clones.
fn children() -> Vec<String> {
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

/// The parent takes the second for the first if it hears it before it is told that there are two.
#[test]
fn who_is_born_says_nothing_before_the_one_that_goes() {
    let flags = SocketFlags::CLOEXEC;
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
    // Nobody can say anything until somebody listens.
    let mut filled = 0;
    while rustix::net::send(&theirs, b"x", SendFlags::DONTWAIT).is_ok() {
        filled += 1;
    }
    let empty = ExecStrings::new(Vec::new());
    let hands = Hands {
        root: None,
        container: None,
        trees: &[],
        joins: &[],
        cgroups: &[],
        streams: None,
        channel: theirs.as_fd(),
        door: None,
        filter: None,
        candidates: &[],
        in_path: false,
        argv: &empty,
        env: &empty,
        kept: &[theirs.as_fd()],
        passed: 3,
    };
    let steps = [Step::BeBorn(Namespaces::default()), Step::AwaitGo];
    let before = children();
    let mut ours = Some(ours);
    let first = clone3(&CloneArgs::default(), || {
        drop(ours.take());
        run(&hands, &steps)
    })
    .unwrap();
    let number = first.pid.as_raw_nonzero().to_string();
    let both = loop {
        let both = siblings(&before);
        if both.len() == 2 {
            break both;
        }
    };
    let second = both.iter().find(|child| **child != number).unwrap();
    assert_eq!([waits_in(&number), waits_in(second)], [CALLS[1], CALLS[0]]);
    let ours = ours.unwrap();
    let mut heard = Vec::new();
    while heard.len() < filled + 2 {
        let mut bytes = [0; message::MAX];
        let len = sys::fdpass::recv(&ours, &mut bytes, &mut Vec::new()).unwrap();
        heard.push(bytes[..len].to_vec());
    }
    let said: Vec<Report> =
        heard[filled..].iter().map(|bytes| Report::parse(bytes).unwrap()).collect();
    assert_eq!(said, [Report::Born, Report::Ready]);
    // Nobody says go: both end.
    drop(ours);
    assert_eq!(wait(&first.pidfd).unwrap(), sys::process::Exit::Code(0));
    let second = rustix::process::Pid::from_raw(second.parse().unwrap()).unwrap();
    let flags = rustix::process::PidfdFlags::empty();
    let second = rustix::process::pidfd_open(second, flags).unwrap();
    assert_eq!(wait(&second).unwrap(), sys::process::Exit::Code(FAILED.try_into().unwrap()));
}
