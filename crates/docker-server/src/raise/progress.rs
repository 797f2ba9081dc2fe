//! What a pull, a push, a load or an import tells while it runs, in Docker's words.

use docker_api::types::progress::{Progress as Wire, ProgressDetail};
use engine::view::{Freshness, LayerStep, Progress, PushStep};
use serde_json::json;

use super::signed;

/// Raises one message.
pub(crate) fn progress(event: &Progress) -> Wire {
    match event {
        Progress::Pulling { repository, tag } => {
            Wire { id: tag.clone(), ..status(format!("Pulling from {repository}")) }
        }
        Progress::Layer { layer, step } => {
            let (text, detail) = step_text(*step);
            Wire { id: layer.clone(), progress_detail: Some(detail), ..status(text) }
        }
        Progress::Digest(digest) => status(format!("Digest: {digest}")),
        Progress::Pulled { reference, fresh: Freshness::Downloaded } => {
            status(format!("Status: Downloaded newer image for {reference}"))
        }
        Progress::Pulled { reference, fresh: Freshness::UpToDate } => {
            status(format!("Status: Image is up to date for {reference}"))
        }
        Progress::Pushing { repository } => {
            status(format!("The push refers to repository [{repository}]"))
        }
        Progress::PushedLayer { layer, step } => {
            let (text, detail) = push_text(step);
            Wire { id: layer.clone(), progress_detail: Some(detail), ..status(text) }
        }
        Progress::Pushed { tag, digest, size } => {
            status(format!("{tag}: digest: {digest} size: {size}"))
        }
        Progress::Loaded(name) => stream(format!("Loaded image: {name}\n")),
        Progress::LoadedUnnamed(id) => stream(format!("Loaded image ID: {id}\n")),
        Progress::Renamed { reference, old } => stream(format!(
            "The image {reference} already exists, renaming the old one with ID {old} to empty string\n"
        )),
        Progress::Downloading(url) => status(format!("Downloading from {url}")),
        Progress::Imported(id) => status(id.to_string()),
    }
}

/// What programs read beside it, as a message of its own.
pub(crate) fn progress_aux(event: &Progress) -> Option<Wire> {
    let Progress::Pushed { tag, digest, size } = event else { return None };
    let aux = json!({ "Tag": tag, "Digest": digest.to_string(), "Size": size });
    let progress_detail = Some(ProgressDetail::default());
    Some(Wire { progress_detail, aux: Some(aux), ..Wire::default() })
}

fn status(text: impl Into<String>) -> Wire {
    Wire { status: text.into(), ..Wire::default() }
}

fn stream(text: String) -> Wire {
    Wire { stream: text, ..Wire::default() }
}

fn bytes(current: u64, total: u64) -> ProgressDetail {
    ProgressDetail { current: signed(current), total: signed(total) }
}

fn push_text(step: &PushStep) -> (String, ProgressDetail) {
    let text = match step {
        PushStep::Preparing => "Preparing",
        PushStep::Waiting => "Waiting",
        PushStep::Exists => "Layer already exists",
        PushStep::Pushed => "Pushed",
        PushStep::Mounted(from) => {
            return (format!("Mounted from {from}"), ProgressDetail::default());
        }
        PushStep::Pushing { current, total } => {
            return ("Pushing".to_owned(), bytes(*current, *total));
        }
    };
    (text.to_owned(), ProgressDetail::default())
}

fn step_text(step: LayerStep) -> (&'static str, ProgressDetail) {
    let nothing = ProgressDetail::default();
    match step {
        LayerStep::Pulling => ("Pulling fs layer", nothing),
        LayerStep::Waiting => ("Waiting", nothing),
        LayerStep::Downloading { current, total } => ("Downloading", bytes(current, total)),
        LayerStep::Verifying => ("Verifying Checksum", nothing),
        LayerStep::Downloaded => ("Download complete", nothing),
        LayerStep::Extracting { current, total } => ("Extracting", bytes(current, total)),
        LayerStep::Done => ("Pull complete", nothing),
        LayerStep::Exists => ("Already exists", nothing),
    }
}
