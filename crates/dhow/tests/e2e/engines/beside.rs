//! Containers of dhow's beside a running Docker, which has the host drop what it does not know.

use testkit::until;

use super::containerd::Containerd;
use super::{Daemon, Yard};
use crate::beside::{Beside, admin};
use crate::firewall::{HOST, with_neighbour};

/// Docker as its package runs it: with its own bridge, and rules of iptables.
struct Docker {
    daemon: Option<Daemon>,
    containerd: Containerd,
}

impl Docker {
    fn start() -> Self {
        let mut docker = Self { daemon: None, containerd: Containerd::start() };
        docker.again();
        docker.ok(&["load", "-q", "-i", &docker.yard().text("busybox.tar")]);
        docker
    }

    /// Starts the daemon, after it has ended if there is one.
    fn again(&mut self) {
        drop(self.daemon.take());
        let yard = self.yard();
        let runtime = format!("dhow={}", yard.text("runc"));
        let daemon = yard.daemon(&[
            "dockerd",
            "--host",
            &self.socket(),
            "--containerd",
            &yard.text("containerd.sock"),
            "--data-root",
            &yard.text("docker-root"),
            "--exec-root",
            &yard.text("docker-run"),
            "--pidfile",
            &yard.text("docker.pid"),
            "--cgroup-parent",
            &format!("/{}", yard.tag()),
            "--add-runtime",
            &runtime,
            "--default-runtime",
            "dhow",
            "--live-restore",
        ]);
        self.daemon = Some(daemon);
        self.yard().until_ok(&["docker", "-H", &self.socket(), "version"]);
    }

    fn yard(&self) -> &Yard {
        &self.containerd.yard
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.yard().text("docker.sock"))
    }

    fn ok(&self, words: &[&str]) -> String {
        admin(&[&["docker", "-H", &self.socket()], words].concat()).trim().to_owned()
    }

    /// A container that serves a page at its port 80; its address.
    fn serve(&self, name: &str, more: &[&str]) -> String {
        let script = "mkdir -p /var/www; echo docker >/var/www/f; exec httpd -f -p 80 -h /var/www";
        let run = [&["run", "-d", "--name", name], more, &["busybox", "sh", "-c", script]].concat();
        self.ok(&run);
        self.ok(&[
            "inspect",
            "-f",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
            name,
        ])
    }
}

#[test]
fn a_running_docker_keeps_no_container_from_its_network() {
    with_neighbour(|host, outside| {
        // Whoever finds it off has the host drop what it does not know.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let mut docker = Docker::start();
        let policy = admin(&["iptables", "-S", "FORWARD"]);
        assert!(policy.starts_with("-P FORWARD DROP"), "{policy}");
        let beside = Beside::start(host, outside);
        beside.works();
        // Docker's own containers stay closed but for what they publish, also on networks made later.
        docker.serve("open", &["-p", "9090:80"]);
        docker.ok(&["network", "create", "later"]);
        let later = docker.serve("later", &["--network", "later"]);
        let published = format!("http://{HOST}:9090/f");
        until("the port of Docker's", || beside.fetch(&published) == "docker");
        let url = format!("http://{later}/f");
        assert_eq!(beside.fetch(&url), "", "{}", admin(&["iptables", "-S"]));
        let denies = ["DOCKER-USER", "-i", "eth0", "-p", "tcp", "--dport", "80", "-j", "DROP"];
        admin(&[&["iptables", "-I"], &denies[..]].concat());
        beside.is_forbidden();
        admin(&[&["iptables", "-D"], &denies[..]].concat());
        docker.again();
        beside.works();
        until("its containers have outlived it", || beside.fetch(&published) == "docker");
        assert_eq!(beside.fetch(&url), "", "{}", admin(&["iptables", "-S"]));
        // It is Docker's own rule that keeps them closed.
        admin(&["iptables", "-F", "DOCKER-ISOLATION-STAGE-2"]);
        until("the fence is gone", || beside.fetch(&url) == "docker");
        docker.ok(&["rm", "-f", "open", "later"]);
        docker.ok(&["network", "rm", "later"]);
        beside.leaves_nothing();
        drop(docker);
    });
}
