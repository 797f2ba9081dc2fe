//! The binary: picks the role from argv and wires it.
//!
//! Roles are picked before any thread exists and without touching what the role does not need.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod archives;
mod credential;
mod dashboard;
mod init;
mod local;
mod oci;
mod remote;
mod serve;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use sys::entry;

#[cfg(not(test))]
sys::program!(main);

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (program, rest) = match arguments.split_first() {
        Some((program, rest)) => (Path::new(program), rest),
        None => (Path::new(""), &[][..]),
    };
    if program.file_name().is_some_and(|name| name == entry::INIT_NAME) {
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
        _ if program.file_name().is_some_and(|name| name == entry::RUNTIME_NAME) => {
            oci::main(&arguments)
        }
        [role, ..] if role == entry::RUNTIME => oci::main(&arguments[1..]),
        [role, ..] if role.as_bytes() == entry::RUNTIME_SEALED.to_bytes() => {
            oci::sealed(&arguments[2..])
        }
        _ => {
            sys::heap::ask_seldom();
            let wiring = cli::Wiring {
                enter: local::enter,
                local: Box::new(local::client),
                reach: remote::reach,
                ui: dashboard::beside,
                serve: |options| Box::pin(serve::serve(options)),
                doctor: local::doctor,
                credential_helper: credential::run,
                archives: archives::ARCHIVES,
            };
            cli::run(arguments, wiring)
        }
    }
}

/// Tells whoever looks at the standard error. That nobody does any more (its pipe is closed, its terminal
/// gone) is no reason to end: a service serves on.
pub(crate) fn complain(text: &str) {
    // In one piece, so that lines of several processes do not mix.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
