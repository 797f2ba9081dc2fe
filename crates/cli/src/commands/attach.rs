//! `attach`

use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::session::signals::Proxy;
use crate::session::stay::{Stayed, code, session_keys, stay, told};
use crate::session::{Process, Session, Setup};
use docker_api::query::{AttachQuery, WaitCondition};
use docker_api::types::containers::ContainerState;

/// What leaving by the keys is called.
pub(super) const DETACHED: &str = "read escape sequence";

/// Attach our input and output to a running container
#[derive(clap::Args, Debug)]
pub(super) struct AttachArgs {
    /// Keys that detach from the container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the process
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
    sig_proxy: std::primitive::bool,
    container: String,
}

command!(
    AttachArgs,
    attach,
    ["container attach", "attach"],
    "[OPTIONS] CONTAINER",
    Arity::Exactly(1)
);

async fn attach(cx: &Cx, args: AttachArgs) -> Outcome {
    let keys = session_keys(cx, args.detach_keys.as_deref())?;
    let client = cx.client()?;
    let container = client.container_inspect(&args.container).await?.value;
    check(&container.state)?;
    let stdin = !args.no_stdin && container.config.open_stdin;
    let tty = container.config.tty;
    if stdin && tty && !cx::stdin_is_terminal() {
        return Err(Failure::error("the input device is not a TTY"));
    }
    let id = container.id;
    let waiting = client.container_wait(&id, WaitCondition::NotRunning).await?;
    let query = AttachQuery {
        logs: false,
        stream: true,
        stdin,
        stdout: true,
        stderr: true,
        detach_keys: told(&keys),
    };
    let proxy = if args.sig_proxy { Proxy::WithoutTerminal } else { Proxy::Never };
    let mut session = Session::open(Setup { stdin, tty, proxy, keys })?;
    let attached = client.container_attach(&id, &query).await?;
    let process = Process::Container(id);
    session.ask_for_redraw(client, &process).await;
    match stay(client, (&mut session, process), (attached, waiting)).await? {
        Stayed::Ended(status) => code(cx, status),
        // As Docker has it, who only looked at a container has failed to see its end.
        Stayed::Detached => Err(Failure::error(DETACHED)),
    }
}

fn check(state: &ContainerState) -> Result<(), Failure> {
    let text = if !state.running {
        "You cannot attach to a stopped container, start it first"
    } else if state.paused {
        "You cannot attach to a paused container, unpause it first"
    } else if state.restarting {
        "You cannot attach to a restarting container, wait until it is running"
    } else {
        return Ok(());
    };
    Err(Failure::error(text))
}
