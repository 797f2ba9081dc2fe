//! The way to a container's shim, and what its answers mean here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{ContainerId, Life};
use shim::protocol::{ExitRecord, Refusal, Request, Until, Which};
use shim::{CallError, EnsureError, Liveness, RecordError, Shim, ShimPaths, Watch};

use crate::container::Container;
use crate::{Engine, EngineError};

/// How often a shim that ends before it answers is looked for anew: its container may have ended in
/// between, but one that dies at its start will always do so.
pub(crate) const ATTEMPTS: usize = 5;

/// Becomes readable when a container has ended.
#[derive(Debug)]
pub(crate) struct ExitWatch(OwnedFd);

impl AsFd for ExitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Engine {
    pub(crate) fn shim_paths(&self, id: &ContainerId) -> ShimPaths {
        ShimPaths {
            id: *id,
            root: self.paths().root().to_owned(),
            run: self.paths().run().to_owned(),
            cgroup: self.paths().cgroup_parent(),
        }
    }

    /// The container's shim, if it has one.
    pub(crate) fn shim(&self, id: &ContainerId) -> Result<Option<Shim>, EngineError> {
        Shim::connect(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))
    }

    /// The container's shim, started if need be, and the container as it is then. It is there while
    /// the connection is: whoever removes it makes the shim leave first.
    pub(crate) fn ensure_shim(&self, id: &ContainerId) -> Result<(Shim, Container), EngineError> {
        if self.has_died(id)? {
            let (lock, container) = self.lock(id)?;
            self.settle_death(&lock, &container)?;
        }
        let shim = match self.shim_of_locked(id) {
            // Either it is gone when that is done, or it was not removed after all.
            Err(EngineError::BeingRemoved(_)) => {
                drop(self.lock(id)?);
                self.shim_of_locked(id)?
            }
            shim => shim?,
        };
        // It may have been removed between the look-up and the shim's start. Such a shim guards
        // nothing, and would wait for ever with whoever is connected.
        match self.reread(id) {
            Ok(container) => Ok((shim, container)),
            Err(error) => {
                // One that is gone already is what is wanted.
                let _ = shim.quit();
                Err(error)
            }
        }
    }

    /// The same under the container's lock, where nobody can remove it.
    pub(crate) fn shim_of_locked(&self, id: &ContainerId) -> Result<Shim, EngineError> {
        let hierarchies = || self.hierarchies().ok().cloned();
        shim::ensure(&self.shim_paths(id), hierarchies).map_err(|error| {
            if matches!(error, EnsureError::BeingRemoved) {
                return EngineError::BeingRemoved(id.to_string());
            }
            shim_error(id, &error)
        })
    }

    /// The shim of a container that must run.
    pub(crate) fn running_shim(&self, id: &ContainerId) -> Result<Shim, EngineError> {
        self.shim(id)?.ok_or(EngineError::NotRunning(*id))
    }

    /// What the shim has written down; true only while there is one.
    pub(crate) fn guarded_life(&self, id: &ContainerId) -> Result<Option<Life>, EngineError> {
        shim::read_state(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))
    }

    /// Whether nobody owns the container's life.
    pub(crate) fn is_free(&self, id: &ContainerId) -> Result<bool, EngineError> {
        Ok(self.liveness(id)? == Liveness::Free)
    }

    /// Who owns the container's life.
    pub(crate) fn liveness(&self, id: &ContainerId) -> Result<Liveness, EngineError> {
        shim::probe(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))
    }

    /// The same for one who looks at more than that.
    pub(crate) fn liveness_at(
        &self,
        watch: &mut Watch,
        id: &ContainerId,
    ) -> Result<Liveness, EngineError> {
        watch.liveness().map_err(|error| shim_error(id, &error))
    }

    /// How the container ended last, if anybody saw it.
    pub(crate) fn last_exit(&self, id: &ContainerId) -> Result<Option<ExitRecord>, EngineError> {
        shim::read_exit(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))
    }

    /// Something to poll for the end of a container that runs.
    pub(crate) fn watch_exit(&self, id: &ContainerId) -> Result<ExitWatch, EngineError> {
        let stream = self.running_shim(id)?.into_stream();
        let request =
            serde_json::to_vec(&Request::Wait { until: Until::NotRunning, which: Which::Any });
        let request = request.map_err(|error| shim_error(id, &error))?;
        sys::fdpass::send_frame(&stream, &request, &[]).map_err(|error| shim_error(id, &error))?;
        Ok(ExitWatch(stream.into()))
    }
}

/// Anything that a shim cannot be asked.
pub(crate) fn shim_error(id: &ContainerId, error: &dyn std::error::Error) -> EngineError {
    EngineError::Shim { id: *id, what: chain(error) }
}

/// What a shim has left cannot be read. That the kernel refuses at this moment is nothing of the file's.
pub(crate) fn file_error(id: &ContainerId, error: &RecordError) -> EngineError {
    match error {
        RecordError::Damaged { .. } => EngineError::Damaged { id: *id, what: chain(error) },
        RecordError::Read { .. } | RecordError::Write { .. } => shim_error(id, error),
    }
}

/// What an error says, and why.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut what = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        what.push_str(": ");
        what.push_str(&cause.to_string());
        source = cause.source();
    }
    what
}

/// What a shim's refusal means to a verb.
pub(crate) fn call_error(id: &ContainerId, error: CallError) -> EngineError {
    match error {
        CallError::Gone => EngineError::NotRunning(*id),
        CallError::LaunchFailed(failure) => EngineError::Start(failure),
        CallError::Refused(refusal) => refused(id, refusal),
        CallError::Failed(what) => EngineError::Shim { id: *id, what },
        other @ (CallError::Silent(_)
        | CallError::Connection(_)
        | CallError::Frame(_)
        | CallError::Json(_)
        | CallError::Confused(_)) => shim_error(id, &other),
    }
}

fn refused(id: &ContainerId, refusal: Refusal) -> EngineError {
    match refusal {
        Refusal::NotRunning | Refusal::ExecNotRunning => EngineError::NotRunning(*id),
        Refusal::AlreadyPaused => EngineError::AlreadyPaused(*id),
        Refusal::NotPaused => EngineError::NotPaused(*id),
        Refusal::Paused => EngineError::Paused(id.to_string()),
        Refusal::Restarting => EngineError::Restarting(*id),
        Refusal::NotWanted => EngineError::NotWanted(*id),
        Refusal::AlreadyRunning
        | Refusal::NoSuchExec
        | Refusal::ExecExists
        | Refusal::Claimed
        | Refusal::NotClaimed
        | Refusal::NoTerminal => EngineError::Shim { id: *id, what: refusal.to_string() },
    }
}
