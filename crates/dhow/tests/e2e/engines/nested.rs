//! Docker and Podman in a container of dhow's, on a root file system that shows this host's.

use std::path::Path;

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

/// The same as an ordinary user, to whom the host's root directory is nobody's: what programs need of it is in one
/// of the user's.
fn nested_of_a_user(storage: &str, command: &str) -> Ran {
    let host = Host::of_user(crate::DHOW);
    testkit::busybox_archive(host.scratch()).unwrap();
    let tree = host.scratch().join("tree");
    for dir in
        ["usr", "etc/containers", "proc", "sys", "dev", "run", "tmp", "host", "var/tmp", "root"]
    {
        std::fs::create_dir_all(tree.join(dir)).unwrap();
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), tree.join(link)).unwrap();
    }
    for file in ["passwd", "group", "ld.so.cache", "containers/policy.json"] {
        let _ = std::fs::copy(Path::new("/etc").join(file), tree.join("etc").join(file));
    }
    give_all(&host, &tree);
    let (files, tree) =
        (format!("{}:/host:ro", host.scratch().display()), tree.display().to_string());
    let words = ["run", "--rm", "--privileged", "--network", "none", "-v", storage, "-v", &files];
    let more = ["-v", "/usr:/usr:ro", "-v", "/etc/alternatives:/etc/alternatives:ro"];
    let program = ["--tmpfs", "/run", "--rootfs", &tree, "sh", "-c", command];
    host.run(&[&words[..], &more, &program].concat())
}

fn give_all(host: &Host, dir: &Path) {
    host.give(dir);
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => give_all(host, &entry.path()),
            kind if kind.is_file() => host.give(&entry.path()),
            _ => {}
        }
    }
}

/// Where no control group is delegated, Podman has a flag for it.
#[test]
fn podman_runs_in_a_container_of_a_user() {
    let command = "podman load -q -i /host/busybox.tar >/dev/null \
        && podman run --rm --cgroups=disabled --network none busybox echo alone \
        && podman run -d --cgroups=disabled --name kept --network none busybox sleep 1000 >/dev/null \
        && podman exec kept echo entered && podman rm -f -t 0 kept";
    let ran = nested_of_a_user("/var/lib/containers", command);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "alone\nentered\nkept"), "{}", ran.err);
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
