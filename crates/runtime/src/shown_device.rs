//! Devices of the host, for a container whose parent may make no nodes: it shows the host's own.
//!
//! A node is found by the path that the container has for it, or by the kernel's name of the device, and is
//! taken only if it is the very device that was asked for (invariant I3).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use sys::Errno;
use sys::mount::Depth;

use crate::error::LaunchError;
use crate::step::{Node, NodeKind};

/// A detached mount of the node.
pub(crate) fn open(path: &Path, Node { kind: device, .. }: Node) -> Result<OwnedFd, LaunchError> {
    let named = kernels_name(device);
    let candidates = std::iter::once(path.to_owned()).chain(named);
    let found = candidates.filter_map(|path| node(&path, device)).next();
    let found = found
        .ok_or(Errno::NODEV)
        .and_then(|node| sys::mount::clone_tree_of(node.as_fd(), Depth::Single));
    found.map_err(LaunchError::prepare("show the host's device for", path.display()))
}

fn node(path: &Path, device: NodeKind) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&node).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let is_it = match device {
        NodeKind::Character(..) => {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        }
        NodeKind::Block(..) => FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice,
        NodeKind::Fifo => false,
    };
    (is_it && (major, minor) == numbers(device)).then_some(node)
}

const fn numbers(device: NodeKind) -> (u32, u32) {
    match device {
        NodeKind::Character(major, minor) | NodeKind::Block(major, minor) => (major, minor),
        NodeKind::Fifo => (0, 0),
    }
}

/// Where devtmpfs has it, by `/sys/dev`.
fn kernels_name(device: NodeKind) -> Option<PathBuf> {
    let kind = match device {
        NodeKind::Character(..) => "char",
        NodeKind::Block(..) => "block",
        NodeKind::Fifo => return None,
    };
    let (major, minor) = numbers(device);
    let told = std::fs::read_to_string(format!("/sys/dev/{kind}/{major}:{minor}/uevent")).ok()?;
    let name = told.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}
