//! Steps that mount.
//!
//! Each mount is made detached, filled, given its attributes, and only then attached to a target
//! that is a descriptor (invariants I1 and I2).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use sys::Errno;
use sys::mount::{self, Attributes, Depth, MountAttrFlags, Param};

use super::place::{self, Make};
use super::{Done, Fault, Init};
use crate::error::Reason;
use crate::step::{Entry, MaskFile, MountStep, Node, NodeKind, Place, Slot, Source};

impl Init<'_> {
    pub(super) fn mount(&mut self, step: &MountStep) -> Done {
        match &step.source {
            Source::Tree(slot, _) => {
                let tree = self.hands.trees.get(*slot).ok_or(Errno::BADF)?.as_fd();
                apply(tree, &step.attributes, step)?;
                self.attach(tree, &step.target)
            }
            Source::Inside { from, depth, ids } => {
                self.mount_from_inside(step, from, (*depth, *ids))
            }
            Source::Present(params) => self.remount(step, params),
            Source::New { kind, params } => {
                let mode = self.mode_to_keep(kind, params, &step.target)?;
                let mode = mode.as_ref().and_then(|text| CStr::from_bytes_until_nul(text).ok());
                let made = make((kind, params, mode), step)?;
                self.attach(made.as_fd(), &step.target)?;
                if step.target.path.as_c_str() == c"/dev/pts" {
                    self.devpts = Some(made);
                }
                Ok(())
            }
        }
    }

    /// Earlier mounts have brought what is shown. A place in the root is all that it can be.
    fn mount_from_inside(
        &self,
        step: &MountStep,
        from: &Place,
        (depth, ids): (Depth, Option<(Slot, Depth)>),
    ) -> Done {
        let found = place::open(self.root()?, from)?;
        let tree = mount::clone_tree_of(&found, depth)?;
        if let Some((slot, depth)) = ids {
            mount::set_idmap(&tree, depth, self.hands.trees.get(slot).ok_or(Errno::BADF)?)?;
        }
        apply(tree.as_fd(), &step.attributes, step)?;
        self.attach(tree.as_fd(), &step.target)
    }

    /// The mode of what a tmpfs will cover, in digits, if nobody says which mode it has: it keeps that, as with runc.
    fn mode_to_keep(
        &self,
        kind: &CStr,
        params: &[(CString, Option<CString>)],
        target: &Place,
    ) -> Result<Option<[u8; 5]>, Fault> {
        let is_said = || params.iter().any(|(key, _)| key.as_c_str() == c"mode");
        if kind != c"tmpfs" || is_said() {
            return Ok(None);
        }
        let Some(covered) = place::open_existing(self.root()?, target)? else { return Ok(None) };
        let mode = rustix::fs::fstat(covered)?.st_mode;
        let digit = |shift: u32| b'0' + u8::try_from(mode >> shift & 7).unwrap_or_default();
        Ok(Some([digit(9), digit(6), digit(3), digit(0), 0]))
    }

    /// Attaches a mount where the plan says, on something of its own kind.
    fn attach(&self, tree: BorrowedFd<'_>, place: &Place) -> Done {
        attach(self.root()?, tree, place)
    }

    /// A tmpfs at a path of the host, seen by this process's mount namespace alone, in which places
    /// are from now on.
    pub(super) fn make_bench(&mut self, path: &CStr) -> Done {
        let params = [Param::String(c"source", c"tmpfs"), Param::String(c"mode", c"700")];
        let bench = mount::detached(c"tmpfs", params, MountAttrFlags::empty())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        mount::attach(&bench, target)?;
        self.entered = Some(bench);
        Ok(())
    }

    /// A tmpfs with an empty directory and a null device, attached where it will never be seen:
    /// below the root file system, let go together with the host's mounts. Kernels before 6.15
    /// copy only what is attached.
    pub(super) fn make_mask(&mut self, file: MaskFile) -> Done {
        let params = [Param::String(c"source", c"tmpfs"), Param::String(c"mode", c"555")];
        let mask = mount::detached(c"tmpfs", params, MASK_ATTRIBUTES)?;
        rustix::fs::mkdirat(&mask, EMPTY, Mode::from_raw_mode(0o555))?;
        match file {
            MaskFile::Null => make_node(mask.as_fd(), NULL, &NULL_NODE)?,
            MaskFile::Empty => {
                let mode = Mode::from_raw_mode(0o444);
                rustix::fs::mknodat(&mask, NULL, FileType::RegularFile, mode, 0)?;
            }
        }
        mount::set_attr(&mask, Depth::Single, &Attributes::READ_ONLY)?;
        mount::attach_on_root(&mask)?;
        self.mask = Some(mask);
        Ok(())
    }

    pub(super) fn mask_path(&self, place: &Place) -> Done {
        let Some(target) = place::open_existing(self.root()?, place)? else { return Ok(()) };
        let mask = self.mask.as_ref().ok_or(Errno::BADF)?;
        let cover = if is_directory(target.as_fd())? { EMPTY } else { NULL };
        let cover = mount::clone_tree_at(mask, cover, Depth::Single)?;
        Ok(mount::attach(cover, target)?)
    }

    pub(super) fn read_only_path(&self, place: &Place) -> Done {
        let Some(target) = place::open_existing(self.root()?, place)? else { return Ok(()) };
        let copy = mount::clone_tree_of(&target, Depth::Recursive)?;
        mount::set_attr(&copy, Depth::Recursive, &Attributes::READ_ONLY)?;
        Ok(mount::attach(copy, target)?)
    }

    pub(super) fn node(&self, place: &Place, node: &Node) -> Done {
        let (parent, name) = place::ensure_parent(self.root()?, place)?;
        make_node(parent.as_fd(), name, node)
    }

    pub(super) fn link(&self, place: &Place, target: &CStr) -> Done {
        let (parent, name) = place::ensure_parent(self.root()?, place)?;
        match rustix::fs::symlinkat(target, &parent, name) {
            Err(Errno::EXIST) => {
                let mut there = [0; LONGEST_LINK];
                let len = rustix::fs::readlinkat_raw(&parent, name, &mut there[..])?;
                if &there[..len] == target.to_bytes() { Ok(()) } else { Err(Errno::EXIST.into()) }
            }
            made => Ok(made?),
        }
    }

    pub(super) fn bind_console(&self) -> Done {
        let terminal = self.terminal.as_ref().ok_or(Errno::BADF)?;
        let target = place::open_console(self.root()?)?;
        let copy: OwnedFd = mount::clone_tree_of(&terminal.peer, Depth::Single)?;
        Ok(mount::attach(copy, target)?)
    }
}

/// `PATH_MAX` of linux/limits.h.
const LONGEST_LINK: usize = 4096;

/// What a masked directory is covered with, in the mask.
pub(crate) const EMPTY: &CStr = c"empty";
/// What a masked file is covered with, in the mask.
pub(crate) const NULL: &CStr = c"null";
const NULL_NODE: Node = Node { kind: NodeKind::Character(1, 3), mode: 0o666, uid: 0, gid: 0 };

const MASK_ATTRIBUTES: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// The same for whoever prepares a mount for a container that runs: from a tree, or a new one.
pub(crate) fn make_from_outside(
    step: &MountStep,
    tree: Option<OwnedFd>,
) -> Result<OwnedFd, Reason> {
    let made = match (&step.source, tree) {
        (Source::Tree(..), Some(tree)) => {
            apply(tree.as_fd(), &step.attributes, step).map(|()| tree).map_err(Fault::from)
        }
        (Source::New { kind, params }, _) => make((kind, params, None), step),
        (Source::Tree(..), None) => Err(Errno::BADF.into()),
        (Source::Present(_) | Source::Inside { .. }, _) => Err(Errno::INVAL.into()),
    };
    made.map_err(|fault| Reason { errno: fault.errno, detail: fault.log.to_string() })
}

/// Attaches it below a root that the container may change meanwhile.
pub(crate) fn attach_from_outside(
    root: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    place: &Place,
) -> Result<(), Errno> {
    attach(root, tree, place).map_err(|fault| fault.errno)
}

/// A file system: its kind, its parameters, and its mode if that is none of them.
type Kind<'a> = (&'a CStr, &'a [(CString, Option<CString>)], Option<&'a CStr>);

/// A new file system with what belongs into it and its attributes, attached nowhere.
fn make((kind, params, mode): Kind<'_>, step: &MountStep) -> Result<OwnedFd, Fault> {
    let params = params.iter().map(|(key, value)| match value {
        Some(value) => Param::String(key, value),
        None => Param::Flag(key),
    });
    let params = params.chain(mode.map(|mode| Param::String(c"mode", mode)));
    // A read-only mount could not be filled.
    let writable = step.attributes.set - MountAttrFlags::MOUNT_ATTR_RDONLY;
    let made = mount::detached(kind, params, writable)?;
    step.content.iter().try_for_each(|entry| fill(made.as_fd(), entry))?;
    let rest = step.attributes.set & MountAttrFlags::MOUNT_ATTR_RDONLY;
    apply(made.as_fd(), &Attributes { set: rest, ..Attributes::NONE }, step)?;
    Ok(made)
}

fn attach(root: BorrowedFd<'_>, tree: BorrowedFd<'_>, place: &Place) -> Done {
    let make = if is_directory(tree)? { Make::Directory } else { Make::File };
    let target = place::ensure(root, place, make)?;
    refuse_covering_proc(target.as_fd(), place)?;
    mount::attach(tree, &target).map_err(|error| unlike(error, make, target.as_fd()).into())
}

/// Sets what the plan wants of one mount, of all below it, and of their propagation, with as few
/// calls as possible.
pub(super) fn apply(
    tree: BorrowedFd<'_>,
    single: &Attributes,
    step: &MountStep,
) -> Result<(), Errno> {
    let at = |depth| step.propagation.and_then(|(how, wanted)| (wanted == depth).then_some(how));
    let single = Attributes { propagation: at(Depth::Single), ..*single };
    let recursive = Attributes { propagation: at(Depth::Recursive), ..step.recursive };
    for (depth, attributes) in [(Depth::Single, single), (Depth::Recursive, recursive)] {
        if !attributes.is_none() {
            mount::set_attr(tree, depth, &attributes)?;
        }
    }
    Ok(())
}

/// A file on a directory and a directory on a file are no more than "invalid" to the kernel.
fn unlike(error: Errno, wanted: Make, target: BorrowedFd<'_>) -> Errno {
    match (wanted, is_directory(target)) {
        (Make::Directory, Ok(false)) | (Make::File, Ok(true)) => Errno::NOTDIR,
        _ => error,
    }
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// `PROC_SUPER_MAGIC` of linux/magic.h.
pub(super) const PROC_MAGIC: u64 = 0x9fa0;

/// The plan has judged every destination below /proc by its letters. One that only gets there
/// through a symlink of the image would hide or fake procfs (CVE-2019-19921, CVE-2023-27561).
fn refuse_covering_proc(target: BorrowedFd<'_>, place: &Place) -> Result<(), Fault> {
    let path = place.path.to_bytes();
    if path == b"/proc" || path.starts_with(b"/proc/") {
        return Ok(());
    }
    let magic = u64::try_from(rustix::fs::fstatfs(target)?.f_type);
    if magic == Ok(PROC_MAGIC) { Err(Errno::LOOP.into()) } else { Ok(()) }
}

/// The same for whoever prepares a file system for a child.
pub(crate) fn fill_from_outside(top: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
    fill(top, entry).map_err(|fault| fault.errno)
}

fn fill(top: BorrowedFd<'_>, entry: &Entry) -> Done {
    match entry {
        Entry::Directory(path) => {
            rustix::fs::mkdirat(top, path.as_c_str(), Mode::from_raw_mode(0o755))?;
        }
        Entry::File(path) => {
            let mode = Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(top, path.as_c_str(), FileType::RegularFile, mode, 0)?;
        }
        Entry::Link(path, target) => {
            rustix::fs::symlinkat(target.as_c_str(), top, path.as_c_str())?;
        }
        Entry::Node(path, node) => {
            let made = make_node(top, path, node);
            if !matches!(&made, Err(fault) if fault.errno == Errno::NOENT) {
                return made;
            }
            let place = Place { path: path.clone(), symlinks: crate::step::Symlinks::Refuse };
            let (parent, name) = place::ensure_parent(top, &place)?;
            make_node(parent.as_fd(), name, node)?;
        }
    }
    Ok(())
}

/// A null device that nobody else has.
pub(super) fn new_null() -> Result<OwnedFd, Fault> {
    let params = [Param::String(c"source", c"tmpfs")];
    let home = mount::detached(c"tmpfs", params, MASK_ATTRIBUTES)?;
    make_node(home.as_fd(), NULL, &NULL_NODE)?;
    Ok(rustix::fs::openat(&home, NULL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

fn make_node(parent: BorrowedFd<'_>, name: &CStr, node: &Node) -> Done {
    let (kind, device) = match node.kind {
        NodeKind::Character(major, minor) => {
            (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
        }
        NodeKind::Block(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        NodeKind::Fifo => (FileType::Fifo, 0),
    };
    rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(node.mode), device)?;
    if node.uid != 0 || node.gid != 0 {
        let owner = (Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)));
        rustix::fs::chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
