//! What is known of a container between two commands, and what it is doing now.
//!
//! A directory for each container under the state root, with `state.json`, a copy of its specification,
//! a lock, and, until it is started, the socket that its process waits at. Everything is replaced whole,
//! nothing is synced: the state root does not outlive a boot.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cgroup::{Hierarchies, Noted};
use oci_spec::runtime::Spec;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use sys::Errno;

use super::arguments::Globals;
use super::fault::Fault;
use super::in_place::Attached;
use super::rdt;

/// The name of the socket.
const DOOR: &str = "start.sock";

/// The name of what was claimed.
const GROUP: &str = "cgroup.json";

/// The name of where a root is attached.
const ROOT: &str = "root.json";

/// The name of what is made in resctrl.
const SHARES: &str = "rdt.json";

/// Where compiled filters are kept, beside the containers: it is no id.
const FILTERS: &str = "@filters";

/// In the name of a directory that is being removed, and in no id.
const GONE: char = '~';

/// The longest id.
const LONGEST: usize = 1024;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Its process waits for `start`.
    Created,
    /// Its process runs.
    Running,
    /// It is frozen.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// What `create` writes down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) id: String,
    /// As the host sees it.
    pub(super) pid: i32,
    /// Clock ticks after boot: with the pid it names one process and no other.
    pub(super) started: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// RFC 3339.
    pub(super) created: String,
    /// Who called `create`.
    pub(super) owner: u32,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) cgroup: Group,
    /// What its process does after it was started, to explain what goes wrong then.
    pub(super) last: crate::start::LastSteps,
    /// Nothing of its specification is left to do for `start` and `delete`: no hooks, no filter that asks. To read
    /// one, which has four hundred names of system calls, is a tenth of what either takes.
    #[serde(default)]
    pub(super) is_plain: bool,
    /// Where its root is, if that is among the mounts of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) attached: Option<Attached>,
    /// Where it is in resctrl, if it is anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shares: Option<rdt::Groups>,
}

/// A control group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) parent: String,
    pub(super) name: String,
    /// Its own number: another container may have one of the same path by now. `None` until it is made.
    pub(super) number: Option<u64>,
    /// systemd's unit, if systemd has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
    /// Where the hierarchies were that it was made in, where it takes long to find them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) hierarchies: Vec<Hierarchy>,
}

/// As [`cgroup::Noted`]: options, mount, device and number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hierarchy(String, String, u64, u64);

impl Group {
    /// Notes where the hierarchies are.
    pub(super) fn note(self, hierarchies: &Hierarchies) -> Self {
        let noted = hierarchies.note().into_iter();
        let hierarchies =
            noted.map(|one| Hierarchy(one.options, one.mount, one.device, one.number)).collect();
        Self { hierarchies, ..self }
    }

    /// What was noted.
    pub(super) fn noted(&self) -> Vec<Noted> {
        let one = |Hierarchy(options, mount, device, number): &Hierarchy| Noted {
            options: options.clone(),
            mount: mount.clone(),
            device: *device,
            number: *number,
        };
        self.hierarchies.iter().map(one).collect()
    }
}

/// A unit of systemd's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The socket of the bus that systemd was asked by.
    pub(super) bus: PathBuf,
}

/// The state root.
#[derive(Debug)]
pub(super) struct Home<'a> {
    path: PathBuf,
    /// Where is told what goes wrong.
    pub(super) globals: &'a Globals,
}

/// The directory of one container.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Held for its lock by those who create, start or delete. Whoever looks or signals needs none: records
    /// are replaced whole, and a hook or a frozen process may keep the others waiting.
    _lock: Option<OwnedFd>,
}

impl<'a> Home<'a> {
    pub(super) fn new(globals: &'a Globals) -> Result<Self, Fault> {
        let path = globals.root.clone().map_or_else(default_root, Ok)?;
        Ok(Self { path, globals })
    }

    /// The directory of a container that is there.
    pub(super) fn find(&self, id: &str) -> Result<Place, Fault> {
        Ok(Place { path: self.path(id)?, _lock: None })
    }

    /// The same, with nobody else who creates, starts or deletes it.
    pub(super) fn take(&self, id: &str) -> Result<Place, Fault> {
        Place::lock(self.path(id)?)
    }

    /// Makes the directory of a new container.
    pub(super) fn reserve(&self, id: &str) -> Result<Place, Fault> {
        let path = self.path(id)?;
        let make = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(Fault::file("make", &self.path))?;
        self.sweep();
        match make(&path) {
            Ok(()) => Place::lock(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Fault::Exists),
            Err(error) => Err(Fault::File("make", path, error)),
        }
    }

    /// Takes away what is left of containers whose removal was killed.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(GONE) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }

    /// The ids of all containers, in order.
    pub(super) fn ids(&self) -> Result<Vec<String>, Fault> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Fault::file("list", &self.path))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        // What is no id is being removed, or somebody else's.
        let mut ids: Vec<String> = names.filter(|name| is_id(name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn path(&self, id: &str) -> Result<PathBuf, Fault> {
        if is_id(id) { Ok(self.path.join(id)) } else { Err(Fault::BadId { id: id.to_owned() }) }
    }
}

fn is_id(id: &str) -> bool {
    let is_short = !id.is_empty() && id.len() <= LONGEST;
    is_short && id.chars().all(may_be_in_id) && !matches!(id, "." | "..")
}

pub(super) fn may_be_in_id(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_+-.".contains(letter)
}

/// The state of root's containers, and of each user's own.
fn default_root() -> Result<PathBuf, Fault> {
    if rustix::process::geteuid().is_root() {
        return Ok("/run/dhow-oci".into());
    }
    // A directory in /tmp could be anybody's.
    let directory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let directory = directory.filter(|directory| directory.is_absolute());
    let missing = || Fault::config("XDG_RUNTIME_DIR is not set: say where the state is by --root");
    Ok(directory.ok_or_else(missing)?.join("dhow-oci"))
}

impl Place {
    fn lock(path: PathBuf) -> Result<Self, Fault> {
        let name = path.join("lock");
        // Made by whoever comes first, also in what a `create` has left that was killed at once. One that
        // is removed has another name by then.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = match options.open(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Fault::NoContainer),
            file => OwnedFd::from(file.map_err(Fault::file("open", &name))?),
        };
        // A lock of this process alone: the container's own process, which has a copy of the descriptor
        // until it executes its program, does not hold it.
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| Fault::Call("lock the container", errno))?;
        // It may have been deleted while we waited, and another one of its name be there by now.
        let ours = rustix::fs::fstat(&file).map(|stat| (stat.st_dev, stat.st_ino));
        let there = rustix::fs::stat(&name).map(|stat| (stat.st_dev, stat.st_ino));
        match (ours, there) {
            (Ok(ours), Ok(there)) if ours == there => Ok(Self { path, _lock: Some(file) }),
            _ => Err(Fault::NoContainer),
        }
    }

    /// Where criu works.
    pub(super) fn work(&self) -> PathBuf {
        self.path.join("criu")
    }

    /// Where the socket is at which a container says that it is ready.
    pub(super) fn notify(&self) -> PathBuf {
        self.path.join("notify")
    }

    /// Where compiled filters are kept.
    pub(super) fn filters(&self) -> PathBuf {
        self.path.with_file_name(FILTERS)
    }

    /// Where its process waits until it is started.
    pub(super) fn door(&self) -> PathBuf {
        self.path.join(DOOR)
    }

    /// Comes to the door, if its process waits there. The door of one whose `start` was killed leads nowhere: a
    /// program that runs listens no more. A visitor who says nothing is not heeded.
    pub(super) fn visit(&self) -> Result<Option<OwnedFd>, Fault> {
        match self.connect() {
            Ok(visitor) => Ok(Some(visitor)),
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(None),
            Err(errno) => Err(Fault::Call("look for the container's process", errno)),
        }
    }

    fn connect(&self) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let kind = SocketType::SEQPACKET;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
        let (address, _directory) = self.address()?;
        rustix::net::connect(&socket, &address)?;
        Ok(socket)
    }

    /// The door's address, however long the path of the directory is: an address takes 107 bytes. It
    /// holds for as long as the descriptor is open.
    pub(super) fn address(&self) -> Result<(SocketAddrUnix, OwnedFd), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{DOOR}", directory.as_raw_fd());
        Ok((SocketAddrUnix::new(path)?, directory))
    }

    /// Writes down what it is. From now on it is there for others.
    pub(super) fn save(&self, record: &Record, spec: &Spec) -> Result<(), Fault> {
        self.write("config.json", spec)?;
        self.write("state.json", record)
    }

    /// Writes down which control group is about to be made, so that one whose making was killed is found.
    pub(super) fn claim(&self, group: &Group) -> Result<(), Fault> {
        self.write(GROUP, group)
    }

    /// The control group that may have been made.
    pub(super) fn claimed(&self) -> Result<Group, Fault> {
        self.read(GROUP)
    }

    /// Writes down where a root is about to be attached, so that one whose creation was killed is found.
    pub(super) fn note(&self, root: &Attached) -> Result<(), Fault> {
        self.write(ROOT, root)
    }

    /// The same of what is about to be made in resctrl.
    pub(super) fn note_shares(&self, groups: &rdt::Groups) -> Result<(), Fault> {
        self.write(SHARES, groups)
    }

    /// What may have been made there, if anything was to be.
    pub(super) fn noted_shares(&self) -> Result<Option<rdt::Groups>, Fault> {
        match self.read(SHARES) {
            Err(Fault::NoContainer) => Ok(None),
            read => read.map(Some),
        }
    }

    /// The root that may have been attached, if any was to be.
    pub(super) fn noted(&self) -> Result<Option<Attached>, Fault> {
        match self.read(ROOT) {
            Err(Fault::NoContainer) => Ok(None),
            read => read.map(Some),
        }
    }

    pub(super) fn record(&self) -> Result<Record, Fault> {
        self.read("state.json")
    }

    pub(super) fn spec(&self) -> Result<Spec, Fault> {
        self.read("config.json")
    }

    /// The specification, if there is anything to do that it says.
    pub(super) fn spec_to_do(&self, record: &Record) -> Result<Option<Spec>, Fault> {
        if record.is_plain { Ok(None) } else { self.spec().map(Some) }
    }

    /// Takes all of it away: at once for others, under a name that is no id, and then bit by bit.
    pub(super) fn remove(self) -> Result<(), Fault> {
        let failed = |source| Fault::File("remove", self.path.clone(), source);
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!("{GONE}{}", std::process::id()));
        let gone = self.path.with_file_name(name);
        fs::rename(&self.path, &gone).map_err(failed)?;
        // What is left of it if we are killed now goes with the next creation.
        drop(fs::remove_dir_all(&gone));
        Ok(())
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Fault> {
        let path = self.path.join(name);
        let staged = self.path.join(format!("{name}.new"));
        let bytes = serde_json::to_vec(value).map_err(|error| Fault::Json(path.clone(), error))?;
        let written = File::create(&staged).and_then(|mut file| file.write_all(&bytes));
        written.map_err(Fault::file("write", &staged))?;
        fs::rename(&staged, &path).map_err(Fault::file("write", &path))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Fault> {
        let path = self.path.join(name);
        let bytes = match fs::read(&path) {
            // One that is being created, or whose creation was killed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Fault::NoContainer),
            bytes => bytes.map_err(Fault::file("read", &path))?,
        };
        serde_json::from_slice(&bytes).map_err(|error| Fault::Json(path, error))
    }
}

/// The process of a container, while it is there.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

impl Process {
    /// Finds that of a record, if it lives. Its number may be another process's by now: that one began later.
    pub(super) fn find(record: &Record) -> Result<Option<Self>, Fault> {
        let Some(pid) = Pid::from_raw(record.pid) else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            pidfd => pidfd.map_err(|errno| Fault::Call("open the process", errno))?,
        };
        // Read after it was opened: the number cannot change hands behind a pidfd.
        Ok(match beginning(pid) {
            Some((started, true)) if started == record.started => Some(Self { pid, pidfd }),
            Some(_) | None => None,
        })
    }
}

/// When a process began, in ticks after boot, and whether it is more than a zombie.
pub(super) fn beginning(pid: Pid) -> Option<(u64, bool)> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = sys::kernel_fs::read(&path).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in parentheses, may have anything in it.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((started, !matches!(state, "Z" | "X")))
}
