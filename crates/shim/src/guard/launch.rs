//! Starts the container and its execs through `runtime`, and takes down what a start has made.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use cgroup::{Cgroup, Hierarchies, Keeper};
use jiff::Timestamp;
use model::ExitCode;
use model::container::Stdin;
use model::life::StartFailure;
use net::user::UserNetwork;
use oci_spec::runtime::{Process, Spec};
use runtime::plan::{Entrance, Surroundings};
use runtime::seccomp::Program;
use runtime::{
    CgroupEntry, Enter, FilterRef, Hooks, HostFacts, Keyring, LaunchError, Orphan, Running, Stdio,
};
use sys::Errno;
use sys::failpoint::{Point, pass, reach};

use super::effects::{chain, failed};
use super::given::Given;
use super::hooks::{self, Bundle, Inside};
use super::logged::Logged;
use super::parts::part_name;
use super::poller::{Interest, ProcKey, Token, Watch};
use super::proc::{Proc, ProcIo};
use super::{Container, Groups, Guard, names, oom, publish};
use crate::group;
use crate::home;
use crate::log::Log;
use crate::machine::{ConnId, Event};
use crate::protocol::{ExecStart, Launch, Restoration, Started, Target};
use crate::record;
use crate::work::Work;

/// What Docker calls a start that failed before the program could be looked for.
const FAILED: ExitCode = ExitCode(128);
/// Longest seccomp filter that is read, in its file's form.
const MAX_FILTER: u64 = 1 << 20;

/// What we keep of a process's streams.
struct Streams {
    key: ProcKey,
    /// `None`: its terminal comes with its start.
    io: Option<ProcIo>,
    stdin: Stdin,
}

impl Guard {
    pub(super) fn on_launch(&mut self, conn: ConnId, launch: Launch) {
        let fds = self.conns.get_mut(&conn).map(super::Conn::take_fds).unwrap_or_default();
        // Before there is another descriptor of the same file, whose locks would go with this one.
        if let Some(container) = &mut self.container {
            container.networks = None;
        }
        let event = match self.launch(launch, fds) {
            Ok(started) => {
                self.wake_feeders(Target::Container);
                Event::Launched(conn, started)
            }
            Err(failure) => {
                // criu may have made processes before it failed, or was killed.
                self.kill_leftovers();
                Event::LaunchFailed(conn, failure)
            }
        };
        // Parsing a specification leaves much to free behind.
        let now = self.elapsed();
        self.scratch.warm(now);
        self.events.push_back(event);
    }

    fn launch(&mut self, mut launch: Launch, fds: Vec<OwnedFd>) -> Result<Started, StartFailure> {
        let mut given = Given::sort(&launch.fds, fds)?;
        let networks = given.networks()?;
        let rootfs = given.rootfs.take().ok_or_else(|| failure("there is no root file system"))?;
        if let Some(process) = launch.spec.process_mut() {
            self.keep_oom_score(process);
        }
        let filter = given.filter.as_mut().map(read_filter).transpose()?;
        let namespaces = std::mem::take(&mut given.namespaces);
        let trees = std::mem::take(&mut given.trees);
        let checkpoint = given.checkpoint.take();
        let around = (&namespaces[..], networks.as_ref());
        let user_network = publish::user_network(&launch, around, &self.paths)?;
        let places = given.names(&launch, &namespaces)?;
        let keeper = self.open_container(&launch, given)?;
        let names = names::open(&launch, places, &self.paths, &self.poller)?;
        if let Some(container) = &mut self.container {
            container.user_network = user_network;
            container.networks = networks;
            container.names = names;
        }
        let key = ProcKey(self.next_number());
        let Some(container) = &self.container else { return Err(failure("no container")) };
        let (streams, stdio) = streams(key, launch.spec.process().as_ref(), launch.stdin)?;
        let id = self.paths.id.to_string();
        let bundle = container.bundle.as_ref();
        let hooks =
            bundle.map(|bundle| Hooks { spec: &launch.spec, id: &id, bundle: bundle.path() });
        let wished = runtime::Launch {
            entrance: Entrance::Pivot,
            customs: runtime::Customs::default(),
            spec: &launch.spec,
            facts: &container.facts,
            id: &id,
            rootfs,
            trees,
            namespaces,
            stdio,
            cgroup: entry(&container.cgroup)?,
            filter: filter.as_ref().map(reference),
            hooks,
            orphan: Orphan::Dies,
            keyring: Keyring::New,
            preserved: 0,
            door: None,
        };
        let longest = match &launch.restoration {
            Some(_) => Some(runtime::criu::LONGEST),
            None => runtime::hooks::longest(&launch.spec, runtime::hooks::Phase::Start),
        };
        let network = container.user_network.as_ref().map(UserNetwork::longest);
        let longest = longest.into_iter().chain(network).reduce(Duration::saturating_add);
        let _work = longest.map(|longest| Work::begin(&self.paths, longest));
        let running = if let Some(restoration) = &launch.restoration {
            let running = restore(wished, restoration, checkpoint.as_ref())?;
            settle(container, &launch.spec, keeper)?;
            running
        } else {
            let ready = runtime::launch(wished).map_err(|error| refusal(&error))?;
            settle(container, &launch.spec, keeper)?;
            pass(Point::ShimReady);
            publish::wait(container, &self.paths.id).map_err(failure)?;
            let inside = Inside { container, filter: filter.as_ref(), id: &id };
            let running = hooks::go(ready, hooks, &inside).map_err(|error| refusal(&error))?;
            pass(Point::ShimRunning);
            running
        };
        make_room_for_the_end(&launch);
        let started = self.adopt(Target::Container, running, None, streams)?;
        Ok(Started { since: started.since.max(launch.decided.unwrap_or(started.since)), ..started })
    }

    /// Makes what a container has besides its processes. What is made is torn down again by
    /// [`Guard::tear_down`], whatever fails later.
    ///
    /// Who keeps the place of its cgroup comes back, to be let go when the container's process is in there.
    fn open_container(
        &mut self,
        launch: &Launch,
        given: Given,
    ) -> Result<Option<Keeper>, StartFailure> {
        let log = Log::open(&launch.log).map_err(|error| failure(chain(&error)))?;
        step(Point::ShimLog)?;
        let facts = HostFacts::detect().map_err(|error| failure(chain(&error)))?;
        let hierarchies = Hierarchies::detect().map_err(|error| failure(chain(&error)))?;
        let made = group::make(&hierarchies, &launch.cgroup, &launch.spec);
        let (cgroup, keeper) = made.map_err(|error| failure(chain(&error)))?;
        let around = around(&launch.spec)?;
        home::settle(&hierarchies, &self.paths.cgroup);
        let oom = cgroup.oom_fd().map_err(|error| failure(chain(&error)));
        let parts = cgroup.parts().map_err(|error| {
            let _ = group::remove_group(&cgroup, &launch.cgroup);
            failure(chain(&error))
        })?;
        self.container = Some(Container {
            cgroup,
            place: launch.cgroup.clone(),
            parts,
            leftovers: Vec::new(),
            told: Vec::new(),
            log: log.map(Logged::new),
            oom: None,
            oom_told: oom::Told::default(),
            facts,
            filter: given.filter,
            around,
            groups: groups(&launch.spec),
            exit_record: launch.exit_record.clone(),
            published: launch.published.clone(),
            ports: given.ports,
            names: None,
            user_network: None,
            networks: None,
            networks_lost: 0,
            bundle: Bundle::make(&self.paths, &launch.spec)?,
        });
        step(Point::ShimCgroup)?;
        self.delegate()?;
        let Some(fd) = oom? else { return Ok(keeper) };
        let mut watch = Watch::new(Token::Oom);
        self.poller
            .set(&fd, &mut watch, Interest::Read)
            .map_err(|errno| failure(failed("watch for OOM kills", errno)))?;
        if let Some(container) = &mut self.container {
            container.oom = Some(fd);
        }
        Ok(keeper)
    }

    /// Who writes to its control groups and is not the host's root has to own them.
    fn delegate(&self) -> Result<(), StartFailure> {
        let Some(container) = &self.container else { return Ok(()) };
        let owner = container.around.users.as_ref().and_then(|maps| maps.user(0));
        match (owner, container.groups) {
            (Some(owner), Groups::Divided) => {
                container.cgroup.give(owner).map_err(|error| failure(chain(&error)))
            }
            (_, Groups::Whole) | (None, _) => Ok(()),
        }
    }

    pub(super) fn on_exec(&mut self, conn: ConnId, start: ExecStart) {
        let (exec, attach) = (start.exec, start.attach);
        let event = match self.exec(start) {
            Ok(started) => Event::ExecLaunched(conn, exec, started, attach),
            Err(failure) => Event::ExecFailed(conn, exec, failure),
        };
        self.events.push_back(event);
    }

    pub(super) fn exec(&mut self, mut start: ExecStart) -> Result<Started, StartFailure> {
        self.keep_oom_score(&mut start.process);
        let key = ProcKey(self.next_number());
        let (streams, stdio) = streams(key, Some(&start.process), start.stdin)?;
        let id = self.paths.id.to_string();
        let Some(container) = &mut self.container else { return Err(failure("no container")) };
        let filter = container.filter.as_mut().map(read_filter).transpose()?;
        let init = self.procs.values().find(|proc| proc.target == Target::Container);
        let Some(init) = init else { return Err(failure("the container has ended")) };
        let part = container.parts.make(&part_name(start.exec));
        let part = part.map_err(|error| failure(chain(&error)))?;
        let cgroup = container.cgroup.entry_of(&part).map(|entry| CgroupEntry {
            into: part.clone_into().or(container.cgroup.clone_into()),
            procs: entry.into_files(),
        });
        let running = cgroup.map_err(|error| failure(chain(&error))).and_then(|cgroup| {
            let entered = runtime::enter(Enter {
                process: &start.process,
                program: None,
                facts: &container.facts,
                around: &container.around,
                id: &id,
                container: init.pidfd.as_fd(),
                stdio,
                cgroup,
                filter: filter.as_ref().map(reference),
                on_terminal: None,
                orphan: Orphan::Dies,
                keyring: Keyring::New,
                preserved: 0,
            });
            entered.map_err(|error| refusal(&error))
        });
        match running {
            Ok(running) => self.adopt(Target::Exec(start.exec), running, Some(part), streams),
            Err(failure) => {
                self.leave_part(start.exec, part);
                Err(failure)
            }
        }
    }

    /// Begins to look after a process that runs.
    fn adopt(
        &mut self,
        target: Target,
        running: Running,
        part: Option<Cgroup>,
        streams: Streams,
    ) -> Result<Started, StartFailure> {
        let Streams { key, io, stdin } = streams;
        let Running { pid, pidfd, terminal } = running;
        let io = match (io, terminal) {
            (Some(io), _) => Ok(io),
            (None, Some(master)) => ProcIo::terminal(key, master, stdin),
            (None, None) => Err(Errno::NOTTY),
        };
        let watched = io.and_then(|mut io| io.update_watch(&self.poller).map(|()| io));
        match watched {
            Ok(io) => {
                let oom_since = Some(self.elapsed());
                self.procs.insert(key, Proc { target, pid, pidfd, io, part, oom_since });
                let pid = pid.as_raw_nonzero().get().unsigned_abs();
                Ok(Started { pid, since: Timestamp::now() })
            }
            Err(errno) => {
                let _ = sys::process::pidfd_send_signal(&pidfd, sys::signal::Signal::KILL);
                let _ = sys::process::wait(&pidfd);
                if let (Target::Exec(exec), Some(part)) = (target, part) {
                    self.leave_part(exec, part);
                }
                Err(failure(failed("carry the streams of the process", errno)))
            }
        }
    }

    /// A container inherits nothing of the shim's own protection.
    fn keep_oom_score(&self, process: &mut Process) {
        if process.oom_score_adj().is_none() {
            process.set_oom_score_adj(self.oom_score);
        }
    }

    /// Kills whoever is in the container's cgroup. Whom it cannot kill, `reconcile` finds.
    pub(super) fn kill_leftovers(&self) {
        if let Some(container) = &self.container {
            let _ = container.cgroup.kill();
        }
    }

    pub(super) fn tear_down(&mut self) {
        self.release_network();
        self.procs.clear();
        if let Some(mut container) = self.container.take() {
            // One that cannot be removed now is found by `reconcile`.
            let _ = group::remove_group(&container.cgroup, &container.place);
            pass(Point::ShimTornDown);
            if let Some(bundle) = &container.bundle {
                self.after_the_end(bundle, container.log.as_mut());
            }
        }
    }
}

/// Makes the container of a checkpoint instead of starting it. Its command has run already: a failure
/// is not one of the command, whatever it is.
fn restore(
    wished: runtime::Launch<'_>,
    restoration: &Restoration,
    images: Option<&OwnedFd>,
) -> Result<Running, StartFailure> {
    // A path could lead elsewhere than it did when its owner was looked at.
    let images = images.ok_or_else(|| failure("there is no checkpoint"))?;
    let restored = runtime::criu::restore(runtime::criu::Restore {
        program: &restoration.program,
        images: images.as_fd(),
        work: &restoration.work,
        log: None,
        descriptors: &restoration.descriptors,
        launch: wished,
    });
    restored.map_err(|error| failure(format!("restore the checkpoint: {}", chain(&error))))
}

/// Which life an end belongs to is told by the clock, which may have been set back since the one before:
/// that goes, but the end before a revival stays until the revival is known to have come. One that will
/// have to be written down has room on the disk from now on.
fn make_room_for_the_end(launch: &Launch) {
    if launch.revival == 0 {
        let _ = std::fs::remove_file(&launch.exit_record);
    }
    if launch.reap.is_none() {
        record::reserve(&launch.exit_record);
    }
}

/// What we keep, and what the process gets.
fn streams(
    key: ProcKey,
    process: Option<&Process>,
    stdin: Stdin,
) -> Result<(Streams, Stdio), StartFailure> {
    if process.and_then(Process::terminal) == Some(true) {
        return Ok((Streams { key, io: None, stdin }, Stdio::Pty));
    }
    let (io, child) = ProcIo::pipes(key, stdin)
        .map_err(|errno| failure(failed("make pipes for the process", errno)))?;
    let stdio = Stdio::Pipes { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr };
    Ok((Streams { key, io: Some(io), stdin }, stdio))
}

/// Whether its processes may divide its control group among others.
fn groups(spec: &Spec) -> Groups {
    let is_written = spec.mounts().iter().flatten().any(|mount| {
        let is_group = mount.typ().as_deref() == Some("cgroup");
        is_group && mount.options().iter().flatten().any(|option| option == "rw")
    });
    if is_written { Groups::Divided } else { Groups::Whole }
}

/// What all its processes have around them, for execs.
fn around(spec: &Spec) -> Result<Surroundings, StartFailure> {
    let around = spec.linux().as_ref().map(Surroundings::of).transpose();
    around.map(Option::unwrap_or_default).map_err(|error| failure(chain(&error)))
}

/// Once the container's process is in its cgroup, nobody else has to be.
fn settle(container: &Container, spec: &Spec, keeper: Option<Keeper>) -> Result<(), StartFailure> {
    drop(keeper);
    let settled = group::settle(&container.cgroup, &container.place, spec);
    settled.map_err(|error| failure(chain(&error)))
}

pub(super) fn entry(cgroup: &Cgroup) -> Result<CgroupEntry<'_>, StartFailure> {
    let entry = cgroup.entry().map_err(|error| failure(chain(&error)))?;
    Ok(CgroupEntry { into: cgroup.clone_into(), procs: entry.into_files() })
}

/// Reads the filter anew each time: it is needed for moments, and its file costs no memory.
fn read_filter(file: &mut OwnedFd) -> Result<Program, StartFailure> {
    let read = || {
        let mut file = File::from(file.try_clone()?);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.take(MAX_FILTER).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read()
        .map_err(|error: std::io::Error| failure(format!("read the seccomp filter: {error}")))?;
    // Fail closed: what does not read as a filter is not "no filter".
    Program::from_bytes(&bytes).ok_or_else(|| failure("the seccomp filter is damaged"))
}

pub(super) fn reference(program: &Program) -> FilterRef<'_> {
    FilterRef { instructions: &program.instructions, flags: program.flags, listener: None }
}

/// Passes through a place where a test may want the start to fail.
fn step(point: Point) -> Result<(), StartFailure> {
    reach(point).map_err(|errno| failure(failed("pass", errno)))
}

pub(super) fn failure(message: impl Into<String>) -> StartFailure {
    StartFailure { code: FAILED, message: message.into() }
}

fn refusal(error: &LaunchError) -> StartFailure {
    let code = error.shell_code().map_or(FAILED, ExitCode);
    StartFailure { code, message: chain(error) }
}
