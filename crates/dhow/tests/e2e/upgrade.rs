//! Containers that outlive the program that they were started by.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Host, until};

use crate::host;

/// The same command, of a program that lies elsewhere.
#[expect(clippy::disallowed_methods, reason = "the program is this test's own copy of dhow")]
fn by(program: &Path, host: &Host, words: &[&str]) {
    let like = host.command(words);
    let mut command = Command::new(program);
    command.args(like.get_args()).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn look(host: &Host, name: &str, format: &str) -> String {
    host.ok(&["inspect", "-f", format, name])
}

fn kill(host: &Host, name: &str) {
    let pid = look(host, name, "{{.State.Pid}}").parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// The same command of an ordinary user's, by a program that root has installed.
#[expect(clippy::disallowed_methods, reason = "the program is this test's own copy of dhow")]
fn by_user(program: &Path, host: &Host, words: &[&str]) {
    let like = host.command(words);
    let mut command = Command::new(like.get_program());
    let own = host.scratch().join("dhow");
    let installed = |word| if word == own.as_os_str() { program.as_os_str() } else { word };
    command.args(like.get_args().map(installed)).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Root's directories are nobody's in a user namespace: they were looked at before it was entered.
#[test]
fn a_users_containers_end_by_what_root_has_installed_by_then() {
    let host = Host::of_user(crate::DHOW);
    let dir = host.scratch().join("bin");
    fs::create_dir(&dir).unwrap();
    let (program, other) = (dir.join("dhow"), dir.join("new"));
    testkit::install(crate::DHOW, &program);
    let run = |name: &str| {
        let words = ["run", "-d", "--name", name, "--network", "none", "--rm"];
        by_user(&program, &host, &[&words[..], &["busybox", "sleep", "1000"]].concat());
    };
    run("goes");
    run("stays");
    testkit::install("/bin/busybox", &other);
    fs::set_permissions(&other, fs::Permissions::from_mode(0o775)).unwrap();
    fs::rename(&other, &program).unwrap();
    kill(&host, "goes");
    until("what is inspected", || host.run(&["inspect", "goes"]).code != Some(0));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    kill(&host, "stays");
    host.until_idle();
    assert_eq!(look(&host, "stays", "{{.State.Status}}"), "exited");
    host.ok(&["rm", "-f", "stays"]);
    // A directory in which others may put something is never asked.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    testkit::install(crate::DHOW, &other);
    fs::rename(&other, &program).unwrap();
    run("open");
    testkit::install("/bin/busybox", &other);
    fs::rename(&other, &program).unwrap();
    kill(&host, "open");
    until("what is inspected", || host.run(&["inspect", "open"]).code != Some(0));
}

/// What is installed by then says whether it was run: it is no dhow, and does nothing. That it has done so
/// well is believed; when it fails, the old program is tried.
#[test]
fn what_is_installed_by_then_goes_on_unless_others_could_have_put_it_there() {
    let host = host();
    let dir = host.scratch().join("bin");
    fs::create_dir(&dir).unwrap();
    let (program, other) = (dir.join("dhow"), dir.join("new"));
    testkit::install(crate::DHOW, &program);
    let run = |name: &str, policy: &[&str]| {
        let words = [&["run", "-d", "--name", name][..], policy, &["busybox", "sleep", "1000"]];
        by(&program, &host, &words.concat());
    };
    run("again", &["--restart", "always"]);
    run("goes", &["--rm"]);
    run("stays", &["--rm"]);
    let mode = |mode| fs::Permissions::from_mode(mode);
    testkit::install("/bin/busybox", &other);
    fs::set_permissions(&other, mode(0o775)).unwrap();
    fs::rename(&other, &program).unwrap();
    kill(&host, "again");
    let state = "{{.State.Status}} {{.RestartCount}}";
    until("its state", || look(&host, "again", state) == "running 1");
    kill(&host, "goes");
    until("what is inspected", || host.run(&["inspect", "goes"]).code != Some(0));
    fs::set_permissions(&program, mode(0o755)).unwrap();
    kill(&host, "again");
    until("the next", || {
        let now = look(&host, "again", state);
        assert_ne!(now, "exited 1", "nobody has tried it again");
        now == "running 2"
    });
    testkit::install("/bin/true", &other);
    fs::rename(&other, &program).unwrap();
    kill(&host, "again");
    until("the next", || {
        let now = look(&host, "again", state);
        assert_ne!(now, "running 3", "the old program has gone on");
        now == "exited 2"
    });
    testkit::install("/bin/busybox", &other);
    fs::rename(&other, &program).unwrap();
    kill(&host, "stays");
    host.until_idle();
    assert_eq!(look(&host, "stays", "{{.State.Status}}"), "exited");
    host.ok(&["rm", "-f", "again", "stays"]);
}
