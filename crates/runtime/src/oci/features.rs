//! `features`: what this runtime knows, for engines that ask before they write a specification.
//!
//! Only what is carried out is listed (features.md of the specification): what is missing here is refused
//! when a specification asks for it.

use serde_json::{Value, json};

use super::fault::Fault;
use super::{OCI_VERSION, filter, say};
use crate::capabilities::CapSet;
use crate::plan;
use crate::seccomp::KernelVersion;

/// How a filter is loaded, and since which kernel.
const FILTER_FLAGS: [(&str, KernelVersion); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", KernelVersion { major: 4, minor: 14 }),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", KernelVersion { major: 4, minor: 17 }),
    ("SECCOMP_FILTER_FLAG_TSYNC", KernelVersion { major: 3, minor: 17 }),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", KernelVersion { major: 5, minor: 19 }),
];

pub(super) fn features() -> Result<(), Fault> {
    say(&format!("{:#}\n", all(filter::kernel()?)))
}

/// The flags that a kernel has.
fn flags(kernel: KernelVersion) -> Vec<&'static str> {
    let there = FILTER_FLAGS.iter().filter(|(_, since)| *since <= kernel);
    there.map(|(name, _)| *name).collect()
}

fn all(kernel: KernelVersion) -> Value {
    let mut capabilities = CapSet::from_bits(u64::MAX).names();
    capabilities.sort_unstable();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "mountOptions": plan::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                ],
                "knownFlags": FILTER_FLAGS.map(|(name, _)| name),
                "supportedFlags": flags(kernel),
                "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": [
                    "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED",
                    "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE",
                ],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": {
            "dhow.version": env!("CARGO_PKG_VERSION"),
        },
        // Properties of a unit, that is: where systemd makes the control group.
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_the_kernel_lacks_is_known_and_not_supported() {
        let of = |major, minor| {
            let seccomp = &all(KernelVersion { major, minor })["linux"]["seccomp"];
            ["knownFlags", "supportedFlags"].map(|key| seccomp[key].as_array().unwrap().len())
        };
        assert_eq!([of(5, 18), of(5, 19), of(6, 0)], [[4, 3], [4, 4], [4, 4]]);
    }
}
