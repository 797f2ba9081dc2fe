//! `version`, and `--version`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use crate::inspect::render;
use crate::template::Template;
use docker_api::json::Tree;
use docker_api::types::system::{Component, SystemVersion};
use serde::Serialize;
use std::process::ExitCode;

/// Show the versions of client and server
#[derive(clap::Args, Debug)]
pub(super) struct VersionArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

command!(VersionArgs, version, ["version"], "[OPTIONS]", Arity::Exactly(0));

/// What `--version` says.
pub(crate) fn line() -> String {
    format!("dhow version {}", env!("CARGO_PKG_VERSION"))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    client: Client,
    server: Option<SystemVersion>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Client {
    version: &'static str,
    api_version: String,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: &'static str,
    os: &'static str,
    arch: String,
    context: String,
}

impl Client {
    fn own(context: String, asked: String) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            api_version: asked,
            default_api_version: docker_api::API_VERSION,
            os: std::env::consts::OS,
            arch: model::Platform::host().architecture,
            context,
        }
    }
}

async fn version(cx: &Cx, args: VersionArgs) -> Outcome {
    let template = args.format.as_deref().map(parse).transpose()?;
    let asked = match cx.client() {
        Ok(client) => client.version().await.map_err(|e| Failure::error(api_message(&e))),
        Err(failure) => Err(failure),
    };
    let (server, failure) = match asked {
        Ok(raw) => (Some(raw.value), None),
        Err(failure) => (None, Some(failure)),
    };
    let versions =
        Versions { client: Client::own(cx.context.clone(), cx.api_version().to_owned()), server };
    match template {
        None => cx.print(&plain(&versions))?,
        Some(template) => {
            // Our own wire types have string keys only, so this cannot fail.
            let text = serde_json::to_vec(&versions).unwrap_or_default();
            let tree = Tree::parse(&text).map_err(|e| Failure::error(e.to_string()))?;
            let shown = render(&template, &text, &tree)
                .map_err(|e| Failure::error(format!("template parsing error: {e}")))?;
            cx.line(&shown)?;
        }
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn parse(text: &str) -> Result<Template, Failure> {
    let text = if text == "json" { "{{json .}}" } else { text };
    Template::parse(text).map_err(|e| Failure::new(64, format!("template parsing error: {e}")))
}

fn plain(versions: &Versions) -> String {
    let client = &versions.client;
    let mut out = format!(
        "Client:\n Version:           {}\n API version:       {}\n OS/Arch:           {}/{}\n Context:           {}\n",
        client.version, client.api_version, client.os, client.arch, client.context
    );
    if let Some(server) = &versions.server {
        out.push_str(&format!("\nServer: {}\n", server.platform.name));
        for component in &server.components {
            out.push_str(&self::component(component));
        }
    }
    out
}

fn component(component: &Component) -> String {
    let mut out = format!(" {}:\n  {:<18}{}\n", component.name, "Version:", component.version);
    let details = component.details.as_ref();
    let detail = |key: &str| details.and_then(|details| details.get(key)).map(String::as_str);
    if let Some(api) = detail("ApiVersion") {
        let least = detail("MinAPIVersion").unwrap_or("?");
        out.push_str(&format!("  {:<18}{api} (minimum version {least})\n", "API version:"));
    }
    for (label, key) in [("Git commit:", "GitCommit"), ("Built:", "BuildTime")] {
        if let Some(text) = detail(key).filter(|text| !text.is_empty()) {
            out.push_str(&format!("  {label:<18}{text}\n"));
        }
    }
    if let (Some(os), Some(arch)) = (detail("Os"), detail("Arch")) {
        out.push_str(&format!("  {:<18}{os}/{arch}\n", "OS/Arch:"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_component_has_a_line_for_each_detail_it_gives() {
        let one = |name: &str, details: &[(&str, &str)]| Component {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            details: Some(
                details.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ),
        };
        let engine = one(
            "Engine",
            &[
                ("ApiVersion", "1.51"),
                ("MinAPIVersion", "1.24"),
                ("GitCommit", ""),
                ("Os", "linux"),
                ("Arch", "amd64"),
            ],
        );
        let runc = one("runc", &[("GitCommit", "v1")]);
        expect![[r#"
            Server:
             Engine:
              Version:          1.2.3
              API version:      1.51 (minimum version 1.24)
              OS/Arch:          linux/amd64
             runc:
              Version:          1.2.3
              Git commit:       v1
        "#]]
        .assert_eq(&format!("Server:\n{}{}", component(&engine), component(&runc)));
    }
}
