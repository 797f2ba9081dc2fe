//! Telling slirp4netns of a port: a question in JSON at its socket, and its answer.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{ADDRESS, Forward};

/// What the socket is called, in a directory of the container's.
pub(super) const SOCKET: &str = "slirp.sock";

const PATIENCE: Duration = Duration::from_secs(5);
/// How long one question may take.
pub(super) const LONGEST: Duration = PATIENCE.saturating_mul(2);
/// Of an answer.
const ANSWER: u64 = 4096;

/// Asks for one port; or what went wrong.
pub(super) fn ask(socket: &Path, forward: &Forward) -> Result<(), String> {
    let answer = exchange(socket, &question(forward)).map_err(|error| error.to_string())?;
    if answer.contains("\"error\"") { Err(answer.trim().to_owned()) } else { Ok(()) }
}

/// Numbers and addresses alone, so that nothing has to be escaped.
fn question(forward: &Forward) -> String {
    let Forward { protocol, host, container, .. } = forward;
    format!(
        r#"{{"execute":"add_hostfwd","arguments":{{"proto":"{protocol}","host_addr":"{}","host_port":{},"guest_addr":"{ADDRESS}","guest_port":{container}}}}}"#,
        host.ip(),
        host.port(),
    )
}

fn exchange(socket: &Path, question: &str) -> std::io::Result<String> {
    let mut stream = connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Its path may be longer than an address takes, so it is named by its directory's descriptor.
fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    use std::os::fd::AsRawFd as _;
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let dir = std::fs::File::open(dir)?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::port::Protocol;

    #[test]
    fn a_port_is_asked_for_in_json() {
        let one = Forward {
            protocol: Protocol::Tcp,
            host: "127.0.0.1:8080".parse().unwrap(),
            container: 80,
            count: 1,
        };
        let expected = r#"{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":8080,"guest_addr":"10.0.2.100","guest_port":80}}"#;
        assert_eq!(question(&one), expected);
    }
}
