//! Pipes and files in place of a terminal: ends of input, slow readers, signals to us.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{ChildStdout, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use testkit::Ran;

use crate::host;

/// Reads until the output ends with `text`.
fn read_until(output: &mut ChildStdout, text: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(text.as_bytes()) {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap_or_else(|e| {
            panic!("{text:?} does not come: {e}; {}", String::from_utf8_lossy(&seen))
        });
        seen.extend(byte);
    }
}

#[test]
fn output_goes_on_when_input_has_ended() {
    let host = host();
    let script = "cat > /dev/null; echo after; echo err >&2; exit 3";
    let ran = host.feed(&["run", "--rm", "-i", "busybox", "sh", "-c", script], b"x");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(3), "after", "err"));
    // `host.run` reads from /dev/null.
    assert_eq!(host.ok(&["run", "--rm", "-i", "busybox", "wc", "-c"]), "0");
    let name = host.scratch().join("input");
    std::fs::write(&name, "from a file").unwrap();
    let mut command = host.command(&["run", "--rm", "-i", "busybox", "cat"]);
    command.stdin(File::open(&name).unwrap());
    assert_eq!(Ran::new(&command.output().unwrap()).out, "from a file");
}

#[test]
fn a_slow_reader_slows_the_writer_and_loses_nothing() {
    const SIZE: usize = 100 << 20;
    /// Pipes, sockets and buffers on the way there and back, with room to spare.
    const ON_THE_WAY: usize = 8 << 20;
    let host = host();
    let mut command = host.command(&["run", "--rm", "-i", "busybox", "cat"]);
    let mut child = host.spawn(command.stdin(Stdio::piped()));
    let mut input = child.stdin.take().unwrap();
    let block: Vec<u8> = (0..4096_u32).map(|number| (number * 31 % 251).to_le_bytes()[0]).collect();
    // Nobody reads: the writer comes to a halt, and what it has written is somewhere on the way.
    let mut written = 0;
    while takes(&input) {
        input.write_all(&block).unwrap();
        written += block.len();
        assert!(written < ON_THE_WAY, "{written} bytes are kept for a reader that is not there");
    }
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::with_capacity(SIZE);
        output.read_to_end(&mut all).map(|_| all)
    });
    while written < SIZE {
        input.write_all(&block).unwrap();
        written += block.len();
    }
    drop(input);
    let all = reader.join().unwrap().unwrap();
    assert_eq!(all.len(), written);
    assert!(all.chunks(block.len()).all(|piece| piece == block), "the bytes are not those sent");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Whether a pipe takes more within a while. A busy machine can make it a wrong no, which makes
/// the test that asks weaker, and never fail.
fn takes(pipe: &impl std::os::fd::AsFd) -> bool {
    let fd = pipe.as_fd();
    let patience = Timespec { tv_sec: 2, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&patience)).unwrap() > 0
}

#[test]
fn signals_to_us_are_for_the_process() {
    let host = host();
    let script = "trap 'echo term; exit 4' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";
    let mut command = host.command(&["run", "--rm", "busybox", "sh", "-c", script]);
    let mut child = host.spawn(&mut command);
    let pid = Pid::from_child(&child);
    let mut output = child.stdout.take().unwrap();
    read_until(&mut output, "ready\n");
    kill_process(pid, Signal::USR1).unwrap();
    read_until(&mut output, "usr1\n");
    kill_process(pid, Signal::TERM).unwrap();
    read_until(&mut output, "term\n");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn who_attaches_later_sees_the_end() {
    let host = host();
    let script = "while read line; do echo got $line; done; exit 9";
    host.ok(&["run", "-di", "--name", "l1", "busybox", "sh", "-c", script]);
    let mut command = host.command(&["attach", "l1"]);
    let mut child = host.spawn(command.stdin(Stdio::piped()));
    let mut output = child.stdout.take().unwrap();
    child.stdin.take().unwrap().write_all(b"one\n").unwrap();
    read_until(&mut output, "got one\n");
    // The input of a container in the background stays open for whoever comes next.
    let mut command = host.command(&["attach", "l1"]);
    let mut next = host.spawn(command.stdin(Stdio::piped()));
    next.stdin.as_mut().unwrap().write_all(b"two\n").unwrap();
    read_until(&mut output, "got two\n");
    read_until(next.stdout.as_mut().unwrap(), "got two\n");
    host.ok(&["kill", "l1"]);
    assert_eq!((child.wait().unwrap().code(), next.wait().unwrap().code()), (Some(137), Some(137)));
    host.ok(&[
        "run",
        "-d",
        "--name",
        "l2",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 6' USR1; while :; do echo ready; sleep 0.05; done",
    ]);
    let mut child = host.spawn(&mut host.command(&["attach", "--no-stdin", "l2"]));
    read_until(child.stdout.as_mut().unwrap(), "ready\n");
    host.ok(&["kill", "-s", "USR1", "l2"]);
    assert_eq!(Ran::new(&child.wait_with_output().unwrap()).code, Some(6));
    assert!(host.fails(1, &["attach", "l2"]).contains("cannot attach to a stopped container"));
}

#[test]
fn a_follower_of_logs_can_be_ended() {
    let host = host();
    host.ok(&["run", "-d", "--name", "f1", "busybox", "sh", "-c", "echo up; sleep 1000"]);
    let mut child = host.spawn(&mut host.command(&["logs", "-f", "f1"]));
    read_until(child.stdout.as_mut().unwrap(), "up\n");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = Ran::new(&child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (None, ""));
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "f1"]), "running");
}
