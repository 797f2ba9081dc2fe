//! Steps about descriptors: the terminal, the standard streams, procfs.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use sys::Errno;
use sys::mount::{self, Depth, MountAttrFlags};
use sys::pty::{self, Size};

use super::mounts::{self, PROC_MAGIC};
use super::{Done, Fault, Init, place, write_whole};

impl Init<'_> {
    /// Opens a terminal in the devpts that this process has mounted, or in the one of the container
    /// that it has entered, which is verified: a container may have put anything there.
    pub(super) fn open_terminal(&mut self, size: Option<Size>) -> Done {
        let pty = match &self.devpts {
            Some(devpts) => pty::open(devpts)?,
            None => pty::open(place::open_terminals(self.root()?)?)?,
        };
        if let Some(size) = size {
            pty::resize(&pty.master, size)?;
        }
        self.terminal = Some(pty);
        Ok(())
    }

    pub(super) fn standard_streams(&mut self, owner: Uid) -> Done {
        let streams = match (&self.terminal, self.hands.streams) {
            (Some(terminal), _) => {
                rustix::process::ioctl_tiocsctty(&terminal.peer)?;
                [terminal.peer.as_fd(); 3]
            }
            (None, Some(streams)) => streams,
            (None, None) => return Err(Errno::BADF.into()),
        };
        let instead = [
            self.settle_stream(streams[0], owner)?,
            self.settle_stream(streams[1], owner)?,
            self.settle_stream(streams[2], owner)?,
        ];
        let taken = |at: usize| instead[at].as_ref().map_or(streams[at], AsFd::as_fd);
        dup2_stdin(taken(0))?;
        dup2_stdout(taken(1))?;
        dup2_stderr(taken(2))?;
        Ok(())
    }

    /// Gives a stream to the user, or finds what to have in its place.
    ///
    /// That is a null device, if the stream is the host's: whoever may set owners and modes in the container would
    /// set the host's by the descriptor, as at `/dev/stdin`. It is the container's own, or a new one where that
    /// is something else. Where none can be made, in a user namespace, the container has nobody whom the host's
    /// belongs to.
    fn settle_stream(&self, stream: BorrowedFd<'_>, owner: Uid) -> Result<Option<OwnedFd>, Errno> {
        let stat = rustix::fs::fstat(stream)?;
        if is_null(&stat) {
            return Ok(self.containers_null().or_else(|_| mounts::new_null()).ok());
        }
        give_to(stream, &stat, owner).map(|()| None)
    }

    fn containers_null(&self) -> Result<OwnedFd, Errno> {
        // A container that was entered may have put anything there, which must not hold us up.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::empty());
        let found = rustix::fs::openat2(self.root()?, c"dev/null", flags, mode, resolve)?;
        if !is_null(&rustix::fs::fstat(&found)?) {
            return Err(Errno::NODEV);
        }
        rustix::fs::fcntl_setfl(&found, OFlags::empty())?;
        Ok(found)
    }

    /// While the host's root may still do it: to the namespace's the pipes belong to nobody.
    pub(super) fn give_streams(&self, owner: Uid) -> Done {
        for stream in self.hands.streams.iter().flatten() {
            let stat = rustix::fs::fstat(stream)?;
            if !is_null(&stat) {
                give_to(*stream, &stat, owner)?;
            }
        }
        Ok(())
    }

    pub(super) fn own_proc(&mut self) -> Done {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let made = sys::mount::detached(c"proc", [], attributes);
        self.proc = Some(match made {
            // A user namespace makes none of a pid namespace that is the host's, nor where the host's is not
            // wholly visible. The plan has this step where the root is still the host's, so what is cloned
            // is no container's.
            Err(error) if error.errno() == Errno::PERM => hosts_proc()?,
            made => made?,
        });
        Ok(())
    }

    /// Writes to our own procfs, which nobody else can reach or cover (invariant I4).
    pub(super) fn write_proc(&self, path: &CStr, value: &CStr) -> Done {
        let proc = self.proc.as_ref().ok_or(Errno::BADF)?;
        // What is there is a file of the kernel's; were it anything else, it must not hold us up.
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve)?;
        Ok(write_whole(file.as_fd(), value.to_bytes())?)
    }
}

/// The procfs of the root that this process still has.
fn hosts_proc() -> Result<OwnedFd, Fault> {
    let tree = mount::clone_tree(c"/proc", Depth::Recursive)?;
    let magic = u64::try_from(rustix::fs::fstatfs(&tree)?.f_type);
    let is_proc = magic.is_ok_and(|magic| magic == PROC_MAGIC)
        && rustix::fs::fstat(&tree)?.st_ino == PROC_ROOT_INO;
    if is_proc { Ok(tree) } else { Err(Errno::XDEV.into()) }
}

/// Of the root of each procfs (linux/proc_fs.h).
const PROC_ROOT_INO: u64 = 1;

/// Lets the user open its own streams again, as `/dev/stdout`. What cannot change hands (a file of a read-only
/// mount, a socket) is left as it is, as in Docker.
fn give_to(stream: BorrowedFd<'_>, stat: &Stat, owner: Uid) -> Result<(), Errno> {
    if stat.st_uid == owner.as_raw() {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(owner), None) {
        Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => Ok(()),
        other => other,
    }
}

/// Whether it is the null device, which stays root's.
fn is_null(stat: &Stat) -> bool {
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    is_device && stat.st_rdev == rustix::fs::makedev(1, 3)
}
