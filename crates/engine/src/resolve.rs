//! A specification and an image become what will run: names into values, the image's
//! configuration merged below the user's.
//!
//! Pure: no file, no clock. Users and groups stay texts here; they are looked up in the
//! container's own files at each start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::container::{ContainerSpec, HealthSpec, InitProcess, NetworkMode, StopTimeout};
use model::health::HealthCheck;
use model::image::RunConfig;
use model::mount::{Access, CopyUp, Mount, MountSource, Relabel, clean_target};
use model::port::{ContainerPort, HostPort, PortBinding};
use model::systemd::{self, FirstProcess, SystemdMode};
use model::{ContainerId, Signal};
use serde::{Deserialize, Serialize};

/// What will run, decided when the container is made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The user's or the image's; `None` if there is none.
    pub entrypoint: Option<Vec<String>>,
    /// The user's or the image's.
    pub command: Option<Vec<String>>,
    /// Entrypoint and command joined: never empty.
    pub argv: Vec<String>,
    /// The user's, then the image's that the user did not override. A name alone takes a standard
    /// variable away.
    pub env: Vec<String>,
    /// Absolute.
    pub working_dir: PathBuf,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// What the container calls itself.
    pub hostname: String,
    /// Whether process 1 is a systemd that the container is made for; the first records have none.
    #[serde(default, skip_serializing_if = "FirstProcess::is_program")]
    pub first: FirstProcess,
    /// What stops it.
    pub stop_signal: Signal,
    /// Whether the user or the image named that signal; the first records do not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_signal_named: bool,
    /// The user's health check over the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Checkup>,
    /// How long `stop` waits; `None` is Docker's default.
    pub stop_timeout: Option<StopTimeout>,
    /// The image's and the user's.
    pub labels: BTreeMap<String, String>,
    /// The image's and the user's, in order.
    #[serde(with = "model::port::runs::exposed")]
    pub exposed: Vec<ContainerPort>,
    /// What `-p` and `-P` ask for.
    #[serde(with = "model::port::runs::bindings")]
    pub published: Vec<PortBinding>,
    /// The user's mounts and the image's anonymous volumes, parents before children.
    pub mounts: Vec<Mount>,
}

/// A health check, and what runs for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkup {
    /// As asked for.
    pub check: HealthCheck,
    /// With the image's shell; `None`: nothing is run.
    pub argv: Option<Vec<String>>,
}

/// Why a specification cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Neither the user nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// The image's working directory is relative.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDir(String),
    /// The image's stop signal is none.
    #[error("image: {0}")]
    StopSignal(#[from] model::signal::BadSignal),
    /// The image exposes something that is no port.
    #[error("image: exposed port {0:?}: {1}")]
    Exposed(String, model::port::ParsePortError),
    /// The image declares a volume at a path that is not absolute, or at `/`.
    #[error("image: invalid volume path {0:?}: it must be absolute and not /")]
    Volume(String),
    /// The image declares a volume, and there is no such driver to make it.
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    VolumeDriver(String),
}

/// Merges `image` below `spec`.
///
/// # Errors
/// See [`ResolveError`]: nothing to run, or an image whose configuration makes no sense.
pub(crate) fn resolve(
    id: &ContainerId,
    spec: &ContainerSpec,
    image: &RunConfig,
    host_name: &str,
) -> Result<Resolved, ResolveError> {
    let (entrypoint, command) = merge_command(spec, image);
    let argv: Vec<String> =
        entrypoint.iter().flatten().chain(command.iter().flatten()).cloned().collect();
    if argv.is_empty() {
        return Err(ResolveError::NoCommand);
    }
    let exposed = merge_exposed(spec, image)?;
    let first = first_process(spec, &argv);
    Ok(Resolved {
        entrypoint,
        command,
        argv,
        first,
        env: merge_env(&spec.process.env, &image.env),
        working_dir: working_dir(spec, image)?,
        user: spec.process.user.clone().unwrap_or_else(|| image.user.clone()),
        hostname: hostname(id, spec, host_name),
        stop_signal: stop_signal(spec, image, first)?,
        stop_signal_named: names_stop_signal(spec, image),
        health: health(spec, image),
        stop_timeout: spec.process.stop_timeout,
        labels: merge_labels(spec, image),
        published: published(spec, &exposed),
        exposed,
        mounts: merge_mounts(spec, image)?,
    })
}

/// A given entrypoint drops the image's command with the image's entrypoint (Docker).
fn merge_command(
    spec: &ContainerSpec,
    image: &RunConfig,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let process = &spec.process;
    match (&process.entrypoint, &process.command) {
        (Some(entrypoint), command) => {
            // `--entrypoint ""` arrives as a list with one empty text: it clears.
            let cleared = entrypoint.iter().all(String::is_empty);
            ((!cleared).then(|| entrypoint.clone()), command.clone())
        }
        (None, Some(command)) => (image.entrypoint.clone(), Some(command.clone())),
        (None, None) => (image.entrypoint.clone(), image.cmd.clone()),
    }
}

/// An init of dhow's own is process 1 where there is one.
fn first_process(spec: &ContainerSpec, argv: &[String]) -> FirstProcess {
    let is_meant = match (spec.process.systemd, spec.process.init) {
        (SystemdMode::Always, _) => true,
        (SystemdMode::Auto, InitProcess::Command) => {
            argv.first().is_some_and(|program| systemd::is_systemd(program))
        }
        (SystemdMode::Auto, InitProcess::Reaper) | (SystemdMode::Never, _) => false,
    };
    if is_meant { FirstProcess::Systemd } else { FirstProcess::Program }
}

pub(crate) fn variable_name(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn merge_env(user: &[String], image: &[String]) -> Vec<String> {
    let given: BTreeSet<&str> = user.iter().map(|variable| variable_name(variable)).collect();
    let inherited = image.iter().filter(|variable| !given.contains(variable_name(variable)));
    user.iter().chain(inherited).cloned().collect()
}

fn working_dir(spec: &ContainerSpec, image: &RunConfig) -> Result<PathBuf, ResolveError> {
    if let Some(dir) = &spec.process.working_dir {
        return Ok(dir.clone());
    }
    match image.working_dir.as_str() {
        "" => Ok(PathBuf::from("/")),
        dir => clean_target(dir).ok_or_else(|| ResolveError::WorkingDir(dir.to_owned())),
    }
}

fn hostname(id: &ContainerId, spec: &ContainerSpec, host_name: &str) -> String {
    match (&spec.network.hostname, &spec.network.mode) {
        (Some(name), _) => name.clone(),
        (None, NetworkMode::Host) => host_name.to_owned(),
        (
            None,
            NetworkMode::Bridge
            | NetworkMode::None
            | NetworkMode::Container(_)
            | NetworkMode::Named(_),
        ) => id.short(),
    }
}

fn stop_signal(
    spec: &ContainerSpec,
    image: &RunConfig,
    first: FirstProcess,
) -> Result<Signal, ResolveError> {
    match (spec.process.stop_signal, image.stop_signal.as_deref()) {
        (Some(signal), _) => Ok(signal),
        (None, None | Some("")) => Ok(match first {
            FirstProcess::Program => Signal::TERM,
            FirstProcess::Systemd => systemd::HALT,
        }),
        (None, Some(text)) => Ok(text.parse()?),
    }
}

fn health(spec: &ContainerSpec, image: &RunConfig) -> Option<Checkup> {
    let of_image = image.healthcheck.as_ref().and_then(HealthCheck::of_image);
    let check = match &spec.process.health {
        HealthSpec::Nothing => return None,
        HealthSpec::FromImage => of_image?,
        HealthSpec::Own(check) => check.clone().over(of_image.unwrap_or_default()),
    };
    let argv = check.argv(image.shell.as_deref());
    Some(Checkup { check, argv })
}

fn names_stop_signal(spec: &ContainerSpec, image: &RunConfig) -> bool {
    spec.process.stop_signal.is_some() || image.stop_signal.as_ref().is_some_and(|s| !s.is_empty())
}

fn merge_labels(spec: &ContainerSpec, image: &RunConfig) -> BTreeMap<String, String> {
    let mut labels = image.labels.clone();
    labels.extend(spec.labels.clone());
    labels
}

fn merge_exposed(
    spec: &ContainerSpec,
    image: &RunConfig,
) -> Result<Vec<ContainerPort>, ResolveError> {
    let mut ports: BTreeSet<ContainerPort> = spec.network.exposed.iter().copied().collect();
    ports.extend(spec.network.published.iter().map(|binding| binding.container));
    for text in image.exposed_ports.keys() {
        ports.insert(text.parse().map_err(|error| ResolveError::Exposed(text.clone(), error))?);
    }
    Ok(ports.into_iter().collect())
}

fn published(spec: &ContainerSpec, exposed: &[ContainerPort]) -> Vec<PortBinding> {
    let mut bindings = spec.network.published.clone();
    if spec.network.publish_all {
        let explicit: BTreeSet<ContainerPort> =
            bindings.iter().map(|binding| binding.container).collect();
        let rest = exposed.iter().filter(|port| !explicit.contains(port));
        bindings.extend(rest.map(|port| PortBinding {
            container: *port,
            host_ip: None,
            host: HostPort::Random,
        }));
    }
    bindings
}

/// The user's mounts, and an anonymous volume for each of the image's that they leave free.
fn merge_mounts(spec: &ContainerSpec, image: &RunConfig) -> Result<Vec<Mount>, ResolveError> {
    let mut mounts = spec.files.mounts.clone();
    for text in image.volumes.keys() {
        let target = clean_target(text)
            .filter(|target| target != Path::new("/"))
            .ok_or_else(|| ResolveError::Volume(text.clone()))?;
        if !mounts.iter().any(|mount| mount.target == target) {
            let driver = &spec.files.volume_driver;
            if !matches!(driver.as_str(), "" | "local") {
                return Err(ResolveError::VolumeDriver(driver.clone()));
            }
            let source = MountSource::volume(None, CopyUp::WhenEmpty);
            let (access, relabel) = (Access::ReadWrite, Relabel::No);
            mounts.push(Mount { target, source, access, relabel });
        }
    }
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(mounts)
}
