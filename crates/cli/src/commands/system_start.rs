//! `system start`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// Start the containers that should run
///
/// After a reboot: those with a restart policy, as Docker's daemon starts them.
#[derive(clap::Args, Debug)]
pub(super) struct SystemStartArgs {}

command!(SystemStartArgs, system_start, ["system start"], "", Arity::Exactly(0));

async fn system_start(cx: &Cx, _args: SystemStartArgs) -> Outcome {
    let done = cx.client()?.start_wished().await?;
    for name in &done.started {
        cx.line(name)?;
    }
    if done.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let lines: Vec<String> =
        done.failed.iter().map(|failed| format!("{}: {}", failed.name, failed.error)).collect();
    Err(Failure::error(lines.join("\n")))
}
