//! User namespaces as descriptors: made with their map of ids, and with namespaces that they own.
//!
//! A namespace needs a process to be made by; a child of ours is it for a moment, and does nothing.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::thread::LinkNameSpaceType;

use crate::Errno;
use crate::process::{CloneArgs, Namespaces, clone3, unshare, wait};

/// Ids of a namespace, from 0 on, and where they are outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// What 0 is outside.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What the kernel shows for ids that a namespace does not have.
pub(crate) const NOBODY: u32 = 65534;

impl IdMap {
    /// An id of the namespace as it is outside of it; `None` if it has no such id.
    #[must_use]
    pub fn outside(self, id: u32) -> Option<u32> {
        if id < self.count { self.first.checked_add(id) } else { None }
    }

    /// An id as the namespace sees it.
    #[must_use]
    pub fn inside(self, id: u32) -> u32 {
        id.checked_sub(self.first).filter(|id| *id < self.count).unwrap_or(NOBODY)
    }
}

impl fmt::Display for IdMap {
    /// As `/proc/<pid>/uid_map` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0 {} {}", self.first, self.count)
    }
}

/// Ids that follow each other, and where they are outside of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first, as the namespace has it.
    pub inside: u32,
    /// What that is outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl fmt::Display for IdRange {
    /// As a line of `/proc/<pid>/uid_map`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// The users and the groups of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
}

impl From<IdMap> for IdMaps {
    fn from(IdMap { first, count }: IdMap) -> Self {
        let range = IdRange { inside: 0, outside: first, count };
        Self { users: vec![range], groups: vec![range] }
    }
}

impl IdMaps {
    /// A user of the namespace as it is outside of it; `None` if it has no such user.
    #[must_use]
    pub fn user(&self, id: u32) -> Option<u32> {
        outside(&self.users, id)
    }

    /// A group of the namespace as it is outside of it; `None` if it has no such group.
    #[must_use]
    pub fn group(&self, id: u32) -> Option<u32> {
        outside(&self.groups, id)
    }
}

fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    let found = ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
        Some((range, offset))
    });
    found.and_then(|(range, offset)| range.outside.checked_add(offset))
}

/// The text of a map's file.
fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{range}\n")).collect()
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub enum UsernsError {
    /// `ENOSPC` at the limit of `/proc/sys/user/max_user_namespaces`, `EPERM` where they are off.
    #[error("create a user namespace")]
    Create(#[source] Errno),
    /// `EPERM` for ids that the caller may not map, `EINVAL` for ranges that overlap.
    #[error("write {map:?} to {file} of a user namespace")]
    Map {
        /// Which of the two files.
        file: &'static str,
        /// What was to be written.
        map: String,
        /// Why not.
        source: Errno,
    },
    /// A new namespace could not be opened.
    #[error("open a new {0} namespace")]
    Open(&'static str, #[source] Errno),
    /// What is open is no user namespace, or one that this process may not enter.
    #[error("enter the user namespace")]
    Enter(#[source] Errno),
    /// Its map could not be read.
    #[error("read {0} of the user namespace")]
    Read(&'static str, #[source] std::io::Error),
}

impl UsernsError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Create(errno) | Self::Open(_, errno) | Self::Enter(errno) => *errno,
            Self::Map { source, .. } => *source,
            Self::Read(_, error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        }
    }
}

/// A user namespace and what it owns. They live as long as somebody holds or joins them.
#[derive(Debug)]
pub struct Userns {
    /// The namespace.
    pub user: OwnedFd,
    /// A network namespace that belongs to it.
    pub net: OwnedFd,
}

/// Makes a user namespace whose users and groups are `maps`, and a network namespace in it.
///
/// # Errors
/// See [`UsernsError`].
pub fn create(maps: &IdMaps) -> Result<Userns, UsernsError> {
    while_it_waits(
        Namespaces::USER | Namespaces::NET,
        || (),
        |dir| {
            write_maps(dir, maps)?;
            Ok(Userns { user: open(dir, "user")?, net: open(dir, "net")? })
        },
    )
}

/// Makes a user namespace alone.
///
/// # Errors
/// See [`UsernsError`].
pub fn create_alone(maps: &IdMaps) -> Result<OwnedFd, UsernsError> {
    while_it_waits(
        Namespaces::USER,
        || (),
        |dir| {
            write_maps(dir, maps)?;
            open(dir, "user")
        },
    )
}

/// Looks at the directory in procfs of a process in new namespaces, which does this one thing, waits until
/// it was looked at, and ends.
fn while_it_waits<T, E: From<UsernsError>>(
    namespaces: Namespaces,
    first: impl FnOnce(),
    look: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, E> {
    let (theirs, ours) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(UsernsError::Create)?;
    let mut ours = Some(ours);
    let end = &mut ours;
    // What `first` holds is let go of here when the process is there.
    let child = clone3(&CloneArgs { namespaces, cgroup: None }, move || {
        // Without its own copy of our end it sees us let go.
        drop(end.take());
        first();
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&theirs, &mut [0_u8; 1]));
        0
    });
    let child = child.map_err(UsernsError::Create)?;
    let seen = look(&format!("/proc/{}", child.pid.as_raw_nonzero()));
    // It is our child and has not been reaped, so its number was its own all the time.
    drop(ours);
    let _ = wait(child.pidfd.as_fd());
    seen
}

/// Makes a user namespace alone, whose ids `map` maps, given the number of a process in it.
///
/// # Errors
/// The kernel refuses, or `map` does.
pub fn create_mapped<E: From<UsernsError>>(
    map: impl FnOnce(&str) -> Result<(), E>,
) -> Result<OwnedFd, E> {
    while_it_waits(
        Namespaces::USER,
        || (),
        |dir| {
            map(dir.trim_start_matches("/proc/"))?;
            Ok(open(dir, "user")?)
        },
    )
}

/// How many groups, from 0 on, there are in the user namespace that this process is in; `None` if that is the
/// host's.
#[must_use]
pub fn own_groups() -> Option<u32> {
    if !crate::rootless::is_nested() {
        return None;
    }
    Some(contiguous(&std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default()))
}

/// Whose user namespace this process is in, seen from the one above: the user that its root is there; `None` if it
/// has no root.
#[must_use]
pub fn owner() -> Option<u32> {
    let users = read_map("/proc/self", "uid_map").ok()?;
    outside(&users, 0)
}

/// Lines of a map are `inside outside count`, in order.
fn contiguous(map: &str) -> u32 {
    map.lines().fold(0, |next, line| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.nth(1).flatten()) {
            (Some(inside), Some(count)) if inside == next => next.saturating_add(count),
            _ => next,
        }
    })
}

fn write_maps(dir: &str, maps: &IdMaps) -> Result<(), UsernsError> {
    for (file, ranges) in [("uid_map", &maps.users), ("gid_map", &maps.groups)] {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let text = lines(ranges);
        rustix::fs::openat(CWD, format!("{dir}/{file}"), flags, Mode::empty())
            .and_then(|fd| rustix::io::write(&fd, text.as_bytes()))
            .map_err(|source| UsernsError::Map { file, map: text.trim_end().to_owned(), source })?;
    }
    Ok(())
}

fn open(dir: &str, kind: &'static str) -> Result<OwnedFd, UsernsError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, format!("{dir}/ns/{kind}"), flags, Mode::empty())
        .map_err(|source| UsernsError::Open(kind, source))
}

/// The users and groups of a namespace that is there, as this process sees those outside.
///
/// # Errors
/// It is none, or this process may not enter it.
pub fn maps_of(userns: impl AsFd) -> Result<IdMaps, UsernsError> {
    from_inside(userns, Namespaces::NONE, |dir| {
        Ok(IdMaps { users: read_map(dir, "uid_map")?, groups: read_map(dir, "gid_map")? })
    })
}

/// A new network namespace that belongs to a user namespace which is there.
///
/// # Errors
/// It is none, this process may not enter it, or there are too many.
pub fn new_net(userns: impl AsFd) -> Result<OwnedFd, UsernsError> {
    from_inside(userns, Namespaces::NET, |dir| open(dir, "net"))
}

/// Looks at the directory in procfs of a process that has entered a user namespace and made others in it.
fn from_inside<T>(
    userns: impl AsFd,
    new: Namespaces,
    look: impl FnOnce(&str) -> Result<T, UsernsError>,
) -> Result<T, UsernsError> {
    let (heard, told) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(UsernsError::Create)?;
    let userns = userns.as_fd();
    let enter = move || {
        let kind = Some(LinkNameSpaceType::User);
        let entered = rustix::thread::move_into_link_name_space(userns, kind);
        let entered = entered.and_then(|()| if new.is_empty() { Ok(()) } else { unshare(new) });
        let errno = entered.map_or_else(Errno::raw_os_error, |()| 0);
        let _ = rustix::io::write(&told, &errno.to_le_bytes());
    };
    while_it_waits(Namespaces::NONE, enter, |dir| {
        let mut word = [0_u8; 4];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&heard, &mut word));
        match (read, i32::from_le_bytes(word)) {
            (Ok(4), 0) => {}
            (Ok(4), errno) => return Err(UsernsError::Enter(Errno::from_raw_os_error(errno))),
            (read, _) => return Err(UsernsError::Enter(read.err().unwrap_or(Errno::CHILD))),
        }
        look(dir)
    })
}

fn read_map(dir: &str, file: &'static str) -> Result<Vec<IdRange>, UsernsError> {
    let text = std::fs::read_to_string(format!("{dir}/{file}"))
        .map_err(|source| UsernsError::Read(file, source))?;
    Ok(text.lines().filter_map(range).collect())
}

/// A line of such a file.
fn range(line: &str) -> Option<IdRange> {
    let mut fields = line.split_ascii_whitespace().map(|field| field.parse().ok());
    Some(IdRange { inside: fields.next()??, outside: fields.next()??, count: fields.next()?? })
}

/// Whether this process is in that namespace.
///
/// # Errors
/// procfs is not there.
pub fn is_own(userns: impl AsFd) -> Result<bool, Errno> {
    let there = rustix::fs::fstat(userns)?;
    let own = rustix::fs::stat(c"/proc/self/ns/user")?;
    Ok((there.st_dev, there.st_ino) == (own.st_dev, own.st_ino))
}

/// Runs `work` on a thread whose files belong to the user and group `id`, with the rights of the
/// caller. What it makes through a mount that shows ids of a map is what the map's root makes.
///
/// # Errors
/// The thread could not be made so.
pub fn as_owner<T: Send>(id: u32, work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            crate::fs_context::own_files_as(id)?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_looked_up_in_their_range() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let users = vec![range(0, 1000, 1), range(1, 100_000, 10), range(20, u32::MAX - 1, 5)];
        let maps = IdMaps { users, groups: vec![range(0, 7, 2)] };
        let users = [0, 1, 10, 11, 20, 21, 22].map(|id| maps.user(id));
        let last = Some(u32::MAX);
        assert_eq!(
            users,
            [Some(1000), Some(100_000), Some(100_009), None, Some(u32::MAX - 1), last, None]
        );
        assert_eq!([0, 1, 2].map(|id| maps.group(id)), [Some(7), Some(8), None]);
        assert_eq!(lines(&maps.groups), "0 7 2\n");
    }

    #[test]
    fn a_line_of_a_map_is_read_as_the_kernel_pads_it() {
        let line = "         1     100000      65536";
        assert_eq!(range(line), Some(IdRange { inside: 1, outside: 100_000, count: 65_536 }));
        assert_eq!((range(""), range("1 2"), range("a b c")), (None, None, None));
    }

    #[test]
    fn groups_are_counted_to_the_first_gap() {
        assert_eq!(
            contiguous("         0       1000          1\n         1     100000      65536\n"),
            65_537
        );
        assert_eq!(contiguous("0 5 10\n20 50 10\n"), 10);
        assert_eq!(contiguous("5 5 10\n"), 0);
    }
}
