//! Checkpoints: a container that runs is written down, listed, removed, and made again.
//!
//! What criu has to be told is `runtime::criu`'s matter. Here is what a checkpoint is on disk, what
//! may become one, and how it comes about whole or not at all (`docs/design/checkpoint.md`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::container::{InitProcess, NamespaceSpec, Removal, Terminal};
use model::id::is_plain_name;
use model::mount::MountSource;
use model::{ContainerId, Life, NameOrId, Signal};
use runtime::criu::{self, After, Descriptors, Dump, Seal};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use shim::Shim;
use shim::protocol::{ExecState, Restoration};
use sys::failpoint::{Point, pass};
use sys::helper;

use crate::bundle::{INIT_PATH, SHM};
use crate::container::Container;
use crate::guard::call_error;
use crate::prepare::etc_sources;
use crate::view::{CheckpointOptions, CheckpointPlace};
use crate::{Engine, EngineError};

/// Where a container's checkpoints are, in its directory or in one of the caller's.
const CHECKPOINTS: &str = "checkpoints";
/// What a checkpoint is, beside criu's files. It is written last.
const MANIFEST: &str = "dhow.json";
/// Longest manifest that is read.
const MAX_MANIFEST: u64 = 64 << 10;
/// Begins the name of what is being written or removed; no checkpoint is called so.
const UNFINISHED: char = '.';
/// What is left of criu's last failure, in the container's directory.
const FAILURE_LOG: &str = "criu.log";
/// Where criu works at a restore, in the container's directory.
const WORK: &str = "restore";

/// What of a checkpoint is dhow's own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    descriptors: Descriptors,
}

/// The only version so far.
const VERSION: u32 = 1;

impl Engine {
    /// Writes a container that runs down. It ends with that, unless it is to go on.
    ///
    /// # Errors
    /// There is no criu, it cannot do it, or there is such a checkpoint. The container goes on.
    pub fn checkpoint(
        &self,
        who: &NameOrId,
        place: &CheckpointPlace,
        options: CheckpointOptions,
    ) -> Result<(), EngineError> {
        let id = self.find(who)?.id;
        let all = self.checkpoints_of(&id, place)?;
        let program = self.criu()?;
        let (lock, container) = self.lock(&id)?;
        let (pid, mut shim) = self.writable_down(&container, place, options.after)?;
        let target = all.join(&place.name);
        if target.exists() {
            return Err(EngineError::CheckpointExists {
                name: place.name.clone(),
                container: container.name().to_owned(),
            });
        }
        let survey = criu::survey(pid, &self.given_places(&container)?)
            .map_err(|error| cannot(&container, error))?;
        let stage = stage(&all, &place.name)?;
        let dump =
            Dump { program: &program, survey: &survey, images: &stage, after: options.after };
        let mut sealed = Ok(());
        let done = criu::dump(&dump, || {
            pass(Point::CheckpointWritten);
            sealed = seal(&stage, &target, &survey.descriptors);
            pass(Point::CheckpointSealed);
            if sealed.is_ok() {
                sealed = end(&mut shim, &container, options.after);
            }
            if sealed.is_ok() { Seal::Kept } else { Seal::Lost }
        });
        if sealed.is_err() || done.is_err() {
            let log = self.keep_criu_log(&id, &stage);
            let _ = fs::remove_dir_all(&stage);
            sealed?;
            return done.map_err(|error| self.failed(&container, &error, log));
        }
        let _ = fs::remove_file(target.join(criu::LOG));
        if options.after == After::Ends {
            shim.killed().map_err(|error| call_error(&id, error))?;
        }
        drop(lock);
        if options.after == After::Ends {
            self.settle(&id)?;
        }
        self.tell(&container, "checkpoint", &[]);
        Ok(())
    }

    /// The names of a container's checkpoints, in order.
    ///
    /// # Errors
    /// There is no such container, or their directory cannot be read.
    pub fn checkpoints(
        &self,
        who: &NameOrId,
        dir: Option<&Path>,
    ) -> Result<Vec<String>, EngineError> {
        let all = self.checkpoint_dir(&self.find(who)?.id, dir)?;
        let mut names = Vec::new();
        for entry in entries(&all)? {
            let is_whole = all.join(&entry).join(MANIFEST).is_file();
            names.extend(Some(entry).filter(|name| is_whole && is_plain_name(name)));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn checkpoint_remove(
        &self,
        who: &NameOrId,
        place: &CheckpointPlace,
    ) -> Result<(), EngineError> {
        let id = self.find(who)?.id;
        let all = self.checkpoints_of(&id, place)?;
        let (_lock, container) = self.lock(&id)?;
        let target = existing(&all, &container, place)?;
        sweep(&all)?;
        let gone = unfinished(&all, &place.name);
        fs::rename(&target, &gone).map_err(EngineError::file("remove", &target))?;
        fs::remove_dir_all(&gone).map_err(EngineError::file("remove", gone))
    }

    /// Everything that a start from a checkpoint needs beside what any start needs.
    pub(crate) fn restoration(
        &self,
        container: &Container,
        place: &CheckpointPlace,
    ) -> Result<Restoration, EngineError> {
        let all = self.checkpoints_of(&container.id, place)?;
        let images = existing(&all, container, place)?;
        let program = self.criu()?;
        check_owner(&images)?;
        let manifest = read_manifest(&images.join(MANIFEST))?;
        let work = self.paths().container_dir(&container.id).join(WORK);
        // A restore that was killed has left it.
        remove_tree(&work)?;
        make_dir(&work)?;
        Ok(Restoration { program, images, work, descriptors: manifest.descriptors })
    }

    /// Takes away what a restore has worked with, and says where its log is if it has failed.
    pub(crate) fn restored(
        &self,
        container: &Container,
        work: &Path,
        done: Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let log = done.as_ref().err().and_then(|_| self.keep_criu_log(&container.id, work));
        // What stays is overwritten by the next.
        let _ = remove_tree(work);
        match (done, log) {
            (Err(EngineError::Start(mut failure)), Some(log)) => {
                failure.message.push_str(&told_by(&log));
                Err(EngineError::Start(failure))
            }
            (done, _) => done,
        }
    }

    fn criu(&self) -> Result<PathBuf, EngineError> {
        let wanted = self.paths().criu();
        helper::find(wanted).ok_or_else(|| EngineError::NoCriu(wanted.to_owned()))
    }

    /// Where the checkpoints of a container are among which one is named.
    pub(crate) fn checkpoints_of(
        &self,
        id: &ContainerId,
        place: &CheckpointPlace,
    ) -> Result<PathBuf, EngineError> {
        if !is_plain_name(&place.name) {
            return Err(EngineError::BadCheckpointName(place.name.clone()));
        }
        self.checkpoint_dir(id, place.dir.as_deref())
    }

    fn checkpoint_dir(&self, id: &ContainerId, dir: Option<&Path>) -> Result<PathBuf, EngineError> {
        match dir {
            None => Ok(self.paths().container_dir(id).join(CHECKPOINTS)),
            Some(dir) if dir.is_absolute() => Ok(dir.join(id.to_string()).join(CHECKPOINTS)),
            Some(dir) => Err(EngineError::Invalid(format!(
                "the directory of checkpoints {:?} is not absolute",
                dir.display()
            ))),
        }
    }

    /// Whether a container is one that can be made again from what criu writes. Nothing is frozen
    /// for those that are not.
    fn writable_down(
        &self,
        container: &Container,
        place: &CheckpointPlace,
        after: After,
    ) -> Result<(Pid, Shim), EngineError> {
        let id = container.id;
        let pid = match self.life(container)? {
            Life::Running { pid, .. } => i32::try_from(pid).ok().and_then(Pid::from_raw),
            Life::Paused { .. } => return Err(EngineError::CheckpointPaused(id)),
            Life::Restarting { .. } => return Err(EngineError::Restarting(id)),
            Life::Created { .. } | Life::Exited { .. } => None,
        };
        let pid = pid.ok_or(EngineError::NotRunning(id))?;
        if let Some(why) = refusal(container, place, after) {
            return Err(cannot(container, why));
        }
        if Self::systemd_groups(&container.record)?.is_some() {
            return Err(cannot(
                container,
                "its first process is systemd, with control groups of its own",
            ));
        }
        let mut shim = self.running_shim(&id)?;
        let execs = shim.execs().map_err(|error| call_error(&id, error))?;
        let runs = execs.iter().filter(|exec| matches!(exec.state, ExecState::Running(_))).count();
        if runs > 0 {
            return Err(cannot(
                container,
                format!("{runs} exec(s) run in it, which would be lost"),
            ));
        }
        Ok((pid, shim))
    }

    /// The places of all that a start binds.
    fn given_places(&self, container: &Container) -> Result<Vec<PathBuf>, EngineError> {
        let record = &container.record;
        let spec = &record.spec;
        let binds = record.mounts.iter().filter(|named| {
            matches!(named.mount.source, MountSource::Bind { .. } | MountSource::Volume { .. })
        });
        let mut places: Vec<PathBuf> = binds.map(|named| named.mount.target.clone()).collect();
        let own = self.paths().container_dir(&container.id);
        places.extend(etc_sources(record, &own).into_iter().map(|(_, place)| place.into()));
        if spec.process.init == InitProcess::Reaper {
            places.push(INIT_PATH.into());
        }
        if spec.security.ipc == NamespaceSpec::Host {
            places.push(SHM.into());
        }
        let devices = self.cdi(&spec.security.device_requests)?;
        places.extend(devices.mounts.iter().map(|mount| mount.destination().clone()));
        Ok(places)
    }

    /// Keeps the log of a criu that failed.
    fn keep_criu_log(&self, id: &ContainerId, dir: &Path) -> Option<PathBuf> {
        let kept = self.paths().container_dir(id).join(FAILURE_LOG);
        // A directory of the caller's may be on another file system.
        fs::copy(dir.join(criu::LOG), &kept).is_ok().then_some(kept)
    }

    fn failed(
        &self,
        container: &Container,
        error: &criu::CriuError,
        log: Option<PathBuf>,
    ) -> EngineError {
        let log = log.map_or_else(String::new, |log| told_by(&log));
        EngineError::CheckpointFailed {
            container: container.name().to_owned(),
            reason: format!("{error}{log}"),
        }
    }
}

/// What criu cannot do, or what would come out as something else.
fn refusal(container: &Container, place: &CheckpointPlace, after: After) -> Option<&'static str> {
    let spec = &container.record.spec;
    let joins = |kind: &NamespaceSpec| matches!(kind, NamespaceSpec::Container(_));
    let goes = spec.removal == Removal::Auto && after == After::Ends && place.dir.is_none();
    let refusals = [
        (spec.process.terminal != Terminal::None, "it has a terminal"),
        (spec.security.pid != NamespaceSpec::Private, "it has no pid namespace of its own"),
        (joins(&spec.security.ipc), "its IPC namespace is another container's"),
        (joins(&spec.security.uts), "its UTS namespace is another container's"),
        (!spec.security.userns.is_default(), "it has a user namespace of its own"),
        (goes, "it is removed when it ends, and its checkpoints with it (--rm)"),
    ];
    refusals.into_iter().find_map(|(is_so, why)| is_so.then_some(why))
}

fn cannot(container: &Container, why: impl ToString) -> EngineError {
    EngineError::CannotCheckpoint {
        container: container.name().to_owned(),
        reason: why.to_string(),
    }
}

fn told_by(log: &Path) -> String {
    format!(" (all of it: {})", log.display())
}

/// An empty directory for what is being written.
fn stage(all: &Path, name: &str) -> Result<PathBuf, EngineError> {
    make_dirs(all)?;
    sweep(all)?;
    let stage = unfinished(all, name);
    make_dir(&stage)?;
    Ok(stage)
}

/// Makes what was written last, and gives it its name.
fn seal(stage: &Path, target: &Path, descriptors: &Descriptors) -> Result<(), EngineError> {
    let manifest = Manifest { version: VERSION, descriptors: descriptors.clone() };
    let path = stage.join(MANIFEST);
    let write = || {
        fs::write(&path, serde_json::to_vec(&manifest).map_err(io::Error::other)?)?;
        // The container may end with this.
        rustix::fs::syncfs(File::open(stage)?)?;
        fs::rename(stage, target)?;
        File::open(target.parent().unwrap_or(target))?.sync_all()
    };
    write().map_err(EngineError::file("write the checkpoint", target))
}

/// Its end is somebody's wish: its restart policy does not start it again. The kernel kills it while
/// it stands still, so it does nothing more; that it is dead is known when criu lets go of it.
fn end(shim: &mut Shim, container: &Container, after: After) -> Result<(), EngineError> {
    match after {
        After::Runs => Ok(()),
        After::Ends => {
            shim.send_kill(Signal::KILL).map_err(|error| call_error(&container.id, error))
        }
    }
}

fn unfinished(all: &Path, name: &str) -> PathBuf {
    all.join(format!("{UNFINISHED}{name}"))
}

/// Removes what was never finished. Whoever holds the container's lock is the only one at work.
fn sweep(all: &Path) -> Result<(), EngineError> {
    for name in entries(all)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
        remove_tree(&all.join(name))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<String>, EngineError> {
    let list = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(EngineError::file("read", dir))?,
    };
    Ok(list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn existing(
    all: &Path,
    container: &Container,
    place: &CheckpointPlace,
) -> Result<PathBuf, EngineError> {
    let target = all.join(&place.name);
    if target.join(MANIFEST).is_file() {
        return Ok(target);
    }
    Err(EngineError::NoSuchCheckpoint {
        name: place.name.clone(),
        container: container.name().to_owned(),
    })
}

/// Whoever can write there decides what runs with the rights of the host's root: criu believes what
/// it reads.
fn check_owner(images: &Path) -> Result<(), EngineError> {
    let entries = entries(images)?.into_iter().map(|name| images.join(name));
    for path in entries.chain([images.to_owned()]) {
        let found = fs::symlink_metadata(&path).map_err(EngineError::file("look at", &path))?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        if !is_ours || found.mode() & 0o022 != 0 || found.is_symlink() {
            return Err(EngineError::Invalid(format!(
                "the checkpoint is not trusted: others than its owner could have written {}",
                path.display()
            )));
        }
    }
    Ok(())
}

fn read_manifest(path: &Path) -> Result<Manifest, EngineError> {
    let read = || {
        let file = File::open(path)?;
        if file.metadata()?.len() > MAX_MANIFEST {
            return Err(io::Error::other("it is too long"));
        }
        let manifest: Manifest = serde_json::from_reader(file).map_err(io::Error::other)?;
        if manifest.version == VERSION {
            Ok(manifest)
        } else {
            Err(io::Error::other(format!("it is of version {}", manifest.version)))
        }
    };
    read().map_err(EngineError::file("read the checkpoint", path))
}

fn make_dir(path: &Path) -> Result<(), EngineError> {
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(EngineError::file("make", path))
}

fn make_dirs(path: &Path) -> Result<(), EngineError> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(EngineError::file("make", path))
}

fn remove_tree(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::file("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
