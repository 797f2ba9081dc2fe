//! `import`

use super::load::open;
use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::progress::draw;
use crate::pulling::canvas;
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
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    Arity::Between(1, 2)
);

async fn import(cx: &Cx, args: ImportArgs) -> Outcome {
    if let Some(reference) = &args.reference {
        // Refused before anything is read.
        reference.parse::<model::Reference>().map_err(|e| Failure::error(format!("{e}")))?;
    }
    let is_address = ["http://", "https://"].iter().any(|begin| args.source.starts_with(begin));
    let archive = match args.source.as_str() {
        _ if is_address => Upload::blocking(std::io::empty()),
        "-" => Upload::blocking(std::io::stdin()),
        path => Upload::blocking(open(path)?),
    };
    let options = ImportImage {
        source: is_address.then_some(args.source),
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
