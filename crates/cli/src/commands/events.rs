//! `events`

use super::clock;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::format::events::Style;
use crate::parse::filter::{Filter, collect};
use docker_api::query::EventsQuery;
use model::moment::{self, Reference};
use std::process::ExitCode;

/// Show what happens, as it happens
#[derive(clap::Args, Debug)]
pub(super) struct EventsArgs {
    /// Show only those that match
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format: json or a template
    #[arg(long, value_name = "string", default_value = "")]
    format: String,
    /// From this time on: 2013-01-02T13:23:37Z, or 42m for 42 minutes ago
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Up to this time: 2013-01-02T13:23:37Z, or 42m for 42 minutes ago
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

command!(EventsArgs, events, ["system events", "events"], "[OPTIONS]", Arity::Exactly(0));

async fn events(cx: &Cx, args: EventsArgs) -> Outcome {
    let style = Style::parse(&args.format)
        .map_err(|e| Failure::new(64, format!("Error parsing format: {e}")))?;
    let query = EventsQuery {
        since: stamp(args.since.as_deref()).map_err(Failure::error)?,
        until: stamp(args.until.as_deref()).map_err(Failure::error)?,
        filters: collect(&args.filter),
    };
    let mut stream = cx.client()?.events(&query).await?;
    while let Some(event) = stream.next().await? {
        cx.line(&style.render(&event, &clock()).map_err(Failure::error)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A point in time as the API takes it.
pub(super) fn stamp(text: Option<&str>) -> Result<Option<String>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let now = clock();
    let stamp = moment::stamp(text, &Reference { now: now.now, zone: now.zone });
    stamp.map(Some).map_err(|e| e.to_string())
}
