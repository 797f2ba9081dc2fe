//! Docker: `dockerd --add-runtime`.

use super::containerd::Containerd;
use super::{Daemon, Engine, MEMORY, STOPPABLE, Yard};

/// A Docker daemon of the test's own, on a containerd and a bridge of its own.
struct Docker {
    daemon: Option<Daemon>,
    containerd: Containerd,
    bridge: String,
}

impl Docker {
    fn start() -> Self {
        let containerd = Containerd::start();
        let yard = &containerd.yard;
        // Links have short names; addresses for tests of devices (RFC 2544) are in nobody's network.
        let number = std::process::id();
        let bridge = format!("dhowt{number}");
        let address = format!("198.{}.{}.1/24", 18 + (number >> 8) % 2, number % 256);
        ip(yard, &["link", "add", &bridge, "type", "bridge"]);
        ip(yard, &["addr", "add", &address, "dev", &bridge]);
        ip(yard, &["link", "set", &bridge, "up"]);
        let text = |name: &str| yard.text(name);
        let (socket, runtime) =
            (format!("unix://{}", text("docker.sock")), format!("dhow={}", text("runc")));
        let daemon = yard.daemon(&[
            "dockerd",
            "--host",
            &socket,
            "--containerd",
            &text("containerd.sock"),
            "--data-root",
            &text("docker-root"),
            "--exec-root",
            &text("docker-run"),
            "--pidfile",
            &text("docker.pid"),
            "--bridge",
            &bridge,
            "--iptables=false",
            "--ip6tables=false",
            "--ip-masq=false",
            "--ip-forward=false",
            "--cgroup-parent",
            &format!("/{}", yard.tag()),
            "--add-runtime",
            &runtime,
            "--default-runtime",
            "dhow",
        ]);
        yard.until_ok(&["docker", "-H", &socket, "version"]);
        let docker = Self { daemon: Some(daemon), containerd, bridge };
        docker.ok(&["load", "-q", "-i", &docker.yard().text("busybox.tar")]);
        docker
    }

    fn inspect(&self, what: &str, name: &str) -> String {
        self.ok(&["inspect", "-f", &format!("{{{{.State.{what}}}}}"), name])
    }
}

impl Engine for Docker {
    fn yard(&self) -> &Yard {
        &self.containerd.yard
    }

    fn prefix(&self) -> Vec<String> {
        let socket = format!("unix://{}", self.yard().text("docker.sock"));
        ["docker", "-H", &socket].map(str::to_owned).to_vec()
    }
}

impl Drop for Docker {
    /// The daemon ends its containers itself when it is asked to.
    fn drop(&mut self) {
        drop(self.daemon.take());
        ip(self.yard(), &["link", "delete", &self.bridge]);
    }
}

fn ip(yard: &Yard, words: &[&str]) {
    let status = yard.command(&[&["ip"], words].concat()).status().unwrap();
    assert!(status.success() || std::thread::panicking(), "ip {words:?}");
}

#[test]
fn docker_runs_containers() {
    let docker = Docker::start();
    output_and_codes(&docker);
    life(&docker);
    isolation(&docker);
    docker.has_terminals(&["run", "--rm", "-it", "busybox"]);
    checks_and_restarts(&docker);
    let state = docker.yard().path("docker-run/runtime-runc/moby");
    docker.yard().nothing_is_left(&state);
}

fn output_and_codes(docker: &Docker) {
    let script = "echo out; echo err >&2; ip -o addr show eth0 | grep -c 198.1; exit 3";
    let ran = docker.ends(3, &["run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n1", "err"));
    let fed = super::feed(&mut docker.command(&["run", "--rm", "-i", "busybox", "cat"]), "fed");
    assert_eq!(fed.out, "fed");
    let told = docker.ends(127, &["run", "--rm", "busybox", "nosuch"]).err;
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    docker.ends(126, &["run", "--rm", "busybox", "/etc"]);
    let hog = [
        "run",
        "--name",
        "hog",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "tail",
        "/dev/zero",
    ];
    docker.ends(137, &hog);
    assert_eq!(docker.inspect("OOMKilled", "hog"), "true");
    docker.ok(&["rm", "hog"]);
}

fn life(docker: &Docker) {
    let run = [
        "run",
        "-d",
        "--name",
        "life",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "50",
        "busybox",
    ];
    docker.ok(&[&run[..], &["sh", "-c", STOPPABLE]].concat());
    assert_eq!(docker.first_line(&["logs", "-f", "life"]), "up");
    executions(docker);
    assert!(docker.ok(&["top", "life"]).contains("echo up"));
    let stats = docker.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "life"]);
    assert!(stats.ends_with("/ 64MiB"), "{stats}");
    docker.ok(&["pause", "life"]);
    assert_eq!(docker.inspect("Status", "life"), "paused");
    docker.ok(&["unpause", "life"]);
    docker.ok(&["update", "-m", "32m", "--memory-swap", "64m", "life"]);
    assert_eq!(docker.ok(&["exec", "life", "sh", "-c", &format!("{MEMORY}; true")]), "33554432");
    docker.ok(&["restart", "life"]);
    docker.until(&["logs", "life"], |ran| ran.out == "up\nbye\nup");
    docker.ok(&["stop", "life"]);
    assert_eq!(docker.inspect("ExitCode", "life"), "9");
    docker.ok(&["start", "life"]);
    docker.ok(&["kill", "life"]);
    assert_eq!(docker.ok(&["wait", "life"]), "137");
    docker.ok(&["rm", "life"]);
}

fn executions(docker: &Docker) {
    let ran = docker.ends(5, &["exec", "life", "sh", "-c", "cat /proc/1/comm; exit 5"]);
    assert_eq!(ran.out, "sh");
    let who = ["exec", "-u", "1000:1001", "-w", "/tmp", "-e", "A=b", "life", "sh", "-c"];
    let who = docker.ok(&[&who[..], &["echo $(id -u):$(id -g) $PWD $A"]].concat());
    assert_eq!(who, "1000:1001 /tmp b");
    // As with runc, whatever the reason.
    let told = docker.ends(126, &["exec", "life", "nosuch"]);
    assert!(format!("{}{}", told.out, told.err).contains("executable file not found in $PATH"));
    docker.has_terminals(&["exec", "-it", "life"]);
    docker.ok(&["exec", "-d", "life", "sh", "-c", "echo done >/there"]);
    docker.until(&["exec", "life", "cat", "/there"], |ran| ran.out == "done");
}

fn isolation(docker: &Docker) {
    let run = |words: &[&str]| docker.ok(&[&["run", "--rm"], words].concat());
    let flags = "--init --read-only --tmpfs /x --cap-drop ALL --security-opt no-new-privileges --user 5 \
         --ulimit nofile=100 --sysctl net.ipv4.ip_forward=1 --shm-size 1m --device /dev/null:/dev/other \
         -v /etc:/host:ro busybox sh -c";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let script = "id -u; ulimit -n; cat /proc/sys/net/ipv4/ip_forward; echo text >/dev/other; grep CapBnd /proc/self/status; \
         touch /x/new; for place in /bin/new /host/new; do touch $place 2>/dev/null || echo no; done";
    assert_eq!(
        run(&[&flags[..], &[script]].concat()),
        "5\n100\n1\nCapBnd:\t0000000000000000\nno\nno"
    );
    // All devices of the host, and one that is the container's own.
    let script = "test -c /dev/ptmx && readlink /dev/ptmx; test -w /proc/sys/kernel/pid_max && echo writable";
    assert_eq!(run(&["--privileged", "busybox", "sh", "-c", script]), "pts/ptmx\nwritable");
    let shared = ["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host"];
    let names = "for kind in pid ipc uts net; do readlink /proc/self/ns/$kind; done";
    let ours = ["pid", "ipc", "uts", "net"].map(|kind| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        link.to_str().unwrap().to_owned()
    });
    assert_eq!(run(&[&shared[..], &["busybox", "sh", "-c", names]].concat()), ours.join("\n"));
    docker.ok(&["run", "-d", "--name", "host", "--ipc", "shareable", "busybox", "sleep", "1000"]);
    let joined =
        ["--pid", "container:host", "--network", "container:host", "--ipc", "container:host"];
    let both = run(&[&joined[..], &["busybox", "sh", "-c", "cat /proc/1/comm; hostname"]].concat());
    assert_eq!(both, format!("sleep\n{}", docker.ok(&["exec", "host", "hostname"])));
    docker.ok(&["rm", "-f", "host"]);
}

fn checks_and_restarts(docker: &Docker) {
    let check =
        ["--health-cmd", "test -e /healthy", "--health-interval", "100ms", "--health-retries", "1"];
    let run =
        [&["run", "-d", "--name", "checked"], &check[..], &["busybox", "sleep", "1000"]].concat();
    docker.ok(&run);
    let status = ["inspect", "-f", "{{.State.Health.Status}}", "checked"];
    docker.until(&status, |ran| ran.out == "unhealthy");
    docker.ok(&["exec", "checked", "touch", "/healthy"]);
    docker.until(&status, |ran| ran.out == "healthy");
    docker.ok(&["rm", "-f", "checked"]);
    docker.ok(&["run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "false"]);
    let restarts = ["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again"];
    docker.until(&restarts, |ran| ran.out == "2 exited");
    docker.ok(&["rm", "again"]);
}
