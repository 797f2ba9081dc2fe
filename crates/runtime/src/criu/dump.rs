//! Writes a container down.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use sys::Errno;
use sys::helper::{self, Helper};

use super::error::CriuError;
use super::survey::Survey;
use super::talk::{Talk, Word};
use super::wire::{Kind, Options, Request};
use super::{CONFIGURATION, LOG, log};

/// The largest file without a name that is written down with the process that has it open: 256 MiB.
/// criu's own limit of one would refuse most programs that work with temporary files.
const GHOSTS: u32 = 256 << 20;

/// Errors, warnings, and what criu does: its log is read when it fails, and by nobody else.
const LOG_LEVEL: i32 = 3;

/// A container to be written down.
#[derive(Debug)]
pub struct Dump<'a> {
    /// The program.
    pub program: &'a Path,
    /// What was found.
    pub survey: &'a Survey,
    /// Where it is written: a directory.
    pub images: BorrowedFd<'a>,
    /// Where criu works and leaves its log: a directory, which may be the same.
    pub work: BorrowedFd<'a>,
    /// What becomes of the container then.
    pub after: After,
}

/// What becomes of a container that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It goes on.
    Runs,
    /// It is killed before it does anything more.
    Ends,
}

/// Whether what was written is worth the end of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It is kept.
    Kept,
    /// It is not: the container goes on.
    Lost,
}

/// Writes a container down. All of its processes stand still when `seal` is called, which has to make
/// what was written last; only then it goes on, or ends.
///
/// criu asks for that word. If this process is killed before it has said it, the container goes on
/// as if nothing had been.
///
/// # Errors
/// criu cannot do it. The container goes on.
pub fn dump(dump: &Dump<'_>, seal: impl FnOnce() -> Seal) -> Result<(), CriuError> {
    let start = |errno| CriuError::Start { program: dump.program.to_owned(), errno };
    let (talk, theirs) = Talk::pair().map_err(start)?;
    let mut command = helper::command(Helper::Criu(dump.program));
    command.args(["swrk", "0"]).stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    // Who interrupts this process at a terminal must not interrupt criu, which has its hands in the
    // container.
    command.process_group(0);
    let mut criu = command
        .spawn()
        .map_err(|error| start(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    // It has the other end of our socket.
    drop(command);
    let mut seal = Some(seal);
    let answer = talk.ask(&request(dump), None, |notify, _| match notify.script() {
        "post-dump" => match seal.take().map(|seal| seal()) {
            Some(Seal::Kept) => Word::GoOn,
            Some(Seal::Lost) | None => Word::Stop,
        },
        _ => Word::GoOn,
    });
    drop(talk);
    let _ = criu.wait();
    let errors = || log::errors(dump.work);
    match answer {
        Ok(answer) if answer.success => Ok(()),
        Ok(answer) => {
            let said = answer.message.map(|message| message.trim().to_owned());
            Err(CriuError::refused(errors(), said, answer.errno))
        }
        Err(error) => Err(CriuError::lost(&error, errors())),
    }
}

fn request(dump: &Dump<'_>) -> Request {
    let options = Options {
        images: dump.images.as_raw_fd(),
        work: Some(dump.work.as_raw_fd()),
        pid: Some(dump.survey.pid.as_raw_nonzero().get()),
        leave_running: Some(dump.after == After::Runs),
        external: dump.survey.external.clone(),
        ghost_limit: Some(GHOSTS),
        ..common()
    };
    Request { kind: Kind::Dump.into(), options: Some(options), notify_success: None }
}

/// What both ways need.
pub(super) fn common() -> Options {
    Options {
        file_locks: Some(true),
        log_level: Some(LOG_LEVEL),
        log_file: Some(LOG.to_owned()),
        notify: Some(true),
        // Which control group it is in, and what that allows, is the specification's.
        cgroup_mode: Some(0),
        orphan_terminal: Some(true),
        configuration: Some(CONFIGURATION.to_owned()),
        // A connection is tied to an address, and the container may have another one then; the
        // peer would not wait so long either.
        close_tcp: Some(true),
        ..Options::default()
    }
}
