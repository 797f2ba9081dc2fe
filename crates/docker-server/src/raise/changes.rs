//! One changed path.

use docker_api::types::containers::FilesystemChange;
use engine::view::{Change, ChangeKind};

/// Bytes that are no text come as replacement characters, as from Go.
pub(crate) fn change(change: &Change) -> FilesystemChange {
    let kind = match change.kind {
        ChangeKind::Modified => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    FilesystemChange { kind, path: change.path.to_string_lossy().into_owned() }
}
