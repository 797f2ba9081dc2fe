//! Completion of command lines, for the shells: `dhow __complete WORD...`, whose last word is the
//! one that is being typed.
//!
//! The answer is a line for each candidate, with a description behind a tab, and a last line that
//! begins with a colon: what the shell does beside that, in the numbers of Docker's scripts, which
//! can thus be used as well. What can be typed here is in `place`, what fits there in `values`, and
//! what only the server knows in `names`. Nothing is said of what goes wrong: the user is typing.

mod names;
mod place;
mod values;

use crate::argv::globals::Globals;
use crate::argv::{Outcome, help};
use crate::cx::Cx;
use crate::{Wiring, commands};
use place::Place;
use std::ffi::OsString;
use values::Values;

/// The word that asks for this.
pub(crate) const ROLE: &str = "__complete";

/// What the shell does beside offering the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// It offers files as well.
    Files,
    /// It offers directories.
    Directories,
    /// Nothing.
    Nothing,
    /// Nothing, and the word is not at its end yet.
    Open,
}

impl Beside {
    /// cobra's number.
    const fn number(self) -> u8 {
        match self {
            Self::Files => 0,
            Self::Nothing => 4,
            Self::Open => 6,
            Self::Directories => 16,
        }
    }
}

/// A word that fits, and what it is.
type Candidate = (String, String);

/// What fits.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    candidates: Vec<Candidate>,
    beside: Beside,
}

impl Answer {
    fn new(beside: Beside) -> Self {
        Self { candidates: Vec::new(), beside }
    }

    fn words<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        let candidates = words.into_iter().map(|word| (word.into(), String::new())).collect();
        Self { candidates, beside: Beside::Nothing }
    }

    /// Only what begins with what has been typed.
    fn beginning(mut self, typed: &str) -> Self {
        self.candidates.retain(|(word, _)| word.starts_with(typed));
        self
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (word, about) in &self.candidates {
            out.push_str(word);
            if !about.is_empty() {
                out.push('\t');
                out.push_str(about);
            }
            out.push('\n');
        }
        out.push_str(&format!(":{}\n", self.beside.number()));
        out
    }
}

/// Answers for these words.
pub(crate) fn run(words: Vec<OsString>, wiring: Wiring) -> Outcome {
    let words: Vec<String> =
        words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let answer = answer(&words, wiring);
    crate::print(&answer.text())
}

fn answer(words: &[String], wiring: Wiring) -> Answer {
    let (globals, place) = place::find(words);
    match place {
        Place::Nowhere => Answer::new(Beside::Nothing),
        Place::Command { typed } => top_level().beginning(typed),
        Place::Member { group, typed } => members(group).beginning(typed),
        Place::Flag { command, typed } => {
            let definition = command.map_or_else(crate::globals_definition, |c| (c.define)());
            flags(&definition).beginning(typed)
        }
        Place::Value { command, flag, typed } => {
            let values = values::of_flag(command, &flag);
            fitting(values, typed, &[], Ask { globals, wiring })
        }
        Place::Argument { command, before, forced, typed } => {
            let values = values::of_argument(command, before.len(), forced);
            fitting(values, typed, &before, Ask { globals, wiring })
        }
    }
}

/// Whom to ask for names.
struct Ask {
    globals: Globals,
    wiring: Wiring,
}

fn fitting(values: Values, typed: &str, before: &[&str], ask: Ask) -> Answer {
    match values {
        Values::Nothing => Answer::new(Beside::Nothing),
        Values::Files => Answer::new(Beside::Files),
        Values::Directories => Answer::new(Beside::Directories),
        Values::Words(words) => Answer::words(words.iter().copied()).beginning(typed),
        Values::Open(words) => {
            Answer { beside: Beside::Open, ..Answer::words(words.iter().copied()) }.beginning(typed)
        }
        Values::Environment => environment().beginning(typed),
        Values::Names(kinds) => names(kinds, typed, before, ask),
        Values::Filter(keys) => match typed.split_once('=') {
            None => {
                let words = keys.iter().map(|key| format!("{key}="));
                Answer { beside: Beside::Open, ..Answer::words(words) }.beginning(typed)
            }
            Some((key, value)) => {
                prefixed(&format!("{key}="), fitting(values::of_filter(key), value, &[], ask))
            }
        },
    }
}

fn prefixed(prefix: &str, mut answer: Answer) -> Answer {
    for (word, _) in &mut answer.candidates {
        word.insert_str(0, prefix);
    }
    answer
}

/// Names that the server knows. A server that cannot be asked knows none.
fn names(kinds: &[names::Kind], typed: &str, before: &[&str], ask: Ask) -> Answer {
    let beside = names::beside(kinds);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Answer::new(beside);
    };
    let cx =
        Cx::new(crate::setting(&ask.globals, crate::Asks::Anybody), ask.wiring, ROLE.to_owned());
    let mut candidates = runtime.block_on(names::ask(&cx, kinds, typed));
    std::mem::forget((cx, runtime));
    candidates.retain(|(name, _)| !before.contains(&name.as_str()));
    Answer { candidates, beside }.beginning(typed)
}

/// Our own variables: `-e NAME` passes one on.
fn environment() -> Answer {
    let mut names: Vec<String> =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    names.sort_unstable();
    Answer { beside: Beside::Open, ..Answer::words(names) }
}

/// Groups, and commands that have a name without one.
fn top_level() -> Answer {
    let groups = commands::GROUPS.iter().map(|(name, about)| ((*name).into(), (*about).into()));
    let plain = commands::ALL.iter().flat_map(|command| {
        let names = command.names.iter().filter(|name| !name.contains(' '));
        names.map(|name| ((*name).to_owned(), help::summary(&(command.define)())))
    });
    let mut candidates: Vec<Candidate> = groups.chain(plain).collect();
    candidates.sort();
    Answer { candidates, beside: Beside::Nothing }
}

fn members(group: &str) -> Answer {
    let mut candidates: Vec<Candidate> = commands::ALL
        .iter()
        .flat_map(|command| command.names.iter().map(move |name| (name, command)))
        .filter_map(|(name, command)| {
            let name = name.strip_prefix(group)?.strip_prefix(' ')?;
            Some((name.to_owned(), help::summary(&(command.define)())))
        })
        .collect();
    candidates.sort();
    Answer { candidates, beside: Beside::Nothing }
}

fn flags(definition: &clap::Command) -> Answer {
    let mut candidates: Vec<Candidate> = definition
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((format!("--{}", arg.get_long()?), about))
        })
        .collect();
    candidates.push(("--help".to_owned(), "Print usage".to_owned()));
    candidates.sort();
    Answer { candidates, beside: Beside::Nothing }
}

#[cfg(test)]
mod tests;
