//! Credential helpers: the command line knows what to ask them, `sys` how to start them.
//!
//! An ordinary user's command works in a user namespace as its root. A helper that looks at its own user, or asks
//! a service of the user's session that does so, would see another than the user's: it is started outside, by a
//! process that has stayed there.

use std::sync::OnceLock;
use std::time::Duration;

use cli::{HelperCall, HelperError, Spoken};
use sys::helper::{self, Bounds, Helper, RunError};
use sys::stayed::{Stayed, StayedError, stay};

/// A helper may ask its user to unlock something, so it gets time. Secrets are short.
const BOUNDS: Bounds = Bounds { time: Duration::from_mins(2), output: 1 << 20 };

/// Who starts them, if this process has entered a user namespace.
static OUTSIDE: OnceLock<Stayed> = OnceLock::new();

/// Leaves somebody outside of the user namespace that is entered next.
///
/// # Errors
/// There are too many processes.
pub(crate) fn leave_somebody_outside() -> Result<(), StayedError> {
    let stayed = stay(|question| match parse(question) {
        Some(call) => told(start(&call)),
        None => told(Err(HelperError::Failed("the question cannot be read".to_owned()))),
    })?;
    drop(OUTSIDE.set(stayed));
    Ok(())
}

/// Runs one to its end.
pub(crate) fn run(call: &HelperCall<'_>) -> Result<Spoken, HelperError> {
    let Some(outside) = OUTSIDE.get() else { return start(call) };
    let question = [call.name.as_bytes(), call.verb.as_bytes(), call.input].join(&b'\0');
    let answer = outside.ask(&question).map_err(|error| HelperError::Failed(error.to_string()))?;
    heard(&answer)
}

fn start(call: &HelperCall<'_>) -> Result<Spoken, HelperError> {
    let mut command = helper::command(Helper::Credential(call.name));
    match helper::run(command.arg(call.verb), call.input, BOUNDS) {
        Ok(ran) if ran.status.success() => Ok(Spoken::Answer(ran.stdout)),
        Ok(ran) if ran.stdout.trim_ascii().is_empty() => {
            Err(HelperError::Failed(ran.status.to_string()))
        }
        Ok(ran) => Ok(Spoken::Refusal(ran.stdout)),
        Err(RunError::Missing) => Err(HelperError::Missing),
        Err(error) => Err(HelperError::Failed(error.to_string())),
    }
}

/// The name, the verb, and the input, which may have any byte in it.
fn parse(question: &[u8]) -> Option<HelperCall<'_>> {
    let mut parts = question.splitn(3, |byte| *byte == 0);
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let (name, verb) = (word()?, word()?);
    Some(HelperCall { name, verb, input: parts.next()? })
}

/// An answer as bytes: what it is, and its text.
fn told(answer: Result<Spoken, HelperError>) -> Vec<u8> {
    let (kind, text) = match answer {
        Ok(Spoken::Answer(text)) => (b'a', text),
        Ok(Spoken::Refusal(text)) => (b'r', text),
        Err(HelperError::Missing) => (b'm', Vec::new()),
        Err(HelperError::Failed(why)) => (b'f', why.into_bytes()),
    };
    [&[kind], text.as_slice()].concat()
}

fn heard(answer: &[u8]) -> Result<Spoken, HelperError> {
    match answer.split_first() {
        Some((b'a', text)) => Ok(Spoken::Answer(text.to_vec())),
        Some((b'r', text)) => Ok(Spoken::Refusal(text.to_vec())),
        Some((b'm', _)) => Err(HelperError::Missing),
        Some((_, why)) => Err(HelperError::Failed(String::from_utf8_lossy(why).into_owned())),
        None => Err(HelperError::Failed("it says nothing".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered_outside_comes_through() {
        let call = HelperCall { name: "pass", verb: "get", input: b"host\0with\0zeros" };
        let question = [call.name.as_bytes(), call.verb.as_bytes(), call.input].join(&b'\0');
        assert_eq!(parse(&question), Some(call));
        assert_eq!(parse(b"pass\0get"), None);
        for answer in [
            Ok(Spoken::Answer(b"{}".to_vec())),
            Ok(Spoken::Refusal(b"credentials not found".to_vec())),
            Err(HelperError::Missing),
            Err(HelperError::Failed("exit status: 3".to_owned())),
        ] {
            assert_eq!(heard(&told(answer.clone())), answer);
        }
        assert!(heard(b"").is_err());
    }
}
