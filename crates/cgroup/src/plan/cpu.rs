//! Processor time and placement.

use super::{Current, LimitError, Missing, Plan, Write, text};
use crate::detect::{Controller, Version};
use crate::limits::{Cpu, Max};

pub(super) fn plan(cpu: &Cpu, current: &Current, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    weight(cpu, plan)?;
    bandwidth(cpu, current, plan)?;
    realtime(cpu, current, plan)?;
    placement(cpu, plan)
}

fn weight(cpu: &Cpu, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    if let Some(idle) = cpu.idle {
        let version = plan.home(Controller::Cpu, "idle scheduling")?;
        plan.write((Controller::Cpu, version), "cpu.idle", u8::from(idle).to_string());
    }
    let Some(shares) = cpu.shares else { return Ok(()) };
    let version = plan.home(Controller::Cpu, "a processor weight")?;
    let home = (Controller::Cpu, version);
    match version {
        Version::V1 => plan.write(home, "cpu.shares", shares.to_string()),
        Version::V2 => plan.write(home, "cpu.weight", weight_of(shares).to_string()),
    }
    Ok(())
}

/// The v2 weight of v1 shares: the curve 10^((l² + 125 l) / 612 - 7/34) of l = log2(shares), which
/// takes the least, the default and the most to the least, the default and the most: 2 to 1, 1024 to
/// 100, 262144 to 10000. The straight line that runtimes used before made 39 of the default.
pub(crate) fn weight_of(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2^18 every integer is exact")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // What is a hundred must not become 101 by the last bit of the power.
    let weight = (10_f64.powf(exponent) - 1e-9).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000 by the bounds above"
    )]
    let weight = weight as u64;
    weight.clamp(1, 10_000)
}

fn bandwidth(cpu: &Cpu, current: &Current, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    if cpu.quota.is_none() && cpu.period.is_none() && cpu.burst.is_none() {
        return Ok(());
    }
    let version = plan.home(Controller::Cpu, "a processor quota")?;
    let home = (Controller::Cpu, version);
    let burst = cpu.burst.map(|burst| {
        let file = match version {
            Version::V1 => "cpu.cfs_burst_us",
            Version::V2 => "cpu.max.burst",
        };
        (file, burst.to_string())
    });
    // A burst is never more than the quota: a smaller one goes before it, a larger one after it.
    let shrinks = cpu.burst.is_some_and(|burst| burst <= current.cpu_burst);
    if let (true, Some((file, value))) = (shrinks, &burst) {
        plan.write(home, file, value.clone());
    }
    match version {
        Version::V1 => quota_v1(cpu, current, plan),
        Version::V2 if cpu.quota.is_some() || cpu.period.is_some() => {
            let quota = text(cpu.quota.unwrap_or(current.cpu_quota), version);
            let period = cpu.period.unwrap_or(current.cpu_period);
            plan.write(home, "cpu.max", format!("{quota} {period}"));
        }
        Version::V2 => {}
    }
    if let (false, Some((file, value))) = (shrinks, burst) {
        plan.write(home, file, value);
    }
    Ok(())
}

/// The kernel refuses a share of a processor, quota / period, that is more than the parent's. A
/// shorter period makes it larger, so then the quota goes first.
fn quota_v1(cpu: &Cpu, current: &Current, plan: &mut Plan<'_>) {
    let home = (Controller::Cpu, Version::V1);
    let quota = cpu.quota.map(|quota| ("cpu.cfs_quota_us", text(quota, Version::V1)));
    let period = cpu.period.map(|period| ("cpu.cfs_period_us", period.to_string()));
    let shortens = cpu.period.is_some_and(|period| period < current.cpu_period);
    let ordered = if shortens && current.cpu_quota != Max::Unlimited {
        [quota, period]
    } else {
        [period, quota]
    };
    for (file, value) in ordered.into_iter().flatten() {
        plan.write(home, file, value);
    }
}

/// The kernel refuses more time than there is in a period, and a share that is more than the parent's.
/// A shorter period makes the share larger, so then the time goes first.
fn realtime(cpu: &Cpu, current: &Current, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    const LIMIT: &str = "real-time processor bandwidth";
    let Cpu { realtime_period, realtime_runtime, .. } = cpu;
    if realtime_period.is_none() && realtime_runtime.is_none() {
        return Ok(());
    }
    let version = plan.home(Controller::Cpu, LIMIT)?;
    if version == Version::V2 {
        return Err(LimitError::Unsupported { limit: LIMIT, version });
    }
    let period = realtime_period.map(|period| ("cpu.rt_period_us", period.to_string()));
    let runtime = realtime_runtime.map(|runtime| ("cpu.rt_runtime_us", runtime.to_string()));
    let shortens = realtime_period.is_some_and(|period| period < current.realtime_period);
    let ordered = if shortens { [runtime, period] } else { [period, runtime] };
    for (file, value) in ordered.into_iter().flatten() {
        plan.write((Controller::Cpu, version), file, value);
    }
    Ok(())
}

fn placement(cpu: &Cpu, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    let lists = [
        ("a set of processors", "cpuset.cpus", &cpu.cpus),
        ("a set of memory nodes", "cpuset.mems", &cpu.mems),
    ];
    for (limit, file, list) in lists {
        let Some(list) = list else { continue };
        let well_formed = !list.is_empty()
            && list.bytes().all(|byte| byte.is_ascii_digit() || byte == b',' || byte == b'-');
        if !well_formed {
            return Err(LimitError::BadValue { limit, value: list.clone() });
        }
        let version = plan.home(Controller::Cpuset, limit)?;
        plan.push(Write {
            controller: Controller::Cpuset,
            version,
            file: file.into(),
            value: list.clone(),
            missing: Missing::Fail,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_on_the_curve() {
        let weights = [0, 2, 3, 10, 100, 512, 1024, 2048, 10_000, 262_143, 262_144, u64::MAX];
        assert_eq!(
            weights.map(weight_of),
            [1, 1, 2, 4, 17, 59, 100, 174, 627, 10_000, 10_000, 10_000]
        );
    }

    #[test]
    fn more_shares_never_become_less_weight() {
        let weights: Vec<u64> = (0..=262_144).map(weight_of).collect();
        assert!(weights.is_sorted());
    }
}
