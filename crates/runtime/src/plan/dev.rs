//! What `/dev` holds.
//!
//! Nodes are always our own, on a tmpfs of our own: an image's `/dev/null` may be anything
//! (CVE-2025-31133).

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::PlanError;
use super::text::{c_string, clean, place};
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
}

/// The content of `/dev`, and devices elsewhere.
pub(super) fn plan(devices: &[LinuxDevice], console: Console) -> Result<Devices, PlanError> {
    let mut content = Vec::new();
    let mut elsewhere = Vec::new();
    let mut own = Vec::new();
    for device in devices {
        let path = clean(device.path());
        let node = node(device, &path)?;
        match path.strip_prefix("/dev/") {
            // Engines that give a container all of the host's name this one too, and it would be another
            // devpts's.
            Some("ptmx") => {}
            Some(name) => own.push((name.to_owned(), node)),
            None => elsewhere.push((place("linux.devices", device.path())?, node)),
        }
    }
    for (name, major, minor) in STANDARD {
        if own.iter().all(|(taken, _)| taken != name) {
            let node =
                Node { kind: NodeKind::Character(major, minor), mode: 0o666, uid: 0, gid: 0 };
            content.push(Entry::Node(c_string("linux.devices", name)?, node));
        }
    }
    let is_taken = |name: &str| own.iter().any(|(taken, _)| taken == name);
    for (name, target) in LINKS.into_iter().filter(|(name, _)| !is_taken(name)) {
        content.push(Entry::Link(c_string("/dev", name)?, c_string("/dev", target)?));
    }
    if console == Console::Present && !is_taken("console") {
        content.push(Entry::File(c"console".to_owned()));
    }
    for (name, node) in own {
        content.push(Entry::Node(c_string("linux.devices", &name)?, node));
    }
    Ok(Devices { content, elsewhere })
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
