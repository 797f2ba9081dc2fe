//! Runs the privileged tests on a throw-away host: Debian with systemd as process 1, on cgroup v2
//! or on the hybrid layout, which the machine at hand may not have.
//!
//! `testbed/testbed.py` makes and boots the host; here is what it is to do. The tests run there
//! as they are: static binaries need nothing but the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{host, packages};

/// What the host is booted with for `systemd`'s hybrid layout, which newer versions of it only
/// give to those who insist.
const HYBRID: &str = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1";

/// Packages whose tests need a real host.
const PACKAGES: [&str; 3] = ["cgroup", "runtime", "dhow"];

/// Tests that need an address translated: the network's own, and those that publish a port or
/// read what a bridge leaves behind.
const NETWORKED: &str = "network:: networks:: network_members:: network_connect:: firewall:: dns:: dns_servers:: faults:: reset:: a_name_or_a_port_in_use a_life_is_told_from_its_making_to_its_end \
     descriptors_of_the_caller_stay_outside a_start_that_is_killed_is_tried_again one_that_cannot_be_started_again_stays_as_it_ended it_has_a_network_a_terminal_an_init_and_limits \
     what_should_run_is_started_in_its_order a_full_data_root_is_named_and_nothing_is_left a_full_runtime_root_is_named_and_nothing_is_left fields::of_what_runs \
     a_first_process_that_outlives_its_shim_is_ended a_container_is_removed_whose_shim_is_stopped an_update_that_fails_late_leaves_what_is_true \
     ports_come_and_go_while_a_container_runs one_process_is_enough_for_users_of_its_own";

/// Tests that User Mode Linux cannot pass: it has a writable `/proc/exitcode`, no other kernel does, takes
/// calls of every architecture for its own and says that it is of one whatever personality asks, is none that
/// criu can write processes of down on, has no XFS, and lacks the matches `rt` and `hl` that ufw's rules of IPv6 want.
const REAL_KERNEL: &str = "what_the_kernel_is_told_of_a_process nothing_of_proc_or_sys_can_be_written calls_of_another_architecture_do_not_exist \
     checkpoint:: death_at_each_step_is_forgotten what_was_acknowledged_survives_a_power_cut_on_xfs \
     a_clone_shares_what_the_file_system_can_share ufw_keeps_no_container_from_its_network";

/// Tests of the binary that an ordinary user runs as well, in a login session: systemd delegates control groups to
/// what it starts for that user.
const AS_USER: [&str; 8] = [
    "delegated::",
    "user_scopes::",
    "oci::scope::a_users_own_systemd_is_asked",
    "nesting::one_of_a_user_runs_in_the_other",
    "rootless::a_terminal_and_the_namespaces_of_others",
    "rootless::there_are_users_to_change_between",
    "rootless::a_policy_starts_it_again_in_the_same_namespace",
    "rootless::what_only_root_can_is_refused",
];

/// What nothing but such a host can show: systemd's scopes, version 2's limits, delegation.
pub(crate) const SHORT: [&str; 8] = [
    "cgroup_driver::",
    "user_scopes::",
    "oci::scope::",
    "oci_unified::",
    "nesting::one_of_a_user_runs_in_the_other",
    "delegated::",
    "what_a_host_says_it_can_limit_it_can",
    "limits::",
];

/// What the host does, but for the tests of engines, which it does not have. `$1` is where the tests look for the binary, `$2` and `$3` are the lists
/// above, `$4` is what of the last list is wanted, the rest are test filters. `/tmp` is to be on the disk, as the state of dhow is. A kernel
/// without address translation (Debian's User Mode Linux has none) cannot serve the bridge:
/// containers get no network there.
const JOB: &str = r#"set -eu
binary=$1 networked=$2 real_kernel=$3 as_user=$4 left_out=engines::; shift 4
export DHOW_TEST_IMAGES=/host
umount --lazy /tmp || true
# One disk whose scheduler heeds weights, where the kernel has such.
echo bfq >/sys/block/loop7/queue/scheduler || true
mkdir -p "$(dirname "$binary")"; cp /host/dhow "$binary"
[ ! -e /proc/exitcode ] || left_out="$left_out $real_kernel"
if nft add table inet probe && nft add chain inet probe nat '{ type nat hook postrouting priority 100; }'; then
    nft delete table inet probe
else
    export DHOW_TEST_NETWORK=none; left_out="$left_out $networked"
fi 2>/dev/null
for test in $left_out; do set -- "$@" --skip "$test"; done
echo "testbed: left out: $left_out"; uname -r; grep cgroup /proc/mounts
/host/xtask leaks sh -c '
    failed=0 as_user=$1; shift
    for tests in /host/*.tests; do echo "== $tests"; "$tests" --test-threads=2 "$@" || failed=1; done
    [ -z "$as_user" ] || echo "== /host/dhow.tests as an ordinary user"
    [ -z "$as_user" ] || runuser -l user -c "DHOW_TEST_IMAGES=/host ${DHOW_TEST_NETWORK:+DHOW_TEST_NETWORK=$DHOW_TEST_NETWORK} \
        exec /host/dhow.tests --test-threads=2 $as_user" || failed=1
    exit $failed' sh "$as_user" "$@"
"#;

/// A message of cargo's about what it has built.
#[derive(Deserialize)]
struct Built {
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Which layout of cgroups the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// v2 alone.
    Unified,
    /// v1 controllers beside an empty v2.
    Hybrid,
}

/// Builds the fuller kernel, which is used from then on.
///
/// # Errors
/// Its sources cannot be had, or do not build.
pub(crate) fn kernel() -> Result<()> {
    testbed(&["kernel"])
}

/// Builds, boots, tests; `filters` are the test harness's own.
///
/// # Errors
/// A package cannot be installed, the host does not boot, or a test fails.
pub(crate) fn run(layout: Layout, filters: &[&str]) -> Result<()> {
    packages::install(&["python3"])?;
    let dir = host::workspace().join("target/testbed");
    let share = dir.join("host");
    fs::create_dir_all(&share).with_context(|| format!("make {}", share.display()))?;
    let binary = collect(&share)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (share_name, log, binary) = (text(&share), text(&dir.join("console.log")), text(&binary));
    let mut arguments = vec!["run", "--verbose", "--timeout", "3600", "--log", &log];
    if layout == Layout::Hybrid {
        arguments.extend(["--append", HYBRID]);
    }
    arguments.extend(["--ro", &share_name, "--", "sh", "-c", JOB, "job", &binary]);
    let as_user = as_user(filters).join(" ");
    arguments.extend([NETWORKED, REAL_KERNEL, &as_user]);
    arguments.extend(filters);
    testbed(&arguments)
}

/// What an ordinary user runs of what was asked for.
fn as_user(filters: &[&str]) -> Vec<&'static str> {
    let is_meant = |test: &&str| {
        filters.is_empty() || filters.iter().any(|one| test.contains(one) || one.contains(test))
    };
    AS_USER.into_iter().filter(is_meant).collect()
}

fn testbed(arguments: &[&str]) -> Result<()> {
    host::finish(command(arguments), "testbed", &arguments[..1])
}

/// The script with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let script = host::workspace().join("xtask/testbed/testbed.py");
    let script = script.to_string_lossy();
    let mut command = host::command("python3", &[&[&*script], arguments].concat());
    if std::env::var_os("TESTBED_CACHE").is_none() {
        command.env("TESTBED_CACHE", host::workspace().join("target/testbed/cache"));
    }
    command
}

/// Puts the tests, the binary and this program where the host finds them; where the tests look
/// for the binary.
fn collect(share: &Path) -> Result<PathBuf> {
    let mut arguments = vec!["test", "--no-run", "--message-format", "json-render-diagnostics"];
    arguments.extend(PACKAGES.iter().flat_map(|package| ["-p", package]));
    let messages = host::output("cargo", &arguments)?;
    let mut binary = None;
    for line in messages.lines() {
        let built: Built = serde_json::from_str(line).context("read cargo's messages")?;
        let (Some(program), Some(target)) = (built.executable, built.target) else { continue };
        match target.kind.first().map(String::as_str) {
            Some("test") => {
                let folder = built.manifest_path.parent().and_then(Path::file_name);
                let package = folder.unwrap_or_default().to_string_lossy().into_owned();
                copy(&program, &share.join(format!("{package}.tests")))?;
            }
            Some("bin") if target.name == "dhow" && program.ends_with("dhow") => {
                copy(&program, &share.join("dhow"))?;
                binary = Some(program);
            }
            _ => {}
        }
    }
    copy(&std::env::current_exe()?, &share.join("xtask"))?;
    let image = host::workspace().join("target/images/systemd.tar");
    copy(&image, &share.join("systemd.tar"))
        .context("the tests of systemd make it: run them here first")?;
    let Some(binary) = binary else { bail!("cargo has not built dhow") };
    Ok(binary)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}
