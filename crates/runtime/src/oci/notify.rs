//! systemd's `NOTIFY_SOCKET`: a container says that it is ready at a socket of its own, and whoever waits on the
//! host is told, with the process that stands for the container.
//!
//! As runc has it: nothing but readiness is passed on.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use oci_spec::runtime::{MountBuilder, Spec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use super::fault::Fault;
use super::record::Place;

/// Where the container has it.
pub(super) const INSIDE: &str = "/run/notify";
const NAME: &str = "notify.sock";

/// Whether the caller wants to be told.
pub(super) fn is_awaited() -> bool {
    host().is_some()
}

/// Whom the caller wants to be told.
fn host() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty())
}

/// Shows the container a directory in which the socket will be, and says so in its environment.
pub(super) fn prepare(place: &Place, spec: &mut Spec) -> Result<(), Fault> {
    let directory = place.notify();
    fs::create_dir(&directory).map_err(Fault::file("make", &directory))?;
    // The container's user has to reach it, whatever this process's mask is.
    let set = fs::set_permissions(&directory, fs::Permissions::from_mode(0o755));
    set.map_err(Fault::file("open up", &directory))?;
    let source = fs::canonicalize(&directory).map_err(Fault::file("find", &directory))?;
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    let mount = MountBuilder::default().destination(INSIDE).typ("bind").source(source);
    let mount = mount.options(options).build().map_err(|error| Fault::Config(error.to_string()))?;
    spec.set_mounts(Some([spec.mounts().clone().unwrap_or_default(), vec![mount]].concat()));
    if let Some(process) = spec.process_mut() {
        let entry = format!("NOTIFY_SOCKET={INSIDE}/{NAME}");
        process.set_env(Some([process.env().clone().unwrap_or_default(), vec![entry]].concat()));
    }
    Ok(())
}

/// The container's socket, and whom to tell.
#[derive(Debug)]
pub(super) struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    host: String,
}

impl Notify {
    /// Listens, before the container's program can say anything. None if nobody waits, or nobody waited when
    /// it was created.
    pub(super) fn listen(place: &Place) -> Result<Option<Self>, Fault> {
        let (Some(host), directory) = (host(), place.notify()) else { return Ok(None) };
        if !directory.exists() {
            return Ok(None);
        }
        let name = directory.join(NAME);
        drop(fs::remove_file(&name));
        // An address takes 107 bytes, however long the path is.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&directory, flags, Mode::empty());
        let opened = opened.map_err(|errno| Fault::file("open", &directory)(errno.into()))?;
        let short = format!("/proc/self/fd/{}/{NAME}", opened.as_raw_fd());
        let socket = bind_for_all(&short).map_err(Fault::file("listen at", &name))?;
        Ok(Some(Self { socket, path: name, host }))
    }

    /// Waits until the container is ready, or has ended, and tells of the former. `main` is who stands for it.
    pub(super) fn pass_on(&self, process: &OwnedFd, main: u32) -> Result<(), Fault> {
        let failed = |errno| Fault::Call("wait for the container to be ready", errno);
        loop {
            let mut ready = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
            ];
            retry_on_intr(|| poll(&mut ready, None)).map_err(failed)?;
            if !ready[0].revents().contains(PollFlags::IN) {
                return Ok(());
            }
            let mut said = [0; 4096];
            let read = self.socket.recv(&mut said);
            let length = read.map_err(Fault::file("read from", &self.path))?;
            if let Some(line) = readiness(&said[..length]) {
                return self.tell(&[line, format!("\nMAINPID={main}").as_bytes()].concat());
            }
        }
    }

    fn tell(&self, words: &[u8]) -> Result<(), Fault> {
        let address = match self.host.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(PathBuf::from(&self.host)),
        };
        let sent = address.and_then(|address| self.socket.send_to_addr(words, &address));
        sent.map(drop).map_err(Fault::file("send to", &self.host))
    }
}

/// A socket that everybody may send to, from the moment that it is there: who changes the mode of a name
/// later may find that the container has put something else there.
fn bind_for_all(path: &str) -> std::io::Result<UnixDatagram> {
    let before = rustix::process::umask(Mode::empty());
    let bound = UnixDatagram::bind(path);
    rustix::process::umask(before);
    bound
}

/// The line that says so.
fn readiness(said: &[u8]) -> Option<&[u8]> {
    said.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_may_send_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        drop(bind_for_all(path.to_str().unwrap()).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
    }

    #[test]
    fn nothing_but_readiness_is_heard() {
        assert_eq!(readiness(b"STATUS=x\nREADY=1\nMAINPID=5"), Some(&b"READY=1"[..]));
        assert_eq!(readiness(b"MAINPID=5\nNOTREADY=1"), None);
    }
}
