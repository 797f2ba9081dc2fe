//! A client's connection and a container's streams, joined until one of them ends.
//!
//! Both directions are copied as they are: the container's side frames its output itself, but that of a terminal
//! for a client that has asked for frames. The client may close its half (end of input) and still read.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use docker_api::frame::{Channel, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use model::detach::{DetachKeys, Detector, Typed};

/// One read at most; a frame of Docker's is half of it.
const BUFFER: usize = 64 << 10;

/// How soon after the end of a client's input it is looked again whether it is still there at all, at first; then
/// twice as long each time, up to [`LOOK_SELDOM`].
const LOOK_SOON: Duration = Duration::from_secs(1);
const LOOK_SELDOM: Duration = Duration::from_secs(30);

/// In what form output comes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// As the container's side says it.
    AsItIs,
    /// That of a terminal, which has one channel, in the frames of standard output.
    Added,
}

/// Why the two are apart again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parted {
    /// The container has nothing more to say.
    OutputEnded,
    /// The client typed the detach keys.
    Detached,
    /// The client's connection broke.
    ClientLost,
}

/// Copies both ways. `early` is what the client had sent behind the head of its request.
pub(crate) async fn splice<C>(
    client: C,
    (container, form): (UnixStream, Frames),
    keys: Option<DetachKeys>,
    early: Bytes,
) -> Parted
where
    C: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_container, mut to_container) = container.into_split();
    let heard_all = Notify::new();
    let input = async {
        let mut filter = Filter { detector: keys.map(Detector::new), out: Vec::new() };
        if filter.pass(&early, &mut to_container).await == Typed::Detach {
            return Parted::Detached;
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            match from_client.read(&mut buffer).await {
                Ok(0) => break,
                Ok(n) if filter.pass(&buffer[..n], &mut to_container).await == Typed::Detach => {
                    return Parted::Detached;
                }
                Ok(_) => {}
                Err(_) => return Parted::ClientLost,
            }
        }
        filter.end(&mut to_container).await;
        heard_all.notify_one();
        // The end of input says nothing about output: wait for that.
        std::future::pending().await
    };
    let output = async {
        let copied = copy(&mut from_container, &mut to_client, form, &heard_all).await;
        let ended = match copied {
            Ok(()) => Parted::OutputEnded,
            Err(_) => Parted::ClientLost,
        };
        // The client reads an end. If it has gone, there is nobody to tell.
        let _ = to_client.shutdown().await;
        ended
    };
    tokio::select! {
        parted = output => parted,
        parted = input => parted,
    }
}

/// Copies output. Once `heard_all` says that no more input comes, a client that has gone is told from one that still
/// reads by what it says to a write of nothing: the end of input looks the same. Over TLS it says nothing to that.
async fn copy<R, W>(from: &mut R, to: &mut W, form: Frames, heard_all: &Notify) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    let mut pause = None;
    loop {
        let n = tokio::select! {
            // A container's side that breaks has ended: its shim is gone.
            n = from.read(&mut buffer) => n.unwrap_or(0),
            () = silence(pause, heard_all) => {
                let _ = to.write(&[]).await?;
                pause = Some(pause.map_or(LOOK_SOON, |pause| (pause * 2).min(LOOK_SELDOM)));
                continue;
            }
        };
        if n == 0 {
            return Ok(());
        }
        if form == Frames::Added {
            to.write_all(&header(Channel::Stdout, n)).await?;
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
    }
}

/// Returns when it is to be looked whether the client is still there: at the end of its input, and after each pause.
async fn silence(pause: Option<Duration>, heard_all: &Notify) {
    match pause {
        None => heard_all.notified().await,
        Some(pause) => tokio::time::sleep(pause).await,
    }
}

/// Input on its way to the container, with the detach keys taken out.
struct Filter {
    detector: Option<Detector>,
    out: Vec<u8>,
}

impl Filter {
    /// Passes bytes on. A container that reads no more is no reason to part: its output may go on.
    async fn pass<W: AsyncWrite + Unpin>(&mut self, bytes: &[u8], to: &mut W) -> Typed {
        let Some(detector) = &mut self.detector else {
            let _ = to.write_all(bytes).await;
            return Typed::Text;
        };
        self.out.clear();
        let typed = detector.feed(bytes, &mut self.out);
        let _ = to.write_all(&self.out).await;
        typed
    }

    async fn end<W: AsyncWrite + Unpin>(&mut self, to: &mut W) {
        if let Some(detector) = &mut self.detector {
            self.out.clear();
            detector.finish(&mut self.out);
            let _ = to.write_all(&self.out).await;
        }
        let _ = to.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;

    /// A client, the container's end of its stream, and the splice between them.
    fn joined(
        keys: Option<&str>,
        early: &'static [u8],
    ) -> (DuplexStream, UnixStream, JoinHandle<Parted>) {
        let (client, server) = tokio::io::duplex(16);
        let (near, far) = UnixStream::pair().unwrap();
        let keys = keys.map(|keys| DetachKeys::parse(Some(keys)).unwrap());
        let container = (near, Frames::AsItIs);
        let task = tokio::spawn(splice(server, container, keys, Bytes::from_static(early)));
        (client, far, task)
    }

    #[tokio::test]
    async fn a_terminals_output_is_framed_for_who_wants_it_and_input_is_not() {
        let (mut client, server) = tokio::io::duplex(16);
        let (near, mut container) = UnixStream::pair().unwrap();
        let task = tokio::spawn(splice(server, (near, Frames::Added), None, Bytes::new()));
        client.write_all(b"typed").await.unwrap();
        client.shutdown().await.unwrap();
        let mut typed = [0; 5];
        container.read_exact(&mut typed).await.unwrap();
        assert_eq!(&typed, b"typed");
        container.write_all(b"shown").await.unwrap();
        drop(container);
        assert_eq!(all(&mut client).await, b"\x01\0\0\0\0\0\0\x05shown");
        assert_eq!(task.await.unwrap(), Parted::OutputEnded);
    }

    /// A container that says nothing keeps nobody's place.
    #[tokio::test]
    async fn a_client_that_has_gone_is_told_from_one_that_listens() {
        for form in [Frames::AsItIs, Frames::Added] {
            let (mut client, server) = UnixStream::pair().unwrap();
            let (near, mut container) = UnixStream::pair().unwrap();
            let task = tokio::spawn(splice(server, (near, form), None, Bytes::new()));
            client.shutdown().await.unwrap();
            assert_eq!(container.read(&mut [0; 1]).await.unwrap(), 0, "the end of its input");
            tokio::time::pause();
            // It listens for as long as it likes.
            tokio::time::sleep(100 * LOOK_SELDOM).await;
            assert!(!task.is_finished());
            drop(client);
            assert_eq!(task.await.unwrap(), Parted::ClientLost);
            tokio::time::resume();
        }
    }

    async fn all<R: AsyncRead + Unpin>(mut from: R) -> Vec<u8> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn output_goes_on_after_the_end_of_input() {
        let (mut client, mut container, task) = joined(None, b"early ");
        client.write_all(b"in").await.unwrap();
        client.shutdown().await.unwrap();
        let mut input = [0; 8];
        container.read_exact(&mut input).await.unwrap();
        assert_eq!(&input, b"early in");
        assert_eq!(container.read(&mut input).await.unwrap(), 0);
        container.write_all(b"after the end of input").await.unwrap();
        container.shutdown().await.unwrap();
        assert_eq!(all(&mut client).await, b"after the end of input");
        assert_eq!(task.await.unwrap(), Parted::OutputEnded);
    }

    #[tokio::test]
    async fn the_detach_keys_part_them_and_are_not_passed_on() {
        let (mut client, container, task) = joined(Some("ctrl-p,ctrl-q"), b"");
        client.write_all(b"ls\x10").await.unwrap();
        client.write_all(b"\x11more").await.unwrap();
        assert_eq!(task.await.unwrap(), Parted::Detached);
        assert_eq!(all(container).await, b"ls");
        assert_eq!(all(client).await, b"");
    }

    #[tokio::test]
    async fn without_keys_their_bytes_are_bytes() {
        let (mut client, mut container, task) = joined(None, b"");
        client.write_all(b"\x10\x11").await.unwrap();
        client.shutdown().await.unwrap();
        let mut input = [0; 2];
        container.read_exact(&mut input).await.unwrap();
        assert_eq!(&input, b"\x10\x11");
        drop(container);
        assert_eq!(task.await.unwrap(), Parted::OutputEnded);
    }

    #[tokio::test]
    async fn a_lost_client_ends_it() {
        let (client, mut container, task) = joined(None, b"");
        drop(client);
        let mut input = [0; 1];
        assert_eq!(container.read(&mut input).await.unwrap(), 0);
        // It may have been seen to have gone by now.
        let _ = container.write_all(b"nobody reads this").await;
        assert_eq!(task.await.unwrap(), Parted::ClientLost);
    }

    #[tokio::test]
    async fn a_container_that_reads_no_more_still_speaks() {
        let (mut client, mut container, task) = joined(None, b"");
        container.write_all(b"bye").await.unwrap();
        let mut output = [0; 3];
        client.read_exact(&mut output).await.unwrap();
        client.write_all(b"x").await.unwrap();
        drop(container);
        assert_eq!(all(client).await, b"");
        assert_eq!(task.await.unwrap(), Parted::OutputEnded);
    }
}
