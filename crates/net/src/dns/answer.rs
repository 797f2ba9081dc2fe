//! The answer to a question, from its bytes: pure, bounded, and without a panic for whatever comes.
//!
//! What the members of a container's networks are called is answered, also that they have no address of a family
//! or no record of a type: nothing else may be true of such a name. All other questions go on to a server.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::plain;
use super::zone::{Alive, Zone};

/// The length of a message's header.
pub(super) const HEADER: usize = 12;
/// The largest answer by UDP to one who says nothing about it (RFC 1035).
pub(super) const PLAIN_UDP: usize = 512;
/// The largest message.
pub const MAX_MESSAGE: usize = u16::MAX as usize;
/// The largest question: one has hardly more than a name.
pub const MAX_QUESTION: usize = 4096;
/// What we say that we take by UDP, and the most that we send by it.
pub(super) const OWN_PAYLOAD: u16 = 4096;
/// Whoever keeps an answer is wrong as soon as a container ends. Docker says ten minutes.
pub(super) const TTL: u32 = 0;

/// The shortest record: it refers to a name, and has an address of IPv4.
const SHORTEST: usize = 2 + 10 + 4;

/// How a question came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Answers are as long as whoever asks says.
    Udp,
    /// Answers are as long as they are.
    Tcp,
}

/// What becomes of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// This is the answer.
    Reply(Vec<u8>),
    /// Somebody else may know.
    Forward,
    /// It is none: nothing goes back.
    Nothing,
}

/// Numbers that need not be secret: which of many addresses is the first.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins somewhere.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `count`, which is none.
    fn below(&mut self, count: usize) -> usize {
        // SplitMix64: one addition and two multiplications.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from((mixed ^ (mixed >> 31)) % count.max(1)).unwrap_or_default()
    }

    /// Puts them into any order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Answers a question, or says that it is for others.
pub fn answer(
    question: &[u8],
    transport: Transport,
    zone: &Zone,
    chance: &mut Chance,
    alive: Alive<'_>,
) -> Outcome {
    match plain::answer(question, zone, chance, &mut *alive) {
        Some(reply) => Outcome::Reply(reply),
        None => answer_any(question, transport, zone, chance, alive),
    }
}

fn answer_any(
    question: &[u8],
    transport: Transport,
    zone: &Zone,
    chance: &mut Chance,
    alive: Alive<'_>,
) -> Outcome {
    // What is an answer itself gets none, or two that answer each other would never end.
    if question.len() < HEADER || is_response(question) {
        return Outcome::Nothing;
    }
    let Some(asked) = parse(question) else { return malformed(question) };
    let mut reply = reply_to(&asked);
    if let Some(refusal) = refusal(&asked) {
        reply.metadata.response_code = refusal;
        return send(&reply, Vec::new(), limit(&asked, transport));
    }
    let Some(query) = asked.queries.first() else { return malformed(question) };
    let is_ours = matches!(query.query_class(), DNSClass::IN | DNSClass::ANY);
    let found = if is_ours { find(query, zone, chance, alive) } else { Found::Nobody };
    match found {
        Found::Records(records) => send(&reply, records, limit(&asked, transport)),
        Found::Nobody => Outcome::Forward,
        Found::NoSuchName => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            send(&reply, Vec::new(), limit(&asked, transport))
        }
    }
}

/// The answer to one who asked for what nobody is there to answer.
#[must_use]
pub fn failure(question: &[u8]) -> Option<Vec<u8>> {
    refuse(question, ResponseCode::ServFail)
}

/// The answer to one who asks too much at once.
#[must_use]
pub fn refused(question: &[u8]) -> Option<Vec<u8>> {
    refuse(question, ResponseCode::Refused)
}

/// How long an answer by UDP may be for whoever sent the question.
#[must_use]
pub fn udp_limit(question: &[u8]) -> usize {
    parse(question).map_or(PLAIN_UDP, |asked| limit(&asked, Transport::Udp))
}

/// The same question back, with nothing but the word that the answer is too long.
#[must_use]
pub fn truncated(question: &[u8]) -> Option<Vec<u8>> {
    let asked = parse(question)?;
    let mut reply = reply_to(&asked);
    reply.metadata.truncation = true;
    reply.to_vec().ok()
}

fn refuse(question: &[u8], why: ResponseCode) -> Option<Vec<u8>> {
    let asked = parse(question).filter(|_| !is_response(question))?;
    let mut reply = reply_to(&asked);
    reply.metadata.response_code = why;
    reply.to_vec().ok()
}

/// A message of one question. Many would take far more memory than they are long, before one of them is read.
fn parse(question: &[u8]) -> Option<Message> {
    let is_one = question.get(4..6) == Some(&[0, 1]);
    let is_read = is_one && question.len() <= MAX_QUESTION;
    is_read.then(|| Message::from_vec(question).ok()).flatten()
}

/// Whether the header says that a message is an answer.
pub(super) fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Names its id, so that whoever asked need not wait for its patience to end.
fn malformed(question: &[u8]) -> Outcome {
    let Some([high, low, flags]) = question.first_chunk() else { return Outcome::Nothing };
    let id = u16::from_be_bytes([*high, *low]);
    let operation = OpCode::from_u8((flags >> 3) & 0xf);
    let message = Message::error_msg(id, operation, ResponseCode::FormErr);
    message.to_vec().map_or(Outcome::Nothing, Outcome::Reply)
}

fn reply_to(asked: &Message) -> Message {
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.metadata.checking_disabled = asked.metadata.checking_disabled;
    reply.metadata.recursion_available = true;
    if let [query] = &asked.queries[..] {
        reply.add_query(query.clone());
    }
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OWN_PAYLOAD);
        reply.set_edns(edns);
    }
    reply
}

/// What no server is asked.
fn refusal(asked: &Message) -> Option<ResponseCode> {
    if asked.metadata.op_code != OpCode::Query {
        return Some(ResponseCode::NotImp);
    }
    let [query] = &asked.queries[..] else { return Some(ResponseCode::FormErr) };
    if asked.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Some(ResponseCode::BADVERS);
    }
    let is_transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
    is_transfer.then_some(ResponseCode::Refused)
}

/// What is known of a name.
enum Found {
    /// All of it, which may be nothing.
    Records(Vec<Record>),
    /// Nothing here.
    Nobody,
    /// Nothing anywhere.
    NoSuchName,
}

fn find(query: &Query, zone: &Zone, chance: &mut Chance, alive: Alive<'_>) -> Found {
    let kind = query.query_type();
    if kind == RecordType::PTR
        && let Some(address) = address_of(query.name())
    {
        let name = zone.name(address, alive).and_then(|name| Name::from_ascii(name + ".").ok());
        let record = |name| Record::from_rdata(query.name().clone(), TTL, RData::PTR(PTR(name)));
        return name.map_or(Found::Nobody, |name| Found::Records(vec![record(name)]));
    }
    let Some(name) = text(query.name()) else { return Found::Nobody };
    let Some(mut addresses) = zone.addresses(&name, alive) else {
        return if zone.forwards(&name) { Found::Nobody } else { Found::NoSuchName };
    };
    addresses.retain(|address| is_asked(kind, *address));
    chance.shuffle(&mut addresses);
    let record = |address| Record::from_rdata(query.name().clone(), TTL, data(address));
    Found::Records(addresses.into_iter().map(record).collect())
}

fn is_asked(kind: RecordType, address: IpAddr) -> bool {
    let own = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    kind == own || kind == RecordType::ANY
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

/// The address whose name is asked for.
fn address_of(name: &Name) -> Option<IpAddr> {
    let range = name.parse_arpa_name().ok()?;
    (range.prefix_len() == range.max_prefix_len()).then(|| range.addr())
}

/// A name in small letters. Ours have neither blanks nor letters that are not of ASCII.
fn text(name: &Name) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    Some(text)
}

fn limit(asked: &Message, transport: Transport) -> usize {
    match (transport, &asked.edns) {
        (Transport::Tcp, _) => MAX_MESSAGE,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.max_payload().min(OWN_PAYLOAD)).max(PLAIN_UDP)
        }
    }
}

/// As many of the records as there is room for; whoever misses some is told so and can ask by TCP.
fn send(reply: &Message, mut records: Vec<Record>, limit: usize) -> Outcome {
    let mut reply = reply.clone();
    if records.len() > limit / SHORTEST {
        reply.metadata.truncation = true;
        records.truncate(limit / SHORTEST);
    }
    loop {
        reply.answers.clone_from(&records);
        let Ok(bytes) = reply.to_vec() else { return Outcome::Nothing };
        let Some(over) = bytes.len().checked_sub(limit).filter(|over| *over > 0) else {
            return Outcome::Reply(bytes);
        };
        // At least as much as a record takes, so that never more go than have to.
        let Some(each) = bytes.len().checked_div(records.len()) else { return Outcome::Nothing };
        let fewer = records.len().saturating_sub(over.div_ceil(each.max(1)));
        reply.metadata.truncation = true;
        records.truncate(fewer);
    }
}
