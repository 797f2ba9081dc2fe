//! A volume gets another name: a row and a directory, of which the one changes with the database and
//! the other does not.
//!
//! First the directory says what it is going to be called (a symlink in it), and the new name leads
//! to it (another one); then the row changes; then directory and symlink change places, and both
//! symlinks go. Before the row has changed there is nothing but leftovers at the new name; afterwards
//! each of the names on disk leads to the files until they have moved. Whoever finds a directory
//! without a row, and would clear it away, calls [`settle`] before.

use std::io;
use std::path::{Path, PathBuf};

use model::ContainerId;
use rustix::fs::{CWD, RenameFlags};
use sys::failpoint::{Point, reach};

use super::staged::{failed, flush_dir};
use super::{VolumeRow, VolumeRowError, Volumes, by_name, insert_row, users};
use crate::db::{DbError, Durability, Tx};
use crate::layout::Layout;
use crate::trash::Moved;

/// What a directory is going to be called.
const NEXT: &str = "_renamed";

/// A volume that gets another name.
#[derive(Debug, Clone, Copy)]
pub struct Renaming<'a> {
    /// The name that it has.
    pub from: &'a str,
    /// All that it will be.
    pub row: &'a VolumeRow,
    /// What its containers' records are with the new name.
    pub records: &'a [(ContainerId, String)],
}

impl Volumes<'_> {
    /// Gives a volume another name, and the containers that use it their records.
    ///
    /// # Errors
    /// There is none, or one of the new name; others use it than those whose records are given; the
    /// database, the file system.
    pub fn rename(&self, to: &Renaming<'_>) -> Result<(), VolumeRowError> {
        let from = to.from;
        self.create("rename a volume", |tx, stale| self.point_and_rename(tx, to, stale))?;
        reach(Point::VolumeRenamed)
            .map_err(|errno| failed(&self.layout.volume(from))(errno.into()))?;
        self.db.write("move the files of a volume", Durability::Eventual, |tx| {
            settle(tx, self.layout, from)
        })
    }

    fn point_and_rename(
        &self,
        tx: &Tx<'_>,
        Renaming { from, row, records }: &Renaming<'_>,
        stale: &mut Moved,
    ) -> Result<(), VolumeRowError> {
        if by_name(tx, from)?.is_none() {
            return Err(VolumeRowError::NoSuchVolume((*from).to_owned()));
        }
        if by_name(tx, &row.name)?.is_some() {
            return Err(VolumeRowError::Taken(row.name.clone()));
        }
        let mut known: Vec<ContainerId> = records.iter().map(|(id, _)| *id).collect();
        let mut there = users(tx, from)?;
        known.sort_unstable();
        there.sort_unstable();
        if known != there {
            return Err(VolumeRowError::OtherUsers((*from).to_owned()));
        }
        settle_behind(tx, self.layout, from)?;
        settle(tx, self.layout, &row.name)?;
        stale.take(self.layout, self.layout.volume(&row.name))?;
        point(self.layout, from, &row.name)?;
        insert_row(tx, row)?;
        tx.execute("UPDATE volume_uses SET volume = ?2 WHERE volume = ?1", (from, &row.name))?;
        tx.execute("DELETE FROM volumes WHERE name = ?1", [from])?;
        for (id, record) in *records {
            if !crate::db::containers::set_record(tx, id, record)? {
                return Err(VolumeRowError::NoSuchContainer(*id));
            }
        }
        Ok(())
    }
}

/// The directory and the new name know of each other, on disk.
fn point(layout: &Layout, from: &str, to: &str) -> Result<(), VolumeRowError> {
    let (dir, link) = (layout.volume(from), layout.volume(to));
    let next = dir.join(NEXT);
    // Of a rename that did not come about.
    unlink(&next)?;
    std::os::unix::fs::symlink(to, &next).map_err(failed(&next))?;
    flush_dir(&dir)?;
    std::os::unix::fs::symlink(from, &link).map_err(failed(&link))?;
    flush_dir(&layout.volumes())?;
    reach(Point::VolumeLinked).map_err(|errno| failed(&link)(errno.into()))
}

/// Finishes the rename of the volume that was called `from`, if its row has the new name already. To be
/// called, within a transaction that writes, before a directory of a name that no volume has is taken
/// for a leftover.
pub(crate) fn settle(tx: &Tx<'_>, layout: &Layout, from: &str) -> Result<(), VolumeRowError> {
    let dir = layout.volume(from);
    let Some(to) = target(&dir.join(NEXT)) else { return Ok(()) };
    if !is_there(tx, &to)? || is_there(tx, from)? {
        return Ok(());
    }
    let link = layout.volume(&to);
    let at = || failed(&link);
    match target(&link) {
        Some(text) if text == from => {}
        // One of that name that has nothing to do with it.
        _ => return Ok(()),
    }
    rustix::fs::renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE)
        .map_err(|errno| at()(errno.into()))?;
    flush_dir(&layout.volumes())?;
    reach(Point::VolumeMoved).map_err(|errno| at()(errno.into()))?;
    unlink(&dir)?;
    unlink(&link.join(NEXT))
}

/// The same for a volume by its new name: to be called before its row goes or changes.
pub(crate) fn settle_behind(
    tx: &Tx<'_>,
    layout: &Layout,
    name: &str,
) -> Result<(), VolumeRowError> {
    match target(&layout.volume(name)) {
        Some(from) => settle(tx, layout, &from),
        None => Ok(()),
    }
}

fn is_there(tx: &Tx<'_>, name: &str) -> Result<bool, DbError> {
    Ok(by_name(tx, name)?.is_some())
}

/// What a symlink says; `None` if it is none.
fn target(link: &Path) -> Option<String> {
    std::fs::read_link(link).ok().and_then(|path: PathBuf| path.into_os_string().into_string().ok())
}

fn unlink(path: &Path) -> Result<(), VolumeRowError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
