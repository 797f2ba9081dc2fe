//! The right to make and remove networks, one at a time.
//!
//! The rows are decided by the database. Behind them the kernel is changed under names and subnets that the
//! next network may have as well, so a removal has taken all of the old one before the new one is made.
//!
//! Roots of one host know nothing of each other's rows, and see what others have by the kernel alone: who chooses a
//! subnet keeps all of them from choosing until it is there.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::FlockOperation;

use crate::{Engine, EngineError};

/// Held while a network is made or removed; it ends with its process. The start of a container needs none:
/// its lease keeps its network.
#[derive(Debug)]
pub(super) struct Alone {
    _root: File,
}

/// Held by who chooses a subnet until the kernel has it; root's roots of one host have one. It ends with its process.
#[derive(Debug)]
pub(crate) struct Choice {
    /// `None` of who has it already, or needs none.
    file: Option<File>,
}

impl Drop for Choice {
    fn drop(&mut self) {
        if self.file.is_some() {
            CHOOSES.set(false);
        }
    }
}

thread_local! {
    /// Whether this thread chooses already: to make a network is to make the default one, where the tables are built.
    static CHOOSES: Cell<bool> = const { Cell::new(false) };
}

/// In a directory of root's that is empty after a start of the host, as the kernel's tables are.
const CHOICE: &str = "/run/dhow-subnets.lock";

impl Engine {
    /// Waits until no other root on this host chooses a subnet. An ordinary user's networks are in namespaces of
    /// their own.
    pub(crate) fn choose_alone(&self) -> Result<Choice, EngineError> {
        if sys::rootless::is_member() || CHOOSES.get() {
            return Ok(Choice { file: None });
        }
        let mut open = File::options();
        // Whoever could open it could keep it.
        let file = open.write(true).create(true).truncate(false).mode(0o600).open(CHOICE);
        let locked = file.and_then(|file| {
            rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
            Ok(file)
        });
        let file = locked.map_err(EngineError::file("lock", std::path::Path::new(CHOICE)))?;
        CHOOSES.set(true);
        Ok(Choice { file: Some(file) })
    }

    /// Waits until nobody else makes or removes a network. Nobody may hold it twice.
    pub(super) fn alone_with_networks(&self) -> Result<Alone, EngineError> {
        let root = self.paths().root();
        let failed = EngineError::file("lock", root);
        let locked = File::open(root).and_then(|root| {
            rustix::io::retry_on_intr(|| rustix::fs::flock(&root, FlockOperation::LockExclusive))?;
            Ok(root)
        });
        Ok(Alone { _root: locked.map_err(failed)? })
    }
}
