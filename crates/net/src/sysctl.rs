//! Network sysctls of the calling thread's network namespace.
//!
//! Owns reading and writing under `/proc/sys/net`; which value is right is decided by the callers.

use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/sys/net";

/// Why a sysctl could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// Not readable.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not writable.
    #[error("write {value} to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// Why.
        source: io::Error,
    },
}

/// The value; `None` if this kernel does not have it.
pub(crate) fn read(key: &str) -> Result<Option<String>, SysctlError> {
    let path = Path::new(ROOT).join(key);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError::Read { path, source }),
    }
}

/// Sets the value.
pub(crate) fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    let path = Path::new(ROOT).join(key);
    let failed = |path, source| SysctlError::Write { path, value: value.to_owned(), source };
    std::fs::write(&path, value).map_err(|source| failed(path, source))
}

/// Sets the value where the kernel has it.
pub(crate) fn write_if_known(key: &str, value: &'static str) -> Result<(), SysctlError> {
    match write(key, value) {
        Err(SysctlError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// Sets the value where the kernel has it, unless it has it already: for one whose writing waits, spinning, for
/// whoever changes links at this moment anywhere on the host.
pub(crate) fn change_if_known(key: &str, value: &'static str) -> Result<(), SysctlError> {
    match read(key)? {
        Some(current) if current != value => write(key, value),
        Some(_) | None => Ok(()),
    }
}

/// The names of what has settings of its own under `directory`: links, `all`, `default`.
pub(crate) fn entries(directory: &str) -> Result<Vec<String>, SysctlError> {
    let path = Path::new(ROOT).join(directory);
    let failed = |source| SysctlError::Read { path: path.clone(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
