//! Seccomp: Docker's and OCI's profiles, compiled to the kernel's BPF by a compiler of our own.
//!
//! Profile text → [`Profile`] (`document` has the spelling, `profile` the meaning) → verdicts on
//! ranges of calls (`policy`, which states the laws) → instructions (`program`) → a file that spares
//! all of this the next time (`cache`). Everything but the cache is pure. Loading a filter is
//! `sys::seccomp`'s.

mod action;
mod cache;
mod document;
mod policy;
mod profile;
mod program;
mod syscalls;
#[cfg(test)]
mod tests;

pub use action::{Action, MAX_ERRNO};
pub use cache::cached;
pub use profile::{DEFAULT, KernelVersion, Listener, MAX_PROFILE, ParseError, Problem, Profile};
pub use syscalls::Arch;

use sys::seccomp::{Flags, Instruction, MAX_INSTRUCTIONS};

use crate::capabilities::CapSet;

/// What a profile is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The kernel's architecture.
    pub arch: Arch,
    /// The container's bounding set.
    pub caps: CapSet,
    /// The running kernel.
    pub kernel: KernelVersion,
    /// What 32-bit programs get.
    pub foreign: Foreign,
}

/// What the calls of another architecture get that the kernel can also run.
///
/// x32 is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Foreign {
    /// `ENOSYS`. The default: a filter cannot see what `socketcall` of i386 points to, so allowing
    /// it takes every rule about sockets away.
    #[default]
    Refused,
    /// The profile's rules, for the 32-bit architecture that the profile lists (`SCMP_ARCH_X86` on
    /// x86-64, `SCMP_ARCH_ARM` on 64-bit Arm).
    AsProfile,
}

/// A filter, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// For `sys::seccomp::load`.
    pub instructions: Vec<Instruction>,
    /// For `sys::seccomp::load`.
    pub flags: Flags,
    /// Who decides, if the filter notifies at all.
    pub listener: Option<Listener>,
    /// Names in the profile that are no system call of any architecture, for a warning.
    pub unknown: Vec<String>,
}

/// Why an understood profile has no filter.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A check looks at a register that the kernel ignores.
    #[error("seccomp profile: {call} has no argument {index}")]
    NoSuchArgument {
        /// The system call.
        call: String,
        /// From 0.
        index: u8,
    },
    /// The kernel takes no longer filter.
    #[error(
        "seccomp profile: the filter has {0} instructions, the kernel takes {MAX_INSTRUCTIONS}"
    )]
    TooLong(usize),
}

/// Why a profile has no filter.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The text is not a profile.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The profile cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Compiles a profile.
pub fn compile(profile: &Profile, target: &Target) -> Result<Program, CompileError> {
    let mut arches = vec![(target.arch, policy::ranges(profile, target, target.arch)?)];
    let foreign = target.arch.foreign().filter(|foreign| {
        target.foreign == Foreign::AsProfile && profile.foreign.contains(&(target.arch, *foreign))
    });
    if let Some(foreign) = foreign {
        arches.push((foreign, policy::ranges(profile, target, foreign)?));
    }
    let instructions = program::assemble(&arches);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong(instructions.len()));
    }
    let notifies = instructions.iter().any(|instruction| {
        instruction.code == program::RETURN && instruction.k == Action::Notify.value()
    });
    Ok(Program {
        instructions,
        flags: profile.flags,
        listener: profile.listener.clone().filter(|_| notifies),
        unknown: policy::unknown_names(profile),
    })
}

/// Parses and compiles.
pub fn compile_json(json: &[u8], target: &Target) -> Result<Program, SeccompError> {
    Ok(compile(&Profile::parse(json)?, target)?)
}

/// The text of an OCI specification's `linux.seccomp`, for [`Profile::parse`] and [`cached`].
pub fn oci_text(seccomp: &oci_spec::runtime::LinuxSeccomp) -> Result<Vec<u8>, ParseError> {
    Ok(serde_json::to_vec(seccomp)?)
}
