//! Sockets to listen at: made, or handed over by whoever started us.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::task::Poll;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::coop::has_budget_remaining;

use super::tcp;
use super::tls::Guard;
use crate::web::{Dashboard, Guest};

/// The mode of a socket that no group was named for.
const OWN: Mode = Mode::RUSR.union(Mode::WUSR);

/// Connections that wait to be taken.
const QUEUE: i32 = 1024;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error(
        "something listens at {} already: is the service running? To have a second one, give it another -H",
        .0.display()
    )]
    Taken(PathBuf),
    /// Something is there that is no socket.
    #[error("{} is there and is no socket: remove it, or listen elsewhere with -H", .0.display())]
    NoSocket(PathBuf),
    /// What was made at the path has gone again, and something else is there.
    #[error("{} was replaced while it was made: may others write to its directory?", .0.display())]
    Replaced(PathBuf),
    /// The system says no.
    #[error("{what} {}", path.display())]
    Socket {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system says no to an address.
    #[error("listen at tcp://{address}")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// What was handed over is no listening socket of a kind that is known here.
    #[error("descriptor {0} that was handed over is no listening socket of Unix or TCP")]
    Inherited(usize),
    /// Who comes by TCP could be anybody.
    #[error(
        "{0}: whoever reaches it would be root on this machine: let in who has a certificate with --tlsverify, or everybody with --unauthenticated-tcp"
    )]
    Unguarded(String),
}

/// Who may connect beside root and whoever runs the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Nobody.
    Own,
    /// The members of this group.
    Group(u32),
}

/// A socket at which the service listens.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    place: String,
}

#[derive(Debug)]
enum Socket {
    Unix {
        socket: UnixListener,
        /// What has to go when nobody listens any more.
        _file: Option<SocketFile>,
    },
    Tcp(TcpListener, Guard),
    /// Where nothing but figures is told.
    Metrics(TcpListener),
    /// Where browsers come.
    Web(Dashboard),
}

/// A connection that has come in.
pub(super) enum Accepted {
    Unix(UnixStream),
    /// With what it takes to be let in.
    Tcp(TcpStream, Guard),
    Metrics(TcpStream),
    /// With who is let in.
    Web(Guest),
}

impl Listener {
    /// Listens at a path. A socket there at which nobody listens any more is replaced.
    ///
    /// Two services that begin at the same moment must not replace each other's: the caller holds a
    /// lock against that.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the system says no.
    pub fn unix(path: &Path, owner: Owner) -> Result<Self, BindError> {
        make_way(path)?;
        let failed = |what| {
            let path = path.to_owned();
            move |errno: rustix::io::Errno| BindError::Socket { what, path, source: errno.into() }
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(failed("make a socket for"))?;
        // The file gets the socket's mode: nobody else can connect before it is said who may.
        rustix::fs::fchmod(&socket, OWN).map_err(failed("set the mode of"))?;
        let address = SocketAddrUnix::new(path).map_err(failed("listen at"))?;
        rustix::net::bind(&socket, &address).map_err(failed("listen at"))?;
        let (file, made) = SocketFile::at(path)?;
        rustix::net::listen(&socket, QUEUE).map_err(failed("listen at"))?;
        if let Owner::Group(group) = owner {
            open_to(&made, group).map_err(failed("give to the group"))?;
        }
        let socket = UnixListener::from_std(socket.into()).map_err(|source| BindError::Socket {
            what: "listen at",
            path: path.to_owned(),
            source,
        })?;
        let place = format!("unix://{}", path.display());
        Ok(Self { socket: Socket::Unix { socket, _file: Some(file) }, place })
    }

    /// Listens at an address; port 0 is a free one.
    ///
    /// # Errors
    /// It is not said who may come in, or the system says no.
    pub fn tcp(address: SocketAddr, guard: Option<&Guard>) -> Result<Self, BindError> {
        let guard = guard.ok_or_else(|| BindError::Unguarded(format!("tcp://{address}")))?;
        let failed = |source| BindError::Tcp { address, source };
        let socket = tcp::listen(address).map_err(failed)?;
        let place = format!("tcp://{}", socket.local_addr().map_err(failed)?);
        Ok(Self { socket: Socket::Tcp(socket, guard.clone()), place })
    }

    /// Listens at an address where nothing but figures is told, to everybody; port 0 is a free one.
    ///
    /// # Errors
    /// The system says no.
    pub fn metrics(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError::Tcp { address, source };
        let socket = tcp::listen(address).map_err(failed)?;
        let place = format!("http://{}/metrics", socket.local_addr().map_err(failed)?);
        Ok(Self { socket: Socket::Metrics(socket), place })
    }

    /// Shows a dashboard.
    #[must_use]
    pub fn web(dashboard: Dashboard) -> Self {
        let place = dashboard.place();
        Self { socket: Socket::Web(dashboard), place }
    }

    /// Listens at a socket that somebody else has made, and will keep.
    ///
    /// # Errors
    /// It is none, or one of TCP and it is not said who may come in.
    pub fn inherited(
        number: usize,
        socket: OwnedFd,
        guard: Option<&Guard>,
    ) -> Result<Self, BindError> {
        let refused = |_: io::Error| BindError::Inherited(number);
        let errno = |errno: rustix::io::Errno| refused(errno.into());
        let family = rustix::net::sockopt::socket_domain(&socket).map_err(errno)?;
        let listens = rustix::net::sockopt::socket_acceptconn(&socket).map_err(errno)?;
        let place = "fd://".to_owned();
        match family {
            AddressFamily::UNIX if listens => {
                let socket = std::os::unix::net::UnixListener::from(socket);
                socket.set_nonblocking(true).map_err(refused)?;
                let socket = UnixListener::from_std(socket).map_err(refused)?;
                Ok(Self { socket: Socket::Unix { socket, _file: None }, place })
            }
            AddressFamily::INET | AddressFamily::INET6 if listens => {
                let socket = tcp::from_std(socket.into()).map_err(refused)?;
                let at = socket.local_addr().map_err(refused)?;
                let unguarded = || BindError::Unguarded(format!("tcp://{at} of systemd's"));
                let guard = guard.ok_or_else(unguarded)?.clone();
                Ok(Self { socket: Socket::Tcp(socket, guard), place })
            }
            _ => Err(BindError::Inherited(number)),
        }
    }

    /// Where it listens, as `-H` is told.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Unix { socket, .. } => Ok(Accepted::Unix(calmly(socket).await?)),
            Socket::Tcp(socket, guard) => {
                Ok(Accepted::Tcp(socket.accept().await?.0, guard.clone()))
            }
            Socket::Metrics(socket) => Ok(Accepted::Metrics(socket.accept().await?.0)),
            Socket::Web(dashboard) => Ok(Accepted::Web(dashboard.accept().await?)),
        }
    }
}

/// Takes a connection, and gives up on a socket that is ready for ever and has nobody: a listening one of Unix that
/// somebody else has shut down, who has it as well. Linux says EAGAIN there, and tokio, which is told that it is
/// ready, asks again and again, until its task has to let others run. Twice in a row that is nothing else: at its
/// next turn a task may ask as often as at first.
async fn calmly(socket: &UnixListener) -> io::Result<UnixStream> {
    let mut is_suspect = false;
    // tokio's own `accept` would ask without an end.
    poll_fn(move |context| match socket.poll_accept(context) {
        Poll::Pending => {
            let was_suspect = std::mem::replace(&mut is_suspect, !has_budget_remaining());
            if was_suspect && is_suspect {
                let why = "the socket is ready and nobody is there: was it shut down?";
                return Poll::Ready(Err(io::Error::other(why)));
            }
            Poll::Pending
        }
        Poll::Ready(accepted) => Poll::Ready(accepted.map(|(stream, _)| stream)),
    })
    .await
}

/// Takes away what a service that was killed has left at its place.
fn make_way(path: &Path) -> Result<(), BindError> {
    let failed = |what| {
        let path = path.to_owned();
        move |source| BindError::Socket { what, path, source }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match knock(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed("remove")),
        // Whose queue is full listens as well.
        Ok(()) | Err(Errno::AGAIN) => Err(BindError::Taken(path.to_owned())),
        Err(errno) => Err(failed("ask who listens at")(errno.into())),
    }
}

/// Connects to a socket without waiting for its owner.
fn knock(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Gives what was found at a socket's path to a group. Nothing is looked up again: whoever may write to the
/// directory could have put something else there.
fn open_to(made: &OwnedFd, group: u32) -> rustix::io::Result<()> {
    let group = Some(Gid::from_raw(group));
    rustix::fs::chownat(made, c"", None, group, AtFlags::EMPTY_PATH)?;
    let mode = OWN | Mode::RGRP | Mode::WGRP;
    // fchmod(2) takes no descriptor that only names a file; its link in /proc leads to that very file.
    rustix::fs::chmod(format!("/proc/self/fd/{}", made.as_raw_fd()), mode)
}

/// The file of a socket, which goes with whoever listens, unless it is another one's by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The one that this process has just made there with [`OWN`] as its mode, and a descriptor that names
    /// it. It has to look like that one: in a directory of others' it could be a link, or be another's.
    fn at(path: &Path) -> Result<(Self, OwnedFd), BindError> {
        let failed = |errno: rustix::io::Errno| BindError::Socket {
            what: "look at",
            path: path.to_owned(),
            source: errno.into(),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let found = rustix::fs::fstat(&made).map_err(failed)?;
        let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
        let others = Mode::from_raw_mode(found.st_mode).intersects(!OWN);
        let is_own = found.st_uid == rustix::process::geteuid().as_raw() && found.st_nlink == 1;
        if !is_socket || others || !is_own {
            return Err(BindError::Replaced(path.to_owned()));
        }
        Ok((Self { path: path.to_owned(), identity: (found.st_dev, found.st_ino) }, made))
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // What cannot be removed is replaced by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener as StdUnixListener;

    #[tokio::test]
    async fn a_socket_is_its_owners_and_that_of_a_group_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let group = Owner::Group(rustix::process::getegid().as_raw());
        let shared = Listener::unix(&path, group).unwrap();
        assert_eq!(mode(), 0o660);
        drop(shared);
        let listener = Listener::unix(&path, Owner::Own).unwrap();
        assert_eq!(mode(), 0o600);
        let taken = Listener::unix(&path, Owner::Own).unwrap_err();
        assert!(matches!(taken, BindError::Taken(_)), "{taken}");
        drop(listener);
        assert!(!path.exists());
    }

    /// Somebody else has it as well, as systemd has what it hands over.
    #[tokio::test]
    async fn a_socket_that_was_shut_down_is_told_of_and_not_asked_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let theirs = StdUnixListener::bind(&path).unwrap();
        let ours = theirs.try_clone().unwrap();
        let listener = Listener::inherited(0, ours.into(), None).unwrap();
        // More than a task may take at one turn.
        for _ in 0..500 {
            let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            listener.accept().await.unwrap();
        }
        rustix::net::shutdown(&theirs, rustix::net::Shutdown::Both).unwrap();
        let Err(error) = listener.accept().await else { panic!("nobody is there") };
        assert!(error.to_string().contains("was it shut down?"), "{error}");
    }

    #[test]
    fn what_took_the_sockets_place_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let _socket = StdUnixListener::bind(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o666)).unwrap();
        let _socket = StdUnixListener::bind(at("s")).unwrap();
        fs::set_permissions(at("s"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(at("file"), "").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("s", at("link")).unwrap();
        // It would take the file with it.
        let own = SocketFile::at(&at("s")).unwrap();
        fs::hard_link(at("s"), at("second")).unwrap();
        for name in ["open", "file", "link", "second"] {
            let refused = SocketFile::at(&at(name)).unwrap_err();
            assert!(matches!(refused, BindError::Replaced(_)), "{name}: {refused}");
        }
        drop(own);
    }

    #[test]
    fn whose_queue_is_full_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let flags = SocketFlags::CLOEXEC;
        let busy = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let busy = busy.unwrap();
        rustix::net::bind(&busy, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&busy, 0).unwrap();
        let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let taken = make_way(&path).unwrap_err();
        assert!(matches!(taken, BindError::Taken(_)), "{taken}");
    }

    #[tokio::test]
    async fn what_a_killed_service_left_is_replaced_and_others_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = Listener::unix(&path, Owner::Own).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Listener::unix(&path, Owner::Own).unwrap();
        drop(first);
        assert!(path.exists(), "it is the second one's");
        drop(second);
        fs::write(&path, "").unwrap();
        let refused = Listener::unix(&path, Owner::Own).unwrap_err();
        assert!(matches!(refused, BindError::NoSocket(_)), "{refused}");
    }
}
