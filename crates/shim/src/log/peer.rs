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

use super::Awaited;
use super::tls::{Party, Session};
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
/// How many times 512 bytes of what a peer says are read before it is sent more.
const SCRAPS: usize = 16;

/// Whoever takes the log.
#[derive(Debug)]
pub(super) struct Peer {
    address: SinkAddress,
    /// Whom TLS is spoken with.
    party: Option<Box<Party>>,
    state: State,
    /// How long the next wait is.
    patience: Duration,
    /// How many sockets there were: tells one from the next.
    made: u32,
}

#[derive(Debug)]
enum State {
    Down {
        again_at: Instant,
    },
    Connecting {
        socket: OwnedFd,
        until: Instant,
    },
    /// TLS has yet to be agreed on.
    Greeting {
        socket: OwnedFd,
        session: Session,
        until: Instant,
    },
    Up {
        socket: OwnedFd,
        way: Way,
    },
}

/// How bytes get there.
#[derive(Debug)]
enum Way {
    Stream,
    Datagram,
    Tls(Session),
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
    Broken(ErrorKind),
}

impl Peer {
    /// Connects for the first time, and waits for it: a container whose log nobody takes does not
    /// start, as in Docker.
    pub(super) fn open(address: SinkAddress) -> io::Result<Self> {
        let state = State::Down { again_at: Instant::now() };
        let party = address.tls().map(Party::read).transpose()?.map(Box::new);
        let mut peer = Self { address, party, state, patience: RETRY_FIRST, made: 0 };
        peer.connect()?;
        let until = Instant::now() + CONNECT_LIMIT;
        while peer.kind().is_none() {
            if !peer.wait(until.saturating_duration_since(Instant::now())) {
                return Err(ErrorKind::TimedOut.into());
            }
            peer.advance(Instant::now())?;
        }
        Ok(peer)
    }

    /// How messages travel, while there is a connection.
    pub(super) const fn kind(&self) -> Option<Kind> {
        match &self.state {
            State::Up { way: Way::Stream | Way::Tls(_), .. } => Some(Kind::Stream),
            State::Up { way: Way::Datagram, .. } => Some(Kind::Datagram),
            State::Down { .. } | State::Connecting { .. } | State::Greeting { .. } => None,
        }
    }

    /// What to watch, and its number.
    pub(super) fn socket(&self) -> Option<(BorrowedFd<'_>, u32)> {
        match &self.state {
            State::Connecting { socket, .. }
            | State::Greeting { socket, .. }
            | State::Up { socket, .. } => Some((socket.as_fd(), self.made)),
            State::Down { .. } => None,
        }
    }

    /// What has to happen to it before the connection goes on by itself.
    pub(super) fn awaits(&self) -> Awaited {
        match &self.state {
            State::Connecting { .. } => Awaited::Room,
            State::Greeting { session, .. } if session.has_unsent() => Awaited::Room,
            State::Greeting { .. } => Awaited::Words,
            State::Up { way: Way::Tls(session), .. } if session.has_unsent() => Awaited::Room,
            State::Down { .. } | State::Up { .. } => Awaited::Nothing,
        }
    }

    /// When there is something to do though nothing happens.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Down { again_at } => Some(again_at),
            State::Connecting { until, .. } | State::Greeting { until, .. } => Some(until),
            State::Up { .. } => None,
        }
    }

    /// Goes on with making a connection, and with what waits in it.
    pub(super) fn advance(&mut self, now: Instant) -> io::Result<()> {
        let made = self.step(now);
        if made.is_err() {
            self.down(now);
        }
        made
    }

    fn step(&mut self, now: Instant) -> io::Result<()> {
        let until = match &mut self.state {
            State::Up { socket, way: Way::Tls(session) } => return session.flush(socket),
            State::Up { .. } => return Ok(()),
            State::Down { again_at } if *again_at > now => return Ok(()),
            State::Down { .. } => return self.connect(),
            State::Connecting { socket, until } => {
                if finished(socket)?.is_some() {
                    return self.connected();
                }
                *until
            }
            State::Greeting { socket, session, until } => {
                session.go_on(socket)?;
                if !session.is_greeting() {
                    self.agreed();
                    return Ok(());
                }
                *until
            }
        };
        if until > now { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }

    /// Sends as much as is taken now: of a datagram all or nothing.
    pub(super) fn send(&mut self, bytes: &[u8], now: Instant) -> Sent {
        let State::Up { socket, way } = &mut self.state else { return Sent::Full };
        let sent = match (&self.address, way) {
            (_, Way::Tls(session)) => match session.send(socket, bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Errno::AGAIN),
                Err(error) => {
                    self.down(now);
                    return Sent::Broken(error.kind());
                }
                Ok(count) => Ok(count),
            },
            (_, Way::Stream) if has_ended(socket) => Err(Errno::PIPE),
            (SinkAddress::Journal(_), _) if bytes.len() > LONGEST_DATAGRAM => {
                send_file(socket, bytes)
            }
            _ => send_now(socket, bytes),
        };
        match sent {
            Ok(count) => {
                self.patience = RETRY_FIRST;
                Sent::Some(count)
            }
            Err(Errno::AGAIN | Errno::NOBUFS) => Sent::Full,
            // What the kernel was told of an earlier datagram; this one has not been tried.
            Err(Errno::CONNREFUSED) if matches!(self.address, SinkAddress::Udp(_)) => {
                send_now(socket, bytes).map_or(Sent::Full, Sent::SomeAfterRefusal)
            }
            Err(errno) => {
                self.down(now);
                Sent::Broken(io::Error::from(errno).kind())
            }
        }
    }

    /// Waits until the connection goes on or takes more, or this long.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let events = match self.awaits() {
            Awaited::Words => PollFlags::IN,
            Awaited::Room | Awaited::Nothing => PollFlags::OUT,
        };
        self.socket().is_some_and(|(socket, _)| wait(socket, events, limit).is_ok())
    }

    /// Nothing more is sent.
    pub(super) fn close(&mut self) {
        if let State::Up { socket, way: Way::Tls(session) } = &mut self.state {
            session.close(socket);
        }
    }

    fn connect(&mut self) -> io::Result<()> {
        let (socket, way, is_made) = match &self.address {
            SinkAddress::Host => connect_host()?,
            SinkAddress::Unix(path) => connect_unix(path, Way::Stream)?,
            SinkAddress::UnixDatagram(path) | SinkAddress::Journal(path) => {
                connect_unix(path, Way::Datagram)?
            }
            SinkAddress::Udp(address) => connect_inet(*address, Way::Datagram)?,
            SinkAddress::Tcp(address) => connect_inet(*address, Way::Stream)?,
            SinkAddress::Tls(tls) => connect_inet(tls.address, Way::Stream)?,
        };
        self.made = self.made.wrapping_add(1);
        if is_made && self.party.is_none() {
            self.state = State::Up { socket, way };
            return Ok(());
        }
        self.state = State::Connecting { socket, until: Instant::now() + CONNECT_LIMIT };
        if is_made { self.connected() } else { Ok(()) }
    }

    /// A connection of TCP is made.
    fn connected(&mut self) -> io::Result<()> {
        let session = self.party.as_ref().map(|party| party.greet()).transpose()?;
        let down = State::Down { again_at: Instant::now() };
        if let State::Connecting { socket, until } = std::mem::replace(&mut self.state, down) {
            self.state = match session {
                Some(session) => State::Greeting { socket, session, until },
                None => State::Up { socket, way: Way::Stream },
            };
        }
        Ok(())
    }

    /// Both sides of TLS know each other.
    fn agreed(&mut self) {
        let down = State::Down { again_at: Instant::now() };
        if let State::Greeting { socket, session, .. } = std::mem::replace(&mut self.state, down) {
            self.state = State::Up { socket, way: Way::Tls(session) };
        }
    }

    fn down(&mut self, now: Instant) {
        self.state = State::Down { again_at: now + self.patience };
        self.patience = (self.patience * 2).min(RETRY_LAST);
    }
}

type Connected = (OwnedFd, Way, bool);

fn connect_host() -> io::Result<Connected> {
    let mut last = ErrorKind::NotFound.into();
    for path in HOST {
        for way in [Way::Datagram, Way::Stream] {
            match connect_unix(Path::new(path), way) {
                Ok(connected) => return Ok(connected),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

fn connect_unix(path: &Path, way: Way) -> io::Result<Connected> {
    let socket = make(AddressFamily::UNIX, &way)?;
    // The backlog of one who listens may be full; then it is tried again, as anything else.
    retry(|| connect(&socket, &SocketAddrUnix::new(path)?))?;
    Ok((socket, way, true))
}

fn connect_inet(address: SocketAddr, way: Way) -> io::Result<Connected> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = make(family, &way)?;
    if !matches!(way, Way::Datagram) {
        // A host that is gone is known to be after this long, not after the kernel's quarter of an
        // hour; and one that nothing is sent to, by its keep-alive.
        let limit = u32::try_from(super::sink::STALL_LIMIT.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, limit)?;
        sockopt::set_socket_keepalive(&socket, true)?;
    }
    match retry(|| connect(&socket, &address)) {
        Ok(()) => Ok((socket, way, true)),
        Err(Errno::INPROGRESS) => Ok((socket, way, false)),
        Err(errno) => Err(errno.into()),
    }
}

fn make(family: AddressFamily, way: &Way) -> io::Result<OwnedFd> {
    let kind = match way {
        Way::Stream | Way::Tls(_) => SocketType::STREAM,
        Way::Datagram => SocketType::DGRAM,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// Whether a connection that was begun is made.
fn finished(socket: &OwnedFd) -> io::Result<Option<()>> {
    if wait(socket, PollFlags::OUT, Duration::ZERO).is_err() {
        return Ok(None);
    }
    match sockopt::socket_error(socket)? {
        Ok(()) => Ok(Some(())),
        Err(errno) => Err(errno.into()),
    }
}

fn wait(socket: impl AsFd, events: PollFlags, limit: Duration) -> io::Result<()> {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    match retry(|| poll(&mut [PollFd::new(&socket, events)], Some(&limit)))? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Whether the other side has closed: what is sent to it would be lost without a word. Whatever it
/// says is read and forgotten; of one that says very much, only so much at a time.
fn has_ended(socket: &OwnedFd) -> bool {
    let mut scrap = [0; 512];
    for _ in 0..SCRAPS {
        match retry(|| recv(socket, &mut scrap, RecvFlags::DONTWAIT)) {
            Ok((0, _)) => return true,
            Ok(_) => {}
            Err(Errno::AGAIN) => return false,
            Err(_) => return true,
        }
    }
    false
}

fn send_now(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    retry(|| send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_talks_without_end_is_not_listened_to_without_end() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let all = rustix::io::write(&theirs, &[b'x'; 64 << 10]).unwrap();
        assert!(all > 512 * SCRAPS, "{all}");
        let ours = OwnedFd::from(ours);
        assert!(!has_ended(&ours));
        let mut left = vec![0; all];
        let (left, _) = recv(&ours, &mut left, RecvFlags::DONTWAIT).unwrap();
        assert_eq!(left, all - 512 * SCRAPS);
        // Its end is seen once all of that is read.
        rustix::io::write(&theirs, b"bye").unwrap();
        drop(theirs);
        assert!(has_ended(&ours));
    }
}
