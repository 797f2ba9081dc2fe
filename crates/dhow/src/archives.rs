//! Archives for the command line: it knows what is copied where, the store knows archives.

use std::error::Error;
use std::ffi::CString;
use std::io::{BufReader, Read, Write};

use cli::{Archives, LocalPart, LocalTarget, Renaming};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use store::layer::{
    self, ApplyError, ApplyOptions, Clash, KernelFiles, MergeOptions, Owners, PackOptions, Part,
    Refusal, Rename, UnpackError,
};
use sys::root::Root;

/// All of them.
pub(crate) const ARCHIVES: Archives = Archives { pack, unpack, rename };

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

fn pack(part: &LocalPart, out: &mut (dyn Write + Send)) -> Result<(), String> {
    let dir = Root::open(&part.dir).map_err(told)?;
    let options = PackOptions { kernel: KernelFiles::Shallow, ..PackOptions::default() };
    let called = part.called.as_bytes();
    if matches!(part.base.as_str(), "." | "/") {
        return packed(Part::Directory(&dir), called, out, &options);
    }
    let base = CString::new(part.base.as_str()).map_err(told)?;
    let stat = rustix::fs::statat(&dir, &base, AtFlags::SYMLINK_NOFOLLOW).map_err(told)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return packed(Part::Entry(&dir, &base), called, out, &options);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let tree = rustix::fs::openat(&dir, &base, flags, Mode::empty()).map_err(told)?;
    packed(Part::Directory(&Root::from_fd(tree)), called, out, &options)
}

fn packed(
    part: Part<'_>,
    called: &[u8],
    out: &mut (dyn Write + Send),
    options: &PackOptions,
) -> Result<(), String> {
    layer::pack_part(part, called, out, options).map(drop).map_err(told)
}

/// As Docker does it, what is copied belongs to whoever copies.
fn unpack(archive: &mut (dyn Read + Send), target: &LocalTarget) -> Result<(), String> {
    let dir = Root::open(&target.dir).map_err(told)?;
    let options = MergeOptions {
        apply: ApplyOptions::default(),
        at: Vec::new(),
        // Without what may stand at its end.
        shown: target.dir.components().collect(),
        rename: Some(renaming(&target.renaming)),
        ids: None,
        owners: Owners::Ours,
        clash: Clash::Refuse,
    };
    match layer::merge(archive, &dir, &options) {
        Ok(_) => Ok(()),
        Err(UnpackError::Apply(ApplyError::Refused {
            refusal: refusal @ Refusal::Clash { .. },
            ..
        })) => Err(refusal.to_string()),
        Err(error) => Err(told(error)),
    }
}

fn rename(
    archive: &mut (dyn Read + Send),
    names: &Renaming,
    out: &mut (dyn Write + Send),
) -> Result<(), String> {
    let archive = BufReader::with_capacity(BUFFER, archive);
    layer::renamed(archive, out, &renaming(names)).map_err(told)
}

fn renaming(names: &Renaming) -> Rename {
    Rename { from: names.from.clone().into_bytes(), to: names.to.clone().into_bytes() }
}

/// An error with its causes.
fn told(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
