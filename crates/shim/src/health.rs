//! The two files of a health check: what runs, and how the container is.
//!
//! `probe.json` is written by the engine at each start and read by the shim at each check, so that
//! it costs no memory in between. `health.json` lies beside it while the container runs; when that
//! has ended it moves beside `exit.json`, where the next start finds it (Docker goes on with the
//! results of the life before).

use std::path::PathBuf;

use model::health::{Health, HealthStatus};
use oci_spec::runtime::Process;

use crate::paths::ShimPaths;
use crate::record::{self, RecordError};

pub(crate) fn live(paths: &ShimPaths) -> PathBuf {
    paths.dir().join("health.json")
}

pub(crate) fn kept(paths: &ShimPaths) -> PathBuf {
    paths.exit_record().with_file_name("health.json")
}

fn probe(paths: &ShimPaths) -> PathBuf {
    paths.dir().join("probe.json")
}

/// Leaves what is to be run where the container's shim finds it, whose directory must be there.
///
/// # Errors
/// The file cannot be written.
pub fn write_probe(paths: &ShimPaths, process: &Process) -> Result<(), RecordError> {
    record::write(&probe(paths), process)
}

pub(crate) fn read_probe(paths: &ShimPaths) -> Result<Option<Process>, RecordError> {
    record::read(&probe(paths))
}

/// How a container is, or was when it ended; `None` if nobody has ever looked.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_health(paths: &ShimPaths) -> Result<Option<Health>, RecordError> {
    match record::read(&live(paths))? {
        Some(health) => Ok(Some(health)),
        None => record::read(&kept(paths)),
    }
}

pub(crate) fn write_health(paths: &ShimPaths, health: &Health) -> Result<(), RecordError> {
    record::write(&live(paths), health)
}

/// Nobody looks any more.
pub(crate) fn keep_health(paths: &ShimPaths) -> Result<(), RecordError> {
    let Some(mut health) = record::read::<Health>(&live(paths))? else { return Ok(()) };
    // Docker's word for what nobody knows.
    health.status = HealthStatus::Unhealthy;
    record::write(&kept(paths), &health)?;
    // It goes with the directory otherwise.
    let _ = std::fs::remove_file(live(paths));
    Ok(())
}
