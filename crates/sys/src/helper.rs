//! The only place that starts foreign programs.
//!
//! Everything else talks to the kernel. Each kind of program here says why it must be one. Which
//! arguments it gets, and what its output means, is the caller's business; programs of images and
//! containers never go through here.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one module that the ban on Command::new leaves out"
)]

mod family;
mod guarded;
mod inside;
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::open_files;

pub use guarded::{alone, apart, kept};
pub use inside::inside;
pub use run::{Bounds, Ran, RunError, deadline, run};

/// A foreign program and the reason to start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helper<'a> {
    /// Sets the ids of a user namespace for an unprivileged user: it is setuid, we are not.
    NewUidMap(&'a Path),
    /// As [`Helper::NewUidMap`], for groups.
    NewGidMap(&'a Path),
    /// The network of an unprivileged user, a TCP/IP stack in a program of its own: pasta, or slirp4netns.
    UserNetwork(&'a Path),
    /// Docker over SSH uses the user's own ssh, with its keys, agents and configuration.
    Ssh,
    /// Build contexts in repositories use the user's own git, with its credentials.
    Git,
    /// A hook of an OCI bundle, which is by definition a program of its author.
    OciHook(&'a Path),
    /// `docker-credential-NAME`, found in the user's PATH as Docker does.
    Credential(&'a str),
    /// Compiles a profile of AppArmor and gives it to the kernel: the compiled form is private to the two.
    AppArmor(&'a Path),
    /// Freezes processes and writes them down: it runs code of its own inside of them, for each
    /// processor and kernel, which nobody should have twice.
    Criu(&'a Path),
    /// A runtime that the operator has named.
    Runtime(&'a Path),
    /// A plugin of the command line that the user has installed.
    Plugin(&'a Path),
}

/// A command for this program, with no arguments yet.
#[must_use]
pub fn command(helper: Helper<'_>) -> Command {
    let mut command = plain(helper);
    if let Some(limit) = open_files::before() {
        guarded::limited(&mut command, limit);
    }
    command
}

fn plain(helper: Helper<'_>) -> Command {
    match helper {
        Helper::Ssh => Command::new("ssh"),
        Helper::Git => Command::new("git"),
        Helper::Credential(name) => Command::new(format!("docker-credential-{name}")),
        Helper::NewUidMap(path)
        | Helper::NewGidMap(path)
        | Helper::UserNetwork(path)
        | Helper::OciHook(path)
        | Helper::AppArmor(path)
        | Helper::Criu(path)
        | Helper::Runtime(path)
        | Helper::Plugin(path) => Command::new(path),
    }
}

/// Where a program is: a path as it is, a bare name in the directories of our own `PATH`.
#[must_use]
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
