//! `dhow serve`: Docker's own command line against it, its life and death beside commands that need no
//! service, and what systemd gives it.

mod clients;
mod contexts;
mod crowd;
mod images;
mod life;
mod lists;
mod metrics;
mod registries;
mod remote;
mod sockets;
mod websocket;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Host, Ran, until};

/// Longest that a command of another client may take, in seconds, on a machine that is busy with other tests.
const LIMIT: &str = "60";

/// A service on a host's roots. It ends before the host does.
struct Service {
    child: Child,
    socket: PathBuf,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Service {
    /// One at its own socket that has said that it listens.
    fn start(host: &Host) -> Self {
        Self::started(host, &mut host.command(&["serve", "-D"]))
    }

    fn started(host: &Host, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let heard = said.clone();
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap_or(0) > 0 {
                heard.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let socket = host.run_root().join("dhow.sock");
        let mut service = Self { child, socket, said, reader: Some(reader) };
        until("the service listens", || {
            assert!(service.child.try_wait().unwrap().is_none(), "it ended: {}", service.said());
            service.said().contains("msg=listening")
        });
        service
    }

    /// What it has said so far.
    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Where it listens by TCP.
    fn address(&self) -> String {
        let said = self.said();
        let listening = said.split_once("msg=listening").map(|(_, rest)| rest);
        let found = listening.and_then(|line| line.split_once("tcp://"));
        let rest = found.unwrap_or_else(|| panic!("{said}")).1;
        rest.split([' ', '"']).next().unwrap().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its exit code; `None` if a signal ended it.
    fn ended(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        code
    }

    /// Sends a request as it is written here, and reads until the end of the reply's connection.
    fn say(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.reader.is_some() {
            self.signal(Signal::TERM);
            let code = self.ended();
            assert!(code == Some(0) || std::thread::panicking(), "{code:?}: {}", self.said());
        }
    }
}

/// Docker's own command line, asking a service.
#[expect(clippy::disallowed_methods, reason = "tests run clients as a user does")]
fn docker(host: &Host, service: &Service, words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "-k", "5", LIMIT, "docker"]).args(words);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", host.scratch())
        .env("DOCKER_HOST", service.url())
        .stdin(Stdio::null());
    command
}

/// A service, and Docker's command line for it.
struct Pair {
    // It ends before the host does.
    service: Service,
    host: Host,
}

impl Pair {
    fn new() -> Self {
        let host = crate::host();
        Self { service: Service::start(&host), host }
    }

    fn command(&self, words: &[&str]) -> Command {
        docker(&self.host, &self.service, words)
    }

    fn run(&self, words: &[&str]) -> Ran {
        Ran::new(&self.command(words).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        self.ends(0, words).out
    }

    #[track_caller]
    fn ends(&self, code: i32, words: &[&str]) -> Ran {
        let ran = self.run(words);
        let said = self.service.said();
        assert_eq!(ran.code, Some(code), "docker {words:?}: {}\n{}\n{said}", ran.err, ran.out);
        ran
    }
}
