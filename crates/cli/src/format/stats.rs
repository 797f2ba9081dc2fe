//! `stats`: readings of the kernel's counters to percentages.

use super::containers::Cut;
use crate::human;
use crate::table::{Column, List, Named, Row, short_id};
use docker_api::types::stats::{BlkioEntry, CpuStats, MemoryStats, Stats};

/// The formats with a name.
pub(crate) const NAMED: Named<'static> = Named {
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    raw: None,
};

const COLUMNS: &[Column] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// A container as it was asked for, and its last reading; none if there is none yet.
pub(crate) struct Reading {
    pub(crate) asked: String,
    pub(crate) stats: Option<Stats>,
    /// Whether its figures are of now. Of others only id and name are shown.
    pub(crate) is_live: bool,
}

/// The list for these readings.
pub(crate) fn list(readings: &[Reading], cut: Cut) -> List<'static> {
    let rows = readings.iter().map(|reading| row(reading, cut)).collect();
    List { columns: COLUMNS, type_name: "*container.statsContext", rows }
}

fn row(reading: &Reading, cut: Cut) -> Row {
    let Some(stats) = &reading.stats else { return unknown(&reading.asked, "--", "--") };
    let used = used_memory(&stats.memory_stats);
    let limit = stats.memory_stats.limit;
    let share = if limit == 0 { 0.0 } else { float(used) / float(limit) * 100.0 };
    let (received, sent) = network(stats);
    let (read, written) = block(stats);
    let pair = |a, b| format!("{} / {}", human::size(float(a)), human::size(float(b)));
    let name = stats.name.strip_prefix('/').unwrap_or(&stats.name);
    let id = if cut == Cut::Short { short_id(&stats.id) } else { &stats.id };
    if !reading.is_live {
        return unknown(&reading.asked, id, name);
    }
    let memory =
        format!("{} / {}", human::binary_size(float(used)), human::binary_size(float(limit)));
    Row::new(vec![
        ("Container", reading.asked.clone()),
        ("ID", id.to_owned()),
        ("Name", name.to_owned()),
        ("CPUPerc", format!("{:.2}%", cpu(&stats.precpu_stats, &stats.cpu_stats))),
        ("MemUsage", memory),
        ("MemPerc", format!("{share:.2}%")),
        ("NetIO", pair(received, sent)),
        ("BlockIO", pair(read, written)),
        ("PIDs", stats.pids_stats.current.to_string()),
    ])
}

fn unknown(asked: &str, id: &str, name: &str) -> Row {
    let dashes = || "--".to_owned();
    Row::new(vec![
        ("Container", asked.to_owned()),
        ("ID", id.to_owned()),
        ("Name", name.to_owned()),
        ("CPUPerc", dashes()),
        ("MemUsage", "-- / --".to_owned()),
        ("MemPerc", dashes()),
        ("NetIO", dashes()),
        ("BlockIO", dashes()),
        ("PIDs", dashes()),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "three or four digits are shown")]
fn float(value: u64) -> f64 {
    value as f64
}

/// Time of the container in time of the system, 100 for each CPU.
fn cpu(before: &CpuStats, now: &CpuStats) -> f64 {
    let own = float(now.cpu_usage.total_usage) - float(before.cpu_usage.total_usage);
    let system = float(now.system_cpu_usage) - float(before.system_cpu_usage);
    let listed = now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len);
    let cpus = match now.online_cpus {
        0 => u32::try_from(listed).unwrap_or(0),
        cpus => cpus,
    };
    if own > 0.0 && system > 0.0 { own / system * f64::from(cpus) * 100.0 } else { 0.0 }
}

/// Without the page cache that can be given back at once.
fn used_memory(memory: &MemoryStats) -> u64 {
    let inactive = memory.stats.as_ref().and_then(|stats| {
        // v1 says it for the whole subtree in a field of its own.
        stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied()
    });
    match inactive {
        Some(cache) if cache < memory.usage => memory.usage - cache,
        Some(_) | None => memory.usage,
    }
}

fn network(stats: &Stats) -> (u64, u64) {
    let all = stats.networks.iter().flat_map(|networks| networks.values());
    all.fold((0, 0), |(rx, tx), link| (rx + link.rx_bytes, tx + link.tx_bytes))
}

fn block(stats: &Stats) -> (u64, u64) {
    let entries = stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
    let sum = |letter: char| {
        let of = |entry: &&BlkioEntry| entry.op.to_lowercase().starts_with(letter);
        entries.clone().filter(of).map(|entry| entry.value).sum()
    };
    (sum('r'), sum('w'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Format;
    use expect_test::expect;

    #[test]
    fn readings_become_percentages() {
        let text = r#"{"name":"/web","id":"0123456789abcdef","cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":4},"precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":1000},"memory_stats":{"usage":3365928,"limit":2040109465,"stats":{"inactive_file":1048576}},"networks":{"eth0":{"rx_bytes":1000,"tx_bytes":20},"eth1":{"rx_bytes":500}},"blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":4096},{"op":"write","value":10}]},"pids_stats":{"current":3}}"#;
        let stats = docker_api::json::parse_reply(text.as_bytes()).unwrap();
        let old = Stats { name: "/old".into(), id: "9876543210abcdef".into(), ..Stats::default() };
        let readings = [
            Reading { asked: "web".into(), stats: Some(stats), is_live: true },
            Reading { asked: "new".into(), stats: None, is_live: false },
            Reading { asked: "old".into(), stats: Some(old), is_live: false },
        ];
        let Ok(format) = Format::parse("", NAMED) else { panic!("default format") };
        let got = format.render(list(&readings, Cut::Short));
        expect![[r#"
            CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O     PIDS
            0123456789ab   web       80.00%    2.21MiB / 1.9GiB    0.11%     1.5kB / 20B   4.1kB / 10B   3
            --             --        --        -- / --             --        --            --            --
            9876543210ab   old       --        -- / --             --        --            --            --
        "#]].assert_eq(&got.unwrap_or_else(|e| e.message.unwrap_or_default()));
    }
}
