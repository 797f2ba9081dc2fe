//! `system reset`

use super::prune::confirmed;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

const WARNING: &str = "WARNING! This removes all containers, images, volumes and networks, and every file of this state root.\n";

/// Remove everything: containers, images, volumes, networks and their files
///
/// What cannot be read, such as a damaged database, is removed all the same.
#[derive(clap::Args, Debug)]
pub(super) struct SystemResetArgs {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

command!(SystemResetArgs, system_reset, ["system reset"], "[OPTIONS]", Arity::Exactly(0));

async fn system_reset(cx: &Cx, args: SystemResetArgs) -> Outcome {
    if !args.force && !confirmed(cx, WARNING)? {
        return Ok(ExitCode::FAILURE);
    }
    for warning in cx.client()?.reset().await?.warnings {
        cx.warning(&format!("removed without being read: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
