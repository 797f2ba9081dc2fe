//! Help in Docker's layout: usage, one line, aliases, options in columns.

use super::Command;
use clap::{Arg, ArgAction};
use unicode_width::UnicodeWidthStr;

/// The program's name in all texts.
pub(crate) const PROGRAM: &str = "dhow";

/// Help of one command, called as `name`.
pub(crate) fn command(command: &Command, name: &str, width: usize) -> String {
    let definition = (command.define)();
    let usage = format!("{PROGRAM} {name} {}", command.usage);
    let about = about(&definition, Detail::Long);
    let mut out = format!("Usage:  {}\n\n{about}\n", usage.trim_end());
    if command.names.len() > 1 {
        let names: Vec<String> =
            command.names.iter().map(|name| format!("{PROGRAM} {name}")).collect();
        out.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    let options = options(&definition, width);
    if !options.is_empty() {
        out.push_str(&format!("\nOptions:\n{options}"));
    }
    out
}

/// Help of a group of commands.
pub(crate) fn group(name: &str, about: &str, commands: &[&Command]) -> String {
    let prefix = format!("{name} ");
    let mut rows: Vec<(String, String)> = commands
        .iter()
        .filter_map(|command| {
            let short = command.names.iter().find_map(|n| n.strip_prefix(&prefix))?;
            Some((short.to_owned(), self::about(&(command.define)(), Detail::Short)))
        })
        .collect();
    rows.sort();
    format!(
        "Usage:  {PROGRAM} {name} COMMAND\n\n{about}\n\nCommands:\n{}\nRun '{PROGRAM} {name} COMMAND --help' for more information on a command.\n",
        table(&rows)
    )
}

/// Help of the program.
pub(crate) fn program(
    globals: &clap::Command,
    groups: &[(&str, &str)],
    commands: &[&Command],
    width: usize,
) -> String {
    const COMMON: &[&str] = &["run", "exec", "ps", "pull", "images", "version", "info"];
    let row = |name: &str| {
        let command = commands.iter().find(|command| command.names.contains(&name))?;
        Some((name.to_owned(), about(&(command.define)(), Detail::Short)))
    };
    let common: Vec<_> = COMMON.iter().filter_map(|name| row(name)).collect();
    let managers: Vec<_> = groups.iter().map(|(n, a)| ((*n).to_owned(), (*a).to_owned())).collect();
    let mut others: Vec<_> = commands
        .iter()
        .flat_map(|command| command.names)
        .filter(|name| !name.contains(' ') && !COMMON.contains(*name))
        .filter_map(|name| row(name))
        .collect();
    others.sort();
    format!(
        "Usage:  {PROGRAM} [OPTIONS] COMMAND\n\n{}\n\nCommon Commands:\n{}\nManagement Commands:\n{}\nCommands:\n{}\nGlobal Options:\n{}\nRun '{PROGRAM} COMMAND --help' for more information on a command.\n",
        about(globals, Detail::Short),
        table(&common),
        table(&managers),
        table(&others),
        options(globals, width),
    )
}

/// What a command is about, in one line.
pub(crate) fn summary(definition: &clap::Command) -> String {
    about(definition, Detail::Short)
}

#[derive(Clone, Copy)]
enum Detail {
    Short,
    Long,
}

fn about(definition: &clap::Command, detail: Detail) -> String {
    let long = match detail {
        Detail::Long => definition.get_long_about(),
        Detail::Short => None,
    };
    long.or(definition.get_about()).map(ToString::to_string).unwrap_or_default()
}

fn table(rows: &[(String, String)]) -> String {
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(9);
    rows.iter().map(|(name, about)| format!("  {name:widest$}   {about}\n")).collect()
}

/// The options, in the order of their names, their texts folded at `width`.
fn options(definition: &clap::Command, width: usize) -> String {
    let mut rows: Vec<(&str, String, String)> = definition
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| Some((arg.get_long()?, signature(arg)?, text(arg))))
        .collect();
    rows.sort();
    let column = rows.iter().map(|(_, left, _)| left.width()).max().unwrap_or(0) + 3;
    let mut out = String::new();
    for (_, left, text) in rows {
        let folded = fold(&text, width.saturating_sub(column).max(24));
        for (i, line) in folded.iter().enumerate() {
            let left = if i == 0 { left.as_str() } else { "" };
            let padding = " ".repeat(column.saturating_sub(left.width()));
            out.push_str(&format!("{left}{padding}{line}\n"));
        }
    }
    out
}

fn signature(arg: &Arg) -> Option<String> {
    let short = arg.get_short().map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let mut text = format!("  {short}--{}", arg.get_long()?);
    if takes_value(arg) {
        let names = arg.get_value_names().unwrap_or_default();
        let name = names.first().map_or("string", |name| name.as_str());
        text.push(' ');
        text.push_str(name);
    }
    Some(text)
}

fn takes_value(arg: &Arg) -> bool {
    !matches!(arg.get_action(), ArgAction::SetTrue)
        && arg.get_num_args().is_none_or(|range| range.min_values() != 0)
}

fn text(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return text;
    }
    if let Some(default) = arg.get_default_values().first() {
        let default = default.to_string_lossy();
        let bare = default.parse::<i64>().is_ok() || matches!(&*default, "true" | "false");
        let quote = if bare { "" } else { "\"" };
        text.push_str(&format!(" (default {quote}{default}{quote})"));
    }
    text
}

fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
