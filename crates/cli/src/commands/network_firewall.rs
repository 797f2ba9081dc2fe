//! `network firewall`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::format::firewall;
use serde::Serialize;
use std::process::ExitCode;

/// Show what is open to whom: published ports, networks, chains of nftables
///
/// Nothing is changed. Chains of other programs are looked at as a whole, not rule by rule.
#[derive(clap::Args, Debug)]
pub(super) struct NetworkFirewallArgs {
    /// Format: json
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

command!(NetworkFirewallArgs, show, ["network firewall"], "[OPTIONS]", Arity::Exactly(0));

async fn show(cx: &Cx, args: NetworkFirewallArgs) -> Outcome {
    let shape = Shape::of(args.format.as_deref())?;
    let shown = cx.client()?.firewall().await?;
    shape.print(cx, &shown, || firewall::everything(&shown))
}

/// How something without columns of its own is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Json,
}

impl Shape {
    /// What `--format` says.
    pub(super) fn of(format: Option<&str>) -> Result<Self, Failure> {
        match format {
            None => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(Failure::error(format!("--format {other:?}: there is json alone"))),
        }
    }

    /// Prints a value, or its text.
    pub(super) fn print(
        self,
        cx: &Cx,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Outcome {
        match self {
            Self::Text => cx.print(&text())?,
            Self::Json => {
                let text = serde_json::to_string_pretty(value);
                cx.line(&text.map_err(|error| Failure::error(error.to_string()))?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
