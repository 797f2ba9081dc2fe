//! What a process of the container has in its environment without anybody saying so: its home, and what a
//! service manager has opened for it.

use std::os::fd::BorrowedFd;

use oci_spec::runtime::Process;

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

/// Sets HOME where it is missing or empty, to what the container's own `/etc/passwd` says of the user, as
/// runc and crun do: engines leave it to the runtime.
pub(super) fn complete(process: &mut Process, root: BorrowedFd<'_>) {
    let mut all = process.env().clone().unwrap_or_default();
    if all.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
        return;
    }
    all.retain(|entry| entry != "HOME=");
    all.push(format!("HOME={}", crate::home(root, process.user().uid())));
    process.set_env(Some(all));
}
