//! A connection by which a container asks: questions with their length before them, answered one by one.

use std::os::fd::OwnedFd;
use std::time::Duration;

use net::dns::answer::{MAX_MESSAGE, MAX_QUESTION};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sys::Errno;

use super::super::poller::{Interest, Poller, Token, Watch};

/// The length before each message.
pub(super) const PREFIX: usize = 2;
/// Bytes of one read.
const READ: usize = 4096;
/// How long a client may take for its next question, and for taking an answer.
const IDLE: Duration = Duration::from_secs(10);

/// The connection is of no use any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    watch: Watch,
    /// What has come of questions.
    read: Vec<u8>,
    /// What is to be sent of answers.
    unsent: Vec<u8>,
    /// Whether a question is being answered: the next one waits.
    turn: Turn,
    until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Its,
    Ours,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, number: u32, now: Duration) -> Self {
        let watch = Watch::new(Token::NameClient(number));
        let (read, unsent) = (Vec::new(), Vec::new());
        Self { socket, watch, read, unsent, turn: Turn::Its, until: now + IDLE }
    }

    /// Reads and writes what goes without waiting.
    pub(super) fn carry(&mut self) -> Result<(), Broken> {
        self.send()?;
        if self.turn == Turn::Ours || !self.unsent.is_empty() || self.has_more() {
            return Ok(());
        }
        let mut buffer = [0; READ];
        match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err(Broken),
            Ok((_, length)) => {
                self.read.extend(buffer.get(..length).unwrap_or_default());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(_) => Err(Broken),
        }
    }

    /// Whether there is a whole question behind those that were taken up, or the length of one that is none.
    fn has_more(&self) -> bool {
        self.length().is_some_and(|length| {
            length > MAX_QUESTION || self.read.len().saturating_sub(PREFIX) >= length
        })
    }

    fn length(&self) -> Option<usize> {
        self.read.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))
    }

    /// Whether a question can be taken up.
    pub(super) fn has_question(&self) -> bool {
        self.turn == Turn::Its && self.unsent.is_empty() && self.has_more()
    }

    /// A whole question, if there is one and the one before is answered and sent.
    pub(super) fn next_question(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        if !self.has_question() {
            return Ok(None);
        }
        let length = self.length().filter(|length| *length <= MAX_QUESTION).ok_or(Broken)?;
        let question = self.read.get(PREFIX..PREFIX + length).ok_or(Broken)?.to_vec();
        self.read.drain(..PREFIX + length);
        self.turn = Turn::Ours;
        Ok(Some(question))
    }

    /// The answer to its question.
    pub(super) fn answer(&mut self, answer: &[u8], now: Duration) {
        self.unsent.extend(framed(answer));
        self.turn = Turn::Its;
        self.until = now + IDLE;
    }

    /// Sends what goes without waiting.
    pub(super) fn send(&mut self) -> Result<(), Broken> {
        while !self.unsent.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &self.unsent, flags) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Broken),
            }
        }
        Ok(())
    }

    /// Waits for what it can do next.
    pub(super) fn watch(&mut self, poller: &Poller) -> Result<(), Broken> {
        let wanted = match self.turn {
            Turn::Ours => Interest::HangUp,
            Turn::Its if self.unsent.is_empty() && !self.has_more() => Interest::Read,
            // Also one whose questions have to wait for those of others has its turn again at once.
            Turn::Its => Interest::Write,
        };
        poller.set(&self.socket, &mut self.watch, wanted).map_err(|_| Broken)
    }

    /// When it has to have done something. While it waits for us, that is our affair.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.turn == Turn::Its).then_some(self.until)
    }
}

/// A message with its length before it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let message = message.get(..MAX_MESSAGE).unwrap_or(message);
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, Client) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (far, near) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        (far, Client::new(near, 1, Duration::ZERO))
    }

    fn say(far: &OwnedFd, bytes: &[u8]) {
        assert_eq!(send(far, bytes, SendFlags::empty()).unwrap(), bytes.len());
    }

    #[test]
    fn questions_are_taken_one_by_one_however_they_come() {
        let (far, mut client) = pair();
        say(&far, &[0, 3, b'a']);
        client.carry().unwrap();
        assert_eq!(client.next_question(), Ok(None));
        say(&far, &[b'b', b'c', 0, 0, 0, 1, b'd', 0]);
        client.carry().unwrap();
        assert_eq!(client.next_question(), Ok(Some(b"abc".to_vec())));
        assert_eq!(client.next_question(), Ok(None), "the first one is not answered");
        assert_eq!(client.deadline(), None);
        client.answer(b"ABC", Duration::from_secs(3));
        assert_eq!(client.deadline(), Some(Duration::from_secs(3) + IDLE));
        client.send().unwrap();
        assert_eq!(client.next_question(), Ok(Some(Vec::new())));
        client.answer(b"", Duration::ZERO);
        client.send().unwrap();
        assert_eq!(client.next_question(), Ok(Some(b"d".to_vec())));
        let mut buffer = [0; 32];
        let (_, length) = recv(&far, &mut buffer, RecvFlags::empty()).unwrap();
        assert_eq!(buffer[..length], *b"\0\x03ABC\0\0");
    }

    #[test]
    fn who_asks_and_does_not_take_the_answers_is_not_read_from() {
        let (far, mut client) = pair();
        say(&far, &[0, 1, b'a', 0, 1, b'b']);
        client.carry().unwrap();
        assert!(client.next_question().unwrap().is_some());
        // More than any socket's buffer.
        (0..100).for_each(|_| client.answer(&vec![0; MAX_MESSAGE], Duration::ZERO));
        client.send().unwrap();
        assert!(!client.unsent.is_empty());
        assert_eq!(client.next_question(), Ok(None));
        assert_eq!(client.deadline(), Some(IDLE), "nor waited for");
        drop(far);
        assert!(client.carry().is_err());
    }

    #[test]
    fn who_announces_more_than_a_question_is_not_listened_to() {
        let (far, mut client) = pair();
        say(&far, &u16::try_from(MAX_QUESTION + 1).unwrap().to_be_bytes());
        client.carry().unwrap();
        assert_eq!(client.next_question(), Err(Broken));
    }

    #[test]
    fn nothing_is_read_as_long_as_there_are_questions() {
        let (far, mut client) = pair();
        say(&far, &[0, 1, b'a', 0, 1, b'b']);
        client.carry().unwrap();
        assert_eq!(client.next_question(), Ok(Some(b"a".to_vec())));
        client.answer(b"A", Duration::ZERO);
        say(&far, &[0, 1, b'c']);
        client.carry().unwrap();
        assert_eq!(client.read, [0, 1, b'b']);
        assert!(client.has_question());
    }

    #[test]
    fn a_message_has_its_length_before_it() {
        assert_eq!(framed(b"abc"), b"\0\x03abc");
        assert_eq!(framed(&vec![7; 70_000]).len(), PREFIX + MAX_MESSAGE);
    }
}
