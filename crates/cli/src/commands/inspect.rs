//! `inspect`: whatever has that name.

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use crate::inspect::{Found, Kind, Report, find, recipes};
use crate::recipe::Recipe;

/// Show everything about containers, images, networks or volumes
#[derive(clap::Args, Debug)]
pub(super) struct InspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Tell how to make containers again: run (a command line) or compose (a file)
    #[arg(long = "as", value_name = "string")]
    style: Option<Recipe>,
    /// Count the bytes of containers
    #[arg(short, long)]
    size: bool,
    /// Look only among these: container, image, network, volume
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    names: Vec<String>,
}

command!(InspectArgs, inspect, ["inspect"], "[OPTIONS] NAME|ID [NAME|ID...]", Arity::AtLeast(1));

async fn inspect(cx: &Cx, args: InspectArgs) -> Outcome {
    if let Some(style) = args.style {
        if !matches!(args.kind.as_deref(), None | Some("container")) {
            return Err(Failure::error("--as is of containers alone"));
        }
        return recipes(cx, style, args.format.as_deref(), &args.names).await;
    }
    let container = if args.size { Kind::ContainerSize } else { Kind::Container };
    let kinds = match args.kind.as_deref() {
        None => vec![container, Kind::Image, Kind::Network, Kind::Volume],
        Some("container") => vec![container],
        Some("image") => vec![Kind::Image],
        Some("network") => vec![Kind::Network],
        Some("volume") => vec![Kind::Volume],
        Some(other) => {
            let wrong = match other {
                "" => "type is empty".to_owned(),
                _ => format!("unknown type: \"{other}\""),
            };
            return Err(Failure::error(format!(
                "{wrong}: must be one of \"container\", \"image\", \"network\", \"volume\""
            )));
        }
    };
    let mut report = Report::new(args.format.as_deref())?;
    for name in &args.names {
        match any(cx, &kinds, name).await? {
            Ok(found) => report.add(&found),
            Err(message) => report.miss(message),
        }
    }
    report.finish(cx)
}

/// The first kind that has such a name. Not finding one is no news until none has it.
async fn any(cx: &Cx, kinds: &[Kind], name: &str) -> Result<Result<Found, String>, Failure> {
    let client = cx.client()?;
    for kind in kinds {
        match find(client, *kind, name).await {
            Ok(found) => return Ok(Ok(found)),
            Err(e) if e.is_not_found() && kinds.len() > 1 => {}
            // A name that one kind cannot have may well be another's.
            Err(e) if e.status() == Some(400) && kinds.len() > 1 => {}
            Err(e) => return Ok(Err(api_message(&e))),
        }
    }
    Ok(Err(format!("Error: No such object: {name}")))
}
