//! What `/dev` holds.
//!
//! Nodes are always our own, on a tmpfs of our own: an image's `/dev/null` may be anything
//! (CVE-2025-31133).

use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};

use super::PlanError;
use super::text::{c_string, clean, place};
use crate::facts::UserIds;
use crate::step::{Entry, Node, NodeKind, Place};

/// Nodes that every container has.
const STANDARD: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links that every container has: path and target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Whether `/dev/console` is there to bind a terminal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Console {
    Absent,
    Present,
}

impl From<bool> for Console {
    /// Whether there is a terminal.
    fn from(is_there: bool) -> Self {
        if is_there { Self::Present } else { Self::Absent }
    }
}

/// Devices, by where they are.
pub(super) struct Devices {
    /// What `/dev` holds.
    pub(super) content: Vec<Entry>,
    /// Those that are not there.
    pub(super) elsewhere: Vec<(Place, Node)>,
    /// Those that are there and cannot be made, but shown.
    pub(super) shown: Vec<(Place, Node)>,
}

/// The content of `/dev`, and devices elsewhere. Whoever is in a user namespace makes none, and shows the
/// host's.
pub(super) fn plan(
    devices: &[LinuxDevice],
    console: Console,
    makers: UserIds,
) -> Result<Devices, PlanError> {
    let mut all = Devices { content: Vec::new(), elsewhere: Vec::new(), shown: Vec::new() };
    let mut own = Vec::new();
    for device in devices {
        let path = clean(device.path());
        let node = node(device, &path)?;
        match path.strip_prefix("/dev/") {
            // Engines that give a container all of the host's name this one too, and it would be another
            // devpts's.
            Some("ptmx") => {}
            Some(name) => own.push((name.to_owned(), node)),
            None => all.elsewhere.push((place("linux.devices", device.path())?, node)),
        }
    }
    let is_taken = |name: &str| own.iter().any(|(taken, _)| taken == name);
    for (name, major, minor) in STANDARD.into_iter().filter(|(name, ..)| !is_taken(name)) {
        let kind = NodeKind::Character(major, minor);
        all.add(name, Node { kind, mode: 0o666, uid: 0, gid: 0 }, makers)?;
    }
    for (name, target) in LINKS.into_iter().filter(|(name, _)| !is_taken(name)) {
        all.content.push(Entry::Link(c_string("/dev", name)?, c_string("/dev", target)?));
    }
    if console == Console::Present && !is_taken("console") {
        all.content.push(Entry::File(c"console".to_owned()));
    }
    for (name, node) in own {
        all.add(&name, node, makers)?;
    }
    Ok(all)
}

impl Devices {
    fn add(&mut self, name: &str, node: Node, makers: UserIds) -> Result<(), PlanError> {
        if makers == UserIds::Nested && node.kind != NodeKind::Fifo {
            let place = place("linux.devices", &Path::new("/dev").join(name))?;
            self.shown.push((place, node));
        } else {
            self.content.push(Entry::Node(c_string("linux.devices", name)?, node));
        }
        Ok(())
    }
}

fn node(device: &LinuxDevice, path: &str) -> Result<Node, PlanError> {
    let wrong = |reason| PlanError::Device { path: path.to_owned(), reason };
    let number = |number: i64| {
        u32::try_from(number).map_err(|_| wrong("its major or minor number is out of range"))
    };
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => {
            NodeKind::Character(number(device.major())?, number(device.minor())?)
        }
        LinuxDeviceType::B => NodeKind::Block(number(device.major())?, number(device.minor())?),
        LinuxDeviceType::P => NodeKind::Fifo,
        LinuxDeviceType::A => return Err(wrong("type a is for rules, not for nodes")),
    };
    Ok(Node {
        kind,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

/// Directories of /dev that new file systems are mounted on.
pub(super) fn places(mounts: &[Mount]) -> Result<Vec<Entry>, PlanError> {
    let is_new = |mount: &&Mount| {
        let words = mount.options().iter().flatten();
        !words.map(String::as_str).any(|word| matches!(word, "bind" | "rbind"))
            && !matches!(mount.typ().as_deref(), Some("" | "none" | "bind") | None)
    };
    let names = mounts.iter().filter(is_new).map(|mount| clean(mount.destination()));
    let names = names.filter_map(|path| path.strip_prefix("/dev/").map(str::to_owned));
    let plain = names.filter(|name| !name.contains('/'));
    plain.map(|name| Ok(Entry::Directory(c_string("mounts[].destination", &name)?))).collect()
}
