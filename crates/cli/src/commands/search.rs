//! `search`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::containers::Cut;
use crate::format::search;
use crate::parse::filter::{Filter, collect};
use crate::pulling::credentials_for;
use crate::table::Format;
use model::reference::{DEFAULT_DOMAIN, search_term};
use std::process::ExitCode;

/// Search Docker Hub for images
#[derive(clap::Args, Debug)]
pub(super) struct SearchArgs {
    /// Show only those that match
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show so many results at most
    #[arg(long, value_name = "int")]
    limit: Option<u32>,
    /// Do not cut texts off
    #[arg(long)]
    no_trunc: bool,
    term: String,
}

command!(SearchArgs, search, ["search"], "[OPTIONS] TERM", Arity::Exactly(1));

async fn search(cx: &Cx, args: SearchArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref().unwrap_or_default(), search::NAMED)?;
    // As the server takes the term apart: nobody else's credentials go to the registry that it names.
    let domain = search_term(&args.term).0.unwrap_or(DEFAULT_DOMAIN);
    let auth = credentials_for(cx, domain).await?;
    let filters = collect(&args.filter);
    let found = cx.client()?.image_search(&args.term, args.limit, &filters, auth.as_ref()).await?;
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    cx.print(&format.render(search::list(found, cut))?)?;
    Ok(ExitCode::SUCCESS)
}
