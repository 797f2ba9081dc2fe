//! `network graph`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::graph::{graph, svg, text};
use docker_api::query::ListContainers;
use std::process::ExitCode;

/// Draw who can reach whom: networks, the containers on them, published ports
#[derive(clap::Args, Debug)]
pub(super) struct NetworkGraphArgs {
    /// Format: text or svg
    #[arg(long, value_name = "string", default_value = "text")]
    format: String,
}

command!(NetworkGraphArgs, draw, ["network graph"], "[OPTIONS]", Arity::Exactly(0));

async fn draw(cx: &Cx, args: NetworkGraphArgs) -> Outcome {
    let draw = match args.format.as_str() {
        "text" => text,
        "svg" => svg,
        other => {
            return Err(Failure::error(format!("--format {other:?}: there are text and svg")));
        }
    };
    let client = cx.client()?;
    let containers = client.container_list(&ListContainers::default()).await?;
    let firewall = client.firewall().await?;
    cx.print(&draw(&graph(&containers, &firewall)))?;
    Ok(ExitCode::SUCCESS)
}
