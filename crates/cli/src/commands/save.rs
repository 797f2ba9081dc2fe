//! `save`, and how archives are written.

use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::{Failure, os_error};
use docker_api::stream::ByteStream;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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
    /// The file while it is written, and its name when it is done.
    File(Partial, PathBuf),
    /// A pipe or a device that is there already.
    Special(File),
}

/// A file that is not whole yet, under a name of its own: it goes with this, unless it was renamed.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn rename(self, name: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.path, name)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone if it has its name by now. Otherwise the first error is the one to tell of.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Who may read a file that is made, as far as the user's mask lets them.
#[derive(Debug, Clone, Copy)]
enum Readers {
    All = 0o666,
    Owner = 0o600,
}

impl Target {
    /// Terminals are refused: an archive is nothing to look at.
    pub(super) fn open(output: Option<&str>) -> Result<Self, Failure> {
        Self::open_for(output, Readers::All)
    }

    /// As [`Target::open`], of a file that nobody else is to read.
    pub(super) fn open_private(output: Option<&str>) -> Result<Self, Failure> {
        Self::open_for(output, Readers::Owner)
    }

    fn open_for(output: Option<&str>, readers: Readers) -> Result<Self, Failure> {
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
        let partial = create_partial(path, readers).map_err(failed)?;
        Ok(Self::File(partial, path.to_owned()))
    }

    /// Copies the archive; what is not whole is taken away again.
    pub(super) async fn write(self, stream: ByteStream) -> Result<(), Failure> {
        match self {
            Self::Stdout => copy(stream, &mut std::io::stdout()).await,
            Self::Special(mut file) => copy(stream, &mut file).await,
            Self::File(mut partial, path) => {
                copy(stream, &mut partial.file).await?;
                Ok(partial.rename(&path)?)
            }
        }
    }
}

/// A new file beside this one. Where others write too, something may have its name: that is never written
/// to, and no link is followed.
fn create_partial(path: &Path, readers: Readers) -> std::io::Result<Partial> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut options = File::options();
    options.write(true).create_new(true).mode(readers as u32);
    let mut attempt = 0_u8;
    loop {
        let partial = path.with_file_name(format!(".{name}.{}-{attempt}", std::process::id()));
        match options.open(&partial) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < u8::MAX =>
            {
                attempt += 1;
            }
            opened => return Ok(Partial { file: opened?, path: partial }),
        }
    }
}

async fn copy(mut stream: ByteStream, out: &mut impl Write) -> Result<(), Failure> {
    while let Some(bytes) = stream.next().await? {
        out.write_all(&bytes)?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn what_is_private_is_a_new_file_of_its_own_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("a.tar"));
        std::fs::write(&victim, "mine").unwrap();
        let planted = dir.path().join(format!(".a.tar.{}-0", std::process::id()));
        symlink(&victim, &planted).unwrap();
        let partial = create_partial(&path, Readers::Owner).unwrap();
        assert_eq!(partial.file.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_ne!(partial.path, planted);
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }
}
