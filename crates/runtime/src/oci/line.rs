//! Reads a command line, and tells of it: help, in the order of runc's.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _};

use super::arguments::{
    Arguments, Create, Delete, Events, Exec, Globals, Id, Kill, List, Ps, Run, Update,
};

/// What this program was called as.
pub(super) fn name(words: &[OsString]) -> String {
    let program = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    if program == "oci" { "dhow oci".to_owned() } else { program.to_string_lossy().into_owned() }
}

/// Reads a command line. To lay out all that all verbs take costs half of what a short command does, so only those
/// that the line names are laid out; if it cannot be understood so, all of them are, and say why.
pub(super) fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    named(words).or_else(|_| whole(words))
}

fn named(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let command = Command::new("oci")
        .bin_name(name(words))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .arg_required_else_help(true)
        .args_override_self(true);
    let named = VERBS.iter().filter(|(name, _)| words.iter().any(|word| word == name));
    let verbs = named.map(|(name, lay)| alone(name, *lay));
    let command = Globals::augment_args(command).subcommands(verbs);
    Arguments::from_arg_matches_mut(&mut command.try_get_matches_from(words)?)
}

/// Help in the order of runc's, whose users read it, behind the name.
const HELP: &str = " - {about}

USAGE:
   {usage}

COMMANDS:
{subcommands}

GLOBAL OPTIONS:
{options}
";
const HELP_OF_A_VERB: &str = " - {about}

USAGE:
   {usage}

{all-args}
";

fn whole(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let program = name(words);
    let mut command = Arguments::command()
        .bin_name(&program)
        .help_template(format!("NAME:\n   {program}{HELP}"))
        .mut_subcommands(|verb| {
            let help = format!("NAME:\n   {program} {}{HELP_OF_A_VERB}", verb.get_name());
            verb.help_template(help)
        });
    let matches = command.try_get_matches_from_mut(words).map_err(|error| {
        let asks = words.iter().any(|word| word == "-h" || word == "--help");
        match error.get(ContextKind::InvalidSubcommand) {
            Some(topic) if asks => {
                let text = format!("No help topic for '{topic}'");
                command.error(ErrorKind::InvalidSubcommand, text)
            }
            _ => error,
        }
    });
    Arguments::from_arg_matches_mut(&mut matches?)
}

type Lay = fn(Command) -> Command;

/// The verbs that engines call again and again, and what lays out what they take.
const VERBS: [(&str, Lay); 13] = [
    ("create", Create::augment_args),
    ("start", Id::augment_args),
    ("run", Run::augment_args),
    ("exec", Exec::augment_args),
    ("kill", Kill::augment_args),
    ("delete", Delete::augment_args),
    ("list", List::augment_args),
    ("ps", Ps::augment_args),
    ("state", Id::augment_args),
    ("pause", Id::augment_args),
    ("resume", Id::augment_args),
    ("update", Update::augment_args),
    ("events", Events::augment_args),
];

/// A verb without a word of help: whoever asks for that is given the whole.
fn alone(name: &'static str, lay: Lay) -> Command {
    lay(Command::new(name).disable_help_flag(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_alone_takes_what_it_takes_among_all() {
        let whole = Arguments::command();
        let shown = |command: &Command| {
            let options = command.get_arguments().filter(|one| one.get_id() != "help");
            options.map(|one| format!("{one:?}")).collect::<Vec<_>>()
        };
        for (name, lay) in VERBS {
            let among = whole.find_subcommand(name).unwrap();
            assert_eq!(shown(&alone(name, lay)), shown(among), "{name}");
        }
    }

    #[test]
    fn a_line_means_the_same_whatever_else_it_names() {
        for line in [
            "oci --root /r create --bundle=b --no-pivot c1",
            "oci --log-format json --root state delete --force start",
            "oci exec --bundle x",
            "oci exec -e A=1 -e B=2 --cwd /a --cwd /b c1 run --delete state",
            "oci update --memory -1 c1",
            "oci --rootless=false kill c1 KILL",
            "oci --rootless kill c1",
            "oci start",
            "oci start start",
            "oci start --help",
            "oci starts c1",
            "oci help start",
            "oci list create",
            "oci create start --console-socket",
            "oci --version",
            "oci features",
            "oci",
            "oci checkpoint --image-path i c1",
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let told = |parsed: Result<Arguments, clap::Error>| match parsed {
                Ok(arguments) => format!("{arguments:?}"),
                Err(error) => error.to_string(),
            };
            let whole = told(whole(&words));
            assert_eq!(told(parse(&words)), whole, "{line}");
        }
    }

    #[test]
    fn help_has_the_layout_of_runcs_and_the_name_of_the_caller() {
        let told = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            parse(&words).unwrap_err().to_string()
        };
        let runc = told("/usr/sbin/runc -h");
        assert!(runc.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"), "{runc}");
        assert!(runc.contains("\n   runc [OPTIONS] [COMMAND]\n"), "{runc}");
        assert!(runc.contains("\n  checkpoint  "), "{runc}");
        let start = told("oci start --help");
        assert!(start.starts_with("NAME:\n   dhow oci start - "), "{start}");
        assert!(told("oci foo -h").contains("No help topic for 'foo'"));
    }
}
