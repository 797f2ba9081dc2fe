//! Images fetched or sent for a command: from which registry, as whom, and where the progress is shown.

use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::progress::{Canvas, drain, draw};
use docker_api::stream::JsonStream;
use docker_api::types::images::AuthConfig;
use docker_api::types::progress::Progress;
use model::Reference;

// No doc comment: clap would take it for the help of the command.
#[derive(clap::Args, Debug)]
pub(crate) struct ContentTrust {
    /// Skip the verification of images (deprecated)
    #[arg(long, hide = true, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
    disable_content_trust: std::primitive::bool,
}

impl ContentTrust {
    /// Docker's own verification needs a service that is no more; whoever asks for it must not
    /// get an image that nobody verified.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.disable_content_trust {
            return Ok(());
        }
        Err("--disable-content-trust=false: Docker Content Trust is not supported")
    }
}

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Stdout,
    Stderr,
    Nothing,
}

/// Pulls an image; without tag and digest, all tags of its repository.
pub(crate) async fn pull_image(
    cx: &Cx,
    image: &Reference,
    platform: Option<&str>,
    show: Show,
) -> Result<(), Failure> {
    let auth = credentials_for(cx, image.domain()).await?;
    let digest = image.digest().map(ToString::to_string);
    let tag = digest.as_deref().or(image.tag());
    let stream = cx.client()?.image_pull(&image.name(), tag, platform, auth.as_ref()).await?;
    present(stream, show).await
}

/// Pushes an image; without a tag, all tags of its repository.
pub(crate) async fn push_image(
    cx: &Cx,
    image: &Reference,
    platform: Option<&str>,
    show: Show,
) -> Result<(), Failure> {
    let auth = credentials_for(cx, image.domain()).await?;
    let digest = image.digest().map(|digest| format!("{}@{digest}", image.name()));
    let name = digest.unwrap_or_else(|| image.name());
    let stream = cx.client()?.image_push(&name, image.tag(), platform, auth.as_ref()).await?;
    present(stream, show).await
}

/// Who somebody is for a registry, named as references name it.
pub(crate) async fn credentials_for(cx: &Cx, domain: &str) -> Result<Option<AuthConfig>, Failure> {
    let environment = std::env::var("DOCKER_AUTH_CONFIG").ok();
    let config = cx.config.identity()?.clone();
    config.auth(domain, environment, cx.credential_helper).await
}

async fn present(mut stream: JsonStream<Progress>, show: Show) -> Result<(), Failure> {
    match show {
        Show::Stdout => {
            let canvas = canvas(cx::stdout_is_terminal());
            draw(&mut stream, canvas, &mut std::io::stdout()).await
        }
        Show::Stderr => {
            let canvas = canvas(cx::stderr_is_terminal());
            draw(&mut stream, canvas, &mut std::io::stderr()).await
        }
        Show::Nothing => drain(&mut stream).await,
    }
}

/// What to draw on, given whether it is a terminal.
pub(crate) fn canvas(terminal: bool) -> Canvas {
    if terminal { Canvas::Terminal(cx::terminal_width().unwrap_or(80)) } else { Canvas::Plain }
}

/// The platform that was asked for, by flag or for the whole shell.
pub(crate) fn platform(flag: Option<&String>) -> Option<String> {
    let default = || std::env::var("DOCKER_DEFAULT_PLATFORM").ok();
    flag.cloned().or_else(default).filter(|platform| !platform.is_empty())
}
