//! What the service tells its administrator: a level, a sentence, and named facts, one line each.
//!
//! Where the lines go is the business of whoever starts the service.

use std::fmt::Write as _;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// How grave something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each request.
    Debug,
    /// What happens in the life of a service.
    Info,
    /// What somebody should look at.
    Warn,
    /// What keeps the service from serving.
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// `time=… level=… msg=… name=value`, as Docker's daemon writes it.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("log format {text:?}: it is one of text, json")),
        }
    }
}

/// Where it is told.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// What is less grave is not told.
    pub least: Level,
    /// How.
    pub form: Form,
    /// Writes a line, whose end it adds.
    pub write: fn(&str),
}

impl Log {
    /// Whether anything of this level is told at all.
    #[must_use]
    pub fn tells(&self, level: Level) -> bool {
        level >= self.least
    }

    /// Tells of something.
    pub fn tell(&self, level: Level, message: &str, fields: &[(&'static str, String)]) {
        if !self.tells(level) {
            return;
        }
        let head = [
            ("time", Timestamp::now().to_string()),
            ("level", level.word().to_owned()),
            ("msg", message.to_owned()),
        ];
        let all = head.iter().chain(fields);
        (self.write)(&match self.form {
            Form::Text => text(all),
            Form::Json => json(all),
        });
    }

    /// Tells of something in the life of the service.
    pub fn info(&self, message: &str, fields: &[(&'static str, String)]) {
        self.tell(Level::Info, message, fields);
    }

    /// Tells of something that somebody should look at.
    pub fn warn(&self, message: &str, fields: &[(&'static str, String)]) {
        self.tell(Level::Warn, message, fields);
    }
}

fn text<'a>(fields: impl Iterator<Item = &'a (&'static str, String)>) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        let gap = if line.is_empty() { "" } else { " " };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@+".contains(&b);
        let value = if !value.is_empty() && value.bytes().all(plain) {
            value.clone()
        } else {
            Value::from(value.as_str()).to_string()
        };
        // Writing to a string cannot fail.
        let _ = write!(line, "{gap}{name}={value}");
    }
    line
}

fn json<'a>(fields: impl Iterator<Item = &'a (&'static str, String)>) -> String {
    let pairs = fields.map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
    Value::Object(pairs.collect::<Map<_, _>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_cannot_make_a_line_of_its_own() {
        let fields =
            [("request", "GET /a b\nlevel=error".to_owned()), ("status", "404".to_owned())];
        let line = text(fields.iter());
        assert_eq!(line, r#"request="GET /a b\nlevel=error" status=404"#);
        let line = json(fields.iter());
        assert_eq!(line, r#"{"request":"GET /a b\nlevel=error","status":"404"}"#);
    }

    #[test]
    fn forms_have_names() {
        assert_eq!(("text".parse(), "json".parse()), (Ok(Form::Text), Ok(Form::Json)));
        let refused = "xml".parse::<Form>().unwrap_err();
        assert_eq!(refused, "log format \"xml\": it is one of text, json");
    }
}
