//! D-Bus messages as bytes: those that we send are written, those that come are read.
//!
//! Owns the form alone (D-Bus Specification, "Message Protocol" and "Type System"), and of its types those
//! that systemd's manager is spoken to with. What comes is input: its lengths are checked before they are
//! used. Only a bus that the caller has named is listened to.

use std::borrow::Cow;

use super::{MANAGER, OBJECT};

/// The longest message that is read. What the manager answers has some hundred bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// The part of each message that tells how long the rest is.
pub(super) const PRELUDE: usize = 16;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Fields of a header.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A property's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `s`
    Text(String),
    /// `b`
    Truth(Truth),
    /// `t`
    Number(u64),
    /// `i`
    Integer(i32),
    /// `u`
    Unsigned(u32),
    /// `as`
    Texts(Vec<String>),
    /// `au`
    Numbers(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

/// A boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// `true`
    Yes,
    /// `false`
    No,
}

/// A property with its value: `(sv)`.
pub(super) type Property = (Cow<'static, str>, Value);

/// What a call passes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arguments<'a> {
    /// Nothing.
    None,
    /// Each an `s`.
    Texts(&'a [&'a str]),
    /// `StartTransientUnit`: name, mode, properties, and no auxiliary units.
    Transient(&'a str, &'a str, &'a [Property]),
    /// `SetUnitProperties`: name, until the next boot, properties.
    Properties(&'a str, &'a [Property]),
}

/// A method of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// A message that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// The answer to a call, and whose it is; its first value if that is a text.
    Return { to: u32, from: String, text: Option<String> },
    /// A call failed.
    Error { to: u32, name: String, text: String },
    /// A job of a manager's has ended, as this one says: anybody may send such a message.
    JobRemoved { from: String, job: String, result: String },
    /// What nobody has asked for.
    Other,
}

/// What cannot be read as a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no message of D-Bus")]
pub(super) struct Malformed;

/// The bytes of a call.
pub(super) fn call(serial: u32, method: Method<'_>, arguments: Arguments<'_>) -> Vec<u8> {
    let mut body = Writer::default();
    let signature = body.arguments(arguments);
    let mut message = Writer::default();
    message.0.extend([b'l', CALL, 0, 1]);
    message.u32(length(body.0.len()));
    message.u32(serial);
    message.array(8, |fields| {
        fields.field(PATH, "o", method.path);
        fields.field(INTERFACE, "s", method.interface);
        fields.field(MEMBER, "s", method.member);
        fields.field(DESTINATION, "s", method.destination);
        if !signature.is_empty() {
            fields.field(SIGNATURE, "g", &signature);
        }
    });
    message.align(8);
    message.0.append(&mut body.0);
    message.0
}

/// How long a message is, by its first [`PRELUDE`] bytes.
pub(super) fn whole(prelude: [u8; PRELUDE]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(&prelude)?;
    reader.at = 4;
    let body = reader.size()?;
    reader.at = 12;
    let fields = reader.size()?;
    let length = PRELUDE + fields.next_multiple_of(8) + body;
    if length > LONGEST { Err(Malformed) } else { Ok(length) }
}

/// Reads a whole message.
pub(super) fn read(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader::new(bytes)?;
    let kind = *bytes.get(1).ok_or(Malformed)?;
    reader.at = 12;
    let header = Header::read(&mut reader)?;
    reader.align(8);
    let mut body = Reader { bytes: bytes.get(reader.at..).ok_or(Malformed)?, ..reader };
    body.at = 0;
    let to = header.reply.unwrap_or_default();
    Ok(match kind {
        RETURN => {
            let text = first_text(&mut body, &header.signature)?;
            Message::Return { to, from: header.sender, text }
        }
        ERROR => {
            let text = first_text(&mut body, &header.signature)?.unwrap_or_default();
            Message::Error { to, name: header.error, text }
        }
        SIGNAL if header.is_end_of_job() => {
            body.u32()?;
            let job = body.text()?;
            body.text()?;
            Message::JobRemoved { from: header.sender, job, result: body.text()? }
        }
        _ => Message::Other,
    })
}

/// The text that a body begins with: itself, an object's path, or what is in a variant.
fn first_text(body: &mut Reader<'_>, signature: &str) -> Result<Option<String>, Malformed> {
    match signature.chars().next() {
        Some('s' | 'o') => body.text().map(Some),
        Some('v') => match body.signature()?.as_str() {
            "s" => body.text().map(Some),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// What a header tells that matters here.
#[derive(Debug, Default)]
struct Header {
    path: String,
    interface: String,
    sender: String,
    member: String,
    error: String,
    signature: String,
    reply: Option<u32>,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut header = Self::default();
        let end = reader.size()?;
        let end = end.checked_add(reader.at).ok_or(Malformed)?;
        while reader.at < end {
            reader.align(8);
            let code = reader.u8()?;
            let kind = reader.signature()?;
            let text = match kind.as_str() {
                "s" | "o" => reader.text()?,
                "g" => reader.signature()?,
                "u" if code == REPLY_SERIAL => {
                    header.reply = Some(reader.u32()?);
                    continue;
                }
                "u" => reader.u32().map(|_| String::new())?,
                _ => return Err(Malformed),
            };
            match code {
                PATH => header.path = text,
                INTERFACE => header.interface = text,
                SENDER => header.sender = text,
                MEMBER => header.member = text,
                ERROR_NAME => header.error = text,
                SIGNATURE => header.signature = text,
                _ => {}
            }
        }
        Ok(header)
    }

    fn is_end_of_job(&self) -> bool {
        let names = [&self.path, &self.interface, &self.member, &self.signature];
        names.map(String::as_str) == [OBJECT, MANAGER, "JobRemoved", "uoss"]
    }
}

/// Writes values one after the other, each where its type has to begin.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// Signatures are some characters long.
    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.bytes());
        self.0.push(0);
    }

    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.text(value) }
    }

    /// An array: its length does not count what aligns its first element.
    fn array(&mut self, align: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let place = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        fill(self);
        let filled = length(self.0.len() - start);
        self.0[place..place + 4].copy_from_slice(&filled.to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Truth(truth) => {
                self.signature("b");
                self.u32(match truth {
                    Truth::Yes => 1,
                    Truth::No => 0,
                });
            }
            Value::Number(number) => {
                self.signature("t");
                self.u64(*number);
            }
            Value::Integer(number) => {
                self.signature("i");
                self.u32(number.cast_unsigned());
            }
            Value::Unsigned(number) => {
                self.signature("u");
                self.u32(*number);
            }
            Value::Texts(texts) => {
                self.signature("as");
                self.array(4, |all| texts.iter().for_each(|text| all.text(text)));
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |all| numbers.iter().for_each(|number| all.u32(*number)));
            }
            Value::Bytes(bytes) => {
                self.signature("ay");
                self.array(1, |all| all.0.extend(bytes));
            }
            Value::Pairs(pairs) => {
                self.signature("a(ss)");
                self.array(8, |all| pairs.iter().for_each(|pair| all.pair(pair)));
            }
        }
    }

    fn pair(&mut self, (one, other): &(String, String)) {
        self.align(8);
        self.text(one);
        self.text(other);
    }

    fn properties(&mut self, properties: &[Property]) {
        self.array(8, |all| {
            for (name, value) in properties {
                all.align(8);
                all.text(name);
                all.value(value);
            }
        });
    }

    /// Writes what a call passes, and tells its signature.
    fn arguments(&mut self, arguments: Arguments<'_>) -> String {
        match arguments {
            Arguments::None => String::new(),
            Arguments::Texts(texts) => {
                texts.iter().for_each(|text| self.text(text));
                "s".repeat(texts.len())
            }
            Arguments::Transient(name, mode, properties) => {
                self.text(name);
                self.text(mode);
                self.properties(properties);
                self.array(8, |_| {});
                "ssa(sv)a(sa(sv))".to_owned()
            }
            Arguments::Properties(name, properties) => {
                self.text(name);
                self.u32(1);
                self.properties(properties);
                "sba(sv)".to_owned()
            }
        }
    }
}

/// What we write is shorter than that by far.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let order = match bytes.first() {
            Some(b'l') => Order::Little,
            Some(b'B') => Order::Big,
            _ => return Err(Malformed),
        };
        Ok(Self { bytes, at: 0, order })
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    /// A length, of nothing that is longer than a message may be.
    fn size(&mut self) -> Result<usize, Malformed> {
        let size = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if size > LONGEST { Err(Malformed) } else { Ok(size) }
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.size()?;
        self.words(length)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = self.u8()?;
        self.words(length.into())
    }

    fn words(&mut self, length: usize) -> Result<String, Malformed> {
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed)
    }
}

/// What the other side says, for tests.
#[cfg(test)]
mod peer {
    use super::*;

    fn message(kind: u8, fields: impl FnOnce(&mut Writer), body: Writer) -> Vec<u8> {
        let mut message = Writer::default();
        message.0.extend([b'l', kind, 1, 1]);
        message.u32(length(body.0.len()));
        message.u32(99);
        message.array(8, fields);
        message.align(8);
        message.0.extend(body.0);
        message.0
    }

    fn reply_to(fields: &mut Writer, serial: u32) {
        fields.align(8);
        fields.0.push(REPLY_SERIAL);
        fields.signature("u");
        fields.u32(serial);
    }

    pub(crate) fn answer(serial: u32, kind: &str, text: &str) -> Vec<u8> {
        let mut body = Writer::default();
        match kind {
            "" => {}
            "v" => body.value(&Value::Text(text.to_owned())),
            _ => body.text(text),
        }
        let fields = |fields: &mut Writer| {
            reply_to(fields, serial);
            fields.field(SENDER, "s", ":1.2");
            if !kind.is_empty() {
                fields.field(SIGNATURE, "g", kind);
            }
        };
        message(RETURN, fields, body)
    }

    pub(crate) fn error(serial: u32, name: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.text("so it is");
        let fields = |fields: &mut Writer| {
            fields.field(ERROR_NAME, "s", name);
            reply_to(fields, serial);
            fields.field(SIGNATURE, "g", "s");
        };
        message(ERROR, fields, body)
    }

    pub(crate) fn job_removed(from: &str, job: &str, result: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(17);
        body.text(job);
        body.text("a.scope");
        body.text(result);
        let fields = |fields: &mut Writer| {
            fields.field(PATH, "o", OBJECT);
            fields.field(INTERFACE, "s", MANAGER);
            fields.field(MEMBER, "s", "JobRemoved");
            fields.field(SIGNATURE, "g", "uoss");
            fields.field(SENDER, "s", from);
        };
        message(SIGNAL, fields, body)
    }

    /// What a call calls.
    pub(crate) fn member(bytes: &[u8]) -> Result<String, Malformed> {
        let mut reader = Reader::new(bytes)?;
        reader.at = 12;
        Ok(Header::read(&mut reader)?.member)
    }
}

#[cfg(test)]
pub(super) use peer::{answer, error, job_removed, member};

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    /// Rows of sixteen bytes, as hexdump(1) has them.
    fn rows(bytes: &[u8]) -> String {
        let row = |row: &[u8]| {
            let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            let letter = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
            format!("{:<48}{}", hex.join(" "), row.iter().map(letter).collect::<String>())
        };
        bytes.chunks(16).map(row).collect::<Vec<_>>().join("\n")
    }

    const MANAGER: Method<'_> =
        Method { destination: "d.d", path: "/p", interface: "i.i", member: "Go" };

    #[test]
    fn a_call_has_the_form_of_the_specification() {
        let properties = [
            ("Delegate".into(), Value::Truth(Truth::Yes)),
            ("PIDs".into(), Value::Numbers(vec![7])),
            ("Max".into(), Value::Number(9)),
        ];
        let bytes = call(3, MANAGER, Arguments::Transient("a.scope", "replace", &properties));
        expect![[r#"
            6c 01 00 01 70 00 00 00 03 00 00 00 56 00 00 00 l...p.......V...
            01 01 6f 00 02 00 00 00 2f 70 00 00 00 00 00 00 ..o...../p......
            02 01 73 00 03 00 00 00 69 2e 69 00 00 00 00 00 ..s.....i.i.....
            03 01 73 00 02 00 00 00 47 6f 00 00 00 00 00 00 ..s.....Go......
            06 01 73 00 03 00 00 00 64 2e 64 00 00 00 00 00 ..s.....d.d.....
            08 01 67 00 10 73 73 61 28 73 76 29 61 28 73 61 ..g..ssa(sv)a(sa
            28 73 76 29 29 00 00 00 07 00 00 00 61 2e 73 63 (sv)).......a.sc
            6f 70 65 00 07 00 00 00 72 65 70 6c 61 63 65 00 ope.....replace.
            48 00 00 00 00 00 00 00 08 00 00 00 44 65 6c 65 H...........Dele
            67 61 74 65 00 01 62 00 01 00 00 00 00 00 00 00 gate..b.........
            04 00 00 00 50 49 44 73 00 02 61 75 00 00 00 00 ....PIDs..au....
            04 00 00 00 07 00 00 00 03 00 00 00 4d 61 78 00 ............Max.
            01 74 00 00 00 00 00 00 09 00 00 00 00 00 00 00 .t..............
            00 00 00 00 00 00 00 00                         ........"#]]
        .assert_eq(&rows(&bytes));
        let prelude = bytes[..PRELUDE].try_into().unwrap();
        assert_eq!(whole(prelude), Ok(bytes.len()));
    }

    #[test]
    fn an_array_of_structures_begins_where_they_may() {
        let mut writer = Writer::default();
        writer.value(&Value::Pairs(vec![("a".to_owned(), "rw".to_owned())]));
        writer.value(&Value::Bytes(vec![5, 1]));
        expect![[r#"
            05 61 28 73 73 29 00 00 0f 00 00 00 00 00 00 00 .a(ss)..........
            01 00 00 00 61 00 00 00 02 00 00 00 72 77 00 02 ....a.......rw..
            61 79 00 00 02 00 00 00 05 01                   ay........"#]]
        .assert_eq(&rows(&writer.0));
    }

    #[test]
    fn the_end_of_a_job_is_heard() {
        let [from, job, result] = [":1.2", "/job/17", "done"].map(str::to_owned);
        let bytes = job_removed(&from, &job, &result);
        assert_eq!(read(&bytes), Ok(Message::JobRemoved { from, job, result }));
        // The same words of another object's, or of another interface's, mean nothing.
        for name in ["/systemd1", ".Manager"] {
            let mut other = bytes.clone();
            let at = other.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
            other[at + 1] = b'x';
            assert_eq!(read(&other), Ok(Message::Other), "{name}");
        }
    }

    #[test]
    fn what_is_longer_than_it_may_be_is_no_message() {
        let mut prelude: [u8; PRELUDE] =
            job_removed(":1.2", "/job/17", "done")[..PRELUDE].try_into().unwrap();
        prelude[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(whole(prelude), Err(Malformed));
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_no_more(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut bytes = job_removed(":1.2", "/job/17", "done");
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            let _ = read(&bytes);
            if let Some(prelude) = bytes.first_chunk() {
                let _ = whole(*prelude);
            }
        }
    }
}
