//! `context inspect`

use crate::argv::{Arity, Outcome, command};
use crate::config::contexts::{self, Context};
use crate::cx::Cx;
use crate::inspect::{Found, Report};

/// Show everything about contexts; without a name, about the one in use
#[derive(clap::Args, Debug)]
pub(super) struct ContextInspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    contexts: Vec<String>,
}

command!(
    ContextInspectArgs,
    context_inspect,
    ["context inspect"],
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    Arity::AtLeast(0)
);

async fn context_inspect(cx: &Cx, args: ContextInspectArgs) -> Outcome {
    let mut report = Report::new(args.format.as_deref())?;
    let names = if args.contexts.is_empty() { vec![cx.context.clone()] } else { args.contexts };
    for name in &names {
        let found = if name == contexts::DEFAULT {
            Ok(default(cx))
        } else {
            contexts::find(cx.config.directory(), name)
        };
        match found.and_then(|context| contexts::described(&context)) {
            Ok(tree) => report.add(&Found::plain(&tree)),
            Err(why) => report.miss(why),
        }
    }
    report.finish(cx)
}

/// What is meant without a context: `DOCKER_HOST`, or the engine in this process.
pub(super) fn default(cx: &Cx) -> Context {
    Context {
        name: contexts::DEFAULT.to_owned(),
        description: "Current DOCKER_HOST based configuration".to_owned(),
        host: cx.host.clone().unwrap_or_else(|| "in-process".to_owned()),
        tls: None,
        file: None,
    }
}
