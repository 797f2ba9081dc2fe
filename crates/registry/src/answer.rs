//! What a registry says when it says no: the errors of the distribution specification, made fit to
//! be shown.

use std::time::Duration;

use model::shown::shown;
use serde::Deserialize;

use crate::transport::Answer;

/// Largest answer that is looked at, in bytes.
const ANSWER_MAX: u64 = 64 << 10;

/// What a registry says when it says no.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// The sort of error, by the specification.
    pub code: Code,
    /// `code: message`, as Docker shows it; empty if the registry says nothing.
    pub text: String,
}

/// The error codes of the distribution specification that matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Code {
    /// The repository has no such tag or digest.
    ManifestUnknown,
    /// There is no such repository.
    NameUnknown,
    /// Not for whoever asks.
    Denied,
    /// Too often.
    TooManyRequests,
    /// Another one, or none.
    #[default]
    Other,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<Error>,
    /// Token services say it so.
    details: Option<String>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first error in an answer.
pub(crate) fn reason(answer: Answer, limit: Duration) -> Reason {
    // Only the status counts; that its explanation cannot be read is no news.
    answer.body.document(ANSWER_MAX, limit).map(|bytes| parse(&bytes)).unwrap_or_default()
}

/// For messages: what follows a colon, if there is anything.
pub(crate) fn suffix(reason: &impl ToString) -> String {
    let reason = reason.to_string();
    if reason.is_empty() { reason } else { format!(": {reason}") }
}

fn parse(bytes: &[u8]) -> Reason {
    let Ok(parsed) = serde_json::from_slice::<Errors>(bytes) else { return Reason::default() };
    let Some(first) = parsed.errors.into_iter().next() else {
        return Reason { code: Code::Other, text: shown(&parsed.details.unwrap_or_default()) };
    };
    let code = match first.code.as_str() {
        "MANIFEST_UNKNOWN" => Code::ManifestUnknown,
        "NAME_UNKNOWN" => Code::NameUnknown,
        "DENIED" => Code::Denied,
        "TOOMANYREQUESTS" => Code::TooManyRequests,
        _ => Code::Other,
    };
    let word = first.code.to_lowercase().replace('_', " ");
    let text = match (word.is_empty(), first.message.is_empty()) {
        (true, _) => first.message,
        (false, true) => word,
        (false, false) => format!("{word}: {}", first.message),
    };
    Reason { code, text: shown(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_in_one_harmless_line() {
        for (body, code, text) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                Code::ManifestUnknown,
                "manifest unknown: manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31m way"}]}"#,
                Code::Denied,
                "denied: no[31m way",
            ),
            (
                r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#,
                Code::TooManyRequests,
                "toomanyrequests",
            ),
            (r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, Code::NameUnknown, "name unknown"),
            (r#"{"errors":[{"message":"x"},{"message":"y"}]}"#, Code::Other, "x"),
            (
                r#"{"details":"incorrect username or password"}"#,
                Code::Other,
                "incorrect username or password",
            ),
            (r#"{"errors":[]}"#, Code::Other, ""),
            ("<html>", Code::Other, ""),
        ] {
            let text = text.to_owned();
            assert_eq!(parse(body.as_bytes()), Reason { code, text }, "{body}");
        }
        let endless = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert_eq!(parse(endless.as_bytes()).text.len(), 300);
    }
}
