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
pub(crate) const PERIOD: &str = "cpu.rt_period_us";

/// The kernel's period, in microseconds.
pub(crate) const USUAL_PERIOD: u64 = 1_000_000;

/// Gives every cgroup above this one what its other children have and this one wants, if it has less:
/// nothing is taken from the host that no container asked for.
pub(crate) fn lend(hierarchies: &Hierarchies, path: &str, cpu: &Cpu) -> Result<(), CgroupError> {
    let Some(legacy) = hierarchies.legacy_of(Controller::Cpu) else { return Ok(()) };
    if cpu.realtime_runtime.is_none() && cpu.realtime_period.is_none() {
        return Ok(());
    }
    // What is not given is as it was: a shorter period alone is a larger share as well.
    let failed = |source| CgroupError::Read { path: legacy.mount.join(path), source };
    let current = Share::read(legacy.root(), path).map_err(failed)?;
    let mut wanted = wanted(current, cpu);
    if wanted.runtime == 0 {
        return Ok(());
    }
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

/// What a cgroup has after the change.
fn wanted(current: Share, cpu: &Cpu) -> Share {
    let given = cpu.realtime_runtime.map(|runtime| u64::try_from(runtime).unwrap_or(0));
    Share {
        runtime: given.unwrap_or(current.runtime),
        period: cpu.realtime_period.unwrap_or(current.period).max(1),
    }
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
    fn what_is_not_given_is_as_it_was() {
        let current = Share { runtime: 300, period: 500 };
        let given = |realtime_runtime, realtime_period| {
            let cpu = Cpu { realtime_runtime, realtime_period, ..Cpu::default() };
            let Share { runtime, period } = wanted(current, &cpu);
            (runtime, period)
        };
        assert_eq!(given(Some(400), None), (400, 500));
        assert_eq!(given(None, Some(600)), (300, 600));
        assert_eq!(given(Some(-1), Some(7)), (0, 7));
    }

    #[test]
    fn shares_of_other_periods_are_scaled() {
        let share = |runtime, period| Share { runtime, period };
        assert_eq!(needed(&[], share(950, 1000), 1_000_000), 950_000);
        assert_eq!(needed(&[share(1, 3), share(0, 7)], share(100, 1000), 1000), 334 + 100);
        assert_eq!(needed(&[share(u64::MAX, 1)], share(1, 1), u64::MAX), u64::MAX);
    }
}
