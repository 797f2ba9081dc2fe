//! Limits that a container has and limits that it is given: what becomes of both, and what the kernel
//! is told. Pure.

use model::container::{Limits, SwapLimit};

use super::{LimitChanges, UpdateError};

/// What a container has with the changes.
pub(super) fn merge(old: &Limits, given: &LimitChanges) -> Result<Limits, UpdateError> {
    check_processors(old, given)?;
    check_swap(old, given)?;
    let limit = given.clone();
    Ok(Limits {
        memory: limit.memory.or(old.memory),
        memory_swap: limit.memory_swap.or(old.memory_swap),
        memory_reservation: limit.memory_reservation.or(old.memory_reservation),
        cpu_shares: limit.cpu_shares.or(old.cpu_shares),
        nano_cpus: limit.nano_cpus.or(old.nano_cpus),
        cpu_period: limit.cpu_period.or(old.cpu_period),
        cpu_quota: limit.cpu_quota.or(old.cpu_quota),
        cpu_realtime_period: limit.cpu_realtime_period.or(old.cpu_realtime_period),
        cpu_realtime_runtime: limit.cpu_realtime_runtime.or(old.cpu_realtime_runtime),
        cpuset_cpus: limit.cpuset_cpus.or_else(|| old.cpuset_cpus.clone()),
        cpuset_mems: limit.cpuset_mems.or_else(|| old.cpuset_mems.clone()),
        pids: limit.pids.unwrap_or(old.pids),
        blkio_weight: limit.blkio_weight.or(old.blkio_weight),
        ..old.clone()
    })
}

fn check_processors(old: &Limits, given: &LimitChanges) -> Result<(), UpdateError> {
    let has_quota = old.cpu_quota.is_some_and(|quota| quota > 0);
    if given.nano_cpus.is_some() && old.cpu_period.is_some() {
        return Err(UpdateError::NanoCpus("Period"));
    }
    if given.nano_cpus.is_some() && has_quota {
        return Err(UpdateError::NanoCpus("Quota"));
    }
    if given.cpu_period.is_some() && old.nano_cpus.is_some() {
        return Err(UpdateError::HasNanoCpus("Period"));
    }
    if given.cpu_quota.is_some() && old.nano_cpus.is_some() {
        return Err(UpdateError::HasNanoCpus("Quota"));
    }
    Ok(())
}

fn check_swap(old: &Limits, given: &LimitChanges) -> Result<(), UpdateError> {
    match (given.memory, given.memory_swap) {
        (Some(memory), None) => match old.memory_swap {
            Some(SwapLimit::Unlimited) => Ok(()),
            Some(SwapLimit::Bytes(swap)) if memory <= swap => Ok(()),
            Some(SwapLimit::Bytes(_)) | None => Err(UpdateError::MemoryAboveSwap),
        },
        (memory, Some(SwapLimit::Bytes(swap))) => match memory.or(old.memory) {
            Some(memory) if swap < memory => Err(UpdateError::SwapBelowMemory),
            Some(_) => Ok(()),
            None => Err(UpdateError::SwapAlone),
        },
        (_, None | Some(SwapLimit::Unlimited)) => Ok(()),
    }
}

/// What the kernel is told. Memory and swap go together: v2 has the one without the other.
pub(super) fn to_apply(given: &LimitChanges, new: &Limits) -> Limits {
    let memory = given.memory.is_some() || given.memory_swap.is_some();
    Limits {
        memory: new.memory.filter(|_| memory),
        memory_swap: new.memory_swap.filter(|_| memory),
        ..given.alone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::container::PidsLimit;

    const NOTHING: LimitChanges = LimitChanges {
        memory: None,
        memory_swap: None,
        memory_reservation: None,
        cpu_shares: None,
        nano_cpus: None,
        cpu_period: None,
        cpu_quota: None,
        cpu_realtime_period: None,
        cpu_realtime_runtime: None,
        cpuset_cpus: None,
        cpuset_mems: None,
        pids: None,
        blkio_weight: None,
    };

    #[test]
    fn what_is_not_given_stays() {
        let old = Limits {
            memory: Some(64),
            memory_swap: Some(SwapLimit::Bytes(128)),
            cpu_shares: Some(5),
            cpuset_cpus: Some("0".to_owned()),
            pids: PidsLimit::At(7),
            shm_size: 9,
            ..Limits::default()
        };
        assert_eq!(merge(&old, &NOTHING), Ok(old.clone()));
        let given = LimitChanges { memory: Some(100), pids: Some(PidsLimit::Unlimited), ..NOTHING };
        let new = merge(&old, &given).unwrap();
        let expected = Limits { memory: Some(100), pids: PidsLimit::Unlimited, ..old.clone() };
        assert_eq!(new, expected);
        let told = to_apply(&given, &new);
        assert_eq!((told.memory, told.memory_swap), (Some(100), Some(SwapLimit::Bytes(128))));
        assert_eq!(told.cpu_shares, None, "the kernel has it already");
    }

    #[test]
    fn memory_and_swap_suit_each_other() {
        let bytes = SwapLimit::Bytes;
        let merged = |memory, swap, given_memory, given_swap| {
            let old = Limits { memory, memory_swap: swap, ..Limits::default() };
            let given = LimitChanges { memory: given_memory, memory_swap: given_swap, ..NOTHING };
            merge(&old, &given).map(|new| (new.memory, new.memory_swap))
        };
        assert_eq!(merged(None, None, Some(5), None), Err(UpdateError::MemoryAboveSwap));
        assert_eq!(
            merged(Some(5), Some(bytes(9)), Some(10), None),
            Err(UpdateError::MemoryAboveSwap)
        );
        assert_eq!(
            merged(Some(5), Some(bytes(9)), None, Some(bytes(4))),
            Err(UpdateError::SwapBelowMemory)
        );
        let unlimited = Some(SwapLimit::Unlimited);
        assert_eq!(merged(Some(5), unlimited, Some(50), None), Ok((Some(50), unlimited)));
        assert_eq!(merged(None, None, Some(5), Some(bytes(9))), Ok((Some(5), Some(bytes(9)))));
    }

    #[test]
    fn processors_are_counted_in_one_way() {
        let nano = Limits { nano_cpus: Some(1), ..Limits::default() };
        let given = LimitChanges { cpu_quota: Some(5), ..NOTHING };
        assert_eq!(merge(&nano, &given), Err(UpdateError::HasNanoCpus("Quota")));
        let given = LimitChanges { cpu_period: Some(5), ..NOTHING };
        assert_eq!(merge(&nano, &given), Err(UpdateError::HasNanoCpus("Period")));
        let given = LimitChanges { nano_cpus: Some(5), ..NOTHING };
        assert_eq!(merge(&nano, &given).unwrap().nano_cpus, Some(5));
        let quota = |quota| Limits { cpu_quota: Some(quota), ..Limits::default() };
        assert_eq!(merge(&quota(5), &given), Err(UpdateError::NanoCpus("Quota")));
        assert!(merge(&quota(-1), &given).is_ok(), "none is none");
    }
}
