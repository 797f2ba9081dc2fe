//! `network ls`

use super::ps::list_format;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::containers::Cut;
use crate::format::networks;
use crate::parse::filter::{Filter, collect};
use crate::table::Format;
use std::process::ExitCode;

/// List networks
#[derive(clap::Args, Debug)]
pub(super) struct NetworkLsArgs {
    /// Show only those that match
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not cut texts off
    #[arg(long)]
    no_trunc: bool,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
}

command!(NetworkLsArgs, ls, ["network ls", "network list"], "[OPTIONS]", Arity::Exactly(0));

async fn ls(cx: &Cx, args: NetworkLsArgs) -> Outcome {
    let text = list_format(cx, args.format.as_ref(), args.quiet, |config| &config.networks_format)?;
    let format = Format::parse(&text, networks::NAMED)?;
    let list = cx.client()?.network_list(&collect(&args.filter)).await?;
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    cx.print(&format.render(networks::list(list, cut))?)?;
    Ok(ExitCode::SUCCESS)
}
