//! Shows objects as the server described them: as JSON, or through a template.

mod typed;

pub(crate) use typed::typed;

use crate::argv::Outcome;
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use crate::recipe::{self, Recipe};
use crate::template::{Functions, MissingKey, Template, json, untyped};
use docker_api::client::Raw;
use docker_api::json::Tree;
use docker_api::{ApiError, Client};
use serde::Serialize;
use std::process::ExitCode;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    /// With its bytes counted.
    ContainerSize,
    Image,
    Network,
    Volume,
}

/// An object: as the structure that Docker's client knows, and as the server said it.
#[derive(Debug)]
pub(crate) struct Found {
    known: Vec<u8>,
    text: Vec<u8>,
}

impl Found {
    pub(crate) fn new<T: Serialize>(raw: &Raw<T>) -> Self {
        // Our own wire types have string keys only, so this cannot fail.
        let known = serde_json::to_vec(&raw.value).unwrap_or_default();
        Self { known, text: raw.text.to_vec() }
    }

    /// The same with one more field.
    pub(crate) fn with<T: Serialize>(raw: &Raw<T>, name: &str, value: Tree) -> Self {
        let Self { known, text } = Self::new(raw);
        let add = |bytes: Vec<u8>| match Tree::parse(&bytes) {
            Ok(Tree::Object(mut pairs)) => {
                pairs.push((name.to_owned(), value.clone()));
                json::plain(&Tree::Object(pairs)).into_bytes()
            }
            // What is no object is shown as it is.
            Ok(_) | Err(_) => bytes,
        };
        Self { known: add(known), text: add(text) }
    }

    /// One that no server described.
    pub(crate) fn plain(tree: &Tree) -> Self {
        let text = json::plain(tree).into_bytes();
        Self { known: text.clone(), text }
    }
}

/// Asks the server.
pub(crate) async fn find(client: &Client, kind: Kind, name: &str) -> Result<Found, ApiError> {
    Ok(match kind {
        Kind::Container => Found::new(&client.container_inspect(name).await?),
        Kind::ContainerSize => Found::new(&client.container_inspect_size(name).await?),
        Kind::Image => Found::new(&client.image_inspect(name).await?),
        Kind::Network => Found::new(&client.network_inspect(name).await?),
        Kind::Volume => Found::new(&client.volume_inspect(name).await?),
    })
}

/// Objects of one kind, by name.
pub(crate) async fn all(cx: &Cx, kind: Kind, format: Option<&str>, names: &[String]) -> Outcome {
    let mut report = Report::new(format)?;
    let client = cx.client()?;
    for name in names {
        match find(client, kind, name).await {
            Ok(found) => report.add(&found),
            Err(e) => report.miss(api_message(&e)),
        }
    }
    report.finish(cx)
}

/// How to make containers again.
pub(crate) async fn recipes(
    cx: &Cx,
    style: Recipe,
    format: Option<&str>,
    names: &[String],
) -> Outcome {
    if format.is_some() {
        return Err(Failure::error("conflicting options: cannot specify both --format and --as"));
    }
    let client = cx.client()?;
    let mut failed = false;
    for name in names {
        match client.container_inspect(name).await {
            Ok(container) => {
                // Without its image, what it says counts as the container's own.
                let image = client.image_inspect(&container.value.image).await.ok();
                let image = image.and_then(|image| image.value.config);
                cx.print(&recipe::write(&container.value, image.as_ref(), style))?;
            }
            Err(error) => {
                failed = true;
                cx.warn(&api_message(&error));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Collects what there is to show, and what went wrong.
pub(crate) struct Report {
    style: Style,
    objects: Vec<Tree>,
    shown: String,
    errors: Vec<String>,
}

enum Style {
    /// One array of everything, indented.
    Indented,
    /// The same on one line (`json`).
    Compact,
    /// A line for each.
    Template(Template),
}

impl Report {
    /// Parses the format; one that is no template ends with Docker's own code for that.
    pub(crate) fn new(format: Option<&str>) -> Result<Self, Failure> {
        let style = match format {
            None | Some("") => Style::Indented,
            Some("json") => Style::Compact,
            Some(text) => {
                let template = Template::parse(text)
                    .map_err(|e| Failure::new(64, format!("template parsing error: {e}")))?;
                Style::Template(template)
            }
        };
        Ok(Self { style, objects: Vec::new(), shown: String::new(), errors: Vec::new() })
    }

    pub(crate) fn add(&mut self, found: &Found) {
        let tree = match Tree::parse(&found.text) {
            Ok(tree) => tree,
            Err(e) => return self.miss(e.to_string()),
        };
        match &self.style {
            Style::Indented | Style::Compact => self.objects.push(tree),
            Style::Template(template) => match render(template, &found.known, &tree) {
                Ok(line) => {
                    self.shown.push_str(&line);
                    self.shown.push('\n');
                }
                Err(e) => self.errors.push(format!("template parsing error: {e}")),
            },
        }
    }

    pub(crate) fn miss(&mut self, message: String) {
        self.errors.push(message);
    }

    /// Prints what was found, also if something was not.
    pub(crate) fn finish(self, cx: &Cx) -> Outcome {
        match self.style {
            Style::Indented => cx.line(&json::indented(&Tree::Array(self.objects), 0))?,
            Style::Compact => cx.line(&json::plain(&Tree::Array(self.objects)))?,
            // A line there is, even if it is empty.
            Style::Template(_) if self.shown.is_empty() => cx.line("")?,
            Style::Template(_) => cx.print(&self.shown)?,
        }
        if self.errors.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::error(self.errors.join("\n")))
    }
}

/// Runs a template over the structure, and if it does not fit over whatever the server said: a
/// newer one has fields that no structure here knows.
pub(crate) fn render(template: &Template, known: &[u8], plain: &Tree) -> Result<String, String> {
    if let Ok(known) = Tree::parse(known) {
        let mut out = String::new();
        let value = typed(&known);
        if template.execute(&value, MissingKey::NoValue, Functions::Data, &mut out).is_ok() {
            return Ok(out);
        }
    }
    let mut out = String::new();
    template
        .execute(&untyped(plain), MissingKey::Error, Functions::Data, &mut out)
        .map_err(|e| e.to_string())?;
    Ok(out)
}
