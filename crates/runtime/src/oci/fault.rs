//! What goes wrong, in the words that engines look for, and where it is told.
//!
//! An engine reads the last message of the log that it named; a person reads the standard error. runc's
//! exit code for its own failures is 1.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use cgroup::{CgroupError, DetectError, SystemdError};
use sys::Errno;

use super::arguments::{Globals, LogFormat};
use crate::LaunchError;
use crate::facts::FactsError;
use crate::hooks::HookError;
use crate::resources::ResourceError;
use crate::seccomp::SeccompError;

/// Why a verb could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// containerd looks for these words.
    #[error("container does not exist")]
    NoContainer,
    #[error("container with given ID already exists")]
    Exists,
    #[error("invalid container ID format: {0:?}")]
    BadId(String),
    #[error("container not running")]
    NotRunning,
    #[error("cannot start a container that has stopped")]
    Stopped,
    #[error("cannot start an already running container")]
    Running,
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped { id: String, status: super::record::Status },
    #[error("cannot exec in a {0} container")]
    NoExec(super::record::Status),
    #[error("{0} {1}")]
    File(&'static str, PathBuf, #[source] std::io::Error),
    #[error("{0}")]
    Call(&'static str, #[source] Errno),
    #[error("parse {0}")]
    Json(PathBuf, #[source] serde_json::Error),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error(transparent)]
    Hierarchies(#[from] DetectError),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Resources(#[from] ResourceError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    #[error(transparent)]
    Users(#[from] sys::userns::UsernsError),
    #[error("write to the standard output")]
    Output(#[source] std::io::Error),
}

impl Fault {
    pub(super) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File(what, path, source)
    }

    pub(super) fn config(text: impl Into<String>) -> Self {
        Self::Config(text.into())
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text.push_str(": ");
        text.push_str(&one.to_string());
        cause = one.source();
    }
    text
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// What was asked for was not done.
    Error,
    /// It was done, but.
    Warning,
}

/// Tells of a failure: in the log if there is one, and on the standard error otherwise.
#[expect(clippy::print_stderr, reason = "a command that fails says why")]
pub(super) fn tell(globals: &Globals, level: Level, error: &dyn std::error::Error) {
    let text = chain(error);
    let level = match level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    let now = jiff::Timestamp::now();
    let line = match globals.log_format {
        LogFormat::Json => {
            let time = now.to_string();
            serde_json::json!({ "level": level, "msg": text, "time": time }).to_string()
        }
        LogFormat::Text => format!("time=\"{now}\" level={level} msg={text:?}"),
    };
    // Without a log the message is for a person, and with one for an engine.
    match &globals.log {
        Some(path) => {
            let log = OpenOptions::new().append(true).create(true).open(path);
            if log.and_then(|mut log| writeln!(log, "{line}")).is_err() {
                eprintln!("{line}");
            }
        }
        None => eprintln!("{line}"),
    }
}
