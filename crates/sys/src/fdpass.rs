//! Bytes and descriptors over Unix stream sockets.
//!
//! Owns two forms: one `sendmsg`/`recvmsg` as it is ([`send`], [`recv`]), and frames with a length
//! in front ([`send_frame`], [`recv_frame`]) for blocking sockets. What the bytes mean is the
//! callers' business. Received descriptors are always close-on-exec.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::Errno;

/// The most descriptors that one message can carry (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

const ANCILLARY: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// Why a message could not be passed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// More than go with the bytes, [`MAX_FDS`] with each message.
    #[error("send {count} descriptors: at most {max} go with so many bytes")]
    TooManyFds {
        /// What was given.
        count: usize,
        /// What is possible.
        max: usize,
    },
    /// More than the receiver takes; they are closed.
    #[error("a message with {count} descriptors or more: at most {max} are accepted")]
    UnwantedFds {
        /// What has come until then.
        count: usize,
        /// What the caller takes.
        max: usize,
    },
    /// Longer than the receiver takes.
    #[error("a message of {len} bytes: at most {max} are accepted")]
    TooLong {
        /// What the sender announced.
        len: usize,
        /// What the caller takes.
        max: usize,
    },
    /// The peer closed in the middle of a frame.
    #[error("the connection ended in the middle of a message")]
    Cut,
    /// More descriptors came than were expected, or this process has no room for them.
    #[error("descriptors were lost in a message")]
    LostFds,
    /// `sendmsg` failed.
    #[error("send a message")]
    Send(#[source] Errno),
    /// `recvmsg` failed.
    #[error("receive a message")]
    Recv(#[source] Errno),
}

impl PassError {
    /// The error number, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Send(errno) | Self::Recv(errno) => Some(*errno),
            Self::TooManyFds { .. }
            | Self::UnwantedFds { .. }
            | Self::TooLong { .. }
            | Self::Cut
            | Self::LostFds => None,
        }
    }
}

/// Sends with one call; the descriptors go with the first byte. Allocates nothing.
///
/// Returns how many bytes were taken, which may be fewer than given. `bytes` must not be empty if
/// there are descriptors. Never raises SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, PassError> {
    let too_many = || PassError::TooManyFds { count: fds.len(), max: MAX_FDS };
    if fds.len() > MAX_FDS {
        return Err(too_many());
    }
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(too_many());
    }
    let slices = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket.as_fd(), &slices, &mut ancillary, SendFlags::NOSIGNAL)
    })
    .map_err(PassError::Send)
}

/// Receives with one call. Returns how many bytes came, 0 at the end of the stream; descriptors
/// that came with them are appended to `fds`.
pub fn recv(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<usize, PassError> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(socket.as_fd(), &mut slices, &mut ancillary, flags)
    })
    .map_err(PassError::Recv)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    // The kernel cuts the list when this process is at its limit of open files.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(PassError::LostFds);
    }
    Ok(received.bytes)
}

/// One frame.
#[derive(Debug)]
pub struct Frame {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
}

/// Sends a length of four bytes (little endian), the bytes, and descriptors, which may be more than one
/// message carries. Blocks until all is sent.
///
/// # Errors
/// Nothing has been sent after [`PassError::TooLong`] and [`PassError::TooManyFds`]. After any other the frame may
/// be there in part, and nothing more can be said on this socket.
pub fn send_frame(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), PassError> {
    let too_long = || PassError::TooLong { len: bytes.len(), max: u32::MAX as usize };
    let len = u32::try_from(bytes.len()).map_err(|_| too_long())?;
    let mut framed = Vec::with_capacity(4 + bytes.len());
    framed.extend_from_slice(&len.to_le_bytes());
    framed.extend_from_slice(bytes);
    let mut parts = fds.chunks(MAX_FDS);
    if parts.len() > framed.len() {
        let max = framed.len().saturating_mul(MAX_FDS);
        return Err(PassError::TooManyFds { count: fds.len(), max });
    }
    let mut sent = 0;
    while sent < framed.len() {
        let part = parts.next().unwrap_or_default();
        // A byte for each message that more descriptors follow in.
        let end = if parts.len() == 0 { framed.len() } else { sent + 1 };
        sent += send(&socket, &framed[sent..end], part)?;
    }
    Ok(())
}

/// Receives one frame of at most `max` bytes and `max_fds` descriptors; `None` if the peer has closed before it.
/// Blocks.
///
/// # Errors
/// After any of them it is not known where the next frame begins: the socket is of no more use.
pub fn recv_frame(
    socket: impl AsFd,
    max: usize,
    max_fds: usize,
) -> Result<Option<Frame>, PassError> {
    let mut fds = Vec::new();
    let mut header = [0_u8; 4];
    if !recv_exact(socket.as_fd(), &mut header, &mut fds, max_fds)? {
        return Ok(None);
    }
    let len = u32::from_le_bytes(header) as usize;
    if len > max {
        return Err(PassError::TooLong { len, max });
    }
    let mut bytes = vec![0_u8; len];
    if !recv_exact(socket.as_fd(), &mut bytes, &mut fds, max_fds)? {
        return Err(PassError::Cut);
    }
    Ok(Some(Frame { bytes, fds }))
}

/// Fills the buffer. `false` if the stream ended before its first byte.
fn recv_exact(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    max_fds: usize,
) -> Result<bool, PassError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let received = recv(socket, &mut buffer[filled..], fds)?;
        // Before the next ones: they count against this process's limit of open files.
        if fds.len() > max_fds {
            return Err(PassError::UnwantedFds { count: fds.len(), max: max_fds });
        }
        match received {
            0 if filled == 0 => return Ok(false),
            0 => return Err(PassError::Cut),
            received => filled += received,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::io::FdFlags;

    use super::*;

    #[test]
    fn a_frame_arrives_whole_with_its_descriptors_and_they_are_close_on_exec() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let big = vec![7_u8; 1 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| send_frame(&left, &big, &[writer.as_fd()]).unwrap());
            let frame = recv_frame(&right, 1 << 20, 1).unwrap().unwrap();
            assert_eq!(frame.bytes, big);
            let [fd] = <[OwnedFd; 1]>::try_from(frame.fds).unwrap();
            assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
            std::fs::File::from(fd).write_all(b"through").unwrap();
        });
        drop(writer);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "through");
    }

    #[test]
    fn a_frame_carries_more_descriptors_than_a_message() {
        use rustix::process::{Resource, getrlimit, setrlimit};
        // All of them, and what other tests have open, are more than many systems let a process have at first.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let (left, right) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let is_last = |n: usize| n + 1 == 2 * MAX_FDS + 7;
        let fds: Vec<_> = (0..2 * MAX_FDS + 7)
            .map(|n| if is_last(n) { left.as_fd() } else { reader.as_fd() })
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(|| send_frame(&left, b"all of them", &fds).unwrap());
            let frame = recv_frame(&right, 100, fds.len()).unwrap().unwrap();
            assert_eq!(frame.bytes, b"all of them");
            let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_ino;
            let came: Vec<u64> = frame.fds.iter().map(|fd| inode(fd.as_fd())).collect();
            assert_eq!(came, fds.iter().map(|fd| inode(*fd)).collect::<Vec<_>>());
        });
        drop(writer);
        let all = vec![reader.as_fd(); 5 * MAX_FDS];
        let refused = send_frame(&left, b"", &all).unwrap_err();
        let said = "send 1265 descriptors: at most 1012 go with so many bytes";
        assert_eq!(refused.to_string(), said, "no byte for each message");
    }

    #[test]
    fn unwanted_descriptors_are_closed() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let fds = vec![writer.as_fd(); 3];
        send_frame(&left, b"three", &fds).unwrap();
        assert_eq!(recv_frame(&right, 10, 3).unwrap().unwrap().fds.len(), 3);
        send_frame(&left, b"three", &fds).unwrap();
        let refused = recv_frame(&right, 10, 2).unwrap_err();
        let said = "a message with 3 descriptors or more: at most 2 are accepted";
        assert_eq!(refused.to_string(), said);
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody else can write");
    }

    /// A process at its limit of open files gets fewer than were sent, and must not take what comes
    /// for all. The limit is a child's own, since tests share a process.
    #[test]
    fn descriptors_that_find_no_room_are_missed() {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let (left, right) = UnixStream::pair().unwrap();
        send(&left, b"x", &[left.as_fd()]).unwrap();
        let limit = Rlimit { current: Some(3), maximum: Some(3) };
        let child = crate::process::clone3(&crate::process::CloneArgs::default(), || {
            // Nothing here allocates.
            let lowered = setrlimit(Resource::Nofile, limit);
            let received = recv(&right, &mut [0; 1], &mut Vec::new());
            i32::from(lowered.is_err() || !matches!(received, Err(PassError::LostFds)))
        });
        let exit = crate::process::wait(&child.unwrap().pidfd);
        assert_eq!(exit, Ok(crate::process::Exit::Code(0)));
    }

    #[test]
    fn an_empty_frame_and_the_end_of_the_stream_differ() {
        let (left, right) = UnixStream::pair().unwrap();
        send_frame(&left, b"", &[]).unwrap();
        drop(left);
        assert_eq!(recv_frame(&right, 10, 0).unwrap().unwrap().bytes, b"");
        assert!(recv_frame(&right, 10, 0).unwrap().is_none());
    }

    #[test]
    fn a_long_frame_is_refused_before_any_memory_is_taken() {
        let (left, right) = UnixStream::pair().unwrap();
        send(&left, &u32::MAX.to_le_bytes(), &[]).unwrap();
        let error = recv_frame(&right, 4096, 0).unwrap_err();
        assert_eq!(error.to_string(), "a message of 4294967295 bytes: at most 4096 are accepted");
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let (left, right) = UnixStream::pair().unwrap();
        send(&left, &[5, 0, 0, 0, 1], &[]).unwrap();
        drop(left);
        assert!(matches!(recv_frame(&right, 10, 0), Err(PassError::Cut)));
    }

    #[test]
    fn too_many_descriptors_are_refused() {
        let (left, _right) = UnixStream::pair().unwrap();
        let fds = vec![left.as_fd(); MAX_FDS + 1];
        let refused = send(&left, b"x", &fds);
        assert!(matches!(refused, Err(PassError::TooManyFds { count: 254, max: 253 })));
    }
}
