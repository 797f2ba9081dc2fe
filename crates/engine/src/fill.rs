//! Fills an empty volume with what the image has where it is mounted.
//!
//! The copy is made beside the volume's files and moved in when it is whole and on disk: one that a
//! kill or a power cut cuts short is begun again by the next container, and never taken for the
//! volume's content.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model::mount::{CopyUp, MountSource};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use store::layer::{ApplyOptions, PackOptions};
use sys::failpoint::Point;
use sys::root::Root;

use crate::container::Container;
use crate::prepare::{set_mode, store_error};
use crate::record::{Filling, NamedMount};
use crate::{Engine, EngineError};

/// A copy that is being made.
const PARTIAL: &str = "_fill.partial";
/// A copy that is being moved in.
const WHOLE: &str = "_fill";

impl Engine {
    /// Fills those of a new container's volumes that are empty, the directory's own owner and mode
    /// included.
    pub(crate) fn fill_volumes(&self, container: &Container) -> Result<(), EngineError> {
        self.fill_from(container, |_| true, || Ok(Root::from_fd(self.rootfs(container)?)))
    }

    fn fill_from(
        &self,
        container: &Container,
        is_meant: impl Fn(&NamedMount) -> bool,
        source: impl FnOnce() -> Result<Root, EngineError>,
    ) -> Result<(), EngineError> {
        let wanting: Vec<_> = container
            .record
            .mounts
            .iter()
            .filter(|mount| is_meant(mount))
            .filter_map(|mount| {
                self.wants_filling(mount).then_some((mount, mount.volume.as_ref()?))
            })
            .collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let tree = source()?;
        for (mount, volume) in wanting {
            let data = self.paths().volume_data(volume);
            let dir = data.parent().unwrap_or(&data);
            // Two containers that are made at once with one volume fill it once.
            let _filling = lock(dir)?;
            if self.wants_filling(mount) {
                fill(&tree, &mount.mount.target, dir, &data, lasting(container, mount))?;
            }
        }
        Ok(())
    }

    /// The same for volumes that an update has added; the record, which says so, is not saved.
    pub(crate) fn fill_due(&self, container: &mut Container) -> Result<(), EngineError> {
        let is_due = |mount: &NamedMount| mount.filling == Filling::Due;
        if !container.record.mounts.iter().any(is_due) {
            return Ok(());
        }
        // It may run, and what it has written, or emptied, is not the image's.
        self.fill_from(container, is_due, || self.image_files(container))?;
        for mount in &mut container.record.mounts {
            mount.filling = Filling::Done;
        }
        Ok(())
    }

    fn wants_filling(&self, mount: &NamedMount) -> bool {
        let wished =
            matches!(mount.mount.source, MountSource::Volume { copy_up: CopyUp::WhenEmpty, .. });
        // What is mounted as a volume is somebody else's, or gone with the container.
        let is_own = |name: &String| self.is_mounted_volume(name).is_ok_and(|mounted| !mounted);
        let is_open = |name: &String| {
            let data = self.paths().volume_data(name);
            is_empty_dir(&data) || data.with_file_name(WHOLE).exists()
        };
        wished && mount.volume.as_ref().is_some_and(|name| is_open(name) && is_own(name))
    }
}

/// Keeps others from filling a volume, whose directory this is.
pub(crate) fn lock(dir: &Path) -> Result<OwnedFd, EngineError> {
    let open = open_dir(dir)?;
    rustix::fs::flock(&open, FlockOperation::LockExclusive)
        .map_err(|errno| EngineError::file("lock the volume", dir)(errno.into()))?;
    Ok(open)
}

/// The directory that a volume has, beside whose files there is more.
pub(crate) fn open_dir(dir: &Path) -> Result<OwnedFd, EngineError> {
    // The name may still lead to the files' former one, after a rename that was cut short.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty())
        .map_err(|errno| EngineError::file("open the volume", dir)(errno.into()))
}

/// Whether a volume can outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Yes,
    /// It goes with its container, which the next command removes.
    No,
}

fn lasting(container: &Container, mount: &NamedMount) -> Lasting {
    if container.row.auto_remove && mount.is_drawn() { Lasting::No } else { Lasting::Yes }
}

fn fill(
    tree: &Root,
    target: &Path,
    dir: &Path,
    data: &Path,
    lasting: Lasting,
) -> Result<(), EngineError> {
    let whole = dir.join(WHOLE);
    if !whole.exists() {
        // What the image does not have at the target leaves the volume empty.
        let Ok(source) = tree.open_dir(target) else { return Ok(()) };
        let partial = dir.join(PARTIAL);
        clear(&partial)?;
        std::fs::create_dir(&partial).map_err(EngineError::file("make", &partial))?;
        copy(&source, &Root::open(&partial).map_err(store_error)?)?;
        let like = tree.metadata(target).map_err(store_error)?;
        std::os::unix::fs::chown(&partial, Some(like.st_uid), Some(like.st_gid))
            .map_err(EngineError::file("set the owner of", &partial))?;
        set_mode(&partial, like.st_mode & 0o7777)?;
        if lasting == Lasting::Yes {
            flush(&partial)?;
        }
        std::fs::rename(&partial, &whole).map_err(EngineError::file("rename", &partial))?;
    }
    move_in(&whole, data)?;
    clear(&whole)?;
    // The container's row says that all is made, and not every file system takes these names to the disk
    // with it, as ext4 and XFS do.
    if lasting == Lasting::Yes { flush(data) } else { Ok(()) }
}

/// The volume's directory itself stays: a container may have it mounted. What such a one has
/// written meanwhile is not replaced.
fn move_in(whole: &Path, data: &Path) -> Result<(), EngineError> {
    let like = std::fs::metadata(whole).map_err(EngineError::file("look at", whole))?;
    std::os::unix::fs::chown(data, Some(like.uid()), Some(like.gid()))
        .map_err(EngineError::file("set the owner of", data))?;
    set_mode(data, like.mode() & 0o7777)?;
    for entry in std::fs::read_dir(whole).map_err(EngineError::file("list", whole))? {
        let from = entry.map_err(EngineError::file("list", whole))?.path();
        let Some(name) = from.file_name() else { continue };
        match rustix::fs::renameat_with(CWD, &from, CWD, data.join(name), RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => EngineError::step(Point::CreateCopied)?,
            Err(errno) => return Err(EngineError::file("move", &from)(errno.into())),
        }
    }
    Ok(())
}

/// The files' content, before the names by which they are taken for whole.
fn flush(tree: &Path) -> Result<(), EngineError> {
    let flushed = std::fs::File::open(tree).and_then(|tree| Ok(rustix::fs::syncfs(tree)?));
    flushed.map_err(EngineError::file("flush the file system of", tree))
}

/// Removes a tree, if it is there.
pub(crate) fn clear(dir: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::file("remove", dir)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Forgets a copy that was cut short: the volume, whose directory this is and which its caller has locked, gets
/// its content from elsewhere.
pub(crate) fn forget(dir: &Path) -> Result<(), EngineError> {
    clear(&dir.join(PARTIAL))?;
    clear(&dir.join(WHOLE))
}

fn is_empty_dir(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Copies a tree through the archive code, which keeps links, owners, times and attributes, and
/// follows nothing.
fn copy(source: &Root, dest: &Root) -> Result<(), EngineError> {
    let (reader, writer) = std::io::pipe().map_err(EngineError::file("make", "a pipe"))?;
    std::thread::scope(|scope| {
        let pack = scope.spawn(move || store::layer::pack(source, writer, &PackOptions::default()));
        let reader = std::io::BufReader::with_capacity(1 << 20, reader);
        let applied = store::layer::apply(reader, dest, &ApplyOptions::default());
        let packed = pack.join();
        applied.map_err(store_error)?;
        match packed {
            Ok(packed) => packed.map(drop).map_err(store_error),
            Err(_) => Err(EngineError::Invalid(
                "the copy of a directory of the image panicked".to_owned(),
            )),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As after a kill in the middle of moving in: what is there stays, the rest comes, and a
    /// container's own file of the same name is not replaced.
    #[test]
    fn a_copy_that_was_being_moved_in_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, data) = (dir.path().join(WHOLE), dir.path().join("_data"));
        for made in [&whole, &data] {
            std::fs::create_dir(made).unwrap();
        }
        for (file, text) in
            [("_data/a", "moved"), ("_data/b", "own"), ("_fill/b", "image"), ("_fill/c", "image")]
        {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let tree = Root::open(dir.path()).unwrap();
        fill(&tree, Path::new("/nowhere"), dir.path(), &data, Lasting::Yes).unwrap();
        let read = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
        assert_eq!(
            (read("a"), read("b"), read("c")),
            ("moved".into(), "own".into(), "image".into())
        );
        assert!(!whole.exists());
    }

    /// As after a kill in the middle of copying: the half copy is thrown away.
    #[test]
    fn a_copy_cut_short_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        for made in ["_data", "_fill.partial", "image"] {
            std::fs::create_dir(dir.path().join(made)).unwrap();
        }
        std::fs::write(dir.path().join("_fill.partial/half"), "").unwrap();
        std::fs::write(dir.path().join("image/file"), "text").unwrap();
        set_mode(&dir.path().join("image"), 0o710).unwrap();
        let (tree, data) = (Root::open(dir.path()).unwrap(), dir.path().join("_data"));
        fill(&tree, Path::new("/image"), dir.path(), &data, Lasting::Yes).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(&data).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(std::fs::metadata(&data).unwrap().mode() & 0o7777, 0o710);
    }
}
