//! `tag`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use model::Reference;
use std::process::ExitCode;

/// Give an image one more name
#[derive(clap::Args, Debug)]
pub(super) struct TagArgs {
    source: String,
    target: String,
}

command!(
    TagArgs,
    tag,
    ["image tag", "tag"],
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    Arity::Exactly(2)
);

async fn tag(cx: &Cx, args: TagArgs) -> Outcome {
    let invalid = |e: &dyn std::fmt::Display| {
        let target = crate::template::literal::quote(&args.target);
        Failure::error(format!(
            "Error parsing reference: {target} is not a valid repository/tag: {e}"
        ))
    };
    let target: Reference = args.target.parse().map_err(|e| invalid(&e))?;
    if target.digest().is_some() {
        return Err(Failure::error("refusing to create a tag with a digest reference"));
    }
    let target = target.with_default_tag();
    let tag = target.tag().unwrap_or_default();
    cx.client()?.image_tag(&args.source, &target.name(), tag).await?;
    Ok(ExitCode::SUCCESS)
}
