//! Out of memory: how often the kernel killed for it, and a descriptor that tells when it happens.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags, inotify, openat};
use sys::Errno;

use crate::detect::{Controller, Legacy, Unified, Version};
use crate::error::CgroupError;
use crate::file;
use crate::group::Cgroup;
use crate::stats::value_of;

impl Cgroup {
    /// How many processes the kernel has killed in this cgroup because its memory ran out. 0 where no
    /// memory controller is.
    ///
    /// v1 raises the descriptor of [`Cgroup::oom_fd`] before it kills, so the count at that moment may
    /// be the old one: ask again when a process has died.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let (version, file) = if self.hierarchies.legacy_of(Controller::Memory).is_some() {
            (Version::V1, "memory.oom_control")
        } else if self.clone_into().is_some() {
            (Version::V2, "memory.events")
        } else {
            return Ok(0);
        };
        match self.read(version, Some(Controller::Memory), file) {
            Ok(text) => Ok(value_of(&text, "oom_kill").unwrap_or(0)),
            // v2 without the memory controller.
            Err(CgroupError::Read { source: Errno::NOENT, .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// A descriptor that becomes readable when memory runs out (v1), or when any memory event is
    /// counted (v2), and when the cgroup is removed (v1). It does not block; reading up to 4 KiB from it
    /// makes it quiet again. `None` where no memory controller is.
    pub fn oom_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let watch = if let Some(legacy) = self.hierarchies.legacy_of(Controller::Memory) {
            self.watch_v1(legacy)
        } else if let (Some(unified), true) =
            (self.hierarchies.unified(), self.homes()?.v2.contains(&Controller::Memory))
        {
            self.watch_v2(unified)
        } else {
            return Ok(None);
        };
        watch.map(Some).map_err(|source| CgroupError::WatchOom { path: self.place(), source })
    }

    fn watch_v1(&self, legacy: &Legacy) -> Result<OwnedFd, Errno> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = format!("{}/memory.oom_control", self.path);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let control = openat(legacy.root(), control, flags, Mode::empty())?;
        let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        let path = format!("{}/cgroup.event_control", self.path);
        file::write(legacy.root(), &path, &registration)?;
        Ok(event)
    }

    fn watch_v2(&self, unified: &Unified) -> Result<OwnedFd, Errno> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags)?;
        let path = unified.mount.join(&self.path).join("memory.events");
        inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
        Ok(watch)
    }
}
