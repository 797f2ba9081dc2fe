//! Health checks: what a shim is told of one, and how a container is.

use std::time::Duration;

use model::health::{Health, HealthStatus, OnUnhealthy};
use model::{ContainerId, Life};
use oci_spec::runtime::{Process, Spec};
use shim::protocol::HealthPlan;
use shim::{RecordError, Watch};

use crate::container::Container;
use crate::guard::{file_error, shim_error};
use crate::resolve::Checkup;
use crate::{Engine, EngineError};

/// Docker's: from the end of one check to the begin of the next.
const INTERVAL: Duration = Duration::from_secs(30);
/// Docker's: what one may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Docker's: the interval of a container that is starting.
const START_INTERVAL: Duration = Duration::from_secs(5);
/// Docker's: so many failures in a row make it unhealthy.
const RETRIES: u32 = 3;

impl Engine {
    /// What a container's shim is told of its health check.
    pub(crate) fn health_plan(&self, container: &Container) -> Option<Box<HealthPlan>> {
        let checkup = container.record.resolved.health.as_ref()?;
        checkup.argv.as_ref()?;
        let check = &checkup.check;
        let or =
            |nanos: u64, default| if nanos == 0 { default } else { Duration::from_nanos(nanos) };
        Some(Box::new(HealthPlan {
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: Duration::from_nanos(check.start_period),
            start_interval: or(check.start_interval, START_INTERVAL),
            retries: if check.retries == 0 { RETRIES } else { check.retries },
            on_unhealthy: container.record.spec.process.on_unhealthy,
        }))
    }

    /// Leaves what a health check runs where the container's shim finds it.
    pub(crate) fn leave_probe(
        &self,
        container: &Container,
        spec: &Spec,
    ) -> Result<(), EngineError> {
        let checkup = container.record.resolved.health.as_ref();
        let (Some(argv), Some(process)) =
            (checkup.and_then(|checkup| checkup.argv.clone()), spec.process())
        else {
            return Ok(());
        };
        let id = &container.id;
        let written = shim::write_probe(&self.shim_paths(id), &probe(process.clone(), argv));
        written.map_err(|error| shim_error(id, &error))
    }

    /// How a container is; `None` if nobody looks after that.
    pub(crate) fn health(
        &self,
        checkup: Option<&Checkup>,
        (id, watch): (&ContainerId, &mut Watch),
        life: &Life,
    ) -> Result<Option<Health>, EngineError> {
        if checkup.is_none_or(|checkup| checkup.argv.is_none()) {
            return Ok(None);
        }
        let known = match watch.health() {
            // It is not known then. Nothing else of the container hangs on it.
            Err(RecordError::Damaged { .. }) => None,
            known => known.map_err(|error| file_error(id, &error))?,
        };
        Ok(known.map(|health| match life {
            Life::Running { .. } => health,
            // Nobody looks; a shim that was killed has not said so itself.
            Life::Created { .. }
            | Life::Paused { .. }
            | Life::Restarting { .. }
            | Life::Exited { .. } => Health { status: HealthStatus::Unhealthy, ..health },
        }))
    }
}

/// The container's own process with another command and without its terminal.
fn probe(mut process: Process, argv: Vec<String>) -> Process {
    process.set_args(Some(argv)).set_terminal(Some(false)).set_console_size(None);
    process
}

/// Whether a container's shim must know how to start it again.
pub(crate) fn restarts_unhealthy(container: &Container) -> bool {
    container.record.spec.process.on_unhealthy == OnUnhealthy::Restart
}
