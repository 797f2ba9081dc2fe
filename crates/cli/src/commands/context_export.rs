//! `context export`

use super::context_create::{copied, directory};
use crate::argv::{Arity, Outcome, command};
use crate::config::contexts::{self, keep};
use crate::cx::{self, Cx};
use crate::error::{Failure, os_error};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;

/// Export a context to an archive, NAME.dockercontext or - for the standard output
#[derive(clap::Args, Debug)]
pub(super) struct ContextExportArgs {
    context: String,
    file: Option<String>,
}

command!(ContextExportArgs, export, ["context export"], "CONTEXT [FILE|-]", Arity::Between(1, 2));

async fn export(cx: &Cx, args: ContextExportArgs) -> Outcome {
    let name = args.context.as_str();
    // The one without a file can be carried away as well (Docker).
    if name != contexts::DEFAULT {
        keep::check_name(name).map_err(Failure::error)?;
    }
    let mut kept = copied(cx, directory(cx)?, name)?;
    kept.call(name);
    let file = args.file.unwrap_or_else(|| format!("{}.dockercontext", args.context));
    if file == "-" {
        if cx::stdout_is_terminal() {
            let text = "cowardly refusing to export to a terminal, specify a file path";
            return Err(Failure::error(text));
        }
        kept.pack(std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let failed = |e: std::io::Error| Failure::error(format!("open {file}: {}", os_error(&e)));
    let mut options = std::fs::OpenOptions::new();
    // Keys are in it.
    let made = options.write(true).create_new(true).mode(0o600).open(&file).map_err(failed)?;
    kept.pack(made).map_err(|e| Failure::error(format!("write {file}: {}", os_error(&e))))?;
    cx.warn(&format!("Written file {file:?}"));
    Ok(ExitCode::SUCCESS)
}
