//! `info`: what a server is and runs on, as lines.

use crate::human;
use docker_api::types::system::SystemInfo;
use std::fmt::Display;

/// Lines of `Name: value`, indented by their depth.
struct Lines(String);

impl Lines {
    fn add(&mut self, depth: usize, name: &str, value: impl Display) {
        let text = value.to_string();
        let indent = " ".repeat(depth);
        let gap = if text.is_empty() { "" } else { " " };
        self.0.push_str(&format!("{indent}{name}:{gap}{text}\n"));
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.0.push_str(&format!("{}{text}\n", " ".repeat(depth)));
    }

    fn given(&mut self, depth: usize, name: &str, text: &str) {
        if !text.is_empty() {
            self.add(depth, name, text);
        }
    }
}

/// All of it.
pub(crate) fn plain(info: &SystemInfo, context: &str) -> String {
    let mut lines = Lines(String::new());
    lines.add(0, "Client", "");
    lines.add(1, "Version", env!("CARGO_PKG_VERSION"));
    lines.add(1, "Context", context);
    lines.0.push('\n');
    lines.add(0, "Server", "");
    lines.add(1, "Containers", info.containers);
    lines.add(2, "Running", info.containers_running);
    lines.add(2, "Paused", info.containers_paused);
    lines.add(2, "Stopped", info.containers_stopped);
    lines.add(1, "Images", info.images);
    lines.given(1, "Server Version", &info.server_version);
    lines.add(1, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        lines.add(2, name, value);
    }
    engine(&mut lines, info);
    host(&mut lines, info);
    lines.0
}

fn engine(lines: &mut Lines, info: &SystemInfo) {
    lines.given(1, "Logging Driver", &info.logging_driver);
    lines.given(1, "Cgroup Driver", &info.cgroup_driver);
    lines.given(1, "Cgroup Version", &info.cgroup_version);
    lines.add(1, "Plugins", "");
    lines.add(2, "Volume", info.plugins.volume.join(" "));
    lines.add(2, "Network", info.plugins.network.join(" "));
    lines.add(2, "Log", info.plugins.log.join(" "));
    if !info.cdi_spec_dirs.is_empty() {
        lines.add(1, "CDI spec directories", "");
        info.cdi_spec_dirs.iter().for_each(|dir| lines.line(2, dir));
    }
    if !info.discovered_devices.is_empty() {
        lines.add(1, "Discovered Devices", "");
        info.discovered_devices.iter().for_each(|device| lines.add(2, &device.source, &device.id));
    }
    lines.given(1, "Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    lines.given(1, "Runtimes", &runtimes.join(" "));
    lines.given(1, "Default Runtime", &info.default_runtime);
    lines.given(1, "Init Binary", &info.init_binary);
    if info.security_options.is_empty() {
        return;
    }
    lines.add(1, "Security Options", "");
    for option in &info.security_options {
        security(lines, option);
    }
}

/// `name=seccomp,profile=builtin` in two lines.
fn security(lines: &mut Lines, option: &str) {
    for part in option.split(',') {
        match part.split_once('=') {
            Some(("name", name)) => lines.0.push_str(&format!("  {name}\n")),
            Some(("profile", profile)) => lines.add(3, "Profile", profile),
            Some((key, value)) => lines.add(3, key, value),
            None => lines.0.push_str(&format!("  {part}\n")),
        }
    }
}

fn host(lines: &mut Lines, info: &SystemInfo) {
    lines.given(1, "Kernel Version", &info.kernel_version);
    lines.given(1, "Operating System", &info.operating_system);
    lines.given(1, "OSType", &info.os_type);
    lines.given(1, "Architecture", &info.architecture);
    lines.add(1, "CPUs", info.ncpu);
    lines.add(1, "Total Memory", human::binary_size(human::float(info.mem_total)));
    lines.given(1, "Name", &info.name);
    lines.given(1, "ID", &info.id);
    lines.given(1, "Docker Root Dir", &info.docker_root_dir);
    lines.add(1, "Debug Mode", info.debug);
    lines.given(1, "HTTP Proxy", &info.http_proxy);
    lines.given(1, "HTTPS Proxy", &info.https_proxy);
    lines.given(1, "No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        lines.add(1, "Labels", "");
        for label in &info.labels {
            lines.0.push_str(&format!("  {label}\n"));
        }
    }
    lines.add(1, "Experimental", info.experimental_build);
    let insecure = &info.registry_config.insecure_registry_cidrs;
    if !insecure.is_empty() {
        lines.add(1, "Insecure Registries", "");
        for registry in insecure {
            lines.0.push_str(&format!("  {registry}\n"));
        }
    }
    lines.add(1, "Live Restore Enabled", info.live_restore_enabled);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_whole() {
        let text = r#"{"Containers":3,"ContainersRunning":1,"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]],"Plugins":{"Volume":["local"],"Network":["bridge","host"]},"CgroupVersion":"2","Runtimes":{"runc":{"path":"runc"}},"SecurityOptions":["name=seccomp,profile=builtin","name=cgroupns"],"MemTotal":8250392576,"NCPU":2,"Labels":["a=b"],"RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"]}}"#;
        let info = docker_api::json::parse_reply(text.as_bytes()).unwrap();
        expect![[r#"
            Client:
             Version: 0.1.0
             Context: default

            Server:
             Containers: 3
              Running: 1
              Paused: 0
              Stopped: 0
             Images: 0
             Storage Driver: overlay2
              Backing Filesystem: extfs
             Cgroup Version: 2
             Plugins:
              Volume: local
              Network: bridge host
              Log:
             Runtimes: runc
             Security Options:
              seccomp
               Profile: builtin
              cgroupns
             CPUs: 2
             Total Memory: 7.684GiB
             Debug Mode: false
             Labels:
              a=b
             Experimental: false
             Insecure Registries:
              127.0.0.0/8
             Live Restore Enabled: false
        "#]]
        .assert_eq(&plain(&info, "default"));
    }
}
