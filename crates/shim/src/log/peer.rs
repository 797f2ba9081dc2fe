//! The connection to whoever takes a log: made, lost and made again, never waited for.
//!
//! A peer that is gone is tried again after a while that doubles. What is sent is `sink`'s
//! business.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with, sockopt,
};
use sys::Errno;

use crate::protocol::SinkAddress;

/// What programs of the host send their messages to.
const HOST: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// When to try again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Longest message that goes into a datagram; the journal takes longer ones in a file.
const LONGEST_DATAGRAM: usize = 60 << 10;

/// Whoever takes the log.
#[derive(Debug)]
pub(super) struct Peer {
    address: SinkAddress,
    state: State,
    /// How long the next wait is.
    patience: Duration,
    /// How many sockets there were: tells one from the next.
    made: u32,
}

#[derive(Debug)]
enum State {
    Down { again_at: Instant },
    Connecting { socket: OwnedFd, until: Instant },
    Up { socket: OwnedFd, kind: Kind },
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One after the other, each with its line feed.
    Stream,
    /// Each on its own.
    Datagram,
}

/// What became of bytes that were sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// So many were taken.
    Some(usize),
    /// So many were taken, and an earlier datagram has come back: nobody listens.
    SomeAfterRefusal(usize),
    /// None are taken now.
    Full,
    /// The peer is gone.
    Broken(Errno),
}

impl Peer {
    /// Connects for the first time, and waits for it: a container whose log nobody takes does not
    /// start, as in Docker.
    pub(super) fn open(address: SinkAddress) -> io::Result<Self> {
        let state = State::Down { again_at: Instant::now() };
        let mut peer = Self { address, state, patience: RETRY_FIRST, made: 0 };
        peer.connect()?;
        if let State::Connecting { socket, .. } = &peer.state {
            wait(socket, CONNECT_LIMIT)?;
            peer.advance(Instant::now())?;
        }
        match peer.state {
            State::Up { .. } => Ok(peer),
            State::Connecting { .. } | State::Down { .. } => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// How messages travel, while there is a connection.
    pub(super) const fn kind(&self) -> Option<Kind> {
        match self.state {
            State::Up { kind, .. } => Some(kind),
            State::Down { .. } | State::Connecting { .. } => None,
        }
    }

    /// What to watch for room to write, and its number.
    pub(super) fn socket(&self) -> Option<(BorrowedFd<'_>, u32)> {
        match &self.state {
            State::Connecting { socket, .. } | State::Up { socket, .. } => {
                Some((socket.as_fd(), self.made))
            }
            State::Down { .. } => None,
        }
    }

    /// When there is something to do though nothing happens.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Down { again_at } => Some(again_at),
            State::Connecting { until, .. } => Some(until),
            State::Up { .. } => None,
        }
    }

    /// Goes on with making a connection.
    pub(super) fn advance(&mut self, now: Instant) -> io::Result<()> {
        let made = match &self.state {
            State::Up { .. } => return Ok(()),
            State::Down { again_at } if *again_at > now => return Ok(()),
            State::Down { .. } => self.connect(),
            State::Connecting { socket, until } => match finished(socket) {
                Ok(None) if *until > now => return Ok(()),
                Ok(None) => Err(ErrorKind::TimedOut.into()),
                Ok(Some(())) => {
                    self.up();
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        if made.is_err() {
            self.down(now);
        }
        made
    }

    /// Sends as much as is taken now: of a datagram all or nothing.
    pub(super) fn send(&mut self, bytes: &[u8], now: Instant) -> Sent {
        let State::Up { socket, kind } = &self.state else { return Sent::Full };
        if *kind == Kind::Stream && has_ended(socket) {
            self.down(now);
            return Sent::Broken(Errno::PIPE);
        }
        let sent = match (&self.address, *kind) {
            (SinkAddress::Journal(_), _) if bytes.len() > LONGEST_DATAGRAM => {
                send_file(socket, bytes)
            }
            _ => retry(|| send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)),
        };
        match sent {
            Ok(count) => {
                self.patience = RETRY_FIRST;
                Sent::Some(count)
            }
            Err(Errno::AGAIN | Errno::NOBUFS) => Sent::Full,
            // What the kernel was told of an earlier datagram; this one has not been tried.
            Err(Errno::CONNREFUSED) if matches!(self.address, SinkAddress::Udp(_)) => {
                let again =
                    retry(|| send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT));
                again.map_or(Sent::Full, Sent::SomeAfterRefusal)
            }
            Err(errno) => {
                self.down(now);
                Sent::Broken(errno)
            }
        }
    }

    /// Waits until the peer takes more, or this long.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        self.socket().is_some_and(|(socket, _)| wait(socket, limit).is_ok())
    }

    fn connect(&mut self) -> io::Result<()> {
        let (socket, kind, is_made) = match &self.address {
            SinkAddress::Host => connect_host()?,
            SinkAddress::Unix(path) => connect_unix(path, Kind::Stream)?,
            SinkAddress::UnixDatagram(path) | SinkAddress::Journal(path) => {
                connect_unix(path, Kind::Datagram)?
            }
            SinkAddress::Udp(address) => connect_inet(*address, Kind::Datagram)?,
            SinkAddress::Tcp(address) => connect_inet(*address, Kind::Stream)?,
        };
        self.made = self.made.wrapping_add(1);
        self.state = if is_made {
            State::Up { socket, kind }
        } else {
            State::Connecting { socket, until: Instant::now() + CONNECT_LIMIT }
        };
        Ok(())
    }

    fn up(&mut self) {
        let down = State::Down { again_at: Instant::now() };
        if let State::Connecting { socket, .. } = std::mem::replace(&mut self.state, down) {
            // Only connections of TCP take a while.
            self.state = State::Up { socket, kind: Kind::Stream };
        }
    }

    fn down(&mut self, now: Instant) {
        self.state = State::Down { again_at: now + self.patience };
        self.patience = (self.patience * 2).min(RETRY_LAST);
    }
}

type Connected = (OwnedFd, Kind, bool);

fn connect_host() -> io::Result<Connected> {
    let mut last = ErrorKind::NotFound.into();
    for path in HOST {
        for kind in [Kind::Datagram, Kind::Stream] {
            match connect_unix(Path::new(path), kind) {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

fn connect_unix(path: &Path, kind: Kind) -> io::Result<Connected> {
    let socket = make(AddressFamily::UNIX, kind)?;
    // The backlog of one who listens may be full; then it is tried again, as anything else.
    retry(|| connect(&socket, &SocketAddrUnix::new(path)?))?;
    Ok((socket, kind, true))
}

fn connect_inet(address: SocketAddr, kind: Kind) -> io::Result<Connected> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = make(family, kind)?;
    if kind == Kind::Stream {
        // A host that is gone is known to be after this long, not after the kernel's quarter of an
        // hour; and one that nothing is sent to, by its keep-alive.
        let limit = u32::try_from(super::sink::STALL_LIMIT.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, limit)?;
        sockopt::set_socket_keepalive(&socket, true)?;
    }
    match retry(|| connect(&socket, &address)) {
        Ok(()) => Ok((socket, kind, true)),
        Err(Errno::INPROGRESS) => Ok((socket, kind, false)),
        Err(errno) => Err(errno.into()),
    }
}

fn make(family: AddressFamily, kind: Kind) -> io::Result<OwnedFd> {
    let kind = match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Datagram => SocketType::DGRAM,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// Whether a connection that was begun is made.
fn finished(socket: &OwnedFd) -> io::Result<Option<()>> {
    if wait(socket, Duration::ZERO).is_err() {
        return Ok(None);
    }
    match sockopt::socket_error(socket)? {
        Ok(()) => Ok(Some(())),
        Err(errno) => Err(errno.into()),
    }
}

fn wait(socket: impl AsFd, limit: Duration) -> io::Result<()> {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    match retry(|| poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&limit)))? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Whether the other side has closed: what is sent to it would be lost without a word. Whatever it
/// says is read and forgotten.
fn has_ended(socket: &OwnedFd) -> bool {
    let mut scrap = [0; 512];
    loop {
        match retry(|| recv(socket, &mut scrap, RecvFlags::DONTWAIT)) {
            Ok((0, _)) => return true,
            Ok(_) => {}
            Err(Errno::AGAIN) => return false,
            Err(_) => return true,
        }
    }
}

/// Hands a message over as a sealed file: how systemd's journal takes long ones.
fn send_file(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create(c"log", flags)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = retry(|| rustix::io::write(&file, rest))?;
        rest = &rest[count..];
    }
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    let handed = sys::fdpass::send(socket, &[], &[file.as_fd()]);
    handed.map_err(|error| error.errno().unwrap_or(Errno::IO))?;
    Ok(bytes.len())
}

fn retry<T>(call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    rustix::io::retry_on_intr(call)
}
