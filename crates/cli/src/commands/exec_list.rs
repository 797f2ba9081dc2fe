//! `container exec-ls`, and `exec ls` where no container is called so.

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::format::containers::Cut;
use crate::table::{Column, Format, List, Named, Row, short_id};
use docker_api::Client;
use docker_api::types::exec::{ExecInspect, ExecSummary, ProcessConfig};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// List the commands that `exec` has started in a container
///
/// Those that run; with --all also the last that have ended, with their exit code and why they did.
#[derive(clap::Args, Debug)]
pub(super) struct ExecListArgs {
    /// Also show those that have ended
    #[arg(short, long)]
    all: bool,
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not cut texts off
    #[arg(long)]
    no_trunc: bool,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
    container: String,
}

command!(ExecListArgs, exec_ls, ["container exec-ls"], "[OPTIONS] CONTAINER", Arity::Exactly(1));

const COLUMNS: &[Column] = &[
    ("ID", "EXEC ID"),
    ("PID", "PID"),
    ("User", "USER"),
    ("Status", "STATUS"),
    ("Command", "COMMAND"),
    ("ExitCode", "EXIT CODE"),
    ("Reason", "REASON"),
    ("Running", "RUNNING"),
    ("StartedAt", "STARTED AT"),
    ("FinishedAt", "FINISHED AT"),
    ("Container", "CONTAINER"),
];
const RUNNING: Named<'static> =
    Named { table: "{{.ID}}\t{{.PID}}\t{{.User}}\t{{.Command}}", raw: None };
const ALL: Named<'static> =
    Named { table: "{{.ID}}\t{{.PID}}\t{{.User}}\t{{.Status}}\t{{.Command}}", raw: None };

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
    let (text, named) = match (args.quiet, &args.format, args.all) {
        (true, ..) => ("{{.ID}}", RUNNING),
        (false, Some(format), _) if !format.is_empty() => (format.as_str(), ALL),
        (false, _, true) => ("table", ALL),
        (false, _, false) => ("table", RUNNING),
    };
    let format = Format::parse(text, named)?;
    let client = cx.client()?;
    let execs = if args.all {
        client.exec_list(&args.container).await?
    } else {
        running(client, &args.container).await?
    };
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    let rows = execs.iter().map(|exec| row(exec, cut)).collect();
    let list = List { columns: COLUMNS, type_name: "*formatter.execContext", rows };
    cx.print(&format.render(list)?)?;
    Ok(ExitCode::SUCCESS)
}

fn row(exec: &ExecSummary, cut: Cut) -> Row {
    let id = if cut == Cut::Short { short_id(&exec.id) } else { &exec.id };
    let pid = if exec.running { exec.pid.to_string() } else { "-".to_owned() };
    Row {
        fields: vec![
            ("ID", id.to_owned()),
            ("PID", pid),
            ("User", exec.user.clone()),
            ("Status", exec.status.clone()),
            ("Command", exec.command.clone()),
            ("ExitCode", exec.exit_code.map(|code| code.to_string()).unwrap_or_default()),
            ("Reason", exec.reason.clone()),
            ("Running", exec.running.to_string()),
            ("StartedAt", exec.started_at.clone()),
            ("FinishedAt", exec.finished_at.clone()),
            ("Container", exec.container_id.clone()),
        ],
        labels: BTreeMap::default(),
    }
}

/// `exec ls CONTAINER` and `exec kill EXEC` are commands of containers that are called `ls` and
/// `kill`, if there are any.
pub(super) async fn instead(
    cx: &Cx,
    container: &str,
    words: &[String],
) -> Result<Option<ExitCode>, Failure> {
    if !matches!((container, words), ("ls", [_, ..]) | ("kill", [_, ..])) {
        return Ok(None);
    }
    match cx.client()?.container_inspect(container).await {
        Err(error) if error.is_not_found() => {}
        // Whatever else is wrong, the exec itself will say.
        Ok(_) | Err(_) => return Ok(None),
    }
    let (own, name) =
        if container == "ls" { (COMMAND, "exec ls") } else { (kill::COMMAND, "exec kill") };
    crate::run_instead(cx, &own, name, words).await.map(Some)
}

/// Without what only dhow's server knows, so that any can be asked. Health checks have no record of
/// their own: they are told of with the container's health.
async fn running(client: &Client, container: &str) -> Result<Vec<ExecSummary>, Failure> {
    let found = client.container_inspect(container).await?.value;
    let mut execs = Vec::new();
    for id in found.exec_ids.unwrap_or_default() {
        match client.exec_inspect(&id).await {
            Ok(exec) if exec.value.running => execs.push(summary(exec.value)),
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(execs)
}

fn summary(exec: ExecInspect) -> ExecSummary {
    let ProcessConfig { entrypoint, arguments, user, .. } = exec.process_config;
    ExecSummary {
        id: exec.id,
        container_id: exec.container_id,
        pid: exec.pid,
        user,
        command: [&[entrypoint][..], &arguments].concat().join(" "),
        running: true,
        status: "Up".to_owned(),
        ..ExecSummary::default()
    }
}

async fn kill_all(cx: &Cx, execs: &[String], signal: &str) -> Outcome {
    super::each(cx, execs, |client, exec| {
        let signal = signal.to_owned();
        async move { client.exec_kill(&exec, &signal).await }
    })
    .await
}
