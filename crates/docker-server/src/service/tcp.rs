//! Clients on other machines: sockets of TCP, and how it is agreed with a client who it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::linger::Linger;

/// How long a client may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After how long of silence it is asked whether the other machine is still there, and how soon and how
/// often again: one that is gone without a word keeps a connection for two minutes and a half.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_AGAIN: Duration = Duration::from_secs(15);
const PROBES: u32 = 6;

/// The first byte of TLS: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What Go's servers say to whoever forgets TLS; Docker's clients show it.
const NO_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Listens at an address.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    // The standard library's lets an address be used again at once whose last owner is gone.
    let socket = std::net::TcpListener::bind(address)?;
    from_std(socket)
}

/// One that listens already.
pub(super) fn from_std(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// What is small is sent at once, and a machine that is gone is noticed.
pub(super) fn prepare(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)
}

/// Agrees with a client on TLS.
///
/// # Errors
/// It is not let in, is no client of TLS, takes too long, or has gone.
pub(super) async fn agree(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not say who it is");
    tokio::time::timeout(HANDSHAKE, handshake(stream, config))
        .await
        .unwrap_or_else(|e| Err(late(e)))
}

async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
        // It is what the client has said that was not read.
        let mut stream = Linger::new(stream);
        stream.write_all(NO_TLS).await?;
        stream.shutdown().await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak TLS"));
    }
    TlsAcceptor::from(config).accept(stream).await
}
