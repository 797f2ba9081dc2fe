//! Scopes: cgroups that systemd makes and knows of, for hosts where it is to be the only one who does.
//!
//! Owns what systemd is asked for over D-Bus. A scope is made around a process that is there, so a
//! [`Keeper`] holds its place until the container's own is born in it. Everything else (limits, devices,
//! freezing, ends) goes through the kernel's files as in any other cgroup, which systemd has delegated;
//! it is told of limits so that it does not undo them.
//!
//! The form of messages is our own: of the crates, rustbus says its numbers of users as they are in its
//! own user namespace, where the bus knows others, and zbus runs an executor on threads, before a
//! container's init may have any.

mod annotation;
mod bus;
mod properties;
mod scope;
#[cfg(test)]
mod tests;
mod wire;

use std::path::{Path, PathBuf};

use sys::Errno;
use sys::process::Child;
use sys::signal::Signal;

pub use annotation::{BadProperty, Wish};
use bus::Bus;
pub use bus::{BusError, bus_socket};
pub use scope::{BadScope, Scope};
use wire::{Arguments, Method, Property};

use crate::change::Before;
use crate::detect::{Controller, Hierarchies, Version};
use crate::devices::DeviceRules;
use crate::error::CgroupError;
use crate::group::Cgroup;
use crate::limits::Limits;
use crate::plan::Current;

/// The manager's name, object and interface.
const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// What an error of the manager's is called if there is such a unit already.
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// The same if there is none.
const NO_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Where root reaches the host's systemd without a bus between, and by the bus. The first is the way of
/// systemctl, is there where no bus daemon is, and costs half: the bus passes each word on.
const HOST_DIRECT: &str = "/run/systemd/private";
const HOST_BUS: &str = "/run/dbus/system_bus_socket";

/// What there is if the host was booted with systemd: sd_booted(3).
const BOOTED: &str = "/run/systemd/system";

/// Where a user finds the same of the user's own systemd: below the directory that logind makes for each user.
const USERS: &str = "/run/user";
const USER_DIRECT: &str = "systemd/private";
const USER_BUS: &str = "bus";

/// The slice that scopes of an ordinary user's are in, as Podman and crun have it.
pub const USER_SLICE: &str = "user.slice";

/// Whether the host was booted with systemd.
#[must_use]
pub fn is_booted_with_systemd() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Where the host's systemd is spoken to by root.
#[must_use]
pub fn host_socket() -> &'static Path {
    let direct = Path::new(HOST_DIRECT);
    if direct.exists() { direct } else { Path::new(HOST_BUS) }
}

/// Where a user's own systemd is spoken to, by the user's number on the host; it need not be there.
#[must_use]
pub fn user_socket(uid: u32) -> PathBuf {
    let own = Path::new(USERS).join(uid.to_string());
    let direct = own.join(USER_DIRECT);
    if direct.exists() { direct } else { own.join(USER_BUS) }
}

/// Where the systemd is spoken to whose cgroups this process may use: the host's, or, if it works for an ordinary
/// user, that user's own.
#[must_use]
pub fn own_socket() -> PathBuf {
    let user = if sys::rootless::is_member() { sys::userns::owner() } else { None };
    user.map_or_else(|| host_socket().to_owned(), user_socket)
}

/// Why systemd has not done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// It could not be asked, or refused.
    #[error("ask systemd")]
    Bus(#[from] BusError),
    /// A job of its ended in another way than it should.
    #[error("systemd's job for {unit} ended as {result:?}")]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word.
        result: String,
    },
    /// What it should answer with was not in the answer.
    #[error("systemd answers {0} with nothing that is known")]
    Answer(&'static str),
    /// Nobody can hold the place.
    #[error("start a process for {unit}")]
    Keeper {
        /// The unit.
        unit: String,
        /// Why.
        source: Errno,
    },
    /// On version 1 systemd writes the lists of devices anew, and cannot be told these.
    #[error("systemd has no words for these device rules, which it would undo on cgroup v1")]
    Devices,
    /// What it makes lies where this process may make nothing.
    #[error(
        "systemd keeps its cgroups in {root:?}, and this process may make some in {part} alone"
    )]
    Elsewhere {
        /// systemd's own, below the hierarchy's root.
        root: String,
        /// What was delegated to this process.
        part: PathBuf,
    },
    /// The cgroup itself.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl SystemdError {
    /// Whether there is such a unit already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Bus(BusError::Call { name, .. }) if name == EXISTS)
    }
}

/// A process that keeps a new scope from being empty, and ends when this is dropped: once the
/// container's own process is in there.
#[derive(Debug)]
#[must_use = "the scope goes with its last process"]
pub struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = sys::process::pidfd_send_signal(&self.0.pidfd, Signal::KILL);
        let _ = sys::process::wait(&self.0.pidfd);
    }
}

/// What a new scope is to have.
#[derive(Debug, Clone, Copy)]
pub struct Wished<'a> {
    /// Limits.
    pub limits: &'a Limits,
    /// Which devices may be used.
    pub devices: &'a DeviceRules,
    /// What else, which overrides what runtimes usually say.
    pub properties: &'a [Wish],
}

/// A change of limits that is to be taken back.
#[derive(Debug)]
pub struct Change<'a> {
    /// What the cgroup's files had.
    pub before: Before,
    /// The limits that there were.
    pub old: &'a Limits,
    /// Those of the change.
    pub new: &'a Limits,
}

/// systemd, the host's or a user's own.
#[derive(Debug)]
pub struct Manager {
    bus: Bus,
    /// The name that the bus has given it: who else says something of its jobs is not believed.
    own: String,
    /// Where its own cgroup is, below each hierarchy's root: nothing for the host's.
    root: String,
}

impl Manager {
    /// Speaks to the systemd whose bus is at this socket.
    ///
    /// # Errors
    /// There is no bus, or no systemd on it.
    pub fn connect(socket: &Path) -> Result<Self, SystemdError> {
        let mut bus = Bus::connect(socket)?;
        let interface = "org.freedesktop.DBus.Properties";
        let get = Method { destination: NAME, path: OBJECT, interface, member: "Get" };
        let answer = bus.ask(get, Arguments::Texts(&[MANAGER, "ControlGroup"]))?;
        let root = answer.text.ok_or(SystemdError::Answer("Get"))?;
        Ok(Self { bus, own: answer.from, root: root.trim_matches('/').to_owned() })
    }

    /// Where the slice of a scope is, below each hierarchy's root as this process has it: a user's are the part
    /// that was delegated.
    ///
    /// # Errors
    /// systemd's own cgroup is not below that part.
    pub fn parent(&self, hierarchies: &Hierarchies, scope: &Scope) -> Result<String, SystemdError> {
        let root = hierarchies.below_part(&self.root).ok_or_else(|| SystemdError::Elsewhere {
            root: self.root.clone(),
            part: hierarchies.part().unwrap_or_else(|| Path::new("")).to_owned(),
        })?;
        Ok(match (root, scope.parent()) {
            ("", parent) => parent,
            (root, parent) if parent.is_empty() => root.to_owned(),
            (root, parent) => format!("{root}/{parent}"),
        })
    }

    /// Has systemd move this process into a new scope, from wherever it is. A login session of an ordinary user's
    /// lies beside what is delegated to the user; from the scope, which lies in it, cgroups can be made and processes
    /// be born in them.
    ///
    /// # Errors
    /// systemd refuses.
    pub fn enter(&mut self, scope: &Scope) -> Result<(), SystemdError> {
        let unit = scope.unit();
        self.listen()?;
        let all = properties::of_own(scope, rustix::process::getpid());
        let job = self.ask("StartTransientUnit", Arguments::Transient(unit, "fail", &all))?;
        self.wait(unit, &job.ok_or(SystemdError::Answer("StartTransientUnit"))?)
    }

    /// Makes a scope with these limits.
    ///
    /// # Errors
    /// systemd refuses, or the kernel does; then there is none.
    pub fn create(
        &mut self,
        hierarchies: &Hierarchies,
        scope: &Scope,
        wished: Wished<'_>,
    ) -> Result<(Cgroup, Keeper), SystemdError> {
        let Wished { limits, devices, properties } = wished;
        let parent = self.parent(hierarchies, scope)?;
        let version = version(hierarchies);
        let mut wishes = properties::of_limits(limits, &Current::NEW, version);
        if version == Version::V1 {
            wishes.extend(properties::of_devices(devices).ok_or(SystemdError::Devices)?);
        }
        wishes.extend(properties.iter().map(|wish| wish.0.clone()));
        let keeper = self.start(scope, wishes, version)?;
        let made = Cgroup::adopt(hierarchies, &parent, scope.unit(), limits, devices);
        match made {
            Ok(cgroup) => Ok((cgroup, keeper)),
            Err(error) => {
                // The first failure is the one to tell.
                drop(keeper);
                let _ = self.end(scope.unit());
                let left = Cgroup::open(hierarchies, &parent, scope.unit());
                let _ = left.and_then(|left| left.remove());
                Err(error.into())
            }
        }
    }

    /// Starts the unit around a process that does nothing.
    fn start(
        &mut self,
        scope: &Scope,
        wishes: Vec<Property>,
        version: Version,
    ) -> Result<Keeper, SystemdError> {
        let unit = scope.unit();
        let child = sys::process::placeholder();
        let child =
            child.map_err(|source| SystemdError::Keeper { unit: unit.to_owned(), source })?;
        let keeper = Keeper(child);
        let mut all = properties::of_new(scope, keeper.0.pid, version);
        all.retain(|(name, _)| !wishes.iter().any(|(wish, _)| wish == name));
        all.extend(wishes);
        self.listen()?;
        let arguments = Arguments::Transient(unit, "replace", &all);
        let job = match self.ask("StartTransientUnit", arguments) {
            // One that failed, and that nobody has forgotten yet.
            Err(BusError::Call { name, .. }) if name == EXISTS => {
                self.forget(unit)?;
                self.ask("StartTransientUnit", arguments)?
            }
            job => job?,
        };
        self.wait(unit, job.ok_or(SystemdError::Answer("StartTransientUnit"))?.as_str())?;
        Ok(keeper)
    }

    /// Changes limits, of those that are given. systemd is told once the kernel has taken them, and they are
    /// written once more then: it writes its own, which it rounds.
    ///
    /// # Errors
    /// The kernel or systemd refuses; then the kernel's files are as before.
    pub fn update(
        &mut self,
        cgroup: &Cgroup,
        unit: &str,
        limits: &Limits,
    ) -> Result<Before, SystemdError> {
        let before = cgroup.update(limits)?;
        match self.told_and_written(cgroup, unit, limits) {
            Ok(()) => Ok(before),
            Err(error) => {
                cgroup.put_back(before);
                Err(error)
            }
        }
    }

    /// Takes an update back, of which `old` are all the limits before it. Whoever does has an error to tell
    /// already, so that none comes from here.
    pub fn put_back(&mut self, cgroup: &Cgroup, unit: &str, change: Change<'_>) {
        let version = version(&cgroup.hierarchies);
        let current = cgroup.current(change.new).unwrap_or(Current::NEW);
        let told = properties::of_limits(change.new, &current, version);
        let old = properties::of_limits(change.old, &Current::NEW, version);
        let _ = self.tell(unit, &properties::before(&told, &old));
        // What systemd has just written is rounded.
        cgroup.put_back(change.before);
    }

    fn told_and_written(
        &mut self,
        cgroup: &Cgroup,
        unit: &str,
        limits: &Limits,
    ) -> Result<(), SystemdError> {
        let (current, version) = (cgroup.current(limits)?, version(&cgroup.hierarchies));
        self.tell(unit, &properties::of_limits(limits, &current, version))?;
        // The quota that is there by now is systemd's. The kernel has taken these values a moment ago: if it
        // does not any more, systemd's, which are the same but for rounding, are in force, and both agree.
        let _ = cgroup.update(&current.completed(limits));
        Ok(())
    }

    fn tell(&mut self, unit: &str, wishes: &[Property]) -> Result<(), SystemdError> {
        if !wishes.is_empty() {
            self.ask("SetUnitProperties", Arguments::Properties(unit, wishes))?;
        }
        Ok(())
    }

    /// Stops a unit, whose processes have ended, and has it forgotten; one that is gone is no error.
    ///
    /// # Errors
    /// systemd refuses, or does not come to an end.
    pub fn end(&mut self, unit: &str) -> Result<(), SystemdError> {
        self.listen()?;
        match self.begin_to_stop(unit)? {
            Some(job) => self.wait(unit, &job)?,
            None => return Ok(()),
        }
        self.forget(unit)
    }

    /// The same without waiting: it will be stopped, and forgets itself then. Whoever wants its name before
    /// that finds it taken ([`SystemdError::is_taken`]).
    ///
    /// # Errors
    /// systemd refuses.
    pub fn let_go(&mut self, unit: &str) -> Result<(), SystemdError> {
        self.begin_to_stop(unit).map(drop)
    }

    /// The job that stops a unit; none if there is no such unit.
    fn begin_to_stop(&mut self, unit: &str) -> Result<Option<String>, SystemdError> {
        match self.ask("StopUnit", Arguments::Texts(&[unit, "replace"])) {
            Ok(job) => job.ok_or(SystemdError::Answer("StopUnit")).map(Some),
            Err(BusError::Call { name, .. }) if name == NO_UNIT => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&mut self, unit: &str) -> Result<(), SystemdError> {
        match self.ask("ResetFailedUnit", Arguments::Texts(&[unit])) {
            Ok(_) => Ok(()),
            Err(BusError::Call { name, .. }) if name == NO_UNIT => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Has the ends of jobs told.
    fn listen(&mut self) -> Result<(), SystemdError> {
        let rule =
            format!("type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved'");
        self.bus.ask_bus("AddMatch", Arguments::Texts(&[&rule]))?;
        match self.ask("Subscribe", Arguments::None) {
            // Nobody has to be told twice.
            Ok(_) | Err(BusError::Call { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&mut self, unit: &str, job: &str) -> Result<(), SystemdError> {
        let result = self.bus.end_of(&self.own, job)?;
        if result == "done" {
            return Ok(());
        }
        Err(SystemdError::Job { unit: unit.to_owned(), result })
    }

    fn ask(&mut self, member: &str, arguments: Arguments<'_>) -> Result<Option<String>, BusError> {
        let method = Method { destination: NAME, path: OBJECT, interface: MANAGER, member };
        Ok(self.bus.ask(method, arguments)?.text)
    }
}

/// Which version systemd speaks of: that of the memory controller's hierarchy.
fn version(hierarchies: &Hierarchies) -> Version {
    hierarchies.home(Controller::Memory).unwrap_or(Version::V2)
}
