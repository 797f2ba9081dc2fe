//! `ui`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// Show containers, images and networks in a browser
///
/// Prints an address of this machine with a token in it: whoever has it may do what this command's user may. It shows
/// the server that every command asks, and ends with this command. (dhow serve --ui-addr shows it for as long as there
/// is the service.)
#[derive(clap::Args, Debug)]
pub(super) struct UiArgs {
    /// Where a browser finds it: a port, or a loopback address and a port (default: a free port of 127.0.0.1)
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "127.0.0.1:0",
        hide_default_value = true
    )]
    addr: String,
}

command!(UiArgs, ui, ["ui"], "[OPTIONS]", Arity::Exactly(0));

async fn ui(cx: &Cx, args: UiArgs) -> Outcome {
    let client = cx.client()?;
    // Whoever opens the page should find something there.
    client.ping().await?;
    let failed = |error| Failure::error(format!("{error:#}"));
    let shown = (cx.ui)(&args.addr, client.transport().clone()).map_err(failed)?;
    cx.line(&shown.address)?;
    shown.ended.await;
    Ok(ExitCode::SUCCESS)
}
