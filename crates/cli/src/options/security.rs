//! Capabilities, profiles, namespaces.

use super::Ambient;
use crate::parse::env;
use crate::parse::security::{self, Paths, Sysctl};
use docker_api::types::containers::CreateContainer;

#[derive(clap::Args, Debug)]
pub(super) struct SecurityOptions {
    /// Add a capability
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Cgroup namespace: host or private
    #[arg(long, value_name = "string")]
    cgroupns: Option<String>,
    /// IPC namespace: none, private, shareable, container:NAME, host
    #[arg(long, value_name = "string")]
    ipc: Option<String>,
    /// Isolation technology of the container
    #[arg(long, value_name = "string")]
    isolation: Option<String>,
    /// PID namespace: container:NAME, host
    #[arg(long, value_name = "string")]
    pid: Option<String>,
    /// Take all restrictions away
    #[arg(long)]
    privileged: bool,
    /// Security option: seccomp=PROFILE, apparmor=PROFILE, label=…, no-new-privileges, systempaths=unconfined
    #[arg(long, value_name = "list")]
    security_opt: Vec<String>,
    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "map")]
    sysctl: Vec<Sysctl>,
    /// User namespace: host, auto
    #[arg(long, value_name = "string")]
    userns: Option<String>,
    /// UTS namespace: host
    #[arg(long, value_name = "string")]
    uts: Option<String>,
}

impl SecurityOptions {
    pub(super) fn apply(
        &self,
        request: &mut CreateContainer,
        ambient: &Ambient<'_>,
    ) -> Result<(), String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mode = |flag, kind, value: &Option<String>| security::mode(flag, kind, &text(value));
        let host = &mut request.host_config;
        host.pid_mode = mode("--pid", "PID", &self.pid)?;
        host.uts_mode = mode("--uts", "UTS", &self.uts)?;
        host.userns_mode = mode("--userns", "USER", &self.userns)?;
        host.cgroupns_mode = mode("--cgroupns", "CGROUP", &self.cgroupns)?;
        host.ipc_mode = text(&self.ipc);
        host.isolation = text(&self.isolation);
        host.privileged = self.privileged;
        let (add, drop) = security::capabilities(&self.cap_add, &self.cap_drop);
        host.cap_add = (!add.is_empty()).then(|| add.into());
        host.cap_drop = (!drop.is_empty()).then(|| drop.into());
        host.sysctls =
            (!self.sysctl.is_empty()).then(|| env::map(self.sysctl.iter().map(|sysctl| &sysctl.0)));
        let options = security::options(&self.security_opt, ambient.read)?;
        host.security_opt = (!options.options.is_empty()).then_some(options.options);
        if options.paths == Paths::Open {
            host.masked_paths = Some(Vec::new());
            host.readonly_paths = Some(Vec::new());
        }
        Ok(())
    }
}
