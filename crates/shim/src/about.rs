//! What a shim must know of its container to tell its end: `about.json`.
//!
//! The engine writes it at each start, and again when it changes; the shim reads it when
//! something happens. In a file it costs no memory while nothing does.

use std::collections::BTreeMap;

use model::{Event, EventKind};
use serde::{Deserialize, Serialize};

use crate::journal;
use crate::paths::ShimPaths;
use crate::record::{self, RecordError};

/// A container as its events tell of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Of each of its events: its labels, and `image` and `name`.
    pub attributes: BTreeMap<String, String>,
    /// What is told when it has ended, about networks and volumes that it has then left: kind, id
    /// and attributes of each.
    pub uses: Vec<Use>,
}

/// A network or a volume that a container uses while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// A network or a volume.
    pub kind: EventKind,
    /// The network's id, the volume's name.
    pub actor: String,
    /// When the use begins; `container` is among them.
    pub begins: BTreeMap<String, String>,
    /// When it ends.
    pub ends: BTreeMap<String, String>,
}

impl About {
    /// Writes it where the container's shim finds it, without attributes that no event has room
    /// for. The shim's directory must be there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(mut self, paths: &ShimPaths) -> Result<(), RecordError> {
        journal::fit(&mut self.attributes);
        record::write(&paths.about(), &self)
    }

    pub(crate) fn read(paths: &ShimPaths) -> Option<Self> {
        record::read(&paths.about()).ok().flatten()
    }
}

impl Use {
    /// Docker's word for the beginning of a use.
    #[must_use]
    pub fn begin(&self, at: jiff::Timestamp) -> Event {
        let word = if self.kind == EventKind::Network { "connect" } else { "mount" };
        self.event(word, &self.begins, at)
    }

    /// And for its end.
    #[must_use]
    pub fn end(&self, at: jiff::Timestamp) -> Event {
        let word = if self.kind == EventKind::Network { "disconnect" } else { "unmount" };
        self.event(word, &self.ends, at)
    }

    fn event(
        &self,
        word: &str,
        attributes: &BTreeMap<String, String>,
        at: jiff::Timestamp,
    ) -> Event {
        Event {
            kind: self.kind,
            action: word.to_owned(),
            actor: self.actor.clone(),
            attributes: attributes.clone(),
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_with_very_many_labels_is_told_of_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ShimPaths {
            id: model::ContainerId::from_random([1; 32]),
            root: dir.path().join("root"),
            run: dir.path().join("run"),
            cgroup: "none".to_owned(),
        };
        std::fs::create_dir_all(paths.dir()).unwrap();
        let mut about = About::default();
        about.attributes.insert("name".to_owned(), "web".to_owned());
        about.attributes.extend((0..3000).map(|n| (format!("label{n}"), "x".repeat(1000))));
        about.write(&paths).unwrap();
        let read = About::read(&paths).unwrap();
        assert_eq!(read.attributes["name"], "web");
        assert!((50..70).contains(&read.attributes.len()), "{}", read.attributes.len());
    }
}
