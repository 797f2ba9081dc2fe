//! Docker and Podman in a container of dhow's, on a root file system that shows this host's.

use testkit::{Host, Ran};

/// A privileged container that has the host's programs, and a command.
fn nested(storage: &str, command: &str) -> Ran {
    let host = Host::new(crate::DHOW);
    testkit::busybox_archive(host.scratch()).unwrap();
    let files = format!("{}:/host:ro", host.scratch().display());
    let words = ["run", "--rm", "--privileged", "--network", "none", "-v", storage, "-v", &files];
    let more = ["--tmpfs", "/run", "--rootfs", "/:O", "sh", "-c", command];
    host.run(&[&words[..], &more].concat())
}

#[test]
fn docker_runs_in_a_container() {
    // It tells nobody when it listens.
    let command = "dockerd >/run/said 2>&1 & n=0; \
        until docker info >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || { cat /run/said; exit 9; }; sleep 0.1; done; \
        docker load -q -i /host/busybox.tar && docker run --rm busybox echo bridged \
        && docker run --rm --network none -m 32m busybox echo limited";
    let ran = nested("/var/lib/docker", command);
    let said = "Loaded image: busybox:latest\nbridged\nlimited";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), said), "{}", ran.err);
}

#[test]
fn podman_runs_in_a_container() {
    let command = "podman load -q -i /host/busybox.tar >/dev/null \
        && podman run --rm --network none busybox echo alone \
        && podman run --rm --network none -m 32m busybox echo limited";
    let ran = nested("/var/lib/containers", command);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "alone\nlimited"), "{}", ran.err);
}
