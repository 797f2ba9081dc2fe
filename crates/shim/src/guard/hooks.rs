//! The directory that hooks of a container look at, and when they are run.
//!
//! It is there only for containers that have hooks: `<run>/c/<id>/bundle`, with the specification and an
//! empty place for the root file system, which is shown there in the container's mount namespace alone.
//! What a hook is run as, and how it is judged, is the runtime's.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::life::StartFailure;
use oci_spec::runtime::Spec;
use runtime::hooks;
use runtime::{Enter, HookError, Hooks, Keyring, LaunchError, Orphan, Ready, Running};

use super::launch::{entry, failure, reference};
use super::logged::Logged;
use super::{Container, Guard};
use crate::paths::{BUNDLE_CONFIG, BUNDLE_ROOT, ShimPaths, remove_bundle};
use crate::protocol::StreamKind;
use crate::work::Work;

/// A container's bundle; it goes with this value.
#[derive(Debug)]
pub(super) struct Bundle {
    dir: PathBuf,
}

impl Bundle {
    /// Makes one for a container with hooks.
    pub(super) fn make(paths: &ShimPaths, spec: &Spec) -> Result<Option<Self>, StartFailure> {
        if !hooks::any(spec) {
            return Ok(None);
        }
        let dir = paths.bundle();
        // One that is there is of a shim that was killed.
        remove_bundle(&dir);
        write(&dir, spec)
            .map_err(|error| failure(format!("write {} for hooks: {error}", dir.display())))?;
        Ok(Some(Self { dir }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    fn spec(&self) -> Option<Spec> {
        serde_json::from_slice(&std::fs::read(self.dir.join(BUNDLE_CONFIG)).ok()?).ok()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        remove_bundle(&self.dir);
    }
}

fn write(dir: &Path, spec: &Spec) -> std::io::Result<()> {
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700).recursive(true).create(dir.join(BUNDLE_ROOT))?;
    let mut options = std::fs::File::options();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(dir.join(BUNDLE_CONFIG))?;
    file.write_all(&serde_json::to_vec(spec)?)
}

/// What a hook in the container is run with.
pub(super) struct Inside<'a> {
    pub(super) container: &'a Container,
    pub(super) filter: Option<&'a runtime::seccomp::Program>,
    pub(super) id: &'a str,
}

/// Runs what comes before the program, then the program, then what comes after.
pub(super) fn go(
    ready: Ready,
    hooks: Option<Hooks<'_>>,
    inside: &Inside<'_>,
) -> Result<Running, LaunchError> {
    let Some(hooks) = hooks else { return ready.go() };
    if let Err(error) = start_container(&ready, hooks, inside) {
        ready.abort();
        return Err(error.into());
    }
    let running = ready.go()?;
    if let Err(error) = hooks.poststart(running.pid) {
        let _ = sys::process::pidfd_send_signal(&running.pidfd, sys::signal::Signal::KILL);
        let _ = sys::process::wait(&running.pidfd);
        return Err(error.into());
    }
    Ok(running)
}

fn start_container(ready: &Ready, hooks: Hooks<'_>, inside: &Inside<'_>) -> Result<(), HookError> {
    let Inside { container, filter, id } = *inside;
    hooks.start_container(ready.pid(), |process, program, stdio| {
        let cgroup = entry(&container.cgroup).map_err(|failure| LaunchError::Prepare {
            action: "open",
            object: format!("the control groups ({})", failure.message),
            errno: sys::Errno::IO.into(),
        })?;
        runtime::enter(Enter {
            process,
            program: Some(program),
            facts: &container.facts,
            around: &container.around,
            id,
            container: ready.pidfd(),
            stdio,
            cgroup,
            filter: filter.map(reference),
            on_terminal: None,
            orphan: Orphan::Dies,
            keyring: Keyring::New,
            preserved: 0,
        })
    })
}

impl Guard {
    /// What is run when all of the container is gone. What fails is told by its log, which is all that
    /// is left to tell it.
    pub(super) fn after_the_end(&self, bundle: &Bundle, log: Option<&mut Logged>) {
        let Some(spec) = bundle.spec() else { return };
        let longest = hooks::longest(&spec, hooks::Phase::End);
        let _work = longest.map(|longest| Work::begin(&self.paths, longest));
        let id = self.paths.id.to_string();
        let hooks = Hooks { spec: &spec, id: &id, bundle: bundle.path() };
        let failed = hooks.poststop();
        let Some(logged) = log else { return };
        for error in failed {
            let line = format!("[dhow: {error}]\n");
            let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
            logged.log.write(StreamKind::Stderr, line.as_bytes(), now);
        }
    }
}
