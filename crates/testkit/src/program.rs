//! Programs that tests write and run.
//!
//! Whatever a process has open for writing, those that it starts for other tests at this moment have as well, until
//! they execute; and what anybody has open for writing nobody can execute (`ETXTBSY`). So another process writes them.

use std::path::Path;

/// Copies a program.
///
/// # Panics
/// It cannot be copied.
#[expect(clippy::disallowed_methods, reason = "another process writes what is to be executed")]
pub fn install(from: impl AsRef<Path>, to: &Path) {
    let mut install = std::process::Command::new("install");
    let output = install.args(["-m", "755"]).arg(from.as_ref()).arg(to).output();
    let output = output.expect("start install");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a program.
///
/// # Panics
/// It cannot be written.
pub fn program(path: &Path, text: impl AsRef<[u8]>) {
    let file = tempfile::NamedTempFile::new().expect("make a file");
    std::fs::write(file.path(), text).expect("write a file");
    install(file.path(), path);
}
