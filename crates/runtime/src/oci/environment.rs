//! What a process of the container has in its environment without anybody saying so: its home, and what a
//! service manager has opened for it.

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};

use super::fault::Fault;

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
