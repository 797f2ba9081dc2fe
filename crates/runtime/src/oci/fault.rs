//! What goes wrong, in the words that engines look for, and where it is told.
//!
//! An engine reads the last message of the log that it named; a person reads the standard error. runc's
//! exit code for its own failures is 1.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use cgroup::{CgroupError, DetectError, SystemdError};
use oci_spec::runtime::Process;
use sys::Errno;

use super::arguments::{Globals, LogFormat};
use crate::LaunchError;
use crate::facts::FactsError;
use crate::hooks::HookError;
use crate::plan;
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
    #[error("invalid container ID format: {id:?}{}", wrong_letter(.id))]
    BadId { id: String },
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
    /// Without a source: its words are all there.
    #[error("{}", words(.0))]
    Launch(LaunchError),
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
    #[error("{action} the interface {name}")]
    Interface {
        action: &'static str,
        name: String,
        #[source]
        errno: Errno,
    },
    #[error(transparent)]
    Survey(#[from] crate::criu::SurveyError),
    #[error(transparent)]
    Criu(#[from] crate::criu::CriuError),
    #[error(transparent)]
    Restore(#[from] crate::criu::RestoreError),
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

impl From<LaunchError> for Fault {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error)
    }
}

/// What stands in front of a failed start where runc reports it: engines show it to people, who look for it.
fn words(error: &LaunchError) -> String {
    let what = match error {
        // It was never begun.
        LaunchError::Plan(error) => return error.to_string(),
        LaunchError::Init { step, errno } => {
            let mounted = step.strip_prefix("mount ").filter(|rest| !rest.starts_with("again "));
            let step = mounted.map_or(step.clone(), |rest| format!("error mounting {rest}"));
            format!("error during container init: {step}: {errno}")
        }
        LaunchError::Hook(error) => format!("error during container init: {error}"),
        error @ (LaunchError::Prepare { .. }
        | LaunchError::Died { .. }
        | LaunchError::NotFound(_)
        | LaunchError::NotExecutable { .. }
        | LaunchError::Exec { .. }
        | LaunchError::WorkingDirectory { .. }) => error.to_string(),
    };
    format!("unable to start container process: {what}")
}

/// What is wrong with an id, if it is a letter.
fn wrong_letter(id: &str) -> String {
    let wrong = id.chars().find(|letter| !super::record::may_be_in_id(*letter));
    wrong.map_or_else(String::new, |letter| format!(": invalid character `{letter}` in the ID"))
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
    /// What is being done, for those who asked.
    Debug,
}

/// Tells of a failure: in the log if there is one, and on the standard error otherwise.
pub(super) fn tell(globals: &Globals, level: Level, error: &dyn std::error::Error) {
    write(globals.log.as_deref(), globals.log_format, level, &chain(error));
}

/// Tells of a failure of a whole command, with what it was in front of why.
pub(super) fn tell_of(globals: &Globals, command: &str, fault: &Fault) {
    let text = format!("{command}{}", chain(fault));
    write(globals.log.as_deref(), globals.log_format, Level::Error, &text);
}

/// Tells what is being done to whoever has asked for that.
pub(super) fn debug(globals: &Globals, text: impl FnOnce() -> String) {
    if globals.debug {
        write(globals.log.as_deref(), globals.log_format, Level::Debug, &text());
    }
}

/// Tells of capabilities that a process does not get (config.md, "Linux Process"), in runc's words.
pub(super) fn warn_of_capabilities(
    globals: &Globals,
    unknown: &[String],
    process: Option<&Process>,
) {
    let warn = |text| tell(globals, Level::Warning, &Fault::Config(text));
    if !unknown.is_empty() {
        warn(format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" ")));
    }
    for name in process.map(plan::not_ambient).unwrap_or_default() {
        warn(format!("can't raise ambient capability {name}: operation not permitted"));
    }
}

/// The same of a text, for a command line that was not understood.
#[expect(clippy::print_stderr, reason = "a command that fails says why")]
pub(super) fn write(log: Option<&Path>, format: LogFormat, level: Level, text: &str) {
    let level = match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Debug => "debug",
    };
    let now = jiff::Timestamp::now();
    let line = match format {
        LogFormat::Json => {
            let time = now.to_string();
            serde_json::json!({ "level": level, "msg": text, "time": time }).to_string()
        }
        LogFormat::Text => format!("time=\"{now}\" level={level} msg={text:?}"),
    };
    // Without a log the message is for a person, and with one for an engine.
    match log {
        Some(path) => {
            let log = OpenOptions::new().append(true).create(true).open(path);
            if log.and_then(|mut log| writeln!(log, "{line}")).is_err() {
                eprintln!("{line}");
            }
        }
        None => eprintln!("{line}"),
    }
}

/// The log that a command line names which was not understood, as far as it can be read: engines look there.
pub(super) fn log_of(arguments: &[OsString]) -> (Option<PathBuf>, LogFormat) {
    let value = |name: &str| {
        let mut rest = arguments.iter().skip(1);
        while let Some(word) = rest.next() {
            let word = word.to_string_lossy();
            if word == name {
                return rest.next().map(|value| value.to_string_lossy().into_owned());
            }
            if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                return Some(value.to_owned());
            }
        }
        None
    };
    let is_json = value("--log-format").as_deref() == Some("json");
    let format = if is_json { LogFormat::Json } else { LogFormat::Text };
    (value("--log").map(PathBuf::from), format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_found_in_what_is_not_understood() {
        let log = |words: &[&str]| log_of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let at = |path: &str| Some(PathBuf::from(path));
        let found = log(&["oci", "--nosuch", "--log", "/l", "--log-format=json", "create"]);
        assert_eq!(found, (at("/l"), LogFormat::Json));
        assert_eq!(log(&["oci", "--log=/l", "--log-format", "text"]), (at("/l"), LogFormat::Text));
        assert_eq!(log(&["oci", "--log"]), (None, LogFormat::Text));
    }
}
