//! `wait`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::api_message;
use docker_api::query::WaitCondition;
use docker_api::{ApiError, Client};
use std::process::ExitCode;

/// Wait until containers have ended, and print their exit codes
#[derive(clap::Args, Debug)]
pub(super) struct WaitArgs {
    containers: Vec<String>,
}

command!(WaitArgs, wait, ["container wait", "wait"], "CONTAINER [CONTAINER...]", Arity::AtLeast(1));

async fn wait(cx: &Cx, args: WaitArgs) -> Outcome {
    let client = cx.client()?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.containers {
        match code_of(client, name).await {
            Ok(status) => cx.line(&status.to_string())?,
            Err(e) => {
                cx.warn(&api_message(&e));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

async fn code_of(client: &Client, name: &str) -> Result<i64, ApiError> {
    let waiting = client.container_wait(name, WaitCondition::NotRunning).await?;
    Ok(waiting.finish().await?.status_code)
}
