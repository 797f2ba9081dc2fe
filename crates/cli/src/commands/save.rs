//! `save`, and how archives are written.

use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::{Failure, os_error};
use docker_api::stream::ByteStream;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Save images to an archive
#[derive(clap::Args, Debug)]
pub(super) struct SaveArgs {
    /// Write to this file instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    /// Save only this platform: os[/architecture[/variant]]
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    images: Vec<String>,
}

command!(SaveArgs, save, ["image save", "save"], "[OPTIONS] IMAGE [IMAGE...]", Arity::AtLeast(1));

async fn save(cx: &Cx, args: SaveArgs) -> Outcome {
    let target = Target::open(args.output.as_deref())?;
    let names: Vec<&str> = args.images.iter().map(String::as_str).collect();
    let stream = cx.client()?.image_save(&names, args.platform.as_deref()).await?;
    target.write(stream).await?;
    Ok(ExitCode::SUCCESS)
}

/// Where an archive goes. A file appears under its name only when it is whole.
pub(super) enum Target {
    Stdout,
    /// The file while it is written, its name then, and its name when it is done.
    File(File, PathBuf, PathBuf),
    /// A pipe or a device that is there already.
    Special(File),
}

impl Target {
    /// Terminals are refused: an archive is nothing to look at.
    pub(super) fn open(output: Option<&str>) -> Result<Self, Failure> {
        let path = match output {
            None | Some("" | "-") if cx::stdout_is_terminal() => {
                return Err(Failure::error(
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ));
            }
            None | Some("" | "-") => return Ok(Self::Stdout),
            Some(path) => Path::new(path),
        };
        let failed = |e: std::io::Error| {
            Failure::error(format!("failed to save to {}: {}", path.display(), os_error(&e)))
        };
        match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                return Err(Failure::error(format!(
                    "failed to save to {}: is a directory",
                    path.display()
                )));
            }
            Ok(there) if !there.is_file() => {
                let special = File::options().write(true).open(path).map_err(failed)?;
                return Ok(Self::Special(special));
            }
            Ok(_) | Err(_) => {}
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let file = File::create(&partial).map_err(failed)?;
        Ok(Self::File(file, partial, path.to_owned()))
    }

    /// As [`Target::open`], of a file that nobody else is to read. It is empty so far.
    pub(super) fn open_private(output: Option<&str>) -> Result<Self, Failure> {
        let target = Self::open(output)?;
        if let Self::File(file, ..) = &target {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(target)
    }

    /// Nothing comes.
    pub(super) fn give_up(self) {
        if let Self::File(_, partial, _) = self {
            let _ = std::fs::remove_file(partial);
        }
    }

    /// Copies the archive; what is not whole is taken away again.
    pub(super) async fn write(self, stream: ByteStream) -> Result<(), Failure> {
        match self {
            Self::Stdout => copy(stream, &mut std::io::stdout()).await,
            Self::Special(mut file) => copy(stream, &mut file).await,
            Self::File(mut file, partial, path) => {
                let done = copy(stream, &mut file)
                    .await
                    .and_then(|()| std::fs::rename(&partial, &path).map_err(Failure::from));
                if done.is_err() {
                    // The first error is the one to tell of.
                    let _ = std::fs::remove_file(&partial);
                }
                done
            }
        }
    }
}

async fn copy(mut stream: ByteStream, out: &mut impl Write) -> Result<(), Failure> {
    while let Some(bytes) = stream.next().await? {
        out.write_all(&bytes)?;
    }
    Ok(out.flush()?)
}
