//! `system prune`

use super::prune::{self, Images, Total};
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::filter::Filter;
use docker_api::query::{BuildPrune, Filters};
use std::process::ExitCode;

/// Remove what nothing uses: containers, networks, images, on demand volumes
#[derive(clap::Args, Debug)]
pub(super) struct SystemPruneArgs {
    /// Also images that have a name, unless a container was made from them
    #[arg(short, long)]
    all: bool,
    /// Remove only what matches, e.g. until=24h or label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Also anonymous volumes
    #[arg(long)]
    volumes: bool,
}

command!(SystemPruneArgs, system_prune, ["system prune"], "[OPTIONS]", Arity::Exactly(0));

async fn system_prune(cx: &Cx, args: SystemPruneArgs) -> Outcome {
    let filters = prune::filters(cx, &args.filter);
    if args.volumes && filters.has("until") {
        let why = "ERROR: The \"until\" filter is not supported with \"--volumes\"";
        return Err(Failure::error(why));
    }
    if !args.force && !prune::confirmed(cx, &warning(&args, &filters))? {
        return Ok(ExitCode::SUCCESS);
    }
    let which = if args.all { Images::Unused } else { Images::Dangling };
    let mut total = Total::default();
    total.add(cx, &prune::containers(cx, &filters).await?)?;
    total.add(cx, &prune::networks(cx, &filters).await?)?;
    if args.volumes {
        total.add(cx, &prune::volumes(cx, &filters).await?)?;
    }
    total.add(cx, &prune::images(cx, which, &filters).await?)?;
    let cache = BuildPrune { all: args.all, keep_storage: None, filters };
    total.add(cx, &prune::build_cache(cx, &cache).await?)?;
    total.tell(cx)
}

fn warning(args: &SystemPruneArgs, filters: &Filters) -> String {
    let mut kinds =
        vec!["all stopped containers", "all networks not used by at least one container"];
    if args.volumes {
        kinds.push("all anonymous volumes not used by at least one container");
    }
    kinds.extend(if args.all {
        ["all images without at least one container associated to them", "all build cache"]
    } else {
        ["all dangling images", "unused build cache"]
    });
    let mut text = "WARNING! This will remove:\n".to_owned();
    text.extend(kinds.iter().map(|kind| format!("  - {kind}\n")));
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        text.extend(filters.iter().map(|(key, value)| format!("  - {key}={value}\n")));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::filter::collect;
    use expect_test::expect;

    #[test]
    fn what_goes_is_named_before() {
        let filter = vec!["until=1h".parse().unwrap(), "label=x".parse().unwrap()];
        let args = SystemPruneArgs { all: false, filter, force: false, volumes: false };
        expect![[r"
            WARNING! This will remove:
              - all stopped containers
              - all networks not used by at least one container
              - all dangling images
              - unused build cache

              Items to be pruned will be filtered with:
              - label=x
              - until=1h

        "]]
        .assert_eq(&warning(&args, &collect(&args.filter)));
        let all = SystemPruneArgs { all: true, volumes: true, filter: Vec::new(), force: false };
        expect![[r"
            WARNING! This will remove:
              - all stopped containers
              - all networks not used by at least one container
              - all anonymous volumes not used by at least one container
              - all images without at least one container associated to them
              - all build cache

        "]]
        .assert_eq(&warning(&all, &Filters::default()));
    }
}
