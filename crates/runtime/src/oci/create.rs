//! `create`, and `run`'s first half: everything of a container up to where its process waits.
//!
//! What fails takes with it what was made before it: the process, the control group, the directory.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use cgroup::Cgroup;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sys::Errno;
use sys::mount::{Attributes, Depth, Propagation};

use super::arguments::{Create, Globals};
use super::bundle::Bundle;
use super::console::{self, Sockets};
use super::environment;
use super::fault::Fault;
use super::filter;
use super::record::{self, Group, Home, Place, Record};
use super::scope::{self, Driver};
use crate::hooks::{self, Hooks};
use crate::plan::{Keyring, Orphan};
use crate::{CgroupEntry, FilterRef, HostFacts, Launch, Ready, Running};

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
    if args.no_pivot {
        return Err(Fault::config("--no-pivot is not supported: the root has to allow pivot_root"));
    }
    let bundle = Bundle::read(&args.bundle)?;
    let place = home.reserve(&args.id.id)?;
    match in_place(&place, home.globals, args, &bundle, company) {
        Ok((record, running)) => Ok(Created { place, record, running }),
        Err(fault) => {
            // The first failure is the one to tell.
            let _ = place.remove();
            Err(fault)
        }
    }
}

fn in_place(
    place: &Place,
    globals: &Globals,
    args: &Create,
    bundle: &Bundle,
    company: Company,
) -> Result<(Record, Running), Fault> {
    let wants = bundle.spec.process().as_ref().is_some_and(|p| p.terminal().unwrap_or(false));
    let sockets = Sockets::connect(&args.handles, wants, company)?;
    let mut driver = Driver::of(globals, &bundle.spec, &args.id.id)?;
    let group = driver.group(&bundle.spec, &args.id.id)?;
    place.claim(&group)?;
    let (cgroup, keeper) = driver.make(&group, &bundle.spec)?;
    let made = in_group(place, args, bundle, (&cgroup, group.clone()), &sockets);
    drop(keeper);
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
    (cgroup, group): (&Cgroup, Group),
    sockets: &Sockets,
) -> Result<(Record, Running), Fault> {
    let group = Group { number: Some(cgroup.inode()?), ..group };
    place.claim(&group)?;
    let ready = start(place, args, bundle, cgroup)?;
    sockets.hand_over(ready.terminal(), ready.pidfd())?;
    let record = describe(args, bundle, group, &ready)?;
    place.save(&record, &bundle.spec)?;
    console::write_pid(args.handles.pid_file.as_deref(), record.pid)?;
    Ok((record, ready.leave()?))
}

fn start(place: &Place, args: &Create, bundle: &Bundle, cgroup: &Cgroup) -> Result<Ready, Fault> {
    let facts = HostFacts::detect()?;
    let filter = filter::of(&bundle.spec, &facts)?;
    let rootfs = root(bundle).map_err(|errno| Fault::Call("open the root file system", errno))?;
    let door = listen(place)?;
    let mut spec = bundle.spec.clone();
    if let Some(process) = spec.process_mut() {
        environment::complete(process, rootfs.as_fd());
    }
    let process = spec.process().as_ref();
    let terminal = process.is_some_and(|process| process.terminal().unwrap_or(false));
    let entry = cgroup.entry()?;
    Ok(crate::launch(Launch {
        spec: &spec,
        facts: &facts,
        id: &args.id.id,
        rootfs,
        trees: Vec::new(),
        namespaces: Vec::new(),
        stdio: console::streams(terminal)?,
        cgroup: CgroupEntry { into: cgroup.clone_into(), procs: entry.into_files() },
        filter: filter
            .as_ref()
            .map(|filter| FilterRef { instructions: &filter.instructions, flags: filter.flags }),
        hooks: hooks::any(&bundle.spec).then_some(Hooks {
            spec: &bundle.spec,
            id: &args.id.id,
            bundle: &bundle.path,
        }),
        orphan: Orphan::Lives,
        keyring: if args.no_new_keyring { Keyring::Callers } else { Keyring::New },
        preserved: args.handles.preserve_fds,
        door: Some(door.as_fd()),
    })?)
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

fn describe(args: &Create, bundle: &Bundle, cgroup: Group, ready: &Ready) -> Result<Record, Fault> {
    let (started, _) = record::beginning(ready.pid())
        .ok_or_else(|| Fault::config("the container's process has ended"))?;
    let annotations = bundle.spec.annotations().iter().flatten();
    Ok(Record {
        oci_version: bundle.spec.version().clone(),
        id: args.id.id.clone(),
        pid: ready.pid().as_raw_nonzero().get(),
        started,
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::geteuid().as_raw(),
        annotations: annotations
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        cgroup,
        last: ready.last_steps(),
    })
}
