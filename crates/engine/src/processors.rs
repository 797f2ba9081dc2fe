//! The host's processors: how many and which a container may be given, and what of them no
//! container sees.

use std::path::Path;

use cgroup::CgroupError;
use model::NumberSet;
use model::container::Limits;

use crate::EngineError;
use crate::reconcile::{cgroup_error, hierarchies};

/// Where the kernel tells about processors.
const DIRECTORY: &str = "/sys/devices/system/cpu";

/// What a container asks for and this host does not have; in Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unavailable {
    #[error("range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    Count(u32),
    #[error("Requested CPUs are not available - requested {wished}, available: {here}")]
    Cpus { wished: String, here: String },
    #[error("Requested memory nodes are not available - requested {wished}, available: {here}")]
    Mems { wished: String, here: String },
}

/// Refuses limits that speak of processors or memory nodes which this host does not have.
///
/// # Errors
/// It has not, or the kernel does not say.
pub(crate) fn check(limits: &Limits) -> Result<(), EngineError> {
    let refuse = |error: Unavailable| EngineError::Invalid(error.to_string());
    if let Some(nano) = limits.nano_cpus {
        check_count(nano, count()).map_err(refuse)?;
    }
    if limits.cpuset_cpus.is_none() && limits.cpuset_mems.is_none() {
        return Ok(());
    }
    let here = hierarchies()?.cpuset().map_err(|error: CgroupError| cgroup_error(&error))?;
    // Without the controller, the start says so.
    let Some(here) = here else { return Ok(()) };
    check_set(limits.cpuset_cpus.as_deref(), here.cpus, |wished, here| Unavailable::Cpus {
        wished,
        here,
    })
    .and_then(|()| {
        check_set(limits.cpuset_mems.as_deref(), here.mems, |wished, here| Unavailable::Mems {
            wished,
            here,
        })
    })
    .map_err(refuse)
}

fn check_count(nano: u64, count: u32) -> Result<(), Unavailable> {
    if nano <= u64::from(count) * 1_000_000_000 { Ok(()) } else { Err(Unavailable::Count(count)) }
}

fn check_set(
    wished: Option<&str>,
    here: String,
    refusal: fn(String, String) -> Unavailable,
) -> Result<(), Unavailable> {
    let Some(wished) = wished else { return Ok(()) };
    let sets = wished.parse::<NumberSet>().ok().zip(here.parse::<NumberSet>().ok());
    if sets.is_some_and(|(wished, here)| here.contains_all(&wished)) {
        return Ok(());
    }
    Err(refusal(wished.to_owned(), here))
}

/// How many processors this process, and so a container, may run on: as Docker counts them, which
/// is not by the quota of its own cgroup.
pub(crate) fn count() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1))
}

/// The counters of heat of each processor, by which a container could follow what others do
/// (moby's GHSA-6fw5-f8r9-fgfm). Few machines have them: real ones of Intel.
pub(crate) fn heat_counters() -> Vec<String> {
    heat_counters_below(Path::new(DIRECTORY))
}

fn heat_counters_below(directory: &Path) -> Vec<String> {
    // A processor that is not present has no directory.
    let present = std::fs::read_to_string(directory.join("present")).unwrap_or_default();
    let Ok(present) = present.trim().parse::<NumberSet>() else { return Vec::new() };
    present
        .iter()
        .map(|number| directory.join(format!("cpu{number}/thermal_throttle")))
        .filter(|path| path.exists())
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_processors_than_there_are() {
        assert_eq!(check_count(2_000_000_000, 2), Ok(()));
        let refused = check_count(2_010_000_000, 2).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
    }

    #[test]
    fn only_what_the_host_has_can_be_chosen() {
        let check = |wished, here: &str| {
            let refusal = |wished, here| Unavailable::Cpus { wished, here };
            check_set(wished, here.to_owned(), refusal).map_err(|error| error.to_string())
        };
        assert_eq!(check(None, "0-1"), Ok(()));
        assert_eq!(check(Some("0,1"), "0-1"), Ok(()));
        assert_eq!(
            check(Some("0-5"), "0-1"),
            Err("Requested CPUs are not available - requested 0-5, available: 0-1".to_owned())
        );
    }

    #[test]
    fn each_processor_that_counts_its_heat_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(heat_counters_below(dir.path()).is_empty());
        std::fs::write(dir.path().join("present"), "0-2,7\n").unwrap();
        for made in ["cpu0/thermal_throttle", "cpu1", "cpu7/thermal_throttle"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        let of = |number| dir.path().join(format!("cpu{number}/thermal_throttle"));
        let want = [0, 7].map(|number| of(number).to_string_lossy().into_owned());
        assert_eq!(heat_counters_below(dir.path()), want);
    }
}
