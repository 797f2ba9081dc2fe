//! The child: carries out the steps of a plan, in order, and becomes the program.
//!
//! Decides nothing. Allocates nothing either: whoever cloned this process may have had threads, and
//! one of them may have held the heap's lock. Everything it needs was prepared by `launch` or
//! `enter`, and a failure is sent as bytes.

mod files;
mod finish;
mod mounts;
mod network;
mod place;
mod present;

pub(crate) use finish::stay_on;
pub(crate) use mounts::{
    EMPTY, NULL, attach_from_outside as attach, fill_from_outside as fill,
    make_from_outside as make,
};

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Rlimit};
use rustix::thread::LinkNameSpaceType;
use sys::Errno;
use sys::mount::{Attributes, Depth, FsError, KernelLog};
use sys::process::{ExecStrings, Namespaces};
use sys::pty::Pty;
use sys::seccomp::{Flags, Instruction};

use crate::message;
use crate::step::{Limit, Slot, Step};

/// What the parent hands down.
#[derive(Debug)]
pub(crate) struct Hands<'a> {
    /// The root file system's mount; none for a process that enters a container whose mount namespace has it as root.
    pub(crate) root: Option<BorrowedFd<'a>>,
    /// The container's first process, for one that enters.
    pub(crate) container: Option<BorrowedFd<'a>>,
    /// By slot.
    pub(crate) trees: &'a [OwnedFd],
    /// By slot.
    pub(crate) joins: &'a [OwnedFd],
    /// `cgroup.procs` of each control group to enter.
    pub(crate) cgroups: &'a [OwnedFd],
    /// Standard streams, unless there is a terminal. None of them is number 0, 1 or 2.
    pub(crate) streams: Option<[BorrowedFd<'a>; 3]>,
    /// To the parent. Not number 0, 1 or 2.
    pub(crate) channel: BorrowedFd<'a>,
    /// Listens for whoever says start, if the parent does not.
    pub(crate) door: Option<BorrowedFd<'a>>,
    /// The seccomp filter.
    pub(crate) filter: Option<Filter<'a>>,
    /// Where the program may be.
    pub(crate) candidates: &'a [CString],
    /// Whether a name was looked for in `PATH`.
    pub(crate) in_path: bool,
    /// Arguments.
    pub(crate) argv: &'a ExecStrings,
    /// Environment.
    pub(crate) env: &'a ExecStrings,
    /// All of these descriptors, in the order of their numbers.
    pub(crate) kept: &'a [BorrowedFd<'a>],
    /// What the caller passes on to the program is below this number.
    pub(crate) passed: u32,
}

impl<'a> Hands<'a> {
    /// Every descriptor that a step may use, in the order of their numbers.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'a>> {
        let given = [self.root, self.container, Some(self.channel), self.door];
        let slots = [self.trees, self.joins, self.cgroups].into_iter().flatten().map(AsFd::as_fd);
        let streams = self.streams.into_iter().flatten();
        let mut all: Vec<_> = given.into_iter().flatten().chain(slots).chain(streams).collect();
        all.sort_unstable_by_key(AsRawFd::as_raw_fd);
        all
    }
}

/// A compiled filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) program: &'a [Instruction],
    pub(crate) flags: Flags,
    pub(crate) asks: Asks,
}

/// Who gets the descriptor through which a filter asks about calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// It asks nobody.
    Nobody,
    /// The parent, or the visitor in its place.
    Parent,
}

/// Why a step failed.
#[derive(Debug, Clone, Copy)]
struct Fault {
    errno: Errno,
    log: KernelLog,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { errno, log: KernelLog::EMPTY }
    }
}

impl From<FsError> for Fault {
    fn from(error: FsError) -> Self {
        Self { errno: error.errno(), log: error.log() }
    }
}

type Done = Result<(), Fault>;

/// What a process does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// Another goes on in its place.
    Leave,
    /// It ends, with this exit code: somebody has asked it to.
    End(i32),
}

/// Exit code of a child whose step failed; the parent reads the report instead.
const FAILED: i32 = 125;

/// Runs in the child of `clone3`. Returns only if a step failed.
pub(crate) fn run(hands: &Hands<'_>, steps: &[Step]) -> i32 {
    prepare(hands);
    Init::new(hands).carry_out(steps, 0)
}

/// The same in a pid namespace of others, by a sibling that is born into it: for a parent that could enter
/// that namespace itself, but not leave it again, since its own is the host's.
pub(crate) fn run_born_into(
    pid: BorrowedFd<'_>,
    kinds: Namespaces,
    hands: &Hands<'_>,
    steps: &[Step],
) -> i32 {
    let entered = sys::process::setns(pid, Namespaces::PID);
    prepare(hands);
    let mut init = Init::new(hands);
    let born = entered.map_err(Fault::from).and_then(|()| init.be_born(kinds, steps, 0));
    match born {
        Ok(()) => 0,
        Err(fault) => {
            init.tell(0, &fault);
            FAILED
        }
    }
}

/// What every child of ours does first. None of it can fail for a process that was just cloned.
fn prepare(hands: &Hands<'_>) {
    // The parent's other descriptors would count against the limit of open files that the process gets: a shim
    // has two for each port. A kernel that does not know this fails at a step that marks the rest.
    let _ = sys::process::close_from_but_sorted(hands.passed, hands.kept);

    // Until the program is executed, no process of the container may look into this one
    // (CVE-2016-9962).
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::empty());
    sys::signal::reset_all();
}

/// The child's own state: what one step makes and a later one uses.
struct Init<'a> {
    hands: &'a Hands<'a>,
    /// The root of a container that was entered, or the bench.
    entered: Option<OwnedFd>,
    mask: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    terminal: Option<Pty>,
    /// Whether the working directory was reached before the rights were given up.
    is_there: bool,
    /// Index of the candidate that was found.
    program: usize,
    /// Whoever has said start, and hears of what fails from then on.
    visitor: Option<OwnedFd>,
}

impl<'a> Init<'a> {
    fn new(hands: &'a Hands<'a>) -> Self {
        Self {
            hands,
            entered: None,
            mask: None,
            devpts: None,
            proc: None,
            terminal: None,
            is_there: false,
            program: 0,
            visitor: None,
        }
    }

    /// Carries out the steps from this one on. Returns the exit code of a process that is done with them,
    /// or could not go on.
    fn carry_out(&mut self, steps: &[Step], first: usize) -> i32 {
        for (index, step) in steps.iter().enumerate().skip(first) {
            let done = if let Step::BeBorn(kinds) = step {
                self.be_born(*kinds, steps, index + 1).map(|()| Then::Leave)
            } else if let Step::AwaitStart(first) = step {
                self.await_start(*first)
            } else {
                self.perform(step).map(|()| Then::GoOn)
            };
            match done {
                Ok(Then::GoOn) => {}
                Ok(Then::Leave) => return 0,
                // What has waited for its start has closed descriptors that it still owns by its memory.
                Ok(Then::End(code)) => sys::process::exit_now(code),
                Err(fault) => return self.fail(index, &fault),
            }
        }
        FAILED
    }

    fn fail(&self, index: usize, fault: &Fault) -> i32 {
        self.tell(index, fault);
        if self.visitor.is_some() {
            // As above.
            sys::process::exit_now(FAILED);
        }
        FAILED
    }

    fn tell(&self, index: usize, fault: &Fault) {
        let (bytes, len) = message::failed(index, fault.errno, &fault.log);
        // Nobody is left to hear if this fails too: the parent is gone.
        let visitor = self.visitor.as_ref().map(AsFd::as_fd);
        let _ = sys::fdpass::send(visitor.unwrap_or(self.hands.channel), &bytes[..len], &[]);
    }

    /// A process cannot enter a user namespace and then be the first of a pid namespace that belongs
    /// to it: a sibling goes on in its place. It says nothing before this one has said its last: the
    /// parent hears one after the other.
    fn be_born(&mut self, kinds: Namespaces, steps: &[Step], next: usize) -> Done {
        let channel = self.hands.channel;
        let (turn, pass) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let mut pass = Some(pass);
        let born = sys::process::clone_sibling(kinds, || {
            // Its own copy would keep it from seeing that the other has ended without a word.
            drop(pass.take());
            let has_turn = rustix::io::retry_on_intr(|| rustix::io::read(&turn, &mut [0; 1]));
            if has_turn != Ok(1) {
                return FAILED;
            }
            // The terminal wants the leader of a session.
            let _ = rustix::process::setsid();
            self.carry_out(steps, next)
        })?;
        let sent = sys::fdpass::send(channel, &message::BORN, &[born.pidfd.as_fd()]);
        sent.map_err(|error| error.errno().unwrap_or(Errno::IO))?;
        if let Some(pass) = &pass {
            write_whole(pass.as_fd(), b"g")?;
        }
        Ok(())
    }

    fn perform(&mut self, step: &Step) -> Done {
        match step {
            Step::JoinCgroup => self.join_cgroup()?,
            Step::EnterContainer(kinds) => self.enter_container(*kinds)?,
            Step::JoinNamespace(kind, slot) => self.join_namespace(*kind, *slot)?,
            Step::EnterUserNamespace(slot) => self.enter_user_namespace(*slot)?,
            Step::BecomeRoot(groups) => finish::become_root(*groups)?,
            Step::GiveStreams(owner) => self.give_streams(*owner)?,
            // Whoever carries the steps out does this.
            Step::BeBorn(_) | Step::AwaitStart(_) => return Err(Errno::INVAL.into()),
            Step::NewTimeNamespace(offsets) => self.new_time_namespace(offsets)?,
            Step::NewCgroupNamespace => sys::process::unshare(Namespaces::CGROUP)?,
            Step::LoopbackUp => network::loopback_up()?,
            Step::IsolateMounts => {
                sys::mount::set_propagation_of_all(sys::mount::Propagation::Private)?;
            }
            Step::MakeMask(file) => self.make_mask(*file)?,
            Step::MakeBench(path) => self.make_bench(path)?,
            Step::AttachRoot => sys::mount::attach_on_root(self.root()?)?,
            Step::AttachRootAt(path) => self.attach_root_at(path)?,
            Step::AttachRootInPlace(path) => self.attach_root_in_place(path)?,
            Step::AwaitHooks => self.ask(&message::AT_HOOKS, &[])?,
            Step::Mount(mount) => self.mount(mount)?,
            Step::Node(place, node) => self.node(place, node)?,
            Step::Link(place, target) => self.link(place, target)?,
            Step::MakeWorkingDirectory(place) => {
                drop(place::ensure(self.root()?, place, place::Make::Directory)?);
            }
            Step::OpenTerminal(size) => self.open_terminal(*size)?,
            Step::BindConsole => self.bind_console()?,
            Step::OwnProc => self.own_proc()?,
            Step::Sysctl(path, value) => self.write_proc(path, value)?,
            Step::HostName(name) => rustix::system::sethostname(name.as_bytes())?,
            Step::DomainName(name) => rustix::system::setdomainname(name.as_bytes())?,
            Step::SessionKeyring(name) => session_keyring(name)?,
            Step::ReadOnlyPath(place) => self.read_only_path(place)?,
            Step::MaskPath(place) => self.mask_path(place)?,
            Step::ReadOnlyRoot => {
                sys::mount::set_attr(self.root()?, Depth::Single, &Attributes::READ_ONLY)?;
            }
            Step::EnterRoot => sys::mount::enter_root(self.root()?)?,
            Step::EnterRootByChroot(covered) => self.enter_root_by_chroot(covered)?,
            Step::RootPropagation(how) => {
                let how = Attributes::propagation(*how);
                sys::mount::set_attr(self.root()?, Depth::Single, &how)?;
            }
            Step::Limit(limit) => set_limit(limit)?,
            Step::Conduct(conduct) => finish::conduct(conduct)?,
            Step::OomScore(score) => self.write_proc(c"self/oom_score_adj", score)?,
            Step::StandardStreams(owner) => self.standard_streams(*owner)?,
            Step::Umask(mask) => drop(rustix::process::umask(Mode::from_bits_truncate(*mask))),
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true)?,
            Step::DropBounding(mask) => finish::drop_bounding(*mask)?,
            Step::Become(identity) => finish::become_user(identity)?,
            Step::SetCapabilities(sets) => finish::set_capabilities(sets)?,
            Step::RaiseAmbient(mask) => finish::raise_ambient(*mask)?,
            Step::AppArmor(profile) => self.write_proc(c"self/attr/apparmor/exec", profile)?,
            // SELinux has no directory of its own there: the file is that of whichever module came first.
            Step::SeLinux(label) => self.write_proc(c"self/attr/exec", label)?,
            Step::ApproachDirectory(path) => self.approach_directory(path)?,
            Step::ChangeDirectory(path) => self.change_directory(path)?,
            Step::FindProgram => self.find_program()?,
            Step::DieWithParent => finish::die_with_parent()?,
            Step::KeepDescriptors(first) => sys::process::close_on_exec_from(*first)?,
            Step::Inherit(slot) => self.inherit(*slot)?,
            Step::AwaitGo => self.await_go()?,
            Step::LoadFilter => self.load_filter()?,
            Step::Execute => return Err(self.execute().into()),
        }
        Ok(())
    }

    fn inherit(&self, slot: Slot) -> Done {
        let fd = self.hands.joins.get(slot).ok_or(Errno::BADF)?;
        Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
    }

    /// The root directory of the container, before and after it is this process's own.
    fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        let entered = self.entered.as_ref().map(AsFd::as_fd);
        entered.or(self.hands.root).ok_or(Errno::BADF)
    }

    /// The kernel takes 0 for the process that writes it, so no pid has to be known.
    fn join_cgroup(&self) -> Done {
        for procs in self.hands.cgroups {
            write_whole(procs.as_fd(), b"0")?;
        }
        Ok(())
    }

    fn attach_root_at(&self, path: &CStr) -> Done {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(sys::mount::attach(self.root()?, place)?)
    }

    fn attach_root_in_place(&self, path: &CStr) -> Done {
        self.attach_root_at(path)?;
        // On a shared mount it has become shared itself.
        let private = Attributes::propagation(sys::mount::Propagation::Private);
        Ok(sys::mount::set_attr(self.root()?, Depth::Recursive, &private)?)
    }

    fn enter_container(&mut self, kinds: Namespaces) -> Done {
        sys::process::setns(self.hands.container.ok_or(Errno::BADF)?, kinds)?;
        if self.hands.root.is_some() {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.entered = Some(rustix::fs::openat(CWD, c"/", flags, Mode::empty())?);
        Ok(())
    }

    fn enter_user_namespace(&self, slot: Slot) -> Done {
        let fd = self.hands.joins.get(slot).ok_or(Errno::BADF)?;
        let kind = Some(LinkNameSpaceType::User);
        Ok(rustix::thread::move_into_link_name_space(fd.as_fd(), kind)?)
    }

    fn new_time_namespace(&self, offsets: &CStr) -> Done {
        sys::process::unshare(Namespaces::TIME)?;
        if offsets.is_empty() { Ok(()) } else { self.write_proc(c"self/timens_offsets", offsets) }
    }

    fn join_namespace(&self, kind: Namespaces, slot: Slot) -> Done {
        let fd = self.hands.joins.get(slot).ok_or(Errno::BADF)?;
        let kinds = [
            (Namespaces::TIME, LinkNameSpaceType::Time),
            (Namespaces::NET, LinkNameSpaceType::Network),
            (Namespaces::IPC, LinkNameSpaceType::InterProcessCommunication),
            (Namespaces::UTS, LinkNameSpaceType::HostNameAndNISDomainName),
            (Namespaces::CGROUP, LinkNameSpaceType::ControlGroup),
            (Namespaces::MOUNT, LinkNameSpaceType::Mount),
        ];
        let known = kinds.iter().find(|(known, _)| *known == kind).ok_or(Errno::INVAL)?;
        Ok(rustix::thread::move_into_link_name_space(fd.as_fd(), Some(known.1))?)
    }
}

/// A kernel without keyrings has none to hide.
fn session_keyring(name: &CStr) -> Result<(), Errno> {
    match sys::keyring::join_session(name) {
        Err(Errno::NOSYS) => Ok(()),
        other => other,
    }
}

fn set_limit(limit: &Limit) -> Result<(), Errno> {
    let new = Rlimit { current: limit.soft, maximum: limit.hard };
    rustix::process::setrlimit(limit.resource, new)
}

/// Files of procfs and cgroupfs take a value in one write or not at all.
fn write_whole(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::IO) }
}

#[cfg(test)]
mod tests;
