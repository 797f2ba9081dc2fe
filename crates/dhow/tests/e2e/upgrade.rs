//! Containers that outlive the program that they were started by.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use testkit::Host;

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

/// What is installed by then says whether it was run: it is no dhow, and does nothing.
#[test]
fn what_is_installed_by_then_goes_on_unless_others_could_have_put_it_there() {
    let host = host();
    let dir = host.scratch().join("bin");
    fs::create_dir(&dir).unwrap();
    let (program, other) = (dir.join("dhow"), dir.join("new"));
    fs::copy(crate::DHOW, &program).unwrap();
    let run = |name: &str, policy: &[&str]| {
        let words = [&["run", "-d", "--name", name][..], policy, &["busybox", "sleep", "1000"]];
        by(&program, &host, &words.concat());
    };
    run("again", &["--restart", "always"]);
    run("goes", &["--rm"]);
    run("stays", &["--rm"]);
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::copy("/bin/busybox", &other).unwrap();
    fs::set_permissions(&other, mode(0o775)).unwrap();
    fs::rename(&other, &program).unwrap();
    kill(&host, "again");
    let state = "{{.State.Status}} {{.RestartCount}}";
    while look(&host, "again", state) != "running 1" {}
    kill(&host, "goes");
    while host.run(&["inspect", "goes"]).code == Some(0) {}
    fs::set_permissions(&program, mode(0o755)).unwrap();
    kill(&host, "again");
    loop {
        match look(&host, "again", state).as_str() {
            "exited 1" => break,
            state => assert_ne!(state, "running 2", "the old program has gone on"),
        }
    }
    kill(&host, "stays");
    host.until_idle();
    assert_eq!(look(&host, "stays", "{{.State.Status}}"), "exited");
    host.ok(&["rm", "-f", "again", "stays"]);
}
