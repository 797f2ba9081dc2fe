//! Installs Debian's packages for the tests, whose services neither start nor are enabled.
//!
//! An engine that started would lay its own rules over the machine's network, and be a peer that nobody asked for.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::host;

/// Runs a command that installs. A shell does, since it outlives an interrupted xtask and puts back what it has
/// changed.
const QUIETLY: &str = include_str!("packages.sh");

/// Installs those of `packages` that are missing, by Debian's package manager.
///
/// # Errors
/// The package manager fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    host::say(&format!("installing {}", missing.join(" ")));
    let mut update = host::command("apt-get", &["update", "-q"]);
    update.stdout(Stdio::null());
    host::finish(update, "apt-get", &["update"])?;
    // Another program may be installing something.
    let patience = "DPkg::Lock::Timeout=300";
    let mut words =
        vec!["apt-get", "-o", patience, "install", "-y", "-q", "--no-install-recommends"];
    words.extend(missing);
    let mut install = quietly("", &words);
    install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    host::finish(install, words[0], &words[1..])
}

/// A command that installs something below `root`, which is the empty path for this machine.
fn quietly(root: &str, words: &[&str]) -> Command {
    host::command("sh", &[&["-c", QUIETLY, "packages.sh", root], words].concat())
}

fn is_installed(package: &str) -> bool {
    host::command("dpkg-query", &["-W", "-f=${Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"install ok installed")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    use super::*;

    /// A machine's root directory, removed with it.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str) -> Self {
            let dir = format!("dhow-test-packages-{name}-{}", std::process::id());
            let machine = Self(std::env::temp_dir().join(dir));
            fs::create_dir_all(machine.path("usr/sbin")).unwrap();
            fs::create_dir_all(machine.path("etc/systemd/system/multi-user.target.wants")).unwrap();
            symlink("/x", machine.path("etc/systemd/system/multi-user.target.wants/old")).unwrap();
            machine
        }

        fn path(&self, below: &str) -> PathBuf {
            self.0.join(below)
        }

        fn policy(&self) -> PathBuf {
            self.path("usr/sbin/policy-rc.d")
        }

        fn quietly(&self, script: &str) -> Command {
            let mut command = quietly(&self.0.to_string_lossy(), &["sh", "-c", script]);
            command.current_dir(&self.0);
            command
        }

        /// The names in a directory.
        fn names(&self, below: &str) -> Vec<String> {
            let entries = fs::read_dir(self.path(below)).unwrap().flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort_unstable();
            names
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn is_ours(policy: &Path) -> bool {
        fs::read_to_string(policy).is_ok_and(|text| text.contains("exit 101"))
    }

    /// What a package's scripts do: they ask the policy, and enable a unit.
    const INSTALL: &str = "usr/sbin/policy-rc.d; echo $? >asked
        cd etc/systemd/system/multi-user.target.wants
        ln -s /y new; ln -s /dev/null masked";

    #[test]
    fn no_service_starts_or_is_enabled() {
        let machine = Machine::new("quiet");
        assert!(machine.quietly(INSTALL).status().unwrap().success());
        assert_eq!(fs::read_to_string(machine.path("asked")).unwrap(), "101\n");
        assert_eq!(machine.names("etc/systemd/system/multi-user.target.wants"), ["masked", "old"]);
        assert_eq!(machine.names("usr/sbin"), [""; 0]);
    }

    #[test]
    fn a_policy_that_was_there_is_put_back_after_a_failure() {
        let machine = Machine::new("policy");
        symlink("/etc/alternatives/policy-rc.d", machine.policy()).unwrap();
        let status = machine.quietly(&format!("{INSTALL}; exit 7")).status().unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(fs::read_to_string(machine.path("asked")).unwrap(), "101\n");
        let target = fs::read_link(machine.policy()).unwrap();
        assert_eq!(target, Path::new("/etc/alternatives/policy-rc.d"));
        assert_eq!(machine.names("usr/sbin"), ["policy-rc.d"]);
    }

    #[test]
    fn an_interruption_puts_it_back() {
        let machine = Machine::new("signal");
        fs::write(machine.policy(), "theirs").unwrap();
        fs::set_permissions(machine.policy(), fs::Permissions::from_mode(0o755)).unwrap();
        // It ends when its standard input does: the signal is there by then.
        let script = format!("{INSTALL}; echo installed; read rest");
        let mut child =
            machine.quietly(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "installed\n");
        assert!(is_ours(&machine.policy()));
        let id = child.id().to_string();
        assert!(host::command("kill", &["-TERM", &id]).status().unwrap().success());
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(143));
        assert_eq!(fs::read_to_string(machine.policy()).unwrap(), "theirs");
        let mode = fs::metadata(machine.policy()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(machine.names("etc/systemd/system/multi-user.target.wants"), ["masked", "old"]);
    }

    #[test]
    fn what_a_killed_run_has_left_is_put_back_by_the_next() {
        for before in [None, Some("theirs")] {
            let machine = Machine::new(if before.is_some() { "killed" } else { "killed-none" });
            if let Some(text) = before {
                fs::write(machine.policy(), text).unwrap();
            }
            // The parent of the command is the shell that would put it back.
            let script = format!("{INSTALL}; kill -KILL $PPID");
            let status = machine.quietly(&script).status().unwrap();
            assert_eq!(status.code(), None);
            assert!(is_ours(&machine.policy()));
            assert!(machine.quietly("true").status().unwrap().success());
            assert_eq!(fs::read_to_string(machine.policy()).ok().as_deref(), before);
            assert_eq!(machine.names("usr/sbin").len(), usize::from(before.is_some()));
            let wants = machine.names("etc/systemd/system/multi-user.target.wants");
            assert_eq!(wants, ["masked", "old"]);
        }
    }
}
