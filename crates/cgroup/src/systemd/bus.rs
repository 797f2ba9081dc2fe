//! A connection to a bus: who we are, calls and their answers, the ends of jobs.
//!
//! Synchronous, with nothing but a socket: it is used where no thread may exist yet.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wire::{self, Arguments, Malformed, Message, Method, PRELUDE};
use crate::file::Deadline;

/// How long an answer, or the end of a job, is waited for: as long as runc does.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest line before messages begin.
const LONGEST_LINE: usize = 512;

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";

/// How the path of a socket ends behind which systemd itself listens, and no bus.
const DIRECT: &str = "systemd/private";

/// Why a bus is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody is there, or may be spoken to.
    #[error("connect to the bus at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke, or nothing came for half a minute.
    #[error("speak to the bus at {path}")]
    Speak {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not believe who we are.
    #[error("the bus at {path} refuses us: {answer}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// Its words.
        answer: String,
    },
    /// What comes is no message.
    #[error("the bus at {path} says something that is no message of D-Bus")]
    Malformed {
        /// The socket.
        path: PathBuf,
    },
    /// A call failed.
    #[error("{member}: {text} ({name})")]
    Call {
        /// The method.
        member: String,
        /// The error's name.
        name: String,
        /// Its words.
        text: String,
    },
}

/// The socket that an address of D-Bus names by its path: `unix:path=/run/user/1000/bus,guid=…`; of
/// several, the first.
#[must_use]
pub fn bus_socket(address: &str) -> Option<PathBuf> {
    let paths = address.split(';').filter_map(|one| one.strip_prefix("unix:"));
    let mut paths =
        paths.flat_map(|keys| keys.split(',')).filter_map(|key| key.strip_prefix("path="));
    paths.find_map(unescape).filter(|path| path.is_absolute())
}

/// Other bytes than letters, digits and some signs are `%` and two digits.
fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok()?
            }
            byte => byte,
        });
    }
    Some(OsString::from_vec(bytes).into())
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A bus, which gives names and passes on what it is asked to.
    Bus,
    /// systemd, which has no names for those who speak to it alone, and tells them all that it tells anybody.
    Systemd,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    path: PathBuf,
    end: End,
    serial: u32,
    /// Whose jobs, which, and how they have ended, since the last call was sent.
    ended: Vec<(String, String, String)>,
    /// How long an answer, or the end of a job, is waited for.
    pub(super) patience: Duration,
}

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Answer {
    /// Whose it is: a name that the bus has given, and that nobody else can have.
    pub(super) from: String,
    /// Its first value, if that is a text.
    pub(super) text: Option<String>,
}

impl Bus {
    /// Connects and says who we are. That is left to the kernel: what the socket tells holds in a user
    /// namespace as well, where our own numbers are not those that the bus knows.
    pub(super) fn connect(path: &Path) -> Result<Self, BusError> {
        let connect = |source| BusError::Connect { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(connect)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(connect)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(connect)?;
        let end = if path.ends_with(DIRECT) { End::Systemd } else { End::Bus };
        let (path, ended) = (path.to_owned(), Vec::new());
        let mut bus = Self { stream, path, end, serial: 0, ended, patience: PATIENCE };
        bus.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        // It asks for nothing more, and then agrees.
        for expected in ["DATA", "OK "] {
            let answer = bus.line()?;
            if !answer.starts_with(expected) {
                return Err(BusError::Refused { path: bus.path, answer });
            }
        }
        bus.ask_bus("Hello", Arguments::None)?;
        Ok(bus)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        let Self { stream, path, .. } = self;
        stream.write_all(bytes).map_err(|source| BusError::Speak { path: path.clone(), source })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BusError> {
        let Self { stream, path, .. } = self;
        stream.read_exact(bytes).map_err(|source| {
            // What a socket says whose time is over.
            let is_late = source.kind() == ErrorKind::WouldBlock;
            let source = if is_late { ErrorKind::TimedOut.into() } else { source };
            BusError::Speak { path: path.clone(), source }
        })
    }

    fn line(&mut self) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < LONGEST_LINE {
            let mut byte = [0];
            self.fill(&mut byte)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Calls a method of the bus's own, where there is one.
    pub(super) fn ask_bus(
        &mut self,
        member: &str,
        arguments: Arguments<'_>,
    ) -> Result<(), BusError> {
        let path = "/org/freedesktop/DBus";
        match self.end {
            End::Systemd => Ok(()),
            End::Bus => {
                let method = Method { destination: BUS, path, interface: BUS, member };
                self.ask(method, arguments).map(drop)
            }
        }
    }

    /// Calls a method, and waits for the answer.
    pub(super) fn ask(
        &mut self,
        method: Method<'_>,
        arguments: Arguments<'_>,
    ) -> Result<Answer, BusError> {
        self.serial += 1;
        let (serial, deadline) = (self.serial, Deadline::after(self.patience));
        self.ended.clear();
        self.send(&wire::call(serial, method, arguments))?;
        loop {
            match self.next(deadline)? {
                Message::Return { to, from, text } if to == serial => {
                    return Ok(Answer { from, text });
                }
                Message::Error { to, name, text } if to == serial => {
                    return Err(BusError::Call { member: method.member.to_owned(), name, text });
                }
                // It may end before we are told what it is called.
                Message::JobRemoved { from, job, result } => self.ended.push((from, job, result)),
                Message::Return { .. } | Message::Error { .. } | Message::Other => {}
            }
        }
    }

    /// Waits for the end of a job of `whose`: how it ended. What others say of it is not believed.
    pub(super) fn end_of(&mut self, whose: &str, job: &str) -> Result<String, BusError> {
        let is_it = |from: &str, ended: &str| from == whose && ended == job;
        let told = self.ended.drain(..).find(|(from, ended, _)| is_it(from, ended));
        if let Some((_, _, result)) = told {
            return Ok(result);
        }
        let deadline = Deadline::after(self.patience);
        loop {
            if let Message::JobRemoved { from, job, result } = self.next(deadline)?
                && is_it(&from, &job)
            {
                return Ok(result);
            }
        }
    }

    /// The next message. Others' come as well, so that the whole wait has one end.
    fn next(&mut self, deadline: Deadline) -> Result<Message, BusError> {
        let speak = |source| BusError::Speak { path: self.path.clone(), source };
        let left = deadline.left();
        if left.is_zero() {
            return Err(speak(ErrorKind::TimedOut.into()));
        }
        self.stream.set_read_timeout(Some(left)).map_err(speak)?;
        let malformed = |path: &Path| {
            let path = path.to_owned();
            move |_: Malformed| BusError::Malformed { path }
        };
        let mut prelude = [0; PRELUDE];
        self.fill(&mut prelude)?;
        let length = wire::whole(prelude).map_err(malformed(&self.path))?;
        let mut bytes = prelude.to_vec();
        bytes.resize(length, 0);
        self.fill(&mut bytes[PRELUDE..])?;
        wire::read(&bytes).map_err(malformed(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("tcp:host=x;unix:guid=7,path=/a%20b%2fc", Some("/a b/c")),
            ("unix:abstract=/tmp/x", None),
            ("unix:path=bus", None),
            ("unix:path=/a%2", None),
            ("/run/bus", None),
            ("", None),
        ] {
            assert_eq!(bus_socket(address), expected.map(PathBuf::from), "{address}");
        }
    }
}
