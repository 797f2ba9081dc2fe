//! `cp`

use crate::argv::{Arity, Outcome, command};
use crate::copy::local::Links;
use crate::copy::rules::Place;
use crate::copy::{At, How, Owner, Talk, between, from_container, to_container};
use crate::cx::{self, Cx};
use crate::error::Failure;
use std::process::ExitCode;

/// Copy files between a container and this machine, or between containers
///
/// With '-' as the source, an archive is read from STDIN and unpacked in a directory of the
/// container. With '-' as the destination, an archive is written to STDOUT.
#[derive(clap::Args, Debug)]
pub(super) struct CpArgs {
    /// What is copied into a container belongs to its user
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link that is the source
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not show progress; the default where STDOUT is no terminal
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true")]
    quiet: Option<bool>,
    source: String,
    destination: String,
}

command!(
    CpArgs,
    cp,
    ["container cp", "cp"],
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdhow cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n\tdhow cp [OPTIONS] CONTAINER:SRC_PATH CONTAINER:DEST_PATH",
    Arity::Exactly(2)
);

async fn cp(cx: &Cx, args: CpArgs) -> Outcome {
    for (text, name) in [(&args.source, "source"), (&args.destination, "destination")] {
        if text.is_empty() {
            return Err(Failure::error(format!("{name} can not be empty")));
        }
    }
    let is_quiet = args.quiet.unwrap_or_else(|| !cx::stdout_is_terminal());
    let how = How {
        links: if args.follow_link { Links::Follow } else { Links::Copy },
        owner: if args.archive { Owner::ContainersUser } else { Owner::Kept },
        talk: if is_quiet { Talk::Quiet } else { Talk::Progress },
    };
    match (Place::parse(&args.source), Place::parse(&args.destination)) {
        (Place::Container { name, path }, Place::Here(to)) => {
            from_container(cx, At { container: &name, path: &path }, &to, how).await?;
        }
        (Place::Here(from), Place::Container { name, path }) => {
            to_container(cx, &from, At { container: &name, path: &path }, how).await?;
        }
        (
            Place::Container { name: source, path: from },
            Place::Container { name: target, path: to },
        ) => {
            let from = At { container: &source, path: &from };
            between(cx, from, At { container: &target, path: &to }, how).await?;
        }
        (Place::Here(_), Place::Here(_)) => {
            return Err(Failure::error("must specify at least one container source"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
