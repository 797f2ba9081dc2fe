//! `attach`: a container's streams as one connection, framed as Docker frames them.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use model::container::{AttachedStreams, Terminal};
use model::{ContainerId, Life, NameOrId};
use shim::CallError;
use shim::protocol::{Delivery, Target};

use crate::guard::{ATTEMPTS, call_error, shim_error};
use crate::logs::LogReader;
use crate::view::{AttachRequest, LogQuery, LogStream};
use crate::{Engine, EngineError};

impl Engine {
    /// Attaches to a container. Before its start it waits for its first output.
    ///
    /// # Errors
    /// There is no such container, or it is frozen.
    pub fn attach(
        &self,
        who: &NameOrId,
        request: AttachRequest,
    ) -> Result<UnixStream, EngineError> {
        let container = self.find(who)?;
        match self.life(&container)? {
            Life::Paused { .. } => return Err(EngineError::AttachPaused(who.to_string())),
            Life::Restarting { .. } => return Err(EngineError::AttachRestarting(who.to_string())),
            Life::Created { .. } | Life::Running { .. } | Life::Exited { .. } => {}
        }
        let live = if request.stream {
            let streams = AttachedStreams {
                stdin: request.stdin,
                stdout: request.streams.stdout,
                stderr: request.streams.stderr,
            };
            Some(self.attach_live(&container.id, streams)?)
        } else {
            None
        };
        self.tell(&container, "attach", &[]);
        if !request.logs {
            return match live {
                Some(stream) => Ok(stream),
                None => pair().map(|(ours, _)| ours),
            };
        }
        let query = LogQuery {
            streams: request.streams,
            since: None,
            until: None,
            tail: None,
            follow: None,
        };
        let log = self.logs(who, query)?;
        let is_terminal = matches!(container.record.spec.process.terminal, Terminal::Pty { .. });
        let (ours, theirs) = pair()?;
        std::thread::spawn(move || replay(log, is_terminal, &theirs, live.as_ref()));
        Ok(ours)
    }

    /// Tells that a client has left a container by its keys.
    ///
    /// # Errors
    /// There is no such container any more.
    pub fn detached(&self, who: &NameOrId) -> Result<(), EngineError> {
        self.tell(&self.find(who)?, "detach", &[]);
        Ok(())
    }

    fn attach_live(
        &self,
        id: &ContainerId,
        streams: AttachedStreams,
    ) -> Result<UnixStream, EngineError> {
        for _ in 0..ATTEMPTS {
            let (shim, container) = self.ensure_shim(id)?;
            let delivery = delivery(&self.life(&container)?);
            match shim.attach(Target::Container, streams, delivery) {
                // Its container ended in between, and nobody held the shim any longer.
                Err(CallError::Gone) => {}
                attached => return attached.map_err(|error| call_error(id, error)),
            }
        }
        Err(shim_error(id, &CallError::Gone))
    }
}

/// Whoever attaches before the start is the container's foreground: it gets every byte, and the
/// container waits for it. Who comes later looks on.
const fn delivery(life: &Life) -> Delivery {
    match life {
        Life::Created { .. } | Life::Exited { .. } => Delivery::Everything,
        Life::Running { .. } | Life::Paused { .. } | Life::Restarting { .. } => Delivery::Recent,
    }
}

fn pair() -> Result<(UnixStream, UnixStream), EngineError> {
    UnixStream::pair().map_err(EngineError::file("make", "a pair of sockets"))
}

/// Sends the log so far, then carries what comes. A client that leaves ends it.
fn replay(mut log: LogReader, is_terminal: bool, client: &UnixStream, live: Option<&UnixStream>) {
    while let Ok(Some(record)) = log.read() {
        let sent = if is_terminal {
            (&*client).write_all(&record.bytes)
        } else {
            send_frame(client, record.stream, &record.bytes)
        };
        if sent.is_err() {
            return;
        }
    }
    let Some(live) = live else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &*live);
            let _ = live.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &*live, &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn send_frame(mut client: &UnixStream, stream: LogStream, bytes: &[u8]) -> io::Result<()> {
    let number = match stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
    };
    let [a, b, c, d] = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    client.write_all(&[number, 0, 0, 0, a, b, c, d])?;
    client.write_all(bytes)
}
