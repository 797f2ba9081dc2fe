//! `run`: create, attach, wait, start, and stay with the container until it ends.

use crate::argv::{Arity, Flags, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::make::{CreateFlags, Made, MakeError, make, request};
use crate::options::ContainerOptions;
use crate::session::signals::Proxy;
use crate::session::stay::{code, session_keys, stay, told};
use crate::session::{Process, Session, Setup, terminal};
use crate::starting::{not_started, refused};
use docker_api::query::{AttachQuery, WaitCondition};
use docker_api::types::config::ContainerConfig;
use docker_api::types::containers::CreateContainer;
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
