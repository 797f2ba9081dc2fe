//! `POST /commit`

use docker_api::json;
use docker_api::types::IdResponse;
use docker_api::types::config::ContainerConfig;
use engine::view::{CommitOptions, Freezing};
use http::StatusCode;
use model::NameOrId;
use model::image::RunConfig;
use serde_json::json as value;

use super::transfer::with_tag;
use crate::call::Call;
use crate::error::HttpError;
use crate::params::ParamError;
use crate::reply::{self, Reply};

pub(super) async fn commit(mut call: Call) -> Result<Reply, HttpError> {
    let text = call.json_text().await?;
    let config = match text.trim_ascii() {
        b"" | b"null" => None,
        text => Some(config(json::parse::<ContainerConfig>(text)?.value)),
    };
    let query = &call.query;
    let who = query.get("container").ok_or(ParamError::Missing("container"))?;
    let who = NameOrId::new(who.to_owned());
    let reference = query.get("repo").map(|repo| with_tag(repo, query.get("tag"))).transpose()?;
    if let Some(name) = reference.as_ref().filter(|name| name.digest().is_some()) {
        return Err(HttpError::bad_request(format!(
            "refusing to create a tag with a digest reference: {name}"
        )));
    }
    let is_running_on = query.get("pause").is_some() && !query.flag("pause");
    let options = CommitOptions {
        reference: reference.map(|reference| reference.to_string()),
        author: query.get("author").unwrap_or_default().to_owned(),
        comment: query.get("comment").unwrap_or_default().to_owned(),
        changes: query.all("changes"),
        config,
        freezing: if is_running_on { Freezing::No } else { Freezing::Yes },
    };
    let id = call.run(move |engine| engine.commit(&who, &options)).await?;
    Ok(reply::json_status(StatusCode::CREATED, &IdResponse { id: id.to_string() }))
}

/// What of a container's configuration an image has.
fn config(wire: ContainerConfig) -> RunConfig {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let keys = |map: Option<docker_api::types::Map<docker_api::types::Empty>>| {
        map.unwrap_or_default().into_keys().map(|key| (key, value!({}))).collect()
    };
    RunConfig {
        user: wire.user,
        exposed_ports: keys(wire.exposed_ports),
        env: wire.env.unwrap_or_default(),
        entrypoint: wire.entrypoint.map(|words| words.0),
        cmd: wire.cmd.map(|words| words.0),
        volumes: keys(wire.volumes),
        working_dir: wire.working_dir,
        labels: wire.labels.unwrap_or_default().into_iter().collect(),
        stop_signal: some(wire.stop_signal),
        healthcheck: wire.healthcheck.map(|check| value!(check)),
        shell: wire.shell.map(|words| words.0),
        on_build: wire.on_build,
    }
}
