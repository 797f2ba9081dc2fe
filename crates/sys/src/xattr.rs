//! Extended attributes and modes of a name in a directory, without following a symlink there.
//!
//! Owns the `*xattrat` and `fchmodat2` system calls, which neither rustix nor older kernels have. A
//! kernel before 6.13 (6.6 for the mode) is served through `/proc/thread-self/fd`, with the same meaning.
//! Knows nothing about which attributes are allowed where: that is the extractor's law.
#![expect(
    unsafe_code,
    reason = "system calls that rustix does not wrap: setxattrat, getxattrat, listxattrat, removexattrat, fchmodat2"
)]

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;

use crate::kernel_fs::or_no_procfs;

// The numbers of system calls added since 5.0 are the same on every architecture that we build for.
const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;
const SYS_REMOVEXATTRAT: libc::c_long = 466;

/// The longest value that Linux stores in one attribute (`XATTR_SIZE_MAX`), and the longest list of
/// names.
pub const MAX_LEN: usize = 65536;

/// Set once a kernel has answered ENOSYS, so that it is asked only once.
static NO_XATTRAT: AtomicBool = AtomicBool::new(false);
static NO_FCHMODAT2: AtomicBool = AtomicBool::new(false);

/// `struct xattr_args` of `<linux/xattr.h>`, first version.
#[repr(C, align(8))]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// Sets an attribute of `name` in `dir`; a symlink gets it itself. `name` may be `.` for the
/// directory.
///
/// # Errors
/// What `lsetxattr(2)` gives.
pub fn set_at(dir: impl AsFd, name: &CStr, attr: &CStr, value: &[u8]) -> Result<(), Errno> {
    let dir = dir.as_fd();
    let size = u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?;
    let args = XattrArgs { value: value.as_ptr() as u64, size, flags: 0 };
    // SAFETY: the five pointers are to NUL-terminated strings and to a live `XattrArgs` whose
    // `value` points to `size` initialised bytes; all outlive the call and the kernel only reads
    // them.
    let call = || unsafe {
        libc::syscall(
            SYS_SETXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attr.as_ptr(),
            &raw const args,
            size_of::<XattrArgs>(),
        )
    };
    or_through_proc(&NO_XATTRAT, call, || {
        rustix::fs::lsetxattr(proc_path(dir, name)?, attr, value, XattrFlags::empty()).map(|()| 0)
    })
    .map(drop)
}

/// Reads an attribute of `name` in `dir`; `None` if it has none of that name or the file system has
/// no attributes.
///
/// # Errors
/// What `lgetxattr(2)` gives.
pub fn get_at(dir: impl AsFd, name: &CStr, attr: &CStr) -> Result<Option<Vec<u8>>, Errno> {
    let dir = dir.as_fd();
    let mut buf = vec![0u8; 256];
    loop {
        match get_into(dir, name, attr, &mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(Some(buf));
            }
            Err(Errno::RANGE) if buf.len() < MAX_LEN => buf.resize(MAX_LEN, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

fn get_into(dir: BorrowedFd<'_>, name: &CStr, attr: &CStr, buf: &mut [u8]) -> Result<usize, Errno> {
    let size = u32::try_from(buf.len()).map_err(|_| Errno::TOOBIG)?;
    let mut args = XattrArgs { value: buf.as_mut_ptr() as u64, size, flags: 0 };
    // SAFETY: the strings are NUL-terminated, `args` is live, and `args.value` points to `size`
    // bytes borrowed mutably for this function; the kernel writes at most `size` bytes of plain
    // data there.
    let call = || unsafe {
        libc::syscall(
            SYS_GETXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attr.as_ptr(),
            &raw mut args,
            size_of::<XattrArgs>(),
        )
    };
    if let Some(result) = ask(&NO_XATTRAT, call) {
        return result;
    }
    rustix::fs::lgetxattr(proc_path(dir, name)?, attr, buf).map_err(or_no_procfs)
}

/// The names of all attributes of `name` in `dir`; empty where the file system has none.
///
/// # Errors
/// What `llistxattr(2)` gives.
pub fn list_at(dir: impl AsFd, name: &CStr) -> Result<Vec<CString>, Errno> {
    let dir = dir.as_fd();
    let mut buf = vec![0u8; 1024];
    let len = loop {
        match list_into(dir, name, &mut buf) {
            Ok(len) => break len,
            Err(Errno::RANGE) if buf.len() < MAX_LEN => buf.resize(MAX_LEN, 0),
            Err(Errno::OPNOTSUPP) => break 0,
            Err(errno) => return Err(errno),
        }
    };
    let names = buf[..len].split_inclusive(|&byte| byte == 0);
    Ok(names.filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned)).collect())
}

fn list_into(dir: BorrowedFd<'_>, name: &CStr, buf: &mut [u8]) -> Result<usize, Errno> {
    let (list, size) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `name` is NUL-terminated and `list` points to `size` bytes borrowed mutably for this
    // function; the kernel writes at most `size` bytes of plain data there.
    let call = || unsafe {
        libc::syscall(
            SYS_LISTXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            list,
            size,
        )
    };
    if let Some(result) = ask(&NO_XATTRAT, call) {
        return result;
    }
    rustix::fs::llistxattr(proc_path(dir, name)?, buf).map_err(or_no_procfs)
}

/// Removes an attribute of `name` in `dir`; that it has none is success.
///
/// # Errors
/// What `lremovexattr(2)` gives.
pub fn remove_at(dir: impl AsFd, name: &CStr, attr: &CStr) -> Result<(), Errno> {
    let dir = dir.as_fd();
    // SAFETY: both strings are NUL-terminated, outlive the call, and are only read.
    let call = || unsafe {
        libc::syscall(
            SYS_REMOVEXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attr.as_ptr(),
        )
    };
    match or_through_proc(&NO_XATTRAT, call, || {
        rustix::fs::lremovexattr(proc_path(dir, name)?, attr).map(|()| 0)
    }) {
        Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Sets the mode of `name` in `dir`; a symlink is refused with `EOPNOTSUPP`, never followed.
///
/// # Errors
/// What `fchmodat2(2)` gives.
pub fn chmod_at(dir: impl AsFd, name: &CStr, mode: Mode) -> Result<(), Errno> {
    let dir = dir.as_fd();
    // SAFETY: `name` is NUL-terminated and outlives the call; the other arguments are numbers.
    let call = || unsafe {
        libc::syscall(
            SYS_FCHMODAT2,
            dir.as_raw_fd(),
            name.as_ptr(),
            mode.as_raw_mode(),
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    or_through_proc(&NO_FCHMODAT2, call, || chmod_through_proc(dir, name, mode).map(|()| 0))
        .map(drop)
}

/// chmod has no form that stops at a symlink before Linux 6.6, so the inode is pinned first and
/// changed through its fd.
fn chmod_through_proc(dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> Result<(), Errno> {
    use rustix::fs::{FileType, OFlags};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&pinned)?.st_mode);
    if kind == FileType::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    rustix::fs::chmod(format!("/proc/thread-self/fd/{}", pinned.as_raw_fd()), mode)
}

/// Runs a raw call unless the kernel is known not to have it; `None` means that it has not.
fn ask(missing: &AtomicBool, call: impl FnOnce() -> libc::c_long) -> Option<Result<usize, Errno>> {
    if missing.load(Ordering::Relaxed) {
        return None;
    }
    let value = call();
    if let Ok(value) = usize::try_from(value) {
        return Some(Ok(value));
    }
    let errno =
        std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    if errno == Errno::NOSYS {
        missing.store(true, Ordering::Relaxed);
        return None;
    }
    Some(Err(errno))
}

fn or_through_proc(
    missing: &AtomicBool,
    call: impl FnOnce() -> libc::c_long,
    fallback: impl FnOnce() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    ask(missing, call).unwrap_or_else(|| fallback().map_err(or_no_procfs))
}

/// `/proc/thread-self/fd/DIR/NAME`: the kernel starts at the directory that is open, so nobody can swap
/// what is above it.
fn proc_path(dir: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    let mut path = String::with_capacity(32);
    write!(path, "/proc/thread-self/fd/{}/", dir.as_raw_fd()).map_err(|_| Errno::NOMEM)?;
    let mut path = path.into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, OFlags};

    struct Fixture(std::path::PathBuf, std::os::fd::OwnedFd);
    impl Fixture {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("dhow-sys-xattr-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(CWD, &path, flags, Mode::empty()).unwrap();
            Self(path, fd)
        }
    }
    impl Drop for Fixture {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn set_get_list_and_remove_agree() {
        let dir = Fixture::new("agree");
        std::fs::write(dir.0.join("f"), b"").unwrap();
        let large = vec![7u8; 2000];
        set_at(&dir.1, c"f", c"user.a", b"1").unwrap();
        set_at(&dir.1, c"f", c"user.b", &large).unwrap();
        let mut names = list_at(&dir.1, c"f").unwrap();
        names.sort();
        assert_eq!(names, [c"user.a".to_owned(), c"user.b".to_owned()]);
        assert_eq!(get_at(&dir.1, c"f", c"user.b").unwrap(), Some(large));
        remove_at(&dir.1, c"f", c"user.a").unwrap();
        remove_at(&dir.1, c"f", c"user.a").unwrap();
        assert_eq!(get_at(&dir.1, c"f", c"user.a").unwrap(), None);
    }

    #[test]
    fn a_symlink_is_never_followed() {
        let dir = Fixture::new("symlink");
        std::fs::write(dir.0.join("target"), b"").unwrap();
        std::os::unix::fs::symlink("target", dir.0.join("link")).unwrap();
        // user.* attributes are refused on symlinks by the kernel; through the link they would have
        // worked.
        assert_eq!(set_at(&dir.1, c"link", c"user.a", b"1"), Err(Errno::PERM));
        assert_eq!(chmod_at(&dir.1, c"link", Mode::from_raw_mode(0o777)), Err(Errno::OPNOTSUPP));
        assert_eq!(get_at(&dir.1, c"target", c"user.a").unwrap(), None);
        // Nor is what the target has seen or removed.
        set_at(&dir.1, c"target", c"user.a", b"1").unwrap();
        assert_eq!(get_at(&dir.1, c"link", c"user.a").unwrap(), None);
        assert_eq!(list_at(&dir.1, c"link").unwrap(), Vec::<CString>::new());
        assert_eq!(remove_at(&dir.1, c"link", c"user.a"), Err(Errno::PERM));
        assert_eq!(get_at(&dir.1, c"target", c"user.a").unwrap(), Some(b"1".to_vec()));
    }

    #[test]
    fn the_path_through_proc_means_the_same() {
        let dir = Fixture::new("proc");
        std::fs::write(dir.0.join("f"), b"").unwrap();
        std::os::unix::fs::symlink("f", dir.0.join("link")).unwrap();
        let path = |name| proc_path(dir.1.as_fd(), name).unwrap();
        rustix::fs::lsetxattr(path(c"f"), c"user.a", b"1", XattrFlags::empty()).unwrap();
        assert_eq!(get_at(&dir.1, c"f", c"user.a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(
            rustix::fs::lsetxattr(path(c"link"), c"user.a", b"1", XattrFlags::empty()),
            Err(Errno::PERM)
        );
        chmod_through_proc(dir.1.as_fd(), c"f", Mode::from_raw_mode(0o604)).unwrap();
        let stat = rustix::fs::statat(&dir.1, c"f", rustix::fs::AtFlags::empty()).unwrap();
        assert_eq!(stat.st_mode & 0o7777, 0o604);
        assert_eq!(
            chmod_through_proc(dir.1.as_fd(), c"link", Mode::from_raw_mode(0o777)),
            Err(Errno::OPNOTSUPP)
        );
    }
}
