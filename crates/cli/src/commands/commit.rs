//! `commit`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use docker_api::query::CommitContainer;
use std::process::ExitCode;

/// Make an image of a container
#[derive(clap::Args, Debug)]
pub(super) struct CommitArgs {
    /// Author of the image (such as "Ada Lovelace <ada@example.com>")
    #[arg(short, long, value_name = "string", default_value = "")]
    author: String,
    /// Apply a Dockerfile instruction to the image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Message of the image's history
    #[arg(short, long, value_name = "string", default_value = "")]
    message: String,
    /// Let the container run on meanwhile
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    no_pause: Option<bool>,
    /// Pause the container meanwhile
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", hide = true)]
    pause: Option<bool>,
    container: String,
    reference: Option<String>,
}

command!(
    CommitArgs,
    commit,
    ["container commit", "commit"],
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    Arity::Between(1, 2)
);

async fn commit(cx: &Cx, args: CommitArgs) -> Outcome {
    let pause = match (args.pause, args.no_pause) {
        (Some(_), Some(_)) => {
            return Err(Failure::error(
                "conflicting options: --no-pause and --pause cannot be used together",
            ));
        }
        (pause, no_pause) => pause.unwrap_or(true) && !no_pause.unwrap_or(false),
    };
    // An empty name is none, as in Docker.
    let typed = args.reference.as_ref().filter(|typed| !typed.is_empty());
    let reference = typed.map(|typed| named(typed)).transpose()?;
    let options = CommitContainer {
        container: args.container,
        reference,
        comment: args.message,
        author: args.author,
        changes: args.change,
        let_run: !pause,
    };
    cx.line(&cx.client()?.container_commit(&options).await?.id)?;
    Ok(ExitCode::SUCCESS)
}

/// A name in full, and its tag.
fn named(typed: &str) -> Result<(String, String), Failure> {
    let name = typed.parse::<model::Reference>().map_err(|e| Failure::error(e.to_string()))?;
    if name.digest().is_some() {
        return Err(Failure::error("refusing to create a tag with a digest reference"));
    }
    let tag = name.tag().unwrap_or("latest").to_owned();
    Ok((name.name(), tag))
}
