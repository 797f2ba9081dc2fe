//! `push`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::pulling::{ContentTrust, Show, push_image};
use model::Reference;
use std::process::ExitCode;

/// Push an image to a registry
#[derive(clap::Args, Debug)]
pub(super) struct PushArgs {
    /// Push all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    trust: ContentTrust,
    /// Push the image for this platform: os[/architecture[/variant]]
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Show only the name of the image
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

command!(PushArgs, push, ["image push", "push"], "[OPTIONS] NAME[:TAG]", Arity::Exactly(1));

async fn push(cx: &Cx, args: PushArgs) -> Outcome {
    args.trust.check().map_err(Failure::error)?;
    let mut image: Reference = args.image.parse().map_err(|e| Failure::error(format!("{e}")))?;
    if args.all_tags && (image.tag().is_some() || image.digest().is_some()) {
        return Err(Failure::error("tag can't be used with --all-tags/-a"));
    }
    if !args.all_tags {
        if image.tag().is_none() && image.digest().is_none() && !args.quiet {
            cx.line("Using default tag: latest")?;
        }
        image = image.with_default_tag();
    }
    let show = if args.quiet { Show::Nothing } else { Show::Stdout };
    push_image(cx, &image, args.platform.as_deref(), show).await?;
    if args.quiet {
        cx.line(&image.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
