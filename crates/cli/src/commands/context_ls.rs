//! `context ls`

use crate::argv::{Arity, Outcome, command};
use crate::config::contexts;
use crate::cx::Cx;
use crate::format;
use crate::table::Format;
use std::process::ExitCode;

/// List contexts: servers that have a name
#[derive(clap::Args, Debug)]
pub(super) struct ContextLsArgs {
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show only names
    #[arg(short, long)]
    quiet: bool,
}

command!(ContextLsArgs, ls, ["context ls", "context list"], "[OPTIONS]", Arity::Exactly(0));

async fn ls(cx: &Cx, args: ContextLsArgs) -> Outcome {
    let text = if args.quiet { "{{.Name}}".to_owned() } else { args.format.unwrap_or_default() };
    let format = Format::parse(&text, format::contexts::NAMED)?;
    let mut all = vec![super::context_inspect::default(cx)];
    all.extend(contexts::all(cx.config.directory()));
    cx.print(&format.render(format::contexts::list(&all, &cx.context))?)?;
    Ok(ExitCode::SUCCESS)
}
