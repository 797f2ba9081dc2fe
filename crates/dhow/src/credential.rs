//! Credential helpers: the command line knows what to ask them, `sys` how to start them.

use std::time::Duration;

use cli::{HelperCall, HelperError, Spoken};
use sys::helper::{self, Bounds, Helper, RunError};

/// A helper may ask its user to unlock something, so it gets time. Secrets are short.
const BOUNDS: Bounds = Bounds { time: Duration::from_mins(2), output: 1 << 20 };

/// Runs one to its end.
pub(crate) fn run(call: &HelperCall<'_>) -> Result<Spoken, HelperError> {
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
