//! `context use`

use crate::argv::{Arity, Outcome, command};
use crate::config::contexts;
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// Use a context from now on
#[derive(clap::Args, Debug)]
pub(super) struct ContextUseArgs {
    context: String,
}

command!(ContextUseArgs, use_context, ["context use"], "CONTEXT", Arity::Exactly(1));

async fn use_context(cx: &Cx, args: ContextUseArgs) -> Outcome {
    let name = args.context;
    if name != contexts::DEFAULT {
        contexts::find(cx.config.directory(), &name).map_err(Failure::error)?;
    }
    let written = if name == contexts::DEFAULT { "" } else { &name };
    cx.config.set("currentContext", written)?;
    cx.line(&name)?;
    cx.warn(&format!("Current context is now {name:?}"));
    if cx.host.is_some() && name != contexts::DEFAULT {
        cx.warning(&format!(
            "DOCKER_HOST environment variable overrides the active context. To use {name:?}, either set the global --context flag, or unset DOCKER_HOST environment variable."
        ));
    }
    Ok(ExitCode::SUCCESS)
}
