//! The dashboard's places: beside a command, and at the service, whose address is in a file below the runtime root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use docker_api::Transport;
use docker_server::web::{Dashboard, Token};
use tokio::signal::unix::{SignalKind, signal};

/// The service's, unless another one is named: beside Docker's.
const PORT: u16 = 2374;

/// Below the runtime root: where the service's dashboard is, with the token.
const ADDRESS: &str = "ui.address";

/// Shows what is behind `transport` until this process is asked to end.
pub(crate) fn beside(addr: &str, transport: Transport) -> anyhow::Result<cli::Shown> {
    let at = crate::serve::local_address(addr, PORT)
        .with_context(|| format!("--addr {addr}: it is a port, or address:port"))?;
    let dashboard = Dashboard::bind(at, Token::random()?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let address = dashboard.address();
    Ok(cli::Shown { address, ended: Box::pin(dashboard.serve(transport, stop)) })
}

/// The service's, and the file that has its address. Each service has a token of its own: while there is none, anybody on
/// the machine may take its port and hear what pages that are open send there. It is worth nothing to the next one.
pub(crate) fn of_service(addr: &str, run: &Path) -> anyhow::Result<(Dashboard, PathBuf)> {
    let at = crate::serve::local_address(addr, PORT)
        .with_context(|| format!("--ui-addr {addr}: it is a port, or address:port"))?;
    let path = run.join(ADDRESS);
    let dashboard = Dashboard::bind(at, Token::random()?)?;
    write(&path, &dashboard.address()).with_context(|| format!("write {}", path.display()))?;
    Ok((dashboard, path))
}

/// Whole, and this user's alone from its first byte.
fn write(path: &Path, address: &str) -> std::io::Result<()> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    // Of one that was killed in the middle of this, and had our number.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = writeln!(file, "{address}").and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What was refused a place is no use to anybody.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn each_service_has_a_token_which_nobody_else_reads() {
        let dir = tempfile::tempdir().unwrap();
        let shown = || of_service("0", dir.path()).unwrap();
        let token = |text: &str| text.trim_end().rsplit_once("#token=").unwrap().1.to_owned();
        let (first, path) = shown();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", first.address()));
        assert!(text.starts_with(&first.place()) && first.place().starts_with("http://127.0.0.1:"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (second, _) = shown();
        assert_ne!(token(&second.address()), token(&first.address()));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", second.address()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Who leaves a link there has nothing written through it.
        let other = dir.path().join("other");
        fs::write(&other, &text).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        shown();
        assert_eq!(fs::read_to_string(&other).unwrap(), text);
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[tokio::test]
    async fn it_is_for_this_machine_alone() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |addr| format!("{:#}", of_service(addr, dir.path()).unwrap_err());
        for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            assert!(refused(addr).contains("is no loopback address"), "{addr}");
        }
        assert_eq!(refused("here:1"), "--ui-addr here:1: it is a port, or address:port");
        assert!(!dir.path().join(ADDRESS).exists());
    }
}
