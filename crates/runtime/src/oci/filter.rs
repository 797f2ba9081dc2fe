//! The seccomp filter of a specification, compiled.

use oci_spec::runtime::Spec;

use super::fault::Fault;
use crate::HostFacts;
use crate::capabilities::CapSet;
use crate::seccomp::{self, Arch, Foreign, KernelVersion, Program, SeccompError, Target};

/// What this binary, and so the kernel below it, is built for.
const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

/// The filter, if the specification has one.
pub(super) fn of(spec: &Spec, facts: &HostFacts) -> Result<Option<Program>, Fault> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let Some(seccomp) = seccomp else { return Ok(None) };
    let text = seccomp::oci_text(seccomp).map_err(SeccompError::from)?;
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let kernel = KernelVersion::from_release(&release)
        .ok_or_else(|| Fault::Config(format!("the kernel's release {release:?} has no version")))?;
    // Rules that depend on capabilities are Docker's and have been resolved by whoever wrote this.
    let caps = CapSet::from_bits(facts.capabilities.bits());
    let target = Target { arch: ARCH, caps, kernel, foreign: Foreign::AsProfile };
    Ok(Some(seccomp::compile_json(&text, &target)?))
}
