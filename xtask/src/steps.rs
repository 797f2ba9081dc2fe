//! The two commands of the README's first screen: demo and test.

use anyhow::Result;

use crate::host;

/// Builds dhow and does its main job on real input.
///
/// # Errors
/// The first step that fails.
pub(crate) fn demo() -> Result<()> {
    anyhow::bail!("no demo")
}

/// Runs every test and counts what is left.
///
/// # Errors
/// The first step that fails.
pub(crate) fn test() -> Result<()> {
    crate::tidy::check()?;
    host::run("cargo", &["test", "--workspace"])
}
