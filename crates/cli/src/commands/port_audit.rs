//! `port audit`

use super::network_firewall::Shape;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::format::firewall;

/// Show every published port, and who reaches it
///
/// The ports of a container of this name are shown by: dhow container port audit
#[derive(clap::Args, Debug)]
pub(super) struct PortAuditArgs {
    /// Format: json
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

command!(PortAuditArgs, audit, ["port audit"], "[OPTIONS]", Arity::Exactly(0));

async fn audit(cx: &Cx, args: PortAuditArgs) -> Outcome {
    let shape = Shape::of(args.format.as_deref())?;
    let ports = cx.client()?.firewall().await?.ports;
    shape.print(cx, &ports, || firewall::ports(&ports))
}
