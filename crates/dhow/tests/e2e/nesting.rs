//! dhow in a container of dhow's. Docker and Podman in one are with the other engines.

use crate::host;

/// What the inner one does: everything of a container's life that needs rights.
const WORK: &str = "dhow load -q -i /host/busybox.tar \
    && dhow run --rm --network none busybox echo run \
    && dhow run -d --name kept -m 32m --network none busybox sleep 1000 >/dev/null \
    && dhow exec kept echo exec && dhow pause kept >/dev/null && dhow unpause kept >/dev/null \
    && dhow stats --no-stream --format '{{.Name}} {{.PIDs}}' kept \
    && dhow rm -f kept && dhow doctor >/dev/null && dhow system check --repair && dhow ps -aq";

/// A privileged container with the program and an image, and a command.
fn nested(host: &testkit::Host, more: &[&str], command: &str) -> testkit::Ran {
    testkit::busybox_archive(host.scratch()).unwrap();
    let program = format!("{}:/usr/bin/dhow:ro", crate::DHOW);
    let files = format!("{}:/host:ro", host.scratch().display());
    let words = ["run", "--rm", "--privileged", "--network", "none", "-v", &program, "-v", &files];
    host.run(&[&words, more, &["busybox", "sh", "-c", command]].concat())
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

#[test]
fn one_that_has_no_disk_of_its_own_says_so() {
    let host = host();
    let ran = nested(&host, &[], "dhow doctor");
    let disk = ran.out.lines().find(|line| line.starts_with("missing  disk "));
    assert!(disk.is_some_and(|line| line.contains(": overlayfs, ")), "{}{}", ran.out, ran.err);
    assert_eq!(ran.code, Some(1));
}
