//! How a line of one of several containers is shown: its name in front, in a colour of its own.

use super::assemble::Line;
use crate::session::output;
use regex_lite::Regex;

/// In the order in which containers get them.
const COLOURS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// Whether names have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    Coloured,
}

/// What stands in front of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Nothing.
    None,
    /// The container's name.
    Name(Colour),
}

/// How lines are shown, and which.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) prefix: Prefix,
    /// Whether each begins with its time.
    pub(crate) stamps: bool,
    /// What a line must have in it.
    pub(crate) pattern: Option<Regex>,
}

/// Shows lines of containers that are known by their numbers.
pub(super) struct Printer {
    shown: Shown,
    width: usize,
}

impl Printer {
    pub(super) const fn new(shown: Shown) -> Self {
        Self { shown, width: 0 }
    }

    /// A name that will stand in front of lines: the others are as wide.
    pub(super) fn admit(&mut self, name: &str) {
        self.width = self.width.max(name.len());
    }

    pub(super) async fn print(
        &self,
        (number, name): (usize, &str),
        line: &Line,
    ) -> std::io::Result<()> {
        match self.text(number, name, line) {
            Some(text) => output::write(line.channel, &text).await,
            None => Ok(()),
        }
    }

    fn text(&self, number: usize, name: &str, line: &Line) -> Option<Vec<u8>> {
        if let Some(pattern) = &self.shown.pattern
            && !pattern.is_match(String::from_utf8_lossy(&line.text).trim_end_matches('\n'))
        {
            return None;
        }
        let width = self.width;
        let mut text = match self.shown.prefix {
            Prefix::None => String::new(),
            Prefix::Name(Colour::Plain) => format!("{name:width$}  | "),
            Prefix::Name(Colour::Coloured) => {
                format!("\x1b[{}m{name:width$}  |\x1b[0m ", COLOURS[number % COLOURS.len()])
            }
        };
        if self.shown.stamps {
            text.push_str(&line.stamp);
            text.push(' ');
        }
        let mut text = text.into_bytes();
        text.extend_from_slice(&line.text);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docker_api::frame::Channel;

    fn shown(prefix: Prefix, pattern: Option<&str>) -> String {
        let pattern = pattern.map(|pattern| Regex::new(pattern).unwrap());
        let mut printer = Printer::new(Shown { prefix, stamps: pattern.is_some(), pattern });
        printer.admit("db");
        printer.admit("long-name");
        let line = |text: &str| Line {
            channel: Channel::Stdout,
            stamp: "T".to_owned(),
            text: text.as_bytes().to_vec(),
        };
        let lines = [printer.text(0, "db", &line("up\n")), printer.text(11, "db", &line("down\n"))];
        String::from_utf8(lines.into_iter().flatten().collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn names_are_as_wide_as_the_widest_and_have_their_colours() {
        assert_eq!(shown(Prefix::None, None), "up\ndown\n");
        assert_eq!(
            shown(Prefix::Name(Colour::Plain), None),
            "db         | up\ndb         | down\n"
        );
        assert_eq!(
            shown(Prefix::Name(Colour::Coloured), None),
            "\x1b[36mdb         |\x1b[0m up\n\x1b[33mdb         |\x1b[0m down\n"
        );
    }

    #[test]
    fn a_pattern_chooses_lines_without_their_ends() {
        assert_eq!(shown(Prefix::None, Some("n$")), "T down\n");
    }
}
