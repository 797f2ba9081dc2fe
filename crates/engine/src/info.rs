//! What the engine is and runs on.

use crate::container::{now, read_own};
use crate::reconcile::hierarchies;
use crate::settings::CgroupDriver;
use crate::stats::total_memory;
use crate::view::{CgroupVersion, InfoView, LimitSupport};
use crate::{Engine, EngineError, apparmor, processors, rootless};
use cgroup::{Ability, Controller, Version};
use model::Life;

impl Engine {
    /// What the engine is and runs on.
    ///
    /// # Errors
    /// The database; cgroups that cannot be read.
    pub fn info(&self) -> Result<InfoView, EngineError> {
        let (running, paused, stopped) = self.count()?;
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let release = read_own("/etc/os-release".as_ref())?.unwrap_or_default();
        let meminfo = read_own("/proc/meminfo".as_ref())?.unwrap_or_default();
        // What keeps a start from having any is that start's to tell.
        let hierarchies = self.hierarchies().cloned().or_else(|_| hierarchies())?;
        let has = |ability| hierarchies.can(ability);
        let is_v2 = hierarchies.home(Controller::Memory) == Some(Version::V2);
        let profile = self.default_profile()?;
        let forwarding = read_own("/proc/sys/net/ipv4/ip_forward".as_ref())?.unwrap_or_default();
        Ok(InfoView {
            root: self.paths().root().to_owned(),
            containers: (running, paused, stopped),
            images: u64::try_from(self.store().images().list()?.len()).unwrap_or(u64::MAX),
            backing_filesystem: self.backing_filesystem(),
            cgroup_driver: match self.cgroup_driver()? {
                CgroupDriver::Cgroupfs => "cgroupfs",
                CgroupDriver::Systemd => "systemd",
            },
            cgroup: if is_v2 { CgroupVersion::V2 } else { CgroupVersion::V1 },
            limits: LimitSupport {
                memory: has(Ability::Memory),
                swap: has(Ability::Swap),
                cpu_quota: has(Ability::CpuQuota),
                cpu_shares: has(Ability::CpuShares),
                cpuset: has(Ability::Cpuset),
                pids: has(Ability::Pids),
                oom_kill_disable: has(Ability::OomKillDisable),
            },
            kernel: self.kernel(),
            operating_system: field(&release, "PRETTY_NAME"),
            os_version: field(&release, "VERSION_ID"),
            machine: text(uname.machine()),
            hostname: text(uname.nodename()),
            cpus: u64::from(processors::count()),
            memory: total_memory(&meminfo),
            ipv4_forwarding: forwarding.trim() == "1",
            security: protection(profile),
            cdi_dirs: self.cdi_dirs(),
            cdi_devices: self.cdi_devices(),
            warnings: {
                let mut warnings = rootless::warnings(self.paths().run(), &hierarchies);
                warnings.extend((profile == Some(false)).then(apparmor::warning));
                warnings.extend(self.unread_networks()?);
                warnings
            },
            at: Some(now()),
        })
    }

    /// The release of the kernel: `6.1.0`.
    #[must_use]
    pub fn kernel(&self) -> String {
        rustix::system::uname().release().to_string_lossy().into_owned()
    }

    fn count(&self) -> Result<(u64, u64, u64), EngineError> {
        let (mut running, mut paused, mut stopped) = (0, 0, 0);
        for row in self.store().containers().list()? {
            match self.life_of_row(row)? {
                Some(Life::Running { .. }) => running += 1,
                Some(Life::Paused { .. }) => paused += 1,
                // Docker counts one between two lives here, and one that it cannot read.
                Some(Life::Created { .. } | Life::Restarting { .. } | Life::Exited { .. })
                | None => stopped += 1,
            }
        }
        Ok((running, paused, stopped))
    }

    fn backing_filesystem(&self) -> String {
        let magic =
            rustix::fs::statfs(self.paths().root()).map(|stat| stat.f_type).unwrap_or_default();
        // statfs(2)
        match magic {
            0xef53 => "extfs",
            0x5846_5342 => "xfs",
            0x9123_683e => "btrfs",
            0x0102_1994 => "tmpfs",
            0x2fc1_2fc1 => "zfs",
            0x794c_7630 => "overlayfs",
            _ => "<unknown>",
        }
        .to_owned()
    }
}

/// What protects the host, in Docker's order.
fn protection(profile: Option<bool>) -> Vec<String> {
    let all = [
        ("apparmor", profile == Some(true)),
        ("seccomp", true),
        ("rootless", sys::rootless::is_member()),
        ("cgroupns", true),
    ];
    all.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()).collect()
}

/// A value of os-release(5), without its quotes.
fn field(release: &str, name: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}
