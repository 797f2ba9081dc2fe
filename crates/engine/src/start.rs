//! `start`: everything that a container's init needs is prepared here, then its shim launches it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::container::{DEFAULT_STOP_TIMEOUT, Removal};
use model::life::StartFailure;
use model::{Life, NameOrId};
use oci_spec::runtime::Spec;
use shim::protocol::{FdRole, Launch, LogConfig, Resolver, Restoration, Started, StopDefaults};
use shim::{CallError, Why};
use sys::failpoint::Point;

use crate::container::{Container, now};
use crate::guard::{call_error, shim_error};
use crate::record::{Endpoint, Mounted, Progress, Start};
use crate::trees::unseen;
use crate::view::{CheckpointPlace, StartOutcome};
use crate::{Engine, EngineError, rootless};

/// Docker's code for a start that failed before the command could be looked for.
const FAILED_BEFORE: u8 = 128;

/// A container that is ready to be launched.
pub(crate) struct Prepared {
    pub(crate) spec: Spec,
    pub(crate) fds: Vec<(FdRole, OwnedFd)>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) network: crate::ports::Publication,
    pub(crate) mounted: Vec<Mounted>,
    /// The slice in which systemd makes its cgroup.
    pub(crate) slice: Option<String>,
    /// How its guardian answers its questions for names.
    pub(crate) resolver: Option<Box<Resolver>>,
}

impl Prepared {
    /// The AppArmor profile that its process is given.
    fn profile(&self) -> Option<String> {
        let profile = self.spec.process().as_ref()?.apparmor_profile().clone()?;
        Some(profile).filter(|name| !name.is_empty())
    }
}

/// How a container comes to run.
pub(crate) enum Beginning {
    /// Somebody wants it.
    Start,
    /// Its restart policy wants it, for the n-th time.
    Revival(u32),
    /// Somebody wants it as it was: from the checkpoint that has been looked at.
    Restore(Restoration, OwnedFd),
}

impl Beginning {
    fn revival(&self) -> u32 {
        match self {
            Self::Revival(number) => *number,
            Self::Start | Self::Restore(..) => 0,
        }
    }

    fn restoration(&self) -> Option<Box<Restoration>> {
        match self {
            Self::Restore(restoration, _) => Some(Box::new(restoration.clone())),
            Self::Start | Self::Revival(_) => None,
        }
    }

    /// What it is made of.
    fn checkpoint(&self) -> Option<(FdRole, BorrowedFd<'_>)> {
        match self {
            Self::Restore(_, images) => Some((FdRole::Checkpoint, images.as_fd())),
            Self::Start | Self::Revival(_) => None,
        }
    }
}

impl Engine {
    /// Starts a container.
    ///
    /// # Errors
    /// It cannot be started; it stays as it was, with the failure noted in its record.
    pub fn start(&self, who: &NameOrId) -> Result<StartOutcome, EngineError> {
        self.begin(who, None)
    }

    /// Makes a container again as it was when the checkpoint was made.
    ///
    /// # Errors
    /// As for a start; there is no such checkpoint, or criu cannot do it.
    pub fn start_from(
        &self,
        who: &NameOrId,
        place: &CheckpointPlace,
    ) -> Result<StartOutcome, EngineError> {
        self.begin(who, Some(place))
    }

    fn begin(
        &self,
        who: &NameOrId,
        checkpoint: Option<&CheckpointPlace>,
    ) -> Result<StartOutcome, EngineError> {
        let id = self.find(who)?.id;
        if let Some(place) = checkpoint {
            rootless::check_checkpoint()?;
            self.check_checkpoint_place(&id, place)?;
        }
        let (lock, mut container) = self.lock(&id)?;
        match self.life(&container)? {
            // It is started anyway (Docker).
            Life::Running { .. } | Life::Restarting { .. } => {
                return Ok(StartOutcome::AlreadyRunning);
            }
            Life::Paused { .. } => {
                return Err(EngineError::StartPaused);
            }
            Life::Created { .. } | Life::Exited { .. } => {}
        }
        // Before there is another shim's word for it, or its ports are taken for this start's.
        self.settle_death(&lock, &container)?;
        // A start that was killed before its shim knew of them has left them.
        self.unpublish_leftovers(&container)?;
        let started = match checkpoint {
            None => self.launch(&mut container, Beginning::Start),
            Some(place) => {
                let (restoration, images) = self.restoration(&container, place)?;
                let work = restoration.work.clone();
                let beginning = Beginning::Restore(restoration, images);
                let started = self.launch(&mut container, beginning);
                self.restored(&container, &work, started)
            }
        };
        if let Err(error) = &started {
            // This error is the one to tell, not that of what follows from it, which `reconcile`
            // makes good.
            let _ = if container.row.auto_remove {
                self.give_up(&container)
            } else {
                self.note_failure(&mut container, error)
            };
        }
        started.map(|()| StartOutcome::Started)
    }

    /// Launches a container.
    pub(crate) fn launch(
        &self,
        container: &mut Container,
        beginning: Beginning,
    ) -> Result<(), EngineError> {
        let revival = beginning.revival();
        let mut shim = self.shim_of_locked(&container.id)?;
        EngineError::step(Point::StartShim)?;
        let at = now();
        let log = self.log_config(container)?;
        self.fill_due(container)?;
        let prepared = self.prepare(container)?;
        let endpoint = prepared.endpoint.clone();
        let (mounted, unseen) = match &beginning {
            Beginning::Start | Beginning::Revival(_) => {
                (prepared.mounted.clone(), unseen(&container.record))
            }
            // criu mounts copies, whose numbers nobody knows.
            Beginning::Restore(..) => (Vec::new(), Vec::new()),
        };
        let (failed, again_failed) = (None, None);
        let (restarts, slice, apparmor) = (revival, prepared.slice.clone(), prepared.profile());
        let start = Start {
            at,
            endpoint,
            kept: None,
            failed,
            restarts,
            again_failed,
            mounted,
            unseen,
            slice,
            apparmor,
        };
        container.record.progress =
            Progress::Started(Box::new(match container.record.last_start() {
                // Until it runs again, what counts is how it ended before.
                Some(last) if revival > 0 => {
                    let Start { endpoint, mounted, unseen, slice, apparmor, .. } = start.clone();
                    let kept = None;
                    Start { endpoint, kept, mounted, unseen, slice, apparmor, ..last.clone() }
                }
                Some(_) | None => start.clone(),
            }));
        if let Err(error) = self.save(container) {
            let _ = self.unpublish(&prepared.network);
            return Err(error);
        }
        sys::failpoint::pass(Point::StartSaved);
        let fds = prepared.fds.iter().map(|(role, fd)| (*role, fd.as_fd()));
        let (roles, fds): (Vec<_>, Vec<_>) = fds.chain(beginning.checkpoint()).unzip();
        let launch = self.launch_message(container, &prepared, log, &beginning);
        let launch = Launch { fds: roles, decided: Some(at), ..launch };
        self.leave_about(container, prepared.endpoint.as_ref());
        let started = self
            .leave_probe(container, &prepared.spec)
            .and_then(|()| self.put_own_names(container, prepared.endpoint.as_ref()))
            .and_then(|()| self.launched(container, shim.launch(launch, &fds)));
        sys::failpoint::pass(Point::StartLaunched);
        match started {
            Ok(_) => {
                self.admit_early_senders(&prepared.network);
                if revival > 0 {
                    container.record.progress = Progress::Started(Box::new(start));
                    // It runs, whatever its row says of it.
                    let _ = self.save(container);
                }
                Ok(())
            }
            Err(error) => {
                self.take_names(&container.id);
                // Above all the command's code must not be lost.
                let _ = self.unpublish(&prepared.network);
                Err(error)
            }
        }
    }

    /// What became of a launch. A shim that has not answered would start the container when it goes on,
    /// after everybody was told that it has not been started: it is ended.
    fn launched(
        &self,
        container: &Container,
        answer: Result<Started, CallError>,
    ) -> Result<Started, EngineError> {
        let id = &container.id;
        let Err(CallError::Silent(silence)) = answer else {
            return answer.map_err(|error| call_error(id, error));
        };
        shim::end_silent(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))?;
        let who = silence
            .pid
            .map_or_else(String::new, |pid| format!(" (process {})", pid.as_raw_nonzero()));
        let why = if silence.why == Why::Stopped { "was stopped" } else { "did not answer" };
        let what = format!("its shim{who} {why} and has been ended; start the container again");
        Err(EngineError::Shim { id: *id, what })
    }

    fn launch_message(
        &self,
        container: &Container,
        prepared: &Prepared,
        log: LogConfig,
        beginning: &Beginning,
    ) -> Launch {
        let resolved = &container.record.resolved;
        let spec = &container.record.spec;
        let reap = ["reap".to_owned(), container.id.to_string()];
        Launch {
            spec: Box::new(prepared.spec.clone()),
            fds: Vec::new(),
            stdin: spec.process.stdin,
            log,
            cgroup: self.cgroup_name(container),
            stop: StopDefaults {
                signal: resolved.stop_signal,
                timeout: resolved.stop_timeout.unwrap_or(DEFAULT_STOP_TIMEOUT),
            },
            exit_record: self.paths().exit_record(&container.id),
            published: self.published(&prepared.network),
            reap: (spec.removal == Removal::Auto).then(|| self.role_arguments(&reap)),
            restarts: self.restarts(container),
            health: self.health_plan(container),
            revival: beginning.revival(),
            restoration: beginning.restoration(),
            decided: None,
            forwards: prepared.network.forwards.clone(),
            resolver: prepared.resolver.clone(),
        }
    }

    /// Arguments for this very program that make it work on the same roots.
    pub(crate) fn role_arguments(&self, role: &[String]) -> Vec<String> {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let roots = [
            "--root".to_owned(),
            text(self.paths().root()),
            "--run-root".to_owned(),
            text(self.paths().run()),
        ];
        roots.into_iter().chain(role.iter().cloned()).collect()
    }

    /// A container that goes with its process goes as well if it has never got one: first its shim,
    /// then what the shim used. Whoever waits for it finds that its shim has left.
    fn give_up(&self, container: &Container) -> Result<(), EngineError> {
        let life = self.take_life(container)?;
        // A shim that was killed in the middle of the launch has left no words.
        self.end_orphans(container)?;
        self.discard(container)?;
        life.remove_dir();
        Ok(())
    }

    fn note_failure(
        &self,
        container: &mut Container,
        error: &EngineError,
    ) -> Result<(), EngineError> {
        if self.is_free(&container.id)? {
            self.end_orphans(container)?;
        }
        let released = self.store().release(&container.id);
        let failed = Some(failure_of(error));
        // Whatever could not be ended is still where it was.
        let slice = container.record.last_start().and_then(|start| start.slice.clone());
        container.record.progress = Progress::Started(Box::new(Start {
            at: now(),
            endpoint: None,
            kept: None,
            failed,
            restarts: 0,
            again_failed: None,
            mounted: Vec::new(),
            unseen: Vec::new(),
            slice,
            apparmor: None,
        }));
        self.save(container)?;
        Ok(released?)
    }
}

/// Why a start failed, as the record keeps it.
pub(crate) fn failure_of(error: &EngineError) -> StartFailure {
    if let EngineError::Start(failure) = error {
        return failure.clone();
    }
    StartFailure { code: model::ExitCode(FAILED_BEFORE), message: error.to_string() }
}
