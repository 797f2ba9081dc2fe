//! Variables and labels: `-e`, `--env-file`, `--label`, `--label-file`, and other `key=value`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Keys and values.
pub(crate) type Pairs = BTreeMap<String, String>;

/// One `-e`: `NAME=value`, or `NAME` to take it from our own environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable(pub(crate) String);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.split('=').next().unwrap_or_default().is_empty() {
            return Err(format!("invalid environment variable: {text}"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// One `--label`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) String);

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(format!("invalid label '{text}': empty name"));
        }
        if key.contains(char::is_whitespace) {
            return Err(format!("label '{key}' contains whitespaces"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a line without a value means.
#[derive(Clone, Copy)]
pub(crate) enum Bare<'a> {
    /// The variable of that name in our own environment, and nothing if there is none.
    Lookup(&'a dyn Fn(&str) -> Option<String>),
    /// Nothing: labels have no environment to come from.
    Drop,
}

/// Reads an `--env-file` or `--label-file`: one `NAME=value` a line, comments with `#`, no quotes.
pub(crate) fn file(path: &str, text: &[u8], bare: Bare<'_>) -> Result<Vec<String>, String> {
    let fail = |what: String| Err(format!("invalid env file ({path}): {what}"));
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            return fail(format!("invalid utf8 bytes at line {number}: {}", line.escape_ascii()));
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.is_empty() {
            return fail(format!("no variable name on line '{line}'"));
        }
        let named = if value.is_some() { name } else { name.trim() };
        if named.contains(char::is_whitespace) {
            return fail(format!("variable '{named}' contains whitespaces"));
        }
        match (value, bare) {
            (Some(value), _) => variables.push(format!("{named}={value}")),
            (None, Bare::Lookup(lookup)) => {
                variables.extend(lookup(named).map(|value| format!("{named}={value}")));
            }
            (None, Bare::Drop) => {}
        }
    }
    Ok(variables)
}

/// `-e NAME` with the value of our own environment; without one the name goes on alone, and the
/// server takes the variable away.
pub(crate) fn inherit(variable: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    if variable.contains('=') {
        return variable.to_owned();
    }
    match lookup(variable) {
        Some(value) => format!("{variable}={value}"),
        None => variable.to_owned(),
    }
}

/// `key=value` pairs; a key alone has an empty value, the last of equal keys wins.
pub(crate) fn map<S: AsRef<str>>(pairs: impl IntoIterator<Item = S>) -> Pairs {
    pairs
        .into_iter()
        .map(|pair| {
            let (key, value) = pair.as_ref().split_once('=').unwrap_or((pair.as_ref(), ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn files_have_no_quotes_and_keep_trailing_space() {
        let text = b"# c\nA=1\n  B=2 \n\nHOME\nNOPE\nC=\"a b\"=c\r\n";
        let read = file("f", text, Bare::Lookup(&lookup)).unwrap();
        assert_eq!(read, ["A=1", "B=2 ", "HOME=/root", "C=\"a b\"=c"]);
        assert_eq!(file("f", b"x=1\ny\n", Bare::Drop).unwrap(), ["x=1"]);
    }

    #[test]
    fn files_that_are_refused() {
        for (text, want) in [
            (&b"A B=1"[..], "invalid env file (f): variable 'A B' contains whitespaces"),
            (b"=x", "invalid env file (f): no variable name on line '=x'"),
            (b"A=1\nB=\xff", "invalid env file (f): invalid utf8 bytes at line 2: B=\\xff"),
        ] {
            assert_eq!(file("f", text, Bare::Drop), Err(want.to_owned()));
        }
    }

    #[test]
    fn single_ones() {
        assert_eq!("A".parse(), Ok(Variable("A".to_owned())));
        for text in ["", "=x"] {
            let error = format!("invalid environment variable: {text}");
            assert_eq!(text.parse::<Variable>(), Err(error));
        }
        assert_eq!("=x".parse::<Label>(), Err("invalid label '=x': empty name".to_owned()));
        assert_eq!("a b=c".parse::<Label>(), Err("label 'a b' contains whitespaces".to_owned()));
        assert_eq!(inherit("HOME", &lookup), "HOME=/root");
        assert_eq!(inherit("NOPE", &lookup), "NOPE");
        assert_eq!(map(["a=b=c", "d", "a=1"]), map(["d=", "a=1"]));
    }
}
