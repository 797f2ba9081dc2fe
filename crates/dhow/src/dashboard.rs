//! The dashboard's places: beside a command, and at the service, which keeps its token below the runtime root.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use docker_api::Transport;
use docker_server::web::{Dashboard, Token};
use rustix::fs::OFlags;
use tokio::signal::unix::{SignalKind, signal};

/// The service's, unless another one is named: beside Docker's.
const PORT: u16 = 2374;

/// Below the runtime root: where the service's dashboard is, with the token.
const ADDRESS: &str = "ui.address";

/// Longer than any address.
const LONGEST: u64 = 4096;

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

/// The service's, and the file that has its address. The token is that of the service before it on this root: pages
/// that are open stay signed in when it is started again.
pub(crate) fn of_service(addr: &str, run: &Path) -> anyhow::Result<(Dashboard, PathBuf)> {
    let at = crate::serve::local_address(addr, PORT)
        .with_context(|| format!("--ui-addr {addr}: it is a port, or address:port"))?;
    let path = run.join(ADDRESS);
    let token = match kept(&path) {
        Some(token) => token,
        None => Token::random()?,
    };
    let dashboard = Dashboard::bind(at, token)?;
    write(&path, &dashboard.address()).with_context(|| format!("write {}", path.display()))?;
    Ok((dashboard, path))
}

/// The token in the file, if it is one that nobody else could have read or written.
fn kept(path: &Path) -> Option<Token> {
    let mut options = File::options();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = options.read(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let found = file.metadata().ok()?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if !found.is_file() || !is_own {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Token::parse(text.trim_end().rsplit_once("#token=")?.1)
}

/// Whole, and this user's alone from its first byte.
fn write(path: &Path, address: &str) -> std::io::Result<()> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
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
    async fn the_service_keeps_its_token_where_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let shown = || of_service("0", dir.path()).unwrap();
        let token = |text: &str| text.trim_end().rsplit_once("#token=").unwrap().1.to_owned();
        let (first, path) = shown();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", first.address()));
        assert!(text.starts_with(&first.place()) && first.place().starts_with("http://127.0.0.1:"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (second, _) = shown();
        assert_eq!(token(&second.address()), token(&first.address()));
        // Somebody else may have read this one.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (third, _) = shown();
        assert_ne!(token(&third.address()), token(&first.address()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // And who leaves a link there has nothing written through it.
        let other = dir.path().join("other");
        fs::write(&other, &text).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let (fourth, _) = shown();
        assert_ne!(token(&fourth.address()), token(&first.address()));
        assert_eq!(fs::read_to_string(&other).unwrap(), text);
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
