//! `system df`

use super::clock;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::usage;
use crate::table::Format;
use std::process::ExitCode;

/// Show what is taken on the disk
#[derive(clap::Args, Debug)]
pub(super) struct SystemDfArgs {
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
}

command!(SystemDfArgs, system_df, ["system df"], "[OPTIONS]", Arity::Exactly(0));

async fn system_df(cx: &Cx, args: SystemDfArgs) -> Outcome {
    let text = args.format.unwrap_or_default();
    let is_table = matches!(text.as_str(), "" | "table");
    let format = Format::parse(&text, usage::NAMED)?;
    let used = cx.client()?.disk_usage().await?;
    let shown = match args.verbose {
        false => format.render(usage::summary(&used))?,
        true if is_table => usage::sections(&used, &clock())?,
        true => format.render_value(&usage::everything(&used, &clock()))?,
    };
    cx.print(&shown)?;
    Ok(ExitCode::SUCCESS)
}
