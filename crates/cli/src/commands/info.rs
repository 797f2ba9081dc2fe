//! `info`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::info::plain;
use crate::inspect::{Found, Report};
use docker_api::json::Tree;
use std::process::ExitCode;

/// Show what the server is and runs on
#[derive(clap::Args, Debug)]
pub(super) struct InfoArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

command!(InfoArgs, info, ["system info", "info"], "[OPTIONS]", Arity::Exactly(0));

async fn info(cx: &Cx, args: InfoArgs) -> Outcome {
    // There is one server: no array around it.
    let format = args.format.as_deref().map(|f| if f == "json" { "{{json .}}" } else { f });
    let report = format.map(|format| Report::new(Some(format))).transpose()?;
    let raw = cx.client()?.info().await?;
    if let Some(mut report) = report {
        report.add(&Found::with(&raw, "ClientInfo", client(cx)));
        return report.finish(cx);
    }
    cx.print(&plain(&raw.value, &cx.context))?;
    for warning in raw.value.warnings.iter().flatten() {
        cx.warn(warning);
    }
    Ok(ExitCode::SUCCESS)
}

/// What Docker's client tells of itself beside the server.
fn client(cx: &Cx) -> Tree {
    let text = |text: &str| Tree::String(text.to_owned());
    let fields = [
        ("Debug", Tree::Bool(cx.is_debugged())),
        ("Version", text(env!("CARGO_PKG_VERSION"))),
        ("DefaultAPIVersion", text(docker_api::API_VERSION)),
        ("Os", text(std::env::consts::OS)),
        ("Arch", text(&model::Platform::host().architecture)),
        ("Context", text(&cx.context)),
        ("Plugins", Tree::Array(Vec::new())),
        ("Warnings", Tree::Null),
    ];
    Tree::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
}
