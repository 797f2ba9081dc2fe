//! What can stand where the user types: a command, a flag, its value, an argument. Pure.

use crate::argv::flags::is_bool;
use crate::argv::globals::Globals;
use crate::argv::{self, Command, Flags};
use crate::commands;
use clap::Arg;

/// What the last word is a part of.
pub(super) enum Place<'w> {
    /// Nothing fits.
    Nowhere,
    /// A command, or a group of them.
    Command { typed: &'w str },
    /// A command of a group.
    Member { group: &'static str, typed: &'w str },
    /// A flag of this command, or of the program.
    Flag { command: Option<&'static Command>, typed: &'w str },
    /// The value of a flag.
    Value { command: Option<&'static Command>, flag: String, typed: &'w str },
    /// A positional argument, behind others.
    Argument {
        command: &'static Command,
        before: Vec<&'w str>,
        /// Whether `--force` or `--all` was among the flags.
        forced: Reach,
        typed: &'w str,
    },
}

/// What a command may be pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// What it takes as it is.
    Ordinary,
    /// Also what it takes only by force.
    Forced,
}

/// Finds the place of the last word, and what the program's own flags say.
pub(super) fn find(words: &[String]) -> (Globals, Place<'_>) {
    let definition = crate::globals_definition();
    let walk = walk(&definition, Flags::First, words);
    let command_at = words.len() - walk.behind.len();
    let globals = globals(definition.clone(), &words[..command_at]);
    let place = match walk.end {
        End::Flag(typed) => Place::Flag { command: None, typed },
        End::Value { flag, typed } => Place::Value { command: None, flag, typed },
        End::Argument(typed) if walk.before.is_empty() => Place::Command { typed },
        End::Argument(_) => behind(walk.before[0], walk.behind),
    };
    (globals, place)
}

/// What the words in front of the command say; as good as nothing, if they say nonsense.
fn globals(definition: clap::Command, words: &[String]) -> Globals {
    let words = words.iter().map(Into::into).collect();
    let read = argv::flags::parse_globals(definition, words);
    if let Ok((argv::flags::Parsed::Matches(matches), _)) = read
        && let Ok(globals) = argv::typed(&matches)
    {
        return globals;
    }
    Globals::default()
}

/// The words from a command's name on.
fn behind<'w>(first: &str, words: &'w [String]) -> Place<'w> {
    if first == "help" {
        let (_, place) = find(&words[1..]);
        return place;
    }
    if let Some(command) = commands::named(first) {
        return within(command, &words[1..]);
    }
    let Some((group, _)) = commands::GROUPS.iter().find(|(group, _)| *group == first) else {
        return Place::Nowhere;
    };
    match words {
        [_, typed] => Place::Member { group, typed },
        [_, name, ..] => match commands::named(&format!("{group} {name}")) {
            Some(command) => within(command, &words[2..]),
            None => Place::Nowhere,
        },
        _ => Place::Nowhere,
    }
}

fn within<'w>(command: &'static Command, words: &'w [String]) -> Place<'w> {
    let definition = (command.define)();
    let Walk { before, end, force, .. } = walk(&definition, command.flags, words);
    match end {
        End::Flag(typed) => Place::Flag { command: Some(command), typed },
        End::Value { flag, typed } => Place::Value { command: Some(command), flag, typed },
        End::Argument(typed) => Place::Argument { command, before, forced: force, typed },
    }
}

/// Words, read by the flags of a command.
struct Walk<'w> {
    /// Positional words before the last.
    before: Vec<&'w str>,
    /// The words from the first positional one on.
    behind: &'w [String],
    force: Reach,
    end: End<'w>,
}

/// What the last word is.
enum End<'w> {
    Flag(&'w str),
    Value { flag: String, typed: &'w str },
    Argument(&'w str),
}

/// What comes of a word that is not the last.
enum Step {
    Positional,
    /// It is done.
    Flag,
    /// The next word is the value of this flag.
    Wants(String),
    /// No flags come any more.
    Dashes,
}

fn walk<'w>(definition: &clap::Command, place: Flags, words: &'w [String]) -> Walk<'w> {
    let (typed, earlier) = match words.split_last() {
        Some((last, earlier)) => (last.as_str(), earlier),
        None => ("", words),
    };
    let mut walk = Walk {
        before: Vec::new(),
        behind: &words[earlier.len()..],
        force: Reach::Ordinary,
        end: End::Argument(typed),
    };
    let (mut wants, mut flags_end) = (None, false);
    for (at, word) in earlier.iter().enumerate() {
        if wants.take().is_some() {
            continue;
        }
        match if flags_end { Step::Positional } else { step(definition, word) } {
            Step::Flag if matches!(word.as_str(), "-f" | "--force") => walk.force = Reach::Forced,
            Step::Flag => {}
            Step::Wants(flag) => wants = Some(flag),
            Step::Dashes => flags_end = true,
            Step::Positional => {
                if walk.before.is_empty() {
                    walk.behind = &words[at..];
                }
                walk.before.push(word);
                flags_end |= place == Flags::First;
            }
        }
    }
    walk.end = match wants {
        Some(flag) => End::Value { flag, typed },
        None if flags_end || !typed.starts_with('-') => End::Argument(typed),
        None => value_behind(definition, typed).unwrap_or(End::Flag(typed)),
    };
    walk
}

fn step(definition: &clap::Command, word: &str) -> Step {
    match word.strip_prefix("--") {
        Some("") => Step::Dashes,
        Some(long) if long.contains('=') => Step::Flag,
        Some(long) => match by_long(definition, long) {
            Some(arg) if !is_bool(arg) => Step::Wants(long.to_owned()),
            Some(_) | None => Step::Flag,
        },
        None if word.starts_with('-') && word.len() > 1 => cluster(definition, &word[1..]),
        None => Step::Positional,
    }
}

/// `-itu`: the first letter that takes a value takes the rest, or else the next word.
fn cluster(definition: &clap::Command, letters: &str) -> Step {
    for (at, letter) in letters.char_indices() {
        let arg = definition.get_arguments().find(|arg| arg.get_short() == Some(letter));
        let Some(arg) = arg.filter(|arg| !is_bool(arg)) else { continue };
        let is_last = at + letter.len_utf8() == letters.len();
        let long = arg.get_long().unwrap_or_default().to_owned();
        return if is_last { Step::Wants(long) } else { Step::Flag };
    }
    Step::Flag
}

/// `--pull=al`
fn value_behind<'w>(definition: &clap::Command, word: &'w str) -> Option<End<'w>> {
    let (long, typed) = word.strip_prefix("--")?.split_once('=')?;
    by_long(definition, long)?;
    Some(End::Value { flag: long.to_owned(), typed })
}

fn by_long<'c>(definition: &'c clap::Command, long: &str) -> Option<&'c Arg> {
    definition.get_arguments().find(|arg| argv::flags::has_long(arg, long))
}
