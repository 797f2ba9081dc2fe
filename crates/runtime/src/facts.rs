//! What the plan must know about the host.
//!
//! Owns asking the kernel; deciding is `plan`'s.

use std::path::Path;

use sys::Errno;

use crate::capabilities::CapSet;

/// The host, as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// What this process has, and so the most that it can give.
    pub capabilities: CapSet,
    /// The kernel's highest capability.
    pub last_capability: u8,
    /// How control groups are shown.
    pub cgroups: CgroupView,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// Whether SELinux is on.
    pub selinux: bool,
    /// Whose ids this process has.
    pub users: UserIds,
}

/// Whose ids a process has: what it may make and mount depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserIds {
    /// The host's.
    Hosts,
    /// Those of a user namespace: it makes no devices.
    Nested,
}

/// The control group hierarchies that a container can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupView {
    /// Version 2 alone.
    Unified,
    /// Version 1, with the lists of controllers that share a hierarchy; one without controllers has
    /// its name, as `name=systemd`.
    Legacy(Vec<Vec<String>>),
}

/// What could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file of procfs could not be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// capget(2) failed.
    #[error("ask for this process's capabilities")]
    Capabilities(#[source] Errno),
}

impl HostFacts {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If procfs is not mounted on /proc.
    pub fn detect() -> Result<Self, FactsError> {
        let own = rustix::thread::capabilities(None).map_err(FactsError::Capabilities)?;
        let last = read("/proc/sys/kernel/cap_last_cap")?;
        Ok(Self {
            capabilities: CapSet::from_bits(own.permitted.bits()),
            // A kernel with more than 63 capabilities needs another system call for them anyway.
            last_capability: last.trim().parse().unwrap_or(63),
            cgroups: cgroup_view()?,
            apparmor: Path::new("/sys/module/apparmor/parameters/enabled").exists()
                && read("/sys/module/apparmor/parameters/enabled")?.starts_with('Y'),
            // Its file system is there where it is on and has a policy; an empty directory is there
            // where the kernel merely knows it.
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            users: if sys::rootless::is_nested() { UserIds::Nested } else { UserIds::Hosts },
        })
    }
}

fn read(path: &'static str) -> Result<String, FactsError> {
    let read = sys::kernel_fs::read(path);
    let text = read.map_err(|errno| FactsError::Read { path, source: errno.into() })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn cgroup_view() -> Result<CgroupView, FactsError> {
    Ok(parse_cgroup_view(&read("/proc/self/cgroup")?))
}

/// Lines are `id:controllers:path`; version 2 has no controllers there.
fn parse_cgroup_view(text: &str) -> CgroupView {
    let lists = text.lines().filter_map(|line| line.split(':').nth(1)).filter(|l| !l.is_empty());
    let legacy: Vec<Vec<String>> =
        lists.map(|list| list.split(',').map(str::to_owned).collect()).collect();
    if legacy.is_empty() { CgroupView::Unified } else { CgroupView::Legacy(legacy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_1_hierarchy_makes_the_host_legacy() {
        let hybrid = "5:cpu,cpuacct:/user\n1:name=systemd:/init.scope\n0::/init.scope\n";
        let lists =
            vec![vec!["cpu".to_owned(), "cpuacct".to_owned()], vec!["name=systemd".to_owned()]];
        assert_eq!(parse_cgroup_view(hybrid), CgroupView::Legacy(lists));
        assert_eq!(parse_cgroup_view("0::/init.scope\n"), CgroupView::Unified);
    }
}
