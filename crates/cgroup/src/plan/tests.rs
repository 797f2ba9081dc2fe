//! What is written where, on each version.

use expect_test::{Expect, expect};

use super::*;
use crate::limits::{
    Cpu, DeviceNumber, DeviceWeight, HugePages, Io, Memory, Network, Rdma, Throttle, ThrottleKind,
};

const EVERY: [Controller; 9] = [
    Controller::Cpu,
    Controller::Cpuset,
    Controller::Memory,
    Controller::Io,
    Controller::Pids,
    Controller::Hugetlb,
    Controller::Rdma,
    Controller::NetCls,
    Controller::NetPrio,
];

fn homes(version: Version) -> Homes {
    match version {
        Version::V1 => Homes { v1: EVERY.to_vec(), v2: vec![] },
        Version::V2 => Homes { v1: vec![], v2: EVERY[..7].to_vec() },
    }
}

fn planned(limits: &Limits, homes: &Homes, current: &Current) -> String {
    let writes = match writes(limits, homes, current) {
        Ok(writes) => writes,
        Err(error) => return format!("error: {error}\n"),
    };
    let line = |write: &Write| {
        let missing = match &write.missing {
            Missing::Fail => String::new(),
            Missing::Ignore => " (if there)".to_owned(),
            Missing::Instead(file, value) => format!(" (or {file} = {value})"),
        };
        format!("{:?} {} = {}{missing}\n", write.version, write.file, write.value)
    };
    writes.iter().map(line).collect()
}

fn check(limits: &Limits, expected: &Expect) {
    let text: String = [Version::V1, Version::V2]
        .iter()
        .map(|version| planned(limits, &homes(*version), &Current::NEW))
        .collect();
    expected.assert_eq(&text);
}

fn memory(limit: Option<i64>, with_swap: Option<i64>) -> Limits {
    let memory = Memory {
        limit: limit.map(Max::from_signed),
        with_swap: with_swap.map(Max::from_signed),
        ..Memory::default()
    };
    Limits { memory, ..Limits::default() }
}

fn cpu(cpu: Cpu) -> Limits {
    Limits { cpu, ..Limits::default() }
}

#[test]
fn no_limits_are_no_writes_and_need_no_controllers() {
    assert_eq!(writes(&Limits::default(), &Homes::default(), &Current::NEW), Ok(vec![]));
}

#[test]
fn what_docker_run_sets() {
    let limits = Limits {
        memory: memory(Some(64 << 20), Some(128 << 20)).memory,
        cpu: Cpu { shares: Some(512), ..Cpu::from_nano_cpus(1_500_000_000) },
        pids: Some(Max::At(100)),
        ..Limits::default()
    };
    check(
        &limits,
        &expect![[r#"
        V1 memory.limit_in_bytes = 67108864
        V1 memory.memsw.limit_in_bytes = 134217728
        V1 cpu.shares = 512
        V1 cpu.cfs_period_us = 100000
        V1 cpu.cfs_quota_us = 150000
        V1 pids.max = 100
        V2 memory.swap.max = 67108864
        V2 memory.max = 67108864
        V2 cpu.weight = 59
        V2 cpu.max = 150000 100000
        V2 pids.max = 100
    "#]],
    );
}

#[test]
fn memory_and_swap() {
    check(
        &memory(Some(100), None),
        &expect![[r#"
        V1 memory.limit_in_bytes = 100
        V2 memory.max = 100
    "#]],
    );
    check(
        &memory(Some(100), Some(100)),
        &expect![[r#"
        V1 memory.limit_in_bytes = 100
        V1 memory.memsw.limit_in_bytes = 100
        V2 memory.swap.max = 0 (if there)
        V2 memory.max = 100
    "#]],
    );
    check(
        &memory(Some(100), Some(-1)),
        &expect![[r#"
        V1 memory.memsw.limit_in_bytes = -1 (if there)
        V1 memory.limit_in_bytes = 100
        V2 memory.swap.max = max (if there)
        V2 memory.max = 100
    "#]],
    );
    check(
        &memory(Some(-1), None),
        &expect![[r#"
            V1 memory.memsw.limit_in_bytes = -1 (if there)
            V1 memory.limit_in_bytes = -1
            V2 memory.swap.max = max (if there)
            V2 memory.max = max
        "#]],
    );
    check(
        &memory(None, Some(100)),
        &expect![[r#"
        error: a limit of memory with swap needs a limit of memory
        error: a limit of memory with swap needs a limit of memory
    "#]],
    );
    check(
        &memory(Some(100), Some(99)),
        &expect![[r#"
        error: the limit of memory with swap, 99, is less than that of memory, 100
        error: the limit of memory with swap, 99, is less than that of memory, 100
    "#]],
    );
}

#[test]
fn on_update_v1_never_has_more_memory_than_memory_with_swap() {
    let update = |from: u64, limit, with_swap| {
        let current = Current { memory_limit: Max::At(from), ..Current::NEW };
        planned(&memory(Some(limit), Some(with_swap)), &homes(Version::V1), &current)
    };
    expect![[r#"
        V1 memory.memsw.limit_in_bytes = 400
        V1 memory.limit_in_bytes = 200
    "#]]
    .assert_eq(&update(100, 200, 400));
    expect![[r#"
        V1 memory.limit_in_bytes = 200
        V1 memory.memsw.limit_in_bytes = 300
    "#]]
    .assert_eq(&update(400, 200, 300));
    expect![[r#"
        V1 memory.memsw.limit_in_bytes = -1 (if there)
        V1 memory.limit_in_bytes = -1
    "#]]
    .assert_eq(&update(100, -1, -1));
}

#[test]
fn on_update_swap_alone_is_relative_to_the_limit_there_is() {
    let current = Current { memory_limit: Max::At(100), ..Current::NEW };
    let text = planned(&memory(None, Some(150)), &homes(Version::V2), &current);
    expect![[r#"
        V2 memory.swap.max = 50
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_limit_below_the_usage_is_refused_if_that_is_to_be_checked() {
    let mut limits = memory(Some(100), None);
    limits.memory.check_before_update = true;
    let current = Current { memory_usage: Some(101), ..Current::NEW };
    expect![[r#"
        error: 101 bytes of memory are in use, more than the new limit of 100
    "#]]
    .assert_eq(&planned(&limits, &homes(Version::V2), &current));
}

#[test]
fn the_rest_of_memory() {
    let memory = Memory {
        reservation: Some(Max::At(50)),
        swappiness: Some(60),
        disable_oom_killer: true,
        ..Memory::default()
    };
    check(
        &Limits { memory: memory.clone(), ..Limits::default() },
        &expect![[r#"
        V1 memory.soft_limit_in_bytes = 50
        V1 memory.swappiness = 60
        V1 memory.oom_control = 1
        error: invalid configuration: swappiness does not exist on cgroup v2
    "#]],
    );
    let memory = Memory { swappiness: None, ..memory };
    check(
        &Limits { memory: memory.clone(), ..Limits::default() },
        &expect![[r#"
        V1 memory.soft_limit_in_bytes = 50
        V1 memory.oom_control = 1
        error: invalid configuration: disabling the out-of-memory killer does not exist on cgroup v2
    "#]],
    );
    let memory = Memory { disable_oom_killer: false, ..memory };
    check(
        &Limits { memory, ..Limits::default() },
        &expect![[r#"
        V1 memory.soft_limit_in_bytes = 50
        V2 memory.low = 50
    "#]],
    );
}

#[test]
fn memory_of_tcp_is_limited_by_version_1_alone() {
    let memory = Memory { tcp: Some(Max::At(70)), ..Memory::default() };
    check(
        &Limits { memory, ..Limits::default() },
        &expect![[r#"
        V1 memory.kmem.tcp.limit_in_bytes = 70
        error: invalid configuration: a limit of TCP's memory does not exist on cgroup v2
    "#]],
    );
}

#[test]
fn processors() {
    check(
        &cpu(Cpu { shares: Some(1024), idle: Some(true), ..Cpu::default() }),
        &expect![[r#"
        V1 cpu.idle = 1
        V1 cpu.shares = 1024
        V2 cpu.idle = 1
        V2 cpu.weight = 100
    "#]],
    );
    check(
        &cpu(Cpu { quota: Some(Max::Unlimited), ..Cpu::default() }),
        &expect![[r#"
        V1 cpu.cfs_quota_us = -1
        V2 cpu.max = max 100000
    "#]],
    );
    check(
        &cpu(Cpu { period: Some(50_000), ..Cpu::default() }),
        &expect![[r#"
        V1 cpu.cfs_period_us = 50000
        V2 cpu.max = max 50000
    "#]],
    );
    check(
        &cpu(Cpu { burst: Some(5_000), quota: Some(Max::At(10_000)), ..Cpu::default() }),
        &expect![[r#"
            V1 cpu.cfs_quota_us = 10000
            V1 cpu.cfs_burst_us = 5000
            V2 cpu.max = 10000 100000
            V2 cpu.max.burst = 5000
        "#]],
    );
    check(
        &cpu(Cpu { realtime_runtime: Some(950), ..Cpu::default() }),
        &expect![[r#"
        V1 cpu.rt_runtime_us = 950
        error: invalid configuration: real-time processor bandwidth does not exist on cgroup v2
    "#]],
    );
    let sets = Cpu { cpus: Some("0-1,3".into()), mems: Some("0".into()), ..Cpu::default() };
    check(
        &cpu(sets),
        &expect![[r#"
        V1 cpuset.cpus = 0-1,3
        V1 cpuset.mems = 0
        V2 cpuset.cpus = 0-1,3
        V2 cpuset.mems = 0
    "#]],
    );
    check(
        &cpu(Cpu { cpus: Some("0 1".into()), ..Cpu::default() }),
        &expect![[r#"
        error: a set of processors cannot be "0 1"
        error: a set of processors cannot be "0 1"
    "#]],
    );
}

#[test]
fn on_update_a_quota_never_exceeds_its_parents_share_on_the_way() {
    let current = Current { cpu_quota: Max::At(50_000), ..Current::NEW };
    let update = |quota, period| {
        let limits =
            cpu(Cpu { quota: Some(Max::At(quota)), period: Some(period), ..Cpu::default() });
        planned(&limits, &homes(Version::V1), &current)
    };
    expect![[r#"
        V1 cpu.cfs_quota_us = 10000
        V1 cpu.cfs_period_us = 20000
    "#]]
    .assert_eq(&update(10_000, 20_000));
    expect![[r#"
        V1 cpu.cfs_period_us = 200000
        V1 cpu.cfs_quota_us = 100000
    "#]]
    .assert_eq(&update(100_000, 200_000));
    let burst = |burst| {
        let limits =
            cpu(Cpu { quota: Some(Max::At(40_000)), burst: Some(burst), ..Cpu::default() });
        let current = Current { cpu_burst: 20_000, ..current };
        planned(&limits, &homes(Version::V1), &current)
    };
    expect![[r#"
        V1 cpu.cfs_burst_us = 10000
        V1 cpu.cfs_quota_us = 40000
    "#]]
    .assert_eq(&burst(10_000));
    expect![[r#"
        V1 cpu.cfs_quota_us = 40000
        V1 cpu.cfs_burst_us = 30000
    "#]]
    .assert_eq(&burst(30_000));
    let period = cpu(Cpu { period: Some(20_000), ..Cpu::default() });
    expect![[r#"
        V2 cpu.max = 50000 20000
    "#]]
    .assert_eq(&planned(&period, &homes(Version::V2), &current));
}

#[test]
fn block_devices() {
    let device = DeviceNumber { major: 8, minor: 16 };
    let throttle = |kind, rate| Throttle { device, kind, rate };
    let io = Io {
        weight: Some(500),
        device_weights: vec![DeviceWeight { device, weight: 1000 }],
        throttles: vec![
            throttle(ThrottleKind::ReadBytes, 1_000_000),
            throttle(ThrottleKind::WriteBytes, 0),
            throttle(ThrottleKind::ReadOperations, 100),
            throttle(ThrottleKind::WriteOperations, 200),
        ],
    };
    check(
        &Limits { io, ..Limits::default() },
        &expect![[r#"
        V1 blkio.bfq.weight = 500 (or blkio.weight = 500)
        V1 blkio.bfq.weight_device = 8:16 1000 (or blkio.weight_device = 8:16 1000)
        V1 blkio.throttle.read_bps_device = 8:16 1000000
        V1 blkio.throttle.write_bps_device = 8:16 0
        V1 blkio.throttle.read_iops_device = 8:16 100
        V1 blkio.throttle.write_iops_device = 8:16 200
        V2 io.bfq.weight = 500 (or io.weight = 4950)
        V2 io.bfq.weight = 8:16 1000 (or io.weight = 8:16 10000)
        V2 io.max = 8:16 rbps=1000000
        V2 io.max = 8:16 wbps=max
        V2 io.max = 8:16 riops=100
        V2 io.max = 8:16 wiops=200
    "#]],
    );
    let io = Io { weight: Some(9), ..Io::default() };
    check(
        &Limits { io, ..Limits::default() },
        &expect![[r#"
        error: a weight of block input and output cannot be "9"
        error: a weight of block input and output cannot be "9"
    "#]],
    );
}

#[test]
fn the_other_controllers() {
    let huge = |page_size: &str| HugePages { page_size: page_size.into(), limit: 4 << 20 };
    let limits = Limits {
        pids: Some(Max::Unlimited),
        huge_pages: vec![huge("2MB")],
        rdma: vec![Rdma { device: "mlx5_0".into(), handles: Some(2), objects: None }],
        ..Limits::default()
    };
    check(
        &limits,
        &expect![[r#"
        V1 pids.max = max
        V1 hugetlb.2MB.limit_in_bytes = 4194304
        V1 hugetlb.2MB.rsvd.limit_in_bytes = 4194304 (if there)
        V1 rdma.max = mlx5_0 hca_handle=2
        V2 pids.max = max
        V2 hugetlb.2MB.max = 4194304
        V2 hugetlb.2MB.rsvd.max = 4194304 (if there)
        V2 rdma.max = mlx5_0 hca_handle=2
    "#]],
    );
    check(
        &Limits { huge_pages: vec![huge("2M/..")], ..Limits::default() },
        &expect![[r#"
        error: a limit of huge pages cannot be "2M/.."
        error: a limit of huge pages cannot be "2M/.."
    "#]],
    );
    let network = Network { class_id: Some(0x10_0001), priorities: vec![("eth0".into(), 5)] };
    check(
        &Limits { network, ..Limits::default() },
        &expect![[r#"
        V1 net_cls.classid = 1048577
        V1 net_prio.ifpriomap = eth0 5
        error: a network class needs the cgroup controller `net_cls`, which this host does not have
    "#]],
    );
}

#[test]
fn raw_files_are_for_v2_and_never_run_the_cgroup() {
    let raw = |file: &str, value: &str| Limits {
        unified: [(file.to_owned(), value.to_owned())].into(),
        ..Limits::default()
    };
    check(
        &raw("memory.high", "1000"),
        &expect![[r#"
        error: invalid configuration: a raw cgroup file does not exist on cgroup v1
        V2 memory.high = 1000
    "#]],
    );
    check(
        &raw("cgroup.max.descendants", "10"),
        &expect![[r#"
        error: a raw cgroup file cannot be "cgroup.max.descendants"
        V2 cgroup.max.descendants = 10
    "#]],
    );
    for file in ["cgroup.procs", "cgroup.kill", "../x.y", "memory", "nothing.max", ""] {
        let text = planned(&raw(file, "1"), &homes(Version::V2), &Current::NEW);
        assert_eq!(text, format!("error: a raw cgroup file cannot be {file:?}\n"));
    }
}

#[test]
fn a_hybrid_host_takes_each_limit_where_its_controller_is() {
    let homes = Homes { v1: vec![Controller::Memory], v2: vec![Controller::Pids] };
    let limits = Limits { pids: Some(Max::Unlimited), ..memory(Some(-1), None) };
    expect![[r#"
        V1 memory.memsw.limit_in_bytes = -1 (if there)
        V1 memory.limit_in_bytes = -1
        V2 pids.max = max
    "#]]
    .assert_eq(&planned(&limits, &homes, &Current::NEW));
    let limits = cpu(Cpu { shares: Some(2), ..Cpu::default() });
    expect![[r#"
        error: a processor weight needs the cgroup controller `cpu`, which this host does not have
    "#]]
    .assert_eq(&planned(&limits, &homes, &Current::NEW));
}

#[test]
fn real_time_fits_its_period_at_every_moment() {
    let pair = |runtime, period| {
        let pair = Cpu {
            realtime_runtime: Some(runtime),
            realtime_period: Some(period),
            ..Cpu::default()
        };
        let current = Current { realtime_period: 500_000, ..Current::NEW };
        planned(&cpu(pair), &homes(Version::V1), &current)
    };
    expect![[r#"
        V1 cpu.rt_runtime_us = 100
        V1 cpu.rt_period_us = 1000
    "#]]
    .assert_eq(&pair(100, 1000));
    expect![[r#"
        V1 cpu.rt_period_us = 900000
        V1 cpu.rt_runtime_us = 800000
    "#]]
    .assert_eq(&pair(800_000, 900_000));
}
