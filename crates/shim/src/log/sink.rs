//! A log that another program takes: messages wait here until it does.
//!
//! While the peer makes progress nothing is lost: in blocking mode the container waits for it, as
//! in Docker. A peer that is gone, or takes nothing for a while, holds nobody back: what comes then
//! and has no room is counted, and told once the peer takes messages again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use model::log::LogDelivery;

use super::Awaited;
use super::peer::{Kind, Peer, Sent};
use super::record::Recorder;
use crate::protocol::StreamKind;

/// How long a peer may take nothing before it counts as gone.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take for the rest once the container has ended.
const END_LIMIT: Duration = Duration::from_secs(1);
/// Bytes that wait before a container is made to wait.
const BLOCKING_LIMIT: usize = 256 << 10;

/// A log that another program takes.
#[derive(Debug)]
pub(super) struct Sink {
    recorder: Recorder,
    peer: Peer,
    framing: Framing,
    queue: Queue,
    delivery: LogDelivery,
    limit: usize,
    progress: Progress,
    losses: Losses,
}

/// How the peer tells one message from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By what is in it.
    Lines,
    /// Each has its length in front.
    Counted,
}

/// Whether the peer takes what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It does.
    Flows,
    /// It has taken nothing since then.
    Stalled(Instant),
    /// It has taken nothing for so long that nobody waits for it.
    GivenUp,
}

#[derive(Debug)]
struct Losses {
    all: u64,
    untold: u64,
    why: String,
}

/// Whole messages, and how much of the first one is sent.
#[derive(Debug, Default)]
struct Queue {
    bytes: VecDeque<u8>,
    /// The length of each.
    lengths: VecDeque<usize>,
    sent: usize,
}

impl Sink {
    pub(super) fn new(
        recorder: Recorder,
        (peer, framing): (Peer, Framing),
        delivery: LogDelivery,
    ) -> Self {
        let limit = match delivery {
            LogDelivery::Blocking => BLOCKING_LIMIT,
            LogDelivery::NonBlocking { buffer } => usize::try_from(buffer).unwrap_or(usize::MAX),
        };
        let losses = Losses { all: 0, untold: 0, why: String::new() };
        let (queue, progress) = (Queue::default(), Progress::Flows);
        Self { recorder, peer, framing, queue, delivery, limit, progress, losses }
    }

    /// Takes one read's worth of output.
    pub(super) fn write(&mut self, stream: StreamKind, data: &[u8], now: i64) {
        self.recorder.at(now);
        let mut rest = data;
        while !rest.is_empty() {
            rest = self.recorder.take(stream, rest, self.limit);
            self.enqueue();
            self.flush(Instant::now());
        }
    }

    pub(super) fn finish(&mut self, stream: StreamKind, now: i64) {
        self.recorder.at(now);
        self.recorder.finish(stream);
        self.enqueue();
        self.flush(Instant::now());
    }

    /// Sends what is taken now.
    pub(super) fn flush(&mut self, now: Instant) {
        if let Err(error) = self.peer.advance(now) {
            self.losses.because(error.kind());
            self.queue.rewind();
        }
        while !self.queue.lengths.is_empty() {
            let Some(kind) = self.peer.kind() else { break };
            match self.peer.send(self.queue.front(kind), now) {
                Sent::Some(count) => {
                    self.progress = Progress::Flows;
                    self.queue.sent(count, kind);
                }
                // That is not told to one who is not there.
                Sent::SomeAfterRefusal(count) => {
                    self.losses.all += 1;
                    self.queue.sent(count, kind);
                }
                Sent::Full => {
                    self.stall(now);
                    return;
                }
                Sent::Broken(why) => {
                    self.losses.because(why);
                    self.queue.rewind();
                    // How long the next one takes nothing is its own time.
                    self.progress = Progress::Flows;
                }
            }
        }
        if self.queue.lengths.is_empty() {
            self.progress = Progress::Flows;
            self.tell_losses();
        }
    }

    /// Whether the container has to wait.
    pub(super) fn holds_back(&self) -> bool {
        self.delivery == LogDelivery::Blocking
            && self.queue.bytes.len() >= self.limit
            && self.is_taken()
    }

    pub(super) fn socket(&self) -> Option<(BorrowedFd<'_>, u32)> {
        self.peer.socket()
    }

    /// Whether something waits for room, or for the connection to be made.
    pub(super) fn wants_room(&self) -> bool {
        self.peer.kind().is_none() || !self.is_all_sent()
    }

    /// What the connection is to be watched for.
    pub(super) fn awaits(&self) -> Awaited {
        match self.peer.awaits() {
            Awaited::Nothing if !self.queue.lengths.is_empty() => Awaited::Room,
            awaited @ (Awaited::Nothing | Awaited::Room | Awaited::Words) => awaited,
        }
    }

    fn is_all_sent(&self) -> bool {
        self.queue.lengths.is_empty() && self.peer.awaits() == Awaited::Nothing
    }

    /// When to look again though nothing has happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // Without anything to send, nobody has to be there.
        let peer = self.peer.deadline().filter(|_| self.has_work());
        let stall = match self.progress {
            Progress::Stalled(since) => Some(since + STALL_LIMIT),
            Progress::Flows | Progress::GivenUp => None,
        };
        peer.into_iter().chain(stall).min()
    }

    pub(super) const fn lost(&self) -> u64 {
        self.losses.all
    }

    #[cfg(test)]
    pub(super) fn wait(&self, limit: Duration) {
        self.peer.wait(limit);
    }

    pub(super) fn trim(&mut self) {
        self.recorder.trim();
        if self.queue.lengths.is_empty() {
            self.queue = Queue::default();
        }
    }

    fn has_work(&self) -> bool {
        !self.queue.lengths.is_empty() || self.losses.untold > 0
    }

    /// Whether the peer is there and has taken something of late.
    fn is_taken(&self) -> bool {
        self.peer.kind().is_some() && self.progress != Progress::GivenUp
    }

    /// The peer takes nothing now.
    fn stall(&mut self, now: Instant) {
        self.progress = match self.progress {
            Progress::Flows => Progress::Stalled(now),
            Progress::Stalled(since) if now.duration_since(since) < STALL_LIMIT => return,
            Progress::Stalled(_) | Progress::GivenUp => Progress::GivenUp,
        };
    }

    fn enqueue(&mut self) {
        let waits = self.delivery == LogDelivery::Blocking && self.is_taken();
        for message in self.recorder.messages() {
            // One alone may be longer than the limit, as in Docker: there would be no end of notes that
            // tell of the loss of notes.
            let is_alone = self.queue.lengths.is_empty();
            if waits || is_alone || self.queue.bytes.len() + message.len() <= self.limit {
                self.queue.push(message, self.framing);
            } else {
                self.losses.all += 1;
                self.losses.untold += 1;
            }
        }
        self.recorder.clear();
    }

    /// Tells what was lost, once all that came before it has been taken.
    fn tell_losses(&mut self) {
        if self.losses.untold == 0 || self.peer.kind().is_none() {
            return;
        }
        let (count, why) = (self.losses.untold, &self.losses.why);
        let why = if why.is_empty() { "nobody takes the log" } else { why };
        self.recorder.note(&format!("[dhow: {count} lines were not logged: {why}]\n"));
        self.losses.untold = 0;
        self.losses.why.clear();
        self.enqueue();
        self.flush(Instant::now());
    }
}

impl Losses {
    /// What has begun it is told.
    fn because(&mut self, why: io::ErrorKind) {
        if self.why.is_empty() {
            self.why = why.to_string();
        }
    }
}

impl Drop for Sink {
    /// The container has ended: what waits is still sent, if it is taken soon.
    fn drop(&mut self) {
        let end = Instant::now() + END_LIMIT;
        loop {
            let now = Instant::now();
            self.flush(now);
            let left = end.saturating_duration_since(now);
            let is_done = self.is_all_sent() || self.peer.kind().is_none();
            if is_done || left.is_zero() || !self.peer.wait(left) {
                self.peer.close();
                return;
            }
        }
    }
}

impl Queue {
    fn push(&mut self, message: &[u8], framing: Framing) {
        let before = self.bytes.len();
        if framing == Framing::Counted {
            self.bytes.extend(format!("{} ", message.len()).as_bytes());
        }
        self.bytes.extend(message);
        self.lengths.push_back(self.bytes.len() - before);
    }

    /// What to send next: of a stream as much as lies together, else one message.
    fn front(&mut self, kind: Kind) -> &[u8] {
        match kind {
            Kind::Stream => {
                let (front, back) = self.bytes.as_slices();
                front
                    .get(self.sent..)
                    .filter(|rest| !rest.is_empty())
                    .unwrap_or_else(|| back.get(self.sent - front.len()..).unwrap_or_default())
            }
            Kind::Datagram => {
                let length = self.lengths.front().copied().unwrap_or_default();
                if self.bytes.as_slices().0.len() < length {
                    self.bytes.make_contiguous();
                }
                &self.bytes.as_slices().0[..length]
            }
        }
    }

    /// Takes note that so many bytes are on their way.
    fn sent(&mut self, count: usize, kind: Kind) {
        self.sent += match kind {
            Kind::Stream => count,
            Kind::Datagram => self.lengths.front().copied().unwrap_or_default(),
        };
        while let Some(length) = self.lengths.front().copied().filter(|length| *length <= self.sent)
        {
            self.lengths.pop_front();
            self.bytes.drain(..length);
            self.sent -= length;
        }
    }

    /// The message that was being sent is sent anew.
    fn rewind(&mut self) {
        self.sent = 0;
    }
}
