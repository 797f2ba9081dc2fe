//! containerd by its `ctr run --runc-binary`.

use super::{Daemon, Engine, STOPPABLE, Yard};

const IMAGE: &str = "docker.io/library/busybox:latest";

/// A containerd of the test's own.
pub(super) struct Containerd {
    daemon: Option<Daemon>,
    pub(super) yard: Yard,
}

impl Containerd {
    pub(super) fn start() -> Self {
        let yard = Yard::new();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n[plugins]\n",
            yard.text("containerd-root"),
            yard.text("containerd-state"),
            yard.text("containerd.sock"),
        );
        // Kubernetes' half would look for a network.
        let config = format!("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n{config}");
        std::fs::write(yard.path("containerd.toml"), config).unwrap();
        let daemon = yard.daemon(&["containerd", "--config", &yard.text("containerd.toml")]);
        yard.until_ok(&["ctr", "-a", &yard.text("containerd.sock"), "version"]);
        Self { daemon: Some(daemon), yard }
    }

    /// Where the shim of containerd keeps the state of runc.
    fn state(&self) -> std::path::PathBuf {
        std::path::Path::new("/run/containerd/runc").join(self.yard.tag())
    }

    /// `ctr run` with this runtime.
    fn run_flags(&self) -> [String; 4] {
        let group = format!("/{}/group", self.yard.tag());
        ["--runc-binary".to_owned(), self.yard.text("runc"), "--cgroup".to_owned(), group]
    }
}

impl Engine for Containerd {
    fn yard(&self) -> &Yard {
        &self.yard
    }

    fn prefix(&self) -> Vec<String> {
        let address = self.yard.text("containerd.sock");
        ["ctr", "-a", &address, "-n", &self.yard.tag()].map(str::to_owned).to_vec()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.daemon.take());
        let _ = std::fs::remove_dir(self.state());
    }
}

/// `ctr run` with flags, the image, an id and a command.
fn run<'a>(flags: &'a [String; 4], more: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    let flags = flags.iter().map(String::as_str);
    let more = more.iter().copied();
    ["run"]
        .into_iter()
        .chain(flags)
        .chain(more)
        .chain([IMAGE])
        .chain(rest.iter().copied())
        .collect()
}

#[test]
fn containerd_runs_containers() {
    let ctr = Containerd::start();
    ctr.ok(&["images", "import", &ctr.yard.text("busybox.tar")]);
    let flags = ctr.run_flags();
    let ran = ctr
        .ends(3, &run(&flags, &["--rm"], &["one", "sh", "-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out", "err"));
    let told = ctr.ends(1, &run(&flags, &["--rm"], &["two", "nosuch"])).err;
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    ctr.has_terminals(&run(&flags, &["--rm", "-t"], &["three"]));
    ctr.ok(&run(&flags, &["-d", "--memory-limit", "67108864"], &["four", "sh", "-c", STOPPABLE]));
    let status = || ctr.ok(&["task", "ls"]).lines().last().unwrap().to_owned();
    assert!(status().ends_with("RUNNING"), "{}", status());
    let exec = ["task", "exec", "--exec-id", "e", "four", "sh", "-c", "cat /proc/1/comm; exit 5"];
    assert_eq!(ctr.ends(5, &exec).out, "sh");
    let metrics = ctr.ok(&["task", "metrics", "four"]);
    assert!(metrics.contains("67108864"), "{metrics}");
    assert!(ctr.ok(&["task", "ps", "four"]).lines().count() >= 2);
    ctr.ok(&["task", "pause", "four"]);
    assert!(status().ends_with("PAUSED"), "{}", status());
    ctr.ok(&["task", "resume", "four"]);
    assert!(status().ends_with("RUNNING"), "{}", status());
    ctr.ok(&["task", "kill", "-s", "TERM", "four"]);
    ctr.until(&["task", "ls"], |ran| ran.out.ends_with("STOPPED"));
    let told = ctr.run(&["task", "rm", "four"]).err;
    assert!(told.contains("exit code 9"), "{told}");
    ctr.ok(&["container", "rm", "four"]);
    ctr.yard.nothing_is_left(&ctr.state());
}
