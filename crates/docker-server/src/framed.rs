//! The output of a terminal in Docker's frames, for a client that has asked for it so.
//!
//! A container's side frames what has two channels, and a terminal has one. Docker goes by what the
//! start of an exec says, and not by the exec: a start without `Tty` gets frames in any case.

use std::io;
use std::os::unix::net::UnixStream;

use docker_api::frame::{Channel, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// One read at most.
const BUFFER: usize = 32 << 10;

/// The stream with its output framed as standard output; input goes as it is.
///
/// # Errors
/// There are no more descriptors.
pub(crate) fn framed(container: UnixStream) -> io::Result<UnixStream> {
    let (near, far) = UnixStream::pair()?;
    container.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let container = tokio::net::UnixStream::from_std(container)?;
    let client = tokio::net::UnixStream::from_std(far)?;
    tokio::spawn(relay(container, client));
    Ok(near)
}

/// Copies both ways until the output ends, or nobody reads it.
async fn relay(container: tokio::net::UnixStream, client: tokio::net::UnixStream) {
    let (mut from_container, mut to_container) = container.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let input = async {
        // A side that reads no more is no reason to part: output may go on.
        let _ = tokio::io::copy(&mut from_client, &mut to_container).await;
        let _ = to_container.shutdown().await;
        std::future::pending::<()>().await;
    };
    let output = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = from_container.read(&mut buffer).await.unwrap_or(0);
            if n == 0 || to_client.write_all(&header(Channel::Stdout, n)).await.is_err() {
                return;
            }
            if to_client.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = input => {}
        () = output => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_framed_and_input_is_not() {
        let (container, far) = UnixStream::pair().unwrap();
        let client = framed(container).unwrap();
        client.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let mut client = tokio::net::UnixStream::from_std(client).unwrap();
        let mut far = tokio::net::UnixStream::from_std(far).unwrap();
        client.write_all(b"typed").await.unwrap();
        client.shutdown().await.unwrap();
        let mut typed = Vec::new();
        far.read_to_end(&mut typed).await.unwrap();
        assert_eq!(typed, b"typed");
        // The end of input is no end of output.
        far.write_all(b"shown").await.unwrap();
        drop(far);
        let mut shown = Vec::new();
        client.read_to_end(&mut shown).await.unwrap();
        assert_eq!(shown, b"\x01\0\0\0\0\0\0\x05shown");
    }
}
