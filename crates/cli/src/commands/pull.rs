//! `pull`, and the pull that `run` and `create` do first.

use super::create::platform;
use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::progress::{Canvas, drain, draw};
use model::Reference;
use std::process::ExitCode;

/// Pull an image from a registry
#[derive(clap::Args, Debug)]
pub(super) struct PullArgs {
    /// Pull all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    trust: ContentTrust,
    /// Platform of the image: os[/architecture[/variant]]
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Show only the name of the image
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

command!(PullArgs, pull, ["image pull", "pull"], "[OPTIONS] NAME[:TAG|@DIGEST]", Arity::Exactly(1));

async fn pull(cx: &Cx, args: PullArgs) -> Outcome {
    args.trust.check().map_err(Failure::error)?;
    let mut image: Reference = args.image.parse().map_err(|e| Failure::error(format!("{e}")))?;
    if args.all_tags && (image.tag().is_some() || image.digest().is_some()) {
        return Err(Failure::error("tag can't be used with --all-tags/-a"));
    }
    if !args.all_tags {
        if image.tag().is_none() && image.digest().is_none() && !args.quiet {
            cx.line("Using default tag: latest")?;
        }
        image = image.with_default_tag();
    }
    let platform = platform(args.platform.as_ref());
    let show = if args.quiet { Show::Nothing } else { Show::Stdout };
    pull_image(cx, &image, platform.as_deref(), show).await?;
    cx.line(&image.to_string())?;
    Ok(ExitCode::SUCCESS)
}

// No doc comment: clap would take it for the help of the command.
#[derive(clap::Args, Debug)]
pub(super) struct ContentTrust {
    /// Skip the verification of images (deprecated)
    #[arg(long, hide = true, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
    disable_content_trust: std::primitive::bool,
}

impl ContentTrust {
    /// Docker's own verification needs a service that is no more; whoever asks for it must not
    /// get an image that nobody verified.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.disable_content_trust {
            return Ok(());
        }
        Err("--disable-content-trust=false: Docker Content Trust is not supported")
    }
}

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Stdout,
    Stderr,
    Nothing,
}

/// Pulls an image; without tag and digest, all tags of its repository.
pub(super) async fn pull_image(
    cx: &Cx,
    image: &Reference,
    platform: Option<&str>,
    show: Show,
) -> Result<(), Failure> {
    let environment = std::env::var("DOCKER_AUTH_CONFIG").ok();
    let config = cx.config.identity()?.clone();
    let auth = config.auth(image, environment, cx.credential_helper).await?;
    let digest = image.digest().map(ToString::to_string);
    let tag = digest.as_deref().or(image.tag());
    let mut stream = cx.client()?.image_pull(&image.name(), tag, platform, auth.as_ref()).await?;
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
pub(super) fn canvas(terminal: bool) -> Canvas {
    if terminal { Canvas::Terminal(cx::terminal_width().unwrap_or(80)) } else { Canvas::Plain }
}
