//! What a container uses.

use docker_api::types::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};
use engine::view::{StatsView, Traffic, Usage};

use super::{NO_TIME, or_null, time};

/// One reading, and the one before it, from which clients compute the CPU's share.
pub(crate) fn stats(view: &StatsView, before: Option<&StatsView>) -> Stats {
    let base = Stats {
        name: format!("/{}", view.name),
        id: view.id.to_string(),
        read: time(view.at),
        preread: before.map_or_else(|| NO_TIME.to_owned(), |before| time(before.at)),
        precpu_stats: before.and_then(|before| before.usage.as_ref()).map(cpu).unwrap_or_default(),
        ..Stats::default()
    };
    // A container that does not run has a name and no readings.
    let Some(usage) = &view.usage else { return base };
    Stats {
        num_procs: 0,
        pids_stats: PidsStats { current: usage.pids, limit: usage.pids_limit.unwrap_or(u64::MAX) },
        cpu_stats: cpu(usage),
        memory_stats: memory(usage),
        blkio_stats: blkio(usage),
        networks: or_null(
            usage.networks.iter().map(|(name, it)| (name.clone(), traffic(*it))).collect(),
        ),
        ..base
    }
}

fn cpu(usage: &Usage) -> CpuStats {
    let (periods, throttled_periods, throttled_time) = usage.throttled;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: usage.cpu_total,
            percpu_usage: None,
            usage_in_kernelmode: usage.cpu_kernel,
            usage_in_usermode: usage.cpu_user,
        },
        system_cpu_usage: usage.system_cpu,
        online_cpus: usage.online_cpus,
        throttling_data: ThrottlingData { periods, throttled_periods, throttled_time },
    }
}

fn memory(usage: &Usage) -> MemoryStats {
    MemoryStats {
        usage: usage.memory,
        max_usage: usage.memory_max.unwrap_or_default(),
        stats: Some(usage.memory_details.clone()),
        failcnt: 0,
        limit: usage.memory_limit,
    }
}

fn blkio(usage: &Usage) -> BlkioStats {
    let entry =
        |major, minor, op: &str, value| BlkioEntry { major, minor, op: op.to_owned(), value };
    let entries = usage.block_io.iter().flat_map(|io| {
        [entry(io.major, io.minor, "read", io.read), entry(io.major, io.minor, "write", io.written)]
    });
    BlkioStats { io_service_bytes_recursive: or_null(entries.collect()), ..BlkioStats::default() }
}

fn traffic(traffic: Traffic) -> NetworkStats {
    let [rx_bytes, rx_packets, rx_errors, rx_dropped] = traffic.received;
    let [tx_bytes, tx_packets, tx_errors, tx_dropped] = traffic.sent;
    NetworkStats {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    }
}
