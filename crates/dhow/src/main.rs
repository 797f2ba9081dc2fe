//! The binary: picks the role from argv and wires it.
//!
//! Roles are picked before any thread exists and without touching what the role does not need.

#![forbid(unsafe_code)]

mod archives;
mod credential;
mod init;
mod local;
mod oci;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// What process 1 of a container is called, if it is ours.
const INIT: &str = "dhow-init";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (program, rest) = match arguments.split_first() {
        Some((program, rest)) => (Path::new(program), rest),
        None => (Path::new(""), &[][..]),
    };
    if program.file_name().is_some_and(|name| name == INIT) {
        return init::main(rest);
    }
    match rest {
        [role, ..] if role.as_bytes() == shim::ROLE.to_bytes() => {
            shim::main(rest[1..].iter().cloned())
        }
        [root, data, run_root, run, role, id, member @ ..]
            if root == "--root" && run_root == "--run-root" && role == "reap" =>
        {
            local::reap(&local::Errand { data, run, id, member })
        }
        [root, data, run_root, run, role, id, member @ ..]
            if root == "--root" && run_root == "--run-root" && role == "revive" =>
        {
            local::revive(&local::Errand { data, run, id, member })
        }
        _ if program.file_name().is_some_and(|name| name == "runc") => oci::main(&arguments),
        [role, ..] if role == oci::ROLE => oci::main(&arguments[1..]),
        [role, ..] if role == oci::SEALED => {
            runtime::oci::main(&arguments[2..], runtime::oci::Image::Sealed)
        }
        _ => {
            sys::heap::ask_seldom();
            let wiring = cli::Wiring {
                enter: local::enter,
                local: Box::new(local::client),
                doctor: local::doctor,
                credential_helper: credential::run,
                archives: archives::ARCHIVES,
            };
            cli::run(arguments, wiring)
        }
    }
}

/// Tells whoever looks at the standard error.
#[expect(clippy::print_stderr, reason = "a role that fails says why")]
pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}
