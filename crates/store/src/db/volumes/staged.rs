//! A volume whose files come first: they are made where nobody looks for them, and get its name when
//! they are whole and on disk. Who is killed before leaves what the next collection takes.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use sys::failpoint::{Point, reach};

use super::{
    DATA, VolumeRow, VolumeRowError, Volumes, by_name, insert_row, make_data, make_own, moved,
};
use crate::gc;
use crate::layout::{Layout, random_name};
use crate::lock::{self, Attempt, Kind};
use crate::trash;

/// The files of a volume that has no name yet; thrown away when dropped.
#[derive(Debug)]
pub struct StagedVolume {
    layout: Layout,
    dir: Option<PathBuf>,
    _lock: File,
}

impl StagedVolume {
    /// The directory that containers will see.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.as_deref().map(|dir| dir.join(DATA)).unwrap_or_default()
    }

    /// All of it is on disk from here on.
    ///
    /// # Errors
    /// The file system.
    pub fn flush(&self) -> Result<(), VolumeRowError> {
        let data = self.data();
        let flushed = File::open(&data).and_then(|data| Ok(rustix::fs::syncfs(data)?));
        flushed.map_err(failed(&data))?;
        reach(Point::VolumeStaged).map_err(|errno| failed(&data)(errno.into()))
    }
}

impl Drop for StagedVolume {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take() {
            // What cannot be removed is found by the next collection.
            let _ = trash::discard(&self.layout, dir);
        }
    }
}

impl Volumes<'_> {
    /// Begins a volume with its files.
    ///
    /// # Errors
    /// The file system.
    pub fn stage(&self) -> Result<StagedVolume, VolumeRowError> {
        // What the dead have left takes as much room as what is to be made.
        gc::sweep(self.layout)?;
        let staging = self.layout.staging();
        loop {
            let dir = staging.join(random_name().map_err(failed(&staging))?);
            make_own(&dir).map_err(failed(&dir))?;
            match lock::attempt(&dir, Kind::Directory).map_err(failed(&dir))? {
                Attempt::Held(lock) => {
                    // Only now: what nobody has locked may be swept away at any moment.
                    make_data(&dir).map_err(failed(&dir))?;
                    let (layout, dir) = (self.layout.clone(), Some(dir));
                    return Ok(StagedVolume { layout, dir, _lock: lock });
                }
                // Whoever sweeps has seen it before it was locked.
                Attempt::Busy | Attempt::Gone => {}
            }
        }
    }

    /// Makes the volume of what is staged.
    ///
    /// # Errors
    /// There is a volume of that name; the file system, the database.
    pub fn adopt(&self, mut staged: StagedVolume, row: &VolumeRow) -> Result<(), VolumeRowError> {
        staged.flush()?;
        self.create("make a volume of its files", |tx, stale| {
            if by_name(tx, &row.name)?.is_some() {
                return Err(VolumeRowError::Taken(row.name.clone()));
            }
            let to = self.layout.volume(&row.name);
            moved::settle(tx, self.layout, &row.name)?;
            stale.take(self.layout, to.clone())?;
            if let Some(from) = staged.dir.take() {
                std::fs::rename(&from, &to).map_err(failed(&to))?;
            }
            flush_dir(&self.layout.volumes())?;
            reach(Point::VolumeAdopted).map_err(|errno| failed(&to)(errno.into()))?;
            insert_row(tx, row)
        })
    }
}

/// Takes the names in a directory to the disk.
pub(super) fn flush_dir(dir: &Path) -> Result<(), VolumeRowError> {
    let flushed = File::open(dir).and_then(|open| Ok(rustix::fs::fsync(open.as_fd())?));
    flushed.map_err(failed(dir))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> VolumeRowError + use<> {
    let path = path.to_owned();
    move |source| VolumeRowError::Make { path, source }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::Store;

    /// Whoever sweeps may see it before it is locked: then it is another's name that it gets.
    #[test]
    fn what_is_staged_is_not_swept_away() {
        const OFTEN: usize = 60;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ended = AtomicBool::new(false);
        let sweeping = || {
            while !ended.load(Ordering::Relaxed) {
                gc::sweep(store.volumes().layout).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let _both = [scope.spawn(sweeping), scope.spawn(sweeping)];
            // Those stop sweeping whatever comes of this.
            let staging = scope.spawn(|| {
                let volumes = store.volumes();
                (0..OFTEN).map(|_| volumes.stage()).collect::<Result<Vec<_>, _>>()
            });
            let staged = staging.join();
            ended.store(true, Ordering::Relaxed);
            let staged = staged.unwrap().unwrap();
            assert_eq!(staged.iter().filter(|one| one.data().is_dir()).count(), OFTEN);
            // Nor by one that sees it whole.
            let volumes = store.volumes();
            gc::sweep(volumes.layout).unwrap();
            assert!(staged.iter().all(|one| one.data().is_dir()));
            drop(staged);
            let left = std::fs::read_dir(volumes.layout.staging()).unwrap().count();
            assert_eq!(left, 0, "what nobody has adopted is thrown away");
        });
    }
}
