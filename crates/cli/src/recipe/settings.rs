//! What a container was asked for beyond its image.

use super::{Setting, limits, mounts};
use docker_api::json::Tree;
use docker_api::types::Map;
use docker_api::types::config::{ContainerConfig, HealthConfig};
use docker_api::types::containers::ContainerInspect;
use docker_api::types::host_config::HostConfig;
use docker_api::types::images::ImageConfig;

/// A container beside its image.
pub(super) struct Own<'c> {
    container: &'c ContainerInspect,
    image: ImageConfig,
}

/// What runs in place of what the image says.
pub(super) struct Process {
    /// `Some` replaces the image's; an empty one takes it away.
    pub(super) entrypoint: Option<Vec<String>>,
    /// `Some` replaces the image's.
    pub(super) command: Option<Vec<String>>,
}

impl<'c> Own<'c> {
    pub(super) fn new(container: &'c ContainerInspect, image: Option<&ImageConfig>) -> Self {
        Self { container, image: image.cloned().unwrap_or_default() }
    }

    pub(super) fn name(&self) -> &str {
        self.container.name.trim_start_matches('/')
    }

    pub(super) fn image(&self) -> &str {
        let typed = &self.container.config.image;
        if typed.is_empty() { &self.container.image } else { typed }
    }

    fn config(&self) -> &ContainerConfig {
        &self.container.config
    }

    fn host(&self) -> &HostConfig {
        &self.container.host_config
    }

    /// Whether nobody was attached to it from the start.
    pub(super) fn is_detached(&self) -> bool {
        let config = self.config();
        !(config.attach_stdin || config.attach_stdout || config.attach_stderr)
    }

    /// The command that an entrypoint of its own takes away must be given again.
    pub(super) fn process(&self) -> Process {
        let list = |list: &Option<docker_api::types::StrSlice>| {
            list.as_ref().map(|list| list.0.clone()).unwrap_or_default()
        };
        let (entrypoint, command) = (list(&self.config().entrypoint), list(&self.config().cmd));
        if entrypoint == list(&self.image.entrypoint) {
            let is_own = command != list(&self.image.cmd);
            return Process { entrypoint: None, command: is_own.then_some(command) };
        }
        Process { entrypoint: Some(entrypoint), command: Some(command) }
    }

    /// The named network that it is on, which a compose file has to name as well.
    pub(super) fn network(&self) -> Option<&str> {
        let mode = self.host().network_mode.as_str();
        let is_special = matches!(mode, "" | "default" | "bridge" | "host" | "none");
        (!is_special && !mode.starts_with("container:")).then_some(mode)
    }

    /// The named volumes that it uses.
    pub(super) fn volumes(&self) -> Vec<String> {
        mounts::named_volumes(self.host())
    }

    /// All settings, in the order of Docker's help as far as there is one.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let mut all = Vec::new();
        self.names(&mut all);
        self.variables(&mut all);
        self.streams(&mut all);
        self.networks(&mut all);
        mounts::add(self.config(), &self.image, self.host(), &mut all);
        limits::add(self.host(), &mut all);
        self.security(&mut all);
        self.life(&mut all);
        all
    }

    fn names(&self, all: &mut Vec<Setting>) {
        let (config, host) = (self.config(), self.host());
        let short = self.container.id.get(..12).unwrap_or_default();
        let shares = host.network_mode == "host" || host.network_mode.starts_with("container:");
        if !config.hostname.is_empty()
            && config.hostname != short
            && !shares
            && host.uts_mode != "host"
        {
            all.push(Setting::text("hostname", "hostname", &config.hostname));
        }
        given(all, "domainname", "domainname", &config.domainname);
        if config.user != self.image.user {
            all.push(Setting::text("user", "user", &config.user));
        }
        if config.working_dir != self.image.working_dir && !config.working_dir.is_empty() {
            all.push(Setting::text("workdir", "working_dir", &config.working_dir));
        }
        listed(all, "group-add", "group_add", host.group_add.as_ref());
    }

    fn variables(&self, all: &mut Vec<Setting>) {
        let config = self.config();
        let inherited = self.image.env.as_deref().unwrap_or_default();
        let own = config.env.iter().flatten().filter(|variable| !inherited.contains(variable));
        listed(all, "env", "environment", Some(&own.cloned().collect()));
        let empty = Map::new();
        let inherited = self.image.labels.as_ref().unwrap_or(&empty);
        let labels = config.labels.as_ref().unwrap_or(&empty);
        let own = labels.iter().filter(|(key, value)| inherited.get(*key) != Some(*value));
        mapped(all, "label", "labels", own);
        mapped(all, "annotation", "annotations", self.host().annotations.iter().flatten());
    }

    fn streams(&self, all: &mut Vec<Setting>) {
        let config = self.config();
        if config.open_stdin {
            all.push(Setting::on("interactive", "stdin_open"));
        }
        if config.tty {
            all.push(Setting::on("tty", "tty"));
        }
        let log = &self.host().log_config;
        if !matches!(log.driver.as_str(), "" | "json-file") {
            all.push(Setting::text("log-driver", "logging.driver", &log.driver));
        }
        mapped(all, "log-opt", "logging.options", log.config.iter().flatten());
    }

    fn networks(&self, all: &mut Vec<Setting>) {
        let (config, host) = (self.config(), self.host());
        match self.network() {
            Some(name) => {
                let words = vec!["--network".to_owned(), name.to_owned()];
                let networks = Tree::Array(vec![Tree::String(name.to_owned())]);
                all.push(Setting::new(words, "networks", networks));
            }
            None if !matches!(host.network_mode.as_str(), "" | "default" | "bridge") => {
                all.push(Setting::text("network", "network_mode", &host.network_mode));
            }
            None => {}
        }
        given(all, "isolation", "isolation", &self.host().isolation);
        given(all, "mac-address", "mac_address", &config.mac_address);
        listed(all, "publish", "ports", Some(&published(host)));
        if host.publish_all_ports {
            // A compose file has no word for all.
            all.push(Setting::new(vec!["--publish-all".to_owned()], "", Tree::Null));
        }
        let bindings = host.port_bindings.iter().flatten().map(|(port, _)| port);
        let known: Vec<&String> =
            self.image.exposed_ports.iter().flat_map(Map::keys).chain(bindings).collect();
        let ports = config.exposed_ports.iter().flat_map(Map::keys);
        let own = ports.filter(|port| !known.contains(port)).cloned().collect();
        listed(all, "expose", "expose", Some(&own));
        listed(all, "dns", "dns", host.dns.as_ref());
        listed(all, "dns-option", "dns_opt", host.dns_options.as_ref());
        listed(all, "dns-search", "dns_search", host.dns_search.as_ref());
        listed(all, "add-host", "extra_hosts", host.extra_hosts.as_ref());
        listed(all, "link", "external_links", Some(&links(host)));
    }

    fn security(&self, all: &mut Vec<Setting>) {
        let host = self.host();
        let capabilities = |list: &Option<docker_api::types::StrSlice>| {
            list.as_ref().map(|list| list.0.clone()).unwrap_or_default()
        };
        listed(all, "cap-add", "cap_add", Some(&capabilities(&host.cap_add)));
        listed(all, "cap-drop", "cap_drop", Some(&capabilities(&host.cap_drop)));
        if host.privileged {
            all.push(Setting::on("privileged", "privileged"));
        }
        // What comes with another flag is not said again.
        let implied = |option: &&String| host.privileged && *option == "label=disable";
        let mut options: Vec<String> =
            host.security_opt.iter().flatten().filter(|option| !implied(option)).cloned().collect();
        if host.masked_paths.as_ref().is_some_and(Vec::is_empty) && !host.privileged {
            options.push("systempaths=unconfined".to_owned());
        }
        listed(all, "security-opt", "security_opt", Some(&options));
        mapped(all, "sysctl", "sysctls", host.sysctls.iter().flatten());
        for (flag, key, mode, usual) in [
            ("cgroupns", "cgroup", &host.cgroupns_mode, "private"),
            ("ipc", "ipc", &host.ipc_mode, "private"),
            ("pid", "pid", &host.pid_mode, ""),
            ("userns", "userns_mode", &host.userns_mode, ""),
            ("uts", "uts", &host.uts_mode, ""),
        ] {
            if mode != usual {
                given(all, flag, key, mode);
            }
        }
        if host.readonly_rootfs {
            all.push(Setting::on("read-only", "read_only"));
        }
    }

    fn life(&self, all: &mut Vec<Setting>) {
        let (config, host) = (self.config(), self.host());
        match host.init {
            Some(true) => all.push(Setting::on("init", "init")),
            Some(false) => {
                all.push(Setting::new(vec!["--init=false".to_owned()], "init", Tree::Bool(false)));
            }
            None => {}
        }
        if host.auto_remove {
            // A service is removed by `compose down`.
            all.push(Setting::new(vec!["--rm".to_owned()], "", Tree::Null));
        }
        let policy = &host.restart_policy;
        match (policy.name.as_str(), policy.maximum_retry_count) {
            ("" | "no", _) => {}
            ("on-failure", most) if most > 0 => {
                all.push(Setting::text("restart", "restart", format!("on-failure:{most}")));
            }
            (name, _) => all.push(Setting::text("restart", "restart", name)),
        }
        if !matches!(host.runtime.as_str(), "" | "runc") {
            all.push(Setting::text("runtime", "runtime", &host.runtime));
        }
        if config.stop_signal != self.image.stop_signal {
            given(all, "stop-signal", "stop_signal", &config.stop_signal);
        }
        if let Some(seconds) = config.stop_timeout {
            let words = vec!["--stop-timeout".to_owned(), seconds.to_string()];
            let value = Tree::String(format!("{seconds}s"));
            all.push(Setting::new(words, "stop_grace_period", value));
        }
        let extension = self.container.dhow.as_ref();
        given(all, "health-on-failure", "", extension.map_or("", |dhow| &dhow.on_unhealthy));
        given(all, "systemd", "", extension.map_or("", |dhow| &dhow.systemd));
        if let Some(check) = &config.healthcheck
            && config.healthcheck != self.image.healthcheck
        {
            health(all, check);
        }
    }
}

fn health(all: &mut Vec<Setting>, check: &HealthConfig) {
    let test = check.test.as_deref().unwrap_or_default();
    let words = |command: String| vec!["--health-cmd".to_owned(), command];
    let parts = Tree::Array(test.iter().cloned().map(Tree::String).collect());
    match test.split_first() {
        Some((kind, _)) if kind == "NONE" => {
            let words = vec!["--no-healthcheck".to_owned()];
            return all.push(Setting::new(words, "healthcheck.disable", Tree::Bool(true)));
        }
        // The flag knows commands of a shell alone.
        Some((kind, command)) if kind == "CMD" => {
            let quoted: Vec<String> =
                command.iter().map(|word| super::words::quoted(word)).collect();
            all.push(Setting::new(words(quoted.join(" ")), "healthcheck.test", parts));
        }
        Some((_, command)) => {
            all.push(Setting::new(words(command.join(" ")), "healthcheck.test", parts));
        }
        None => {}
    }
    for (flag, key, nanos) in [
        ("health-interval", "healthcheck.interval", check.interval),
        ("health-timeout", "healthcheck.timeout", check.timeout),
        ("health-start-period", "healthcheck.start_period", check.start_period),
        ("health-start-interval", "healthcheck.start_interval", check.start_interval),
    ] {
        if nanos != 0 {
            all.push(Setting::text(flag, key, duration(nanos)));
        }
    }
    if check.retries != 0 {
        all.push(Setting::number("health-retries", "healthcheck.retries", check.retries));
    }
}

/// In the largest unit that holds it exactly.
fn duration(nanos: i64) -> String {
    let units = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let fits = units.iter().find(|(_, scale)| nanos % scale == 0);
    fits.map_or_else(|| format!("{nanos}ns"), |(unit, scale)| format!("{}{unit}", nanos / scale))
}

/// `127.0.0.1:8080:80/tcp`
fn published(host: &HostConfig) -> Vec<String> {
    let bindings = host.port_bindings.iter().flatten();
    let one = |port: &String, ip: &str, outside: &str| {
        let ip = match ip {
            "" => String::new(),
            ip if ip.contains(':') => format!("[{ip}]:"),
            ip => format!("{ip}:"),
        };
        match outside {
            "" if ip.is_empty() => port.clone(),
            outside => format!("{ip}{outside}:{port}"),
        }
    };
    let all = bindings.flat_map(|(port, bindings)| {
        bindings
            .iter()
            .flatten()
            .map(move |binding| one(port, &binding.host_ip, &binding.host_port))
    });
    all.collect()
}

/// `/other:/this/alias` as `other:alias`.
fn links(host: &HostConfig) -> Vec<String> {
    let link = |text: &String| match text.split_once(':') {
        Some((other, alias)) => {
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            format!("{}:{alias}", other.trim_start_matches('/'))
        }
        None => text.clone(),
    };
    host.links.iter().flatten().map(link).collect()
}

/// A text that was given.
pub(super) fn given(all: &mut Vec<Setting>, flag: &str, key: &'static str, text: &str) {
    if !text.is_empty() {
        all.push(Setting::text(flag, key, text));
    }
}

/// A list that something is in.
pub(super) fn listed(
    all: &mut Vec<Setting>,
    flag: &str,
    key: &'static str,
    list: Option<&Vec<String>>,
) {
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        all.push(Setting::list(flag, key, list.iter().cloned()));
    }
}

/// A map that something is in.
pub(super) fn mapped<'p>(
    all: &mut Vec<Setting>,
    flag: &str,
    key: &'static str,
    pairs: impl Iterator<Item = (&'p String, &'p String)>,
) {
    let setting = Setting::map(flag, key, pairs);
    if !setting.words.is_empty() {
        all.push(setting);
    }
}
