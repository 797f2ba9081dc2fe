//! A container made for a command: the request, the missing image, the id file.

use crate::cx::Cx;
use crate::error::{Failure, api_message, os_error};
use crate::id_file::IdFile;
use crate::options::{Ambient, ContainerOptions, Subject, SubjectKind};
use crate::pulling::{ContentTrust, Show, platform, pull_image};
use crate::session::signals::Signals;
use docker_api::ApiError;
use docker_api::types::containers::CreateContainer;
use model::Reference;
use std::str::FromStr;

// No doc comment: clap would take it for the help of the command.
#[derive(clap::Args, Debug)]
pub(crate) struct CreateFlags {
    /// Write the container's id to this file
    #[arg(long, value_name = "string")]
    cidfile: Option<String>,
    #[command(flatten)]
    trust: ContentTrust,
    /// Name of the container
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Platform of the image: os[/architecture[/variant]]
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Pull the image first: always, missing, never
    #[arg(long, value_name = "string", default_value = "missing")]
    pull: String,
    /// Do not show the progress of a pull
    #[arg(short, long)]
    quiet: bool,
    /// The first argument is no image but a directory of the host; PATH:O puts a throw-away layer over it
    #[arg(long)]
    rootfs: bool,
}

/// The request that the flags come to.
pub(crate) fn request(
    flags: &CreateFlags,
    options: &ContainerOptions,
    (what, command): (&str, &[String]),
) -> Result<CreateContainer, String> {
    let cwd = std::env::current_dir().map_err(|e| format!("cannot read working directory: {e}"))?;
    let ambient = Ambient {
        env: &|name| std::env::var(name).ok(),
        read: &|path| std::fs::read(path).map_err(|e| format!("open {path}: {}", os_error(&e))),
        cwd: &cwd,
    };
    let kind = if flags.rootfs { SubjectKind::Directory } else { SubjectKind::Image };
    let mut request = options.request(&Subject { what, kind, command }, &ambient)?;
    request.host_config.container_id_file = flags.cidfile.clone().unwrap_or_default();
    Pull::from_str(&flags.pull)?;
    flags.trust.check()?;
    Ok(request)
}

/// `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pull {
    Always,
    Missing,
    Never,
}

impl FromStr for Pull {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            _ => Err(format!(
                "invalid pull option: '{text}': must be one of \"always\", \"missing\" or \"never\""
            )),
        }
    }
}

/// Why no container was made.
pub(crate) enum MakeError {
    /// The flags do not fit the world.
    Usage(String),
    /// The server says no.
    Api(ApiError),
    /// Something else, told in full.
    Failed(Failure),
}

impl From<ApiError> for MakeError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Failure> for MakeError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl MakeError {
    /// One line for whoever asked for a container.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Usage(message) => message,
            Self::Api(error) => api_message(&error),
            Self::Failed(failure) => failure.message.unwrap_or_default(),
        }
    }
}

/// A container that was made.
pub(crate) struct Made {
    pub(crate) id: String,
    /// Once listened to, signals no longer end a process by themselves.
    signals: Option<Signals>,
}

impl Made {
    /// Does what comes next, and ends at a signal that would end us if none had been listened to.
    pub(crate) async fn heeding<T>(&mut self, next: impl Future<Output = T>) -> Result<T, Failure> {
        let Some(signals) = &mut self.signals else { return Ok(next.await) };
        tokio::select! {
            done = next => Ok(done),
            number = signals.next_fatal() => Err(Failure::silent(128_u8.saturating_add(number))),
        }
    }
}

/// Makes the container, pulling its image first if it is not there.
pub(crate) async fn make(
    cx: &Cx,
    flags: &CreateFlags,
    request: &CreateContainer,
) -> Result<Made, MakeError> {
    // An empty path asks for no file, as a variable does that is not set.
    let path = flags.cidfile.as_ref().filter(|path| !path.is_empty());
    let Some(path) = path else {
        return Ok(Made { id: make_container(cx, flags, request).await?, signals: None });
    };
    image(&request.config.image).map_err(MakeError::Usage)?;
    // Before the container: one whose id cannot be told would be left behind.
    let id_file = IdFile::create(path).map_err(MakeError::Usage)?;
    let signals = Signals::fatal();
    let signals =
        signals.map_err(|e| MakeError::Usage(format!("cannot listen to signals: {e}")))?;
    let mut made = Made { id: String::new(), signals: Some(signals) };
    // At a signal the file goes: it will get no id.
    let id = made.heeding(make_container(cx, flags, request)).await;
    made.id = id.map_err(MakeError::Failed)??;
    id_file.write(&made.id).map_err(MakeError::Usage)?;
    Ok(made)
}

async fn make_container(
    cx: &Cx,
    flags: &CreateFlags,
    request: &CreateContainer,
) -> Result<String, MakeError> {
    let image = image(&request.config.image).map_err(MakeError::Usage)?;
    let policy = Pull::from_str(&flags.pull).map_err(MakeError::Usage)?;
    let platform = platform(flags.platform.as_ref());
    let platform = platform.as_deref();
    let show = if flags.quiet { Show::Nothing } else { Show::Stderr };
    if let (Pull::Always, Some(image)) = (policy, &image) {
        pull_image(cx, image, platform, show).await?;
    }
    let client = cx.client()?;
    let name = flags.name.as_deref().filter(|name| !name.is_empty());
    let created = match client.container_create(request, name, platform).await {
        Err(e) if e.is_not_found() && policy == Pull::Missing && image.is_some() => {
            // Checked by the guard.
            let Some(image) = &image else { return Err(e.into()) };
            if !flags.quiet {
                let familiar = image.familiar();
                cx.warn(&format!("Unable to find image '{familiar}' locally"));
            }
            pull_image(cx, image, platform, show).await?;
            client.container_create(request, name, platform).await?
        }
        created => created?,
    };
    for warning in &created.warnings {
        cx.warning(warning);
    }
    Ok(created.id)
}

/// The image as a reference that can be pulled; ids cannot, and a directory is none.
fn image(text: &str) -> Result<Option<Reference>, String> {
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    if is_id(bare) {
        return Ok(None);
    }
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<Reference>()
        .map(|reference| Some(reference.with_default_tag()))
        .map_err(|e| e.to_string())
}
