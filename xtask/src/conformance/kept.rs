//! What suites have said, a file for each of theirs: an interrupted run goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tap::{self, Cases};
use crate::host;

/// A file of a suite, and who it was run against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) suite: &'a str,
    pub(super) runtime: &'a str,
    pub(super) file: &'a str,
}

impl Place<'_> {
    /// `SUITE/RUNTIME/FILE`, as on the command line.
    pub(super) fn name(self) -> String {
        format!("{}/{}/{}", self.suite, self.runtime, self.file)
    }

    fn path(self) -> PathBuf {
        directory().join(self.runtime).join(self.suite).join(format!("{}.tap", self.file))
    }

    /// Whether it was run since the program has changed.
    pub(super) fn is_newer_than(self, program: &Path) -> bool {
        let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        changed(&self.path()).is_some_and(|run| Some(run) > changed(program))
    }

    pub(super) fn keep(self, output: &str) -> Result<()> {
        let path = self.path();
        let stage = path.with_extension("new");
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&stage, output).with_context(|| format!("write {}", stage.display()))?;
        Ok(fs::rename(&stage, &path)?)
    }

    /// What came of its cases, or nothing if it was never run.
    pub(super) fn cases(self) -> Option<Cases> {
        let output = fs::read_to_string(self.path()).ok()?;
        Some(tap::cases(self.file, &output))
    }
}

/// A copy of the program, which stays as it is when the program is built anew.
pub(super) fn copy(program: &Path) -> Result<PathBuf> {
    let own = directory().join("dhow.bin");
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let bytes = read(program)?;
    if read(&own).ok().as_deref() != Some(&bytes) {
        fs::create_dir_all(directory())?;
        fs::copy(program, &own).with_context(|| format!("write {}", own.display()))?;
    }
    Ok(own)
}

fn directory() -> PathBuf {
    host::workspace().join("target/conformance")
}
