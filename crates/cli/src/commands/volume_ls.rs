//! `volume ls`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::volumes;
use crate::parse::filter::{Filter, collect};
use crate::table::Format;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// List volumes
#[derive(clap::Args, Debug)]
pub(super) struct VolumeLsArgs {
    /// Show only those that match
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show only names
    #[arg(short, long)]
    quiet: bool,
    /// Count what they take on the disk
    #[arg(short, long)]
    size: bool,
}

command!(VolumeLsArgs, ls, ["volume ls", "volume list"], "[OPTIONS]", Arity::Exactly(0));

async fn ls(cx: &Cx, args: VolumeLsArgs) -> Outcome {
    let text = match args.format {
        Some(format) => format,
        None if args.quiet => "{{.Name}}".to_owned(),
        None => cx.config.preferences().volumes_format.clone(),
    };
    let named = if args.size { volumes::NAMED_WITH_SIZE } else { volumes::NAMED };
    let format = Format::parse(&text, named)?;
    let client = cx.client()?;
    let mut answer = client.volume_list(&collect(&args.filter)).await?;
    for warning in answer.warnings.iter().flatten() {
        cx.warning(warning);
    }
    if args.size && !answer.volumes.is_empty() {
        let counted = client.volumes_usage().await?.volumes.unwrap_or_default();
        let counted = counted.into_iter().map(|volume| (volume.name, volume.usage_data));
        let mut counted: BTreeMap<_, _> = counted.collect();
        for volume in &mut answer.volumes {
            volume.usage_data = counted.remove(&volume.name).flatten();
        }
    }
    cx.print(&format.render(volumes::list(answer.volumes))?)?;
    Ok(ExitCode::SUCCESS)
}
