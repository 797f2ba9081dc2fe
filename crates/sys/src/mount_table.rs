//! The kernel's list of the mounts of a namespace (proc_pid_mountinfo(5)), read, and the removal of one of them that
//! is known by its number.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::mount::UnmountFlags;
use rustix::thread::LinkNameSpaceType;

use crate::Errno;
use crate::mount::{Attributes, Depth, Propagation};

/// One mount. Names are bytes: not every one is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The number that `statx(2)` gives as well.
    pub id: u64,
    /// `major:minor` of its file system.
    pub device: &'a [u8],
    /// What of its file system it shows, escaped.
    pub root: &'a [u8],
    point: &'a [u8],
    /// `ro`, `nosuid` and what else holds for this mount alone, with commas.
    pub attributes: &'a [u8],
    /// `shared:N`, `master:N` and their like, between spaces.
    pub optional: &'a [u8],
    /// The kind of its file system.
    pub kind: &'a [u8],
    /// The options of its file system, with commas.
    pub options: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let is_space = |byte: &u8| *byte == b' ';
        let end = line.windows(3).position(|bytes| bytes == b" - ")?;
        let mut fields = line[..end].splitn(7, is_space);
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let (device, root, point) = (fields.nth(1)?, fields.next()?, fields.next()?);
        let attributes = fields.next()?;
        let optional = fields.next().unwrap_or_default();
        let mut system = line[end + 3..].split(is_space);
        let (kind, options) = (system.next()?, system.nth(1)?);
        Some(Self { id, device, root, point, attributes, optional, kind, options })
    }

    /// Where it is, as the owner of the list sees it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        OsString::from_vec(unescape(self.point)).into()
    }
}

/// Every mount of a list.
pub fn entries(table: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    table.split(|byte| *byte == b'\n').filter_map(Entry::read)
}

/// All mounts of a mount namespace, and its root. A process behind another root is shown a part of
/// them alone, so a thread goes there to look.
///
/// # Errors
/// The thread may not go there.
pub fn of_namespace(namespace: impl AsFd) -> io::Result<(Vec<u8>, OwnedFd)> {
    let namespace = namespace.as_fd();
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let procfs = rustix::fs::openat(CWD, c"/proc", directory, Mode::empty())?;
    let look = || {
        // Who shares its root with other threads may not change it.
        crate::fs_context::private_umask_zero()?;
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))?;
        let root = rustix::fs::openat(CWD, c"/", directory, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let table = rustix::fs::openat(&procfs, c"thread-self/mountinfo", flags, Mode::empty())?;
        let mut text = Vec::new();
        File::from(table).read_to_end(&mut text)?;
        Ok((text, root))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, look)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What a mount is known by for as long as it is there, wherever it is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountId {
    /// Its number in lists of mounts. Another mount may have it later.
    pub number: u64,
    /// The one that no other mount ever has (Linux 6.8).
    pub unique: Option<u64>,
}

/// The numbers of the mount that something is open in.
///
/// # Errors
/// The kernel gives none (before Linux 5.8).
pub fn id_of(mount: impl AsFd) -> Result<MountId, Errno> {
    // `STATX_MNT_ID_UNIQUE` of linux/stat.h: the other number, in its place.
    let unique = StatxFlags::from_bits_retain(0x4000);
    let ask = |which| rustix::fs::statx(mount.as_fd(), c"", AtFlags::EMPTY_PATH, which);
    let is_known = |stat: &rustix::fs::Statx| stat.stx_mask & unique.bits() != 0;
    let asked = ask(unique)?;
    Ok(MountId {
        number: ask(StatxFlags::MNT_ID)?.stx_mnt_id,
        unique: is_known(&asked).then_some(asked.stx_mnt_id),
    })
}

/// Takes one mount away from where it is attached, with all that is mounted below it: in the caller's mount namespace,
/// or in another. One that is not there any more is no error.
///
/// # Errors
/// `EBUSY` if something else is mounted on top of it.
pub fn detach_from(namespace: Option<impl AsFd>, path: &Path, id: MountId) -> io::Result<()> {
    let namespace = namespace.as_ref().map(AsFd::as_fd);
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let procfs = rustix::fs::openat(CWD, c"/proc", directory, Mode::empty())?;
    let work = || {
        // Where it goes is nobody else's affair.
        crate::fs_context::private_umask_zero()?;
        if let Some(namespace) = namespace {
            rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))?;
        }
        let on_top = match rustix::fs::openat(CWD, path, directory, Mode::empty()) {
            // Nothing is attached to what is not there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            found => found?,
        };
        if id_of(&on_top)? != id {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let table =
                rustix::fs::openat(&procfs, c"thread-self/mountinfo", flags, Mode::empty())?;
            let mut text = Vec::new();
            File::from(table).read_to_end(&mut text)?;
            let is_below = |entry: Entry<'_>| entry.id == id.number && entry.path() == path;
            let is_below = entries(&text).any(is_below);
            return if is_below { Err(Errno::BUSY.into()) } else { Ok(()) };
        }
        // As in `mount::detach`. There may be no procfs here to name a descriptor by: the mount is named by being in it.
        let private = Attributes::propagation(Propagation::Private);
        crate::mount::set_attr(&on_top, Depth::Recursive, &private)?;
        rustix::process::fchdir(&on_top)?;
        Ok(rustix::mount::unmount(c".", UnmountFlags::DETACH)?)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Spaces, tabs, newlines and backslashes are three octal digits behind a backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        let digits = more.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &more[3..] } else { more };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_what_is_optional_and_without() {
        let table = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     31 22 0:27 /part /a\\040b\\134c rw shared:5 master:9 - tmpfs none rw,size=1\n\
                     nonsense\n";
        let text = String::from_utf8_lossy;
        let shown = |entry: Entry<'_>| {
            let path = entry.path().display().to_string();
            let Entry { device, root, optional, kind, options, .. } = entry;
            let [device, root, optional, kind, options] =
                [device, root, optional, kind, options].map(text);
            format!("{} {device} {root} {path} {optional:?} {kind} {options}", entry.id)
        };
        let shown: Vec<String> = entries(table).map(shown).collect();
        assert_eq!(
            shown,
            [
                r#"22 254:0 / / "" ext4 rw"#,
                r#"31 0:27 /part /a b\c "shared:5 master:9" tmpfs rw,size=1"#,
            ]
        );
    }

    #[test]
    fn a_path_need_not_be_text() {
        let table = b"31 22 0:27 / /a\xff rw - tmpfs none rw\n";
        let path = entries(table).next().unwrap().path();
        assert_eq!(path.as_os_str().as_encoded_bytes(), b"/a\xff");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (text, plain) in [("\\04", "\\04"), ("\\999", "\\999"), ("\\", "\\"), ("a\\012", "a\n")]
        {
            assert_eq!(unescape(text.as_bytes()), plain.as_bytes(), "{text}");
        }
    }
}
