//! `Config` of an inspection: what runs.

use docker_api::types::Empty;
use docker_api::types::config::{ContainerConfig, HealthConfig};
use engine::view::ContainerView;
use model::Signal;
use model::container::{HealthSpec, Source, Stdin, StopTimeout, Terminal};

use super::{mounts, or_null, path};

/// Raises the configuration, the image's merged in.
pub(super) fn config(view: &ContainerView) -> ContainerConfig {
    let (spec, resolved) = (&view.spec, &view.resolved);
    let process = &spec.process;
    let exposed = resolved.exposed.iter().map(|port| (port.to_string(), Empty {})).collect();
    let volumes = resolved.mounts.iter().filter(|mount| mounts::is_bare_volume(mount, &spec.files));
    ContainerConfig {
        hostname: resolved.hostname.clone(),
        domainname: spec.network.domainname.clone().unwrap_or_default(),
        user: resolved.user.clone(),
        attach_stdin: process.attached.stdin,
        attach_stdout: process.attached.stdout,
        attach_stderr: process.attached.stderr,
        exposed_ports: or_null(exposed),
        tty: matches!(process.terminal, Terminal::Pty { .. }),
        open_stdin: process.stdin != Stdin::Null,
        stdin_once: process.stdin == Stdin::OpenOnce,
        env: (!resolved.env.is_empty()).then(|| resolved.env.clone()),
        cmd: resolved.command.clone().map(Into::into),
        image: source(&spec.source),
        volumes: or_null(volumes.map(|mount| (path(&mount.target), Empty {})).collect()),
        working_dir: working_dir(view),
        entrypoint: resolved.entrypoint.clone().map(Into::into),
        on_build: None,
        labels: Some(resolved.labels.clone()),
        stop_signal: stop_signal(view),
        stop_timeout: process.stop_timeout.map(stop_timeout),
        healthcheck: health(view),
        ..ContainerConfig::default()
    }
}

/// The user's or the image's, or what systemd is stopped with.
fn stop_signal(view: &ContainerView) -> String {
    let resolved = &view.resolved;
    let is_shown = resolved.stop_signal_named || resolved.stop_signal != Signal::TERM;
    if is_shown { resolved.stop_signal.to_string() } else { String::new() }
}

/// The user's over the image's.
fn health(view: &ContainerView) -> Option<HealthConfig> {
    if view.spec.process.health == HealthSpec::Nothing {
        let none = Some(vec!["NONE".to_owned()]);
        return Some(HealthConfig { test: none, ..HealthConfig::default() });
    }
    let check = &view.resolved.health.as_ref()?.check;
    let nanos = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Some(HealthConfig {
        test: (!check.test.is_empty()).then(|| check.test.clone()),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: i64::from(check.retries),
    })
}

/// Docker prints nothing where neither the user nor the image said anything.
fn working_dir(view: &ContainerView) -> String {
    let dir = path(&view.resolved.working_dir);
    if dir == "/" && view.spec.process.working_dir.is_none() { String::new() } else { dir }
}

fn source(source: &Source) -> String {
    match source {
        Source::Image(typed) => typed.clone(),
        Source::Directory(_) | Source::DirectoryOverlay(_) => String::new(),
    }
}

fn stop_timeout(timeout: StopTimeout) -> i64 {
    match timeout {
        StopTimeout::Seconds(seconds) => i64::from(seconds),
        StopTimeout::Forever => -1,
    }
}
