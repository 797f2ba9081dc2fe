//! The network of an ordinary user: a program that carries a container's packets through sockets of the host.
//!
//! pasta where it is installed, else slirp4netns. Both give the container the same addresses, so that what is
//! written down about it does not depend on which it is. Owns how they are called, and that they live as long
//! as their container's guardian: the kernel kills them with it. Owns no policy about ports: the caller has
//! found them free.

mod call;
mod forward;
mod way;

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::port::Protocol;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use sys::Errno;
use sys::helper::{Helper, command, kept};
use sys::process::Child;
use sys::rootless::find_helper;

pub use way::Way;

/// The container's address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// Of its network.
pub const PREFIX: u8 = 24;
/// Where its packets go.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Where its questions about names go on to the host's first server, also if only the host can reach that.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// How long it may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of its complaint is told.
const COMPLAINT: usize = 1024;

/// Why a container has no network.
#[derive(Debug, thiserror::Error)]
pub enum UserNetworkError {
    /// Nothing is installed.
    #[error(
        "neither pasta nor slirp4netns is installed: a container of an ordinary user needs one of them for a \
         network of its own; install the package passt (Debian, Ubuntu, Fedora, Arch), or use --network none or \
         host"
    )]
    Missing,
    /// What none of them can do.
    #[error("the network of an ordinary user publishes no port of {0}")]
    Protocol(Protocol),
    /// It does not start.
    #[error("start {program}: {errno}")]
    Start {
        /// Which.
        program: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// It says nothing, for too long.
    #[error("{program} has not brought the network up in {} seconds", PATIENCE.as_secs())]
    Slow {
        /// Which.
        program: &'static str,
    },
    /// It cannot be waited for.
    #[error("wait for {program}: {errno}")]
    Wait {
        /// Which.
        program: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// It ends at once.
    #[error("{program} did not bring the network up: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// Somebody was faster.
    #[error("failed to bind host port {0}: address already in use")]
    Taken(SocketAddr),
    /// It does not forward a port.
    #[error("{program}: forward {host}: {said}")]
    Forward {
        /// Which.
        program: &'static str,
        /// The host's side.
        host: SocketAddr,
        /// What it says.
        said: String,
    },
}

/// Which of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// pasta, of passt.
    Pasta,
    /// slirp4netns.
    Slirp,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Pasta, Self::Slirp];

    /// What it is called.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp => "slirp4netns",
        }
    }

    fn path(self) -> Option<PathBuf> {
        find_helper(self.program())
    }

    /// What this host has of them, the better one first.
    #[must_use]
    pub fn installed() -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path().is_some())
    }
}

/// Where it brings its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seat {
    /// Into a container's own namespace, as all that the container has.
    Own,
    /// Into the namespace that the user's networks are in, where others have some as well: it makes the link of
    /// this way, and the caller makes it one.
    Shared(Way),
}

/// Ports of the host that lead to as many of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's side, with its first port.
    pub host: SocketAddr,
    /// The container's first port.
    pub container: u16,
    /// How many ports.
    pub count: u16,
}

impl Forward {
    /// Each port by itself.
    fn each(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.count).map_while(|index| {
            let host = SocketAddr::new(self.host.ip(), self.host.port().checked_add(index)?);
            Some(Self { host, container: self.container.checked_add(index)?, count: 1, ..*self })
        })
    }
}

/// One that runs, for as long as this is kept.
#[derive(Debug)]
pub struct UserNetwork {
    kind: Kind,
    pid: Pid,
    pidfd: OwnedFd,
    /// Its standard output: the end when it has ended, and from slirp4netns something to read when it is up.
    ready: OwnedFd,
    /// Where pasta says so.
    up: Option<Up>,
    /// Kept open, since one that tells something to nobody would die of that; what is not read is lost when it
    /// is full.
    complaint: OwnedFd,
    forwards: Vec<Forward>,
    /// Where slirp4netns is told of ports.
    control: Option<PathBuf>,
}

/// Starts one for a network namespace. It is up after [`UserNetwork::wait`]. `dir` is one that nobody but this
/// user can write to.
///
/// # Errors
/// See [`UserNetworkError`].
pub fn start(
    netns: impl AsFd,
    seat: &Seat,
    forwards: Vec<Forward>,
    dir: &Path,
) -> Result<UserNetwork, UserNetworkError> {
    let kind = Kind::installed().ok_or(UserNetworkError::Missing)?;
    let path = kind.path().ok_or(UserNetworkError::Missing)?;
    let failed = |errno| UserNetworkError::Start { program: kind.program(), errno };
    let netns = rustix::io::fcntl_dupfd_cloexec(netns, 3).map_err(failed)?;
    let (ready, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let (complaint, complain) =
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed)?;
    let control = (kind == Kind::Slirp && !forwards.is_empty()).then(|| dir.join(forward::SOCKET));
    let up = (kind == Kind::Pasta).then(|| Up::make(dir)).transpose().map_err(failed)?;
    let mut command = command(Helper::UserNetwork(&path));
    command
        .args(call::arguments(kind, seat, &forwards)?)
        .args(up.iter().flat_map(Up::arguments))
        .env_clear()
        .current_dir(dir)
        .stdin(netns)
        .stdout(tell)
        .stderr(complain);
    // With the command go the ends of the pipes that are the program's own.
    let Child { pid, pidfd } = kept(command).map_err(failed)?;
    Ok(UserNetwork { kind, pid, pidfd, ready, up, complaint, forwards, control })
}

/// A pipe with a name, which pasta writes its number to when it is up. It would take the descriptor that it
/// was given for that as well, but for AppArmor's profile of it (Debian 13, Ubuntu 24.04), which has it open
/// nothing of `/proc/self/fd`; below `/run/user`, `/home` and `/tmp` it may write.
#[derive(Debug)]
struct Up {
    path: PathBuf,
    reader: OwnedFd,
}

impl Up {
    fn make(dir: &Path) -> Result<Self, Errno> {
        let path = dir.join("pasta.up");
        // That of one that was killed.
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let reader = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { path, reader })
    }

    fn arguments(&self) -> [&OsStr; 2] {
        [OsStr::new("--pid"), self.path.as_os_str()]
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = rustix::fs::unlink(&self.path);
    }
}

impl UserNetwork {
    /// The process that keeps it, a child of whoever has started it.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// What it is called.
    #[must_use]
    pub const fn program(&self) -> &'static str {
        self.kind.program()
    }

    /// Ends it, if it has not ended, and tells what it forwarded.
    #[must_use]
    pub fn into_forwards(mut self) -> Vec<Forward> {
        std::mem::take(&mut self.forwards)
    }

    /// How long [`UserNetwork::wait`] may take.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let ports = self.forwards.iter().map(|one| u32::from(one.count)).sum();
        let asked = if self.control.is_some() { ports } else { 0 };
        PATIENCE.saturating_add(forward::LONGEST.saturating_mul(asked))
    }

    /// Waits until it is up, with its ports.
    ///
    /// # Errors
    /// It ends before, or takes too long.
    pub fn wait(&self) -> Result<(), UserNetworkError> {
        let patience = Timespec::try_from(PATIENCE).ok();
        let first = self.up.as_ref().map_or(&self.ready, |up| &up.reader);
        let mut fds = [first, &self.ready].map(|fd| PollFd::new(fd, PollFlags::IN));
        let waited = loop {
            match poll(&mut fds, patience.as_ref()) {
                Err(Errno::INTR) => {}
                waited => break waited,
            }
        };
        let program = self.kind.program();
        let told = match waited {
            Err(errno) => return Err(UserNetworkError::Wait { program, errno }),
            Ok(0) => return Err(UserNetworkError::Slow { program }),
            Ok(_) if fds[0].revents().contains(PollFlags::IN) => {
                rustix::io::read(first, &mut [0_u8; 16])
            }
            Ok(_) => rustix::io::read(&self.ready, &mut [0_u8; 16]),
        };
        if told.map_err(|errno| UserNetworkError::Wait { program, errno })? == 0 {
            let said = self.last_words();
            if let Some(taken) = self.forwards.iter().find(|one| said.contains(&call::spec(one))) {
                return Err(UserNetworkError::Taken(taken.host));
            }
            return Err(UserNetworkError::Failed { program, said });
        }
        let Some(control) = &self.control else { return Ok(()) };
        self.forwards.iter().flat_map(Forward::each).try_for_each(|one| {
            forward::ask(control, &one).map_err(|said| UserNetworkError::Forward {
                program,
                host: one.host,
                said,
            })
        })
    }

    fn last_words(&self) -> String {
        let mut said = vec![0; COMPLAINT];
        let count = rustix::io::read(&self.complaint, &mut said[..]).unwrap_or(0);
        said.truncate(count);
        // Its log for the system's logger is not ours.
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.ends_with("to syslog")).collect();
        if lines.is_empty() { "it says nothing".to_owned() } else { lines.join("; ") }
    }
}

impl Drop for UserNetwork {
    /// Whoever has started it reaps it, with all its children.
    fn drop(&mut self) {
        let _ = sys::process::pidfd_send_signal(&self.pidfd, sys::signal::Signal::KILL);
        if let Some(control) = &self.control {
            let _ = std::fs::remove_file(control);
        }
    }
}

/// The address at which this host can be reached by others: the one that it uses to reach them. Nothing is
/// sent.
#[must_use]
pub fn host_address() -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that says this, or nothing, and then ends or not.
    fn network(control: Option<PathBuf>, said: Option<&[u8]>) -> (UserNetwork, OwnedFd) {
        let (ready, tell) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (complaint, complain) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        // Of no process: whatever it is of is killed in the end.
        let (pid, pidfd) = (rustix::process::getpid(), rustix::io::dup(&ready).unwrap());
        if let Some(said) = said {
            rustix::io::write(&complain, said).unwrap();
        }
        drop(complain);
        let forward = Forward {
            protocol: Protocol::Tcp,
            host: "127.0.0.1:80".parse().unwrap(),
            container: 80,
            count: 1,
        };
        let forwards = vec![forward; 3];
        let kind = Kind::Slirp;
        (UserNetwork { kind, pid, pidfd, ready, up: None, complaint, forwards, control }, tell)
    }

    #[test]
    fn who_waits_for_it_knows_how_long_at_most() {
        assert_eq!(network(None, None).0.longest(), PATIENCE);
        let told = network(Some("/nosuch/socket".into()), None).0.longest();
        assert_eq!(told, PATIENCE + forward::LONGEST * 3);
    }

    #[test]
    fn what_ends_at_once_has_its_last_words_told() {
        let (network, tell) = network(None, Some(b"no such thing\n"));
        drop(tell);
        let failed = network.wait().unwrap_err().to_string();
        assert_eq!(failed, "slirp4netns did not bring the network up: no such thing");
    }
}
