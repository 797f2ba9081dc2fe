//! One epoll set: what a descriptor is for, and when to look at it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use sys::Errno;

use crate::machine::ConnId;
use crate::protocol::StreamKind;

/// How many descriptors one wait reports; the others come with the next.
const BATCH: usize = 32;

/// One process whose streams are carried. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcKey(pub(crate) u32);

/// What a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// New clients.
    Listener,
    /// Signals to this process.
    Signals,
    /// The cgroup's OOM notices.
    Oom,
    /// Whoever takes the log.
    Log,
    /// Members of the execs' parts of the cgroup.
    Parts,
    /// A client.
    Conn(ConnId),
    /// Output of a process.
    Output(ProcKey, StreamKind),
    /// Input of a process.
    Input(ProcKey),
    /// The container's questions for names, by UDP.
    NamePackets,
    /// New connections of the container that ask for names.
    NameListener,
    /// One of these.
    NameClient(u32),
    /// A server that was asked.
    NameServer(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (1, 0),
            Self::Oom => (2, 0),
            Self::Log => (7, 0),
            Self::Parts => (8, 0),
            Self::NamePackets => (9, 0),
            Self::NameListener => (10, 0),
            Self::NameClient(number) => (11, number),
            Self::NameServer(number) => (12, number),
            Self::Conn(ConnId(number)) => (3, number),
            Self::Output(ProcKey(number), StreamKind::Stdout) => (4, number),
            Self::Output(ProcKey(number), StreamKind::Stderr) => (5, number),
            Self::Input(ProcKey(number)) => (6, number),
        };
        (kind << 32) | u64::from(number)
    }

    fn decode(data: u64) -> Option<Self> {
        let number = u32::try_from(data & u64::from(u32::MAX)).ok()?;
        Some(match data >> 32 {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Oom,
            3 => Self::Conn(ConnId(number)),
            4 => Self::Output(ProcKey(number), StreamKind::Stdout),
            5 => Self::Output(ProcKey(number), StreamKind::Stderr),
            6 => Self::Input(ProcKey(number)),
            7 => Self::Log,
            8 => Self::Parts,
            9 => Self::NamePackets,
            10 => Self::NameListener,
            11 => Self::NameClient(number),
            12 => Self::NameServer(number),
            _ => return None,
        })
    }
}

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Not in the set at all: not even a hang-up is reported.
    None,
    /// A hang-up alone.
    HangUp,
    /// There is something to read.
    Read,
    /// There is room to write.
    Write,
    /// Either.
    Both,
    /// Something has changed: how files of cgroups tell it.
    Change,
}

impl Interest {
    /// From what is wanted of a client.
    pub(crate) const fn of(reads: Wish, writes: Wish) -> Self {
        match (reads, writes) {
            (Wish::No, Wish::No) => Self::HangUp,
            (Wish::Yes, Wish::No) => Self::Read,
            (Wish::No, Wish::Yes) => Self::Write,
            (Wish::Yes, Wish::Yes) => Self::Both,
        }
    }

    const fn flags(self) -> Option<EventFlags> {
        match self {
            Self::None => None,
            Self::HangUp => Some(EventFlags::empty()),
            Self::Read => Some(EventFlags::IN),
            Self::Write => Some(EventFlags::OUT),
            Self::Both => Some(EventFlags::IN.union(EventFlags::OUT)),
            Self::Change => Some(EventFlags::PRI),
        }
    }
}

/// Whether something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Yes,
    No,
}

impl From<bool> for Wish {
    fn from(wanted: bool) -> Self {
        if wanted { Self::Yes } else { Self::No }
    }
}

/// What a descriptor is for, and what it is watched for now.
#[derive(Debug)]
pub(crate) struct Watch {
    token: Token,
    current: Interest,
}

impl Watch {
    /// Not in the set yet.
    pub(crate) const fn new(token: Token) -> Self {
        Self { token, current: Interest::None }
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// Which.
    pub(crate) token: Token,
    /// Its other end is gone.
    pub(crate) hung_up: bool,
}

/// The set.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches a descriptor for something else than before.
    pub(crate) fn set(
        &self,
        fd: impl AsFd,
        watch: &mut Watch,
        wanted: Interest,
    ) -> Result<(), Errno> {
        if watch.current == wanted {
            return Ok(());
        }
        let data = EventData::new_u64(watch.token.encode());
        match (watch.current, wanted.flags()) {
            (_, None) => epoll::delete(&self.epoll, fd)?,
            (Interest::None, Some(flags)) => epoll::add(&self.epoll, fd, data, flags)?,
            (_, Some(flags)) => epoll::modify(&self.epoll, fd, data, flags)?,
        }
        watch.current = wanted;
        Ok(())
    }

    /// Waits until something is ready, or this long.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<Vec<Ready>, Errno> {
        let mut events = Vec::with_capacity(BATCH);
        let limit = limit.map(|limit| Timespec {
            // Deadlines are seconds ahead; 2^63 of them is a wait for ever.
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut events), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = events.iter().filter_map(|event: &epoll::Event| {
            let (flags, data) = (event.flags, event.data);
            let token = Token::decode(data.u64())?;
            Some(Ready { token, hung_up: flags.intersects(EventFlags::HUP | EventFlags::ERR) })
        });
        Ok(ready.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_comes_back() {
        for token in [
            Token::Listener,
            Token::Signals,
            Token::Oom,
            Token::Log,
            Token::Parts,
            Token::Conn(ConnId(u32::MAX)),
            Token::Output(ProcKey(1), StreamKind::Stdout),
            Token::Output(ProcKey(2), StreamKind::Stderr),
            Token::Input(ProcKey(3)),
            Token::NamePackets,
            Token::NameListener,
            Token::NameClient(4),
            Token::NameServer(u32::MAX),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
    }

    #[test]
    fn what_is_not_watched_is_not_even_reported_as_hung_up() {
        let poller = Poller::new().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut watch = Watch::new(Token::Listener);
        poller.set(&reader, &mut watch, Interest::Read).unwrap();
        drop(writer);
        assert!(poller.wait(None).unwrap()[0].hung_up);
        poller.set(&reader, &mut watch, Interest::None).unwrap();
        assert!(poller.wait(Some(Duration::ZERO)).unwrap().is_empty());
        poller.set(&reader, &mut watch, Interest::HangUp).unwrap();
        assert_eq!(poller.wait(None).unwrap().len(), 1);
    }
}
