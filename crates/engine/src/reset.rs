//! `reset`: takes a whole state root away, also one whose records nobody can read any more.
//!
//! What the records know goes by them, one container after another. What is left then is found without
//! them: those that live have a directory below the runtime root, and the kernel's objects are named
//! after the root.

use cgroup::{CgroupError, Hierarchies};
use model::{ContainerId, NameOrId, Signal};
use shim::protocol::Reach;
use shim::{CallError, Journal};
use store::DbError;

use crate::bury;
use crate::container::Container;
use crate::fill::clear;
use crate::guard::call_error;
use crate::network::net_error;
use crate::reconcile::cgroup_error;
use crate::view::RemoveOptions;
use crate::{Engine, EngineError, volume_filling};

impl Engine {
    /// Removes everything of this root: containers, images, volumes, networks, kernel objects and
    /// files. What of it could not be read, or given back to whose it is, and was removed all the same.
    ///
    /// # Errors
    /// The first that happens, unless it is that something cannot be read; the rest is not tried.
    pub fn reset(&self) -> Result<Vec<String>, EngineError> {
        let mut unread = self.remove_recorded()?;
        // A damaged database says the same of every container.
        unread.dedup();
        self.end_unrecorded()?;
        // An ordinary user's networks are in a namespace that ends with the last container.
        if !sys::rootless::is_member() {
            unread.extend(self.leave_found_bridges()?);
            net::scan::teardown(&self.names()).map_err(net_error)?;
        }
        self.remove_roots()?;
        Ok(unread)
    }

    fn remove_recorded(&self) -> Result<Vec<String>, EngineError> {
        let rows = match self.store().containers().list() {
            Ok(rows) => rows,
            Err(error) => return Ok(vec![unreadable(error.into())?]),
        };
        let mut unread = Vec::new();
        for row in rows {
            let (id, options) = (row.id, RemoveOptions { force: true, volumes: true });
            if let Err(error) = Container::read(row) {
                unread.push(unreadable(error)?);
            }
            match self.remove(&NameOrId::from(id), options) {
                Ok(()) | Err(EngineError::NoSuchContainer(_)) => {}
                Err(error) => unread.push(unreadable(error)?),
            }
        }
        Ok(unread)
    }

    /// Ends whatever lives and removes all cgroups.
    fn end_unrecorded(&self) -> Result<(), EngineError> {
        for id in self.run_dirs() {
            self.end_life(&id)?;
        }
        self.all_hierarchies()?.iter().try_for_each(|one| self.remove_groups(one))
    }

    fn remove_groups(&self, hierarchies: &Hierarchies) -> Result<(), EngineError> {
        let parent = self.paths().cgroup_parent();
        let failed = |error: CgroupError| cgroup_error(&error);
        // Those that said nothing or were not found; with each dies its container's init.
        shim::end_home(hierarchies, &parent).map_err(failed)?;
        for (_, place) in self.cgroups(hierarchies)? {
            bury::end(hierarchies, &place)?;
        }
        shim::remove_home(hierarchies, &parent).map_err(failed)
    }

    /// Kills a container by its shim, which leaves then.
    fn end_life(&self, id: &ContainerId) -> Result<(), EngineError> {
        let Ok(Some(mut shim)) = self.shim_to_kill(id) else { return Ok(()) };
        // So that it does not remove what is removed here. Whoever else has claimed that finds nothing.
        if let Err(CallError::Silent(_) | CallError::Connection(_)) = shim.claim() {
            return Ok(());
        }
        // If it does not run, or its shim says nothing any more, that is seen now.
        let killed = shim.kill(Signal::KILL, Reach::Everyone);
        if let Err(error @ CallError::Failed(_)) = killed {
            return Err(call_error(id, error));
        }
        // One that stays is killed with the others.
        let _ = shim.quit();
        Ok(())
    }

    fn remove_roots(&self) -> Result<(), EngineError> {
        let run = self.paths().run();
        let locks = volume_filling::locks(self.paths());
        for root in [&run.join("c"), &run.join("exec"), &run.join("n"), &locks, self.paths().root()]
        {
            clear(root)?;
        }
        // Removals have been told until now.
        let journal = Journal::of(run);
        journal.remove().map_err(EngineError::file("remove", journal.path()))?;
        shim::forget_parts(run).map_err(EngineError::file("clear", run))?;
        bury::remove(&self.noted())?;
        sys::rootless::networks::forget(run).map_err(EngineError::file("clear", run))?;
        // The directory itself may be the caller's own: only an empty one goes.
        let _ = std::fs::remove_dir(run);
        Ok(())
    }
}

/// What to say of a record that cannot be read; any other error is one.
fn unreadable(error: EngineError) -> Result<String, EngineError> {
    // These two without the advice how to save what is in the database.
    if let EngineError::Db(DbError::Damaged { path, detail, .. }) = &error {
        return Ok(format!("{} is damaged ({detail})", path.display()));
    }
    if let EngineError::Db(DbError::TooNew { path, found, known }) = &error {
        let path = path.display();
        return Ok(format!("{path} has schema {found}, this dhow knows up to {known}"));
    }
    let is_unread = matches!(
        error,
        EngineError::Record { .. }
            | EngineError::Shim { .. }
            | EngineError::Damaged { .. }
            | EngineError::Store(_)
            | EngineError::Db(DbError::Open { .. } | DbError::Setup { .. } | DbError::Sql { .. })
    );
    if is_unread { Ok(error.to_string()) } else { Err(error) }
}
