//! Counts what dhow could leave on a host: mounts, namespaces, links, nftables tables and rules, cgroups,
//! processes, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::host;

/// The kernel takes network namespaces down in the background, one grace period after another.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the host has its control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What is on the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// A line each.
    lines: BTreeSet<String>,
    /// How many parts the path of a group has that is at the top of a hierarchy, the empty one before the
    /// first slash counted: `/sys/fs/cgroup/memory/NAME` where version 1 is, else `/sys/fs/cgroup/NAME`.
    top: usize,
}

impl Snapshot {
    /// Looks now.
    ///
    /// # Errors
    /// The nftables tables cannot be listed.
    pub(crate) fn take() -> Result<Self> {
        let mut found = BTreeSet::new();
        found.extend(mounts());
        found.extend(processes());
        found.extend(named("link", "/sys/class/net", |_| true));
        found.extend(named("file", "/tmp", |name| {
            name.starts_with("dhow-test-") || name.starts_with("dhow-demo-")
        }));
        // One lock for all state roots, which has to stay: who waits for it has it open.
        let is_ours = |name: &str| name.starts_with("dhow") && name != "dhow-subnets.lock";
        found.extend(named("file", "/run", is_ours));
        found.extend(named("file", "/var/lib", |name| name.starts_with("dhow")));
        found.extend(cgroups(Path::new(CGROUPS), 4));
        found.extend(
            host::output("nft", &["list", "tables"])?.lines().map(|table| format!("nft {table}")),
        );
        found.extend(rules_beside(&host::output("nft", &["list", "ruleset"])?));
        let is_alone = Path::new(CGROUPS).join("cgroup.controllers").exists();
        Ok(Self { lines: found, top: if is_alone { 5 } else { 6 } })
    }

    /// What is there now that was not there before.
    ///
    /// # Errors
    /// Lists it, if anything is left when the kernel has had its time.
    pub(crate) fn nothing_new(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::take()?;
            let new: Vec<&String> =
                now.lines.difference(&self.lines).filter(|line| !self.is_of_others(line)).collect();
            if new.is_empty() {
                host::say("leaks: 0");
                return Ok(());
            }
            if Instant::now() > deadline {
                let list: Vec<String> = new.iter().map(|line| format!("  {line}")).collect();
                bail!("leaks: {}\n{}", new.len(), list.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Whether a line is a cgroup that somebody else has made meanwhile, as services of the host do:
    /// without our name, and below a group that was there before. Tests make theirs at the top.
    fn is_of_others(&self, line: &str) -> bool {
        let Some(path) = line.strip_prefix("cgroup ") else { return false };
        let top = |path: &str| {
            format!("cgroup {}", path.split('/').take(self.top).collect::<Vec<_>>().join("/"))
        };
        !path.contains("dhow")
            && path.split('/').count() > self.top
            && self.lines.contains(&top(path))
    }
}

/// Rules of ours in others' tables, which have the name of our table as their comment.
fn rules_beside(ruleset: &str) -> Vec<String> {
    let rules =
        ruleset.lines().map(str::trim).filter(|line| line.contains(" accept comment \"dhow"));
    // The counter goes on.
    let stable = |rule: &str| {
        rule.split_whitespace()
            .filter(|word| word.parse::<u64>().is_err())
            .collect::<Vec<_>>()
            .join(" ")
    };
    rules.map(|rule| format!("nft rule {}", stable(rule))).collect()
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| format!("mount {point}"))
        .collect()
}

/// Processes by what they are called: shims and inits of ours name themselves.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().into_string().ok()?;
            pid.parse::<u32>().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let name = name.trim_end();
            name.starts_with("dhow").then(|| format!("process {pid} {name}"))
        })
        .collect()
}

fn named(kind: &str, dir: &str, wanted: fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| wanted(name))
        .map(|name| format!("{kind} {dir}/{name}"))
        .collect()
}

/// Every cgroup directory, a few levels deep: tests make theirs near the top.
fn cgroups(dir: &Path, depth: u32) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.push(format!("cgroup {}", entry.path().display()));
        if depth > 0 {
            found.extend(cgroups(&entry.path(), depth - 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_in_chains_of_others_are_counted() {
        let ruleset = "table ip filter {
            chain FORWARD {
                iifname \"dhow0\" counter packets 7 bytes 512 accept comment \"dhow\"
                oifname \"eth0\" counter packets 7 bytes 512 accept
            }
        }";
        let found = rules_beside(ruleset);
        assert_eq!(
            found,
            ["nft rule iifname \"dhow0\" counter packets bytes accept comment \"dhow\""]
        );
    }

    #[test]
    fn groups_of_the_hosts_services_are_no_leaks() {
        let with = |line: &str, top| Snapshot { lines: BTreeSet::from([line.to_owned()]), top };
        let alone = with("cgroup /sys/fs/cgroup/system.slice", 5);
        assert!(alone.is_of_others("cgroup /sys/fs/cgroup/system.slice/cron.service"));
        assert!(!alone.is_of_others("cgroup /sys/fs/cgroup/other.slice"));
        let before = with("cgroup /sys/fs/cgroup/memory/service", 6);
        assert!(before.is_of_others("cgroup /sys/fs/cgroup/memory/service/0fd7"));
        for ours in [
            "cgroup /sys/fs/cgroup/memory/service/dhow-0fd7",
            "cgroup /sys/fs/cgroup/memory/other",
            "cgroup /sys/fs/cgroup/memory/other/0fd7",
            "link /sys/class/net/service",
        ] {
            assert!(!before.is_of_others(ours), "{ours}");
        }
    }
}
