//! Killed shims, clients that die, strangers, nonsense.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use model::log::{Compression, LogDelivery};
use rustix::mount::MountAttrFlags;
use rustix::process::{Signal, pidfd_send_signal};
use shim::protocol::{LogConfig, Reach, Request, StreamKind};
use shim::{LifeLock, Liveness, ShimPaths, frame};

use crate::fixture::{Container, hold, wait_for_end};

/// Nobody, on every Linux.
const NOBODY: u32 = 65534;

pub(crate) fn nothing_survives_a_killed_shim() {
    let container = Container::sh("sleep 1000 & sleep 1000");
    let init = hold(container.start().unwrap());
    pidfd_send_signal(hold(container.shim_pid()), Signal::KILL).unwrap();
    wait_for_end(&init);
    container.wait_until_free();
    assert_eq!(shim::probe(&container.paths).unwrap(), Liveness::Free);
    assert_eq!(shim::read_exit(&container.paths).unwrap(), None, "its end is unknown");
    // A new shim that has launched nothing does not make the old one's last words true again.
    let idle = container.shim();
    assert_eq!(shim::probe(&container.paths).unwrap(), Liveness::Held);
    assert_eq!(shim::read_state(&container.paths).unwrap(), None);
    assert!(container.paths.last_words().exists());
    // Nor does it take them along.
    idle.quit().unwrap();
    assert!(container.paths.last_words().exists());
    // What it left (socket, state, cgroup) is in nobody's way.
    container.start().unwrap();
    container.end();
    assert!(container.paths.last_words().exists(), "until somebody has taken all of it back");
    LifeLock::try_take(&container.paths).unwrap().unwrap().remove_dir();
}

pub(crate) fn a_shim_does_not_stay_in_its_starters_cgroup() {
    let container = Container::new(&["sleep", "1000"]);
    container.start().unwrap();
    let cgroups =
        std::fs::read_to_string(format!("/proc/{}/cgroup", container.shim_pid())).unwrap();
    let home = format!("/{}", shim::home(&container.paths.cgroup));
    let is_home = |line: &&str| line.starts_with("0::") || line.contains("name=systemd");
    let tracked: Vec<&str> = cgroups.lines().filter(is_home).collect();
    assert!(!tracked.is_empty());
    for line in tracked {
        assert!(line.ends_with(&home), "{line}");
    }
    container.end();
}

/// What the shim becomes in these tests: leaves a mark if it can have the container's life.
pub(crate) fn reap(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.filter_map(|word| word.into_string().ok()).collect();
    let [id, root, run] = arguments.as_slice() else { return ExitCode::FAILURE };
    let (id, cgroup) = (id.parse().unwrap(), String::new());
    let paths = ShimPaths { id, root: root.into(), run: run.into(), cgroup };
    let Some(lock) = LifeLock::try_take(&paths).unwrap() else { return ExitCode::FAILURE };
    std::fs::write(paths.exit_record().with_file_name("reaped"), "").unwrap();
    lock.remove_dir();
    ExitCode::SUCCESS
}

fn auto_removed() -> Container {
    let mut container = Container::new(&["sleep", "1000"]);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let ShimPaths { id, root, run, .. } = &container.paths;
    container.reap = Some(vec!["reap".to_owned(), id.to_string(), text(root), text(run)]);
    container
}

fn was_reaped(container: &Container) -> bool {
    container.paths.exit_record().with_file_name("reaped").exists()
}

pub(crate) fn a_client_that_dies_with_its_claim_is_replaced() {
    let container = auto_removed();
    let mut claimer = container.shim();
    claimer.claim().unwrap();
    container.start().unwrap();
    let shim = hold(container.shim_pid());
    container.shim().kill(model::Signal::KILL, Reach::Process).unwrap();
    assert!(!was_reaped(&container), "the one who claimed it lives");
    drop(claimer);
    wait_for_end(&shim);
    assert!(was_reaped(&container));

    let unclaimed = auto_removed();
    unclaimed.start().unwrap();
    let shim = hold(unclaimed.shim_pid());
    unclaimed.shim().kill(model::Signal::KILL, Reach::Process).unwrap();
    wait_for_end(&shim);
    assert!(was_reaped(&unclaimed));
}

pub(crate) fn a_claim_that_is_released_needs_no_removal() {
    let container = auto_removed();
    let mut claimer = container.shim();
    claimer.claim().unwrap();
    container.start().unwrap();
    let shim = hold(container.shim_pid());
    claimer.kill(model::Signal::KILL, Reach::Process).unwrap();
    claimer.release().unwrap();
    drop(claimer);
    wait_for_end(&shim);
    assert!(!was_reaped(&container));
    assert!(!container.paths.dir().exists());
}

pub(crate) fn the_init_has_its_streams_and_nothing_else() {
    let container = Container::sh("for fd in /proc/self/fd/*; do echo ${fd##*/}; done");
    let (got, _) = container.run();
    // The shell reads the directory through a descriptor of its own.
    assert_eq!(got.stdout, "0\n1\n2\n3\n");
    container.end();
    let asleep = Container::new(&["sleep", "1000"]);
    let pid = asleep.start().unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(open, 3);
    asleep.end();
}

/// A process of another user: connects, asks, and is answered by an end. Succeeds if so.
pub(crate) fn knock(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let socket = arguments.next().unwrap();
    let Ok(mut stream) = UnixStream::connect(socket) else { return ExitCode::from(2) };
    let request = serde_json::to_vec(&Request::State).unwrap();
    // The other side may be closed already.
    let _ = stream.write_all(&frame::encode(&request).unwrap());
    match sys::fdpass::recv_frame(&stream, frame::MAX_SMALL, 0) {
        Ok(Some(_)) => ExitCode::from(3),
        Ok(None) | Err(_) => ExitCode::SUCCESS,
    }
}

/// A log on a file system of its own, which fills up and is emptied again.
pub(crate) fn a_full_disk_costs_lines_and_says_so() {
    let size = sys::mount::Param::String(c"size", c"256k");
    let disk = sys::mount::detached(c"tmpfs", [size], MountAttrFlags::empty()).unwrap();
    let path =
        |name: &str| std::path::PathBuf::from(format!("/proc/self/fd/{}/{name}", disk.as_raw_fd()));
    let attrs = std::collections::BTreeMap::new();
    let (compression, delivery) = (Compression::None, LogDelivery::Blocking);
    let path_of_log = path("log");
    let config = LogConfig::JsonFile {
        path: path_of_log,
        max_size: None,
        max_file: 1,
        attrs,
        compression,
        delivery,
    };
    let mut log = shim::log::Log::open(&config).unwrap().unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    std::fs::write(path("ballast"), vec![0; 128 << 10]).unwrap();
    for _ in 0..50 {
        log.write(StreamKind::Stdout, &line.repeat(10), 0);
    }
    let lost = log.lines_lost();
    assert!(lost > 0);
    let logged = lines(&path("log"));
    assert_eq!(logged.len() as u64 + lost, 500, "every line is there or counted, none in part");
    std::fs::remove_file(path("ballast")).unwrap();
    log.write(StreamKind::Stdout, b"after\n", 0);
    log.write(StreamKind::Stdout, b"later\n", 0);
    let told = format!("[dhow: {lost} lines were not logged: no storage space]\n");
    assert_eq!(lines(&path("log"))[logged.len()..], [told.as_str(), "after\n", "later\n"]);
}

fn lines(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.map(|record| record["log"].as_str().unwrap().to_owned()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test needs a process of another user")]
pub(crate) fn strangers_are_not_served() {
    let container = Container::new(&["true"]);
    let keeper = container.shim();
    let dir = container.paths.dir();
    // Somebody has opened what should be closed.
    for path in
        dir.ancestors().take(4).map(std::path::Path::to_owned).chain([container.paths.socket()])
    {
        if path.parent().is_some() {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
    }
    let status = std::process::Command::new("/proc/self/exe")
        .arg("knock")
        .arg(container.paths.socket())
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    keeper.quit().unwrap();
}

pub(crate) fn nonsense_is_answered_and_hurts_nobody() {
    let container = Container::new(&["sleep", "1000"]);
    container.start().unwrap();
    let mut confused = container.shim().into_stream();
    confused.write_all(&frame::encode(b"{\"Dance\":{}}").unwrap()).unwrap();
    let reply = sys::fdpass::recv_frame(&confused, frame::MAX_SMALL, 0).unwrap().unwrap();
    let text = String::from_utf8(reply.bytes).unwrap();
    assert!(text.contains("does not understand the request"), "{text}");
    let mut greedy = container.shim().into_stream();
    greedy.write_all(&[&u32::MAX.to_le_bytes()[..], b"{\"Launch\":"].concat()).unwrap();
    assert_eq!(greedy.read(&mut [0]).unwrap(), 0, "it was thrown out");
    // Many who connect, send half a question, and do nothing more.
    let idle: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = container.shim().into_stream();
            stream.write_all(&[9, 0]).unwrap();
            stream
        })
        .collect();
    assert!(container.shim().state().unwrap().life.is_running());
    drop((idle, greedy, confused));
    container.end();
}

/// Whoever comes when the shim serves as many as it does is not refused, and not served yet.
pub(crate) fn more_clients_than_are_served_wait() {
    const MOST: usize = 256;
    let container = Container::new(&["true"]);
    let mut keeper = container.shim();
    let mut served: Vec<UnixStream> = (1..MOST).map(|_| container.shim().into_stream()).collect();
    let mut late = container.shim().into_stream();
    let question = frame::encode(&serde_json::to_vec(&Request::State).unwrap()).unwrap();
    late.write_all(&question).unwrap();
    // By the time that these are answered, a client that was let in would have been.
    for _ in 0..3 {
        keeper.state().unwrap();
    }
    late.set_nonblocking(true).unwrap();
    let early = late.read(&mut [0]).unwrap_err().kind();
    assert_eq!(early, std::io::ErrorKind::WouldBlock);
    late.set_nonblocking(false).unwrap();
    served.pop();
    assert!(sys::fdpass::recv_frame(&late, frame::MAX_SMALL, 0).unwrap().is_some());
    drop((served, late));
    keeper.quit().unwrap();
    container.wait_until_free();
}

/// Each is within what one may say; all of them together would be a gigabyte.
pub(crate) fn unfinished_questions_have_a_limit_together() {
    let container = Container::new(&["true"]);
    let keeper = container.shim();
    let length = u32::try_from(frame::MAX_LARGE).unwrap().to_le_bytes();
    let half = [&length[..], b"{\"Launch\":{", &vec![b' '; frame::MAX_LARGE - (1 << 20)]].concat();
    let mut held = Vec::new();
    let refused = (0..64).find(|_| {
        let mut stream = container.shim().into_stream();
        let is_refused = stream.write_all(&half).is_err();
        held.push(stream);
        is_refused
    });
    assert!(refused.is_some_and(|number| number <= 4), "{refused:?}");
    drop(held);
    keeper.quit().unwrap();
    container.wait_until_free();
}

pub(crate) fn its_directory_is_closed_to_others() {
    let container = Container::new(&["true"]);
    let keeper = container.shim();
    let dir = std::fs::metadata(container.paths.dir()).unwrap();
    assert_eq!(dir.permissions().mode() & 0o077, 0);
    keeper.quit().unwrap();
    container.wait_until_free();
}

/// The shim outlives whoever started it, and container's processes are copies of it.
pub(crate) fn it_has_nothing_of_its_starter_and_cannot_be_written_to() {
    use rustix::fs::StatVfsMountFlags;
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let container = Container::new(&["true"]);
    let mut keeper = container.shim();
    // Who answers has been executed.
    keeper.state().unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}", container.shim_pid()));
    let open = std::fs::read_dir(proc.join("fd")).unwrap();
    let open: Vec<_> = open.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap()).collect();
    assert!(!open.iter().any(|path| path.ends_with("passwd")), "{open:?}");
    assert_eq!(std::fs::read_link(proc.join("cwd")).unwrap(), std::path::Path::new("/"));
    assert_eq!(std::fs::read(proc.join("environ")).unwrap(), b"");
    let exe = rustix::fs::statvfs(proc.join("exe")).unwrap();
    assert!(exe.f_flag.contains(StatVfsMountFlags::RDONLY), "{:?}", exe.f_flag);
    keeper.quit().unwrap();
    container.wait_until_free();
}
