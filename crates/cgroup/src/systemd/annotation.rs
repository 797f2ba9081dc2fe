//! Properties that a specification sets by annotations: `org.systemd.property.TimeoutStopUSec: "uint64 10"`.
//!
//! Values are written as GVariant's text format has them, of which the types are read that properties of
//! scopes have.

use super::wire::{Property, Truth, Value};

/// What such an annotation begins with.
const PREFIX: &str = "org.systemd.property.";

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// An annotation that sets no property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {name}: {value:?} sets no property of systemd's")]
pub struct BadProperty {
    name: String,
    value: String,
}

/// What decides where a scope is, who is in it, and that it is ours to divide: of another value, the container
/// would be outside of its unit, where systemd neither limits nor ends it.
const OURS: [&str; 3] = ["Slice", "PIDs", "Delegate"];

/// A property that somebody wishes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish(pub(super) Property);

impl Wish {
    /// Reads an annotation; `None` if it is about something else.
    ///
    /// # Errors
    /// The name or the value is none.
    pub fn parse(annotation: &str, text: &str) -> Result<Option<Self>, BadProperty> {
        let Some(name) = annotation.strip_prefix(PREFIX) else { return Ok(None) };
        let bad = || BadProperty { name: annotation.to_owned(), value: text.to_owned() };
        let is_name = name.len() > 2
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphabetic());
        if OURS.contains(&name) {
            return Err(bad());
        }
        let value = value(text).filter(|_| is_name).ok_or_else(bad)?;
        // systemd has times in microseconds on the bus, and in seconds in files of units.
        match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
            Some(stem) => {
                let value = microseconds(&value).ok_or_else(bad)?;
                Ok(Some(Self((format!("{stem}USec").into(), value))))
            }
            None => Ok(Some(Self((name.to_owned().into(), value)))),
        }
    }
}

fn microseconds(value: &Value) -> Option<Value> {
    let seconds = match value {
        Value::Number(seconds) => Some(*seconds),
        Value::Unsigned(seconds) => Some((*seconds).into()),
        Value::Integer(seconds) => u64::try_from(*seconds).ok(),
        Value::Text(_)
        | Value::Truth(_)
        | Value::Texts(_)
        | Value::Numbers(_)
        | Value::Bytes(_)
        | Value::Pairs(_) => None,
    };
    seconds?.checked_mul(SECOND).map(Value::Number)
}

fn value(text: &str) -> Option<Value> {
    let text = text.trim();
    match text {
        "true" => return Some(Value::Truth(Truth::Yes)),
        "false" => return Some(Value::Truth(Truth::No)),
        _ => {}
    }
    if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let all = list.split(',').map(|one| quoted(one.trim()).map(str::to_owned));
        return all.collect::<Option<_>>().map(Value::Texts);
    }
    if let Some(text) = quoted(text) {
        return Some(Value::Text(text.to_owned()));
    }
    match text.split_once(' ') {
        None => text.parse().ok().map(Value::Integer),
        Some(("int32", number)) => number.trim().parse().ok().map(Value::Integer),
        Some(("uint32", number)) => number.trim().parse().ok().map(Value::Unsigned),
        Some(("uint64", number)) => number.trim().parse().ok().map(Value::Number),
        Some(_) => None,
    }
}

/// A text between quotes, without anything that would have to be unescaped.
fn quoted(text: &str) -> Option<&str> {
    let inner = ['\'', '"'].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner).filter(|inner| !inner.contains(quote))
    })?;
    (!inner.contains(['\\', '\0'])).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let number = |value| Value::Number(value);
        for (name, text, expected) in [
            ("TimeoutStopUSec", "uint64 10000000", ("TimeoutStopUSec", number(10_000_000))),
            ("TimeoutStopSec", "uint64 123", ("TimeoutStopUSec", number(123_000_000))),
            ("KillSignal", "15", ("KillSignal", Value::Integer(15))),
            (
                "CollectMode",
                "'inactive-or-failed'",
                ("CollectMode", Value::Text("inactive-or-failed".into())),
            ),
            ("DefaultDependencies", "true", ("DefaultDependencies", Value::Truth(Truth::Yes))),
            (
                "After",
                "['a.service', 'b.service']",
                ("After", Value::Texts(vec!["a.service".into(), "b.service".into()])),
            ),
            ("CPUWeight", "uint64 7", ("CPUWeight", number(7))),
            ("SendSIGHUP", "false", ("SendSIGHUP", Value::Truth(Truth::No))),
        ] {
            let (name, expected) =
                (format!("{PREFIX}{name}"), (expected.0.to_owned().into(), expected.1));
            assert_eq!(Wish::parse(&name, text), Ok(Some(Wish(expected))), "{name}");
        }
        assert_eq!(Wish::parse("org.example", "x"), Ok(None));
    }

    #[test]
    fn what_is_none_is_refused() {
        for (name, text) in [
            ("", "1"),
            ("A", "1"),
            ("killSignal", "1"),
            ("Kill Signal", "1"),
            ("KillSignal", ""),
            ("KillSignal", "x"),
            ("KillSignal", "uint64 -1"),
            ("KillSignal", "'a\\'"),
            ("KillSignal", "'a"),
            ("After", "[a]"),
            ("TimeoutStopSec", "'x'"),
            // What a runtime decides.
            ("Slice", "'other.slice'"),
            ("PIDs", "[1]"),
            ("Delegate", "false"),
        ] {
            assert!(Wish::parse(&format!("{PREFIX}{name}"), text).is_err(), "{name} {text}");
        }
    }
}
