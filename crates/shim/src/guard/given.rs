//! What came along with a launch.

use std::os::fd::OwnedFd;

use model::life::StartFailure;
use sys::process::Namespaces;
use sys::rootless::networks::Networks;

use super::effects::failed;
use super::launch::failure;
use super::names;
use crate::protocol::{FdRole, Launch, NamespaceKind};

/// The descriptors of a launch, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) rootfs: Option<OwnedFd>,
    pub(super) namespaces: Vec<(Namespaces, OwnedFd)>,
    pub(super) trees: Vec<(usize, OwnedFd)>,
    pub(super) filter: Option<OwnedFd>,
    pub(super) ports: Vec<OwnedFd>,
    pub(super) checkpoint: Option<OwnedFd>,
    name_packets: Option<OwnedFd>,
    name_streams: Option<OwnedFd>,
    networks: Option<OwnedFd>,
    networks_file: Option<OwnedFd>,
}

impl Given {
    pub(super) fn sort(roles: &[FdRole], fds: Vec<OwnedFd>) -> Result<Self, StartFailure> {
        if roles.len() != fds.len() {
            let (named, came) = (roles.len(), fds.len());
            return Err(failure(format!("the launch names {named} descriptors, {came} came")));
        }
        let mut given = Self::default();
        for (role, fd) in roles.iter().zip(fds) {
            match role {
                FdRole::Rootfs => given.rootfs = Some(fd),
                FdRole::Namespace(kind) => given.namespaces.push((flag(*kind), fd)),
                FdRole::Tree(mount) => given.trees.push((*mount, fd)),
                FdRole::Seccomp => given.filter = Some(fd),
                FdRole::Port => given.ports.push(fd),
                FdRole::Checkpoint => given.checkpoint = Some(fd),
                FdRole::NamePackets => given.name_packets = Some(fd),
                FdRole::NameStreams => given.name_streams = Some(fd),
                FdRole::Networks => given.networks = Some(fd),
                FdRole::NetworksFile => given.networks_file = Some(fd),
            }
        }
        Ok(given)
    }

    /// Where an ordinary user's networks are, kept from now on.
    pub(super) fn networks(&mut self) -> Result<Option<Networks>, StartFailure> {
        let (Some(netns), Some(file)) = (self.networks.take(), self.networks_file.take()) else {
            return Ok(None);
        };
        let networks = Networks::of(netns, file);
        let kept = networks.keep();
        kept.map_err(|errno| failure(failed("keep the namespace of the networks", errno)))?;
        Ok(Some(networks))
    }

    /// What names need.
    pub(super) fn names(
        &mut self,
        launch: &Launch,
        namespaces: &[(Namespaces, OwnedFd)],
    ) -> Result<names::Places, StartFailure> {
        let (packets, streams) = (self.name_packets.take(), self.name_streams.take());
        Ok(names::Places { packets, streams, netns: names::netns(launch, namespaces)? })
    }
}

const fn flag(kind: NamespaceKind) -> Namespaces {
    match kind {
        NamespaceKind::User => Namespaces::USER,
        NamespaceKind::Net => Namespaces::NET,
        NamespaceKind::Pid => Namespaces::PID,
        NamespaceKind::Ipc => Namespaces::IPC,
        NamespaceKind::Uts => Namespaces::UTS,
        NamespaceKind::Cgroup => Namespaces::CGROUP,
    }
}
