//! Reads flags as pflag does: clusters (`-it`), `--flag=false`, values that look like flags, the
//! last of several scalars, and messages that scripts know.
//!
//! The outcome is handed to clap in a form that leaves no choice: `--name=value` and positionals
//! behind `--`.

use super::{Arity, Flags};
use crate::error::Failure;
use crate::template::literal::quote;
use clap::{Arg, ArgAction, ArgMatches};
use model::boolean::boolean;
use std::ffi::OsString;

/// What the words of a command ask for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// `--help` was among them.
    Help,
    /// These.
    Matches(ArgMatches),
    /// Another number of positional arguments; this is the objection.
    WrongCount(String),
}

/// What the words are read by.
pub(crate) struct Grammar {
    pub(crate) definition: clap::Command,
    pub(crate) flags: Flags,
    pub(crate) arity: Arity,
}

/// Parses `words` by the definitions of `command`. The error is one line, without usage.
pub(crate) fn parse(mut grammar: Grammar, words: Vec<OsString>) -> Result<Parsed, String> {
    let mut scan = Scan { command: &grammar.definition, given: Vec::new(), positional: Vec::new() };
    let asks = scan.words(words, grammar.flags)?;
    if asks == Asks::Help {
        return Ok(Parsed::Help);
    }
    let Scan { given, positional, .. } = scan;
    if let Some(objection) = grammar.arity.objection(positional.len()) {
        return Ok(Parsed::WrongCount(objection));
    }
    let argv = normal_form(given, positional);
    match grammar.definition.try_get_matches_from_mut(argv) {
        Ok(matches) => Ok(Parsed::Matches(matches)),
        Err(e) => Err(explain(&grammar.definition, &e)),
    }
}

/// Splits the program's own flags from the command: flags up to the first word that is none.
pub(crate) fn parse_globals(
    mut command: clap::Command,
    words: Vec<OsString>,
) -> Result<(Parsed, Vec<OsString>), String> {
    let mut scan = Scan { command: &command, given: Vec::new(), positional: Vec::new() };
    let asks = scan.words(words, Flags::First)?;
    let Scan { given, positional, .. } = scan;
    if asks == Asks::Help {
        return Ok((Parsed::Help, positional));
    }
    let argv = normal_form(given, Vec::new());
    match command.try_get_matches_from_mut(argv) {
        Ok(matches) => Ok((Parsed::Matches(matches), positional)),
        Err(e) => Err(explain(&command, &e)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Help,
    Work,
}

/// A flag with its value, in the order given.
struct Given<'c> {
    arg: &'c Arg,
    value: String,
}

struct Scan<'c> {
    command: &'c clap::Command,
    given: Vec<Given<'c>>,
    positional: Vec<OsString>,
}

impl<'c> Scan<'c> {
    fn words(&mut self, words: Vec<OsString>, place: Flags) -> Result<Asks, String> {
        let mut words = words.into_iter();
        let mut asks = Asks::Work;
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            if text == "--" {
                self.positional.extend(words);
                break;
            }
            let positional = !text.starts_with('-') || text == "-";
            if positional && place == Flags::First {
                self.positional.push(word);
                self.positional.extend(words);
                break;
            }
            if positional {
                self.positional.push(word);
                continue;
            }
            let asked = match text.strip_prefix("--") {
                Some(long) => self.long(long, &mut words)?,
                None => self.cluster(&text[1..], &mut words)?,
            };
            if asked == Asks::Help {
                asks = Asks::Help;
            }
        }
        Ok(asks)
    }

    fn long(
        &mut self,
        text: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<Asks, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: --{text}"));
        }
        let Some(arg) = self.command.get_arguments().find(|arg| has_long(arg, name)) else {
            return if name == "help" {
                Ok(Asks::Help)
            } else {
                Err(format!("unknown flag: --{name}"))
            };
        };
        let value = match value {
            Some(value) => value,
            None if is_bool(arg) => "true".to_owned(),
            None => next(words, || format!("flag needs an argument: --{name}"))?,
        };
        self.push(arg, value)
    }

    fn cluster(
        &mut self,
        letters: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<Asks, String> {
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            let Some(arg) = self.command.get_arguments().find(|a| a.get_short() == Some(letter))
            else {
                return unknown_letter(letter, &letters[at..]);
            };
            if let Some(value) = rest.strip_prefix('=') {
                return self.push(arg, value.to_owned());
            }
            if is_bool(arg) {
                self.push(arg, "true".to_owned())?;
                continue;
            }
            let value = if rest.is_empty() {
                let missing =
                    || format!("flag needs an argument: '{letter}' in -{}", &letters[at..]);
                next(words, missing)?
            } else {
                rest.to_owned()
            };
            return self.push(arg, value);
        }
        Ok(Asks::Work)
    }

    fn push(&mut self, arg: &'c Arg, value: String) -> Result<Asks, String> {
        let value = if is_bool(arg) {
            match boolean(&value) {
                Some(truth) => truth.to_string(),
                None => {
                    let reason = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
                    return Err(invalid(arg, &value, &reason));
                }
            }
        } else {
            value
        };
        if !matches!(arg.get_action(), ArgAction::Append) {
            self.given.retain(|given| given.arg.get_id() != arg.get_id());
        }
        self.given.push(Given { arg, value });
        Ok(Asks::Work)
    }
}

fn unknown_letter(letter: char, rest: &str) -> Result<Asks, String> {
    if letter == 'h' {
        Ok(Asks::Help)
    } else {
        Err(format!("unknown shorthand flag: '{letter}' in -{rest}"))
    }
}

fn next(
    words: &mut impl Iterator<Item = OsString>,
    missing: impl FnOnce() -> String,
) -> Result<String, String> {
    let word = words.next().ok_or_else(missing)?;
    word.into_string().map_err(|word| format!("argument is not valid UTF-8: {}", word.display()))
}

pub(crate) fn has_long(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name)
        || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// Whether the flag stands for `true` when it has no value.
pub(crate) fn is_bool(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
        || arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

fn normal_form(given: Vec<Given<'_>>, positional: Vec<OsString>) -> Vec<OsString> {
    let mut argv = Vec::with_capacity(given.len() + positional.len() + 1);
    for Given { arg, value } in given {
        let name = arg.get_long().unwrap_or_default();
        match (arg.get_action(), value.as_str()) {
            (ArgAction::SetTrue, "true") => argv.push(format!("--{name}").into()),
            (ArgAction::SetTrue, _) => {}
            _ => argv.push(format!("--{name}={value}").into()),
        }
    }
    if !positional.is_empty() {
        argv.push("--".into());
        argv.extend(positional);
    }
    argv
}

fn invalid(arg: &Arg, value: &str, reason: &str) -> String {
    let name = arg.get_long().unwrap_or_default();
    let short = arg.get_short().map(|letter| format!("-{letter}, ")).unwrap_or_default();
    format!("invalid argument {} for \"{short}--{name}\" flag: {reason}", quote(value))
}

/// clap's objection in pflag's words. Only values can still be wrong.
fn explain(command: &clap::Command, error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue};
    use std::error::Error as _;
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let shown = context(ContextKind::InvalidArg);
    let name = shown.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    match command.get_arguments().find(|arg| arg.get_long() == Some(name)) {
        Some(arg) => invalid(arg, &value, &reason),
        None if reason.is_empty() => error.to_string().trim().to_owned(),
        None => reason,
    }
}

/// A flag that cannot be used as it is, with the usage of its command.
pub(crate) fn usage_error(message: &str, name: &str, usage: &str) -> Failure {
    Failure::new(
        125,
        format!("{message}\n\nUsage:  {name} {usage}\n\nRun '{name} --help' for more information"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args;

    /// A command of tests
    #[derive(Args, Debug)]
    struct Sample {
        /// Allocate a terminal
        #[arg(short, long)]
        tty: bool,
        /// Keep stdin open
        #[arg(short, long)]
        interactive: bool,
        /// Proxy signals
        #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
        sig_proxy: std::primitive::bool,
        /// Variables
        #[arg(short, long)]
        env: Vec<String>,
        /// Name
        #[arg(long, alias = "nick")]
        name: Option<String>,
        /// Memory
        #[arg(short, long)]
        memory: Option<u32>,
        image: Option<String>,
        words: Vec<String>,
    }

    fn read(place: Flags, words: &[&str]) -> Result<Sample, String> {
        let definition = Sample::augment_args(super::super::bare());
        let grammar = Grammar { definition, flags: place, arity: Arity::AtLeast(0) };
        let words = words.iter().map(OsString::from).collect();
        match parse(grammar, words)? {
            Parsed::Help => Err("help".to_owned()),
            Parsed::WrongCount(objection) => Err(objection),
            Parsed::Matches(matches) => {
                use clap::FromArgMatches;
                Ok(Sample::from_arg_matches(&matches).unwrap())
            }
        }
    }

    fn refused(words: &[&str]) -> String {
        read(Flags::Anywhere, words).unwrap_err()
    }

    #[test]
    fn clusters_and_attached_values() {
        let got = read(Flags::Anywhere, &["-it", "-eA=1", "-e=B=2", "-tieC", "x"]).unwrap();
        assert!(got.tty && got.interactive && got.sig_proxy);
        assert_eq!(got.env, ["A=1", "B=2", "C"]);
        assert_eq!(got.image.as_deref(), Some("x"));
    }

    #[test]
    fn bools_take_values_only_behind_an_equals_sign() {
        let got = read(Flags::Anywhere, &["-t", "false", "--sig-proxy=0"]).unwrap();
        assert!(got.tty && !got.sig_proxy);
        assert_eq!(got.image.as_deref(), Some("false"));
        assert!(!read(Flags::Anywhere, &["-t", "--tty=F"]).unwrap().tty);
        assert!(read(Flags::Anywhere, &["--tty=F", "-t"]).unwrap().tty);
        assert_eq!(
            refused(&["--tty=maybe"]),
            "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
    }

    #[test]
    fn values_may_look_like_flags() {
        let got = read(Flags::Anywhere, &["-e", "-x", "--name", "--tty", "--name", "-b"]).unwrap();
        assert_eq!((got.env, got.name.as_deref()), (vec!["-x".to_owned()], Some("-b")));
        assert!(!got.tty);
        assert_eq!(read(Flags::Anywhere, &["--nick=", "i"]).unwrap().name.as_deref(), Some(""));
    }

    #[test]
    fn the_first_positional_may_end_the_flags() {
        let got = read(Flags::First, &["-t", "img", "-i", "--", "--foo"]).unwrap();
        assert!(got.tty && !got.interactive);
        assert_eq!(got.words, ["-i", "--", "--foo"]);
        let got = read(Flags::Anywhere, &["img", "-i", "--", "--foo"]).unwrap();
        assert!(got.interactive);
        assert_eq!(got.words, ["--foo"]);
        assert_eq!(read(Flags::First, &["-"]).unwrap().image.as_deref(), Some("-"));
    }

    #[test]
    fn objections_are_pflags() {
        for (words, want) in [
            (&["--foo"][..], "unknown flag: --foo"),
            (&["--foo=1"], "unknown flag: --foo"),
            (&["-z"], "unknown shorthand flag: 'z' in -z"),
            (&["-tzi"], "unknown shorthand flag: 'z' in -zi"),
            (&["--name"], "flag needs an argument: --name"),
            (&["-te"], "flag needs an argument: 'e' in -e"),
            (&["--=x"], "bad flag syntax: --=x"),
            (&["---x"], "bad flag syntax: ---x"),
            (
                &["-m", "abc"],
                "invalid argument \"abc\" for \"-m, --memory\" flag: invalid digit found in string",
            ),
            (&["--help"], "help"),
            (&["-th"], "help"),
        ] {
            assert_eq!(refused(words), want, "{words:?}");
        }
    }
}
