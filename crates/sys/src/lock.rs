//! Locks of single bytes of a file, owned by an open file description (`F_OFD_SETLK`, 3.15).
//!
//! Unlike `fcntl`'s older locks they live as long as the last descriptor of that description, over
//! `fork` and `execve`, and unlike `flock` they can be asked after without being taken. Where the owner has to
//! be found, the older ones are used after all: the kernel names the process.
#![expect(unsafe_code, reason = "rustix has no F_OFD_*, F_SETLK and F_GETLK commands")]

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::{Errno, check};

/// Takes the lock of one byte, if nobody else holds it.
pub fn try_lock(file: impl AsFd, byte: u32) -> Result<bool, Errno> {
    match set(&file, byte, libc::F_OFD_SETLK, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        // POSIX leaves open which of the two it is.
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Takes the lock of one byte, waiting for whoever holds it.
pub fn lock(file: impl AsFd, byte: u32) -> Result<(), Errno> {
    loop {
        match set(&file, byte, libc::F_OFD_SETLKW, libc::F_WRLCK) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Takes the lock of one byte, waiting so long at most for whoever holds it. Returns whether it has it.
pub fn lock_within(file: impl AsFd, byte: u32, patience: Duration) -> Result<bool, Errno> {
    let deadline = Instant::now() + patience;
    // The kernel waits without an end or not at all.
    while !try_lock(&file, byte)? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(true)
}

/// How long one who waits for a time sleeps in between.
const LOOK_AGAIN: Duration = Duration::from_micros(500);

/// Gives the lock of one byte back.
pub fn unlock(file: impl AsFd, byte: u32) -> Result<(), Errno> {
    set(&file, byte, libc::F_OFD_SETLK, libc::F_UNLCK)
}

/// Whether another open file description holds the lock of this byte. Takes nothing.
pub fn is_locked(file: impl AsFd, byte: u32) -> Result<bool, Errno> {
    let mut request = request(byte, libc::F_WRLCK);
    // SAFETY: F_OFD_GETLK reads and writes one `flock`, which lives through the call.
    let returned =
        unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
    check(returned.into())?;
    Ok(libc::c_int::from(request.l_type) != libc::F_UNLCK)
}

/// Takes a share of the lock of one byte, which others may have as well, if nobody holds it alone.
pub fn share(file: impl AsFd, byte: u32) -> Result<(), Errno> {
    set(&file, byte, libc::F_OFD_SETLK, libc::F_RDLCK)
}

/// Who holds the lock of a byte as a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This one, as seen from here.
    Process(Pid),
    /// One of a pid namespace that is not seen from here.
    Hidden,
}

/// Takes a share of the lock of one byte for this process: one of POSIX's, which the kernel tells the owner
/// of. It is not inherited, stays over `execve`, and goes when this process closes any descriptor of the file.
pub fn hold_as_process(file: impl AsFd, byte: u32) -> Result<(), Errno> {
    set(&file, byte, libc::F_SETLK, libc::F_RDLCK)
}

/// Another process that holds the lock of this byte as a process. Takes nothing.
pub fn holder(file: impl AsFd, byte: u32) -> Result<Option<Holder>, Errno> {
    Ok(holder_of(&file, request(byte, libc::F_WRLCK))?.map(|(holder, _)| holder))
}

/// Another process that holds the lock of this byte or of any behind it as a process, and which byte that is.
/// Takes nothing.
pub fn holder_from(file: impl AsFd, byte: u32) -> Result<Option<(Holder, u32)>, Errno> {
    // A length of 0 is up to the end, wherever that is.
    holder_of(&file, libc::flock { l_len: 0, ..request(byte, libc::F_WRLCK) })
}

fn holder_of(file: &impl AsFd, mut request: libc::flock) -> Result<Option<(Holder, u32)>, Errno> {
    // SAFETY: F_GETLK reads and writes one `flock`, which lives through the call.
    let returned =
        unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETLK, &raw mut request) };
    check(returned.into())?;
    if libc::c_int::from(request.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    // -1 is an open file description, 0 a process of another namespace.
    let pid = Pid::from_raw(request.l_pid).filter(|_| request.l_pid > 0);
    let byte = u32::try_from(request.l_start).map_err(|_| Errno::OVERFLOW)?;
    Ok(Some((pid.map_or(Holder::Hidden, Holder::Process), byte)))
}

fn set(file: &impl AsFd, byte: u32, command: i32, kind: i32) -> Result<(), Errno> {
    let request = request(byte, kind);
    // SAFETY: F_OFD_SETLK, F_OFD_SETLKW and F_SETLK read one `flock`, which lives through the call.
    let returned = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw const request) };
    check(returned.into()).map(drop)
}

fn request(byte: u32, kind: i32) -> libc::flock {
    libc::flock {
        // F_RDLCK, F_WRLCK and F_UNLCK are 0, 1 and 2.
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: byte.into(),
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::File;
    use std::os::fd::OwnedFd;

    /// Two descriptions of one file without a name.
    fn two() -> (OwnedFd, File) {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let first = rustix::fs::memfd_create("lock", flags).unwrap();
        let path = format!("/proc/self/fd/{}", first.as_raw_fd());
        let second = File::options().read(true).write(true).open(path).unwrap();
        (first, second)
    }

    #[test]
    fn a_byte_has_one_owner_and_can_be_asked_after() {
        let (first, second) = two();
        assert_eq!(is_locked(&second, 0), Ok(false));
        assert_eq!(try_lock(&first, 0), Ok(true));
        assert_eq!(is_locked(&second, 0), Ok(true));
        assert_eq!(is_locked(&first, 0), Ok(false), "its own lock is in nobody's way");
        assert_eq!(try_lock(&second, 0), Ok(false));
        assert_eq!(try_lock(&second, 1), Ok(true), "another byte is another lock");
        assert_eq!(lock_within(&second, 0, Duration::from_millis(5)), Ok(false));
        unlock(&first, 0).unwrap();
        assert_eq!(lock_within(&second, 0, Duration::MAX / 4), Ok(true));
        assert_eq!(try_lock(&first, 0), Ok(false));
    }

    #[test]
    fn the_kernel_names_the_process_that_holds_a_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        assert_eq!(holder(&file, 0), Ok(None));
        // A byte each: their ends may be in processes of other tests as well.
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let ((told, tell), (wait, go)) = (pipe(), pipe());
        let child = crate::process::fork(|| {
            let held = hold_as_process(&file, 0).map_or_else(Errno::raw_os_error, |()| 0);
            let _ = rustix::io::write(&tell, b"!");
            let _ = rustix::io::read(&wait, &mut [0_u8; 1]);
            held
        });
        let child = child.unwrap();
        assert_eq!(rustix::io::read(&told, &mut [0_u8; 1]), Ok(1));
        assert_eq!(holder(&file, 0), Ok(Some(Holder::Process(child.pid))));
        assert_eq!(holder(&file, 1), Ok(None));
        rustix::io::write(&go, b"!").unwrap();
        assert_eq!(crate::process::wait(&child.pidfd).unwrap().shell_code(), 0);
        assert_eq!(holder(&file, 0), Ok(None), "it goes with its process");
    }

    #[test]
    fn shares_are_seen_by_whoever_wants_it_alone() {
        let (first, second) = two();
        share(&first, 1).unwrap();
        share(&second, 1).unwrap();
        assert_eq!(is_locked(&first, 1), Ok(true));
        unlock(&second, 1).unwrap();
        assert_eq!(is_locked(&first, 1), Ok(false));
    }

    #[test]
    fn it_lives_as_long_as_any_descriptor_of_its_description() {
        let (first, second) = two();
        assert_eq!(try_lock(&first, 0), Ok(true));
        let duplicate = first.try_clone().unwrap();
        drop(first);
        assert_eq!(is_locked(&second, 0), Ok(true));
        drop(duplicate);
        // A process that another test has just cloned has the descriptor for a moment.
        assert_eq!(lock_within(&second, 0, Duration::from_secs(30)), Ok(true));
    }
}
