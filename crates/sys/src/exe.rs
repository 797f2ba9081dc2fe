//! The image of this very program, as something that cannot be written to.
//!
//! A process of ours that enters a container can be found there as `/proc/PID/exe`; a container
//! that could open it for writing would change the program that the host's root runs next
//! (CVE-2019-5736). So what enters a container was executed from a read-only mount of its own.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};

use crate::Errno;
use crate::mount::{self, Attributes, Depth};

const SELF: &str = "/proc/self/exe";

/// Where this program's file was when this process still was in the mount namespace that it was executed in.
static PATH: OnceLock<PathBuf> = OnceLock::new();

/// The directory that it was in, if nobody else could put anything there.
static HOME: OnceLock<OwnedFd> = OnceLock::new();

/// Remembers where this program's file is, before this process leaves its mount namespace and its user
/// namespace: afterwards the kernel tells the path within its mount alone, and what belongs to root belongs to
/// nobody.
pub fn remember() {
    let Ok(path) = std::fs::read_link(SELF) else { return };
    if let Some(home) = path.parent().and_then(|home| trusted(home, FileType::Directory).ok()) {
        let _ = HOME.set(home);
    }
    let _ = PATH.set(path);
}

/// The directory that this program was in when [`remember`] looked, for [`Origin`].
pub fn home() -> Option<BorrowedFd<'static>> {
    HOME.get().map(AsFd::as_fd)
}

/// Where a program was executed from, which an upgrade replaces.
#[derive(Debug)]
pub struct Origin {
    /// Its place.
    pub path: PathBuf,
    /// The directory that it was in, as [`home`] gave it to one who has entered a user namespace since.
    pub home: Option<OwnedFd>,
}

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

/// Whether this process was executed from what [`sealed`] gives: nobody who finds it can write to it by way of it, now
/// or later.
///
/// # Errors
/// There is no procfs to find it by.
pub fn is_sealed() -> Result<bool, Errno> {
    let is_read_only = rustix::fs::statvfs(SELF)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    // A file system that is read-only by its own mount may be remounted.
    // A mount of one file is its own root; of one that was replaced meanwhile the kernel says so.
    let is_detached = rustix::fs::readlink(SELF, Vec::new())
        .is_ok_and(|path| matches!(path.to_bytes(), b"/" | b"/ (deleted)"));
    if is_read_only && is_detached {
        return Ok(true);
    }
    let program = rustix::fs::open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // What is no memory has no seals.
    let seals = rustix::fs::fcntl_get_seals(&program).unwrap_or(SealFlags::empty());
    Ok(seals.contains(SealFlags::WRITE | SealFlags::SEAL))
}

/// Where this program was executed from: what an upgrade replaces. `None` if that has no name, as in an
/// image of [`sealed`].
#[must_use]
pub fn origin() -> Option<PathBuf> {
    let path = PATH.get().cloned().or_else(|| std::fs::read_link(SELF).ok())?;
    // So the kernel calls a file that has been replaced meanwhile.
    let bytes = path.as_os_str().as_bytes();
    let path = match bytes.strip_suffix(b" (deleted)") {
        Some(replaced) if !path.exists() => PathBuf::from(OsStr::from_bytes(replaced)),
        Some(_) | None => path,
    };
    // A detached clone of the file's mount is a mount of the file alone: `/`.
    (path.is_absolute() && path.file_name().is_some()).then_some(path)
}

/// The program at a place where this one once was, to be executed with [`crate::process::execve_fd`].
/// `None` if it is this very one, or if others than root and this process's user could have put it there:
/// each directory on the way and the file itself are theirs, and nobody else may write to them. No symbolic
/// link is followed.
///
/// In a user namespace root's files are nobody's. There it is the directory that was looked at before: what
/// lies in it has been put there by root or this process's user, whomever it belongs to.
#[must_use]
pub fn successor(origin: &Origin) -> Option<OwnedFd> {
    let program = match &origin.home {
        None => trusted(&origin.path, FileType::RegularFile),
        Some(home) => origin.path.file_name().ok_or(Errno::INVAL).and_then(|name| kept(home, name)),
    };
    let program = program.ok()?;
    let own = rustix::fs::stat(SELF).ok()?;
    let found = rustix::fs::fstat(&program).ok()?;
    ((own.st_dev, own.st_ino) != (found.st_dev, found.st_ino)).then_some(program)
}

fn kept(home: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    check_mode(home, FileType::Directory)?;
    // The sticky bit keeps others from taking files away, not from making one of this name.
    if Mode::from_raw_mode(rustix::fs::fstat(home)?.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        return Err(Errno::PERM);
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let program = rustix::fs::openat(home, name, flags, Mode::empty())?;
    check_mode(&program, FileType::RegularFile)?;
    Ok(program)
}

fn trusted(path: &Path, kind: FileType) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let names = path.strip_prefix("/").map_err(|_| Errno::INVAL)?;
    let mut at = rustix::fs::open("/", flags | OFlags::DIRECTORY, Mode::empty())?;
    check(&at, FileType::Directory)?;
    let mut names = names.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else { return Err(Errno::INVAL) };
        let is_last = names.peek().is_none();
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
        check(&at, if is_last { kind } else { FileType::Directory })?;
    }
    Ok(at)
}

/// Whether nobody else could have made it. In a directory with the sticky bit others make files of their
/// own, and take none away.
fn check(file: &OwnedFd, kind: FileType) -> Result<(), Errno> {
    check_mode(file, kind)?;
    let owner = rustix::fs::fstat(file)?.st_uid;
    let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if is_ours { Ok(()) } else { Err(Errno::PERM) }
}

fn check_mode(file: &OwnedFd, kind: FileType) -> Result<(), Errno> {
    let found = rustix::fs::fstat(file)?;
    let mode = Mode::from_raw_mode(found.st_mode);
    let is_kept = !mode.intersects(Mode::WGRP | Mode::WOTH)
        || (kind == FileType::Directory && mode.contains(Mode::SVTX));
    let is_kind = FileType::from_raw_mode(found.st_mode) == kind;
    if is_kept && is_kind { Ok(()) } else { Err(Errno::PERM) }
}

/// A detached clone of the mount of this program's file.
///
/// # Errors
/// No `CAP_SYS_ADMIN`; the file is not to be found where it was.
pub fn tree() -> Result<OwnedFd, Errno> {
    match mount::clone_tree(SELF, Depth::Single) {
        // It was executed in another mount namespace than this process is in by now: there is another mount
        // of it here.
        Err(Errno::INVAL) => mount::clone_tree_of(here()?, Depth::Single),
        cloned => cloned,
    }
}

/// This very file, by its path.
fn here() -> Result<OwnedFd, Errno> {
    let open = |path: &std::path::Path, more| {
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
    };
    let found = open(PATH.get().ok_or(Errno::INVAL)?, OFlags::NOFOLLOW)?;
    let (wanted, there) =
        (rustix::fs::fstat(open(SELF.as_ref(), OFlags::empty())?)?, rustix::fs::fstat(&found)?);
    let is_same = (wanted.st_dev, wanted.st_ino) == (there.st_dev, there.st_ino);
    if is_same { Ok(found) } else { Err(Errno::STALE) }
}

fn read_only_clone() -> Result<OwnedFd, Errno> {
    let tree = tree()?;
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
    fn who_comes_after_is_another_and_nobody_elses() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let own = origin().unwrap();
        assert_eq!(own, std::env::current_exe().unwrap());
        let at = |path: &Path| successor(&Origin { path: path.to_owned(), home: None });
        assert!(at(&own).is_none(), "this very one");
        let name = format!("dhow-successor-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let (program, link) = (dir.join("program"), dir.join("link"));
        std::fs::write(&program, "").unwrap();
        symlink(&program, &link).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&dir, 0o700);
        mode(&program, 0o755);
        assert!(at(&program).is_some());
        assert!(at(&link).is_none());
        assert!(at(&dir).is_none() && at(Path::new("program")).is_none());
        mode(&program, 0o775);
        assert!(at(&program).is_none(), "a group may write to it");
        mode(&program, 0o755);
        mode(&dir, 0o777);
        assert!(at(&program).is_none(), "anybody may replace it");
        mode(&dir, 0o1777);
        assert!(at(&program).is_some(), "nobody may replace it");
        // A directory that was looked at before, for who cannot tell owners any more.
        let within = |path: &Path| {
            let home = trusted(&dir, FileType::Directory).ok();
            successor(&Origin { path: path.to_owned(), home: Some(home.unwrap()) })
        };
        assert!(within(&program).is_none(), "anybody may have put it there");
        mode(&dir, 0o755);
        assert!(within(&program).is_some() && within(&link).is_none());
        std::os::unix::fs::chown(&program, Some(65534), None).unwrap();
        assert!(within(&program).is_some() && at(&program).is_none());
        mode(&program, 0o775);
        assert!(within(&program).is_none(), "a group may write to it");
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// What this program finds of itself, executed from there: by a test that answers by its exit code.
    fn finds_itself_sealed(image: &OwnedFd) -> bool {
        let words =
            ["sys-tests", "--exact", "exe::tests::this_program_is_sealed_if_somebody_says_so"];
        let argv = ExecStrings::new(words.map(|word| std::ffi::CString::new(word).unwrap()).into());
        let env = ExecStrings::new(vec![c"DHOW_TEST_SEALED=1".into()]);
        let silence = std::fs::File::create("/dev/null").unwrap();
        let child = clone3(&CloneArgs::default(), || {
            let _ = rustix::stdio::dup2_stdout(&silence);
            execve_fd(image, &argv, &env).raw_os_error()
        })
        .unwrap();
        wait(&child.pidfd).unwrap() == Exit::Code(0)
    }

    #[test]
    fn this_program_is_sealed_if_somebody_says_so() {
        let is_said = std::env::var_os("DHOW_TEST_SEALED").is_some();
        assert_eq!(super::is_sealed(), Ok(is_said));
    }

    #[test]
    fn a_process_knows_whether_it_was_executed_from_a_sealed_image() {
        assert!(finds_itself_sealed(&sealed_copy().unwrap()));
        assert!(finds_itself_sealed(&read_only_clone().unwrap()));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let installed = rustix::fs::open(SELF, flags, Mode::empty()).unwrap();
        assert!(!finds_itself_sealed(&installed));
    }

    #[test]
    fn the_image_runs_and_cannot_be_written() {
        let image = sealed().unwrap();
        assert!(write_through(&image).is_err());
        assert!(is_sealed(&image));
        assert_eq!(runs(&image), Exit::Code(0));
    }
}
