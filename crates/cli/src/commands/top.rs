//! `top`

use crate::argv::{Arity, Flags, Outcome, command};
use crate::cx::Cx;
use crate::table::{Layout, align};
use std::process::ExitCode;

/// Show the processes of a container
#[derive(clap::Args, Debug)]
pub(super) struct TopArgs {
    container: String,
    options: Vec<String>,
}

command!(
    TopArgs,
    top,
    ["container top", "top"],
    "CONTAINER [ps OPTIONS]",
    Arity::AtLeast(1),
    Flags::First
);

async fn top(cx: &Cx, args: TopArgs) -> Outcome {
    let options = args.options.join(" ");
    let options = (!options.is_empty()).then_some(options.as_str());
    let answer = cx.client()?.container_top(&args.container, options).await?;
    let mut text = answer.titles.join("\t") + "\n";
    for process in answer.processes {
        text.push_str(&process.join("\t"));
        text.push('\n');
    }
    cx.print(&align(&text, Layout::TOP))?;
    Ok(ExitCode::SUCCESS)
}
