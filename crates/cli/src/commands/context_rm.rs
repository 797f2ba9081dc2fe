//! `context rm`

use super::context_create::directory;
use crate::argv::{Arity, Outcome, command};
use crate::config::contexts::{self, keep};
use crate::cx::Cx;
use std::path::Path;
use std::process::ExitCode;

/// Remove contexts
#[derive(clap::Args, Debug)]
pub(super) struct ContextRmArgs {
    /// Also one that is in use, and no error for one that is not there
    #[arg(short, long)]
    force: bool,
    contexts: Vec<String>,
}

command!(
    ContextRmArgs,
    rm,
    ["context rm", "context remove"],
    "CONTEXT [CONTEXT...]",
    Arity::AtLeast(1)
);

async fn rm(cx: &Cx, args: ContextRmArgs) -> Outcome {
    let directory = directory(cx)?;
    let mut failed = false;
    for name in &args.contexts {
        match remove(cx, directory, name, args.force) {
            Ok(()) => cx.line(name)?,
            Err(why) => {
                cx.warn(&why);
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn remove(cx: &Cx, directory: &Path, name: &str, force: bool) -> Result<(), String> {
    if name == contexts::DEFAULT {
        return Err(format!("context {name:?} cannot be removed"));
    }
    if name == cx.context && !force {
        return Err(format!("context {name:?} is in use, set -f flag to force remove"));
    }
    if !force && !keep::exists(directory, name) {
        return Err(format!("context {name:?} does not exist"));
    }
    if cx.config.preferences().current_context == name {
        let unset = cx.config.set("currentContext", "");
        unset.map_err(|failure| failure.message.unwrap_or_default())?;
    }
    keep::remove(directory, name)
}
