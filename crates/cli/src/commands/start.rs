//! `start`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::session::signals::Proxy;
use crate::session::stay::{session_keys, stay, told};
use crate::session::{Process, Session, Setup};
use docker_api::Client;
use docker_api::query::{AttachQuery, WaitCondition};
use std::process::ExitCode;

/// Start stopped containers
#[derive(clap::Args, Debug)]
pub(super) struct StartArgs {
    /// Attach STDOUT and STDERR, and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Start from this checkpoint
    #[arg(long, value_name = "string", default_value = "")]
    checkpoint: String,
    /// The checkpoint is in this directory instead of with the container
    #[arg(long, value_name = "string")]
    checkpoint_dir: Option<String>,
    /// Keys that detach from the container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach STDIN
    #[arg(short, long)]
    interactive: bool,
    containers: Vec<String>,
}

command!(
    StartArgs,
    start,
    ["container start", "start"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn start(cx: &Cx, args: StartArgs) -> Outcome {
    if !args.attach && !args.interactive && !args.checkpoint.is_empty() {
        return match args.containers.as_slice() {
            [one] => begin(cx.client()?, &args, one).await.map(|()| ExitCode::SUCCESS),
            _ => Err(Failure::error("you cannot restore multiple containers at once")),
        };
    }
    if !args.attach && !args.interactive {
        return each(cx, &args.containers, |client, name| async move {
            client.container_start(&name, None).await.map(drop)
        })
        .await;
    }
    match args.containers.as_slice() {
        [one] => attached(cx, &args, one).await,
        _ => Err(Failure::error("you cannot start and attach multiple containers at once")),
    }
}

async fn begin(client: &Client, args: &StartArgs, id: &str) -> Result<(), Failure> {
    let started = match args.checkpoint.as_str() {
        "" => client.container_start(id, None).await,
        name => client.container_start_from(id, name, args.checkpoint_dir.as_deref()).await,
    };
    Ok(started.map(drop)?)
}

async fn attached(cx: &Cx, args: &StartArgs, name: &str) -> Outcome {
    let keys = session_keys(cx, args.detach_keys.as_deref())?;
    let client = cx.client()?;
    let container = client.container_inspect(name).await?.value;
    let (id, tty) = (container.id, container.config.tty);
    let stdin = args.interactive && container.config.open_stdin;
    if stdin && tty && !cx::stdin_is_terminal() {
        return Err(Failure::error("the input device is not a TTY"));
    }
    let query = AttachQuery {
        logs: false,
        stream: true,
        stdin,
        stdout: true,
        stderr: true,
        detach_keys: told(&keys),
    };
    let streams = client.container_attach(&id, &query).await?;
    let until = if container.host_config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let waiting = client.container_wait(&id, until).await?;
    let mut session = Session::open(Setup { stdin, tty, proxy: Proxy::WithoutTerminal, keys })?;
    begin(client, args, &id).await?;
    let session = (&mut session, Process::Container(id));
    stay(client, session, (streams, waiting)).await?.code(cx)
}
