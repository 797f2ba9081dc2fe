//! Pseudo terminals of a given devpts instance.
//!
//! Owns opening and verifying them; carrying their bytes is the shim's work.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::Errno;

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// Both ends of a pseudo terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that the one who serves the terminal holds.
    pub master: OwnedFd,
    /// The end that programs have as their terminal.
    pub peer: OwnedFd,
}

/// Opens a pseudo terminal of the devpts instance whose root directory `devpts` is.
///
/// The peer is opened by the kernel from the master (`TIOCGPTPEER`), never by name, and the master
/// is checked to be the terminal multiplexer of a devpts: a container that swaps either for
/// something else (CVE-2025-52565) gets `EINVAL`. Allocates nothing.
pub fn open(devpts: impl AsFd) -> Result<Pty, Errno> {
    let (path, whole) = (OFlags::PATH, OFlags::RDWR | OFlags::NOCTTY);
    // Looked at first: opening a device can have effects of its own.
    let probe = open_multiplexer(devpts.as_fd(), path)?;
    verify_multiplexer(probe.as_fd())?;
    let master = open_multiplexer(devpts.as_fd(), whole)?;
    verify_multiplexer(master.as_fd())?;
    rustix::pty::unlockpt(&master)?;
    let peer = peer(&master)?;
    Ok(Pty { master, peer })
}

/// Opens the programs' end of a terminal from the master.
pub fn peer(master: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags)
}

fn open_multiplexer(devpts: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV | ResolveFlags::BENEATH;
    rustix::fs::openat2(devpts, c"ptmx", flags, Mode::empty(), resolve)
}

fn verify_multiplexer(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(5, 2);
    let magic = u64::try_from(rustix::fs::fstatfs(fd)?.f_type);
    if is_device && magic == Ok(DEVPTS_MAGIC) { Ok(()) } else { Err(Errno::INVAL) }
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Sets the size; the foreground processes get SIGWINCH.
pub fn resize(terminal: impl AsFd, size: Size) -> Result<(), Errno> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}
