//! Wire to model: the one place where a create request's defaults are filled in and where all of
//! it is judged. After it, nothing is optional and nothing is unknown.
//!
//! Pure. The texts are Docker's where clients or people know them. What this version does not act
//! on is refused by name rather than ignored ([`unsupported`]).

mod devices;
mod exec;
mod files;
mod limits;
mod log;
mod network;
mod networks;
mod process;
mod security;
mod text;
mod unsupported;
mod update;

use docker_api::types::config::ContainerConfig;
use docker_api::types::containers::CreateContainer;
use docker_api::types::host_config::{HostConfig, RestartPolicy as WirePolicy};
use model::container::{ContainerSpec, NetworkMode, Removal, RestartPolicy, Source, TerminalSize};
use model::health::OnUnhealthy;
use model::id::BadContainerName;
use model::platform::{BadPlatform, Platform};

use crate::quirks::ApiVersion;

pub(crate) use exec::{ExecError, exec};
pub(crate) use network::connect;
pub(crate) use networks::{WishError, network};
pub(crate) use process::{ProcessError, stop_timeout};
use text::{Limit, LimitError, TextError};
pub(crate) use unsupported::Unsupported;
pub(crate) use update::update;

/// A request that makes no sense, or asks for what is not there yet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum LowerError {
    #[error("config cannot be empty in order to create a container")]
    Empty,
    #[error("no image specified")]
    NoImage,
    #[error("conflicting options: an image ({0}) and a root file system of the host")]
    ImageAndRootfs(String),
    #[error(
        "invalid root file system {0:?}: it must be an absolute path, with :O for a throw-away layer"
    )]
    Rootfs(String),
    #[error(transparent)]
    Name(#[from] BadContainerName),
    #[error(transparent)]
    Platform(#[from] BadPlatform),
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    RestartPolicy(String),
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    RetriesWithoutFailure,
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    NegativeRetries,
    #[error("can't create 'AutoRemove' container with restart policy")]
    RemoveAndRestart,
    #[error("Windows only: {0}")]
    WindowsOnly(&'static str),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    #[error(transparent)]
    Security(#[from] security::SecurityError),
    #[error(transparent)]
    Limits(#[from] limits::LimitsError),
    #[error(transparent)]
    Files(#[from] files::FilesError),
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    #[error(transparent)]
    Log(#[from] log::LogError),
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// The size of an exec's terminal that its start asks for.
pub(crate) fn console_size(size: [u64; 2]) -> Result<Option<TerminalSize>, LowerError> {
    process::console_size(size)
}

/// What a request asks for beside its body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside<'q> {
    /// `?name=`
    pub(crate) name: Option<&'q str>,
    /// `?platform=`
    pub(crate) platform: Option<&'q str>,
}

/// A specification, and what the user should know about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Lowered {
    pub(crate) spec: ContainerSpec,
    pub(crate) warnings: Vec<String>,
}

/// Lowers a create request.
pub(crate) fn create(
    request: &CreateContainer,
    beside: Beside<'_>,
    api: ApiVersion,
) -> Result<Lowered, LowerError> {
    let CreateContainer { config, host_config: host, .. } = request;
    if *request == CreateContainer::default() {
        return Err(LowerError::Empty);
    }
    windows_only(host)?;
    unsupported::refuse(config, host)?;
    text::labels(config.labels.as_ref())?;
    let network = network::lower(request)?;
    let security = security::lower(host, &network.mode)?;
    let mut spec = ContainerSpec {
        name: filled(beside.name).map(str::parse).transpose()?,
        source: source(request)?,
        platform: platform(beside.platform)?,
        process: process::lower(request, api)?,
        security,
        limits: limits::lower(host)?,
        files: files::lower(config, host, api)?,
        labels: config.labels.clone().unwrap_or_default(),
        annotations: host.annotations.clone().unwrap_or_default(),
        id_file: host.container_id_file.clone(),
        isolation: text::plain("Isolation", &host.isolation)?.to_owned(),
        log: log::lower(&host.log_config)?,
        removal: removal(host),
        restart: restart(&host.restart_policy)?,
        network,
    };
    if let Some(word) = request.dhow.as_ref().and_then(|dhow| filled(Some(&dhow.on_unhealthy))) {
        spec.process.on_unhealthy = process::on_unhealthy(word)?;
    }
    if spec.removal == Removal::Auto && spec.process.on_unhealthy == OnUnhealthy::Restart {
        return Err(LowerError::RemoveAndRestart);
    }
    match (spec.restart, spec.removal) {
        (RestartPolicy::No, _) => {}
        (_, Removal::Auto) => return Err(LowerError::RemoveAndRestart),
        (_, Removal::Keep) => {}
    }
    let warnings = warnings(&spec, config);
    Ok(Lowered { spec, warnings })
}

/// Images are not looked up by platform yet, so only the host's own can be asked for.
fn platform(text: Option<&str>) -> Result<Option<Platform>, LowerError> {
    let Some(text) = filled(text) else { return Ok(None) };
    let platform: Platform = text.parse()?;
    if platform != Platform::host() {
        return Err(Unsupported::new(format!("platform {platform}")).into());
    }
    Ok(Some(platform))
}

/// Docker's clients send an empty text where they have nothing to say.
fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn source(request: &CreateContainer) -> Result<Source, LowerError> {
    let image = request.config.image.as_str();
    let rootfs = request.dhow.as_ref().map_or("", |extension| extension.rootfs.as_str());
    match (image, rootfs) {
        ("", "") => Err(LowerError::NoImage),
        (image, "") => Ok(Source::Image(text::plain("Image", image)?.to_owned())),
        ("", path) => {
            let (path, over) = match path.strip_suffix(":O") {
                Some(path) => (path, true),
                None => (path, false),
            };
            let clean = model::mount::clean_target(path)
                .ok_or_else(|| LowerError::Rootfs(path.to_owned()))?;
            Ok(if over { Source::DirectoryOverlay(clean) } else { Source::Directory(clean) })
        }
        (image, _) => Err(LowerError::ImageAndRootfs(image.to_owned())),
    }
}

fn removal(host: &HostConfig) -> Removal {
    if host.auto_remove { Removal::Auto } else { Removal::Keep }
}

fn restart(wire: &WirePolicy) -> Result<RestartPolicy, LowerError> {
    let policy = match wire.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure {
            retries: u32::try_from(wire.maximum_retry_count)
                .map_err(|_| LowerError::NegativeRetries)?,
        },
        other => return Err(LowerError::RestartPolicy(other.to_owned())),
    };
    match (policy, wire.maximum_retry_count) {
        (RestartPolicy::OnFailure { .. }, _) | (_, 0) => Ok(policy),
        (RestartPolicy::No | RestartPolicy::Always | RestartPolicy::UnlessStopped, count) => {
            Err(if count < 0 {
                LowerError::NegativeRetries
            } else {
                LowerError::RetriesWithoutFailure
            })
        }
    }
}

fn windows_only(host: &HostConfig) -> Result<(), LowerError> {
    // Docker takes it in any case.
    let is_default = matches!(host.isolation.to_ascii_lowercase().as_str(), "" | "default");
    let fields = [
        ("HostConfig.CpuCount", host.cpu_count != 0),
        ("HostConfig.CpuPercent", host.cpu_percent != 0),
        ("HostConfig.IOMaximumIOps", host.io_maximum_iops != 0),
        ("HostConfig.IOMaximumBandwidth", host.io_maximum_bandwidth != 0),
        ("HostConfig.Isolation", !is_default),
    ];
    match fields.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(LowerError::WindowsOnly(name)),
        None => Ok(()),
    }
}

fn warnings(spec: &ContainerSpec, config: &ContainerConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.network.mode == NetworkMode::Host
        && (!spec.network.published.is_empty() || spec.network.publish_all)
    {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if config.stdin_once && !config.open_stdin {
        warnings.push("StdinOnce has no effect without OpenStdin".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests;
