//! `images`

use super::clock;
use super::ps::list_format;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::format::containers::Cut;
use crate::format::image_tree;
use crate::format::images::{self, Digests};
use crate::parse::filter::{Filter, collect};
use crate::table::Format;
use docker_api::query::{Filters, ListImages};
use std::process::ExitCode;

/// List images
#[derive(clap::Args, Debug)]
pub(super) struct ImagesArgs {
    /// Show intermediate images as well
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
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
    /// Show what there is for each platform below its image
    #[arg(long)]
    tree: bool,
    reference: Option<String>,
}

command!(
    ImagesArgs,
    images,
    ["image ls", "image list", "images"],
    "[OPTIONS] [REPOSITORY[:TAG]]",
    Arity::AtMost(1)
);

async fn images(cx: &Cx, args: ImagesArgs) -> Outcome {
    if args.tree {
        return tree(cx, &args).await;
    }
    let text = match args.format.as_deref() {
        // Unlike other lists, this one takes every other format all the same.
        Some("raw") if args.quiet => "image_id: {{.ID}}".to_owned(),
        Some(format) if args.quiet && !matches!(format, "" | "table") => format.to_owned(),
        Some(_) | None if args.quiet => "{{.ID}}".to_owned(),
        _ => list_format(cx, args.format.as_ref(), false, |config| &config.images_format)?,
    };
    let digests = if args.digests { Digests::Shown } else { Digests::Hidden };
    let named = if args.digests { images::NAMED_DIGESTS } else { images::NAMED };
    let format = Format::parse(&text, named)?;
    let filters = filters(&args);
    let query = ListImages { all: args.all, filters, ..ListImages::default() };
    let list = cx.client()?.image_list(&query).await?;
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    let rendered = format.render(images::list(&list, (cut, digests), &format, &clock()))?;
    cx.print(&rendered)?;
    Ok(ExitCode::SUCCESS)
}

fn filters(args: &ImagesArgs) -> Filters {
    let mut filters = collect(&args.filter);
    if let Some(reference) = &args.reference {
        filters.add("reference", reference);
    }
    filters
}

async fn tree(cx: &Cx, args: &ImagesArgs) -> Outcome {
    let others = [
        (args.quiet, "--quiet"),
        (args.no_trunc, "--no-trunc"),
        (args.digests, "--show-digest"),
        (args.format.is_some(), "--format"),
    ];
    if let Some((_, flag)) = others.iter().find(|(given, _)| *given) {
        return Err(Failure::error(format!("{flag} is not yet supported with --tree")));
    }
    let query = ListImages {
        all: args.all,
        filters: filters(args),
        manifests: true,
        ..ListImages::default()
    };
    cx.print(&image_tree::tree(&cx.client()?.image_list(&query).await?))?;
    Ok(ExitCode::SUCCESS)
}
