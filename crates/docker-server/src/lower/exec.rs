//! An additional process in a running container.

use docker_api::types::exec::ExecCreate;
use engine::view::{ExecSpec, Streams};

use super::process::{console_size, env, user, working_dir};
use super::{LowerError, filled, text};
use crate::quirks::ApiVersion;

/// An exec that cannot be described so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ExecError {
    #[error("No exec command specified")]
    NoCommand,
    #[error(transparent)]
    Lower(#[from] LowerError),
}

/// Lowers an exec.
pub(crate) fn exec(request: &ExecCreate, api: ApiVersion) -> Result<ExecSpec, ExecError> {
    let argv = request.cmd.clone().unwrap_or_default().0;
    if argv.first().is_none_or(String::is_empty) {
        return Err(ExecError::NoCommand);
    }
    for word in &argv {
        text::no_nul("Cmd", word).map_err(LowerError::from)?;
    }
    let asked = if api.has_console_size() { request.console_size } else { None };
    Ok(ExecSpec {
        argv,
        env: env(request.env.as_deref().unwrap_or_default())?,
        working_dir: working_dir(&request.working_dir)?,
        user: user(&request.user)?,
        privileged: request.privileged,
        terminal: request.tty,
        size: if request.tty { console_size(asked.unwrap_or_default())? } else { None },
        stdin: request.attach_stdin,
        streams: Streams { stdout: request.attach_stdout, stderr: request.attach_stderr },
        detach_keys: filled(Some(&request.detach_keys)).map(str::to_owned),
        ends_with_client: request.dhow.as_ref().is_some_and(|dhow| dhow.ends_with_client),
    })
}
