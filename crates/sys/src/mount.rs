//! Mounts by descriptor: make one detached, give it its attributes, then attach it.
//!
//! Owns `mount_setattr` (which `rustix` lacks), the building of file systems with the kernel's own
//! words on failure, overlays, and the change of a process's root. Owns no policy, and takes no
//! target by path: a target is a descriptor that the caller resolved under a root of its own.
//!
//! Needs Linux 5.12; more than a handful of overlay layers need 6.7 (`lowerdir+`).
#![expect(unsafe_code, reason = "mount_setattr(2) has no wrapper")]

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags};
pub use rustix::mount::{MountAttrFlags, UnmountFlags};

use crate::{Errno, check};

/// Whether a call acts on one mount or on all below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// The one mount.
    Single,
    /// The mount and every mount below it (`AT_RECURSIVE`).
    Recursive,
}

/// How mounts and unmounts below a mount reach its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// From the original to here.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and it cannot be bound.
    Unbindable,
}

/// A change of mount attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Flags to set. An access time mode (`NOATIME`, `STRICTATIME`; `RELATIME` is no bit) takes
    /// effect only if `MOUNT_ATTR__ATIME` is cleared in the same call.
    pub set: MountAttrFlags,
    /// Flags to clear.
    pub clear: MountAttrFlags,
    /// The new propagation, if it changes.
    pub propagation: Option<Propagation>,
}

impl Attributes {
    /// No change.
    pub const NONE: Self =
        Self { set: MountAttrFlags::empty(), clear: MountAttrFlags::empty(), propagation: None };
    /// Nothing can be written through the mount.
    pub const READ_ONLY: Self = Self { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Self::NONE };

    /// Only a change of propagation.
    #[must_use]
    pub const fn propagation(propagation: Propagation) -> Self {
        Self { propagation: Some(propagation), ..Self::NONE }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct RawAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

impl From<&Attributes> for RawAttributes {
    fn from(attributes: &Attributes) -> Self {
        let propagation = match attributes.propagation {
            None => 0,
            Some(Propagation::Unbindable) => libc::MS_UNBINDABLE,
            Some(Propagation::Private) => libc::MS_PRIVATE,
            Some(Propagation::Slave) => libc::MS_SLAVE,
            Some(Propagation::Shared) => libc::MS_SHARED,
        };
        Self {
            set: attributes.set.bits().into(),
            clear: attributes.clear.bits().into(),
            propagation,
            userns_fd: 0,
        }
    }
}

/// Changes the attributes of the mount that `mount` is the root of (5.12).
///
/// With [`Depth::Recursive`] it is all or nothing: `EBUSY` if one of the mounts has a writer.
pub fn set_attr(mount: impl AsFd, depth: Depth, attributes: &Attributes) -> Result<(), Errno> {
    set_attr_at(mount.as_fd(), c"", libc::AT_EMPTY_PATH, depth, &attributes.into())
}

/// Changes the propagation of every mount of this mount namespace.
pub fn set_propagation_of_all(propagation: Propagation) -> Result<(), Errno> {
    let attributes = Attributes::propagation(propagation);
    set_attr_at(CWD, c"/", 0, Depth::Recursive, &(&attributes).into())
}

/// Shows `mount`, which must be detached, with the ids that the user namespace `userns` maps
/// (`MOUNT_ATTR_IDMAP`, 5.12; overlays since 5.19).
pub fn set_idmap(mount: impl AsFd, depth: Depth, userns: impl AsFd) -> Result<(), Errno> {
    let raw = RawAttributes {
        set: MountAttrFlags::MOUNT_ATTR_IDMAP.bits().into(),
        clear: 0,
        propagation: 0,
        userns_fd: u64::from(userns.as_fd().as_raw_fd().unsigned_abs()),
    };
    set_attr_at(mount.as_fd(), c"", libc::AT_EMPTY_PATH, depth, &raw)
}

fn set_attr_at(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    depth: Depth,
    raw: &RawAttributes,
) -> Result<(), Errno> {
    const AT_RECURSIVE: i32 = 0x8000;
    let flags = match depth {
        Depth::Single => flags,
        Depth::Recursive => flags | AT_RECURSIVE,
    };
    // SAFETY: `path` is NUL-terminated; `raw` is the kernel's `mount_attr` of the given size, which
    // is only read. Both outlive the call.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(raw),
            size_of::<RawAttributes>(),
        )
    };
    check(returned).map(drop)
}

/// A detached copy of the mount (or of the part of it) that `path` names from the current
/// directory. Symlinks are followed: the path must be one that only its owner can influence.
pub fn clone_tree(path: impl rustix::path::Arg, depth: Depth) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(CWD, path, tree_flags(depth))
}

/// A detached copy of what `fd` is open on; an `O_PATH` descriptor will do.
pub fn clone_tree_of(fd: impl AsFd, depth: Depth) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(fd.as_fd(), c"", tree_flags(depth) | OpenTreeFlags::AT_EMPTY_PATH)
}

/// A detached copy of what `path` names below a directory; a symlink there is not followed.
pub fn clone_tree_at(directory: impl AsFd, path: &CStr, depth: Depth) -> Result<OwnedFd, Errno> {
    let flags = tree_flags(depth) | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(directory.as_fd(), path, flags)
}

fn tree_flags(depth: Depth) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match depth {
        Depth::Single => flags,
        Depth::Recursive => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// Attaches a detached mount on top of what `target` is open on.
///
/// A directory goes on a directory, anything else on anything else (`ENOTDIR`).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), c"", target.as_fd(), c"", flags)
}

/// Takes a mount away, with all that is mounted below it, from the calling thread's mount namespace;
/// `mount` is open on its root. It ends when nobody uses it any more.
///
/// What is below it goes from here alone, whoever shares it.
pub fn detach(mount: impl AsFd) -> Result<(), Errno> {
    // Of a shared mount the kernel would take what is below it away from all peers, the host's included.
    let private = Attributes::propagation(Propagation::Private);
    set_attr(&mount, Depth::Recursive, &private)?;
    // The last component is a magic link to what is open, whatever its name means by now; so it has
    // to be followed.
    let path = format!("/proc/thread-self/fd/{}", mount.as_fd().as_raw_fd());
    rustix::mount::unmount(path, UnmountFlags::DETACH)
}

/// Attaches a detached mount on top of `/`, which always exists, so that no directory of the host
/// is needed. What this process sees does not change: its root directory stays below.
pub fn attach_on_root(mount: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), c"", CWD, c"/", flags)
}

/// Makes a mount that [`attach_on_root`] attached the root of the calling process and of its mount
/// namespace, and lets go of every mount that was there.
///
/// The namespace must be the caller's own, with no shared mounts (see [`set_propagation_of_all`]).
/// `EINVAL` also where the present root is the initial ramfs.
pub fn enter_root(mount: impl AsFd) -> Result<(), Errno> {
    let own = mount_id(mount.as_fd(), c"")?;
    rustix::process::fchdir(mount.as_fd())?;
    // The old root ends up on top of the new one, together with whatever else is mounted on it.
    rustix::process::pivot_root(c".", c".")?;
    // Unmounting takes one mount from the top of the stack, and `..` is the path that leads to
    // the top: it stays in the root directory, but crosses into what is mounted there. A single
    // mount left behind would be where everybody arrives who joins this namespace.
    for _ in 0..MAX_STACKED {
        if mount_id(CWD, c"..")? == own {
            return rustix::process::chdir(c"/");
        }
        rustix::mount::unmount(c"..", UnmountFlags::DETACH)?;
    }
    Err(Errno::BUSY)
}

/// How many mounts may lie on top of each other on the old root.
const MAX_STACKED: usize = 64;

fn mount_id(directory: BorrowedFd<'_>, path: &CStr) -> Result<u64, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(directory, path, flags, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

/// One option of a file system.
#[derive(Debug, Clone, Copy)]
pub enum Param<'a> {
    /// A word of its own, as `volatile`.
    Flag(&'a CStr),
    /// A key with a value of at most 255 bytes.
    String(&'a CStr, &'a CStr),
    /// A key whose value is an open file.
    Fd(&'a CStr, BorrowedFd<'a>),
}

impl Param<'_> {
    fn key(&self) -> &CStr {
        match self {
            Self::Flag(key) | Self::String(key, _) | Self::Fd(key, _) => key,
        }
    }
}

/// The kernel's own words about a refused file system, at most [`KernelLog::MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KernelLog {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl KernelLog {
    /// What is kept of a message, so that errors stay small enough to be passed around.
    pub const MAX: usize = 88;

    /// No words.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX], len: 0 };

    /// Reads the first message that waits on a file system context.
    fn read(context: BorrowedFd<'_>) -> Self {
        // A buffer that is too short loses the message (EMSGSIZE); ENODATA says that there is none.
        let mut whole = [0; 512];
        let read = rustix::io::read(context, &mut whole[..]).unwrap_or(0);
        let mut log = Self::EMPTY;
        log.len = read.min(Self::MAX);
        log.bytes[..log.len].copy_from_slice(&whole[..log.len]);
        log
    }

    /// The words, without the kernel's level letter.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let words = &self.bytes[..self.len];
        words.strip_prefix(b"e ").or_else(|| words.strip_prefix(b"w ")).unwrap_or(words)
    }
}

impl fmt::Display for KernelLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(String::from_utf8_lossy(self.as_bytes()).trim_end())
    }
}

impl fmt::Debug for KernelLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Which part of making a file system failed. Needs no memory to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// `ENODEV` for a kind that the kernel does not have.
    #[error("open the file system")]
    Open(#[source] Errno),
    /// The option of this index was refused.
    #[error("set option {index}: {log}")]
    Option {
        /// Which of the given options.
        index: usize,
        /// The kernel's words.
        log: KernelLog,
        /// Why.
        source: Errno,
    },
    /// The options together were refused.
    #[error("create the file system: {log}")]
    Create {
        /// The kernel's words.
        log: KernelLog,
        /// Why.
        source: Errno,
    },
    /// It could not be mounted.
    #[error("mount the file system: {log}")]
    Mount {
        /// The kernel's words.
        log: KernelLog,
        /// Why.
        source: Errno,
    },
}

impl FsError {
    /// The error number, whichever part failed.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Open(errno) => *errno,
            Self::Option { source, .. }
            | Self::Create { source, .. }
            | Self::Mount { source, .. } => *source,
        }
    }

    /// The kernel's words, if it had any.
    #[must_use]
    pub fn log(&self) -> KernelLog {
        match self {
            Self::Open(_) => KernelLog::EMPTY,
            Self::Option { log, .. } | Self::Create { log, .. } | Self::Mount { log, .. } => *log,
        }
    }
}

/// Mounts a new file system that is attached nowhere. Allocates nothing.
///
/// Which instance it is depends on the caller: `proc` shows its pid namespace, `sysfs` its network
/// namespace, `mqueue` its ipc namespace.
pub fn detached<'a>(
    kind: &CStr,
    params: impl IntoIterator<Item = Param<'a>>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, FsError> {
    let context =
        rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(FsError::Open)?;
    for (index, param) in params.into_iter().enumerate() {
        set_param(context.as_fd(), &param).map_err(|source| {
            let log = KernelLog::read(context.as_fd());
            FsError::Option { index, log, source }
        })?;
    }
    rustix::mount::fsconfig_create(&context).map_err(|source| {
        let log = KernelLog::read(context.as_fd());
        FsError::Create { log, source }
    })?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|source| {
        let log = KernelLog::read(context.as_fd());
        FsError::Mount { log, source }
    })
}

fn set_param(context: BorrowedFd<'_>, param: &Param<'_>) -> Result<(), Errno> {
    match *param {
        Param::Flag(key) => rustix::mount::fsconfig_set_flag(context, key),
        Param::String(key, value) => rustix::mount::fsconfig_set_string(context, key, value),
        Param::Fd(key, fd) => rustix::mount::fsconfig_set_fd(context, key, fd),
    }
}

/// A directory that becomes part of an overlay.
#[derive(Debug, Clone, Copy)]
pub enum Layer<'a> {
    /// By path, at most 255 bytes.
    Path(&'a Path),
    /// By descriptor (6.13).
    Fd(BorrowedFd<'a>),
}

/// An overlay to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// The read-only layers, the uppermost first. At least one, and two if nothing is writable.
    pub lowers: &'a [Layer<'a>],
    /// The writable layer and its work directory, both on one file system.
    pub upper: Option<(Layer<'a>, Layer<'a>)>,
    /// Further options, as `volatile` or `metacopy=off`.
    pub options: &'a [Param<'a>],
}

/// Why an overlay could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The path of a layer holds a NUL byte or has more than 255 bytes.
    #[error("overlay: the path of a layer is too long or holds a NUL byte: {0}")]
    Path(std::path::PathBuf),
    /// An option was refused.
    #[error("overlay: {option}: {log}")]
    Option {
        /// Its key, and its value if that is a path.
        option: Box<str>,
        /// The kernel's words.
        log: KernelLog,
        /// Why.
        source: Errno,
    },
    /// The whole was refused.
    #[error("overlay: {source}")]
    Mount {
        /// Which part.
        source: FsError,
    },
}

impl OverlayError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Path(_) => Errno::NAMETOOLONG,
            Self::Option { source, .. } => *source,
            Self::Mount { source } => source.errno(),
        }
    }
}

/// Mounts an overlay that is attached nowhere. Each layer is a call of its own, so neither the
/// number of layers (the kernel takes 500) nor a comma or colon in a path is a problem.
pub fn overlay(overlay: &Overlay<'_>, attributes: MountAttrFlags) -> Result<OwnedFd, OverlayError> {
    let mut named = Vec::with_capacity(overlay.lowers.len() + 2);
    for lower in overlay.lowers {
        named.push((c"lowerdir+", lower, c_path(lower)?));
    }
    if let Some((upper, work)) = &overlay.upper {
        named.push((c"upperdir", upper, c_path(upper)?));
        named.push((c"workdir", work, c_path(work)?));
    }
    let mut params = vec![Param::String(c"source", c"overlay")];
    params.extend(named.iter().map(|(key, layer, path)| match layer {
        Layer::Path(_) => Param::String(key, path),
        Layer::Fd(fd) => Param::Fd(key, *fd),
    }));
    params.extend_from_slice(overlay.options);
    detached(c"overlay", params.iter().copied(), attributes).map_err(|error| match error {
        FsError::Option { index, log, source } => {
            OverlayError::Option { option: describe(params.get(index)), log, source }
        }
        FsError::Open(_) | FsError::Create { .. } | FsError::Mount { .. } => {
            OverlayError::Mount { source: error }
        }
    })
}

fn describe(param: Option<&Param<'_>>) -> Box<str> {
    let Some(param) = param else { return "".into() };
    let key = param.key().to_string_lossy();
    match param {
        Param::String(_, value) => format!("{key}={}", value.to_string_lossy()).into(),
        Param::Flag(_) | Param::Fd(..) => key.into(),
    }
}

/// The longest string that fsconfig(2) takes, without its NUL.
const MAX_STRING: usize = 255;

fn c_path(layer: &Layer<'_>) -> Result<std::ffi::CString, OverlayError> {
    let path = match layer {
        Layer::Path(path) => *path,
        Layer::Fd(_) => Path::new(""),
    };
    let bytes = path.as_os_str().as_bytes();
    let too_long = bytes.len() > MAX_STRING;
    let c_path = std::ffi::CString::new(bytes).ok().filter(|_| !too_long);
    c_path.ok_or_else(|| OverlayError::Path(path.to_path_buf()))
}
