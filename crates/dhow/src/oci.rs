//! The OCI runtime's role: `dhow oci`, or this program called `runc`.
//!
//! A program of ours that enters a container may be looked at, and executed again, by it
//! (CVE-2019-5736). So this process becomes its own sealed image first.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use sys::process::ExecStrings;

/// The word behind `dhow`.
pub(crate) const ROLE: &str = "oci";

/// The same, of a process that is a sealed image already.
pub(crate) const SEALED: &str = "oci-sealed";

/// Goes on as a sealed image, with arguments that begin with the name of the runtime. Returns only if that
/// failed.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let image = match sys::exe::sealed() {
        Ok(image) => image,
        Err(error) => {
            crate::complain(&format!("dhow: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let text = |word: &OsString| CString::new(word.as_bytes()).unwrap_or_default();
    let words = [c"dhow".to_owned(), CString::new(SEALED).unwrap_or_default()];
    let argv = ExecStrings::new(words.into_iter().chain(arguments.iter().map(text)).collect());
    let pairs = std::env::vars_os().map(|(name, value)| {
        let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(pair).unwrap_or_default()
    });
    let errno = sys::process::execve_fd(&image, &argv, &ExecStrings::new(pairs.collect()));
    crate::complain(&format!("dhow: execute the sealed image: {errno}"));
    ExitCode::FAILURE
}
