//! Names of system calls that exist on other architectures only.
//!
//! A profile that serves many architectures names them; they are not misspelt, only not here.
//! Generated as the tables beside it. Sorted, since it is searched.

#[rustfmt::skip]
pub(super) const ELSEWHERE: &[&str] = &[
    "arm_sync_file_range", "atomic_barrier", "atomic_cmpxchg_32", "cachectl", "execv",
    "getdomainname", "getpagesize", "kern_features", "llseek", "memory_ordering", "multiplexer",
    "perfctr", "riscv_flush_icache", "riscv_hwprobe", "rtas", "s390_guarded_storage",
    "s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr", "s390_sthyi",
    "sched_get_affinity", "sched_set_affinity", "spu_create", "spu_run", "subpage_prot",
    "swapcontext", "switch_endian", "sys_debug_setcontext", "syscall", "sysmips", "timerfd",
    "usr26", "usr32", "utrap_install",
];
