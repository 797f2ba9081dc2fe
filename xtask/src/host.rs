//! Runs programs, and says what it does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

/// Tells the person at the terminal.
#[expect(clippy::print_stderr, reason = "automation speaks to a person")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// A command in the workspace.
#[expect(clippy::disallowed_methods, reason = "automation is made of programs")]
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace());
    if program == "cargo" {
        // What cargo tells the programs that it runs of their package: the script that builds `ring`
        // takes it for a change, and all that stands on it is built anew.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(name)) {
            command.env_remove(name);
        }
    }
    command
}

fn is_of_package(variable: &OsStr) -> bool {
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
    variable.to_str().is_some_and(|name| told.iter().any(|begin| name.starts_with(begin)))
}

/// dhow on state roots of its own, below `roots`.
pub(crate) fn dhow(binary: &Path, roots: &Path, arguments: &[&str]) -> Command {
    let mut command = command(&binary.to_string_lossy(), arguments);
    command.env("DHOW_ROOT", roots.join("root")).env("DHOW_RUN", roots.join("run"));
    command
}

/// Runs a program to its end; it shares this terminal.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    finish(command(program, arguments), program, arguments)
}

/// Runs a prepared command to its end.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn finish(mut command: Command, program: &str, arguments: &[&str]) -> Result<()> {
    let status = command.status().with_context(|| format!("start {program}"))?;
    if status.success() { Ok(()) } else { bail!("{program} {}: {status}", arguments.join(" ")) }
}

/// Runs a program and returns what it prints.
///
/// # Errors
/// It cannot be started, fails, or prints something that is not UTF-8.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = command(program, arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
