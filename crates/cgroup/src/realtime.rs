//! Real-time processor time on v1: a cgroup has only what its parent has, and a new one has none.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};
use sys::Errno;

use crate::create::prefixes;
use crate::detect::{Controller, Hierarchies};
use crate::error::CgroupError;
use crate::limits::Cpu;
use crate::{file, tree};

const RUNTIME: &str = "cpu.rt_runtime_us";
const PERIOD: &str = "cpu.rt_period_us";

/// The kernel's period, in microseconds.
const USUAL_PERIOD: u64 = 1_000_000;

/// Gives every cgroup above this one what its other children have and this one wants, if it has less:
/// nothing is taken from the host that no container asked for.
pub(crate) fn lend(hierarchies: &Hierarchies, path: &str, cpu: &Cpu) -> Result<(), CgroupError> {
    let Some(legacy) = hierarchies.legacy_of(Controller::Cpu) else { return Ok(()) };
    let wanted = cpu.realtime_runtime.and_then(|runtime| u64::try_from(runtime).ok()).unwrap_or(0);
    if wanted == 0 {
        return Ok(());
    }
    let mut wanted = Share { runtime: wanted, period: cpu.realtime_period.unwrap_or(USUAL_PERIOD) };
    let levels: Vec<&str> = prefixes(path).collect();
    let mut raised = Vec::new();
    // From below: what one must have is what the one above it must lend.
    for (level, child) in levels.iter().copied().zip(levels.iter().skip(1)).rev() {
        let failed = |source| CgroupError::Read { path: legacy.mount.join(level), source };
        let own = Share::read(legacy.root(), level).map_err(failed)?;
        let others = others(legacy.root(), level, child).map_err(failed)?;
        let runtime = needed(&others, wanted, own.period).max(own.runtime);
        wanted = Share { runtime, period: own.period };
        if runtime > own.runtime {
            raised.push((level, runtime.to_string()));
        }
    }
    // From above: nobody can give what they do not have.
    for (level, value) in raised.into_iter().rev() {
        let path = format!("{level}/{RUNTIME}");
        file::write(legacy.root(), &path, &value).map_err(|source| CgroupError::Write {
            value,
            path: legacy.mount.join(path),
            source,
        })?;
    }
    Ok(())
}

/// So much in each period, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    runtime: u64,
    period: u64,
}

impl Share {
    fn read(root: BorrowedFd<'_>, cgroup: &str) -> Result<Self, Errno> {
        let number = |name: &str| -> Result<u64, Errno> {
            let text = file::read(root, &format!("{cgroup}/{name}"))?;
            // -1 is no limit, which only the root could have.
            Ok(text.trim().parse().unwrap_or(0))
        };
        Ok(Self { runtime: number(RUNTIME)?, period: number(PERIOD)?.max(1) })
    }
}

/// What the children of a cgroup have, but one.
fn others(root: BorrowedFd<'_>, cgroup: &str, but: &str) -> Result<Vec<Share>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let names = tree::children(openat(root, cgroup, flags, Mode::empty())?)?;
    let mut shares = Vec::new();
    for name in names.iter().filter_map(|name| name.to_str().ok()) {
        let path = format!("{cgroup}/{name}");
        if path == but {
            continue;
        }
        match Share::read(root, &path) {
            Ok(share) => shares.push(share),
            // It has been removed meanwhile.
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(shares)
}

/// What a cgroup of this period must have for all of them.
fn needed(others: &[Share], wanted: Share, period: u64) -> u64 {
    let part = |share: &Share| {
        let product = u128::from(share.runtime) * u128::from(period);
        u64::try_from(product.div_ceil(u128::from(share.period))).unwrap_or(u64::MAX)
    };
    others.iter().chain([&wanted]).map(part).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_other_periods_are_scaled() {
        let share = |runtime, period| Share { runtime, period };
        assert_eq!(needed(&[], share(950, 1000), 1_000_000), 950_000);
        assert_eq!(needed(&[share(1, 3), share(0, 7)], share(100, 1000), 1000), 334 + 100);
        assert_eq!(needed(&[share(u64::MAX, 1)], share(1, 1), u64::MAX), u64::MAX);
    }
}
