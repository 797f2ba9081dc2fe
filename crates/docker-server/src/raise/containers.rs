//! Containers: the whole of one, and a line of a list.

use docker_api::types::DriverData;
use docker_api::types::containers::{
    ContainerInspect, ContainerState, ContainerSummary, Extension, Health as WireHealth,
    HealthcheckResult, SummaryHostConfig, SummaryNetworkSettings,
};
use engine::view::{ContainerView, RemovalProgress, SizeView, UnreadView};
use jiff::Timestamp;
use model::Life;
use model::health::{CheckResult, Health};

use super::networks::PortList;
use super::{
    DRIVER, NO_TIME, config, host_config, mounts, networks, or_null, path, signed, status, time,
};

/// `GET /containers/{id}/json`.
pub(crate) fn inspect(view: &ContainerView, size: Option<SizeView>) -> ContainerInspect {
    let (program, args) = view.resolved.argv.split_first().map_or(("", &[][..]), |(p, a)| (p, a));
    ContainerInspect {
        id: view.id.to_string(),
        created: time(view.created),
        path: program.to_owned(),
        args: args.to_vec(),
        state: state(view),
        image: view.image.map(|id| id.to_string()).unwrap_or_default(),
        resolv_conf_path: path(&view.files.resolv_conf),
        hostname_path: path(&view.files.hostname),
        hosts_path: path(&view.files.hosts),
        log_path: path(&view.files.log),
        name: format!("/{}", view.name),
        restart_count: i64::from(view.restarts),
        driver: DRIVER.to_owned(),
        platform: "linux".to_owned(),
        exec_ids: or_null(view.execs.iter().map(ToString::to_string).collect()),
        host_config: host_config::host_config(view),
        graph_driver: Some(DriverData { data: None, name: DRIVER.to_owned() }),
        size_rw: size.map(written),
        size_root_fs: size.map(|size| signed(size.total)),
        mounts: mounts::points(&view.mounts, &view.spec.files),
        config: config::config(view),
        network_settings: networks::settings(view),
        mount_label: view.labels.as_ref().map(|it| it.mount.to_string()).unwrap_or_default(),
        process_label: view
            .labels
            .as_ref()
            .and_then(|it| it.process.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        app_armor_profile: view.profile.clone().unwrap_or_default(),
        dhow: extension(view),
        ..ContainerInspect::default()
    }
}

/// -1, as in Docker, for what cannot be counted.
fn written(size: SizeView) -> i64 {
    size.written.map_or(-1, signed)
}

fn state(view: &ContainerView) -> ContainerState {
    let base = ContainerState {
        status: status::word(view).to_owned(),
        health: view.health.as_ref().map(health),
        error: view.again_failed.as_ref().map_or_else(String::new, |why| why.message.clone()),
        dead: view.removal == RemovalProgress::Dead,
        started_at: NO_TIME.to_owned(),
        finished_at: NO_TIME.to_owned(),
        ..ContainerState::default()
    };
    match &view.life {
        Life::Created { failed: None } => base,
        Life::Created { failed: Some(failure) } => ContainerState {
            exit_code: i64::from(failure.code.0),
            error: failure.message.clone(),
            ..base
        },
        // Docker counts a paused container as running.
        Life::Running { pid, since } | Life::Paused { pid, since } => ContainerState {
            running: true,
            paused: matches!(view.life, Life::Paused { .. }),
            pid: i64::from(*pid),
            started_at: time(*since),
            ..base
        },
        // And one that has ended and is started again soon.
        Life::Exited { code, since, at, oom } | Life::Restarting { code, since, at, oom } => {
            let restarting = matches!(view.life, Life::Restarting { .. });
            ContainerState {
                running: restarting,
                restarting,
                exit_code: i64::from(code.0),
                oom_killed: *oom,
                started_at: time(*since),
                finished_at: time(*at),
                ..base
            }
        }
    }
}

fn health(health: &Health) -> WireHealth {
    let result = |result: &CheckResult| HealthcheckResult {
        start: time(result.begin),
        end: time(result.end),
        exit_code: i64::from(result.code),
        output: result.output.clone(),
    };
    WireHealth {
        status: health.status.word().to_owned(),
        failing_streak: i64::from(health.streak),
        log: Some(health.log.iter().map(result).collect()),
    }
}

/// What Docker's API has no field for.
fn extension(view: &ContainerView) -> Option<Extension> {
    let on_unhealthy = view.spec.process.on_unhealthy;
    (!on_unhealthy.is_nothing())
        .then(|| Extension { on_unhealthy: on_unhealthy.word().to_owned(), ..Extension::default() })
}

/// A line of `GET /containers/json`.
pub(crate) fn summary(
    view: &ContainerView,
    size: Option<SizeView>,
    now: Timestamp,
    ports: PortList,
) -> ContainerSummary {
    ContainerSummary {
        id: view.id.to_string(),
        names: vec![format!("/{}", view.name)],
        image: view.image_name.clone(),
        image_id: view.image.map(|id| id.to_string()).unwrap_or_default(),
        command: command(&view.resolved.argv),
        created: view.created.as_second(),
        ports: networks::port_list(view, ports),
        size_rw: size.map(written),
        size_root_fs: size.map(|size| signed(size.total)),
        labels: view.resolved.labels.clone(),
        state: status::word(view).to_owned(),
        status: status::text(view, now),
        host_config: SummaryHostConfig {
            network_mode: host_config::network_mode(&view.spec.network.mode),
            annotations: or_null(view.spec.annotations.clone()),
        },
        network_settings: SummaryNetworkSettings {
            networks: Some(networks::boxed_endpoints(view)),
        },
        mounts: mounts::points(&view.mounts, &view.spec.files),
        image_manifest_descriptor: None,
    }
}

/// A line of `GET /containers/json` for one that cannot be read.
pub(crate) fn unread(view: &UnreadView, now: Timestamp, ports: PortList) -> ContainerSummary {
    let (state, status) = (status::unread_word(view).to_owned(), status::unread_text(view, now));
    if let Some(at_rest) = &view.at_rest {
        return ContainerSummary { state, status, ..summary(at_rest, None, now, ports) };
    }
    ContainerSummary {
        id: view.id.to_string(),
        names: vec![format!("/{}", view.name)],
        image: view.image.map(|id| id.short()).unwrap_or_default(),
        image_id: view.image.map(|id| id.to_string()).unwrap_or_default(),
        created: view.created.as_second(),
        state,
        status,
        ..ContainerSummary::default()
    }
}

/// One line for people: arguments with a space in them stand in quotes.
fn command(argv: &[String]) -> String {
    let quoted = argv.iter().enumerate().map(|(index, word)| {
        if index > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
