//! What a registry says when it says no: the errors of the distribution specification, made fit to
//! be shown.

use std::time::Duration;

use serde::Deserialize;

use crate::transport::Answer;

/// Largest answer that is looked at, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// Longest text that is shown, in characters.
const SHOWN_MAX: usize = 300;

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

/// The first error in an answer, as `code: message`; empty if there is none.
pub(crate) fn reason(answer: Answer, limit: Duration) -> String {
    // Only the status counts; that its explanation cannot be read is no news.
    answer.body.document(ANSWER_MAX, limit).map(|bytes| parse(&bytes)).unwrap_or_default()
}

/// For messages: what follows a colon, if there is anything.
pub(crate) fn suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn parse(bytes: &[u8]) -> String {
    let Ok(parsed) = serde_json::from_slice::<Errors>(bytes) else { return String::new() };
    let Some(first) = parsed.errors.into_iter().next() else {
        return shown(&parsed.details.unwrap_or_default());
    };
    let code = first.code.to_lowercase().replace('_', " ");
    let text = match (code.is_empty(), first.message.is_empty() || first.message == code) {
        (true, _) => first.message,
        (false, true) => code,
        (false, false) => format!("{code}: {}", first.message),
    };
    shown(&text)
}

/// Without what could steer a terminal, and not endless.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_in_one_harmless_line() {
        for (body, text) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                "manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31m way"}]}"#,
                "denied: no[31m way",
            ),
            (r#"{"errors":[{"message":"x"},{"message":"y"}]}"#, "x"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"errors":[]}"#, ""),
            ("<html>", ""),
        ] {
            assert_eq!(parse(body.as_bytes()), text, "{body}");
        }
        let endless = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert_eq!(parse(endless.as_bytes()).len(), SHOWN_MAX);
    }
}
