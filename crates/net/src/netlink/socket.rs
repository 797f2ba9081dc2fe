//! The exchange with the kernel: one send, then the answers.
//!
//! Owns sockets and errors. A socket belongs to the network namespace that it was opened in,
//! wherever it is used later.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};
use sys::Errno;

use super::batch::{EncodeError, Step};
use super::{Attributes, Batch, flag};

const ERROR: u16 = 2;
const DONE: u16 = 3;
const DUMP_INTERRUPTED: u16 = 0x10;
const ACK_HAS_ATTRIBUTES: u16 = 0x200;
const ACK_MESSAGE: u16 = 1;
/// A listing that changed under the reader this often is given up.
const LISTINGS: usize = 16;
/// What one read may return; the kernel never sends more in one datagram of a listing.
const BUFFER: usize = 64 * 1024;
/// What the kernel adds to the bytes of a datagram when it accounts for it.
const SEND_OVERHEAD: usize = 4096;
/// `net.core.wmem_default` of an untouched kernel.
const SEND_DEFAULT: usize = 200 * 1024;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("open a netlink socket")]
    Open(#[source] Errno),
    /// The messages cannot be written.
    #[error("write a netlink message")]
    Encode(#[from] EncodeError),
    /// The kernel did not take the messages.
    #[error("send {step} over netlink")]
    Send {
        /// The first message.
        step: &'static str,
        /// Why.
        source: Errno,
    },
    /// The kernel's answer could not be read.
    #[error("read the answer to {step} over netlink")]
    Receive {
        /// The first message.
        step: &'static str,
        /// Why.
        source: Errno,
    },
    /// The kernel refuses.
    #[error("{step}{}", explained(detail))]
    Refused {
        /// What was refused.
        step: &'static str,
        /// The kernel's words, or empty.
        detail: String,
        /// Why.
        source: Errno,
    },
    /// Not the protocol.
    #[error("the answer to {0} over netlink is malformed")]
    Malformed(&'static str),
    /// It kept changing.
    #[error("{0}: it changes too fast to be listed")]
    Unstable(&'static str),
}

fn explained(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

impl NetlinkError {
    /// The error number with which the kernel refused, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } => Some(*source),
            Self::Open(_)
            | Self::Encode(_)
            | Self::Send { .. }
            | Self::Receive { .. }
            | Self::Malformed(_)
            | Self::Unstable(_) => None,
        }
    }
}

/// One message from the kernel.
#[derive(Debug)]
pub struct Answer {
    /// Its type.
    pub kind: u16,
    /// The request it answers: its place in the batch, from 1.
    pub sequence: u32,
    /// Fixed header and attributes.
    pub payload: Vec<u8>,
}

/// A netlink socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// What a datagram from the kernel says.
enum Event {
    Data(Answer),
    Done,
    Acknowledged { sequence: u32 },
    Refused { sequence: u32, source: Errno, detail: String },
}

impl Socket {
    /// Links, addresses, routes, neighbours of the current network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn route() -> Result<Self, NetlinkError> {
        // The number of NETLINK_ROUTE is 0.
        Self::open(None)
    }

    /// nftables and conntrack of the current network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(Some(netlink::NETFILTER))
    }

    /// Sockets of the current network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn diagnosis() -> Result<Self, NetlinkError> {
        Self::open(Some(netlink::SOCK_DIAG))
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> Result<Self, NetlinkError> {
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket =
            socket_with(family, SocketType::RAW, flags, protocol).map_err(NetlinkError::Open)?;
        sys::netlink::explain_refusals(&socket).map_err(NetlinkError::Open)?;
        Ok(Self(socket))
    }

    /// Sends messages and waits until every one that asks for it is acknowledged.
    ///
    /// The kernel goes on after a message that it refuses; the first refusal is returned.
    ///
    /// # Errors
    /// The first that happens.
    pub fn execute(&self, batch: Batch) -> Result<(), NetlinkError> {
        let refused = self.execute_all(batch)?;
        refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// As `execute`, but returns every refusal with the place of its message in the batch.
    ///
    /// # Errors
    /// If the exchange itself fails.
    pub fn execute_all(&self, batch: Batch) -> Result<Vec<(u32, NetlinkError)>, NetlinkError> {
        let steps = self.send(batch)?;
        let first = steps.first().map_or("nothing", |(step, _)| *step);
        let awaited = steps.iter().rposition(|(_, flags)| flags & flag::ACK != 0);
        let last = u32::try_from(awaited.map_or(0, |index| index + 1)).unwrap_or(u32::MAX);
        let (mut refused, mut done) = (Vec::new(), last == 0);
        let mut buffer = Vec::with_capacity(BUFFER);
        while !done {
            for event in self.receive(&mut buffer, first)? {
                done |= note_acknowledgement(event, &steps, last, &mut refused);
            }
        }
        // After the refusal of a whole transaction come answers to its parts.
        while !refused.is_empty() && self.receive(&mut buffer, first).is_ok() {}
        Ok(refused)
    }

    /// Sends one message that lists, and returns what it lists.
    ///
    /// `request` is called again when the list changed while it was read.
    ///
    /// # Errors
    /// A refusal, or a list that never stands still.
    pub fn list(&self, request: impl Fn() -> Batch) -> Result<Vec<Answer>, NetlinkError> {
        let mut step = "list";
        for _ in 0..LISTINGS {
            let steps = self.send(request())?;
            step = steps.first().map_or(step, |(step, _)| *step);
            if let Some(answers) = self.read_list(step)? {
                return Ok(answers);
            }
        }
        Err(NetlinkError::Unstable(step))
    }

    /// Sends messages that are answered by one message each. A refusal by `ENOENT`, `ENODEV` or
    /// `ENXIO` is the answer that the thing does not exist: `None`.
    ///
    /// # Errors
    /// Any other refusal.
    pub fn get(&self, batch: Batch) -> Result<Vec<Option<Answer>>, NetlinkError> {
        let steps = self.send(batch)?;
        let first = steps.first().map_or("nothing", |(step, _)| *step);
        let mut answers = Vec::with_capacity(steps.len());
        let mut buffer = Vec::with_capacity(BUFFER);
        while answers.len() < steps.len() {
            for event in self.receive(&mut buffer, first)? {
                answers.push(single(event, &steps)?);
            }
        }
        Ok(answers)
    }

    /// The kernel's number of a link in this socket's namespace.
    ///
    /// # Errors
    /// `ENODEV` if there is none of this name.
    pub fn index_of(&self, link: &str) -> Result<u32, NetlinkError> {
        let step = "look up the number of a link";
        rustix::net::netdevice::name_to_index(&self.0, link)
            .map_err(|source| NetlinkError::Refused { step, detail: String::new(), source })
    }

    fn send(&self, batch: Batch) -> Result<Vec<Step>, NetlinkError> {
        let (bytes, steps) = batch.finish()?;
        let step = steps.first().map_or("nothing", |(step, _)| *step);
        let failed = |source| NetlinkError::Send { step, source };
        if bytes.len() + SEND_OVERHEAD > SEND_DEFAULT {
            let size = bytes.len() + SEND_OVERHEAD;
            sockopt::set_socket_send_buffer_size_force(&self.0, size).map_err(failed)?;
        }
        let sent = send(&self.0, &bytes, SendFlags::empty()).map_err(failed)?;
        if sent == bytes.len() { Ok(steps) } else { Err(failed(Errno::MSGSIZE)) }
    }

    /// The messages of one datagram. The kernel answers while the request is being sent, so there
    /// is nothing to wait for: an answer that is missing is an error and not a hang.
    fn receive(
        &self,
        buffer: &mut Vec<u8>,
        step: &'static str,
    ) -> Result<Vec<Event>, NetlinkError> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        // Nothing is cleared first: most answers are a hundred bytes, and a change has dozens of them.
        buffer.clear();
        let received = loop {
            match recv(&self.0, spare_capacity(buffer), flags) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let (_, length) = received.map_err(|source| NetlinkError::Receive { step, source })?;
        let datagram = buffer.get(..length).ok_or(NetlinkError::Malformed(step))?;
        parse_datagram(datagram).ok_or(NetlinkError::Malformed(step))
    }

    /// `None` when the list changed while it was read.
    fn read_list(&self, step: &'static str) -> Result<Option<Vec<Answer>>, NetlinkError> {
        let mut listing = Listing { answers: Vec::new(), stable: true, ended: false };
        let mut buffer = Vec::with_capacity(BUFFER);
        while !listing.ended {
            for event in self.receive(&mut buffer, step)? {
                listing.note(event, step)?;
            }
        }
        Ok(listing.stable.then_some(listing.answers))
    }
}

/// A list being read.
struct Listing {
    answers: Vec<Answer>,
    stable: bool,
    ended: bool,
}

impl Listing {
    fn note(&mut self, event: Event, step: &'static str) -> Result<(), NetlinkError> {
        match event {
            Event::Data(answer) => self.answers.push(answer),
            Event::Done | Event::Acknowledged { .. } => self.ended = true,
            Event::Refused { source: Errno::INTR, .. } => self.stable = false,
            Event::Refused { source, detail, .. } => {
                return Err(NetlinkError::Refused { step, detail, source });
            }
        }
        Ok(())
    }
}

/// Whether the last awaited message is answered.
fn note_acknowledgement(
    event: Event,
    steps: &[Step],
    last: u32,
    refused: &mut Vec<(u32, NetlinkError)>,
) -> bool {
    match event {
        Event::Data(_) | Event::Done => false,
        Event::Acknowledged { sequence } => sequence == last,
        Event::Refused { sequence, source, detail } => {
            let (step, flags) = step_of(steps, sequence);
            refused.push((sequence, NetlinkError::Refused { step, detail, source }));
            // netfilter refuses a whole batch by refusing its first message, which asked for no
            // acknowledgement; no answers follow that are worth waiting for.
            sequence == last || (sequence == 1 && flags & flag::ACK == 0)
        }
    }
}

fn single(event: Event, steps: &[Step]) -> Result<Option<Answer>, NetlinkError> {
    match event {
        Event::Data(answer) => Ok(Some(answer)),
        Event::Done | Event::Acknowledged { .. } => Ok(None),
        Event::Refused { source: Errno::NOENT | Errno::NODEV | Errno::NXIO, .. } => Ok(None),
        Event::Refused { sequence, source, detail } => {
            Err(NetlinkError::Refused { step: step_of(steps, sequence).0, detail, source })
        }
    }
}

fn step_of(steps: &[Step], sequence: u32) -> Step {
    let index = usize::try_from(sequence).unwrap_or(usize::MAX).wrapping_sub(1);
    steps.get(index).copied().unwrap_or(("an unknown message", 0))
}

fn parse_datagram(mut bytes: &[u8]) -> Option<Vec<Event>> {
    let mut events = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<16>() {
        let length = usize::try_from(super::native_u32(header)?).ok()?;
        let payload = bytes.get(16..length)?;
        let [_, _, _, _, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let kind = u16::from_ne_bytes([k0, k1]);
        let flags = u16::from_ne_bytes([f0, f1]);
        let sequence = u32::from_ne_bytes([s0, s1, s2, s3]);
        if flags & DUMP_INTERRUPTED != 0 {
            events.push(Event::Refused { sequence, source: Errno::INTR, detail: String::new() });
        }
        events.push(match kind {
            ERROR => parse_error(payload, flags, sequence)?,
            DONE => parse_done(payload, sequence),
            kind => Event::Data(Answer { kind, sequence, payload: payload.to_vec() }),
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(events)
}

/// The end of a list carries the error that ended it, if one did.
fn parse_done(payload: &[u8], sequence: u32) -> Event {
    let number = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    match number.checked_neg() {
        Some(errno @ 1..) => {
            let source = Errno::from_raw_os_error(errno);
            Event::Refused { sequence, source, detail: String::new() }
        }
        Some(_) | None => Event::Done,
    }
}

fn parse_error(payload: &[u8], flags: u16, sequence: u32) -> Option<Event> {
    let number = i32::from_ne_bytes(*payload.first_chunk()?);
    if number == 0 {
        return Some(Event::Acknowledged { sequence });
    }
    let source = Errno::from_raw_os_error(number.checked_neg()?);
    // With NETLINK_CAP_ACK the error number and the request's header come before the attributes.
    let words = Attributes::after(payload, 4 + 16).find(ACK_MESSAGE);
    let detail = match words.filter(|_| flags & ACK_HAS_ATTRIBUTES != 0) {
        Some(words) => words.text().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    Some(Event::Refused { sequence, source, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_datagram_is_parsed_without_panic(bytes: Vec<u8>) {
            let _ = parse_datagram(&bytes);
        }
    }

    #[test]
    fn a_refusal_carries_the_words_of_the_kernel() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&48_u32.to_ne_bytes());
        bytes.extend_from_slice(&ERROR.to_ne_bytes());
        bytes.extend_from_slice(&ACK_HAS_ATTRIBUTES.to_ne_bytes());
        bytes.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&(-17_i32).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&[8, 0, 1, 0, b'n', b'o', 0, 0, 0, 0, 0, 0]);
        let events = parse_datagram(&bytes).unwrap();
        let [Event::Refused { sequence: 3, source: Errno::EXIST, detail }] = events.as_slice()
        else {
            panic!("not a refusal");
        };
        assert_eq!(detail, "no");
    }
}
