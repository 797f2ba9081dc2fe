//! `load`

use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::{Failure, os_error};
use crate::progress::{Canvas, draw};
use crate::pulling::canvas;
use docker_api::stream::Upload;
use std::fs::File;
use std::process::ExitCode;

/// Load images from an archive
#[derive(clap::Args, Debug)]
pub(super) struct LoadArgs {
    /// Read this file instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    /// Load only this platform: os[/architecture[/variant]]
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
}

command!(LoadArgs, load, ["image load", "load"], "[OPTIONS]", Arity::Exactly(0));

async fn load(cx: &Cx, args: LoadArgs) -> Outcome {
    let archive = match args.input.as_deref() {
        None | Some("" | "-") if cx::stdin_is_terminal() => {
            return Err(Failure::error("requested load from stdin, but stdin is empty"));
        }
        None | Some("" | "-") => Upload::blocking(std::io::stdin()),
        Some(path) => Upload::blocking(open(path)?),
    };
    let mut stream = cx.client()?.image_load(archive, args.platform.as_deref()).await?;
    let canvas = if args.quiet { Canvas::Plain } else { canvas(cx::stdout_is_terminal()) };
    draw(&mut stream, canvas, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Opens an archive; a directory is none.
pub(super) fn open(path: &str) -> Result<File, Failure> {
    let failed = |e: std::io::Error| Failure::error(format!("open {path}: {}", os_error(&e)));
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::error(format!("{path} is a directory, not an archive")));
    }
    Ok(file)
}
