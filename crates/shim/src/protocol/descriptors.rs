//! What the descriptors of a launch are for.

use serde::{Deserialize, Serialize};

/// What a descriptor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FdRole {
    /// The detached mount of the root file system.
    Rootfs,
    /// A namespace to join.
    Namespace(NamespaceKind),
    /// The detached source of `spec.mounts[index]`.
    Tree(usize),
    /// The compiled seccomp filter: a file with `runtime::seccomp::Program::to_bytes`.
    Seccomp,
    /// A socket that reserves a published port: held until the port is taken back.
    Port,
    /// The directory of the checkpoint that it is made of.
    Checkpoint,
    /// Where it asks for names by UDP.
    NamePackets,
    /// The same by TCP: it listens.
    NameStreams,
    /// The namespace that an ordinary user's networks are in: the container is on one of them.
    Networks,
    /// What is locked by whoever keeps that.
    NetworksFile,
}

/// The kinds of namespaces that a container may share with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceKind {
    /// Users: the one that owns all the others.
    User,
    /// Network.
    Net,
    /// Processes.
    Pid,
    /// System V and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// The root of what it sees of control groups.
    Cgroup,
}
