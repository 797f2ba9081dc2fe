//! `update`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::env::{self, Label, Variable};
use crate::parse::limits;
use crate::parse::mount::MountFlag;
use crate::parse::number::{Bytes, Int, NanoCpus, SwapBytes, Uint16};
use crate::parse::ports::ports;
use crate::parse::volume::{Volumes, volumes};
use docker_api::types::containers::{UpdateContainer, UpdateExtension};
use model::port::{ContainerPort, ParsePortError};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Change limits, the restart policy, mounts, ports and labels of containers
#[derive(clap::Args, Debug)]
pub(super) struct UpdateArgs {
    /// Weight in block I/O, 10 to 1000, or 0 for none
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<Uint16>,
    /// Period of the CPU quota in microseconds
    #[arg(long, value_name = "int")]
    cpu_period: Option<Int>,
    /// CPU time in a period, in microseconds
    #[arg(long, value_name = "int")]
    cpu_quota: Option<Int>,
    /// Period of real-time scheduling in microseconds
    #[arg(long, value_name = "int")]
    cpu_rt_period: Option<Int>,
    /// Real-time CPU time in a period, in microseconds
    #[arg(long, value_name = "int")]
    cpu_rt_runtime: Option<Int>,
    /// Weight in the competition for CPU time
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<Int>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    cpus: Option<NanoCpus>,
    /// CPUs to run on (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Set a variable of the environment, from the next start on (NAME=value)
    #[arg(long, value_name = "list")]
    env_add: Vec<Variable>,
    /// Take a variable away, from the next start on
    #[arg(long, value_name = "list")]
    env_rm: Vec<String>,
    /// Set a label (NAME=value)
    #[arg(long, value_name = "list")]
    label_add: Vec<Label>,
    /// Take a label away
    #[arg(long, value_name = "list")]
    label_rm: Vec<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<Bytes>,
    /// Memory that is left when memory is short
    #[arg(long, value_name = "bytes")]
    memory_reservation: Option<Bytes>,
    /// Memory and swap together; -1 is unlimited swap
    #[arg(long, value_name = "bytes")]
    memory_swap: Option<SwapBytes>,
    /// Mount something: type=bind|volume|tmpfs|image,source=…,target=…
    #[arg(long, value_name = "mount")]
    mount: Vec<MountFlag>,
    /// Unmount what is mounted at a path of the container; a volume stays
    #[arg(long, value_name = "path")]
    mount_rm: Vec<String>,
    /// Number of processes; -1 is unlimited
    #[arg(long, value_name = "int")]
    pids_limit: Option<Int>,
    /// Publish a port on the host: [[address:][port]:]port[/protocol]
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish a port of the container no more: port[/protocol]
    #[arg(long, value_name = "port")]
    publish_rm: Vec<PortFlag>,
    /// Restart the container when it exits: no, on-failure[:max], always, unless-stopped
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    /// Mount a directory of the host or a volume: [source:]target[:options]
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    containers: Vec<String>,
}

command!(
    UpdateArgs,
    update,
    ["container update", "update"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn update(cx: &Cx, args: UpdateArgs) -> Outcome {
    let cwd = std::env::current_dir().unwrap_or_default();
    let request = request(&args, &cwd).map_err(Failure::error)?;
    if request == UpdateContainer::default() {
        return Err(Failure::error("you must provide one or more flags when using this command"));
    }
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let done = each(cx, &args.containers, |client, name| {
        let (request, warnings) = (request.clone(), Arc::clone(&warnings));
        async move {
            let answer = client.container_update(&name, &request).await?;
            let mut all = warnings.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(answer.warnings.into_iter().flatten());
            Ok(())
        }
    })
    .await?;
    // Docker tells them last, and on standard output.
    for warning in warnings.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        cx.line(warning)?;
    }
    Ok(done)
}

fn request(args: &UpdateArgs, cwd: &Path) -> Result<UpdateContainer, String> {
    Ok(UpdateContainer {
        cpu_shares: args.cpu_shares.map(|n| n.0),
        memory: args.memory.map(|n| n.0),
        nano_cpus: args.cpus.map(|n| n.0),
        blkio_weight: args.blkio_weight.map(|n| n.0),
        cpu_period: args.cpu_period.map(|n| n.0),
        cpu_quota: args.cpu_quota.map(|n| n.0),
        cpu_realtime_period: args.cpu_rt_period.map(|n| n.0),
        cpu_realtime_runtime: args.cpu_rt_runtime.map(|n| n.0),
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        memory_reservation: args.memory_reservation.map(|n| n.0),
        memory_swap: args.memory_swap.map(|n| n.0),
        pids_limit: args.pids_limit.map(|n| n.0),
        dhow: extension(args, cwd)?,
        restart_policy: args.restart.as_deref().map(limits::restart).transpose()?,
    })
}

/// Docker has no words for these.
fn extension(args: &UpdateArgs, cwd: &Path) -> Result<Option<UpdateExtension>, String> {
    let Volumes { mut binds, anonymous } = volumes(&args.volume, cwd)?;
    binds.extend(anonymous.into_keys());
    let extension = UpdateExtension {
        label_add: env::map(args.label_add.iter().map(|label| &label.0)),
        label_rm: args.label_rm.clone(),
        env_add: args.env_add.iter().map(|variable| variable.0.clone()).collect(),
        env_rm: args.env_rm.clone(),
        bind_add: binds,
        mount_add: args.mount.iter().map(|flag| flag.at(cwd)).collect(),
        mount_rm: args.mount_rm.clone(),
        port_add: ports(&args.publish, &[])?.bindings,
        port_rm: args.publish_rm.iter().map(|port| port.0.to_string()).collect(),
    };
    Ok((extension != UpdateExtension::default()).then_some(extension))
}

/// A port of a container.
#[derive(Debug, Clone, Copy)]
struct PortFlag(ContainerPort);

impl FromStr for PortFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: ParsePortError| error.to_string())
    }
}
