//! Kernel parameters that belong to a namespace.

/// Those of an IPC namespace besides all below `fs.mqueue`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Whether a parameter, its parts between dots, is an IPC namespace's.
#[must_use]
pub fn is_ipc(name: &str) -> bool {
    IPC.contains(&name) || name.starts_with("fs.mqueue.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_are_no_namespaces() {
        for (name, want) in [
            ("kernel.sem", true),
            ("fs.mqueue.msg_max", true),
            ("fs.mqueue", false),
            ("kernel.sem.x", false),
            ("kernel.core_pattern", false),
            ("net.ipv4.ip_forward", false),
        ] {
            assert_eq!(is_ipc(name), want, "{name}");
        }
    }
}
