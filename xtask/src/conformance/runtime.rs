//! A runtime under test: a program that has a state root of its own, and what it leaves is taken away.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::sources::text;
use crate::host;

/// Where version 2 is mounted beside version 1.
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// crun's suite calls its own options, one of which runc has no word for: what it names is what runc reads.
const FILTER: &str = r#"words=()
while [ $# -gt 0 ]; do
    case $1 in
        --cgroup-manager) shift 2 ;;
        --config) cp "$2" config.json; shift 2 ;;
        *) words+=("$1"); shift ;;
    esac
done
set -- "${words[@]}"
"#;

/// A runtime, and where its tests work.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// What suites call.
    pub(crate) program: PathBuf,
    /// Removed with it.
    pub(crate) dir: PathBuf,
    /// crun goes to no host that has any controller in version 2 and others in version 1.
    refuses_hybrid: bool,
}

impl Runtime {
    /// A runtime whose command line begins with `words`.
    pub(crate) fn new(name: &'static str, words: &[&str]) -> Result<Self> {
        // Suites make sockets below it, whose names are short.
        let dir = PathBuf::from(format!("/tmp/dhow-test-oci-{name}-{}", std::process::id()));
        let (program, state) = (dir.join(name), dir.join("state"));
        fs::create_dir_all(dir.join("tmp")).with_context(|| format!("make {}", dir.display()))?;
        let filter = if name == "runc" { FILTER } else { "" };
        let (words, state) = (words.join(" "), state.display());
        let script = format!("#!/bin/bash\n{filter}exec {words} --root {state} \"$@\"\n");
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        // Users of a suite's containers go there.
        fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        Ok(Self { program, dir, refuses_hybrid: name == "crun" })
    }

    /// A program of a suite that tests this runtime, ended after so many seconds.
    pub(crate) fn test(&self, seconds: u32, words: &[&str]) -> Command {
        let limit = seconds.to_string();
        let mut all = vec!["-k", "5", &limit];
        let alone = ["unshare", "--mount", "--propagation", "slave", "sh", "-c"];
        let script = format!("umount {HYBRID}; exec \"$@\"");
        if self.refuses_hybrid && Path::new(HYBRID).exists() {
            all.extend(alone);
            all.extend([&*script, "sh"]);
        }
        all.extend(words);
        let mut command = host::command("timeout", &all);
        command.env("RUNTIME", &self.program).env("TMPDIR", self.dir.join("tmp"));
        command
    }

    /// Takes away what its tests have left.
    pub(crate) fn clean(&self) -> Result<()> {
        let program = text(&self.program);
        for id in host::output(&program, &["list", "-q"]).unwrap_or_default().lines() {
            // What cannot be removed is told by the count of leaks.
            let _ = host::command(&program, &["delete", "--force", id]).status();
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(&self.dir)) {
            let _ = host::command("umount", &["--lazy", point]).status();
        }
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

const GROUPS: &str = "/sys/fs/cgroup";

/// Names of groups that suites make at the top, and of directories that runc's suite makes beside the hierarchies.
const THEIRS: [&str; 9] = [
    "cgrouptest",
    "testdir",
    "runc-cgroups-integration-test",
    "test_",
    "my-cgroup",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
];

/// What there is at the top of each hierarchy, and beside the hierarchies.
pub(super) fn groups() -> BTreeSet<PathBuf> {
    let inside = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let tops: Vec<PathBuf> = inside(Path::new(GROUPS)).map(|entry| entry.path()).collect();
    let below = tops.iter().flat_map(|top| inside(top)).map(|entry| entry.path());
    below.chain(tops.iter().cloned()).filter(|path| path.is_dir()).collect()
}

/// Removes what a suite has made there and left empty.
pub(super) fn remove_new(before: &BTreeSet<PathBuf>) {
    let is_theirs = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        THEIRS.iter().any(|begin| name.starts_with(begin))
    };
    for group in groups().difference(before).filter(is_theirs) {
        remove_tree(group);
    }
}

/// Removes these groups of every hierarchy, which suites leave empty.
pub(crate) fn remove_groups(names: &[&str]) {
    for hierarchy in fs::read_dir(GROUPS).into_iter().flatten().flatten() {
        for name in names {
            remove_tree(&hierarchy.path().join(name));
        }
    }
}

fn remove_tree(group: &Path) {
    let children = fs::read_dir(group).into_iter().flatten().flatten();
    for child in children.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove_tree(&child);
    }
    let _ = fs::remove_dir(group);
}
