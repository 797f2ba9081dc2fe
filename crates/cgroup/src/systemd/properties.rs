//! What systemd is told of a scope: its properties, of limits above all.
//!
//! Deciding only. The limits are written to the kernel's files as well: systemd is told so that it puts
//! back the same when it writes them anew, as at `daemon-reload`. It knows fewer than the kernel has, and of
//! those that belong together it has one for all: what is not asked for of these is how it is ([`Current`]).
//!
//! Devices are not among them on version 2: programs that are attached to a cgroup add up, and ours is
//! not touched. On version 1 systemd writes the lists anew, so there it has to know them.

use std::collections::BTreeMap;

use rustix::process::Pid;

use super::scope::Scope;
use super::wire::{Property, Truth, Value};
use crate::detect::Version;
use crate::devices::{self, DeviceKind, DeviceRule, DeviceRules, Effect};
use crate::limits::{Cpu, Limits, Max, Memory};
use crate::plan::{Current, swap_alone, weight_of};

/// systemd rounds what a second may have to this, and the other runtimes with it.
const STEP: u64 = 10_000;

/// The properties of a new scope.
pub(super) fn of_new(scope: &Scope, first: Pid, version: Version) -> Vec<Property> {
    let yes = || Value::Truth(Truth::Yes);
    let io = match version {
        Version::V1 => "BlockIOAccounting",
        Version::V2 => "IOAccounting",
    };
    vec![
        ("Description".into(), Value::Text(format!("dhow container {}", scope.unit()))),
        ("Slice".into(), Value::Text(scope.slice().to_owned())),
        ("PIDs".into(), Value::Numbers(vec![first.as_raw_nonzero().get().unsigned_abs()])),
        ("Delegate".into(), yes()),
        ("MemoryAccounting".into(), yes()),
        ("CPUAccounting".into(), yes()),
        (io.into(), yes()),
        ("TasksAccounting".into(), yes()),
        ("DefaultDependencies".into(), Value::Truth(Truth::No)),
        // One that failed goes as well, whoever is killed before it could be taken away.
        ("CollectMode".into(), Value::Text("inactive-or-failed".to_owned())),
    ]
}

/// The properties of a scope for a process that is there, and that nobody limits.
pub(super) fn of_own(scope: &Scope, process: Pid) -> Vec<Property> {
    vec![
        ("Description".into(), Value::Text(format!("dhow {}", scope.unit()))),
        ("Slice".into(), Value::Text(scope.slice().to_owned())),
        ("PIDs".into(), Value::Numbers(vec![process.as_raw_nonzero().get().unsigned_abs()])),
        ("CollectMode".into(), Value::Text("inactive-or-failed".to_owned())),
    ]
}

/// The properties of limits.
pub(super) fn of_limits(limits: &Limits, current: &Current, version: Version) -> Vec<Property> {
    let mut all = Vec::new();
    match version {
        Version::V1 => memory_v1(&limits.memory, &mut all),
        Version::V2 => memory_v2(&limits.memory, current, &mut all),
    }
    weight(&limits.cpu, version, &mut all);
    bandwidth(&limits.cpu, current, &mut all);
    placement(&limits.cpu, &mut all);
    if let Some(pids) = limits.pids {
        all.push(("TasksMax".into(), amount(pids)));
    }
    if let (Some(weight), Version::V1) = (limits.io.weight, version) {
        all.push(("BlockIOWeight".into(), Value::Number(weight.into())));
    }
    if version == Version::V2 {
        unified(&limits.unified, &mut all);
    }
    all
}

/// What makes systemd forget these again: as they were, or as if nobody had ever told it.
pub(super) fn before(told: &[Property], old: &[Property]) -> Vec<Property> {
    let earlier = |(name, value): &Property| {
        let was = old.iter().find(|(other, _)| other == name);
        was.cloned().unwrap_or_else(|| (name.clone(), never_told(name, value)))
    };
    told.iter().map(earlier).collect()
}

/// The value of a property of limits that nobody has set: all are numbers or sets.
fn never_told(name: &str, value: &Value) -> Value {
    if matches!(value, Value::Bytes(_)) {
        return Value::Bytes(Vec::new());
    }
    // What is protected is nothing, what is limited everything.
    Value::Number(if matches!(name, "MemoryLow" | "MemoryMin") { 0 } else { u64::MAX })
}

/// systemd has the largest number for what has no limit.
fn amount(max: Max) -> Value {
    Value::Number(match max {
        Max::At(value) => value,
        Max::Unlimited => u64::MAX,
    })
}

fn memory_v1(memory: &Memory, all: &mut Vec<Property>) {
    all.extend(memory.limit.map(|limit| ("MemoryLimit".into(), amount(limit))));
}

fn memory_v2(memory: &Memory, current: &Current, all: &mut Vec<Property>) {
    all.extend(memory.limit.map(|limit| ("MemoryMax".into(), amount(limit))));
    all.extend(memory.reservation.map(|low| ("MemoryLow".into(), amount(low))));
    // It limits swap alone.
    let swap = swap_alone(memory, current);
    all.extend(swap.map(|swap| ("MemorySwapMax".into(), amount(swap))));
}

fn weight(cpu: &Cpu, version: Version, all: &mut Vec<Property>) {
    match (version, cpu.idle, cpu.shares) {
        (Version::V2, Some(true), _) => all.push(("CPUWeight".into(), Value::Number(0))),
        (Version::V2, _, Some(shares)) => {
            all.push(("CPUWeight".into(), Value::Number(weight_of(shares))))
        }
        (Version::V1, _, Some(shares)) => all.push(("CPUShares".into(), Value::Number(shares))),
        (_, _, None) => {}
    }
}

fn bandwidth(cpu: &Cpu, current: &Current, all: &mut Vec<Property>) {
    if let Some(period) = cpu.period.filter(|period| *period > 0) {
        all.push(("CPUQuotaPeriodUSec".into(), Value::Number(period)));
    }
    if cpu.quota.is_some() || cpu.period.is_some() {
        all.push(("CPUQuotaPerSecUSec".into(), amount(a_second(cpu, current))));
    }
}

fn placement(cpu: &Cpu, all: &mut Vec<Property>) {
    let lists = [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)];
    for (name, list) in lists {
        all.extend(list.as_deref().and_then(bits).map(|bits| (name.into(), Value::Bytes(bits))));
    }
}

/// What a second may have of processor time, in microseconds.
fn a_second(cpu: &Cpu, current: &Current) -> Max {
    match cpu.quota.unwrap_or(current.cpu_quota) {
        Max::At(quota) if quota > 0 => {
            let period = cpu.period.filter(|period| *period > 0);
            let period = period.unwrap_or(current.cpu_period.max(1));
            let exact = u128::from(quota) * 1_000_000 / u128::from(period);
            let exact = u64::try_from(exact).unwrap_or(u64::MAX - STEP);
            Max::At(exact.next_multiple_of(STEP))
        }
        Max::At(_) | Max::Unlimited => Max::Unlimited,
    }
}

/// A list such as `0-3,7` as a mask, the lowest byte first. What is no list the kernel refuses by itself.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for part in list.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        for bit in from..=to {
            let byte = usize::from(bit / 8);
            if mask.len() <= byte {
                mask.resize(byte + 1, 0);
            }
            mask[byte] |= 1 << (bit % 8);
        }
    }
    Some(mask)
}

/// Raw files that systemd has a property for.
fn unified(files: &BTreeMap<String, String>, all: &mut Vec<Property>) {
    for (file, value) in files {
        let value = value.trim();
        let max = number(value);
        let property = match file.as_str() {
            "cpu.weight" => "CPUWeight",
            "memory.min" => "MemoryMin",
            "memory.low" => "MemoryLow",
            "memory.high" => "MemoryHigh",
            "memory.max" => "MemoryMax",
            "memory.swap.max" => "MemorySwapMax",
            "pids.max" => "TasksMax",
            "cpu.max" => {
                cpu_max(value, all);
                continue;
            }
            "cpuset.cpus" | "cpuset.mems" => {
                let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
                all.extend(bits(value).map(|bits| (name.into(), Value::Bytes(bits))));
                continue;
            }
            _ => continue,
        };
        all.extend(max.map(|max| (property.into(), Value::Number(max))));
    }
}

/// A number, or none that limits.
fn number(value: &str) -> Option<u64> {
    if value == "max" { Some(u64::MAX) } else { value.parse().ok() }
}

/// A quota, and a period if it is not to stay the kernel's own. What is neither the kernel refuses by itself.
fn cpu_max(value: &str, all: &mut Vec<Property>) {
    let mut words = value.split_whitespace();
    let quota = words.next().and_then(number);
    let quota = quota.map(|quota| if quota == u64::MAX { Max::Unlimited } else { Max::At(quota) });
    let period = words.next().and_then(|word| word.parse().ok());
    let cpu = Cpu { quota, period, ..Cpu::default() };
    bandwidth(&cpu, &Current::NEW, all);
}

/// The properties of device rules on version 1; `None` if systemd has no words for them.
pub(super) fn of_devices(rules: &DeviceRules) -> Option<Vec<Property>> {
    let (policy, allowed) = match devices::exceptions(rules).ok()? {
        (Effect::Deny, allowed) => ("strict", allowed),
        (Effect::Allow, denied) if denied.is_empty() => ("auto", Vec::new()),
        (Effect::Allow, _) => return None,
    };
    let allowed = allowed.iter().map(name).collect::<Option<_>>()?;
    Some(vec![
        ("DevicePolicy".into(), Value::Text(policy.to_owned())),
        ("DeviceAllow".into(), Value::Pairs(allowed)),
    ])
}

/// What a rule allows, as systemd has it. Rules are of one kind of devices here.
fn name(rule: &DeviceRule) -> Option<(String, String)> {
    let kind = match rule.kind {
        DeviceKind::Block => "block",
        DeviceKind::Char | DeviceKind::All => "char",
    };
    let name = match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        (None, None) => format!("{kind}-*"),
        (None, Some(_)) => return None,
    };
    Some((name, rule.access.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Access;
    use expect_test::{Expect, expect};

    fn check(limits: &Limits, version: Version, expected: &Expect) {
        check_change(limits, &Current::NEW, version, expected);
    }

    fn check_change(limits: &Limits, current: &Current, version: Version, expected: &Expect) {
        expected.assert_eq(&shown(&of_limits(limits, current, version)));
    }

    fn shown(all: &[Property]) -> String {
        let lines = all.iter().map(|(name, value)| format!("{name}={value:?}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn some() -> Limits {
        let memory = Memory {
            limit: Some(Max::At(64 << 20)),
            reservation: Some(Max::At(32 << 20)),
            with_swap: Some(Max::At(96 << 20)),
            ..Memory::default()
        };
        let cpu = Cpu {
            shares: Some(512),
            quota: Some(Max::At(33_333)),
            period: Some(50_000),
            cpus: Some("0-2,9".to_owned()),
            ..Cpu::default()
        };
        Limits { memory, cpu, pids: Some(Max::At(100)), ..Limits::default() }
    }

    /// Both versions have these; what memory may take is told in other words.
    const OF_BOTH: &str = "CPUQuotaPeriodUSec=Number(50000)
CPUQuotaPerSecUSec=Number(670000)
AllowedCPUs=Bytes([7, 2])
TasksMax=Number(100)";

    #[test]
    fn limits_of_each_version() {
        let memory_2 = "MemoryMax=Number(67108864)\nMemoryLow=Number(33554432)\nMemorySwapMax=Number(33554432)\nCPUWeight=Number(59)";
        let memory_1 = "MemoryLimit=Number(67108864)\nCPUShares=Number(512)";
        for (version, memory) in [(Version::V2, memory_2), (Version::V1, memory_1)] {
            assert_eq!(
                shown(&of_limits(&some(), &Current::NEW, version)),
                format!("{memory}\n{OF_BOTH}")
            );
        }
    }

    /// What is taken back is what there was, or what systemd has for a unit of which nobody has said anything.
    #[test]
    fn a_change_that_is_taken_back() {
        let told = of_limits(&some(), &Current::NEW, Version::V2);
        let old = Limits { pids: Some(Max::At(7)), ..Limits::default() };
        let old = of_limits(&old, &Current::NEW, Version::V2);
        expect![[r#"
            MemoryMax=Number(18446744073709551615)
            MemoryLow=Number(0)
            MemorySwapMax=Number(18446744073709551615)
            CPUWeight=Number(18446744073709551615)
            CPUQuotaPeriodUSec=Number(18446744073709551615)
            CPUQuotaPerSecUSec=Number(18446744073709551615)
            AllowedCPUs=Bytes([])
            TasksMax=Number(7)"#]]
        .assert_eq(&shown(&before(&told, &old)));
    }

    #[test]
    fn a_quota_as_the_kernel_has_it() {
        let of = |value: &str| {
            let unified = [("cpu.max".to_owned(), value.to_owned())].into();
            shown(&of_limits(&Limits { unified, ..Limits::default() }, &Current::NEW, Version::V2))
        };
        let told = "CPUQuotaPeriodUSec=Number(200000)\nCPUQuotaPerSecUSec=Number(250000)";
        assert_eq!(of("50000 200000\n"), told);
        assert_eq!(of("25000"), "CPUQuotaPerSecUSec=Number(250000)");
        let none = "CPUQuotaPerSecUSec=Number(18446744073709551615)";
        assert_eq!(of("max"), none);
        assert_eq!(of("max 100000"), format!("CPUQuotaPeriodUSec=Number(100000)\n{none}"));
        assert_eq!(of("much"), "");
    }

    #[test]
    fn what_has_no_limit() {
        let limits = Limits {
            memory: Memory {
                limit: Some(Max::Unlimited),
                with_swap: Some(Max::Unlimited),
                ..Memory::default()
            },
            cpu: Cpu { quota: Some(Max::Unlimited), idle: Some(true), ..Cpu::default() },
            pids: Some(Max::Unlimited),
            unified: [("memory.high", "max"), ("cpu.weight", "7"), ("memory.peak", "1")]
                .map(|(file, value)| (file.to_owned(), value.to_owned()))
                .into(),
            ..Limits::default()
        };
        check(
            &limits,
            Version::V2,
            &expect![[r#"
            MemoryMax=Number(18446744073709551615)
            MemorySwapMax=Number(18446744073709551615)
            CPUWeight=Number(0)
            CPUQuotaPerSecUSec=Number(18446744073709551615)
            TasksMax=Number(18446744073709551615)
            CPUWeight=Number(7)
            MemoryHigh=Number(18446744073709551615)"#]],
        );
        check(&Limits::default(), Version::V2, &expect![""]);
    }

    /// What is not asked for stays: a quota with a new period, the memory beside which swap is counted.
    #[test]
    fn what_belongs_together_is_told_as_a_whole() {
        let current = Current {
            cpu_quota: Max::At(50_000),
            cpu_period: 50_000,
            memory_limit: Max::At(64 << 20),
            ..Current::NEW
        };
        let with = |cpu: Cpu, memory: Memory| Limits { cpu, memory, ..Limits::default() };
        let period = Cpu { period: Some(200_000), ..Cpu::default() };
        let quota = Cpu { quota: Some(Max::At(25_000)), ..Cpu::default() };
        let swap = Memory { with_swap: Some(Max::At(96 << 20)), ..Memory::default() };
        let limit = Memory { limit: Some(Max::Unlimited), ..Memory::default() };
        for version in [Version::V1, Version::V2] {
            check_change(
                &with(period.clone(), Memory::default()),
                &current,
                version,
                &expect![[r#"
                    CPUQuotaPeriodUSec=Number(200000)
                    CPUQuotaPerSecUSec=Number(250000)"#]],
            );
            check_change(
                &with(quota.clone(), Memory::default()),
                &current,
                version,
                &expect!["CPUQuotaPerSecUSec=Number(500000)"],
            );
        }
        check_change(
            &with(Cpu::default(), swap),
            &current,
            Version::V2,
            &expect!["MemorySwapMax=Number(33554432)"],
        );
        check_change(
            &with(Cpu::default(), limit),
            &current,
            Version::V2,
            &expect![[r#"
                MemoryMax=Number(18446744073709551615)
                MemorySwapMax=Number(18446744073709551615)"#]],
        );
    }

    fn rule(effect: Effect, major: Option<u32>, minor: Option<u32>) -> DeviceRule {
        DeviceRule { effect, kind: DeviceKind::Char, major, minor, access: Access::ALL }
    }

    #[test]
    fn devices_that_are_allowed_are_named() {
        let rules = DeviceRules::new(vec![
            DeviceRule::everything(Effect::Deny),
            rule(Effect::Allow, Some(1), Some(3)),
            rule(Effect::Allow, Some(136), None),
            DeviceRule { kind: DeviceKind::Block, ..rule(Effect::Allow, Some(8), Some(0)) },
            rule(Effect::Allow, Some(10), Some(200)),
            rule(Effect::Deny, Some(10), Some(200)),
        ]);
        let told = of_devices(&rules).unwrap();
        expect![[r#"
            DevicePolicy=Text("strict")
            DeviceAllow=Pairs([("/dev/char/1:3", "rwm"), ("char-136", "rwm"), ("/dev/block/8:0", "rwm")])"#]].assert_eq(&shown(&told));
    }

    #[test]
    fn what_systemd_has_no_words_for() {
        let later = DeviceRules::new(vec![
            DeviceRule::everything(Effect::Allow),
            rule(Effect::Deny, Some(1), Some(3)),
        ]);
        assert_eq!(of_devices(&later), None);
        assert_eq!(of_devices(&DeviceRules::new(vec![rule(Effect::Allow, None, Some(3))])), None);
    }
}
