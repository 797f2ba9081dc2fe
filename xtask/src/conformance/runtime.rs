//! A runtime under test: a program that has a state root of its own, and what it leaves is taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::sources::text;
use crate::host;

/// Where version 2 is mounted beside version 1.
const HYBRID: &str = "/sys/fs/cgroup/unified";

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
        let script =
            format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", words.join(" "), state.display());
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

/// Removes these groups of every hierarchy, which suites leave empty.
pub(crate) fn remove_groups(names: &[&str]) {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
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
