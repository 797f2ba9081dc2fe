//! Writes a container's output to ours.
//!
//! A reader that is slow must not make us deaf to signals, so nothing is written that would
//! block: while the reader is not ready, waiting for it is left to a thread.

use docker_api::frame::Channel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::io;

/// What a pipe that is ready surely takes at once (POSIX's `PIPE_BUF`, on Linux a page).
const PIECE: usize = 4096;

/// Writes to stdout or stderr.
pub(crate) async fn write(channel: Channel, bytes: &[u8]) -> io::Result<()> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let fd = if channel == Channel::Stderr { stderr.as_fd() } else { stdout.as_fd() };
    let mut rest = bytes;
    while !rest.is_empty() {
        if !ready(fd)? {
            wait(channel).await?;
        }
        let piece = &rest[..rest.len().min(PIECE)];
        match rustix::io::write(fd, piece) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn ready(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&now)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

async fn wait(channel: Channel) -> io::Result<()> {
    let waiting = tokio::task::spawn_blocking(move || {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fd = if channel == Channel::Stderr { stderr.as_fd() } else { stdout.as_fd() };
        match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    });
    waiting.await.map_err(io::Error::other)?
}
