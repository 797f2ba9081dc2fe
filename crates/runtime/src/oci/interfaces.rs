//! Interfaces of the host that a container gets (`linux.netDevices`): moved with their addresses, under their
//! new names, before the container's process is there.
//!
//! Owns the few messages of rtnetlink that this takes. They go back if the container is not made after all. One
//! of hardware goes back to the host when the container's network namespace ends; the kernel sees to that.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxNetDevice, Spec};
use rustix::net::netdevice::name_to_index;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::thread::LinkNameSpaceType;
use sys::Errno;
use sys::process::Namespaces;

use super::fault::Fault;
use super::users::{self, Open};

/// `IFNAMSIZ` without its NUL.
const LONGEST: usize = 15;

/// An interface that is to be moved, as the host has it.
struct Device {
    name: String,
    index: u32,
    addresses: Vec<Address>,
    is_up: bool,
    /// What the container calls it.
    new: String,
}

/// The interfaces that a container was given, until it is made: unless it is, they go back.
pub(super) struct Given {
    host: Socket,
    container: Socket,
    own: OwnedFd,
    /// With their numbers in the container's namespace.
    moved: Vec<(Device, u32)>,
}

/// Moves what the specification names. The network namespace that it is moved to is among the open ones then.
/// All are looked for before the first is moved.
pub(super) fn give(spec: &Spec, namespaces: &mut Open) -> Result<Option<Given>, Fault> {
    let Some(linux) = spec.linux() else { return Ok(None) };
    let wished: BTreeMap<&String, &LinuxNetDevice> = linux.net_devices().iter().flatten().collect();
    if wished.is_empty() {
        return Ok(None);
    }
    let netns = namespace(linux, namespaces)?;
    let host = Socket::open()?;
    let found = wished.into_iter().map(|(name, device)| find(&host, name, device));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let container = inside(&netns, Socket::open)?;
    container.bring_up_loopback()?;
    let own = users::open(Path::new(OWN))?;
    let mut given = Given { host, container, own, moved: Vec::new() };
    for device in found {
        given.hand_over(device, &netns)?;
    }
    namespaces.push((Namespaces::NET, netns));
    Ok(Some(given))
}

fn find(host: &Socket, name: &str, device: &LinuxNetDevice) -> Result<Device, Fault> {
    let new = device.name().as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
    if !is_name(new) {
        return Err(Fault::Config(format!("linux.netDevices: {new:?} is no name of an interface")));
    }
    let failed = |action| failed(action, name);
    let index = name_to_index(&host.0, name).map_err(failed("find"))?;
    let addresses = host.addresses(index).map_err(failed("list the addresses of"))?;
    let is_up = host.is_up(index).map_err(failed("look at"))?;
    Ok(Device { name: name.to_owned(), index, addresses, is_up, new: new.to_owned() })
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(Errno) -> Fault + use<> {
    let name = name.to_owned();
    move |errno| Fault::Interface { action, name, errno }
}

impl Given {
    fn hand_over(&mut self, device: Device, netns: &OwnedFd) -> Result<(), Fault> {
        let failed = |action| failed(action, &device.name);
        let (host, container) = (&self.host, &self.container);
        let before = container.links().map_err(failed("look for"))?;
        host.hand_over(device.index, netns, &device.new).map_err(failed("move"))?;
        let index = container.arrived(&device.new, &before).map_err(failed("find again"))?;
        let give = device.addresses.iter().try_for_each(|address| container.add(index, address));
        let given = give.map_err(failed("give its addresses to"));
        let up = container.bring_up(index).map_err(failed("bring up"));
        self.moved.push((device, index));
        given.and(up)
    }

    /// The container is made: they are its own.
    pub(super) fn keep(mut self) {
        self.moved.clear();
    }
}

impl Drop for Given {
    /// The first failure is the one to tell. What cannot go back goes with its namespace, or stays there.
    fn drop(&mut self) {
        for (device, index) in self.moved.drain(..).rev() {
            if self.container.hand_over(index, &self.own, &device.name).is_err() {
                continue;
            }
            let Ok(index) = name_to_index(&self.host.0, &device.name) else { continue };
            if device.is_up {
                let _ = self.host.bring_up(index);
            }
            // Some the kernel gives it by itself when it is up.
            for address in &device.addresses {
                let _ = self.host.add(index, address);
            }
        }
    }
}

/// What the kernel takes, which fills in a number for a `%d`.
fn is_name(name: &str) -> bool {
    let given = name.replacen("%d", "", 1);
    !name.is_empty() && name.len() <= LONGEST && !given.contains(['/', ' ', ':', '%'])
}

/// The container's network namespace, made now if it is to be a new one.
fn namespace(linux: &Linux, namespaces: &Open) -> Result<OwnedFd, Fault> {
    let mut all = linux.namespaces().iter().flatten();
    let asked = all.find(|one| one.typ() == LinuxNamespaceType::Network).ok_or_else(|| {
        Fault::config("linux.netDevices needs a network namespace of the container's own")
    })?;
    if let Some(path) = asked.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
        return users::open(path);
    }
    match namespaces.iter().find(|(kind, _)| *kind == Namespaces::USER) {
        Some((_, users)) => Ok(sys::userns::new_net(users)?),
        None => new_namespace(),
    }
}

/// A namespace that this process leaves again at once.
fn new_namespace() -> Result<OwnedFd, Fault> {
    let own = users::open(Path::new(OWN))?;
    sys::process::unshare(Namespaces::NET)
        .map_err(|errno| Fault::Call("make a network namespace", errno))?;
    let new = users::open(Path::new(OWN));
    enter(&own, BACK)?;
    new
}

/// The same, with its loopback interface up, as every start of a container has it.
pub(super) fn new_with_loopback() -> Result<OwnedFd, Fault> {
    let netns = new_namespace()?;
    inside(&netns, Socket::open)?.bring_up_loopback()?;
    Ok(netns)
}

/// Where this thread is.
const OWN: &str = "/proc/thread-self/ns/net";

fn inside<T>(netns: &OwnedFd, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let own = users::open(Path::new(OWN))?;
    enter(netns, "enter the container's network namespace")?;
    let done = work();
    enter(&own, BACK)?;
    done
}

/// What is done last there.
const BACK: &str = "return to the own network namespace";

fn enter(netns: &OwnedFd, what: &'static str) -> Result<(), Fault> {
    use std::os::fd::AsFd;
    let kind = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(netns.as_fd(), kind)
        .map_err(|errno| Fault::Call(what, errno))
}

/// A socket of rtnetlink, in the namespace that it was opened in.
struct Socket(OwnedFd);

/// An address as the kernel tells it: family, prefix, flags, scope, and what it is.
struct Address {
    head: [u8; 4],
    attributes: Vec<(u16, Vec<u8>)>,
}

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
/// `IFA_ADDRESS`, `IFA_LOCAL` and `IFA_BROADCAST`: what an address is made of.
const PARTS: [u16; 3] = [1, 2, 4];
/// `IFA_FLAGS`.
const FLAGS: u16 = 8;
/// `IFA_F_PERMANENT`.
const PERMANENT: u32 = 0x80;
/// `IFF_UP`.
const UP: u32 = 1;

impl Socket {
    fn open() -> Result<Self, Fault> {
        // The first protocol is that of links and addresses.
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        socket_with(family, kind, SocketFlags::CLOEXEC, None)
            .map(Self)
            .map_err(|errno| Fault::Call("open a netlink socket", errno))
    }

    /// Those that somebody has given it and that are good anywhere. The others belong to where it was.
    fn addresses(&self, index: u32) -> Result<Vec<Address>, Errno> {
        let listed = self.ask(GET_ADDRESS, DUMP, &[0; 8])?;
        let ours = listed.iter().filter_map(|payload| {
            let (head, rest) = payload.split_first_chunk::<4>()?;
            let (number, rest) = rest.split_first_chunk::<4>()?;
            let all = attributes(rest);
            let flags = all.iter().find(|(kind, _)| *kind == FLAGS);
            let flags =
                flags.and_then(|(_, value)| Some(u32::from_ne_bytes(value[..].try_into().ok()?)));
            let is_kept = flags.unwrap_or(head[2].into()) & PERMANENT != 0 && head[3] == 0;
            let is_ours = u32::from_ne_bytes(*number) == index;
            let attributes = all.into_iter().filter(|(kind, _)| PARTS.contains(kind)).collect();
            (is_kept && is_ours).then_some(Address { head: *head, attributes })
        });
        Ok(ours.collect())
    }

    fn hand_over(&self, index: u32, netns: &OwnedFd, name: &str) -> Result<(), Errno> {
        const NAME: u16 = 3;
        const NAMESPACE: u16 = 28;
        let mut body = link(index, 0);
        put(&mut body, NAME, &[name.as_bytes(), b"\0"].concat());
        put(&mut body, NAMESPACE, &netns.as_raw_fd().to_ne_bytes());
        self.ask(NEW_LINK, ACKNOWLEDGE, &body).map(drop)
    }

    fn add(&self, index: u32, address: &Address) -> Result<(), Errno> {
        let mut body = [&address.head[..], &index.to_ne_bytes()].concat();
        for (kind, value) in &address.attributes {
            put(&mut body, *kind, value);
        }
        self.ask(NEW_ADDRESS, ACKNOWLEDGE | CREATE | EXCLUSIVE, &body).map(drop)
    }

    fn bring_up(&self, index: u32) -> Result<(), Errno> {
        self.ask(NEW_LINK, ACKNOWLEDGE, &link(index, UP)).map(drop)
    }

    fn bring_up_loopback(&self) -> Result<(), Fault> {
        let up = name_to_index(&self.0, "lo").and_then(|index| self.bring_up(index));
        up.map_err(|errno| Fault::Call("bring up the loopback interface", errno))
    }

    fn is_up(&self, index: u32) -> Result<bool, Errno> {
        let told = self.ask(GET_LINK, ACKNOWLEDGE, &link(index, 0))?;
        let flags = told.first().and_then(|payload| payload.get(8..12)?.try_into().ok());
        Ok(flags.map(u32::from_ne_bytes).ok_or(Errno::PROTO)? & UP != 0)
    }

    /// The numbers of all.
    fn links(&self) -> Result<BTreeSet<u32>, Errno> {
        let listed = self.ask(GET_LINK, DUMP, &[0; 16])?;
        let number = |payload: &Vec<u8>| payload.get(4..8)?.try_into().ok().map(u32::from_ne_bytes);
        Ok(listed.iter().filter_map(number).collect())
    }

    /// The number of what has come by a name; one that the kernel has made is known by what was there before.
    fn arrived(&self, name: &str, before: &BTreeSet<u32>) -> Result<u32, Errno> {
        if !name.contains('%') {
            return name_to_index(&self.0, name);
        }
        let now = self.links()?;
        let mut new = now.difference(before);
        match (new.next(), new.next()) {
            (Some(index), None) => Ok(*index),
            // Somebody else brings interfaces there meanwhile.
            _ => Err(Errno::NODEV),
        }
    }

    /// Sends one message and hears the answer out.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let length = u32::try_from(HEAD + body.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        send(&self.0, &message, SendFlags::empty())?;
        let (mut told, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let (_, length) = recv(&self.0, &mut piece[..], RecvFlags::empty())?;
            if heard(&piece[..length], &mut told)? == Heard::All {
                return Ok(told);
            }
        }
    }
}

/// The length of a message's head.
const HEAD: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    All,
    Part,
}

/// Takes the messages of one datagram apart.
fn heard(mut bytes: &[u8], told: &mut Vec<Vec<u8>>) -> Result<Heard, Errno> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    while let Some((head, _)) = bytes.split_first_chunk::<HEAD>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let payload = bytes.get(HEAD..length).ok_or(Errno::PROTO)?;
        match u16::from_ne_bytes([head[4], head[5]]) {
            DONE => return Ok(Heard::All),
            ERROR => {
                let (number, _) = payload.split_first_chunk::<4>().ok_or(Errno::PROTO)?;
                return match i32::from_ne_bytes(*number) {
                    0 => Ok(Heard::All),
                    number => Err(Errno::from_raw_os_error(number.saturating_neg())),
                };
            }
            _ => told.push(payload.to_vec()),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Heard::Part)
}

/// An `ifinfomsg` that changes whether a link is up.
fn link(index: u32, flags: u32) -> Vec<u8> {
    [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &UP.to_ne_bytes()].concat()
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // What is put here are names, numbers and addresses.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        all.push((u16::from_ne_bytes([head[2], head[3]]) & 0x3fff, value.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_one_number_of_the_kernels() {
        for name in ["eth0", "eth%d", "%d", "v%dx", "123456789012345"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a%", "a%s", "a%d%d", "%%dd", "a/b", "a b", "a:1", "1234567890123456"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn attributes_are_read_as_they_are_put() {
        let mut body = Vec::new();
        put(&mut body, 3, b"eth0\0");
        put(&mut body, 28, &7_i32.to_ne_bytes());
        assert_eq!(body.len(), 12 + 8);
        let want = vec![(3, b"eth0\0".to_vec()), (28, 7_i32.to_ne_bytes().to_vec())];
        assert_eq!(attributes(&body), want);
        assert_eq!(attributes(&[1, 0, 0, 0, 9]), [], "shorter than its own head");
    }

    #[test]
    fn an_answer_ends_with_an_error_or_with_its_end() {
        let message = |kind: u16, payload: &[u8]| {
            let length = u32::try_from(HEAD + payload.len()).unwrap().to_ne_bytes();
            [&length[..], &kind.to_ne_bytes(), &[0; 10], payload].concat()
        };
        let mut told = Vec::new();
        let part = message(20, b"four");
        assert_eq!(heard(&part, &mut told), Ok(Heard::Part));
        assert_eq!(heard(&[part, message(3, &[0; 4])].concat(), &mut told), Ok(Heard::All));
        assert_eq!(told, [b"four", b"four"]);
        let refused = message(2, &(-1_i32).to_ne_bytes());
        assert_eq!(heard(&refused, &mut told), Err(Errno::PERM));
        assert_eq!(heard(&message(2, &[0; 4]), &mut told), Ok(Heard::All));
        assert_eq!(
            heard(&[99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut told),
            Err(Errno::PROTO)
        );
    }
}
