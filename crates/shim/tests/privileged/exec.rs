//! More processes in a container.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use model::container::{AttachedStreams, Stdin};
use model::{ExecId, ExitCode, Signal};
use serde_json::json;
use shim::CallError;
use shim::protocol::{Delivery, ExecStart, ExecState, Reach, Refusal, Target};

use crate::fixture::{
    ALL, Container, OUTPUT, hold, process, read_frames, read_until, wait_for_end,
};

fn exec(args: &[&str], attach: Option<AttachedStreams>) -> ExecStart {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    ExecStart {
        exec: ExecId::from_random(bytes),
        process: Box::new(serde_json::from_value(process(args)).unwrap()),
        stdin: Stdin::Null,
        attach,
        without_client: shim::protocol::WithoutClient::Stays,
    }
}

fn sleeper() -> Container {
    let container = Container::new(&["sleep", "1000"]);
    container.start().unwrap();
    container
}

fn code(container: &Container, exec: ExecId) -> u8 {
    match container.shim().exec_state(exec).unwrap().state {
        ExecState::Exited { code, .. } => code.0,
        ExecState::Running(_) => panic!("its stream has ended, so it has"),
    }
}

pub(crate) fn an_exec_has_streams_and_a_code() {
    let container = sleeper();
    let start = exec(&["sh", "-c", "echo out; echo err >&2; exit 4"], Some(OUTPUT));
    let id = start.exec;
    let (_, stream) = container.shim().exec_start(start).unwrap();
    let got = read_frames(stream);
    assert_eq!((got.stdout.as_str(), got.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(code(&container, id), 4);
    assert_eq!(container.shim().execs().unwrap().len(), 1);
    assert_eq!(container.logged(), "", "an exec's output is not logged");
    container.end();
}

pub(crate) fn an_exec_takes_input() {
    let container = sleeper();
    let start = ExecStart { stdin: Stdin::OpenOnce, ..exec(&["wc", "-c"], Some(ALL)) };
    let (_, mut stream) = container.shim().exec_start(start).unwrap();
    let data = vec![b'd'; 3 << 20];
    stream.write_all(&data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_frames(stream).stdout.trim(), data.len().to_string());
    container.end();
}

pub(crate) fn an_exec_can_be_looked_at_by_others() {
    let container = sleeper();
    let start = ExecStart { stdin: Stdin::OpenOnce, ..exec(&["cat"], Some(ALL)) };
    let target = Target::Exec(start.exec);
    let (_, mut stream) = container.shim().exec_start(start).unwrap();
    let observer = container.shim().attach(target, OUTPUT, Delivery::Recent).unwrap();
    stream.write_all(b"shared").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_frames(observer).stdout, "shared");
    assert_eq!(read_frames(stream).stdout, "shared");
    let late = container.shim().attach(target, OUTPUT, Delivery::Recent).unwrap_err();
    assert!(matches!(late, CallError::Refused(Refusal::ExecNotRunning)));
    container.end();
}

pub(crate) fn an_exec_that_cannot_be_started_says_why() {
    let container = sleeper();
    let start = exec(&["nosuch"], Some(OUTPUT));
    let id = start.exec;
    let Err(CallError::LaunchFailed(failure)) = container.shim().exec_start(start) else {
        panic!("it started");
    };
    assert_eq!(failure.code, ExitCode(127));
    assert_eq!(failure.message, r#"exec: "nosuch": executable file not found in $PATH"#);
    let unknown = container.shim().exec_state(id).unwrap_err();
    assert!(matches!(unknown, CallError::Refused(Refusal::NoSuchExec)));
    container.shim().pause().unwrap();
    let paused = container.shim().exec_start(exec(&["true"], None)).unwrap_err();
    assert!(matches!(paused, CallError::Refused(Refusal::Paused)));
    container.end();
}

pub(crate) fn an_exec_has_a_terminal() {
    let container = sleeper();
    let mut start = exec(&[], Some(ALL));
    let mut process = process(&["sh", "-c", "tty; stty size; read x; echo \"<$x>\""]);
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({ "height": 20, "width": 60 });
    start.process = Box::new(serde_json::from_value(process).unwrap());
    start.stdin = Stdin::Open;
    let (_, mut stream) = container.shim().exec_start(start).unwrap();
    let text = read_until(&mut stream, "60\r\n");
    assert_eq!(text, "/dev/pts/0\r\n20 60\r\n");
    stream.write_all(b"word\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "word\r\n<word>\r\n");
    drop(stream);
    container.end();
}

pub(crate) fn an_exec_can_be_killed_with_its_children() {
    let container = sleeper();
    let start = exec(&["sh", "-c", "sleep 1000 & echo ready; wait"], Some(OUTPUT));
    let id = start.exec;
    let (_, mut stream) = container.shim().exec_start(start).unwrap();
    read_until(&mut stream, "ready\n");
    let init = container.shim().state().unwrap().life.pid().unwrap();
    let others: Vec<OwnedFd> =
        container.pids().into_iter().filter(|pid| *pid != init).map(hold).collect();
    assert_eq!(others.len(), 2, "the shell and its child");
    container.shim().exec_kill(id, Signal::KILL, Reach::Everyone).unwrap();
    others.iter().for_each(wait_for_end);
    read_frames(stream);
    assert_eq!(code(&container, id), 137);
    assert!(container.shim().state().unwrap().life.is_running());
    container.end();
}

pub(crate) fn execs_end_with_their_container() {
    let container = sleeper();
    let start = exec(&["sleep", "1000"], Some(OUTPUT));
    let id = start.exec;
    let mut shim = container.shim();
    let (_, stream) = container.shim().exec_start(start).unwrap();
    container.shim().kill(Signal::KILL, Reach::Process).unwrap();
    read_frames(stream);
    let info = shim.exec_state(id).unwrap();
    assert!(matches!(info.state, ExecState::Exited { code: ExitCode(137), .. }));
    drop(shim);
    container.end();
}

pub(crate) fn what_an_exec_leaves_behind_does_not_hold_it() {
    let container = sleeper();
    let start = exec(&["sh", "-c", "sleep 1000 & echo gone"], Some(OUTPUT));
    let id = start.exec;
    let (_, stream) = container.shim().exec_start(start).unwrap();
    assert_eq!(read_frames(stream).stdout, "gone\n");
    assert_eq!(code(&container, id), 0);
    container.end();
}
