//! What a command that makes a container looks for first: what somebody was killed in the middle of.
//!
//! Only what costs next to nothing to see is looked for here; `reconcile` finds everything.

use std::collections::BTreeSet;

use model::{ContainerId, NameOrId};
use store::Found;

use crate::record::Record;
use crate::{Engine, EngineError};

impl Engine {
    /// Cleans up if a shim or a start has died without a word. Costs a look at each container that
    /// lives, so that whoever makes the next container can afford it.
    pub(crate) fn reconcile_if_needed(&self) -> Result<(), EngineError> {
        let there = self.run_dirs();
        for id in &there {
            // Of one that lives no more is looked at than this and its lock.
            if self.shim_paths(id).last_words().exists() || self.is_leftover(id)? {
                return self.reconcile();
            }
        }
        // Those that go at their end, whose end nobody has seen.
        for id in self.store().containers().auto_removed()? {
            if !there.contains(&id) && self.reread(&id)?.record.last_start().is_some() {
                self.settle_dead(&id)?;
            }
        }
        Ok(())
    }

    /// A name that only a half-made container has is free.
    pub(crate) fn free_name(&self, record: &Record) -> Result<(), EngineError> {
        let Some(name) = &record.spec.name else { return Ok(()) };
        match self.store().containers().find(&NameOrId::new(name.to_string()))? {
            Found::One(row) if row.name == *name => self.settle_dead(&row.id),
            Found::One(_) | Found::None | Found::Ambiguous => Ok(()),
        }
    }

    /// Whether a container's directory below the runtime root is of somebody who was killed: a shim
    /// that leaves takes its socket and its last words along, who removes a container all of it.
    pub(crate) fn is_leftover(&self, id: &ContainerId) -> Result<bool, EngineError> {
        if !self.is_free(id)? {
            return Ok(false);
        }
        let paths = self.shim_paths(id);
        if self.has_left_words(id) || paths.socket().exists() {
            return Ok(true);
        }
        // Whoever removes a container removes its row before its directory.
        Ok(self.store().containers().get(id)?.is_none() && paths.dir().exists())
    }

    /// The containers that have a directory below the runtime root.
    pub(crate) fn run_dirs(&self) -> BTreeSet<ContainerId> {
        let entries = std::fs::read_dir(self.paths().run().join("c")).into_iter().flatten();
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
            .collect()
    }
}
