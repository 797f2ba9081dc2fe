//! The image of this very program, as something that cannot be written to.
//!
//! A process of ours that enters a container can be found there as `/proc/PID/exe`; a container
//! that could open it for writing would change the program that the host's root runs next
//! (CVE-2019-5736). So what enters a container was executed from a read-only mount of its own.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};

use crate::Errno;
use crate::mount::{self, Attributes, Depth};

const SELF: &str = "/proc/self/exe";

/// Why there is no sealed image.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The program's file cannot be read.
    #[error("open {SELF}")]
    Open(#[source] Errno),
    /// It could not be copied into memory.
    #[error("copy {SELF} into memory")]
    Copy(#[source] Errno),
    /// The copy could not be sealed.
    #[error("seal the copy of {SELF}")]
    Seal(#[source] Errno),
}

/// This program, to be executed with [`crate::process::execve_fd`].
///
/// A detached read-only clone of its mount, which costs two system calls and no memory; where that
/// is refused (no `CAP_SYS_ADMIN`, or this process itself runs from a detached mount on a kernel
/// before 6.15), a sealed copy in memory.
pub fn sealed() -> Result<OwnedFd, SealError> {
    read_only_clone().or_else(|_| sealed_copy())
}

fn read_only_clone() -> Result<OwnedFd, Errno> {
    let tree = mount::clone_tree(SELF, Depth::Single)?;
    mount::set_attr(&tree, Depth::Single, &Attributes::READ_ONLY)?;
    Ok(tree)
}

fn sealed_copy() -> Result<OwnedFd, SealError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let program = rustix::fs::open(SELF, flags, Mode::empty()).map_err(SealError::Open)?;
    let copy = rustix::fs::memfd_create(
        c"dhow",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC,
    )
    // MFD_EXEC is refused by kernels before 6.3, where every memfd is executable.
    .or_else(|_| rustix::fs::memfd_create(c"dhow", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING))
    .map_err(SealError::Copy)?;
    loop {
        let sent = rustix::fs::sendfile(&copy, &program, None, 1 << 30);
        if sent.map_err(SealError::Copy)? == 0 {
            break;
        }
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(SealError::Seal)?;
    // A descriptor that is open for writing would make execve fail with ETXTBSY.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy.as_fd()));
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(SealError::Open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{CloneArgs, ExecStrings, Exit, clone3, execve_fd, wait};

    /// Writes through `/proc/self/fd/N` of the image, as a container would through `/proc/PID/exe`.
    fn write_through(image: &OwnedFd) -> Result<usize, Errno> {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(image));
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, b"#!/bin/sh")
    }

    /// Opening a program that runs fails in any case (`ETXTBSY`), so ask what stays true later.
    fn is_sealed(image: &OwnedFd) -> bool {
        let flags = rustix::fs::fstatvfs(image).unwrap().f_flag;
        let seals = rustix::fs::fcntl_get_seals(image).unwrap_or(SealFlags::empty());
        flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) || seals.contains(SealFlags::WRITE)
    }

    fn runs(image: &OwnedFd) -> Exit {
        let argv = ExecStrings::new(vec![c"sys-tests".into(), c"--list".into()]);
        let none = ExecStrings::new(vec![]);
        let silence = std::fs::File::create("/dev/null").unwrap();
        let child = clone3(&CloneArgs::default(), || {
            let _ = rustix::stdio::dup2_stdout(&silence);
            execve_fd(image, &argv, &none).raw_os_error()
        })
        .unwrap();
        wait(&child.pidfd).unwrap()
    }

    #[test]
    fn the_copy_runs_and_cannot_be_written() {
        let image = sealed_copy().unwrap();
        assert_eq!(write_through(&image), Err(Errno::PERM));
        assert!(is_sealed(&image));
        assert_eq!(runs(&image), Exit::Code(0));
    }

    #[test]
    fn the_image_runs_and_cannot_be_written() {
        let image = sealed().unwrap();
        assert!(write_through(&image).is_err());
        assert!(is_sealed(&image));
        assert_eq!(runs(&image), Exit::Code(0));
    }
}
