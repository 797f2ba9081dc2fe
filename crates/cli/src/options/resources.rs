//! Limits: memory, CPU, processes, block I/O.

use crate::parse::device::{Bps, Iops, Weight};
use crate::parse::limits::{UlimitFlag, ulimits};
use crate::parse::number::{Bytes, Int, NanoCpus, SwapBytes, Uint16};
use docker_api::types::containers::CreateContainer;
use docker_api::types::host_config::HostConfig;

#[derive(clap::Args, Debug)]
pub(super) struct ResourceOptions {
    /// Weight in block I/O, 10 to 1000, or 0 for none
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<Uint16>,
    /// Weight in the I/O of one device
    #[arg(long, value_name = "list")]
    blkio_weight_device: Vec<Weight>,
    /// Cgroup that the container's is made in
    #[arg(long, value_name = "string")]
    cgroup_parent: Option<String>,
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
    /// Limit reading from a device, in bytes a second
    #[arg(long, value_name = "list")]
    device_read_bps: Vec<Bps>,
    /// Limit reading from a device, in operations a second
    #[arg(long, value_name = "list")]
    device_read_iops: Vec<Iops>,
    /// Limit writing to a device, in bytes a second
    #[arg(long, value_name = "list")]
    device_write_bps: Vec<Bps>,
    /// Limit writing to a device, in operations a second
    #[arg(long, value_name = "list")]
    device_write_iops: Vec<Iops>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<Bytes>,
    /// Memory that is left when memory is short
    #[arg(long, value_name = "bytes")]
    memory_reservation: Option<Bytes>,
    /// Memory and swap together; -1 is unlimited swap
    #[arg(long, value_name = "bytes")]
    memory_swap: Option<SwapBytes>,
    /// How willingly memory is swapped out, 0 to 100
    #[arg(long, value_name = "int", default_value = "-1")]
    memory_swappiness: Int,
    /// Do not kill when memory runs out
    #[arg(long)]
    oom_kill_disable: bool,
    /// How readily the process is killed when memory runs out, -1000 to 1000
    #[arg(long, value_name = "int")]
    oom_score_adj: Option<Int>,
    /// Number of processes; -1 is unlimited
    #[arg(long, value_name = "int")]
    pids_limit: Option<Int>,
    /// Limit of a process: type=soft[:hard]
    #[arg(long, value_name = "ulimit")]
    ulimit: Vec<UlimitFlag>,
}

fn int(value: Option<Int>) -> i64 {
    value.map_or(0, |value| value.0)
}

impl ResourceOptions {
    pub(super) fn apply(&self, request: &mut CreateContainer) -> Result<(), String> {
        let swappiness = self.memory_swappiness.0;
        if swappiness != -1 && !(0..=100).contains(&swappiness) {
            return Err(format!(
                "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
            ));
        }
        let host = &mut request.host_config;
        host.memory = self.memory.map_or(0, |bytes| bytes.0);
        host.memory_reservation = self.memory_reservation.map_or(0, |bytes| bytes.0);
        host.memory_swap = self.memory_swap.map_or(0, |bytes| bytes.0);
        host.memory_swappiness = Some(swappiness);
        host.oom_kill_disable = Some(self.oom_kill_disable);
        host.oom_score_adj = int(self.oom_score_adj);
        host.pids_limit = Some(int(self.pids_limit));
        host.ulimits = Some(ulimits(&self.ulimit));
        host.cgroup_parent = self.cgroup_parent.clone().unwrap_or_default();
        self.cpu(host);
        self.block(host);
        Ok(())
    }

    fn cpu(&self, host: &mut HostConfig) {
        host.nano_cpus = self.cpus.map_or(0, |cpus| cpus.0);
        host.cpu_shares = int(self.cpu_shares);
        host.cpu_period = int(self.cpu_period);
        host.cpu_quota = int(self.cpu_quota);
        host.cpu_realtime_period = int(self.cpu_rt_period);
        host.cpu_realtime_runtime = int(self.cpu_rt_runtime);
        host.cpuset_cpus = self.cpuset_cpus.clone().unwrap_or_default();
        host.cpuset_mems = self.cpuset_mems.clone().unwrap_or_default();
    }

    fn block(&self, host: &mut HostConfig) {
        host.blkio_weight = self.blkio_weight.map_or(0, |weight| weight.0);
        let weights = self.blkio_weight_device.iter().map(|weight| weight.0.clone());
        host.blkio_weight_device = Some(weights.collect());
        let bps = |list: &[Bps]| Some(list.iter().map(|limit| limit.0.clone()).collect());
        let iops = |list: &[Iops]| Some(list.iter().map(|limit| limit.0.clone()).collect());
        host.blkio_device_read_bps = bps(&self.device_read_bps);
        host.blkio_device_write_bps = bps(&self.device_write_bps);
        host.blkio_device_read_iops = iops(&self.device_read_iops);
        host.blkio_device_write_iops = iops(&self.device_write_iops);
    }
}
