//! dhow in a container of dhow's. Docker and Podman in one are with the other engines.

use std::path::Path;

use testkit::{Host, Ran};

use crate::host;

/// What the inner one does: everything of a container's life that needs rights.
const WORK: &str = "dhow load -q -i /host/busybox.tar \
    && dhow run --rm --network none busybox echo run \
    && dhow run -d --name kept -m 32m --network none busybox sleep 1000 >/dev/null \
    && dhow exec kept echo exec && dhow pause kept >/dev/null && dhow unpause kept >/dev/null \
    && dhow stats --no-stream --format '{{.Name}} {{.PIDs}}' kept \
    && dhow rm -f kept && dhow doctor >/dev/null && dhow system check --repair && dhow ps -aq";

/// What is left of it where the outer one has no control groups.
const WITHOUT_GROUPS: &str = "dhow load -q -i /host/busybox.tar \
    && dhow run --rm --network none busybox echo run \
    && dhow run -d --name kept --network none busybox sleep 1000 >/dev/null \
    && dhow exec kept echo exec && dhow rm -f kept && dhow system check --repair && dhow ps -aq";

/// The words of a privileged container with the program and an image, and a command.
fn words(host: &Host, program: &Path, more: &[&str], command: &str) -> Vec<String> {
    testkit::busybox_archive(host.scratch()).unwrap();
    let program = format!("{}:/usr/bin/dhow:ro", program.display());
    let files = format!("{}:/host:ro", host.scratch().display());
    let words = ["run", "--rm", "--privileged", "--network", "none", "-v", &program, "-v", &files];
    let all = [&words, more, &["busybox", "sh", "-c", command]].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn nested(host: &Host, more: &[&str], command: &str) -> Ran {
    let words = words(host, Path::new(crate::DHOW), more, command);
    host.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn one_runs_in_the_other() {
    let host = host();
    let ran = nested(&host, &["-v", "/var/lib/dhow"], WORK);
    let said = "Loaded image: busybox:latest\nrun\nexec\nkept 1\nkept";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), said), "{}", ran.err);
    // With those that the inner one has left behind.
    let leaves = "dhow load -q -i /host/busybox.tar \
                  && dhow run -d --name left --network none busybox sleep 1000";
    let ran = nested(&host, &["-v", "/var/lib/dhow"], leaves);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

/// The same flag as root's. The inner one has limits where the outer one has control groups.
#[test]
fn one_of_a_user_runs_in_the_other() {
    let host = Host::of_user(crate::DHOW);
    // A user who is made for this test finds the program there.
    let own = host.scratch().join("dhow");
    let program = if own.exists() { &*own } else { Path::new(crate::DHOW) };
    let command = if host.is_delegated() { WORK } else { WITHOUT_GROUPS };
    let all = words(&host, program, &["-v", "/var/lib/dhow"], command);
    let ran = host.run(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let counted = if host.is_delegated() { "kept 1\n" } else { "" };
    let said = format!("Loaded image: busybox:latest\nrun\nexec\n{counted}kept");
    assert_eq!((ran.code, &ran.out), (Some(0), &said), "{}", ran.err);
    let all = words(&host, program, &["-v", "/var/lib/dhow"], WITHOUT_GROUPS);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let ran = Ran::new(&host.elsewhere(&all).output().unwrap());
    let said = "Loaded image: busybox:latest\nrun\nexec\nkept";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), said), "{}", ran.err);
}

#[test]
fn one_that_has_no_disk_of_its_own_says_so() {
    let host = host();
    let ran = nested(&host, &[], "dhow doctor");
    let disk = ran.out.lines().find(|line| line.starts_with("missing  disk "));
    assert!(disk.is_some_and(|line| line.contains(": overlayfs, ")), "{}{}", ran.out, ran.err);
    assert_eq!(ran.code, Some(1));
}
