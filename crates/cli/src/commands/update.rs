//! `update`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::env::{self, Label, Variable};
use crate::parse::limits;
use crate::parse::number::{Bytes, Int, NanoCpus, SwapBytes, Uint16};
use docker_api::types::containers::{UpdateContainer, UpdateExtension};
use std::sync::{Arc, Mutex, PoisonError};

/// Change limits and the restart policy of containers
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
    /// Number of processes; -1 is unlimited
    #[arg(long, value_name = "int")]
    pids_limit: Option<Int>,
    /// Restart the container when it exits: no, on-failure[:max], always, unless-stopped
    #[arg(long, value_name = "string")]
    restart: Option<String>,
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
    let request = request(&args).map_err(Failure::error)?;
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

fn request(args: &UpdateArgs) -> Result<UpdateContainer, String> {
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
        dhow: extension(args),
        restart_policy: args.restart.as_deref().map(limits::restart).transpose()?,
    })
}

/// Docker has no words for these.
fn extension(args: &UpdateArgs) -> Option<UpdateExtension> {
    let extension = UpdateExtension {
        label_add: env::map(args.label_add.iter().map(|label| &label.0)),
        label_rm: args.label_rm.clone(),
        env_add: args.env_add.iter().map(|variable| variable.0.clone()).collect(),
        env_rm: args.env_rm.clone(),
    };
    (extension != UpdateExtension::default()).then_some(extension)
}
