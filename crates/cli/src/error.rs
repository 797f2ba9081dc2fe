//! What a command that failed says, and with which code it ends.
//!
//! Docker's codes: 125 for a bad flag anywhere and for every failure of `run` and `create` before
//! the container runs, 1 for the rest.

use docker_api::ApiError;
use std::error::Error;
use std::process::ExitCode;

/// The end of a command that did not do all of its work.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What to say on stderr; nothing if it has been said already.
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// The ordinary failure.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// What happened has been told already.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, message: None }
    }

    /// Prints, and turns into the exit code.
    #[expect(clippy::print_stderr, reason = "this is where errors are told to the user")]
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("{message}");
        }
        ExitCode::from(self.code)
    }
}

/// An error of the client in Docker's words.
pub(crate) fn api_message(error: &ApiError) -> String {
    match error {
        ApiError::Refused { message, .. } => format!("Error response from daemon: {message}"),
        ApiError::Connect { target, source } if is_absent(target, source) => {
            format!(
                "Cannot connect to the Docker daemon at {target}. Is the docker daemon running? ({source})"
            )
        }
        ApiError::Connect { .. }
        | ApiError::Http { .. }
        | ApiError::NoName(_)
        | ApiError::Request { .. }
        | ApiError::TooLong { .. }
        | ApiError::Answer { .. }
        | ApiError::NotUpgraded { .. }
        | ApiError::Stream(_)
        | ApiError::StreamJson(_) => chain(error),
    }
}

/// Whether there is nobody, rather than somebody with whom there is no agreement.
fn is_absent(target: &str, error: &std::io::Error) -> bool {
    target.starts_with("unix://") || error.kind() == std::io::ErrorKind::ConnectionRefused
}

/// An error of the operating system in the words that Docker's users know, without its number.
pub(crate) fn os_error(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = error.to_string();
            let words = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
            let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
            format!("{}{rest}", first.to_lowercase())
        }
        None => error.to_string(),
    }
}

/// An error and all of its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::error(api_message(&error))
    }
}

impl From<std::io::Error> for Failure {
    /// An error of our own output: a reader that went away is no news.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // What a program that leaves SIGPIPE alone would end with.
            return Self::silent(128 + 13);
        }
        Self::error(format!("writing output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_no_numbers() {
        let missing = std::fs::read("/no/such").unwrap_err();
        assert_eq!(os_error(&missing), "no such file or directory");
        assert_eq!(os_error(&std::io::Error::other("Odd words")), "Odd words");
    }
}
