//! Why a container or a process in it could not be started.
//!
//! Owns the words. Those about the program itself are Docker's, because its clients look for them
//! to choose between the exit codes 126 and 127; what stands in front of them is the door's.

use std::fmt;

use sys::Errno;
use sys::process::Exit;

use crate::hooks::HookError;
use crate::plan::PlanError;

/// A failed start. Whatever it was, nothing of the container is left running.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The specification asks for something impossible or unknown.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Something that this process does for its child failed.
    #[error("{action} {object}: {errno}")]
    Prepare {
        /// What was done.
        action: &'static str,
        /// To what.
        object: String,
        /// Why not.
        errno: Reason,
    },
    /// A step of the child failed.
    #[error("init: {step}: {errno}")]
    Init {
        /// The step and its object, as `mount proc on /proc`.
        step: String,
        /// Why not.
        errno: Reason,
    },
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The child ended before it had said how far it came.
    #[error("init ended during its start{}", exit.map_or_else(String::new, |e| format!(": {e:?}")))]
    Died {
        /// How, unless someone else has reaped it.
        exit: Option<Exit>,
    },
    /// The program is not where it should be. Shells say 127.
    #[error("{0}")]
    NotFound(Missing),
    /// The program is there and cannot be executed. Shells say 126.
    #[error("exec: {path:?}: {errno}")]
    NotExecutable {
        /// Its path.
        path: String,
        /// `EACCES` or `EISDIR`.
        errno: Reason,
    },
    /// The kernel refused the program: another architecture, no interpreter.
    #[error("exec {path}: {errno}")]
    Exec {
        /// Its path.
        path: String,
        /// Why.
        errno: Reason,
    },
    /// The working directory is missing, or outside of the container's root.
    #[error("chdir to cwd ({path:?}) set in config.json failed: {errno}")]
    WorkingDirectory {
        /// As given.
        path: String,
        /// Why.
        errno: Reason,
    },
}

impl LaunchError {
    /// What a shell would say: 127 if a program or directory is missing, 126 if it is there and
    /// cannot be used; nothing if the container as a whole could not be made.
    #[must_use]
    pub fn shell_code(&self) -> Option<u8> {
        match self {
            Self::NotFound(_) => Some(127),
            Self::NotExecutable { .. } => Some(126),
            Self::Exec { errno, .. } | Self::WorkingDirectory { errno, .. } => {
                Some(if errno.errno == Errno::NOENT { 127 } else { 126 })
            }
            Self::Plan(_)
            | Self::Prepare { .. }
            | Self::Init { .. }
            | Self::Hook(_)
            | Self::Died { .. } => None,
        }
    }

    pub(crate) fn prepare(
        action: &'static str,
        object: impl fmt::Display,
    ) -> impl FnOnce(Errno) -> Self {
        let object = object.to_string();
        move |errno| Self::Prepare { action, object, errno: errno.into() }
    }
}

/// A program that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A bare name that no directory of `PATH` has.
    InPath(String),
    /// A path that names nothing.
    At(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPath(name) => write!(f, "exec: {name:?}: executable file not found in $PATH"),
            Self::At(path) => {
                write!(f, "exec: {path:?}: stat {path}: no such file or directory")
            }
        }
    }
}

/// An error number with the kernel's own words, if it had any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The number.
    pub errno: Errno,
    /// The words; may be empty.
    pub detail: String,
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: String::new() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lower_case_message(self.errno))?;
        // Older clients of Docker's know the code of this by the second half alone.
        if self.errno == Errno::ISDIR {
            f.write_str(": permission denied")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// `permission denied`, as Go programs print it, without the number that Rust appends.
fn lower_case_message(errno: Errno) -> String {
    let message = errno.to_string();
    let words = message.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_about_programs_are_dockers() {
        let not_found = LaunchError::NotFound(Missing::InPath("nosuch".to_owned()));
        assert_eq!(not_found.to_string(), r#"exec: "nosuch": executable file not found in $PATH"#);
        let missing = LaunchError::NotFound(Missing::At("/nosuch".to_owned()));
        assert_eq!(
            missing.to_string(),
            r#"exec: "/nosuch": stat /nosuch: no such file or directory"#
        );
        let refused = |errno: Errno| LaunchError::NotExecutable {
            path: "/etc".to_owned(),
            errno: errno.into(),
        };
        assert_eq!(refused(Errno::ACCESS).to_string(), r#"exec: "/etc": permission denied"#);
        assert_eq!(
            refused(Errno::ISDIR).to_string(),
            r#"exec: "/etc": is a directory: permission denied"#
        );
        assert_eq!(
            (not_found.shell_code(), refused(Errno::ISDIR).shell_code()),
            (Some(127), Some(126))
        );
    }

    #[test]
    fn a_failed_step_is_named_with_the_kernels_words() {
        let error = LaunchError::Init {
            step: "mount tmpfs on /run".to_owned(),
            errno: Reason { errno: Errno::INVAL, detail: "tmpfs: Bad value for 'size'".to_owned() },
        };
        assert_eq!(
            error.to_string(),
            "init: mount tmpfs on /run: invalid argument (tmpfs: Bad value for 'size')"
        );
    }
}
