//! System calls by name and number on each architecture, and the width of their arguments.
//!
//! Facts only. The tables beside this file are generated; what a filter does with them is decided
//! in `policy`.

mod aarch64;
mod arm;
mod elsewhere;
mod i386;
mod widths;
mod x86_64;

/// An architecture whose system calls a filter can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64 (`AUDIT_ARCH_X86_64`).
    X86_64,
    /// 64-bit Arm, little endian (`AUDIT_ARCH_AARCH64`).
    Aarch64,
    /// 32-bit x86 (`AUDIT_ARCH_I386`): never native here.
    I386,
    /// 32-bit Arm (`AUDIT_ARCH_ARM`): never native here.
    Arm,
}

impl Arch {
    /// The architecture that this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The architecture that this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// `seccomp_data.arch` of its calls.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
            Self::I386 => 0x4000_0003,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The 32-bit architecture whose programs a kernel of this architecture can run.
    pub(super) const fn foreign(self) -> Option<Self> {
        match self {
            Self::X86_64 => Some(Self::I386),
            Self::Aarch64 => Some(Self::Arm),
            Self::I386 | Self::Arm => None,
        }
    }

    /// The name that a profile's `arches` uses, which is Go's.
    pub(super) const fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::I386 => "x86",
            Self::Arm => "arm",
        }
    }

    /// The first number that belongs to another calling convention of the same architecture: bit 30
    /// marks the calls of x32, which share x86-64's audit value.
    pub(super) const fn alien_from(self) -> Option<u32> {
        match self {
            Self::X86_64 => Some(0x4000_0000),
            Self::Aarch64 | Self::I386 | Self::Arm => None,
        }
    }

    /// All calls, sorted by name.
    pub(super) const fn table(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::X86_64 => x86_64::X86_64,
            Self::Aarch64 => aarch64::AARCH64,
            Self::I386 => i386::I386,
            Self::Arm => arm::ARM,
        }
    }

    /// The number of a call, if the architecture has it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        // libseccomp's name for what Arm's kernel calls sync_file_range2.
        let name = match (self, name) {
            (Self::Arm, "arm_sync_file_range") => "sync_file_range2",
            _ => name,
        };
        let table = self.table();
        table.binary_search_by_key(&name, |(known, _)| known).ok().map(|found| table[found].1)
    }

    /// The width of an argument, or `None` where the call has no such argument.
    pub(super) fn width(self, name: &str, index: u8) -> Option<Width> {
        match self {
            Self::X86_64 | Self::Aarch64 => native_width(name, index),
            Self::I386 | Self::Arm => Some(foreign_width(name, index)),
        }
    }
}

/// How many low bits of an argument's register the kernel looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Width {
    Half,
    Int,
    Long,
}

impl Width {
    /// The bits that count.
    pub(super) const fn mask(self) -> u64 {
        match self {
            Self::Half => 0xffff,
            Self::Int => 0xffff_ffff,
            Self::Long => u64::MAX,
        }
    }
}

fn native_width(name: &str, index: u8) -> Option<Width> {
    let found = widths::WIDTHS.binary_search_by_key(&name, |(known, _)| known).ok()?;
    match widths::WIDTHS[found].1.as_bytes().get(usize::from(index))? {
        b'h' => Some(Width::Half),
        b'i' => Some(Width::Int),
        _ => Some(Width::Long),
    }
}

/// Registers have 32 bits there, and 64-bit arguments take two, so that positions differ: only what
/// is narrower than a register needs to be known.
fn foreign_width(name: &str, index: u8) -> Width {
    const OLD_IDS: [&str; 11] = [
        "chown",
        "fchown",
        "lchown",
        "setfsgid",
        "setfsuid",
        "setgid",
        "setregid",
        "setresgid",
        "setresuid",
        "setreuid",
        "setuid",
    ];
    // The calls with 16-bit user ids; their 32-bit successors are called chown32 and so on.
    let old_ids = OLD_IDS.contains(&name) && !(name.ends_with("chown") && index == 0);
    match native_width(name, index) {
        _ if old_ids => Width::Half,
        Some(Width::Half) => Width::Half,
        Some(Width::Int | Width::Long) | None => Width::Int,
    }
}

/// Whether any architecture has a call of this name. One that no architecture has is misspelt, or
/// newer than the tables.
pub(super) fn exists_anywhere(name: &str) -> bool {
    [Arch::X86_64, Arch::Aarch64, Arch::I386, Arch::Arm]
        .iter()
        .any(|arch| arch.number(name).is_some())
        || elsewhere::ELSEWHERE.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_complete() {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::I386, Arch::Arm] {
            assert!(arch.table().is_sorted_by_key(|(name, _)| name), "{arch:?}");
        }
        assert!(widths::WIDTHS.is_sorted_by_key(|(name, _)| name));
        assert!(elsewhere::ELSEWHERE.is_sorted());
        for arch in [Arch::X86_64, Arch::Aarch64] {
            for (name, _) in arch.table() {
                assert!(widths::WIDTHS.binary_search_by_key(name, |(known, _)| known).is_ok());
            }
        }
    }

    #[test]
    fn the_native_table_has_the_published_numbers() {
        for (name, number) in [
            ("read", published("read")),
            ("clone3", published("clone3")),
            ("openat2", published("openat2")),
            ("futex_waitv", published("futex_waitv")),
        ] {
            assert_eq!(Arch::NATIVE.number(name), Some(number), "{name}");
        }
    }

    fn published(name: &str) -> u32 {
        match (Arch::NATIVE, name) {
            (Arch::X86_64, "read") => 0,
            (Arch::Aarch64, "read") => 63,
            (_, "clone3") => 435,
            (_, "openat2") => 437,
            (_, "futex_waitv") => 449,
            _ => unreachable!(),
        }
    }

    #[test]
    fn int_arguments_are_known_as_such() {
        assert_eq!(Arch::X86_64.width("socket", 0), Some(Width::Int));
        assert_eq!(Arch::X86_64.width("personality", 0), Some(Width::Int));
        assert_eq!(Arch::X86_64.width("clone", 0), Some(Width::Int));
        assert_eq!(Arch::X86_64.width("ioctl", 1), Some(Width::Int));
        assert_eq!(Arch::X86_64.width("unshare", 0), Some(Width::Long));
        assert_eq!(Arch::X86_64.width("mmap", 1), Some(Width::Long));
        assert_eq!(Arch::X86_64.width("chmod", 1), Some(Width::Half));
        assert_eq!(Arch::X86_64.width("socket", 3), None);
        assert_eq!(Arch::I386.width("socket", 0), Some(Width::Int));
        assert_eq!(Arch::I386.width("setuid", 0), Some(Width::Half));
        assert_eq!(Arch::I386.width("fchown", 0), Some(Width::Int));
        assert_eq!(Arch::I386.width("fchown", 1), Some(Width::Half));
        assert_eq!(Arch::I386.width("mmap2", 1), Some(Width::Int));
    }

    #[test]
    fn names_of_other_architectures_are_not_misspelt() {
        assert!(exists_anywhere("socketcall"));
        assert!(exists_anywhere("riscv_flush_icache"));
        assert!(!exists_anywhere("opne"));
    }
}
