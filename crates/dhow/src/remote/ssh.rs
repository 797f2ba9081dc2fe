//! A server on a machine to which the user's own ssh goes, with its keys, agent and configuration.
//!
//! Each connection is an ssh of its own, which starts there what connects its streams with the server.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::{Child, Stdio};
use std::task::{Context, Poll, ready};

use cli::SshHost;
use docker_api::Transport;
use docker_api::transport::Io;
use sys::helper::{self, Helper};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

/// What connects the streams there, for a POSIX shell whose first argument is the server's socket, or is missing.
const DIAL: &str = r#"if command -v dhow >/dev/null 2>&1; then exec dhow ${1:+-H "$1"} system dial-stdio; fi; exec docker ${1:+-H "$1"} system dial-stdio"#;

/// The way to a server.
pub(super) fn transport(host: &SshHost) -> Transport {
    let (name, host) = (host.to_string(), host.clone());
    Transport::remote(name, move || {
        let connected = connect(&host);
        Box::pin(async move { connected })
    })
}

/// Starts ssh, whose streams are the connection. It ends when they do, or when we do: this is called by the thread
/// that the command line is.
fn connect(host: &SshHost) -> io::Result<Box<dyn Io>> {
    let mut command = helper::command(Helper::Ssh);
    // A terminal's interrupt is for a container, and not for the way to it.
    helper::apart(&mut command);
    command.args(["-o", "ConnectTimeout=30", "-T"]);
    if let Some(user) = &host.user {
        command.args(["-l", user]);
    }
    if let Some(port) = host.port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", &host.host, &remote_line(host)]);
    // What ssh has to say, it says to the user.
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child =
        started.map_err(|error| io::Error::new(error.kind(), format!("start ssh: {error}")))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    Ok(Box::new(Line {
        ssh: Some(child),
        from: Receiver::from_owned_fd(OwnedFd::from(output))?,
        to: Some(Sender::from_owned_fd(OwnedFd::from(input))?),
        host: host.host.clone(),
        has_spoken: false,
    }))
}

/// One line for the user's shell there, whichever it is, in which words of others are quoted.
fn remote_line(host: &SshHost) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let socket = host.socket.as_ref().map(|path| quoted(&format!("unix://{path}")));
    let script = quoted(DIAL);
    format!("sh -c {script} sh {}", socket.unwrap_or_default()).trim_end().to_owned()
}

/// An ssh's streams.
struct Line {
    /// Until it is waited for.
    ssh: Option<Child>,
    from: Receiver,
    /// Gone once all is said: its end is the other side's end of input.
    to: Option<Sender>,
    host: String,
    /// Whether anything has come back.
    has_spoken: bool,
}

impl Line {
    /// Has somebody wait for its end, or it would be a zombie until the command ends: `dhow ui` goes on for days, and
    /// begins one for each thing that is looked at.
    fn reap(&mut self) {
        let Some(mut ssh) = self.ssh.take() else { return };
        // Without a thread it is left to the end of the command.
        let _ = std::thread::Builder::new().name("ssh".to_owned()).spawn(move || ssh.wait());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reap();
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.from).poll_read(cx, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            self.reap();
        }
        if buffer.filled().len() == before && !self.has_spoken {
            // Its own words, if it had some, stand above this.
            let why = format!(
                "ssh ended before a server said anything: does \"ssh {}\" work, and is there a dhow or a docker?",
                self.host
            );
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
        }
        self.has_spoken = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.to {
            Some(to) => Pin::new(to).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.to {
            Some(to) => Pin::new(to).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(socket: Option<&str>) -> SshHost {
        let socket = socket.map(str::to_owned);
        SshHost { host: "h".to_owned(), user: None, port: None, socket }
    }

    #[test]
    fn the_path_of_a_socket_is_one_word_there() {
        let line = remote_line(&host(Some("/x'; reboot '")));
        assert!(line.ends_with(r"' sh 'unix:///x'\''; reboot '\'''"), "{line}");
        assert!(!remote_line(&host(None)).contains("unix://"));
    }
}
