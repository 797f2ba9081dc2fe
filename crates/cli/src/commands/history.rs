//! `history`

use super::clock;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::containers::Cut;
use crate::format::history::{self, Numbers};
use std::process::ExitCode;

/// Show how an image came to be
#[derive(clap::Args, Debug)]
pub(super) struct HistoryArgs {
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show sizes and times rounded
    #[arg(short = 'H', long, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
    human: std::primitive::bool,
    /// Do not cut texts off
    #[arg(long)]
    no_trunc: bool,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

command!(HistoryArgs, history, ["image history", "history"], "[OPTIONS] IMAGE", Arity::Exactly(1));

async fn history(cx: &Cx, args: HistoryArgs) -> Outcome {
    let numbers = if args.human { Numbers::Human } else { Numbers::Plain };
    let text = match &args.format {
        _ if args.quiet => "{{.ID}}",
        Some(format) => format,
        None => "",
    };
    let format = history::format(text, numbers)?;
    let steps = cx.client()?.image_history(&args.image).await?;
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    cx.print(&format.render(history::list(&steps, cut, numbers, &clock()))?)?;
    Ok(ExitCode::SUCCESS)
}
