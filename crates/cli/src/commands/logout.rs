//! `logout`

use super::login::address;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Forget the credentials for a registry
#[derive(clap::Args, Debug)]
pub(super) struct LogoutArgs {
    server: Option<String>,
}

command!(LogoutArgs, logout, ["logout"], "[SERVER]", Arity::AtMost(1));

async fn logout(cx: &Cx, args: LogoutArgs) -> Outcome {
    let address = address(args.server.as_deref());
    if cx.config.forget(&address, cx.credential_helper).await? {
        cx.line(&format!("Removing login credentials for {address}"))?;
    } else {
        cx.line(&format!("Not logged in to {address}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
