//! Words of an instruction: quotes, backslashes and variables, as a Dockerfile has them.
//!
//! `$NAME`, `${NAME}`, `${NAME:-otherwise}` and `${NAME:+instead}`; nothing else is one. Single quotes
//! keep everything as it is, double quotes keep blanks.

use std::iter::Peekable;
use std::str::Chars;

/// Splits at blanks. `None`: a quote is not closed.
pub(super) fn split(text: &str, env: &[String]) -> Option<Vec<String>> {
    let mut reader = Reader::new(text, env);
    let mut words = Vec::new();
    while let Some(word) = reader.word(Blanks::Part)? {
        words.push(word);
    }
    Some(words)
}

/// The whole text as one word. `None`: a quote is not closed.
pub(super) fn expand(text: &str, env: &[String]) -> Option<String> {
    Some(Reader::new(text, env).word(Blanks::Keep)?.unwrap_or_default())
}

/// What a blank outside of quotes means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blanks {
    Part,
    Keep,
}

struct Reader<'t> {
    chars: Peekable<Chars<'t>>,
    env: &'t [String],
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, env: &'t [String]) -> Self {
        Self { chars: text.chars().peekable(), env }
    }

    /// The next word; an inner `None` at the end, an outer one in an open quote.
    #[expect(
        clippy::option_option,
        reason = "the end of the text and an open quote are two things"
    )]
    fn word(&mut self, blanks: Blanks) -> Option<Option<String>> {
        if blanks == Blanks::Part {
            while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
        }
        let (mut word, mut quote) = (None::<String>, None);
        while let Some(c) = self.chars.next() {
            match (c, quote) {
                ('\\', None | Some('"')) => word.get_or_insert_default().extend(self.chars.next()),
                ('"' | '\'', None) => {
                    word.get_or_insert_default();
                    quote = Some(c);
                }
                (c, Some(open)) if c == open => quote = None,
                ('$', None | Some('"')) => {
                    let value = self.variable();
                    word.get_or_insert_default().push_str(&value);
                }
                (c, None) if c.is_whitespace() && blanks == Blanks::Part => break,
                (c, _) => word.get_or_insert_default().push(c),
            }
        }
        quote.is_none().then_some(word)
    }

    /// What stands behind a dollar sign.
    fn variable(&mut self) -> String {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return if name.is_empty() {
                "$".to_owned()
            } else {
                self.value(&name).unwrap_or_default()
            };
        }
        let name = self.name();
        let mut rest = String::new();
        for c in self.chars.by_ref().take_while(|c| *c != '}') {
            rest.push(c);
        }
        let value = self.value(&name).filter(|value| !value.is_empty());
        match (rest.get(..2), value) {
            (Some(":-"), None) => rest[2..].to_owned(),
            (Some(":+"), Some(_)) => rest[2..].to_owned(),
            (Some(":+"), None) => String::new(),
            (_, value) => value.unwrap_or_default(),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        let is_it =
            |variable: &&String| variable.split_once('=').is_some_and(|(key, _)| key == name);
        let variable = self.env.iter().rev().find(is_it)?;
        variable.split_once('=').map(|(_, value)| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_variables() {
        let env = ["A=1".to_owned(), "B=b c".to_owned(), "E=".to_owned()];
        let words = |text: &str| split(text, &env).map(|words| words.join("|"));
        assert_eq!(words("x $A ${B}y").as_deref(), Some("x|1|b cy"));
        assert_eq!(words(r#"'$A' "$A $B" \$A a\ b"#).as_deref(), Some("$A|1 b c|$A|a b"));
        assert_eq!(words("${E:-d} ${A:-d} ${A:+i} ${N:+i}z $").as_deref(), Some("d|1|i|z|$"));
        assert_eq!(words("''  a").as_deref(), Some("|a"));
        assert_eq!(words("'a"), None);
        assert_eq!(expand("a  $A 'b'", &env).as_deref(), Some("a  1 b"));
    }
}
