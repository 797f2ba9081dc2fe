//! A container as a command line.

use super::settings::{Own, Process};
use crate::argv::help::PROGRAM;

/// `dhow run --name web …`, quoted for a shell.
pub(super) fn line(own: &Own<'_>) -> String {
    let mut words = vec![PROGRAM.to_owned(), "run".to_owned()];
    if own.is_detached() {
        words.push("--detach".to_owned());
    }
    words.extend(["--name".to_owned(), own.name().to_owned()]);
    let Process { entrypoint, command } = own.process();
    let mut behind = Vec::new();
    if let Some(entrypoint) = entrypoint {
        // One word is all that the flag takes; the others stand in front of the command.
        let (first, rest) = match entrypoint.split_first() {
            Some((first, rest)) => (first.clone(), rest.to_vec()),
            None => (String::new(), Vec::new()),
        };
        words.extend(["--entrypoint".to_owned(), first]);
        behind = rest;
    }
    words.extend(own.settings().into_iter().flat_map(|setting| setting.words));
    words.push(own.image().to_owned());
    words.extend(behind);
    words.extend(command.into_iter().flatten());
    let mut line = words.iter().map(|word| pasted(word)).collect::<Vec<_>>().join(" ");
    line.push('\n');
    line
}

/// A word as a shell at a terminal reads it back. Control characters would be the terminal's: one of them
/// ends the line or the paste, and what follows would be run. A line feed inside of quotes is only itself.
fn pasted(word: &str) -> String {
    if !word.contains(|c: char| c.is_control() && c != '\n') {
        return quoted(word);
    }
    let mut text = "$'".to_owned();
    for c in word.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '\'' => text.push_str(r"\'"),
            '\n' => text.push_str(r"\n"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                text.extend(bytes.map(|byte| format!("\\{byte:03o}")));
            }
            c => text.push(c),
        }
    }
    text + "'"
}

/// A word as a shell reads it back.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
