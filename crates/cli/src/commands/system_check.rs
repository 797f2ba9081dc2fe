//! `system check`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// Remove what processes that were killed have left
#[derive(clap::Args, Debug)]
pub(super) struct SystemCheckArgs {
    /// Repair: without it there is nothing to do yet
    #[arg(long)]
    repair: bool,
}

command!(SystemCheckArgs, system_check, ["system check"], "--repair", Arity::Exactly(0));

async fn system_check(cx: &Cx, args: SystemCheckArgs) -> Outcome {
    if !args.repair {
        return Err(Failure::error("dhow system check needs --repair"));
    }
    cx.client()?.reconcile().await?;
    Ok(ExitCode::SUCCESS)
}
