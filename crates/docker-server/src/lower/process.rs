//! What runs: command, environment, user, terminal, stdin, stop signal.

use std::path::PathBuf;

use docker_api::types::StrSlice;
use docker_api::types::config::{ContainerConfig, HealthConfig};
use docker_api::types::containers::CreateContainer;
use docker_api::types::host_config::HostConfig;
use model::container::{
    AttachedStreams, HealthSpec, InitProcess, ProcessSpec, Stdin, StopTimeout, Terminal,
    TerminalSize,
};
use model::health::{HealthCheck, OnUnhealthy};
use model::mount::clean_target;
use model::signal::BadSignal;
use model::systemd::BadSystemdMode;

use super::{Limit, LowerError, filled, text};
use crate::quirks::ApiVersion;

/// A process that cannot be described so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProcessError {
    #[error("invalid environment variable: {0}")]
    Env(String),
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDir(String),
    #[error(transparent)]
    Signal(#[from] BadSignal),
    #[error("invalid stop timeout {0}: it must fit 32 bits")]
    StopTimeout(i64),
    #[error("invalid user {0:?}: uids and gids must be in range 0-2147483647")]
    IdRange(String),
    #[error("invalid user {0:?}: expected user[:group], by name or number")]
    User(String),
    #[error("invalid group {0:?}: expected a name, or a number in range 0-2147483647")]
    Group(String),
    #[error("invalid console size {0} by {1}: each side must be below 65536")]
    ConsoleSize(u64, u64),
    #[error(transparent)]
    Systemd(#[from] BadSystemdMode),
    #[error("{0} in Healthcheck cannot be less than 1ms")]
    HealthDuration(&'static str),
    #[error("Retries in Healthcheck cannot be negative")]
    HealthRetries,
    #[error("Retries in Healthcheck must fit 32 bits")]
    HealthRetriesMany,
    #[error(
        "invalid action for an unhealthy container: {0:?}; use one of none, restart, stop, kill"
    )]
    OnUnhealthy(String),
}

/// Lowers the process of a container.
pub(super) fn lower(request: &CreateContainer, api: ApiVersion) -> Result<ProcessSpec, LowerError> {
    let CreateContainer { config, host_config: host, dhow, .. } = request;
    let systemd = dhow.as_ref().map_or("", |extension| extension.systemd.as_str());
    Ok(ProcessSpec {
        entrypoint: words("Entrypoint", config.entrypoint.as_ref())?,
        command: words("Cmd", config.cmd.as_ref())?.filter(|words| !words.is_empty()),
        env: env(config.env.as_deref().unwrap_or_default())?,
        working_dir: working_dir(&config.working_dir)?,
        user: user(&config.user)?,
        groups: groups(host.group_add.as_deref().unwrap_or_default())?,
        terminal: terminal(config, host, api)?,
        stdin: stdin(config),
        attached: AttachedStreams {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
        },
        stop_signal: filled(Some(&config.stop_signal))
            .map(str::parse)
            .transpose()
            .map_err(ProcessError::Signal)?,
        stop_timeout: config.stop_timeout.map(stop_timeout).transpose()?,
        init: if host.init == Some(true) { InitProcess::Reaper } else { InitProcess::Command },
        systemd: systemd.parse().map_err(ProcessError::Systemd)?,
        health: health(config.healthcheck.as_ref())?,
        on_unhealthy: OnUnhealthy::Nothing,
    })
}

fn words(what: &'static str, words: Option<&StrSlice>) -> Result<Option<Vec<String>>, LowerError> {
    let Some(words) = words else { return Ok(None) };
    for word in &words.0 {
        text::no_nul(what, word)?;
        Limit::Argument.check(what, word.len())?;
    }
    Ok(Some(words.0.clone()))
}

/// Checks variables. `NAME` alone takes the image's variable away, so it stays in the list.
pub(super) fn env(env: &[String]) -> Result<Vec<String>, LowerError> {
    Limit::Total.check("Env", env.iter().map(String::len).sum())?;
    for variable in env {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(ProcessError::Env(variable.clone()).into());
        }
        text::no_nul("environment variable", variable)?;
        Limit::Argument.check("environment variable", variable.len())?;
    }
    Ok(env.to_vec())
}

/// An absolute directory, or the default.
pub(super) fn working_dir(dir: &str) -> Result<Option<PathBuf>, LowerError> {
    let Some(dir) = filled(Some(dir)) else { return Ok(None) };
    text::no_nul("WorkingDir", dir)?;
    let clean = clean_target(dir).ok_or_else(|| ProcessError::WorkingDir(dir.to_owned()))?;
    Ok(Some(clean))
}

/// `user[:group]`, or the default. Names are looked up later, in the container's own files.
pub(super) fn user(user: &str) -> Result<Option<String>, LowerError> {
    let Some(user) = filled(Some(user)) else { return Ok(None) };
    let mut parts = user.splitn(2, ':');
    let judged = parts.all(|part| match judge_id(part) {
        Id::OutOfRange => false,
        Id::Number | Id::Name => true,
        Id::Nonsense => part.is_empty(),
    });
    if judged && !matches!(user, ":") && user.matches(':').count() <= 1 {
        return Ok(Some(user.to_owned()));
    }
    let out_of_range = user.split(':').any(|part| matches!(judge_id(part), Id::OutOfRange));
    let text = user.to_owned();
    let error = if out_of_range { ProcessError::IdRange(text) } else { ProcessError::User(text) };
    Err(error.into())
}

fn groups(groups: &[String]) -> Result<Vec<String>, LowerError> {
    match groups.iter().find(|group| !matches!(judge_id(group), Id::Number | Id::Name)) {
        Some(bad) => Err(ProcessError::Group(bad.clone()).into()),
        None => Ok(groups.to_vec()),
    }
}

enum Id {
    Number,
    OutOfRange,
    Name,
    Nonsense,
}

/// The kernel's ids have 32 bits, and -1 means "leave it"; Docker stops at 31.
fn judge_id(text: &str) -> Id {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse::<i32>() {
            Ok(0..) => Id::Number,
            Ok(_) | Err(_) => Id::OutOfRange,
        };
    }
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, ':' | '/' | ',');
    if text.is_empty() || text.starts_with('-') || !text.chars().all(plain) {
        Id::Nonsense
    } else {
        Id::Name
    }
}

fn terminal(
    config: &ContainerConfig,
    host: &HostConfig,
    api: ApiVersion,
) -> Result<Terminal, LowerError> {
    if !config.tty {
        return Ok(Terminal::None);
    }
    let asked = if api.has_console_size() { host.console_size } else { [0, 0] };
    Ok(Terminal::Pty { size: console_size(asked)? })
}

/// Height and width; zero is "unknown".
pub(super) fn console_size([rows, columns]: [u64; 2]) -> Result<Option<TerminalSize>, LowerError> {
    match (u16::try_from(rows), u16::try_from(columns)) {
        (Ok(0), _) | (_, Ok(0)) => Ok(None),
        (Ok(rows), Ok(columns)) => Ok(Some(TerminalSize { rows, columns })),
        (Err(_), _) | (_, Err(_)) => Err(ProcessError::ConsoleSize(rows, columns).into()),
    }
}

fn stdin(config: &ContainerConfig) -> Stdin {
    match (config.open_stdin, config.stdin_once) {
        (false, _) => Stdin::Null,
        (true, false) => Stdin::Open,
        (true, true) => Stdin::OpenOnce,
    }
}

/// Any negative number waits for ever, as in Docker.
pub(crate) fn stop_timeout(seconds: i64) -> Result<StopTimeout, ProcessError> {
    if seconds < 0 {
        return Ok(StopTimeout::Forever);
    }
    let seconds = u32::try_from(seconds).map_err(|_| ProcessError::StopTimeout(seconds))?;
    Ok(StopTimeout::Seconds(seconds))
}

/// What happens to a container that becomes unhealthy: a wish that Docker's API has no field for.
pub(super) fn on_unhealthy(word: &str) -> Result<OnUnhealthy, ProcessError> {
    let known = OnUnhealthy::WORDS.iter().find(|(known, _)| *known == word);
    known.map(|(_, action)| *action).ok_or_else(|| ProcessError::OnUnhealthy(word.to_owned()))
}

/// What a request says of a check; its numbers have been judged.
fn own(check: &HealthConfig, test: &[String]) -> HealthCheck {
    let nanos = |value: i64| u64::try_from(value).unwrap_or(0);
    HealthCheck {
        test: test.to_vec(),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: u32::try_from(check.retries).unwrap_or(0),
    }
}

/// A check, judged as Docker judges it.
fn health(check: Option<&HealthConfig>) -> Result<HealthSpec, LowerError> {
    let Some(check) = check else { return Ok(HealthSpec::FromImage) };
    let durations = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    let too_short = |nanoseconds: i64| nanoseconds != 0 && nanoseconds < 1_000_000;
    if let Some((name, _)) = durations.iter().find(|(_, value)| too_short(*value)) {
        return Err(ProcessError::HealthDuration(name).into());
    }
    if check.retries < 0 {
        return Err(ProcessError::HealthRetries.into());
    }
    if u32::try_from(check.retries).is_err() {
        return Err(ProcessError::HealthRetriesMany.into());
    }
    match check.test.as_deref().unwrap_or_default() {
        [none] if none == "NONE" => Ok(HealthSpec::Nothing),
        [] if *check == HealthConfig::default() => Ok(HealthSpec::FromImage),
        test => {
            for word in test {
                text::no_nul("Healthcheck", word)?;
                Limit::Argument.check("Healthcheck", word.len())?;
            }
            Ok(HealthSpec::Own(own(check, test)))
        }
    }
}
