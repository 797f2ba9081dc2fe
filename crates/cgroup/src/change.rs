//! Limits of a cgroup that is there: setting them, and putting back what was before.
//!
//! What is to be put back is what the kernel's files say before they are written, not what somebody
//! remembers to have asked for: a value that nobody has given is another one on each version, and of
//! a set of processors it is the host's.

use sys::Errno;

use crate::detect::{Controller, Version};
use crate::error::CgroupError;
use crate::group::{Cgroup, parse_memory};
use crate::limits::{Limits, Max};
use crate::plan::{self, Current, Homes, Missing, Write};
use crate::realtime::{self, Lent};

/// What was there before a change.
///
/// Limits of single devices are not among it.
#[derive(Debug, Default)]
pub struct Before {
    /// What the cgroup's files had, in the order in which they were written.
    files: Vec<(Place, String)>,
    /// What the cgroups above it had.
    lent: Lent,
}

/// A file of a controller.
type Place = (Version, Controller, String);

impl Cgroup {
    /// Changes limits. What `limits` leaves out stays. What is refused in the middle changes nothing;
    /// else what there was comes back, for [`Cgroup::put_back`].
    ///
    /// # Errors
    /// The kernel refuses one, or has no such limit.
    pub fn update(&self, limits: &Limits) -> Result<Before, CgroupError> {
        let mut before = Before::default();
        match self.change_all(limits, &mut before) {
            Ok(()) => Ok(before),
            Err(error) => {
                self.put_back(before);
                Err(error)
            }
        }
    }

    /// Takes a change back. Whoever does has an error to tell already, so that none comes from here.
    pub fn put_back(&self, before: Before) {
        // The last first: every moment on the way back is one that the kernel has allowed.
        for ((version, controller, file), value) in before.files.into_iter().rev() {
            let _ = self.write((version, Some(controller)), &file, &value);
        }
        realtime::take_back(&self.hierarchies, &self.path, before.lent);
    }

    fn change_all(&self, limits: &Limits, before: &mut Before) -> Result<(), CgroupError> {
        let _turn = realtime::lend(&self.hierarchies, &self.path, &limits.cpu, &mut before.lent)?;
        let homes = self.homes()?;
        let current = self.current_in(limits, &homes)?;
        let writes = plan::writes(limits, &homes, &current)?;
        writes.iter().try_for_each(|write| self.change(write, before))
    }

    fn change(&self, write: &Write, before: &mut Before) -> Result<(), CgroupError> {
        let file = self.file_of(write);
        let home = (write.version, Some(write.controller));
        let was = self.read(write.version, home.1, file).ok().and_then(|text| earlier(&text));
        self.apply(std::slice::from_ref(write))?;
        before
            .files
            .extend(was.map(|was| ((write.version, write.controller, file.to_owned()), was)));
        Ok(())
    }

    /// Which file takes the value.
    fn file_of<'w>(&self, write: &'w Write) -> &'w str {
        let is_there = |file: &str| self.has_file(write.version, write.controller, file);
        match &write.missing {
            Missing::Instead(other, _) if !is_there(&write.file) => other,
            Missing::Instead(..) | Missing::Ignore | Missing::Fail => &write.file,
        }
    }

    /// Writes one after the other.
    pub(crate) fn apply(&self, writes: &[Write]) -> Result<(), CgroupError> {
        for write in writes {
            let home = (write.version, Some(write.controller));
            match (self.write(home, &write.file, &write.value), &write.missing) {
                (Err(CgroupError::Write { source: Errno::NOENT, .. }), Missing::Ignore) => {}
                (
                    Err(CgroupError::Write { source: Errno::NOENT, .. }),
                    Missing::Instead(file, value),
                ) => self.write(home, file, value)?,
                (result, _) => result?,
            }
        }
        Ok(())
    }

    /// What is there now of what an update must know.
    pub(crate) fn current(&self, limits: &Limits) -> Result<Current, CgroupError> {
        self.current_in(limits, &self.homes()?)
    }

    fn current_in(&self, limits: &Limits, homes: &Homes) -> Result<Current, CgroupError> {
        let mut current = Current::NEW;
        let memory = &limits.memory;
        if memory.limit.is_some() || memory.with_swap.is_some() {
            current.memory_limit = self.memory_limit(homes)?;
        }
        if memory.check_before_update {
            let files = ("memory.usage_in_bytes", "memory.current");
            let usage = self.read_home(homes, Controller::Memory, files)?;
            current.memory_usage = usage.and_then(|usage| usage.trim().parse().ok());
        }
        let cpu = &limits.cpu;
        if cpu.quota.is_some() || cpu.period.is_some() || cpu.burst.is_some() {
            self.read_bandwidth(homes, &mut current)?;
        }
        if cpu.realtime_period.is_some() && homes.v1.contains(&Controller::Cpu) {
            let period = self.read(Version::V1, Some(Controller::Cpu), realtime::PERIOD)?;
            current.realtime_period = period.trim().parse().unwrap_or(current.realtime_period);
        }
        Ok(current)
    }

    fn memory_limit(&self, homes: &Homes) -> Result<Max, CgroupError> {
        let files = ("memory.limit_in_bytes", "memory.max");
        let text = self.read_home(homes, Controller::Memory, files)?;
        Ok(text.map_or(Max::Unlimited, |text| parse_memory(&text)))
    }

    fn read_bandwidth(&self, homes: &Homes, current: &mut Current) -> Result<(), CgroupError> {
        let read = |files| self.read_home(homes, Controller::Cpu, files);
        // v2 has both in one file, v1 in two.
        let quota = read(("cpu.cfs_quota_us", "cpu.max"))?.unwrap_or_default();
        let period = read(("cpu.cfs_period_us", "cpu.max"))?.unwrap_or_default();
        let mut quota = quota.split_whitespace();
        current.cpu_quota =
            quota.next().and_then(|word| word.parse().ok()).map_or(Max::Unlimited, Max::At);
        let period = period.split_whitespace().last().and_then(|word| word.parse().ok());
        current.cpu_period = period.unwrap_or(current.cpu_period);
        // Kernels before 5.14 have no burst.
        let burst = read(("cpu.cfs_burst_us", "cpu.max.burst")).ok().flatten();
        current.cpu_burst = burst.and_then(|burst| burst.trim().parse().ok()).unwrap_or(0);
        Ok(())
    }

    fn read_home(
        &self,
        homes: &Homes,
        controller: Controller,
        (v1, v2): (&str, &str),
    ) -> Result<Option<String>, CgroupError> {
        if homes.v1.contains(&controller) {
            return self.read(Version::V1, Some(controller), v1).map(Some);
        }
        if homes.v2.contains(&controller) {
            return self.read(Version::V2, Some(controller), v2).map(Some);
        }
        Ok(None)
    }
}

/// What to write for a file to be as it is now; nothing for a list of devices.
fn earlier(text: &str) -> Option<String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.lines().find_map(|line| line.strip_prefix("default ")).unwrap_or(line);
    // An empty set is written as an empty line.
    let is_value = !line.contains(['\n', ':']);
    is_value.then(|| if line.is_empty() { "\n".to_owned() } else { line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_can_be_written() {
        for (text, value) in [
            ("max 100000\n", Some("max 100000")),
            ("\n", Some("\n")),
            ("", Some("\n")),
            ("default 100\n8:0 200\n", Some("100")),
            ("8:0 rbps=max wbps=1\n", None),
            ("8:0 1\n8:16 2\n", None),
        ] {
            assert_eq!(earlier(text).as_deref(), value, "{text:?}");
        }
    }
}
