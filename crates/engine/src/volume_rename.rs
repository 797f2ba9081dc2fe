//! `volume rename`: a volume gets another name, and with it all that its containers remember of it.

use model::ContainerId;
use model::mount::{Mount, MountSource};
use store::{Renaming, VolumeRow, VolumeRowError};

use crate::container::{Container, OpLock, to_json};
use crate::error::VolumeConflict;
use crate::record::Record;
use crate::volume::{ANONYMOUS_LABEL, check_name, volume_error};
use crate::{Engine, EngineError};

/// Writes what a client said of a mount anew: only whoever lowered its words can read them.
pub(crate) type Reword<'a> = dyn Fn(&str) -> String + 'a;

impl Engine {
    /// Gives a volume another name. None of the containers that use it may run; they use it by its new
    /// name from then on. One that nobody had named is anonymous no more.
    ///
    /// # Errors
    /// There is none, or one of that name; a container that uses it runs.
    pub fn volume_rename(
        &self,
        from: &str,
        to: &str,
        reword: &Reword<'_>,
    ) -> Result<(), EngineError> {
        check_name(to)?;
        loop {
            let row = self.store().volumes().get(from)?;
            let row = row.ok_or_else(|| EngineError::NoSuchVolume(from.to_owned()))?;
            if self.store().volumes().get(to)?.is_some() {
                return Err(VolumeConflict::Taken(to.to_owned()).into());
            }
            let users = self.lock_users(from)?;
            let reworded = |(_, container): &(OpLock, Container)| {
                let mut record = container.record.clone();
                rename_in(&mut record, from, to, reword);
                (container.id, to_json(&record))
            };
            let records: Vec<(ContainerId, String)> = users.iter().map(reworded).collect();
            let row = renamed(row, to);
            let renaming = Renaming { from, row: &row, records: &records };
            match self.store().volumes().rename(&renaming) {
                // A container was made or removed since.
                Err(VolumeRowError::OtherUsers(_)) => {}
                done => {
                    done.map_err(volume_error)?;
                    self.tell_volume("rename", to, &[("oldName", from.to_owned())]);
                    return Ok(());
                }
            }
        }
    }

    /// All containers that use a volume, none of which runs or can be started meanwhile.
    fn lock_users(&self, name: &str) -> Result<Vec<(OpLock, Container)>, EngineError> {
        let mut ids = self.store().volumes().users(name)?;
        // Everybody in one order: no two wait for each other.
        ids.sort_unstable();
        let mut locked = Vec::with_capacity(ids.len());
        for id in ids {
            let (lock, container) = match self.lock(&id) {
                // Removed since.
                Err(EngineError::NoSuchContainer(_)) => continue,
                held => held?,
            };
            if self.liveness(&id)? == shim::Liveness::Held {
                let by = container.name().to_owned();
                return Err(VolumeConflict::Runs { name: name.to_owned(), by }.into());
            }
            locked.push((lock, container));
        }
        Ok(locked)
    }
}

fn renamed(mut row: VolumeRow, to: &str) -> VolumeRow {
    to.clone_into(&mut row.name);
    row.anonymous = false;
    row.labels.remove(ANONYMOUS_LABEL);
    row
}

/// The new name wherever a record has the old one.
fn rename_in(record: &mut Record, from: &str, to: &str, reword: &Reword<'_>) {
    let mut targets = Vec::new();
    for named in record.mounts.iter_mut().filter(|named| named.volume.as_deref() == Some(from)) {
        named.volume = Some(to.to_owned());
        targets.push(named.mount.target.clone());
        name_source(&mut named.mount, to);
    }
    let files = &mut record.spec.files;
    let wished = files.mounts.iter_mut().chain(&mut record.resolved.mounts);
    for mount in wished.filter(|mount| targets.contains(&mount.target)) {
        name_source(mount, to);
    }
    for bind in &mut files.binds {
        if let Some(rest) = bind.strip_prefix(from).filter(|rest| rest.starts_with(':')) {
            *bind = format!("{to}{rest}");
        }
    }
    for asked in &mut files.asked {
        *asked = reword(asked);
    }
}

fn name_source(mount: &mut Mount, to: &str) {
    if let MountSource::Volume { name, .. } = &mut mount.source {
        *name = Some(to.to_owned());
    }
}
