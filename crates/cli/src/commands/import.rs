//! `import`

use super::load::open;
use super::pull::canvas;
use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::progress::draw;
use docker_api::query::ImportImage;
use docker_api::stream::Upload;
use std::process::ExitCode;

/// Make an image of the archive of a file system
#[derive(clap::Args, Debug)]
pub(super) struct ImportArgs {
    /// Apply a Dockerfile instruction to the image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Message of the image's history
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Platform of the image: os[/architecture[/variant]]
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    source: String,
    reference: Option<String>,
}

command!(
    ImportArgs,
    import,
    ["image import", "import"],
    "[OPTIONS] file|- [REPOSITORY[:TAG]]",
    Arity::Between(1, 2)
);

async fn import(cx: &Cx, args: ImportArgs) -> Outcome {
    if args.source.contains("://") {
        return Err(Failure::error(format!(
            "cannot import {}: URLs are not supported, pipe the archive to -",
            args.source
        )));
    }
    if let Some(reference) = &args.reference {
        // Refused before anything is read.
        reference.parse::<model::Reference>().map_err(|e| Failure::error(format!("{e}")))?;
    }
    let archive = match args.source.as_str() {
        "-" => Upload::blocking(std::io::stdin()),
        path => Upload::blocking(open(path)?),
    };
    let options = ImportImage {
        reference: args.reference,
        message: args.message,
        changes: args.change,
        platform: args.platform,
    };
    let mut stream = cx.client()?.image_import(&options, archive).await?;
    let canvas = canvas(cx::stdout_is_terminal());
    draw(&mut stream, canvas, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}
