//! The two ends of a copy on this machine: what a path means here.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::path;
use super::rules::{Destination, Source, There, behind_link};
use crate::error::{Failure, os_error};

/// How many symlinks in a row a destination may be.
const MAX_LINKS: usize = 10;

/// Whether `-L` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    Copy,
    Follow,
}

/// A path as an absolute one, with its end.
pub(super) fn absolute(typed: &str) -> Result<String, Failure> {
    let cwd = std::env::current_dir().map_err(|e| Failure::error(os_error(&e)))?;
    let whole = if typed.starts_with('/') {
        path::clean(typed)
    } else {
        path::join(&cwd.to_string_lossy(), typed)
    };
    Ok(path::with_end_of(whole, typed))
}

/// What is to be copied from here.
pub(super) fn source(typed: &str, links: Links) -> Result<Source, Failure> {
    let plain = path::clean(typed);
    let (resolved, called) = match links {
        Links::Follow => {
            let target = canonical(&plain)?;
            behind_link(typed, target)
        }
        Links::Copy => beside(typed)?,
    };
    let stat = fs::symlink_metadata(&resolved).map_err(named("lstat", &resolved))?;
    Ok(Source { path: resolved, is_dir: stat.is_dir(), called })
}

/// A path with its directory resolved, and not what it leads to itself, unless its end says so.
fn beside(typed: &str) -> Result<(String, Option<String>), Failure> {
    let (dir, base) = match typed.rfind('/') {
        Some(slash) => (&typed[..=slash], &typed[slash + 1..]),
        None => (".", typed),
    };
    let is_inside = path::ends_in_slash(typed) || path::ends_in_dot(typed);
    if is_inside && !fs::metadata(path::clean(dir)).map_or(true, |stat| stat.is_dir()) {
        return Err(Failure::error("not a directory"));
    }
    let dir = canonical(&path::clean(dir))?;
    let resolved = format!("{}/{base}", dir.trim_end_matches('/'));
    let called = path::base(typed);
    let is_other = path::ends_in_slash(typed) && called != path::base(&resolved);
    let called = is_other.then(|| called.to_owned());
    Ok((resolved, called))
}

fn canonical(plain: &str) -> Result<String, Failure> {
    // Go names what is missing: of a dangling symlink what it leads to.
    let missing = || {
        fs::read_link(plain).map_or_else(
            |_| plain.to_owned(),
            |target| path::join(&path::dir(plain), &target.to_string_lossy()),
        )
    };
    let resolved = fs::canonicalize(plain).map_err(|e| named("lstat", &missing())(e))?;
    Ok(resolved.to_string_lossy().into_owned())
}

/// Whether something can be copied to a path here, said before anything is asked for.
pub(super) fn check_output(typed: &str) -> Result<(), Failure> {
    let dir = path::dir(&path::clean(typed));
    if is_missing(&fs::metadata(&dir)) {
        return Err(Failure::error(format!(
            "invalid output path: directory {dir:?} does not exist"
        )));
    }
    match fs::metadata(typed) {
        Ok(stat) => {
            let kind = stat.file_type();
            if kind.is_block_device() || kind.is_char_device() {
                return Err(Failure::error(format!(
                    "invalid output path: {typed:?} must be a directory or a regular file: got a device"
                )));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named("stat", typed)(error)),
    }
}

/// Where something is copied to here: symlinks are followed, the last one may lead to nothing.
pub(super) fn destination(typed: &str) -> Result<Destination, Failure> {
    let mut at = typed.to_owned();
    for _ in 0..=MAX_LINKS {
        match fs::symlink_metadata(&at) {
            Ok(stat) if stat.is_symlink() => {
                let target = fs::read_link(&at).map_err(named("readlink", &at))?;
                at = super::rules::link_target(&at, &target.to_string_lossy());
            }
            Ok(stat) => {
                let there = if stat.is_dir() { There::Directory } else { There::Other };
                return Ok(Destination { path: at, there });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, _) = path::split(&at);
                let stat = fs::metadata(&parent).map_err(named("stat", &parent))?;
                if !stat.is_dir() {
                    return Err(Failure::error("not a directory"));
                }
                return Ok(Destination { path: at, there: There::Nothing });
            }
            Err(error) => return Err(named("lstat", &at)(error)),
        }
    }
    Err(Failure::error(format!("too many symlinks in {typed}")))
}

fn is_missing(found: &io::Result<Metadata>) -> bool {
    found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn named(op: &'static str, path: &str) -> impl FnOnce(io::Error) -> Failure {
    let path = Path::new(path).display().to_string();
    move |error| Failure::error(format!("{op} {path}: {}", os_error(&error)))
}
