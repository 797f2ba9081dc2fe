//! The two commands of the README's first screen, demo and test, the soak, and the count of leaks alone.

use anyhow::Result;

use crate::clients;
use crate::conformance;
use crate::demo;
use crate::host;
use crate::leaks::Snapshot;
use crate::packages;

/// What the tests run beside dhow.
const TEST_PACKAGES: &[&str] = &[
    "apparmor",
    "busybox-static",
    "conmon",
    "containerd",
    // Podman without control groups runs on no other runtime, and is content with runc where that is installed.
    "crun",
    "docker-registry",
    "docker.io",
    "e2fsprogs",
    "gzip",
    "iproute2",
    "iptables",
    "mmdebstrap",
    "mount",
    "nftables",
    "passt",
    "podman",
    "procps",
    "slirp4netns",
    "strace",
    "tar",
    // Its package leaves it off.
    "ufw",
    "uidmap",
    "xfsprogs",
    "zstd",
];

/// Builds dhow and does its main job on real input.
///
/// # Errors
/// The first step that fails.
pub(crate) fn demo() -> Result<()> {
    packages::install(&["nftables"])?;
    let before = Snapshot::take()?;
    demo::run()?;
    before.nothing_new()
}

/// Runs every test and counts what is left on the host.
///
/// # Errors
/// The first step that fails.
pub(crate) fn test() -> Result<()> {
    packages::install(&[TEST_PACKAGES, conformance::PACKAGES, &clients::PACKAGES].concat())?;
    host::say("rules");
    crate::tidy::check()?;
    host::run("cargo", &["fmt", "--all", "--check"])?;
    host::run(
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
    )?;
    let before = Snapshot::take()?;
    host::say("tests");
    host::run("cargo", &["test", "--workspace"])?;
    host::say("the OCI's validation programs");
    conformance::check(&demo::built("debug")?)?;
    clients::run(&[])?;
    before.nothing_new()
}

/// Runs a program and counts what it leaves on the host.
///
/// # Errors
/// It fails, or leaves something.
pub(crate) fn leaks(program: &str, arguments: &[&str]) -> Result<()> {
    let before = Snapshot::take()?;
    let ran = host::run(program, arguments);
    // What a failure leaves is part of its story.
    match (ran, before.nothing_new()) {
        (Err(ran), Err(left)) => Err(ran.context(left)),
        (ran, left) => ran.and(left),
    }
}

/// A soak of so many containers.
///
/// # Errors
/// It fails, or leaves something on the host.
pub(crate) fn soak(containers: u32) -> Result<()> {
    packages::install(&["nftables", "busybox-static"])?;
    let before = Snapshot::take()?;
    crate::soak::run(containers)?;
    before.nothing_new()
}
