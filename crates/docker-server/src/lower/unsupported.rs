//! Fields of the API that this version does not act on. Each is refused by name when it asks for
//! something, so that nothing is accepted and ignored.

use docker_api::types::config::ContainerConfig;
use docker_api::types::host_config::HostConfig;

/// Something that Docker does and this version does not, answered with 501.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not supported yet: {0}")]
pub(crate) struct Unsupported(pub(crate) String);

impl Unsupported {
    pub(crate) fn new(field: impl Into<String>) -> Self {
        Self(field.into())
    }
}

/// Whether a list or map asks for anything.
fn some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

/// Refuses the first field that asks for something that is not there.
pub(crate) fn refuse(config: &ContainerConfig, host: &HostConfig) -> Result<(), Unsupported> {
    let config_fields = [
        ("NetworkDisabled", config.network_disabled),
        ("OnBuild", some(config.on_build.as_ref())),
        ("Shell", some(config.shell.as_ref().map(|shell| &shell.0))),
    ];
    let host_fields = [
        ("HostConfig.Cgroup", !host.cgroup.is_empty()),
        ("HostConfig.KernelMemory", host.kernel_memory != 0),
        ("HostConfig.KernelMemoryTCP", host.kernel_memory_tcp != 0),
    ];
    let asked = config_fields.iter().chain(&host_fields).find(|(_, asked)| *asked);
    asked.map_or(Ok(()), |(name, _)| Err(Unsupported::new(*name)))
}
