//! `volume import`

use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::parse::env::{self, Label};
use docker_api::stream::Upload;
use std::process::ExitCode;

/// Make a volume of an archive
///
/// One that is there already must be empty.
#[derive(clap::Args, Debug)]
pub(super) struct VolumeImportArgs {
    /// Read this file instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    /// Set a label
    #[arg(long, value_name = "list")]
    label: Vec<Label>,
    /// Set an option of the driver
    #[arg(long, value_name = "map")]
    opt: Vec<String>,
    volume: String,
}

command!(VolumeImportArgs, import, ["volume import"], "[OPTIONS] VOLUME", Arity::Exactly(1));

async fn import(cx: &Cx, args: VolumeImportArgs) -> Outcome {
    let archive = match args.input.as_deref() {
        None | Some("" | "-") if cx::stdin_is_terminal() => {
            return Err(Failure::error(
                "the volume is read from stdin, which is a terminal; use -i",
            ));
        }
        None | Some("" | "-") => Upload::blocking(std::io::stdin()),
        Some(path) => Upload::blocking(super::load::open(path)?),
    };
    let labels = env::map(args.label.iter().map(|label| &label.0));
    let options = env::map(&args.opt);
    let client = cx.client()?;
    let volume = client.volume_import(&args.volume, (&labels, &options), archive).await?;
    cx.line(&volume.name)?;
    Ok(ExitCode::SUCCESS)
}
