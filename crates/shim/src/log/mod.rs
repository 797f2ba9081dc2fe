//! The log of a container: Docker's `json-file`, byte for byte; dhow's own compact files; syslog and
//! systemd's journal, with a copy that can be read back.
//!
//! `record` cuts output into records, `form` says how they look, `file` writes and rotates files,
//! `pack` compresses them, `sink` sends to another program by way of `peer` and `tls`; here they are
//! joined.
//! A log that cannot be written never stops the container: what is lost is counted and told once,
//! when there is room again.

mod escape;
mod file;
mod form;
mod journal;
mod pack;
mod peer;
mod record;
mod sink;
mod stamp;
mod syslog;
mod tls;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Instant;

use jiff::tz::TimeZone;
use model::log::{LogDelivery, LogFiles, SyslogFormat};
use rustix::process::Pid;
use sys::process::Exit;

use crate::protocol::{LogConfig, LogCopy, LogSink, SinkForm, StreamKind};

use file::LogFile;
use form::{Form, JsonForm};
use journal::JournalForm;
pub use pack::{PACKED, packed_from};
use peer::Peer;
use record::Recorder;
use sink::{Framing, Sink};
use syslog::{Sender, SyslogForm};

/// Bytes of records that are collected before they are written.
const BATCH: usize = 192 << 10;

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of it cannot.
    #[error("open log {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Whoever is to take it is not there.
    #[error("failed to initialize logging driver: dial {address}")]
    Peer {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no name for this start of the container.
    #[error("read random bytes")]
    Random(#[source] sys::Errno),
}

/// What has to happen to a connection before the log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// Nothing waits for it.
    Nothing,
    /// There is room to write.
    Room,
    /// The other side says something.
    Words,
}

/// One open log.
#[derive(Debug)]
pub struct Log {
    file: Option<Written>,
    sink: Option<Sink>,
}

/// The part of a log that is in files.
#[derive(Debug)]
struct Written {
    recorder: Recorder,
    file: LogFile,
}

impl Log {
    /// Opens what the configuration asks for; `None` if it asks for no log.
    ///
    /// # Errors
    /// The file cannot be opened or made, or nobody is where the log is to be sent.
    pub fn open(config: &LogConfig) -> Result<Option<Self>, OpenError> {
        let log = match config {
            LogConfig::None => return Ok(None),
            LogConfig::JsonFile { path, max_size, max_file, attrs, compression, delivery } => {
                let (max_size, max_file, compression) = (*max_size, *max_file, *compression);
                let files = LogFiles { max_size, max_file, compression };
                let copy = LogCopy { path: path.clone(), files };
                let form = Form::Json(JsonForm::new(attrs));
                Self { file: Some(Written::open(&copy, form, *delivery)?), sink: None }
            }
            LogConfig::Local { files, delivery } => {
                Self { file: Some(Written::open(files, Form::Local, *delivery)?), sink: None }
            }
            LogConfig::Remote { sink, copy, delivery } => {
                let open = |copy| Written::open(copy, Form::Local, *delivery);
                let file = copy.as_ref().map(open).transpose()?;
                Self { file, sink: Some(open_sink(sink, *delivery)?) }
            }
        };
        Ok(Some(log))
    }

    /// Takes one read's worth of output. `now` is nanoseconds since 1970.
    pub fn write(&mut self, stream: StreamKind, data: &[u8], now: i64) {
        if let Some(written) = &mut self.file {
            written.write(stream, data, now);
        }
        if let Some(sink) = &mut self.sink {
            sink.write(stream, data, now);
        }
    }

    /// No more comes on this stream: a line without its end is written as it is.
    pub fn finish(&mut self, stream: StreamKind, now: i64) {
        if let Some(written) = &mut self.file {
            written.finish(stream, now);
        }
        if let Some(sink) = &mut self.sink {
            sink.finish(stream, now);
        }
    }

    /// How many lines could not be written so far.
    #[must_use]
    pub fn lines_lost(&self) -> u64 {
        let written = self.file.as_ref().map_or(0, |written| written.file.lines_lost());
        written + self.sink.as_ref().map_or(0, Sink::lost)
    }

    /// Gives back memory that a past burst needed.
    pub fn trim(&mut self) {
        if let Some(written) = &mut self.file {
            written.recorder.trim();
            written.file.write_held();
        }
        if let Some(sink) = &mut self.sink {
            sink.trim();
        }
    }

    /// Whether the container has to wait until the log takes more.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.sink.as_ref().is_some_and(Sink::holds_back)
    }

    /// The connection to whoever takes the log, and a number that is another for each.
    #[must_use]
    pub fn socket(&self) -> Option<(BorrowedFd<'_>, u32)> {
        self.sink.as_ref().and_then(Sink::socket)
    }

    /// What the connection is to be watched for.
    #[must_use]
    pub fn awaits(&self) -> Awaited {
        self.sink.as_ref().map_or(Awaited::Nothing, Sink::awaits)
    }

    /// Whether something is on its way to whoever takes the log, or has yet to go there.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        self.sink.as_ref().is_some_and(Sink::wants_room)
    }

    /// When to call [`Log::go_on`] though nothing has happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.sink.as_ref().and_then(Sink::deadline)
    }

    /// There is room to write, or the time has come.
    pub fn go_on(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.flush(Instant::now());
        }
    }

    /// A child of this process has ended: it may be one that compressed a file.
    pub fn process_ended(&mut self, pid: Pid, exit: Exit) {
        if let Some(written) = &mut self.file {
            written.file.process_ended(pid, exit);
        }
    }
}

impl Written {
    fn open(copy: &LogCopy, form: Form, delivery: LogDelivery) -> Result<Self, OpenError> {
        let opened = LogFile::open(&copy.path, copy.files, delivery);
        let file = opened.map_err(|source| OpenError::File { path: copy.path.clone(), source })?;
        Ok(Self { recorder: Recorder::new(form), file })
    }

    fn write(&mut self, stream: StreamKind, data: &[u8], now: i64) {
        self.recorder.at(now);
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.file.room().min(BATCH);
            rest = self.recorder.take(stream, rest, room);
            self.flush();
        }
    }

    fn finish(&mut self, stream: StreamKind, now: i64) {
        self.recorder.at(now);
        self.recorder.finish(stream);
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(note) = self.file.owed_note() {
            self.recorder.note(&note);
        }
        self.file.append(self.recorder.batch());
        self.recorder.clear();
    }
}

fn open_sink(sink: &LogSink, delivery: LogDelivery) -> Result<Sink, OpenError> {
    let form = match &sink.form {
        SinkForm::Syslog { facility, format, tag } => {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let from = Sender { tag, host: &host, process: std::process::id() };
            Form::Syslog(SyslogForm::new(*facility, *format, TimeZone::system(), from))
        }
        SinkForm::Journal { fields } => Form::Journal(JournalForm::new(fields, epoch()?)),
    };
    let peer = Peer::open(sink.address.clone())
        .map_err(|source| OpenError::Peer { address: sink.address.to_string(), source })?;
    Ok(Sink::new(Recorder::new(form), (peer, framing(sink)), delivery))
}

/// RFC 5425 wants lengths; Docker counts so the messages of RFC 5424 that go over TLS, and no others.
const fn framing(sink: &LogSink) -> Framing {
    let is_modern = matches!(
        sink.form,
        SinkForm::Syslog { format: SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro, .. }
    );
    if is_modern && sink.address.tls().is_some() { Framing::Counted } else { Framing::Lines }
}

/// 32 hex digits that no other log has.
fn epoch() -> Result<String, OpenError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(OpenError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
