//! `context show`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Print the name of the context in use
#[derive(clap::Args, Debug)]
pub(super) struct ContextShowArgs {}

command!(ContextShowArgs, show, ["context show"], "", Arity::Exactly(0));

async fn show(cx: &Cx, _: ContextShowArgs) -> Outcome {
    cx.line(&cx.context)?;
    Ok(ExitCode::SUCCESS)
}
