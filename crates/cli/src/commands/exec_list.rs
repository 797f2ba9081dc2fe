//! `container exec-ls`, and `exec ls` where no container is called so.

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use docker_api::Client;
use docker_api::types::exec::ExecInspect;
use std::process::ExitCode;

/// List the commands that `exec` has started in a container and that still run
#[derive(clap::Args, Debug)]
pub(super) struct ExecListArgs {
    container: String,
}

command!(ExecListArgs, exec_ls, ["container exec-ls"], "CONTAINER", Arity::Exactly(1));

/// Signal commands that `exec` has started, with all that they have started
#[derive(clap::Args, Debug)]
pub(super) struct ExecKillArgs {
    /// Signal to send
    #[arg(short, long, value_name = "string", default_value = "KILL")]
    signal: String,
    execs: Vec<String>,
}

/// The other of the two.
pub(super) mod kill {
    use super::{Arity, Cx, ExecKillArgs, Outcome, command};

    command!(
        ExecKillArgs,
        exec_kill,
        ["container exec-kill"],
        "[OPTIONS] EXEC [EXEC...]",
        Arity::AtLeast(1)
    );

    async fn exec_kill(cx: &Cx, args: ExecKillArgs) -> Outcome {
        super::kill_all(cx, &args.execs, &args.signal).await
    }
}

async fn exec_ls(cx: &Cx, args: ExecListArgs) -> Outcome {
    list(cx, &args.container).await
}

/// `exec ls CONTAINER` and `exec kill EXEC` are commands of containers that are called `ls` and
/// `kill`, if there are any.
pub(super) async fn instead(
    cx: &Cx,
    container: &str,
    words: &[String],
) -> Result<Option<ExitCode>, Failure> {
    if !matches!((container, words), ("ls", [_]) | ("kill", [_, ..])) {
        return Ok(None);
    }
    match cx.client()?.container_inspect(container).await {
        Err(error) if error.is_not_found() => {}
        // Whatever else is wrong, the exec itself will say.
        Ok(_) | Err(_) => return Ok(None),
    }
    let outcome = match (container, words) {
        ("ls", [container]) => list(cx, container).await,
        (_, execs) => kill_all(cx, execs, "KILL").await,
    };
    outcome.map(Some)
}

async fn list(cx: &Cx, container: &str) -> Outcome {
    let client = cx.client()?;
    let found = client.container_inspect(container).await?.value;
    let mut text = line("EXEC ID", "PID", "USER", "COMMAND");
    for exec in running(client, found.exec_ids.unwrap_or_default()).await? {
        let process = &exec.process_config;
        let command = [&[process.entrypoint.clone()][..], &process.arguments].concat().join(" ");
        let id = exec.id.get(..12).unwrap_or(&exec.id);
        text.push_str(&line(id, &exec.pid.to_string(), &process.user, &command));
    }
    cx.print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Health checks have no record of their own: they are told of with the container's health.
async fn running(client: &Client, ids: Vec<String>) -> Result<Vec<ExecInspect>, Failure> {
    let mut execs = Vec::new();
    for id in ids {
        match client.exec_inspect(&id).await {
            Ok(exec) if exec.value.running => execs.push(exec.value),
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(execs)
}

fn line(id: &str, pid: &str, user: &str, command: &str) -> String {
    format!("{id:<12}   {pid:<10}   {user:<12}   {command}\n")
}

async fn kill_all(cx: &Cx, execs: &[String], signal: &str) -> Outcome {
    super::each(cx, execs, |client, exec| {
        let signal = signal.to_owned();
        async move { client.exec_kill(&exec, &signal).await }
    })
    .await
}
