//! `create`, and `run`'s first half: everything of a container up to where its process waits.
//!
//! What fails takes with it what was made before it: the process, the control group, the directory.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use cgroup::Cgroup;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use sys::Errno;
use sys::mount::{Attributes, Depth, Propagation};

use super::arguments::{Create, Globals};
use super::bundle::Bundle;
use super::console::{self, Sockets};
use super::environment;
use super::fault::{self, Fault, Level};
use super::filter::{self, Filter};
use super::in_place::Attached;
use super::record::{self, Group, Home, Place, Record};
use super::restore::Past;
use super::scope::{self, Driver};
use super::state;
use super::users::{self, Open};
use super::{binds, interfaces, notify, rdt, shown};
use crate::hooks::{self, Hooks};
use crate::plan::{self, Customs, Entrance, Keyring, Orphan, Surroundings};
use crate::start::LastSteps;
use crate::step::Groups;
use crate::{CgroupEntry, HostFacts, Launch, LaunchError, Running};

/// A container whose process waits.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) place: Place,
    pub(super) record: Record,
    pub(super) running: Running,
}

/// Whether somebody stays with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// A terminal is ours to carry.
    Foreground,
    /// A terminal goes to a socket.
    Detached,
}

/// Creates a container.
pub(super) fn create(home: &Home<'_>, args: &Create, company: Company) -> Result<Created, Fault> {
    let mut bundle = Bundle::read(&args.bundle, &args.config)?;
    let place = home.reserve(&args.id.id)?;
    // Before it is given any.
    let is_unmapped = bundle.spec.linux().as_ref().is_some_and(users::is_unmapped);
    match in_place(&place, home.globals, args, &mut bundle, company) {
        Ok((record, running)) => {
            warn(home, &bundle);
            if is_unmapped {
                let text = "linux.uidMappings is missing: every id is itself, and the container's root the host's";
                fault::tell(home.globals, Level::Warning, &Fault::config(text));
            }
            fault::debug(home.globals, || {
                let Record { id, pid, cgroup, .. } = &record;
                let (root, parent) = (bundle.rootfs.display(), &cgroup.parent);
                format!(
                    "container {id}: process {pid} waits to be started; root {root}, control group {parent}/{}",
                    cgroup.name
                )
            });
            Ok(Created { place, record, running })
        }
        Err(fault) => {
            // The first failure is the one to tell.
            let detached =
                place.noted().and_then(|root| root.iter().try_for_each(Attached::detach));
            let removed = place.noted_shares();
            let removed = removed.and_then(|all| all.iter().try_for_each(rdt::Groups::remove));
            if detached.and(removed).is_ok() {
                let _ = place.remove();
            }
            Err(fault)
        }
    }
}

/// Tells of what is asked for and has no effect.
fn warn(home: &Home<'_>, bundle: &Bundle) {
    let Bundle { spec, unknown, letters, .. } = bundle;
    fault::warn_of_capabilities(home.globals, unknown, spec.process().as_ref());
    let listed =
        spec.process().as_ref().and_then(|process| process.user().additional_gids().clone());
    if environment::groups(spec) == Groups::Kept && listed.is_some_and(|all| !all.is_empty()) {
        let text = "process.user.additionalGids are left out: run.oci.keep_original_groups keeps the caller's groups";
        fault::tell(home.globals, Level::Warning, &Fault::config(text));
    }
    for told in letters {
        let text = format!("linux.resources.devices: {told}");
        fault::tell(home.globals, Level::Warning, &Fault::Config(text));
    }
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    if memory.and_then(|memory| memory.kernel()).is_some_and(|bytes| bytes != 0) {
        let text = "linux.resources.memory.kernel limits nothing in kernels since 5.16";
        fault::tell(home.globals, Level::Warning, &Fault::config(text));
    }
}

fn in_place(
    place: &Place,
    globals: &Globals,
    args: &Create,
    bundle: &mut Bundle,
    company: Company,
) -> Result<(Record, Running), Fault> {
    let wants = bundle.spec.process().as_ref().is_some_and(|p| p.terminal().unwrap_or(false));
    let sockets = Sockets::connect(&args.handles, wants, company)?;
    let namespaces = users::settle(&mut bundle.spec)?;
    let mut driver = Driver::of(globals, &bundle.spec, &args.id.id)?;
    let group = driver.group(&bundle.spec, &args.id.id)?;
    place.claim(&group)?;
    let (cgroup, keeper) = driver.make(&group, &bundle.spec)?;
    let about = (&cgroup, group.clone(), namespaces);
    let made = own_group(&cgroup, &bundle.spec)
        .and_then(|()| in_group(place, args, bundle, about, &sockets));
    // The container's own process is in there by now.
    drop(keeper);
    let made = made.and_then(|made| {
        scope::settle(&cgroup, &group, &bundle.spec)?;
        Ok(made)
    });
    if made.is_err() {
        let _ = scope::end(&cgroup, &group);
    }
    made
}

/// What comes once its control group is there, which nobody else has been in.
fn in_group(
    place: &Place,
    args: &Create,
    bundle: &Bundle,
    (cgroup, group, mut namespaces): (&Cgroup, Group, Open),
    sockets: &Sockets,
) -> Result<(Record, Running), Fault> {
    let group = Group { number: Some(cgroup.inode()?), ..group };
    place.claim(&group)?;
    let group = group.note(state::hierarchies()?);
    let given = interfaces::give(&bundle.spec, &mut namespaces)?;
    let made = among_its_namespaces(place, args, bundle, (cgroup, group, namespaces), sockets)?;
    if let Some(given) = given {
        given.keep();
    }
    Ok(made)
}

fn among_its_namespaces(
    place: &Place,
    args: &Create,
    bundle: &Bundle,
    (cgroup, group, mut namespaces): (&Cgroup, Group, Open),
    sockets: &Sockets,
) -> Result<(Record, Running), Fault> {
    let order = Order { place, args, bundle };
    if let Some(past) = &args.past {
        Past::open(&bundle.spec, &mut namespaces)?;
        let running =
            order.launched((cgroup, namespaces), None, |launch| past.make(place, launch))?;
        let record = order.describe(group, (running.pid, LastSteps::default()))?;
        order.save(&record)?;
        return Ok((record, running));
    }
    let shares = shares(place, bundle, &args.id.id)?;
    let door = listen(place)?;
    let ready = order
        .launched((cgroup, namespaces), Some(door.as_fd()), |launch| Ok(crate::launch(launch)?))?;
    // It has no children yet, which would have to be found.
    let pid = ready.pid().as_raw_nonzero().get().unsigned_abs();
    shares.iter().try_for_each(|groups| groups.enter(pid))?;
    sockets.hand_over(ready.terminal(), ready.pidfd())?;
    let record = order.describe(group, (ready.pid(), ready.last_steps()))?;
    let record = Record { shares, ..record };
    order.save(&record)?;
    Ok((record, ready.leave()?))
}

/// What it is to have of caches and memory bandwidth, made but for its process.
fn shares(place: &Place, bundle: &Bundle, id: &str) -> Result<Option<rdt::Groups>, Fault> {
    let linux = bundle.spec.linux().as_ref();
    let Some(asked) = linux.and_then(|linux| linux.intel_rdt().as_ref()) else { return Ok(None) };
    let plan = rdt::plan(asked, id)?;
    let path = "/proc/self/mountinfo";
    let table = std::fs::read(path).map_err(Fault::file("read", path))?;
    let groups = plan.groups(&rdt::root(&table)?);
    plan.check(&groups)?;
    place.note_shares(&groups)?;
    plan.make(&groups)?;
    Ok(Some(groups))
}

/// What is to be made, and where it is written down.
#[derive(Clone, Copy)]
struct Order<'a> {
    place: &'a Place,
    args: &'a Create,
    bundle: &'a Bundle,
}

impl Order<'_> {
    fn save(self, record: &Record) -> Result<(), Fault> {
        self.place.save(record, &self.bundle.spec)?;
        console::write_pid(self.args.handles.pid_file.as_deref(), record.pid)
    }

    /// Lays everything out for whoever makes the process.
    fn launched<T>(
        self,
        (cgroup, mut namespaces): (&Cgroup, Open),
        door: Option<BorrowedFd<'_>>,
        make: impl FnOnce(Launch<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Self { place, args, bundle } = self;
        let facts = HostFacts::detect()?;
        // Whoever says start tells a listener of it.
        let filter = filter::of(&bundle.spec, &facts, place, serde_json::Value::Null)?;
        filter::check_turns(filter.as_ref(), bundle.spec.process().as_ref())?;
        let rootfs =
            root(bundle).map_err(|errno| Fault::file("open", &bundle.rootfs)(errno.into()))?;
        let linux = bundle.spec.linux().as_ref();
        let attached = Attached::of(linux, &mut namespaces, (&rootfs, &bundle.rootfs))?;
        attached.iter().try_for_each(|attached| place.note(attached))?;
        let mut spec = bundle.spec.clone();
        if let Some(linux) = spec.linux_mut() {
            // It enters them from outside.
            linux.set_intel_rdt(None);
        }
        let mut passed = 0;
        if let Some(process) = spec.process_mut() {
            environment::complete(process, rootfs.as_fd());
            passed = environment::pass_listeners(process);
        }
        let notifies = args.past.as_ref().map_or_else(notify::is_awaited, Past::notifies);
        if notifies {
            notify::prepare(place, &mut spec)?;
        }
        shown::bind_groups(&mut spec, state::hierarchies()?, cgroup.views())?;
        let links = binds::links(&spec)?;
        let trees = binds::open(&mut spec, &bundle.rootfs, &links)?;
        let hooked = hooks::any(&bundle.spec).then(|| {
            let mut spec = bundle.spec.clone();
            environment::hand_to_hooks(&mut spec);
            spec
        });
        let process = spec.process().as_ref();
        let terminal = process.is_some_and(|process| process.terminal().unwrap_or(false));
        let entry = cgroup.entry()?;
        make(Launch {
            spec: &spec,
            facts: &facts,
            id: &args.id.id,
            rootfs,
            trees,
            namespaces,
            stdio: console::streams(terminal)?,
            cgroup: CgroupEntry { into: cgroup.clone_into(), procs: entry.into_files() },
            filter: filter.as_ref().map(Filter::as_ref),
            entrance: match attached {
                Some(attached) => Entrance::InPlace(attached.path().to_owned()),
                None if args.no_pivot => by_chroot()?,
                None => Entrance::Pivot,
            },
            hooks: hooked.as_ref().map(|spec| Hooks {
                spec,
                id: &args.id.id,
                bundle: &bundle.path,
            }),
            orphan: Orphan::Lives,
            keyring: if args.no_new_keyring { Keyring::Callers } else { Keyring::New },
            preserved: args.handles.preserve_fds.saturating_add(passed),
            customs: Customs {
                root_at: Some(bundle.rootfs.clone()),
                links,
                groups: environment::groups(&bundle.spec),
            },
            door,
        })
    }

    fn describe(self, cgroup: Group, (pid, last): (Pid, LastSteps)) -> Result<Record, Fault> {
        let Self { place, args, bundle } = self;
        let (started, _) = record::beginning(pid)
            .ok_or_else(|| Fault::config("the container's process has ended"))?;
        let annotations = bundle.spec.annotations().iter().flatten();
        let shares = bundle.spec.linux().as_ref().is_some_and(plan::shares_mounts);
        Ok(Record {
            oci_version: bundle.spec.version().clone(),
            id: args.id.id.clone(),
            pid: pid.as_raw_nonzero().get(),
            started,
            bundle: bundle.path.clone(),
            rootfs: bundle.rootfs.clone(),
            created: jiff::Timestamp::now().to_string(),
            owner: rustix::process::geteuid().as_raw(),
            annotations: annotations
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            cgroup,
            last,
            is_plain: !hooks::any(&bundle.spec) && !filter::asks(&bundle.spec),
            shares: None,
            attached: if shares { place.noted()? } else { None },
        })
    }
}

/// The container's root owns its control group, if it is shown one that it may write to and can be trusted
/// with on version 2 (config-linux.md, "Cgroup ownership").
fn own_group(cgroup: &Cgroup, spec: &Spec) -> Result<(), Fault> {
    let Some(linux) = spec.linux().as_ref() else { return Ok(()) };
    let around = Surroundings::of(linux).map_err(LaunchError::from)?;
    let Some(owner) = around.users.and_then(|maps| maps.user(0)) else { return Ok(()) };
    let is_shown = spec.mounts().iter().flatten().any(|mount| {
        let is_group = matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
        is_group && !mount.options().iter().flatten().any(|option| option == "ro")
    });
    let mut namespaces = linux.namespaces().iter().flatten();
    let is_own = namespaces.any(|one| {
        one.typ() == LinuxNamespaceType::Cgroup
            && one.path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
    });
    let is_version_2 = state::hierarchies()?.legacy().is_empty();
    if is_shown && is_own && is_version_2 { Ok(cgroup.give(owner)?) } else { Ok(()) }
}

/// The root file system as a mount of its own. The kernel makes no mount the root that others share, as
/// systemd has all of the host's shared: what is to be passed on is a later step of the start.
fn root(bundle: &Bundle) -> Result<OwnedFd, Errno> {
    let tree = sys::mount::clone_tree(&bundle.rootfs, Depth::Recursive)?;
    let linux = bundle.spec.linux().as_ref();
    let word = linux.and_then(|linux| linux.rootfs_propagation().as_deref());
    let how = match word {
        Some("private" | "rprivate") => Propagation::Private,
        _ => Propagation::Slave,
    };
    sys::mount::set_attr(&tree, Depth::Recursive, &Attributes::propagation(how))?;
    Ok(tree)
}

/// What of the host must not stay below a root that is not pivoted to.
fn by_chroot() -> Result<Entrance, Fault> {
    let path = "/proc/self/mountinfo";
    let table = std::fs::read(path).map_err(Fault::file("read", path))?;
    let kernels = sys::mount_table::entries(&table)
        .filter(|entry| matches!(entry.kind, b"proc" | b"sysfs"))
        .filter_map(|entry| CString::new(entry.path().as_os_str().as_bytes()).ok());
    let mut kernels: Vec<CString> = kernels.collect();
    kernels.reverse();
    Ok(Entrance::Chroot(kernels))
}

/// The socket that the process waits at.
fn listen(place: &Place) -> Result<OwnedFd, Fault> {
    let failed = |errno| Fault::Call("listen for start", errno);
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let socket = socket.map_err(failed)?;
    let (address, _directory) = place.address().map_err(failed)?;
    rustix::net::bind(&socket, &address).map_err(failed)?;
    rustix::net::listen(&socket, 1).map_err(failed)?;
    Ok(socket)
}
