//! Makes a container again from its specification and what was written down of it.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::Errno;
use sys::mount_table::entries;
use sys::process::Namespaces;

use super::dump::common;
use super::error::CriuError;
use super::homes::{Homes, process};
use super::mounts::Brought;
use super::survey::Descriptors;
use super::talk::{Talk, Word};
use super::verify::{Bounds, verify};
use super::wire::{Inherit, Kind, Notify, Options, Request, Response};
use super::{MASK_DIRECTORY, MASK_FILE, NETWORK, log};
use crate::error::LaunchError;
use crate::launch::{Given, Launch};
use crate::plan::restoring::{Mask, Restoring, restoring};
use crate::plan::{Candidates, InitPlan, Program, Terminal};
use crate::start::{Running, Start, Stdio};

/// How long criu may be at one stage. Gigabytes of memory take seconds; one that hangs must not
/// hold its caller for ever.
pub const LONGEST: Duration = Duration::from_mins(10);

/// What criu finds its own helpers by: `tar` for what is in a tmpfs.
const ENVIRONMENT: &std::ffi::CStr =
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container to be made again.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The program.
    pub program: &'a Path,
    /// What was written: a directory.
    pub images: BorrowedFd<'a>,
    /// An empty directory to work in.
    pub work: &'a Path,
    /// Where the log stays, if not there: a directory.
    pub log: Option<BorrowedFd<'a>>,
    /// What its streams were.
    pub descriptors: &'a Descriptors,
    /// The start that this takes the place of.
    pub launch: Launch<'a>,
}

/// Why it was not made. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What criu needs could not be laid out.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// criu failed.
    #[error(transparent)]
    Criu(#[from] CriuError),
}

/// Makes a container again. Its first process is a child of this one, and runs.
///
/// # Errors
/// The specification, the host or criu does not allow it.
pub fn restore(restore: Restore<'_>) -> Result<Running, RestoreError> {
    let plan = restore.launch.plan().map_err(LaunchError::from)?;
    let bench = restore.work.join("bench");
    fs::create_dir(&bench).map_err(|error| opened(&bench, &error))?;
    let made = at_work(restore, &plan, &bench);
    // Its mount was criu's alone and has gone with it.
    let _ = fs::remove_dir(&bench);
    made
}

fn opened(path: &Path, error: &std::io::Error) -> CriuError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    CriuError::Open { path: path.to_owned(), errno }
}

fn at_work(restore: Restore<'_>, plan: &InitPlan, bench: &Path) -> Result<Running, RestoreError> {
    let open = |path: &Path| File::open(path).map_err(|error| opened(path, &error));
    let (images, own) = (restore.images, open(restore.work)?);
    let work = restore.log.unwrap_or(own.as_fd());
    let bounds = Bounds::of(plan, restore.launch.facts.last_capability);
    let unseen = |error: std::io::Error| opened(Path::new("/proc/self/ns"), &error);
    let homes = Homes::of(plan, &restore.launch.namespaces).map_err(unseen)?;
    let Launch { rootfs, trees: brought, namespaces, stdio, cgroup, .. } = restore.launch;
    let inherited = inherited(namespaces, stdio, restore.descriptors)?;
    let mask = Mask { file: MASK_FILE, directory: MASK_DIRECTORY };
    let layout = restoring(plan, bench, &mask, inherited.len()).map_err(LaunchError::from)?;
    let trees = trees(plan, &layout, rootfs, brought)?;
    let (keys, joins): (Vec<String>, Vec<OwnedFd>) = inherited.into_iter().unzip();
    let (talk, theirs) = Talk::pair().map_err(LaunchError::prepare("create", "a socket pair"))?;
    let start = Start {
        steps: layout.steps.clone(),
        program: program(restore.program)?,
        namespaces: Namespaces::MOUNT,
        born_into: None,
        cgroup,
        root: None,
        container: None,
        trees: &trees,
        joins: &joins,
        filter: None,
        stdio: Stdio::Pipes { stdin: theirs, stdout: null()?, stderr: null()? },
        terminal: Terminal::No,
        hooks: None,
        door: None,
    };
    let criu = start.run()?.go()?;
    let inherit = keys.into_iter().zip(&joins).map(|(key, fd)| Inherit { key, fd: fd.as_raw_fd() });
    let options = Options {
        images: images.as_raw_fd(),
        work: Some(work.as_raw_fd()),
        root: Some(text(&layout.root)),
        as_sibling: Some(true),
        inherit: inherit.collect(),
        external: external(&layout, criu.pid),
        ..common()
    };
    let request =
        Request { kind: Kind::Restore.into(), options: Some(options), notify_success: None };
    let homes = homes.without_mounts_of(criu.pid).map_err(unseen)?;
    let (first, verdict) = (None, Verdict::Unseen);
    let brought = Brought::of(&layout, bench, &mounts(criu.pid));
    let mut watch =
        Watch { plan, bounds, homes, brought, criu: criu.pidfd.as_fd(), first, verdict };
    let answer = talk.ask(&request, Some(LONGEST), |notify, _| watch.on(notify));
    drop(talk);
    if answer.is_err() {
        // It may hang. What it has made ends with it, or is killed with the control group.
        let _ = sys::process::pidfd_send_signal(&criu.pidfd, sys::signal::Signal::KILL);
    }
    let _ = sys::process::wait(&criu.pidfd);
    match (watch.verdict, answer) {
        (Verdict::Excess(wrong), _) => Err(CriuError::Excess(wrong).into()),
        (Verdict::Unseen, Ok(answer)) if answer.success => Err(CriuError::Unseen.into()),
        (Verdict::Fine, Ok(answer)) if answer.success => Ok(running(&answer)?),
        (_, Ok(Response { message, errno, .. })) => {
            Err(CriuError::refused(log::errors(work), message, errno).into())
        }
        (_, Err(error)) => Err(CriuError::lost(&error, log::errors(work)).into()),
    }
}

/// Whether a container is no more than it may be.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody has looked.
    Unseen,
    Fine,
    /// What is too much.
    Excess(String),
}

/// Looks at what criu makes before it runs.
struct Watch<'a> {
    plan: &'a InitPlan,
    bounds: Bounds,
    homes: Homes,
    brought: Brought,
    criu: BorrowedFd<'a>,
    first: Option<Pid>,
    verdict: Verdict,
}

impl Watch<'_> {
    fn on(&mut self, notify: &Notify) -> Word {
        self.first = notify.pid.and_then(Pid::from_raw).or(self.first);
        if notify.script() == "pre-resume" {
            self.verdict = self.look().map_or_else(Verdict::Excess, |()| Verdict::Fine);
        }
        if matches!(self.verdict, Verdict::Excess(_)) { Word::Stop } else { Word::GoOn }
    }

    /// All is made, and stands still. What is too much is killed with all that is in its namespace, and
    /// criu with it: at this stage it does not give up, but would wait for the dead for ever.
    fn look(&self) -> Result<(), String> {
        let first = self.first.ok_or("what was made is not known")?;
        verify(first, self.plan, &self.bounds, &self.homes, &self.brought).inspect_err(|_| {
            let _ = rustix::process::kill_process(first, rustix::process::Signal::KILL);
            let _ = sys::process::pidfd_send_signal(self.criu, sys::signal::Signal::KILL);
        })
    }
}

/// What criu puts in place of what was written down: names in the checkpoint, descriptors.
fn inherited(
    namespaces: Vec<(Namespaces, OwnedFd)>,
    stdio: Stdio,
    descriptors: &Descriptors,
) -> Result<Vec<(String, OwnedFd)>, LaunchError> {
    let mut inherited = Vec::new();
    for (kind, fd) in namespaces {
        if kind != Namespaces::NET {
            let what = format!("a {kind} namespace of others");
            return Err(LaunchError::prepare("restore into", what)(Errno::OPNOTSUPP));
        }
        inherited.push((NETWORK.to_owned(), fd));
    }
    let Stdio::Pipes { stdin, stdout, stderr } = stdio else {
        return Err(LaunchError::prepare("restore", "a terminal")(Errno::OPNOTSUPP));
    };
    let streams = descriptors.0.iter().zip([stdin, stdout, stderr]);
    inherited.extend(streams.filter_map(|(key, fd)| Some((key.clone()?, fd))));
    for (_, fd) in &mut inherited {
        // The first three numbers are criu's own.
        *fd = rustix::io::fcntl_dupfd_cloexec(&*fd, 3)
            .map_err(LaunchError::prepare("duplicate", "a descriptor for criu"))?;
    }
    Ok(inherited)
}

/// By slot: the root file system, then what the layout asks for.
fn trees(
    plan: &InitPlan,
    layout: &Restoring,
    rootfs: OwnedFd,
    brought: Vec<(usize, OwnedFd)>,
) -> Result<Vec<OwnedFd>, LaunchError> {
    let mut given = Given { trees: brought, namespaces: Vec::new() };
    let mut trees = Vec::new();
    for slot in &layout.trees {
        trees.push(given.tree(&plan.trees[*slot], &rootfs)?);
    }
    trees.insert(0, rootfs);
    Ok(trees)
}

fn program(path: &Path) -> Result<Program, LaunchError> {
    let at = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| LaunchError::prepare("start", path.display())(Errno::INVAL))?;
    Ok(Program {
        name: text(path),
        candidates: Candidates::At(at),
        argv: vec![c"criu".to_owned(), c"swrk".to_owned(), c"0".to_owned()],
        env: vec![ENVIRONMENT.to_owned()],
    })
}

/// What is mounted where criu is.
fn mounts(criu: Pid) -> Vec<u8> {
    fs::read(process(criu).join("mountinfo")).unwrap_or_default()
}

/// What lies on the bench, with what is mounted below it: a bind brings the mounts of its source.
fn external(layout: &Restoring, criu: Pid) -> Vec<String> {
    let mounts = mounts(criu);
    let places: Vec<PathBuf> = entries(&mounts).map(|mount| mount.path()).collect();
    let mut external = Vec::new();
    for (name, path) in &layout.laid {
        external.push(format!("mnt[{name}]:{}", text(path)));
        let below = places.iter().filter_map(|place| Some((place, place.strip_prefix(path).ok()?)));
        let below = below.filter(|(_, rest)| !rest.as_os_str().is_empty());
        external.extend(
            below.map(|(place, rest)| format!("mnt[{name}/{}]:{}", text(rest), text(place))),
        );
    }
    external
}

fn running(answer: &Response) -> Result<Running, CriuError> {
    let pid = answer.restored.and_then(|restored| Pid::from_raw(restored.pid));
    let pid = pid.ok_or_else(|| CriuError::Refused("it does not say what it made".to_owned()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|errno| CriuError::Refused(format!("what it made has ended: {errno}")))?;
    Ok(Running { pid, pidfd, terminal: None })
}

fn null() -> Result<OwnedFd, LaunchError> {
    rustix::fs::openat(CWD, c"/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(LaunchError::prepare("open", "/dev/null"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
