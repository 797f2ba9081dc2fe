//! Starts that fail: what is said of them, and the exit codes that scripts know.

use crate::cx::Cx;
use crate::error::{Failure, api_message};
use docker_api::ApiError;

/// A failure before there is a container: 125, and where to find help.
pub(crate) fn refused(cx: &Cx, message: &str) -> Failure {
    let program = crate::argv::help::PROGRAM;
    let name = &cx.name;
    Failure::new(
        125,
        format!("{program}: {message}\n\nRun '{program} {name} --help' for more information"),
    )
}

/// A container that could not be started: the reason is in the text, and scripts know the codes.
pub(crate) fn not_started(cx: &Cx, error: &ApiError) -> Failure {
    let message = api_message(error);
    Failure { code: start_code(&message), ..refused(cx, &message) }
}

/// The code for a process that could not be started: 127 if it is not there, 126 if it cannot be
/// executed, 125 for everything else.
pub(crate) fn start_code(message: &str) -> u8 {
    let says = |text| message.contains(text);
    if says("executable file not found") || says("no such file or directory") {
        127
    } else if ["permission denied", "is a directory", "exec format error"].into_iter().any(says) {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_starts_have_codes() {
        for (message, code) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("exec /x: no such file or directory", 127),
            ("exec: \"/etc\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("exec /x: exec format error", 126),
            ("port is already allocated", 125),
        ] {
            assert_eq!(start_code(message), code, "{message}");
        }
    }
}
