//! The OCI runtime's role: `dhow oci`, or this program called `runc`.
//!
//! A program of ours that enters a container may be looked at, and executed again, by it
//! (CVE-2019-5736). So a command that enters one becomes its own sealed image first. `sys::entry` has done so
//! already where it could; what comes here is left to do, or to tell why it cannot be done.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use runtime::oci::Image;
use sys::entry;
use sys::process::ExecStrings;

/// Carries a command out, whose arguments begin with the name of the runtime.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    sys::heap::ask_seldom();
    runtime::oci::main(arguments, Image::Installed(&|| seal(arguments)))
}

/// The same in the sealed image. Somebody else may have said the word that stands for it: that is not believed, and
/// not mended either, since what is not sealed after one try would not be after the next.
pub(crate) fn sealed(arguments: &[OsString]) -> ExitCode {
    match sys::exe::is_sealed() {
        Ok(true) => {}
        Ok(false) => return refuse("oci-sealed: this is no sealed image of dhow: call `dhow oci`"),
        Err(errno) => return refuse(&format!("look at /proc/self/exe: {errno}")),
    }
    sys::heap::ask_seldom();
    runtime::oci::main(arguments, Image::Sealed)
}

#[expect(clippy::print_stderr, reason = "there is no command yet that could say it in its way")]
fn refuse(why: &str) -> ExitCode {
    eprintln!("dhow: {why}");
    ExitCode::FAILURE
}

/// Goes on as a sealed image, from the beginning. Returns only if that failed, with why.
fn seal(arguments: &[OsString]) -> String {
    let image = match sys::exe::sealed() {
        Ok(image) => image,
        Err(error) => return error.to_string(),
    };
    let text = |word: &OsString| CString::new(word.as_bytes()).unwrap_or_default();
    let words = [c"dhow".to_owned(), entry::RUNTIME_SEALED.to_owned()];
    let argv = ExecStrings::new(words.into_iter().chain(arguments.iter().map(text)).collect());
    let pairs = std::env::vars_os().map(|(name, value)| {
        let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(pair).unwrap_or_default()
    });
    let errno = sys::process::execve_fd(&image, &argv, &ExecStrings::new(pairs.collect()));
    format!("execute the sealed image: {errno}")
}
