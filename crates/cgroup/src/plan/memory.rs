//! Memory and swap.

use super::{Current, LimitError, Missing, Plan, Write, text};
use crate::detect::{Controller, Version};
use crate::limits::{Max, Memory};

const LIMIT: &str = "a memory limit";

pub(super) fn plan(
    memory: &Memory,
    current: &Current,
    plan: &mut Plan<'_>,
) -> Result<(), LimitError> {
    let Memory { limit, reservation, with_swap, tcp, swappiness, disable_oom_killer, .. } = memory;
    let nothing = limit.is_none()
        && tcp.is_none()
        && reservation.is_none()
        && with_swap.is_none()
        && swappiness.is_none()
        && !disable_oom_killer;
    if nothing {
        return Ok(());
    }
    check(memory, current)?;
    match plan.home(Controller::Memory, LIMIT)? {
        Version::V1 => v1(memory, current, plan),
        Version::V2 => return v2(memory, current, plan),
    }
    Ok(())
}

fn check(memory: &Memory, current: &Current) -> Result<(), LimitError> {
    if let (true, Some(Max::At(limit)), Some(usage)) =
        (memory.check_before_update, memory.limit, current.memory_usage)
        && usage > limit
    {
        return Err(LimitError::InUse { usage, limit });
    }
    let Some(Max::At(with_swap)) = memory.with_swap else { return Ok(()) };
    match memory.limit.unwrap_or(current.memory_limit) {
        Max::Unlimited => Err(LimitError::SwapWithoutLimit),
        Max::At(limit) if with_swap < limit => Err(LimitError::SwapBelowLimit { with_swap, limit }),
        Max::At(_) => Ok(()),
    }
}

/// The kernel refuses any moment in which memory alone may be more than memory with swap. So what
/// grows beyond the current limit of memory grows first, and what shrinks below it shrinks last.
fn v1(memory: &Memory, current: &Current, plan: &mut Plan<'_>) {
    let home = (Controller::Memory, Version::V1);
    let limit = memory.limit.map(|limit| {
        let value = text(limit, Version::V1);
        Write { missing: Missing::Fail, ..write(home, "memory.limit_in_bytes", value) }
    });
    // Memory without a limit, with nothing said about swap, takes the limit of both away as well: the kernel
    // has none of memory alone beyond it.
    let unlimited = || (memory.limit == Some(Max::Unlimited)).then_some(Max::Unlimited);
    let wanted = memory.with_swap.or_else(unlimited);
    let with_swap = wanted.map(|with_swap| {
        // Without swap accounting there is nothing to be kept from swap that could be told.
        let missing = match with_swap {
            Max::Unlimited => Missing::Ignore,
            Max::At(_) => Missing::Fail,
        };
        let value = text(with_swap, Version::V1);
        Write { missing, ..write(home, "memory.memsw.limit_in_bytes", value) }
    });
    let swap_grows_first = wanted.is_some_and(|with_swap| with_swap >= current.memory_limit);
    let ordered = if swap_grows_first { [with_swap, limit] } else { [limit, with_swap] };
    ordered.into_iter().flatten().for_each(|write| plan.push(write));
    if let Some(reservation) = memory.reservation {
        plan.write(home, "memory.soft_limit_in_bytes", text(reservation, Version::V1));
    }
    if let Some(tcp) = memory.tcp {
        plan.write(home, "memory.kmem.tcp.limit_in_bytes", text(tcp, Version::V1));
    }
    if let Some(swappiness) = memory.swappiness {
        plan.write(home, "memory.swappiness", swappiness.to_string());
    }
    if memory.disable_oom_killer {
        plan.write(home, "memory.oom_control", "1".to_owned());
    }
}

fn v2(memory: &Memory, current: &Current, plan: &mut Plan<'_>) -> Result<(), LimitError> {
    let home = (Controller::Memory, Version::V2);
    let unsupported = |limit| LimitError::Unsupported { limit, version: Version::V2 };
    if memory.tcp.is_some() {
        return Err(unsupported("a limit of TCP's memory"));
    }
    if memory.swappiness.is_some() {
        return Err(unsupported("swappiness"));
    }
    if memory.disable_oom_killer {
        return Err(unsupported("disabling the out-of-memory killer"));
    }
    if let Some(swap) = swap_alone(memory, current) {
        // A kernel without swap has no such file, and then both of these are how it is anyway.
        let missing = match swap {
            Max::Unlimited | Max::At(0) => Missing::Ignore,
            Max::At(_) => Missing::Fail,
        };
        let value = text(swap, Version::V2);
        plan.push(Write { missing, ..write(home, "memory.swap.max", value) });
    }
    if let Some(limit) = memory.limit {
        plan.write(home, "memory.max", text(limit, Version::V2));
    }
    if let Some(reservation) = memory.reservation {
        plan.write(home, "memory.low", text(reservation, Version::V2));
    }
    Ok(())
}

/// v2 limits swap alone. Memory without a limit, with nothing said about swap, takes the limit of
/// swap away as well, as on v1, where the one contains the other.
pub(crate) fn swap_alone(memory: &Memory, current: &Current) -> Option<Max> {
    match (memory.with_swap, memory.limit) {
        (Some(Max::Unlimited), _) | (None, Some(Max::Unlimited)) => Some(Max::Unlimited),
        (Some(Max::At(with_swap)), limit) => match limit.unwrap_or(current.memory_limit) {
            Max::At(limit) => Some(Max::At(with_swap.saturating_sub(limit))),
            Max::Unlimited => None,
        },
        (None, _) => None,
    }
}

fn write(home: (Controller, Version), file: &'static str, value: String) -> Write {
    let (controller, version) = home;
    Write { controller, version, file: file.into(), value, missing: Missing::Fail }
}
