//! What a host is like, as far as results of a suite depend on it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

/// Those that a condition can name, beside `linux>=X.Y`.
const KNOWN: [&str; 7] =
    ["CAP_SYS_RESOURCE", "apparmor", "selinux", "v1", "v1.hugetlb", "v1.net_cls", "v1.net_prio"];

/// The controllers without which a host is not `v1`: programs limit by all of them.
const CONTROLLERS: [&str; 6] = ["blkio", "cpu", "cpuset", "devices", "memory", "pids"];

/// The bit of CAP_SYS_RESOURCE (capabilities(7), linux/capability.h).
const SYS_RESOURCE: u64 = 1 << 24;

type Release = (u32, u32);

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    facts: BTreeSet<&'static str>,
    linux: Release,
}

impl Host {
    /// This one.
    pub(super) fn this() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        // There is none where the kernel does not know AppArmor.
        let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        let mut host = Self::of(&read("/proc/self/mountinfo")?, &read("/proc/self/status")?);
        host.linux = release(&read("/proc/sys/kernel/osrelease")?).unwrap_or_default();
        if apparmor.is_ok_and(|enabled| enabled.starts_with('Y')) {
            host.facts.insert("apparmor");
        }
        Ok(host)
    }

    /// By what a process is told of its mounts, and of itself.
    fn of(mounts: &str, status: &str) -> Self {
        let file_systems: Vec<&str> =
            mounts.lines().filter_map(|line| Some(line.split_once(" - ")?.1)).collect();
        let has = |controller: &str| {
            let v1 = file_systems.iter().filter(|text| text.starts_with("cgroup "));
            v1.flat_map(|text| text.rsplit([' ', ',']).take_while(|word| *word != "cgroup"))
                .any(|word| word == controller)
        };
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let is_true = |fact: &str| match fact {
            "CAP_SYS_RESOURCE" => mask.unwrap_or_default() & SYS_RESOURCE != 0,
            "selinux" => file_systems.iter().any(|text| text.starts_with("selinuxfs ")),
            "v1" => CONTROLLERS.into_iter().all(has),
            _ => fact.strip_prefix("v1.").is_some_and(has),
        };
        let facts = KNOWN.into_iter().filter(|fact| is_true(fact)).collect();
        Self { facts, linux: Release::default() }
    }

    /// Whether a condition holds: `if` and `unless`, and after each the facts that have, or have not, to be so.
    /// A condition that cannot be read is none.
    pub(super) fn meets(&self, condition: &str) -> Option<bool> {
        let (mut wanted, mut all) = (None, true);
        for word in condition.split_whitespace() {
            match word {
                "if" => wanted = Some(true),
                "unless" => wanted = Some(false),
                fact => all &= self.has(fact)? == wanted?,
            }
        }
        wanted.map(|_| all)
    }

    fn has(&self, fact: &str) -> Option<bool> {
        match fact.strip_prefix("linux>=") {
            Some(least) => Some(self.linux >= release(least)?),
            None => KNOWN.contains(&fact).then(|| self.facts.contains(fact)),
        }
    }

    /// In the words of conditions.
    pub(super) fn told(&self) -> String {
        let (major, minor) = self.linux;
        let (has, lacks): (Vec<&str>, Vec<&str>) =
            KNOWN.iter().partition(|fact| self.facts.contains(*fact));
        let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
        format!("Linux {major}.{minor} with {has}, without {}", lacks.join(", "))
    }
}

/// `6.8`, and what may come behind it.
fn release(text: &str) -> Option<Release> {
    let mut numbers = text.trim().split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn host(facts: &[&'static str], linux: Release) -> Host {
        Host { facts: facts.iter().copied().collect(), linux }
    }

    #[test]
    fn a_host_is_known_by_its_mounts_and_capabilities() {
        let v2 = "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n1 2 0:3 / /x rw - selinuxfs none rw\n";
        assert_eq!(Vec::from_iter(Host::of(v2, "CapEff:\t000001fffeffffff\n").facts), ["selinux"]);
        let v1 = "1 2 0:3 / /c rw master:1 - cgroup cgroup rw,cpuset,cpu,pids\n\
                  1 2 0:3 / /c rw - cgroup cgroup rw,blkio,devices\n1 2 0:3 / /d rw - cgroup cgroup rw,net_cls\n";
        let full = "CapPrm:\t0\nCapEff:\t000001ffffffffff\n";
        let facts = |mounts: &str| Vec::from_iter(Host::of(mounts, full).facts);
        assert_eq!(facts(v1), ["CAP_SYS_RESOURCE", "v1.net_cls"]);
        let memory = "1 2 0:3 / /m rw - cgroup cgroup rw,memory\n";
        assert_eq!(facts(&format!("{v1}{memory}")), ["CAP_SYS_RESOURCE", "v1", "v1.net_cls"]);
    }

    #[test]
    fn a_condition_is_of_facts_and_of_the_kernel() {
        let host = host(&["v1", "selinux"], (6, 8));
        assert_eq!(host.meets("if v1 selinux linux>=6.8 unless apparmor linux>=6.9"), Some(true));
        assert_eq!(host.meets("if v1 apparmor"), Some(false));
        assert_eq!(host.meets("unless v1"), Some(false));
        assert_eq!(host.meets("if linux>=10.1"), Some(false));
        for none in ["", "v1", "if v3", "if linux>=six"] {
            assert_eq!(host.meets(none), None, "{none:?}");
        }
        assert_eq!(release("6.12.9-amd64\n"), Some((6, 12)));
    }
}
