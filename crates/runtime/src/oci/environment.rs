//! What a process of the container has in its environment without anybody saying so: its home.

use std::os::fd::BorrowedFd;

use oci_spec::runtime::Process;

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
