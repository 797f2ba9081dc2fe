//! The answer to the plain question, of which nearly all are: one name, its addresses of one family, and at most
//! the word how long an answer may be.
//!
//! Read and written in place, it costs a tenth of what [`super::answer`] takes to read any message. That one has
//! the last word on what an answer is: what is not plain is left to it, and both say the same.

use std::net::IpAddr;
use std::str;

use super::answer::{Chance, HEADER, OWN_PAYLOAD, PLAIN_UDP, TTL};
use super::zone::{Alive, Zone};

/// Longest name, with its lengths and its end (RFC 1035).
const MAX_WIRE: usize = 255;
/// Longest label.
const MAX_LABEL: u8 = 63;
/// Types of records.
const A: u16 = 1;
const AAAA: u16 = 28;
/// The class of all that there is.
const IN: u16 = 1;
/// Refers to the name of the question, which follows the header.
const NAME: [u8; 2] = [0xc0, 12];
/// A record besides its address: reference, type, class, time, length.
const RECORD: usize = 12;

/// What is asked.
struct Question<'a> {
    header: &'a [u8; HEADER],
    /// The section as it came, which goes back.
    section: &'a [u8],
    family: Family,
    has_edns: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// A name in small letters, with dots.
struct Text {
    bytes: [u8; MAX_WIRE],
    length: usize,
}

impl Text {
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

/// Answers a plain question for a name that is somebody's; anything else is none, and nothing is said about it.
pub(super) fn answer(
    message: &[u8],
    zone: &Zone,
    chance: &mut Chance,
    alive: Alive<'_>,
) -> Option<Vec<u8>> {
    let mut text = Text { bytes: [0; MAX_WIRE], length: 0 };
    let question = read(message, &mut text)?;
    let mut addresses = zone.addresses(text.as_str()?, alive)?;
    addresses.retain(|address| address.is_ipv4() == (question.family == Family::V4));
    // Also the shortest that may be sent has room for this; what has to be cut is not plain.
    let length = message.len() + addresses.len() * (RECORD + 16);
    if length > PLAIN_UDP {
        return None;
    }
    chance.shuffle(&mut addresses);
    let mut reply = Vec::with_capacity(length);
    write(&question, &addresses, &mut reply)?;
    Some(reply)
}

fn read<'a>(message: &'a [u8], text: &mut Text) -> Option<Question<'a>> {
    let (header, rest) = message.split_first_chunk::<HEADER>()?;
    let [_, _, flags, more, counts @ ..] = header;
    // A question in the ordinary way of asking, that nobody has cut, and no flags but three: wants recursion, knows
    // of checked answers, wants them unchecked.
    if flags & !0x01 != 0 || more & !0x30 != 0 {
        return None;
    }
    let has_edns = match counts {
        [0, 1, 0, 0, 0, 0, 0, 0] => false,
        [0, 1, 0, 0, 0, 0, 0, 1] => true,
        _ => return None,
    };
    let behind = name(rest, text)?;
    let ([kind @ .., class_high, class_low], last) = behind.split_first_chunk::<4>()?;
    if u16::from_be_bytes([*class_high, *class_low]) != IN || !is_end(last, has_edns) {
        return None;
    }
    let family = match u16::from_be_bytes(*kind) {
        A => Family::V4,
        AAAA => Family::V6,
        _ => return None,
    };
    let section = rest.get(..rest.len() - last.len())?;
    Some(Question { header, section, family, has_edns })
}

/// Reads a name, and gives what is behind it.
fn name<'a>(mut rest: &'a [u8], text: &mut Text) -> Option<&'a [u8]> {
    loop {
        let (length, behind) = rest.split_first()?;
        if *length == 0 {
            // That of the root is nobody's.
            return (text.length > 0 && text.length + 2 <= MAX_WIRE).then_some(behind);
        }
        // No reference to another place: there is none before this one.
        let (label, behind) = behind.split_at_checked(usize::from(*length))?;
        if *length > MAX_LABEL {
            return None;
        }
        if text.length > 0 {
            text.push(b'.')?;
        }
        for byte in label {
            let is_ours = byte.is_ascii_graphic() && *byte != b'.';
            text.push(is_ours.then(|| byte.to_ascii_lowercase())?)?;
        }
        rest = behind;
    }
}

/// Whether nothing follows the question but what was announced: how long an answer may be (RFC 6891), of version 0
/// and without options. Every answer of ours is as short as anybody may say.
fn is_end(rest: &[u8], has_edns: bool) -> bool {
    match rest {
        [] => !has_edns,
        [0, 0, 41, _, _, 0, 0, _, _, 0, 0] => has_edns,
        _ => false,
    }
}

fn write(question: &Question<'_>, addresses: &[IpAddr], reply: &mut Vec<u8>) -> Option<()> {
    let [high, low, flags, more, ..] = question.header;
    // An answer; who asked may ask us for recursion.
    reply.extend([*high, *low, 0x80 | flags, 0x80 | (more & 0x10)]);
    let count = u16::try_from(addresses.len()).ok()?.to_be_bytes();
    reply.extend([0, 1, count[0], count[1], 0, 0, 0, question.has_edns.into()]);
    reply.extend(question.section);
    for address in addresses {
        reply.extend(NAME);
        match address {
            IpAddr::V4(v4) => record(A, &v4.octets(), reply),
            IpAddr::V6(v6) => record(AAAA, &v6.octets(), reply),
        }
    }
    if question.has_edns {
        let [high, low] = OWN_PAYLOAD.to_be_bytes();
        reply.extend([0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    Some(())
}

fn record<const N: usize>(kind: u16, address: &[u8; N], reply: &mut Vec<u8>) {
    reply.extend(kind.to_be_bytes());
    reply.extend(IN.to_be_bytes());
    reply.extend(TTL.to_be_bytes());
    reply.extend(u16::try_from(N).unwrap_or_default().to_be_bytes());
    reply.extend(address);
}
