//! Texts that end up in files, environments and command lines: what they must not contain, and
//! how long they may be.

use docker_api::types::Map;

/// A text that would be cut or split where it is used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TextError {
    #[error("{0} contains a NUL byte")]
    Nul(&'static str),
    #[error("{what} contains a control character: {text:?}")]
    Control { what: &'static str, text: String },
}

/// Too much of something.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what}: {bytes} bytes are more than the limit of {limit}")]
pub(crate) struct LimitError {
    what: &'static str,
    bytes: usize,
    limit: usize,
}

/// The limits of one container's texts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// Of the kernel, for one argument or variable.
    Argument,
    /// Of all labels, or of all variables, together.
    Total,
}

impl Limit {
    fn bytes(self) -> usize {
        match self {
            Self::Argument => 128 << 10,
            Self::Total => 1 << 20,
        }
    }

    pub(crate) fn check(self, what: &'static str, bytes: usize) -> Result<(), LimitError> {
        let limit = self.bytes();
        if bytes > limit { Err(LimitError { what, bytes, limit }) } else { Ok(()) }
    }
}

/// A text that goes to the kernel, which ends it at a NUL byte.
pub(crate) fn no_nul<'t>(what: &'static str, text: &'t str) -> Result<&'t str, TextError> {
    if text.contains('\0') { Err(TextError::Nul(what)) } else { Ok(text) }
}

/// A text that goes into a line of a file: no control characters at all.
pub(crate) fn plain<'t>(what: &'static str, text: &'t str) -> Result<&'t str, TextError> {
    if text.chars().any(char::is_control) {
        return Err(TextError::Control { what, text: text.to_owned() });
    }
    Ok(text)
}

/// Labels are free, within limits.
pub(crate) fn labels(labels: Option<&Map<String>>) -> Result<(), LimitError> {
    let bytes = labels.into_iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    Limit::Total.check("Labels", bytes)
}
