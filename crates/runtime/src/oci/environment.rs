//! What a process of the container has in its environment without anybody saying so: its home, and what a
//! service manager has opened for it.

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Hook, Hooks, Process, Spec};
use rustix::fs::{Mode, OFlags};

use super::fault::Fault;
use crate::step::Groups;

/// How many descriptors from 3 on a service manager has opened for the container (`LISTEN_FDS`). Its first
/// process is told that they are its own, as runc tells it.
pub(super) fn pass_listeners(process: &mut Process) -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id()));
    let Some(count) = count.filter(|count| *count > 0) else { return 0 };
    let entries = vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()];
    process.set_env(Some([process.env().clone().unwrap_or_default(), entries].concat()));
    count
}

/// Gives the programs of the host that are hooks this process's environment where they have none of their own, as runc
/// and crun do: engines give them none and rely on it. A startContainer hook has the program's.
pub(super) fn hand_to_hooks(spec: &mut Spec) {
    let Some(hooks) = spec.hooks_mut() else { return };
    let pairs = std::env::vars_os()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)));
    let pairs: Vec<String> = pairs.collect();
    for list in OF_THE_HOST {
        let hooks = list(hooks).iter_mut().flatten();
        for hook in hooks.filter(|hook| hook.env().is_none()) {
            hook.set_env(Some(pairs.clone()));
        }
    }
}

/// The hooks of a moment.
type List = fn(&mut Hooks) -> &mut Option<Vec<Hook>>;

/// Moments whose hooks are programs of the host.
const OF_THE_HOST: [List; 5] = [
    Hooks::prestart_mut,
    Hooks::create_runtime_mut,
    Hooks::create_container_mut,
    Hooks::poststart_mut,
    Hooks::poststop_mut,
];

/// The root file system of a container, to be looked at.
pub(super) fn root(rootfs: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(rootfs, flags, Mode::empty())
        .map_err(|errno| Fault::file("open", rootfs)(errno.into()))
}

/// Has each variable once, and sets HOME where it is missing or empty, to what the container's own `/etc/passwd`
/// says of the user, as runc and crun do: engines leave it to the runtime.
pub(super) fn complete(process: &mut Process, root: BorrowedFd<'_>) {
    let mut all = last_of_each(process.env().clone().unwrap_or_default());
    let has_home = |entry: &String| entry.len() > 5 && entry.starts_with("HOME=");
    if !all.iter().any(has_home) {
        all.retain(|entry| entry != "HOME=");
        all.push(format!("HOME={}", crate::home(root, process.user().uid())));
    }
    process.set_env(Some(all));
}

/// Of a variable that is set more than once the last value counts.
fn last_of_each(mut all: Vec<String>) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut seen = HashSet::new();
    all.reverse();
    all.retain(|entry| seen.insert(name(entry)));
    all.reverse();
    all
}

/// What becomes of the caller's supplementary groups: crun's annotation for what they alone can reach (Podman's
/// `--group-add keep-groups`).
pub(super) fn groups(spec: &Spec) -> Groups {
    let said = spec.annotations().as_ref().and_then(|all| all.get("run.oci.keep_original_groups"));
    if said.is_some_and(|value| value != "0") { Groups::Kept } else { Groups::Dropped }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::AsFd as _;

    /// runc keeps one of each, and programs differ in which of two they take.
    #[test]
    fn a_variable_is_set_once_to_its_last_value_and_an_empty_home_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path()).unwrap();
        let env = |all: &[&str]| {
            let mut process = Process::default();
            process.set_env(Some(all.iter().map(|entry| (*entry).to_owned()).collect()));
            complete(&mut process, root.as_fd());
            process.env().clone().unwrap_or_default().join(" ")
        };
        assert_eq!(env(&["A=1", "HOME=/h", "B=", "A=2=3"]), "HOME=/h B= A=2=3");
        assert_eq!(env(&["HOME=/h", "HOME=", "A=1"]), "A=1 HOME=/");
    }
}
