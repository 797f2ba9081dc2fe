//! dhow as a user runs it: the binary, on state roots of the test's own.
//!
//! Needs root. Every test resets its roots; what it leaves fails it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod answers;
mod apparmor;
mod bad_input;
mod beside;
mod boot;
mod cdi;
mod cgroup_driver;
mod checkpoint;
mod commit;
mod cp;
mod delegated;
mod disk_usage;
mod disks;
mod dns;
mod dns_hostile;
mod dns_servers;
mod doctor;
mod engines;
mod escapes;
mod events;
mod exec;
mod exec_life;
mod faults;
mod fields;
mod files;
mod firewall;
mod flags;
mod health;
mod hogs;
mod hostile_images;
mod idmap;
mod image_mounts;
mod images;
mod inside;
mod life;
mod limits;
mod log_drivers;
mod logs;
mod nesting;
mod network;
mod network_connect;
mod network_found;
mod network_gateway;
mod network_members;
mod network_moves;
mod network_options;
mod network_vlan;
mod networks;
mod oci;
mod oci_checkpoint;
mod oci_in_place;
mod oci_mounts;
mod oci_nested;
mod oci_seccomp;
mod oci_spec;
mod oci_start;
mod oci_unified;
mod oci_words;
mod orphans;
mod pull;
mod push;
mod ranges;
mod recipe;
mod refusals;
mod reset;
mod restart;
mod rootless;
mod rootless_network;
mod rootless_networks;
mod run;
mod security;
mod selinux;
mod serve;
mod shell;
mod silent;
mod stats;
mod streams;
mod systemd;
mod terminal;
mod top;
mod update;
mod update_live;
mod upgrade;
mod user_scopes;
mod userns;
mod volume_archive;
mod volume_moves;
mod volumes;
mod walk;

/// The binary under test.
const DHOW: &str = env!("CARGO_BIN_EXE_dhow");

/// A host that has the busybox image.
fn host() -> testkit::Host {
    testkit::Host::with_busybox(DHOW)
}
