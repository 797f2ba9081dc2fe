//! `run`: create, attach, wait, start, and stay with the container until it ends.

use super::create::{CreateFlags, Made, MakeError, make, refused, request};
use crate::argv::{Arity, Flags, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::{Failure, api_message};
use crate::options::ContainerOptions;
use crate::session::signals::Proxy;
use crate::session::{Ended, Process, Session, Setup, terminal};
use docker_api::client::containers::Waiting;
use docker_api::query::{AttachQuery, WaitCondition};
use docker_api::stream::Attached;
use docker_api::types::config::ContainerConfig;
use docker_api::types::containers::{CreateContainer, WaitResponse};
use docker_api::{ApiError, Client};
use model::detach::DetachKeys;
use std::process::ExitCode;

/// Create and run a container from an image
#[derive(clap::Args, Debug)]
pub(super) struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Keys that detach from the container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Pass signals on to the process
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
    sig_proxy: std::primitive::bool,
    #[command(flatten)]
    flags: CreateFlags,
    #[command(flatten)]
    options: ContainerOptions,
    image: String,
    command: Vec<String>,
}

command!(
    RunArgs,
    run,
    ["container run", "run"],
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    Arity::AtLeast(1),
    Flags::First
);

async fn run(cx: &Cx, args: RunArgs) -> Outcome {
    let mut request = request(&args.flags, &args.options, (&args.image, &args.command))
        .map_err(|message| refused(cx, &message))?;
    if args.detach {
        if args.options.chooses_streams() {
            return Err(Failure::error(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        leave_alone(&mut request.config);
    }
    let keys = session_keys(cx, args.detach_keys.as_deref())?;
    let config = &request.config;
    if config.tty && config.attach_stdin && !cx::stdin_is_terminal() {
        return Err(Failure::error("the input device is not a TTY"));
    }
    if config.tty && !args.detach {
        request.host_config.console_size = terminal::console_size().unwrap_or_default();
    }
    let mut made = make(cx, &args.flags, &request).await.map_err(|e| match e {
        MakeError::Failed(failure) if failure.message.is_none() => failure,
        e @ (MakeError::Usage(_) | MakeError::Api(_) | MakeError::Failed(_)) => {
            refused(cx, &e.message())
        }
    })?;
    let proxy = if args.sig_proxy { Proxy::Always } else { Proxy::Never };
    if args.detach {
        let id = made.id.clone();
        let started = made.heeding(cx.client()?.container_start(&id, None)).await?;
        // Also of one that did not start: it stays, and scripts remove it by this id.
        cx.line(&id)?;
        started.map_err(|e| not_started(cx, &e))?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = &request.config;
    let setup = Setup { stdin: config.attach_stdin, tty: config.tty, proxy, keys };
    if attaches(config) {
        foreground(cx, &request, made, setup).await
    } else {
        background(cx, &request, made, setup).await
    }
}

/// The keys of a flag, or else of the user's configuration.
pub(super) fn session_keys(cx: &Cx, flag: Option<&str>) -> Result<DetachKeys, Failure> {
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
pub(super) fn told(keys: &DetachKeys) -> Option<String> {
    (*keys != DetachKeys::default()).then(|| keys.to_string())
}

fn leave_alone(config: &mut ContainerConfig) {
    config.attach_stdin = false;
    config.attach_stdout = false;
    config.attach_stderr = false;
    config.stdin_once = false;
}

fn attaches(config: &ContainerConfig) -> bool {
    config.attach_stdin || config.attach_stdout || config.attach_stderr
}

fn condition(request: &CreateContainer) -> WaitCondition {
    if request.host_config.auto_remove { WaitCondition::Removed } else { WaitCondition::NextExit }
}

/// Neither attached nor detached (`-a` with nothing to show): its end is still waited for.
async fn background(cx: &Cx, request: &CreateContainer, mut made: Made, setup: Setup) -> Outcome {
    let client = cx.client()?;
    let id = made.id.clone();
    let waiting = made.heeding(client.container_wait(&id, condition(request))).await??;
    let mut session = Session::open(setup)?;
    client.container_start(&id, None).await.map_err(|e| not_started(cx, &e))?;
    let ended = session.until(client, &Process::Container(id), waiting.finish()).await?;
    code(cx, ended?)
}

async fn foreground(cx: &Cx, request: &CreateContainer, mut made: Made, setup: Setup) -> Outcome {
    let client = cx.client()?;
    let config = &request.config;
    let query = AttachQuery {
        detach_keys: told(&setup.keys),
        stream: true,
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        logs: false,
    };
    let id = &made.id.clone();
    let attached = made.heeding(client.container_attach(id, &query)).await??;
    let waiting = made.heeding(client.container_wait(id, condition(request))).await??;
    let mut session = Session::open(setup)?;
    let process = Process::Container(id.to_owned());
    if let Err(e) = client.container_start(id, None).await {
        session.restore();
        drop(attached);
        if request.host_config.auto_remove {
            // It goes with its failed start, and must be gone before we are, unless the user has
            // no patience for that. How its wait ended adds nothing to why it did not start.
            let _ = session.until(client, &process, waiting.finish()).await?;
        }
        return Err(not_started(cx, &e));
    }
    stay(client, (&mut session, process), (attached, waiting)).await?.code(cx)
}

/// How staying with a container ended.
pub(super) enum Stayed {
    /// The container ended.
    Ended(WaitResponse),
    /// The user typed the detach keys.
    Detached,
}

impl Stayed {
    /// For whoever started the container: to leave it is no failure.
    pub(super) fn code(self, cx: &Cx) -> Outcome {
        match self {
            Self::Detached => Ok(ExitCode::SUCCESS),
            Self::Ended(status) => code(cx, status),
        }
    }
}

/// Stays with a container that runs until it ends or is detached from.
pub(super) async fn stay(
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
pub(super) fn code(cx: &Cx, status: WaitResponse) -> Outcome {
    if let Some(error) = status.error.filter(|error| !error.message.is_empty()) {
        cx.warn(&format!("Error waiting for container: {}", error.message));
        return Ok(ExitCode::from(125));
    }
    Ok(exit_code(status.status_code))
}

/// An exit code of a process, as one of ours.
pub(super) fn exit_code(code: i64) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// A container that could not be started: the reason is in the text, and scripts know the codes.
fn not_started(cx: &Cx, error: &ApiError) -> Failure {
    let message = api_message(error);
    Failure { code: start_code(&message), ..refused(cx, &message) }
}

/// The code for a process that could not be started: 127 if it is not there, 126 if it cannot be
/// executed, 125 for everything else.
pub(super) fn start_code(message: &str) -> u8 {
    let says = |text| message.contains(text);
    if says("executable file not found") || says("no such file or directory") {
        127
    } else if ["permission denied", "is a directory", "exec format error"].into_iter().any(says) {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_starts_have_codes() {
        for (message, code) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("exec /x: no such file or directory", 127),
            ("exec: \"/etc\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("exec /x: exec format error", 126),
            ("port is already allocated", 125),
        ] {
            assert_eq!(start_code(message), code, "{message}");
        }
    }
}
