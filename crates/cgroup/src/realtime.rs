//! Real-time processor time on v1: a cgroup has only what its parent has, and a new one has none.
//!
//! What is lent to the cgroups above one is shared by all who are below them, and who reads it, adds what
//! it wants and writes it must not do so at the same time as another. So there is a lock, of the topmost
//! of them, that is held until the borrower has what was lent: before, nobody sees that it is needed.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use sys::Errno;

use crate::create::prefixes;
use crate::detect::{Controller, Hierarchies, Legacy};
use crate::error::CgroupError;
use crate::file::{self, Deadline};
use crate::limits::Cpu;
use crate::tree;

const RUNTIME: &str = "cpu.rt_runtime_us";
pub(crate) const PERIOD: &str = "cpu.rt_period_us";

/// The kernel's period, in microseconds.
pub(crate) const USUAL_PERIOD: u64 = 1_000_000;

/// A turn takes no longer than a few files. Whoever has the lock for longer does not lend: anybody who
/// may look at a directory can take its lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often whoever waits asks again.
const SLICE: Duration = Duration::from_millis(5);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The cgroups that were raised and the runtime that each had, the topmost first.
#[derive(Debug, Default)]
pub(crate) struct Lent(Vec<(String, u64)>);

/// The lock of a tree; nobody else lends in it meanwhile.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "it is held, not used")] OwnedFd);

impl Turn {
    /// Waits for the lock of the topmost of the cgroups of a path.
    fn wait(legacy: &Legacy, path: &str) -> Result<Self, CgroupError> {
        let top = prefixes(path).next().unwrap_or(path);
        let dir = openat(legacy.root(), top, DIRECTORY, Mode::empty());
        let dir = dir.and_then(|dir| lock(&dir, Deadline::after(PATIENCE)).map(|()| Self(dir)));
        dir.map_err(|source| CgroupError::Lock { path: legacy.mount.join(top), source })
    }
}

fn lock(dir: &OwnedFd, deadline: Deadline) -> Result<(), Errno> {
    loop {
        match flock(dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if deadline.is_over() => return Err(Errno::TIMEDOUT),
            Err(Errno::WOULDBLOCK | Errno::INTR) => deadline.poll(&mut [], SLICE)?,
            locked => return locked,
        }
    }
}

/// Gives every cgroup above this one what its other children have and this one wants, if it has less:
/// nothing is taken from the host that no container asked for. What is raised is added to `lent`, also
/// if another cannot be.
///
/// The turn, if there is one, is to be kept until this cgroup has what it wants.
pub(crate) fn lend(
    hierarchies: &Hierarchies,
    path: &str,
    cpu: &Cpu,
    lent: &mut Lent,
) -> Result<Option<Turn>, CgroupError> {
    let Some(legacy) = hierarchies.legacy_of(Controller::Cpu) else { return Ok(None) };
    if cpu.realtime_runtime.is_none() && cpu.realtime_period.is_none() {
        return Ok(None);
    }
    // What is not given is as it was: a shorter period alone is a larger share as well.
    let current = Share::read(legacy.root(), path);
    let current =
        current.map_err(|source| CgroupError::Read { path: legacy.mount.join(path), source })?;
    let wanted = wanted(current, cpu);
    if wanted.runtime == 0 {
        return Ok(None);
    }
    let turn = Turn::wait(legacy, path)?;
    // From above: nobody can give what they do not have.
    for Raise { level, was, runtime } in raises(legacy, path, wanted)?.into_iter().rev() {
        let value = runtime.to_string();
        let path = format!("{level}/{RUNTIME}");
        file::write(legacy.root(), &path, &value).map_err(|source| CgroupError::Write {
            value,
            path: legacy.mount.join(path),
            source,
        })?;
        lent.0.push((level.to_owned(), was));
    }
    Ok(Some(turn))
}

/// A cgroup that has too little.
struct Raise<'p> {
    level: &'p str,
    was: u64,
    runtime: u64,
}

/// Which of the cgroups above have too little, the lowest first.
fn raises<'p>(
    legacy: &Legacy,
    path: &'p str,
    mut wanted: Share,
) -> Result<Vec<Raise<'p>>, CgroupError> {
    let levels: Vec<&str> = prefixes(path).collect();
    let mut raises = Vec::new();
    // From below: what one must have is what the one above it must lend.
    for (level, child) in levels.iter().copied().zip(levels.iter().skip(1)).rev() {
        let failed = |source| CgroupError::Read { path: legacy.mount.join(level), source };
        let own = Share::read(legacy.root(), level).map_err(failed)?;
        let mut shares = shares_in(legacy.root(), level, Some(child)).map_err(failed)?;
        shares.push(wanted);
        let runtime = needed(&shares, own.period).max(own.runtime);
        wanted = Share { runtime, period: own.period };
        if runtime > own.runtime {
            raises.push(Raise { level, was: own.runtime, runtime });
        }
    }
    Ok(raises)
}

/// Takes back what was lent, but for what others have borrowed of it meanwhile. What cannot be taken
/// back stays: whoever does has an error to tell already.
pub(crate) fn take_back(hierarchies: &Hierarchies, path: &str, lent: Lent) {
    let Some(legacy) = hierarchies.legacy_of(Controller::Cpu) else { return };
    if lent.0.is_empty() {
        return;
    }
    let Ok(_turn) = Turn::wait(legacy, path) else { return };
    // From below: nobody can have less than what they have given.
    for (level, was) in lent.0.into_iter().rev() {
        let _ = lower(legacy.root(), &level, was);
    }
}

/// The same for a cgroup that is about to be removed. What it has itself goes first: the kernel counts
/// it for a while after the removal.
pub(crate) fn give_up(hierarchies: &Hierarchies, path: &str, lent: Lent) {
    let Some(legacy) = hierarchies.legacy_of(Controller::Cpu) else { return };
    if lent.0.is_empty() {
        return;
    }
    let _ = file::write(legacy.root(), &format!("{path}/{RUNTIME}"), "0");
    take_back(hierarchies, path, lent);
}

/// Lowers a cgroup to what it had, or to what its children have now if that is more.
fn lower(root: BorrowedFd<'_>, level: &str, was: u64) -> Result<(), Errno> {
    let own = Share::read(root, level)?;
    let runtime = needed(&shares_in(root, level, None)?, own.period).max(was);
    if runtime < own.runtime {
        file::write(root, &format!("{level}/{RUNTIME}"), &runtime.to_string())?;
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
        let number = |name: &str| -> Result<Option<u64>, Errno> {
            let text = file::read(root, &format!("{cgroup}/{name}"))?;
            Ok(text.trim().parse().ok())
        };
        let period = number(PERIOD)?.unwrap_or(USUAL_PERIOD).max(1);
        // -1 is no limit: all of the time.
        Ok(Self { runtime: number(RUNTIME)?.unwrap_or(period), period })
    }
}

/// What the children of a cgroup have, but one.
fn shares_in(root: BorrowedFd<'_>, cgroup: &str, but: Option<&str>) -> Result<Vec<Share>, Errno> {
    let names = tree::children(openat(root, cgroup, DIRECTORY, Mode::empty())?)?;
    let mut shares = Vec::new();
    for name in names.iter().filter_map(|name| name.to_str().ok()) {
        let path = format!("{cgroup}/{name}");
        if Some(path.as_str()) == but {
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
fn needed(shares: &[Share], period: u64) -> u64 {
    let part = |share: &Share| {
        let product = u128::from(share.runtime) * u128::from(period);
        u64::try_from(product.div_ceil(u128::from(share.period))).unwrap_or(u64::MAX)
    };
    shares.iter().map(part).fold(0, u64::saturating_add)
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
        assert_eq!(needed(&[], 1000), 0);
        assert_eq!(needed(&[share(950, 1000)], 1_000_000), 950_000);
        assert_eq!(needed(&[share(1, 3), share(0, 7), share(100, 1000)], 1000), 334 + 100);
        assert_eq!(needed(&[share(u64::MAX, 1), share(1, 1)], u64::MAX), u64::MAX);
    }

    #[test]
    fn a_turn_is_not_waited_for_for_ever() {
        let open = || openat(rustix::fs::CWD, env!("CARGO_MANIFEST_DIR"), DIRECTORY, Mode::empty());
        let (one, other) = (open().unwrap(), open().unwrap());
        let over = Deadline::after(Duration::ZERO);
        lock(&one, over).unwrap();
        assert_eq!(lock(&other, over), Err(Errno::TIMEDOUT));
        drop(one);
        // A process that another test has just cloned has the descriptor for a moment.
        assert_eq!(lock(&other, Deadline::after(Duration::from_secs(30))), Ok(()));
    }
}
