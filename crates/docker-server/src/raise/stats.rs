//! What a container uses.

use docker_api::types::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, MoreStats, NetworkStats, Percent,
    PidsStats, Stall, Stats, ThrottlingData, Waited,
};
use engine::view::{BlockIo, CgroupVersion, Pressure, StatsView, Traffic, Usage};

use super::{NO_TIME, or_null, time};

/// One reading, and the one before it, from which clients compute the CPU's share.
pub(crate) fn stats(view: &StatsView, before: Option<&StatsView>) -> Stats {
    let base = Stats {
        name: format!("/{}", view.name),
        id: view.id.to_string(),
        read: NO_TIME.to_owned(),
        preread: before.map_or_else(|| NO_TIME.to_owned(), |before| time(before.at)),
        precpu_stats: before.and_then(|before| before.usage.as_ref()).map(cpu).unwrap_or_default(),
        ..Stats::default()
    };
    // A container that does not run has a name and no readings.
    let Some(usage) = &view.usage else { return base };
    Stats {
        read: time(view.at),
        num_procs: 0,
        pids_stats: pids(usage),
        cpu_stats: cpu(usage),
        memory_stats: memory(usage),
        blkio_stats: blkio(usage),
        dhow: more(&usage.pressure),
        networks: or_null(
            usage.networks.iter().map(|(name, it)| (name.clone(), traffic(*it))).collect(),
        ),
        ..base
    }
}

/// Nothing, where the kernel tells nothing.
fn more(pressure: &Pressure) -> Option<MoreStats> {
    let all = [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)];
    let known = all.into_iter().filter_map(|(name, stall)| Some((name.to_owned(), raise(stall?))));
    (!pressure.is_unknown()).then(|| MoreStats { pressure: known.collect() })
}

fn raise(stall: engine::view::Stall) -> Stall {
    let waited = |waited: engine::view::Waited| Waited {
        avg10: Percent(waited.avg10),
        avg60: Percent(waited.avg60),
        avg300: Percent(waited.avg300),
        total: waited.total,
    };
    Stall { some: waited(stall.some), full: stall.full.map(waited) }
}

fn cpu(usage: &Usage) -> CpuStats {
    let (periods, throttled_periods, throttled_time) = usage.throttled;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: usage.cpu_total,
            percpu_usage: or_null(usage.cpu_each.clone()),
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
        max_usage: match usage.cgroup {
            CgroupVersion::V1 => usage.memory_max.unwrap_or_default(),
            CgroupVersion::V2 => 0,
        },
        stats: Some(usage.memory_details.clone()),
        failcnt: usage.memory_failures,
        limit: usage.memory_limit,
    }
}

/// No limit is no word on v1 and the largest number on v2.
fn pids(usage: &Usage) -> PidsStats {
    let unlimited = match usage.cgroup {
        CgroupVersion::V1 => 0,
        CgroupVersion::V2 => u64::MAX,
    };
    PidsStats { current: usage.pids, limit: usage.pids_limit.unwrap_or(unlimited) }
}

/// On v1 Docker has a list for each file that kernels once had; on v2 it counts bytes alone.
fn blkio(usage: &Usage) -> BlkioStats {
    let entry = |io: &BlockIo| BlkioEntry {
        major: io.major,
        minor: io.minor,
        op: io.operation.clone(),
        value: io.value,
    };
    let bytes: Vec<_> = usage.block_bytes.iter().map(entry).collect();
    match usage.cgroup {
        CgroupVersion::V1 => BlkioStats {
            io_service_bytes_recursive: Some(bytes),
            io_serviced_recursive: Some(usage.block_operations.iter().map(entry).collect()),
            io_queue_recursive: Some(Vec::new()),
            io_service_time_recursive: Some(Vec::new()),
            io_wait_time_recursive: Some(Vec::new()),
            io_merged_recursive: Some(Vec::new()),
            io_time_recursive: Some(Vec::new()),
            sectors_recursive: Some(Vec::new()),
        },
        CgroupVersion::V2 => {
            BlkioStats { io_service_bytes_recursive: or_null(bytes), ..BlkioStats::default() }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_beside_what_docker_tells() {
        assert_eq!(raised(Some(Usage::default())).get("Dhow"), None);
        let some = engine::view::Waited { avg10: 105, total: 7, ..Default::default() };
        let io = Some(engine::view::Stall { some, full: None });
        let pressure = Pressure { io, ..Pressure::default() };
        let told = raised(Some(Usage { pressure, ..Usage::default() }));
        let waited = serde_json::json!({ "avg10": 1.05, "avg60": 0.0, "avg300": 0.0, "total": 7 });
        assert_eq!(told["Dhow"], serde_json::json!({ "Pressure": { "io": { "some": waited } } }));
    }

    fn raised(usage: Option<Usage>) -> serde_json::Value {
        let at = "2026-11-22T11:00:00Z".parse().unwrap();
        let id = model::ContainerId::from_random([7; 32]);
        let view = StatsView { id, name: "web".parse().unwrap(), at, usage };
        serde_json::to_value(stats(&view, None)).unwrap()
    }

    #[test]
    fn one_that_does_not_run_has_a_name_and_no_time() {
        let none = raised(None);
        assert_eq!((&none["name"], &none["read"]), (&"/web".into(), &NO_TIME.into()));
        assert_eq!(none["pids_stats"], serde_json::json!({}));
        assert_eq!(none["memory_stats"], serde_json::json!({}));
        assert!(none["blkio_stats"]["io_service_bytes_recursive"].is_null());
        assert!(none.get("networks").is_none());
    }

    #[test]
    fn both_versions_have_their_own_shapes() {
        let io = |operation: &str| {
            vec![BlockIo { major: 8, minor: 1, operation: operation.into(), value: 5 }]
        };
        let usage = Usage {
            cpu_each: vec![1, 2],
            memory_max: Some(9),
            memory_failures: 3,
            block_bytes: io("Read"),
            block_operations: io("Total"),
            ..Usage::default()
        };
        let old = raised(Some(Usage { cgroup: CgroupVersion::V1, ..usage.clone() }));
        let entry = |op| serde_json::json!([{"major": 8, "minor": 1, "op": op, "value": 5}]);
        assert_eq!(old["blkio_stats"]["io_service_bytes_recursive"], entry("Read"));
        assert_eq!(old["blkio_stats"]["io_serviced_recursive"], entry("Total"));
        assert_eq!(old["blkio_stats"]["sectors_recursive"], serde_json::json!([]));
        assert_eq!(old["cpu_stats"]["cpu_usage"]["percpu_usage"], serde_json::json!([1, 2]));
        assert_eq!(
            (&old["memory_stats"]["max_usage"], &old["memory_stats"]["failcnt"]),
            (&9.into(), &3.into())
        );
        assert!(old["pids_stats"].get("limit").is_none());
        let new = raised(Some(Usage { cgroup: CgroupVersion::V2, cpu_each: vec![], ..usage }));
        assert!(new["blkio_stats"]["io_serviced_recursive"].is_null());
        assert!(new["memory_stats"].get("max_usage").is_none());
        assert!(new["cpu_stats"]["cpu_usage"].get("percpu_usage").is_none());
        assert_eq!(new["pids_stats"]["limit"], u64::MAX);
    }
}
