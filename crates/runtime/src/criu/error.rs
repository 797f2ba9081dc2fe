//! Why a container cannot be written down or made again.

use std::path::PathBuf;

use sys::Errno;

use super::talk::TalkError;

/// criu did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CriuError {
    /// It cannot be started.
    #[error("start {}: {errno}", .program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Something that it works with cannot be opened.
    #[error("open {} for criu: {errno}", .path.display())]
    Open {
        /// What.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// It has said no.
    #[error("criu: {0}")]
    Refused(String),
    /// What it has made is not what the specification describes. It never ran.
    #[error("{0}: that is more than the container may have")]
    Excess(String),
    /// It has never said that all was made: nobody could look at it before it ran.
    #[error("criu has not shown what it made before that ran")]
    Unseen,
    /// There was no answer.
    #[error("criu: {what}{}", said(.log))]
    Lost {
        /// How it was lost.
        what: String,
        /// Its last errors; may be empty.
        log: String,
    },
}

impl CriuError {
    /// Its log tells more than its answer.
    pub(super) fn refused(log: String, said: Option<String>, errno: Option<i32>) -> Self {
        let number = || errno.map(|errno| Errno::from_raw_os_error(errno).to_string());
        let said = said.filter(|said| !said.is_empty());
        let words = Some(log).filter(|log| !log.is_empty()).or(said).or_else(number);
        Self::Refused(words.unwrap_or_else(|| "it does not say why".to_owned()))
    }

    pub(super) fn lost(error: &TalkError, log: String) -> Self {
        Self::Lost { what: error.to_string(), log }
    }
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(": {log}") }
}

/// A container is not made of what a checkpoint can hold. Nothing has been frozen.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Something of it cannot be looked at: it may have ended.
    #[error("look at {what} of the container: {source}")]
    Look {
        /// At what.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A namespace of others, whose processes would be written down too, or lost.
    #[error("its {0} namespace is the host's")]
    SharedNamespace(&'static str),
    /// A mount that its specification does not bring back.
    #[error("{kind} is mounted on {place}, which was not when it was started")]
    ForeignMount {
        /// What kind of file system.
        kind: String,
        /// Where.
        place: String,
    },
    /// A path that criu's options cannot name.
    #[error("criu cannot be told of a mount on {0:?}")]
    MountName(String),
}
