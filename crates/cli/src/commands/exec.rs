//! `exec`

use super::attach::DETACHED;
use super::exec_list;
use crate::argv::{Arity, Flags, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::{Failure, api_message, os_error};
use crate::human;
use crate::parse::env::{self, Bare, Variable};
use crate::session::signals::Proxy;
use crate::session::stay::{exit_code, session_keys, told};
use crate::session::{Ended, Process, Session, Setup, terminal};
use crate::starting::start_code;
use docker_api::types::exec::{ExecCreate, ExecInspect, ExecStart, Extension, StartExtension};
use docker_api::{ApiError, Client};
use model::detach::DetachKeys;
use std::process::ExitCode;

/// Run a command in a running container
#[derive(clap::Args, Debug)]
pub(super) struct ExecArgs {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that detach from the command
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set a variable, or pass ours on
    #[arg(short, long, value_name = "list")]
    env: Vec<Variable>,
    /// Set the variables that a file lists
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Let the command go on if this client ends before it
    #[arg(long)]
    keep: bool,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give the command all privileges
    #[arg(long)]
    privileged: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    tty: bool,
    /// Name or id of the user, and of the group: user[:group]
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    container: String,
    command: Vec<String>,
}

command!(
    ExecArgs,
    exec,
    ["container exec", "exec"],
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    Arity::AtLeast(2),
    Flags::First
);

async fn exec(cx: &Cx, args: ExecArgs) -> Outcome {
    let keys = session_keys(cx, args.detach_keys.as_deref())?;
    if args.tty && args.interactive && !args.detach && !cx::stdin_is_terminal() {
        return Err(Failure::error("the input device is not a TTY"));
    }
    if let Some(outcome) = exec_list::instead(cx, &args.container, &args.command).await? {
        return Ok(outcome);
    }
    let size = if args.tty { terminal::console_size() } else { None };
    let request = args.request(size, &keys)?;
    let client = cx.client()?;
    let id = client.exec_create(&args.container, &request).await?;
    let start = ExecStart {
        detach: args.detach,
        tty: args.tty,
        console_size: size,
        dhow: Some(StartExtension { refuse: true }),
    };
    if args.detach {
        client.exec_start_detached(&id, &start).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let setup = Setup { stdin: args.interactive, tty: args.tty, proxy: Proxy::Never, keys };
    let mut session = Session::open(setup)?;
    let attached = client.exec_start(&id, &start).await.map_err(|e| {
        session.restore();
        not_run(&e)
    })?;
    let ended = session.run(client, &Process::Exec(id.clone()), attached).await?;
    session.restore();
    if ended == Ended::Detached {
        return Err(Failure::error(DETACHED));
    }
    let state = client.exec_inspect(&id).await?.value;
    if state.oom_killed {
        cx.warn(&out_of_memory(client, &state).await);
    }
    Ok(exit_code(state.exit_code.unwrap_or(0)))
}

/// What to say of a command that the kernel has killed.
async fn out_of_memory(client: &Client, exec: &ExecInspect) -> String {
    let id = exec.id.get(..12).unwrap_or(&exec.id);
    // It may have been removed meanwhile.
    let container = client.container_inspect(&exec.container_id).await.ok();
    let limit = container.map(|found| found.value.host_config.memory).filter(|limit| *limit > 0);
    let limit = limit.map(|limit| format!(", limit {}", human::binary_size(human::float(limit))));
    format!("dhow: exec {id} was killed: out of memory{}", limit.unwrap_or_default())
}

/// A command that is not there has a code of its own, as in a shell.
fn not_run(error: &ApiError) -> Failure {
    let message = api_message(error);
    let code = match start_code(&message) {
        125 => 1,
        code => code,
    };
    Failure::new(code, message)
}

impl ExecArgs {
    fn request(&self, size: Option<[u64; 2]>, keys: &DetachKeys) -> Result<ExecCreate, Failure> {
        let lookup = |name: &str| std::env::var(name).ok();
        let mut variables = Vec::new();
        for path in &self.env_file {
            let text = std::fs::read(path)
                .map_err(|e| Failure::error(format!("open {path}: {}", os_error(&e))))?;
            let read = env::file(path, &text, Bare::Lookup(&lookup)).map_err(Failure::error)?;
            variables.extend(read);
        }
        variables.extend(self.env.iter().map(|v| env::inherit(&v.0, &lookup)));
        Ok(ExecCreate {
            user: self.user.clone().unwrap_or_default(),
            privileged: self.privileged,
            tty: self.tty,
            console_size: size,
            attach_stdin: self.interactive && !self.detach,
            attach_stdout: !self.detach,
            attach_stderr: !self.detach,
            detach: self.detach,
            detach_keys: told(keys).unwrap_or_default(),
            env: (!variables.is_empty()).then_some(variables),
            working_dir: self.workdir.clone().unwrap_or_default(),
            cmd: Some(self.command.clone().into()),
            // A field that Docker's daemon does not know, and ignores.
            dhow: (!self.keep).then_some(Extension { ends_with_client: true }),
        })
    }
}
