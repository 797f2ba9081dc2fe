//! `rmi`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use docker_api::client::images::RemoveImage;
use docker_api::types::images::DeleteItem;
use std::process::ExitCode;

/// Remove images
#[derive(clap::Args, Debug)]
pub(super) struct RmiArgs {
    /// Also if a stopped container uses it or it has several names
    #[arg(short, long)]
    force: bool,
    /// Keep parents without a name
    #[arg(long)]
    no_prune: bool,
    images: Vec<String>,
}

command!(
    RmiArgs,
    rmi,
    ["image rm", "image remove", "rmi"],
    "[OPTIONS] IMAGE [IMAGE...]",
    Arity::AtLeast(1)
);

/// One after the other: each can change what the next one finds.
async fn rmi(cx: &Cx, args: RmiArgs) -> Outcome {
    let client = cx.client()?;
    let options = RemoveImage { force: args.force, no_prune: args.no_prune };
    let mut errors = Vec::new();
    let mut fatal = false;
    for image in &args.images {
        match client.image_remove(image, options).await {
            Ok(items) => cx.print(&items.iter().map(line).collect::<String>())?,
            Err(e) => {
                fatal |= !e.is_not_found();
                errors.push(api_message(&e));
            }
        }
    }
    if errors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let text = errors.join("\n");
    if args.force && !fatal {
        cx.warn(&text);
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::error(text))
}

fn line(item: &DeleteItem) -> String {
    if item.deleted.is_empty() {
        format!("Untagged: {}\n", item.untagged)
    } else {
        format!("Deleted: {}\n", item.deleted)
    }
}
