//! The frame of nf_tables messages: transactions, and the numbers of `linux/netfilter/nf_tables.h`.
//!
//! A transaction is one send between a begin and an end message. The kernel applies all of it or
//! nothing, at one instant for every packet.

use crate::address::Family;
use crate::netlink::{Answer, Attributes, Batch, Head, NetlinkError, Socket, Writer, flag};

/// nf_tables' number among the parts of netfilter.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const BATCH_GENERATION: u16 = 1;
const GENERATION_ID: u16 = 1;
/// `nfgenmsg`: family, version, resource.
pub(super) const HEADER: usize = 4;

/// Message types.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    NewTable = 0,
    GetTable = 1,
    DeleteTable = 2,
    NewChain = 3,
    GetChain = 4,
    NewRule = 6,
    GetRule = 7,
    DeleteRule = 8,
    NewSet = 9,
    NewElement = 12,
    GetElement = 13,
    DeleteElement = 14,
    GetGeneration = 16,
}

impl Message {
    pub(super) const fn number(self) -> u16 {
        (SUBSYSTEM << 8) | self as u16
    }
}

/// Counts the changes of all nf_tables of a network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Generation(u32);

impl Generation {
    /// The present one.
    pub(super) fn read(socket: &Socket) -> Result<Self, NetlinkError> {
        let step = "read the generation of nftables";
        let head = Head { kind: Message::GetGeneration.number(), flags: 0, step };
        let answers = socket.get(Batch::of(head, &[0; HEADER], |_| {}))?;
        let id = answers.iter().flatten().find_map(|answer| {
            let id = Attributes::after(&answer.payload, HEADER).find(GENERATION_ID)?;
            crate::netlink::network_u32(id.value)
        });
        id.map(Self).ok_or(NetlinkError::Malformed(step))
    }
}

/// Changes that happen together or not at all.
#[derive(Debug)]
pub(super) struct Transaction(Batch);

impl Transaction {
    /// Opens one that applies to whatever is there.
    pub(super) fn begin() -> Self {
        Self::open(None)
    }

    /// Opens one that the kernel refuses (`ERESTART`) if anything changed since `generation`.
    pub(super) fn begin_at(generation: Generation) -> Self {
        Self::open(Some(generation))
    }

    fn open(generation: Option<Generation>) -> Self {
        let head = Head { kind: BATCH_BEGIN, flags: 0, step: "begin a transaction of nftables" };
        let [high, low] = SUBSYSTEM.to_be_bytes();
        Self(Batch::of(head, &[0, 0, high, low], |w| {
            if let Some(Generation(id)) = generation {
                w.network_u32(BATCH_GENERATION, id);
            }
        }))
    }

    /// Creates, and does nothing where the very same exists.
    pub(super) fn create(
        &mut self,
        (message, step): (Message, &'static str),
        family: Family,
        body: impl FnOnce(&mut Writer),
    ) {
        let flags = flag::ACK | flag::CREATE;
        let head = Head { kind: message.number(), flags, step };
        self.0.message(head, &[family.number(), 0, 0, 0], body);
    }

    /// Appends a rule to its chain.
    pub(super) fn append(
        &mut self,
        (message, step): (Message, &'static str),
        family: Family,
        body: impl FnOnce(&mut Writer),
    ) {
        let flags = flag::ACK | flag::CREATE | flag::APPEND;
        let head = Head { kind: message.number(), flags, step };
        self.0.message(head, &[family.number(), 0, 0, 0], body);
    }

    /// Deletes.
    pub(super) fn delete(
        &mut self,
        (message, step): (Message, &'static str),
        family: Family,
        body: impl FnOnce(&mut Writer),
    ) {
        let head = Head { kind: message.number(), flags: flag::ACK, step };
        self.0.message(head, &[family.number(), 0, 0, 0], body);
    }

    /// Changes what is in a table of any family, with flags beside the one that wants an answer.
    pub(super) fn change(
        &mut self,
        (message, step): (Message, &'static str),
        (family, flags): (u8, u16),
        body: impl FnOnce(&mut Writer),
    ) {
        let head = Head { kind: message.number(), flags: flag::ACK | flags, step };
        self.0.message(head, &[family, 0, 0, 0], body);
    }

    /// Applies it.
    pub(super) fn commit(mut self, socket: &Socket) -> Result<(), NetlinkError> {
        let head = Head { kind: BATCH_END, flags: 0, step: "end a transaction of nftables" };
        let [high, low] = SUBSYSTEM.to_be_bytes();
        self.0.message(head, &[0, 0, high, low], |_| {});
        socket.execute(self.0)
    }
}

/// Lists; `None` if what the list is of does not exist.
pub(super) fn list(
    socket: &Socket,
    message: (Message, &'static str),
    family: Option<Family>,
    body: impl Fn(&mut Writer),
) -> Result<Option<Vec<Answer>>, NetlinkError> {
    list_of(socket, message, family.map_or(0, Family::number), body)
}

/// The same of any family, by its number; 0 is all of them.
pub(super) fn list_of(
    socket: &Socket,
    (message, step): (Message, &'static str),
    family: u8,
    body: impl Fn(&mut Writer),
) -> Result<Option<Vec<Answer>>, NetlinkError> {
    let head = Head { kind: message.number(), flags: flag::DUMP, step };
    let listed = socket.list(|| Batch::of(head, &[family, 0, 0, 0], &body));
    match listed {
        Err(error) if error.refusal() == Some(sys::Errno::NOENT) => Ok(None),
        other => other.map(Some),
    }
}
