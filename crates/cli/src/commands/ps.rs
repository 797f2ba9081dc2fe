//! `ps`

use super::clock;
use crate::argv::{Arity, Outcome, command};
use crate::config;
use crate::cx::Cx;
use crate::format::containers::{self, Cut};
use crate::parse::filter::{Filter, collect};
use crate::parse::number::Int;
use crate::table::Format;
use docker_api::query::ListContainers;
use std::process::ExitCode;

/// List containers
#[derive(clap::Args, Debug)]
pub(super) struct PsArgs {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Show only those that match
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show the last so many containers, in whatever state
    #[arg(short = 'n', long, value_name = "int", default_value = "-1")]
    last: Int,
    /// Show the last container, in whatever state
    #[arg(short, long)]
    latest: bool,
    /// Do not cut texts off
    #[arg(long)]
    no_trunc: bool,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
    /// Show sizes
    #[arg(short, long)]
    size: bool,
}

command!(
    PsArgs,
    ps,
    ["container ls", "container list", "container ps", "ps"],
    "[OPTIONS]",
    Arity::Exactly(0)
);

async fn ps(cx: &Cx, args: PsArgs) -> Outcome {
    let text = list_format(cx, args.format.as_ref(), args.quiet, |config| &config.ps_format)?;
    let named = if args.size { containers::NAMED_SIZE } else { containers::NAMED };
    let format = Format::parse(&text, named)?;
    let last = if args.latest && args.last.0 == -1 { 1 } else { args.last.0 };
    let query = ListContainers {
        ranges: true,
        all: args.all,
        limit: u32::try_from(last).ok().filter(|count| *count > 0),
        // Sizes are counted file by file, so only when somebody looks at them.
        size: args.size
            || (!matches!(text.as_str(), "json" | "{{json .}}") && format.wants("Size")),
        filters: collect(&args.filter),
    };
    let list = cx.client()?.container_list(&query).await?;
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    let rendered = format.render(containers::list(&list, cut, &format, &clock()))?;
    cx.print(&rendered)?;
    Ok(ExitCode::SUCCESS)
}

/// The format of a list: ids alone, what the flag says, what the user's configuration says.
pub(super) fn list_format(
    cx: &Cx,
    flag: Option<&String>,
    quiet: bool,
    configured: impl Fn(&config::Config) -> &String,
) -> Result<String, crate::error::Failure> {
    if quiet {
        if flag.is_some_and(|format| !format.is_empty()) {
            cx.warning("Ignoring custom format, because both --format and --quiet are set.");
        }
        return Ok("{{.ID}}".to_owned());
    }
    match flag {
        Some(format) if !format.is_empty() => Ok(format.clone()),
        Some(_) | None => Ok(configured(cx.config.preferences()).clone()),
    }
}
