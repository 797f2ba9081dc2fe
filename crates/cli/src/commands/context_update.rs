//! `context update`

use super::context_create::{directory, server};
use crate::argv::{Arity, Outcome, command};
use crate::config::contexts::keep::{self, Kept};
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// Change a context
#[derive(clap::Args, Debug)]
pub(super) struct ContextUpdateArgs {
    /// What is told about it
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// The server: host=URL, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=BOOL, or from=CONTEXT, by commas
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    context: String,
}

command!(ContextUpdateArgs, update, ["context update"], "[OPTIONS] CONTEXT", Arity::Exactly(1));

async fn update(cx: &Cx, args: ContextUpdateArgs) -> Outcome {
    let directory = directory(cx)?;
    let name = &args.context;
    keep::check_name(name).map_err(Failure::error)?;
    let mut kept = Kept::read(directory, name).map_err(Failure::error)?;
    if let Some(description) = args.description.as_deref().filter(|text| !text.is_empty()) {
        kept.describe(description);
    }
    if !args.docker.is_empty() {
        kept.set_docker(server(cx, directory, &args.docker)?);
    }
    kept.write(directory, name).map_err(Failure::error)?;
    cx.line(name)?;
    cx.warn(&format!("Successfully updated context {name:?}"));
    Ok(ExitCode::SUCCESS)
}
