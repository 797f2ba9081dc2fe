//! From words to a command and its arguments.
//!
//! `flags` reads flags by pflag's rules, since Docker's users and scripts know those; clap holds
//! the definitions and gives types to the values; `help` prints both.

pub(crate) mod flags;
pub(crate) mod globals;
pub(crate) mod help;
pub(crate) mod hosts;

use crate::cx::Cx;
use crate::error::Failure;
use clap::ArgMatches;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

/// What running a command gives.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// A command on its way.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One command: its names, its grammar, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Command {
    /// All names, the one that help shows for a group first: `container stop`, `stop`.
    pub(crate) names: &'static [&'static str],
    /// What follows the name in a usage line.
    pub(crate) usage: &'static str,
    /// How many positional arguments it takes.
    pub(crate) arity: Arity,
    /// Where flags may stand.
    pub(crate) flags: Flags,
    /// The flags and positional arguments; built only for the command that runs or is explained.
    pub(crate) define: fn() -> clap::Command,
    /// What it does.
    pub(crate) run: for<'a> fn(&'a Cx, &'a ArgMatches) -> Running<'a>,
}

/// How many positional arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// Where a command's flags may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flags {
    /// Also behind positional arguments.
    Anywhere,
    /// The first positional argument ends them: what follows belongs to somebody else.
    First,
}

/// Writes down a command: `command!(StopArgs, stop, ["container stop", "stop"], "usage", arity)`.
macro_rules! command {
    ($args:ty, $run:path, $names:expr, $usage:expr, $arity:expr) => {
        $crate::argv::command!($args, $run, $names, $usage, $arity, $crate::argv::Flags::Anywhere);
    };
    ($args:ty, $run:path, $names:expr, $usage:expr, $arity:expr, $flags:expr) => {
        pub(crate) const COMMAND: $crate::argv::Command = $crate::argv::Command {
            names: &$names,
            usage: $usage,
            arity: $arity,
            flags: $flags,
            define: || <$args as clap::Args>::augment_args($crate::argv::bare()),
            run: |cx, matches| {
                Box::pin(async move { $run(cx, $crate::argv::typed(matches)?).await })
            },
        };
    };
}
pub(crate) use command;

/// A clap command without anything of its own.
pub(crate) fn bare() -> clap::Command {
    clap::Command::new("dhow")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
}

/// The arguments as the command's own type.
pub(crate) fn typed<A: clap::FromArgMatches>(matches: &ArgMatches) -> Result<A, Failure> {
    A::from_arg_matches(matches).map_err(|e| Failure::error(e.to_string()))
}

impl Arity {
    /// `requires at least 1 argument`, or nothing if `count` is right.
    pub(crate) fn objection(self, count: usize) -> Option<String> {
        let (fits, words) = match self {
            Self::Exactly(0) => (count == 0, "accepts no arguments".to_owned()),
            Self::Exactly(want) => (count == want, format!("requires {}", plural(want))),
            Self::AtLeast(want) => (count >= want, format!("requires at least {}", plural(want))),
            Self::AtMost(want) => (count <= want, format!("requires at most {}", plural(want))),
            Self::Between(low, high) => (
                (low..=high).contains(&count),
                format!("requires at least {low} and at most {}", plural(high)),
            ),
        };
        (!fits).then_some(words)
    }
}

fn plural(count: usize) -> String {
    if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arity_objects_in_dockers_words() {
        for (arity, count, want) in [
            (Arity::Exactly(0), 1, Some("accepts no arguments")),
            (Arity::Exactly(1), 1, None),
            (Arity::Exactly(2), 1, Some("requires 2 arguments")),
            (Arity::AtLeast(1), 0, Some("requires at least 1 argument")),
            (Arity::AtMost(1), 2, Some("requires at most 1 argument")),
            (Arity::Between(1, 2), 3, Some("requires at least 1 and at most 2 arguments")),
        ] {
            assert_eq!(arity.objection(count).as_deref(), want);
        }
    }
}
