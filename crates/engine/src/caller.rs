//! Who asks: the user as whom something is done on the host that only the user's own rights allow.
//!
//! In this process that is its real user. What an environment says (`SUDO_UID`) is no proof of anything,
//! and is not looked at.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::EngineError;
use crate::prepare::set_mode;

/// A user of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    uid: u32,
    gid: u32,
}

impl Caller {
    /// Whoever has started this process.
    pub(crate) fn of_process() -> Self {
        Self { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }

    /// Whether this process acts as the caller anyway.
    fn is_process(self) -> bool {
        let effective = Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        self == effective
    }

    /// Makes a directory, with those that are missing above it, as the caller: they are the caller's,
    /// and are not made where the caller could not make them.
    pub(crate) fn make_dir(self, path: &Path) -> Result<(), EngineError> {
        if self.is_process() {
            return make_dir(path);
        }
        let made = || {
            sys::fs_context::act_as(self.uid, self.gid)
                .map_err(|errno| EngineError::file("make the bind source", path)(errno.into()))?;
            make_dir(path)
        };
        // A panic aborts the program, so that there is always an outcome.
        std::thread::scope(|scope| scope.spawn(made).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn make_dir(path: &Path) -> Result<(), EngineError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(EngineError::file("make the bind source", path))?;
    set_mode(path, 0o755)
}
