//! `context import`

use super::context_create::{check_free, directory};
use crate::argv::{Arity, Outcome, command};
use crate::config::contexts::keep::Kept;
use crate::cx::Cx;
use crate::error::{Failure, os_error};
use std::io::Read as _;
use std::process::ExitCode;

/// Import a context from an archive, or from the standard input by -
#[derive(clap::Args, Debug)]
pub(super) struct ContextImportArgs {
    context: String,
    file: String,
}

command!(ContextImportArgs, import, ["context import"], "CONTEXT FILE|-", Arity::Exactly(2));

/// How a zip begins, in which Docker takes contexts as well.
const ZIP: &[u8] = b"PK\x03\x04";

async fn import(cx: &Cx, args: ContextImportArgs) -> Outcome {
    let (directory, name) = (directory(cx)?, &args.context);
    check_free(directory, name)?;
    let file = &args.file;
    let failed = |e: std::io::Error| Failure::error(format!("open {file}: {}", os_error(&e)));
    let mut archive: Box<dyn std::io::Read> = match file.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut first = Vec::new();
    archive.by_ref().take(ZIP.len() as u64).read_to_end(&mut first).map_err(failed)?;
    if first == ZIP {
        let text = format!("{file}: zip archives are not supported: export the context as a tar");
        return Err(Failure::error(text));
    }
    let mut kept =
        Kept::unpack(std::io::Cursor::new(first).chain(archive)).map_err(Failure::error)?;
    kept.write(directory, name).map_err(Failure::error)?;
    cx.line(name)?;
    cx.warn(&format!("Successfully imported context {name:?}"));
    Ok(ExitCode::SUCCESS)
}
