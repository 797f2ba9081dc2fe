//! Staying with a container until it ends or is detached from, and the exit code that follows.

use super::{Ended, Process, Session};
use crate::argv::Outcome;
use crate::cx::{self, Cx};
use crate::error::Failure;
use docker_api::Client;
use docker_api::client::containers::Waiting;
use docker_api::stream::Attached;
use docker_api::types::containers::WaitResponse;
use model::detach::DetachKeys;
use std::process::ExitCode;

/// The keys of a flag, or else of the user's configuration.
pub(crate) fn session_keys(cx: &Cx, flag: Option<&str>) -> Result<DetachKeys, Failure> {
    let configured = match flag {
        Some(_) => None,
        // Keys are for people: without a terminal nobody looks for them.
        None if cx::stdin_is_terminal() => cx.config.preferences().detach_keys.clone(),
        None => None,
    };
    let text = flag.or(configured.as_deref());
    DetachKeys::parse(text).map_err(|e| Failure::error(e.to_string()))
}

/// The keys as the server is told them, so that it does not look for its own beside ours.
pub(crate) fn told(keys: &DetachKeys) -> Option<String> {
    (*keys != DetachKeys::default()).then(|| keys.to_string())
}

/// How staying with a container ended.
pub(crate) enum Stayed {
    /// The container ended.
    Ended(WaitResponse),
    /// The user typed the detach keys.
    Detached,
}

impl Stayed {
    /// For whoever started the container: to leave it is no failure.
    pub(crate) fn code(self, cx: &Cx) -> Outcome {
        match self {
            Self::Detached => Ok(ExitCode::SUCCESS),
            Self::Ended(status) => code(cx, status),
        }
    }
}

/// Stays with a container that runs until it ends or is detached from.
pub(crate) async fn stay(
    client: &Client,
    (session, process): (&mut Session, Process),
    (attached, waiting): (Attached, Waiting),
) -> Result<Stayed, Failure> {
    let stayed = match session.run(client, &process, attached).await? {
        Ended::Detached => Stayed::Detached,
        Ended::Output => Stayed::Ended(session.until(client, &process, waiting.finish()).await??),
    };
    session.restore();
    Ok(stayed)
}

/// The container's own code.
pub(crate) fn code(cx: &Cx, status: WaitResponse) -> Outcome {
    if let Some(error) = status.error.filter(|error| !error.message.is_empty()) {
        cx.warn(&format!("Error waiting for container: {}", error.message));
        return Ok(ExitCode::from(125));
    }
    Ok(exit_code(status.status_code))
}

/// An exit code of a process, as one of ours.
pub(crate) fn exit_code(code: i64) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}
