//! One client: its socket, what it is told, what it says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendFlags, Shutdown};
use sys::Errno;
use sys::fdpass;

use super::poller::{Interest, Poller, Token, Watch, Wish};
use crate::frame::FrameReader;
use crate::machine::{Attachment, ConnId};
use crate::outbox::{Form, Outbox, Piece};
use crate::protocol::{Delivery, NOT_UNDERSTOOD, Reply, Request, StreamKind, Target};

/// How long an observer may take for the rest of its output, and any client for closing, once
/// the end has come.
pub(super) const END_LIMIT: Duration = Duration::from_secs(10);

/// The connection cannot be used any more; there is nobody to tell why.
#[derive(Debug)]
pub(super) struct Broken;

/// A connected client.
#[derive(Debug)]
pub(super) struct Conn {
    socket: OwnedFd,
    watch: Watch,
    out: Outbox,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// It asks questions.
    Requests { reader: FrameReader, fds: Vec<OwnedFd> },
    /// It carries streams.
    Stream(Stream),
}

#[derive(Debug)]
struct Stream {
    attachment: Attachment,
    /// What came behind the request.
    early: Vec<u8>,
    input: Input,
    life: StreamLife,
}

/// What the client may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Something.
    Open,
    /// Something, but the client itself is gone: nothing can be written to it.
    HungUp,
    /// Nothing.
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum StreamLife {
    /// The process may still write.
    Live,
    /// All output is in the outbox.
    Ended { give_up_at: Option<Duration> },
}

impl Conn {
    pub(super) const fn new(socket: OwnedFd, id: ConnId) -> Self {
        Self {
            socket,
            watch: Watch::new(Token::Conn(id)),
            out: Outbox::new(),
            mode: Mode::Requests { reader: FrameReader::empty(), fds: Vec::new() },
        }
    }

    /// Takes in what a client that asks questions has sent. `Broken` at its end.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> Result<(), Broken> {
        let Mode::Requests { reader, fds } = &mut self.mode else { return Ok(()) };
        match fdpass::recv(&self.socket, scratch, fds) {
            Ok(0) => Err(Broken),
            Ok(count) => {
                reader.push(&scratch[..count]);
                Ok(())
            }
            Err(error) if error.errno() == Some(Errno::AGAIN) => Ok(()),
            Err(_) => Err(Broken),
        }
    }

    /// The next whole question. What is none is answered; `Broken` if no further one can follow.
    pub(super) fn next_request(&mut self) -> Result<Option<Request>, Broken> {
        loop {
            let Mode::Requests { reader, fds } = &mut self.mode else { return Ok(None) };
            let Some(message) = reader.next_message().map_err(|_| Broken)? else {
                return Ok(None);
            };
            match serde_json::from_slice(&message) {
                Ok(
                    request @ (Request::Launch(_)
                    | Request::SetPublished(_)
                    | Request::SetResolver(_)),
                ) => return Ok(Some(request)),
                Ok(request) => {
                    fds.clear();
                    return Ok(Some(request));
                }
                Err(error) => {
                    fds.clear();
                    let message = format!("{NOT_UNDERSTOOD}: {error}");
                    self.reply(&Reply::Failed { message });
                }
            }
        }
    }

    /// The descriptors that came with the last question.
    pub(super) fn take_fds(&mut self) -> Vec<OwnedFd> {
        match &mut self.mode {
            Mode::Requests { fds, .. } => std::mem::take(fds),
            Mode::Stream(_) => Vec::new(),
        }
    }

    /// Bytes of a question that has not come in whole.
    pub(super) const fn buffered(&self) -> usize {
        match &self.mode {
            Mode::Requests { reader, .. } => reader.len(),
            Mode::Stream(_) => 0,
        }
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        // A reply is plain data and a fraction of the longest frame.
        let message = serde_json::to_vec(reply).unwrap_or_default();
        self.out.push_reply(&crate::frame::encode(&message).unwrap_or_default());
    }

    /// From now on it carries streams.
    pub(super) fn become_stream(&mut self, attachment: Attachment) {
        if let Mode::Requests { reader, .. } = &mut self.mode {
            let early = std::mem::take(reader).into_rest();
            let (input, life) = (Input::Open, StreamLife::Live);
            self.mode = Mode::Stream(Stream { attachment, early, input, life });
        }
    }

    const fn stream(&self) -> Option<&Stream> {
        match &self.mode {
            Mode::Stream(stream) => Some(stream),
            Mode::Requests { .. } => None,
        }
    }

    const fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.mode {
            Mode::Stream(stream) => Some(stream),
            Mode::Requests { .. } => None,
        }
    }

    /// Whether it carries streams of this process that have not ended.
    pub(super) fn is_attached_to(&self, target: Target) -> bool {
        self.stream().is_some_and(|stream| {
            stream.attachment.target == target && matches!(stream.life, StreamLife::Live)
        })
    }

    /// The process that it carries streams of.
    pub(super) fn target(&self) -> Option<Target> {
        self.stream().map(|stream| stream.attachment.target)
    }

    /// Whether what it sends goes to its process.
    pub(super) fn feeds_process(&self) -> bool {
        self.stream().is_some_and(|stream| {
            stream.attachment.streams.stdin && matches!(stream.life, StreamLife::Live)
        })
    }

    pub(super) fn input(&self) -> Option<Input> {
        self.stream().map(|stream| stream.input)
    }

    /// Whether its process has to wait for it.
    pub(super) fn holds_back(&self, target: Target) -> bool {
        self.out.is_congested()
            && self.stream().is_some_and(|stream| {
                stream.attachment.target == target
                    && stream.attachment.delivery == Delivery::Everything
            })
    }

    /// Adds output, if this client has asked for it.
    pub(super) fn output(&mut self, target: Target, piece: Piece<'_>) -> Taken {
        let Some(stream) = self.stream() else { return Taken::No };
        let wanted = match (piece.form, piece.stream) {
            // A terminal has one stream, and whoever wants output of it wants that.
            (Form::Raw, _) => stream.attachment.streams.stdout || stream.attachment.streams.stderr,
            (Form::Frames, StreamKind::Stdout) => stream.attachment.streams.stdout,
            (Form::Frames, StreamKind::Stderr) => stream.attachment.streams.stderr,
        };
        let delivery = stream.attachment.delivery;
        if !wanted || !self.is_attached_to(target) || self.input() == Some(Input::HungUp) {
            return Taken::No;
        }
        self.out.push_output(piece, delivery);
        Taken::Yes
    }

    /// No more output comes.
    pub(super) fn end_output(&mut self, form: Form, now: Duration) {
        self.out.end_output(form);
        if let Some(stream) = self.stream_mut()
            && matches!(stream.life, StreamLife::Live)
        {
            let give_up_at = match stream.attachment.delivery {
                Delivery::Recent => Some(now + END_LIMIT),
                Delivery::Everything => None,
            };
            stream.life = StreamLife::Ended { give_up_at };
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self, now: Duration) -> Result<(), Broken> {
        while !self.out.is_empty() {
            match rustix::net::send(&self.socket, self.out.pending(), SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.out.written(count);
                    self.postpone_end(now);
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Broken),
            }
        }
        self.shut_down_if_ended(now)
    }

    /// A client that still reads is not given up.
    fn postpone_end(&mut self, now: Duration) {
        if let Some(stream) = self.stream_mut()
            && let StreamLife::Ended { give_up_at: Some(at) } = &mut stream.life
        {
            *at = now + END_LIMIT;
        }
    }

    /// Tells the client of the end. Closing at once could take back what it has not read yet: the
    /// kernel resets a connection that is closed with unread input.
    fn shut_down_if_ended(&mut self, now: Duration) -> Result<(), Broken> {
        if let Some(stream) = self.stream_mut()
            && let StreamLife::Ended { give_up_at } = &mut stream.life
        {
            *give_up_at = give_up_at.or(Some(now + END_LIMIT));
            rustix::net::shutdown(&self.socket, Shutdown::Write).map_err(|_| Broken)?;
        }
        Ok(())
    }

    /// Whether it has got everything, to the end.
    pub(super) fn is_done(&self) -> bool {
        let has_ended = |stream: &Stream| matches!(stream.life, StreamLife::Ended { .. });
        self.out.is_empty() && self.stream().is_some_and(has_ended)
    }

    /// When this client is thrown out.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.stream()?.life {
            StreamLife::Live => None,
            StreamLife::Ended { give_up_at } => give_up_at,
        }
    }

    /// Reads what a client that carries streams has sent; `None` when nothing is there now, and
    /// an empty slice at the end.
    pub(super) fn read_input<'a>(&mut self, scratch: &'a mut [u8]) -> Option<&'a [u8]> {
        let stream = match &mut self.mode {
            Mode::Stream(stream) => stream,
            Mode::Requests { .. } => return None,
        };
        if !stream.early.is_empty() {
            let count = stream.early.len().min(scratch.len());
            scratch[..count].copy_from_slice(&stream.early[..count]);
            stream.early.drain(..count);
            return Some(&scratch[..count]);
        }
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut *scratch)) {
            Ok(count) => Some(&scratch[..count]),
            Err(Errno::AGAIN) => None,
            Err(_) => Some(&[]),
        }
    }

    pub(super) fn set_input(&mut self, input: Input) {
        if let Some(stream) = self.stream_mut() {
            stream.input = input;
        }
        if input == Input::HungUp {
            self.out = Outbox::new();
        }
    }

    /// Watches the socket for what is needed now. `accepts_input`: whether the process takes
    /// more input.
    pub(super) fn update_watch(
        &mut self,
        poller: &Poller,
        accepts_input: Wish,
    ) -> Result<(), Broken> {
        let reads = match &self.mode {
            Mode::Requests { .. } => Wish::Yes,
            Mode::Stream(stream) => match (stream.input, stream.life) {
                (Input::Ended, _) => Wish::No,
                (_, StreamLife::Ended { .. }) => Wish::Yes,
                (Input::Open | Input::HungUp, StreamLife::Live) => accepts_input,
            },
        };
        let interest = match self.input() {
            Some(Input::HungUp) => Interest::None,
            _ => Interest::of(reads, Wish::from(!self.out.is_empty())),
        };
        poller.set(&self.socket, &mut self.watch, interest).map_err(|_| Broken)
    }

    /// Gives back memory that a past burst needed.
    pub(super) fn trim(&mut self) {
        self.out.trim();
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a client took output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
}
