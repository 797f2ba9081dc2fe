//! Checkpoints: a container that runs is written down, listed, removed, and made again.
//!
//! What criu has to be told is `runtime::criu`'s matter. Here is what a checkpoint is on disk, what
//! may become one, and how it comes about whole or not at all (`docs/design/checkpoint.md`).

mod carried;
mod kept;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::container::{InitProcess, NamespaceSpec, Removal, Terminal};
use model::id::is_plain_name;
use model::mount::MountSource;
use model::{ContainerId, Life, NameOrId, Signal};
use runtime::criu::{self, After, Dump, Seal, Survey};
use rustix::process::Pid;
use shim::Shim;
use shim::protocol::{ExecState, Restoration};
use sys::failpoint::{Point, pass};
use sys::helper;

use crate::bundle::{INIT_PATH, SHM};
use crate::container::Container;
use crate::guard::call_error;
use crate::naming::etc_sources;
use crate::view::{CheckpointOptions, CheckpointPlace};
use crate::{Engine, EngineError, rootless};
use kept::{Kept, Shelf, Stage};

/// Where a container's checkpoints are, in its directory or in one of the caller's.
const CHECKPOINTS: &str = "checkpoints";
/// What is left of criu's last failure, in the container's directory.
const FAILURE_LOG: &str = "criu.log";
/// Where criu works at a restore, in the container's directory.
const WORK: &str = "restore";

/// How a container is written down.
struct Writing<'a> {
    program: &'a Path,
    survey: &'a Survey,
    after: After,
}

/// Whether a container's shim was told to end it.
enum End {
    Said,
    Unsaid,
}

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
        rootless::check_checkpoint()?;
        let shelf = self.shelf_of(&id, place)?;
        let program = self.criu()?;
        let (lock, container) = self.lock(&id)?;
        let (pid, mut shim) = self.writable_down(&container, place, options.after)?;
        let kept = shelf.make()?;
        check_free(&kept, &container, place)?;
        let survey = criu::survey(pid, &self.given_places(&container)?)
            .map_err(|error| cannot(&container, error))?;
        let writing = Writing { program: &program, survey: &survey, after: options.after };
        self.write_down(&container, kept.stage(&place.name)?, &writing, &mut shim)?;
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

    /// Writes it down whole, or not at all.
    fn write_down(
        &self,
        container: &Container,
        mut stage: Stage<'_>,
        writing: &Writing<'_>,
        shim: &mut Shim,
    ) -> Result<(), EngineError> {
        let Writing { program, survey, after } = *writing;
        let images = stage.as_fd().try_clone_to_owned();
        let images = images.map_err(EngineError::file("open", CHECKPOINTS))?;
        let (images, work) = (images.as_fd(), images.as_fd());
        let dump = Dump { program, survey, images, work, after };
        let mut end = Ok(End::Unsaid);
        let done = criu::dump(&dump, || {
            pass(Point::CheckpointWritten);
            let sealed = stage.seal(&survey.descriptors);
            pass(Point::CheckpointSealed);
            end = sealed.and_then(|()| say_end(shim, container, after));
            if end.is_ok() { Seal::Kept } else { Seal::Lost }
        });
        let failed = match (end, done) {
            // criu had no more to do than to let go, and the kernel does that for it.
            (Ok(End::Said), _) | (Ok(End::Unsaid), Ok(())) => {
                stage.keep();
                return Ok(());
            }
            (end, done) => end.map(|_| done),
        };
        let log = stage.log().and_then(|log| self.keep_criu_log(&container.id, log)).ok();
        stage.discard();
        match failed? {
            Err(error) => Err(self.failed(container, &error, log)),
            Ok(()) => Ok(()),
        }
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
        let kept = self.shelf(&self.find(who)?.id, dir)?.open()?;
        kept.map_or_else(|| Ok(Vec::new()), |kept| kept.whole())
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
        let shelf = self.shelf_of(&id, place)?;
        let (_lock, container) = self.lock(&id)?;
        existing(&shelf, &container, place)?.remove(&place.name)
    }

    /// Writes a checkpoint as an archive.
    ///
    /// # Errors
    /// There is none of this name; `out` cannot be written to.
    pub fn checkpoint_export(
        &self,
        who: &NameOrId,
        place: &CheckpointPlace,
        out: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let shelf = self.shelf_of(&container.id, place)?;
        existing(&shelf, &container, place)?.export(&place.name, out)
    }

    /// Whether there is such a checkpoint: what is wrong is said before its archive begins.
    ///
    /// # Errors
    /// There is none.
    pub fn checkpoint_can_export(
        &self,
        who: &NameOrId,
        place: &CheckpointPlace,
    ) -> Result<(), EngineError> {
        rootless::check_checkpoint()?;
        let container = self.find(who)?;
        existing(&self.shelf_of(&container.id, place)?, &container, place)?
            .images(&place.name)
            .map(drop)
    }

    /// Takes a checkpoint from an archive that [`Engine::checkpoint_export`] has written. What it may do is
    /// seen when a container is made of it. While the archive comes, others may do what they like with the
    /// container: whoever sends it may be slow.
    ///
    /// # Errors
    /// There is one of this name, or the archive is of something else: nothing has changed.
    pub fn checkpoint_import(
        &self,
        who: &NameOrId,
        place: &CheckpointPlace,
        archive: impl Read,
    ) -> Result<(), EngineError> {
        rootless::check_checkpoint()?;
        let id = self.find(who)?.id;
        let shelf = self.shelf_of(&id, place)?;
        let (lock, container) = self.lock(&id)?;
        let kept = shelf.make()?;
        check_free(&kept, &container, place)?;
        let mut stage = kept.stage(&place.name)?;
        drop(lock);
        let named = stage.take(archive).and_then(|descriptors| {
            let (_lock, container) = self.lock(&id)?;
            check_free(&kept, &container, place)?;
            stage.seal(&descriptors)
        });
        match named {
            Ok(()) => stage.keep(),
            Err(_) => stage.discard(),
        }
        named
    }

    /// Everything that a start from a checkpoint needs beside what any start needs, and the checkpoint:
    /// what was looked at is what criu reads.
    pub(crate) fn restoration(
        &self,
        container: &Container,
        place: &CheckpointPlace,
    ) -> Result<(Restoration, OwnedFd), EngineError> {
        let shelf = self.shelf_of(&container.id, place)?;
        let kept = existing(&shelf, container, place)?;
        let program = self.criu()?;
        let (images, descriptors) = kept.images(&place.name)?;
        let work = self.paths().container_dir(&container.id).join(WORK);
        // A restore that was killed has left it.
        remove_tree(&work)?;
        let made = fs::DirBuilder::new().mode(0o700).create(&work);
        made.map_err(EngineError::file("make", &work))?;
        Ok((Restoration { program, work, descriptors }, images))
    }

    /// Takes away what a restore has worked with, and says where its log is if it has failed.
    pub(crate) fn restored(
        &self,
        container: &Container,
        work: &Path,
        done: Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let log = done.as_ref().err().and_then(|_| {
            let log = File::open(work.join(criu::LOG)).ok()?;
            self.keep_criu_log(&container.id, log).ok()
        });
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

    /// Whether a checkpoint can be called so, and be there.
    pub(crate) fn check_checkpoint_place(
        &self,
        id: &ContainerId,
        place: &CheckpointPlace,
    ) -> Result<(), EngineError> {
        self.shelf_of(id, place).map(drop)
    }

    /// Where the checkpoints of a container are among which one is named.
    fn shelf_of(&self, id: &ContainerId, place: &CheckpointPlace) -> Result<Shelf, EngineError> {
        if !is_plain_name(&place.name) {
            return Err(EngineError::BadCheckpointName(place.name.clone()));
        }
        self.shelf(id, place.dir.as_deref())
    }

    fn shelf(&self, id: &ContainerId, dir: Option<&Path>) -> Result<Shelf, EngineError> {
        let own = CHECKPOINTS.to_owned();
        match dir {
            None => Ok(Shelf { base: self.paths().container_dir(id), levels: vec![own] }),
            Some(dir) if dir.is_absolute() => {
                Ok(Shelf { base: dir.to_owned(), levels: vec![id.to_string(), own] })
            }
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
    fn keep_criu_log(&self, id: &ContainerId, mut log: File) -> io::Result<PathBuf> {
        let kept = self.paths().container_dir(id).join(FAILURE_LOG);
        io::copy(&mut log, &mut File::create(&kept)?)?;
        Ok(kept)
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

/// Its end is somebody's wish: its restart policy does not start it again. The kernel kills it while
/// it stands still, so it does nothing more; that it is dead is known when criu lets go of it.
fn say_end(shim: &mut Shim, container: &Container, after: After) -> Result<End, EngineError> {
    match after {
        After::Runs => Ok(End::Unsaid),
        After::Ends => {
            let sent = shim.send_kill(Signal::KILL);
            sent.map(|()| End::Said).map_err(|error| call_error(&container.id, error))
        }
    }
}

/// Whether a checkpoint can get this name.
fn check_free(
    kept: &Kept,
    container: &Container,
    place: &CheckpointPlace,
) -> Result<(), EngineError> {
    if kept.is_taken(&place.name)? {
        return Err(EngineError::CheckpointExists {
            name: place.name.clone(),
            container: container.name().to_owned(),
        });
    }
    Ok(())
}

fn existing(
    shelf: &Shelf,
    container: &Container,
    place: &CheckpointPlace,
) -> Result<Kept, EngineError> {
    let kept = shelf.open()?.filter(|kept| kept.has(&place.name));
    kept.ok_or_else(|| EngineError::NoSuchCheckpoint {
        name: place.name.clone(),
        container: container.name().to_owned(),
    })
}

fn remove_tree(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::file("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
