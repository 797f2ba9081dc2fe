//! A runtime under test: a program that has a state root of its own, and what its tests leave is taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::sources::text;
use crate::host;

/// Where version 2 is mounted beside version 1.
const HYBRID: &str = "/sys/fs/cgroup/unified";
const GROUPS: &str = "/sys/fs/cgroup";

const SANDBOX: &str = include_str!("sandbox.sh");

/// crun's suite calls its own options, one of which runc has no word for: what it names is what runc reads.
const FILTER: &str = r#"words=()
while [ $# -gt 0 ]; do
    case $1 in
        --cgroup-manager) shift 2 ;;
        --config) [ "$2" = config.json ] || cp "$2" config.json; shift 2 ;;
        *) words+=("$1"); shift ;;
    esac
done
set -- "${words[@]}"
"#;

/// How often, in tenths of a second, a control group is asked whether it is empty.
const PATIENCE: u32 = 100;

/// A runtime, and where its tests work.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// What suites call.
    pub(crate) program: PathBuf,
    /// Removed with it.
    pub(crate) dir: PathBuf,
    /// All groups of its tests are below it.
    group: String,
    /// crun goes to no host that has any controller in version 2 and others in version 1.
    layout: &'static str,
}

impl Runtime {
    /// A runtime whose command line begins with `words`. What an interrupted run has left of it goes.
    pub(crate) fn new(name: &'static str, words: &[String]) -> Result<Self> {
        let group = format!("oci-suite-{name}");
        remove_groups(&group)?;
        // Suites make sockets below it, whose names are short.
        let dir = PathBuf::from(format!("/tmp/oci-suite-{name}"));
        remove_dir(&dir)?;
        let (program, state) = (dir.join(name), dir.join("state"));
        fs::create_dir_all(dir.join("tmp")).with_context(|| format!("make {}", dir.display()))?;
        let filter = if name == "runc" { FILTER } else { "" };
        let (words, state) = (words.join(" "), state.display());
        let script = format!("#!/bin/bash\n{filter}exec {words} --root {state} \"$@\"\n");
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        // Users of a suite's containers go there.
        fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        let refuses_hybrid = name == "crun" && Path::new(HYBRID).exists();
        Ok(Self { program, dir, group, layout: if refuses_hybrid { "v1" } else { "all" } })
    }

    /// A program of a suite that tests this runtime, ended after so many seconds.
    pub(crate) fn test(&self, seconds: u32, words: &[&str]) -> Command {
        let limit = seconds.to_string();
        let sandbox =
            ["-k", "5", &limit, "sh", "-c", SANDBOX, "sandbox.sh", &self.group, self.layout];
        let mut command = host::command("timeout", &[&sandbox[..], words].concat());
        command.env("RUNTIME", &self.program).env("TMPDIR", self.dir.join("tmp"));
        command
    }

    /// Ends what is frozen below its group: no signal does while it is.
    pub(crate) fn end_frozen(&self) -> Result<()> {
        tops(&self.group)?.iter().for_each(|top| end_frozen(top));
        Ok(())
    }

    /// Ends all that is in its group, which goes on being there.
    pub(crate) fn end_all(&self) -> Result<()> {
        let tops = tops(&self.group)?;
        tops.iter().for_each(|top| thaw(top));
        tops.iter().for_each(|top| end(top));
        Ok(())
    }

    /// Takes away what its tests have left.
    pub(crate) fn clean(self) -> Result<()> {
        remove_groups(&self.group)?;
        remove_dir(&self.dir)
    }
}

fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Ends what is in the groups of this name, in every hierarchy, and removes them.
fn remove_groups(name: &str) -> Result<()> {
    let tops = tops(name)?;
    // A process that is frozen is not killed, and any hierarchy may be the one that freezes it.
    tops.iter().for_each(|top| thaw(top));
    tops.iter().try_for_each(|top| remove_group(top))
}

/// Those of this name at the top of a hierarchy.
fn tops(name: &str) -> Result<Vec<PathBuf>> {
    let hierarchies = fs::read_dir(GROUPS)?.flatten().map(|entry| entry.path());
    let tops = hierarchies.chain([PathBuf::from(GROUPS)]).map(|hierarchy| hierarchy.join(name));
    Ok(tops.filter(|top| top.exists()).collect())
}

fn is_frozen(group: &Path) -> bool {
    let says = |file: &str, word: &str| {
        fs::read_to_string(group.join(file)).is_ok_and(|text| text.trim() == word)
    };
    says("freezer.state", "FROZEN")
        || says("freezer.state", "FREEZING")
        || says("cgroup.freeze", "1")
}

fn end_frozen(group: &Path) {
    if is_frozen(group) {
        // Signals wait for it until it goes on, and then it ends before it does anything.
        end(group);
        thaw(group);
    }
    children(group).for_each(|child| end_frozen(&child));
}

/// Ends what is in a group and in those below it.
fn end(group: &Path) {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // Who is in another pid namespace is listed as 0, which to `kill` is this program and its group.
    for process in listed.lines().filter(|process| *process != "0") {
        // It may have ended by itself.
        let _ = host::command("kill", &["-9", process]).output();
    }
    children(group).for_each(|child| end(&child));
}

fn children(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn thaw(group: &Path) {
    // Of the two files a group has one or none.
    let _ = fs::write(group.join("freezer.state"), "THAWED");
    let _ = fs::write(group.join("cgroup.freeze"), "0");
    children(group).for_each(|child| thaw(&child));
}

fn remove_group(group: &Path) -> Result<()> {
    children(group).try_for_each(|child| remove_group(&child))?;
    for _ in 0..PATIENCE {
        end(group);
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    bail!("{} cannot be removed: something is left in it", text(group))
}
