//! Who fills a volume that is there, and what of that is not whole: imports are alone with its files, and what reads
//! all of them does not see the half of one.
//!
//! The locks are files of ours, by device and inode: one of the files' root, since two volumes may be one directory of
//! the host, and one of the volume's own directory, since a file system may have another device at each mount. The
//! directories themselves a container has, which could keep them locked. What an import has begun is noted
//! beside the volume's files: a name alone could be of a directory of the user's. The note also says when all is there
//! and on disk: from then on it is moved up, by whoever comes next if the import is killed, and before that removed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Timespec};
use rustix::io::Errno;
use sys::failpoint::Point;
use sys::root::Root;

use crate::prepare::store_error;
use crate::{Engine, EngineError, Paths};

/// Begins the names of what is not whole yet; 64 drawn digits follow.
const PARTIAL: &str = ".import-";
/// In a volume's directory, beside its files: a [`Noted`].
const NOTE: &str = "import";
/// A note that is being written.
const NEW_NOTE: &str = "import.new";
/// In the runtime root.
const LOCKS: &str = "v";
/// How often a lock is asked for, and with what in between: about a second. Others have it for a moment when they
/// look whether it can go.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// What a note is long at most: a name and four numbers.
const MAX_NOTE: u64 = 255;

/// When a volume's own directory was read and changed, as the archive has it. To move its entries up changes both
/// directories, and so does to remove the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed: Timespec,
    pub(crate) modified: Timespec,
}

/// What an import has noted.
#[derive(Debug, PartialEq, Eq)]
enum Noted {
    /// The name of what is not whole.
    Half(PathBuf),
    /// All of it is on disk, and part of it may be in its place already.
    Whole(PathBuf, Times),
    /// None of its names: a power cut can leave an empty note.
    Nothing,
}

/// Held while a volume's files are filled, or all of them read. It ends with its process.
#[derive(Debug)]
pub(crate) struct Held {
    _locks: Vec<Lock>,
}

#[derive(Debug)]
struct Lock {
    file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever has opened it before looks again whether it is there still.
        if rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where the locks are; for whoever clears the runtime root.
pub(crate) fn locks(paths: &Paths) -> PathBuf {
    paths.run().join(LOCKS)
}

impl Engine {
    /// Keeps everybody else from filling these files, and from reading all of them.
    pub(crate) fn fill_alone(&self, tree: &Root, name: &str) -> Result<Held, EngineError> {
        for _ in 0..ATTEMPTS {
            if let Some(alone) = self.held(tree, name, FlockOperation::NonBlockingLockExclusive)? {
                return Ok(alone);
            }
            std::thread::sleep(PAUSE);
        }
        Err(EngineError::Invalid(format!(
            "volume {name} is being imported into, exported or cloned: wait until that has ended"
        )))
    }

    /// Keeps everybody from filling these files, which somebody reads, and settles what an import has left that was
    /// killed.
    pub(crate) fn read_whole(&self, tree: &Root, name: &str) -> Result<Held, EngineError> {
        let dir = self.paths().volume(name);
        for _ in 0..ATTEMPTS {
            // Only who has something to settle keeps others from reading.
            if is_noted(&dir)
                && let Some(_alone) =
                    self.held(tree, name, FlockOperation::NonBlockingLockExclusive)?
            {
                settle(tree, &crate::fill::open_dir(&dir)?, name)?;
            }
            let held = self.held(tree, name, FlockOperation::NonBlockingLockShared)?;
            if let Some(held) = held.filter(|_| !is_noted(&dir)) {
                return Ok(held);
            }
            std::thread::sleep(PAUSE);
        }
        Err(EngineError::Invalid(format!(
            "volume {name} is being imported into: what is in it is not whole yet"
        )))
    }

    /// `None` if others have it.
    fn held(
        &self,
        tree: &Root,
        name: &str,
        how: FlockOperation,
    ) -> Result<Option<Held>, EngineError> {
        let failed = || EngineError::file("lock the volume", name);
        let top = tree.metadata("").map_err(store_error)?;
        let own = std::fs::metadata(self.paths().volume(name)).map_err(failed())?;
        let mut ids = vec![(top.st_dev, top.st_ino), (own.dev(), own.ino())];
        // A volume may be, by its options, what it has itself.
        ids.dedup();
        let dir = locks(self.paths());
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir);
        made.map_err(failed())?;
        let mut taken = Vec::new();
        for (device, inode) in ids {
            let path = dir.join(format!("{device:x}-{inode:x}"));
            let Some(lock) = take(path, how).map_err(failed())? else { return Ok(None) };
            taken.push(lock);
        }
        Ok(Some(Held { _locks: taken }))
    }

    /// Whether a volume is still the one whose own directory this is: one that was removed meanwhile, and perhaps made
    /// again, has another. What is in it may be mounted anew for each who asks, and says nothing.
    pub(crate) fn check_same(&self, name: &str, own: &OwnedFd) -> Result<(), EngineError> {
        let filled = rustix::fs::fstat(own)
            .map_err(|errno| EngineError::file("look at the volume", name)(errno.into()))?;
        let there = std::fs::metadata(self.paths().volume(name));
        let is_there = there.is_ok_and(|it| (it.dev(), it.ino()) == (filled.st_dev, filled.st_ino));
        if is_there && self.store().volumes().get(name)?.is_some() {
            return Ok(());
        }
        Err(EngineError::Invalid(format!(
            "volume {name} was removed while the archive was unpacked into it: make one, and import again"
        )))
    }
}

/// Removes the locks that killed imports, exports and clones have left. What is held stays.
pub(crate) fn clear_locks(paths: &Paths) -> Result<(), EngineError> {
    let dir = locks(paths);
    let failed = || EngineError::file("clear", &dir);
    let entries = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed())?,
    };
    for entry in entries {
        // One that nobody has goes as it does with whoever took it last.
        let path = entry.map_err(failed())?.path();
        drop(take(path, FlockOperation::NonBlockingLockExclusive).map_err(failed())?);
    }
    Ok(())
}

/// `None` if others have it.
fn take(path: PathBuf, how: FlockOperation) -> std::io::Result<Option<Lock>> {
    loop {
        let mut open = File::options();
        let file = open.write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match rustix::fs::flock(&file, how) {
            Ok(()) => {}
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        let own = file.metadata()?;
        let there = std::fs::metadata(&path);
        if there.is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino())) {
            return Ok(Some(Lock { file, path }));
        }
    }
}

/// A name for what is not whole, noted before it is there.
pub(crate) fn begin(dir: &OwnedFd, name: &str) -> Result<PathBuf, EngineError> {
    let partial = format!("{PARTIAL}{}", crate::random::volume_name()?);
    note(dir, name, &partial)?;
    Ok(partial.into())
}

/// Notes that all is there, and on disk.
pub(crate) fn note_whole(
    dir: &OwnedFd,
    name: &str,
    partial: &Path,
    times: Times,
) -> Result<(), EngineError> {
    let Times { accessed, modified } = times;
    let text = format!(
        "{} {} {} {} {}",
        partial.display(),
        accessed.tv_sec,
        accessed.tv_nsec,
        modified.tv_sec,
        modified.tv_nsec
    );
    note(dir, name, &text)
}

/// It is the old note or the new one that is found, whatever happens meanwhile.
fn note(dir: &OwnedFd, name: &str, text: &str) -> Result<(), EngineError> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let write = || {
        let mut note =
            File::from(rustix::fs::openat(dir, NEW_NOTE, flags, Mode::RUSR | Mode::WUSR)?);
        note.write_all(text.as_bytes())?;
        note.sync_all()?;
        rustix::fs::renameat(dir, NEW_NOTE, dir, NOTE)?;
        Ok(rustix::fs::fsync(dir)?)
    };
    write().map_err(EngineError::file("note an import into the volume", name))
}

/// Whether an import has left something in a volume, whose directory this is.
pub(crate) fn is_noted(dir: &Path) -> bool {
    dir.join(NOTE).symlink_metadata().is_ok()
}

/// Removes what is noted as not whole, or moves up what is, and removes the note.
pub(crate) fn settle(tree: &Root, dir: &OwnedFd, name: &str) -> Result<(), EngineError> {
    match noted(dir, name)? {
        None => return Ok(()),
        Some(Noted::Half(partial)) if is_directory(tree, &partial) => {
            tree.remove_tree(&partial).map_err(store_error)?;
        }
        Some(Noted::Whole(partial, times)) => move_up(tree, &partial, times, name)?,
        Some(Noted::Half(_) | Noted::Nothing) => {}
    }
    let forgotten = match rustix::fs::unlinkat(dir, NOTE, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(dir),
        failed => failed,
    };
    forgotten
        .map_err(|errno| EngineError::file("forget an import into the volume", name)(errno.into()))
}

/// Again and again, if need be: what is in its place is not below any more.
fn move_up(tree: &Root, partial: &Path, times: Times, name: &str) -> Result<(), EngineError> {
    if is_directory(tree, partial) {
        let from = tree.open_dir(partial).map_err(store_error)?;
        let entries = from.read_dir("").map_err(store_error)?;
        let entries: Vec<_> =
            entries.iter().map(|it| OsStr::from_bytes(it.name.to_bytes())).collect();
        // Whoever has the volume may write there meanwhile, and what they write is not replaced.
        for entry in &entries {
            if tree.exists(entry).map_err(store_error)? {
                return Err(EngineError::Invalid(format!(
                    "volume {name} has all of an import in {}, which cannot be moved up since {} is there \
                     already: move that away, or remove {0} to give the import up",
                    partial.display(),
                    entry.display()
                )));
            }
        }
        for entry in entries {
            tree.rename_new(partial.join(entry), entry).map_err(store_error)?;
            EngineError::step(Point::VolumeImported)?;
        }
        store::tree::copy_root(&from, tree).map_err(store_error)?;
        tree.remove(partial).map_err(store_error)?;
    }
    tree.set_times("", times.accessed, times.modified).map_err(store_error)?;
    flush(tree, name)
}

/// All that is in a volume's file system, on disk.
pub(crate) fn flush(tree: &Root, name: &str) -> Result<(), EngineError> {
    let top = tree.open_file("", OFlags::RDONLY | OFlags::DIRECTORY).map_err(store_error)?;
    rustix::fs::syncfs(top)
        .map_err(|errno| EngineError::file("flush the file system of", name)(errno.into()))
}

fn noted(dir: &OwnedFd, name: &str) -> Result<Option<Noted>, EngineError> {
    let failed = || EngineError::file("look for an import into the volume", name);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let note = match rustix::fs::openat(dir.as_fd(), NOTE, flags, Mode::empty()) {
        Ok(note) => File::from(note),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed()(errno.into())),
    };
    let mut text = String::new();
    note.take(MAX_NOTE).read_to_string(&mut text).map_err(failed())?;
    Ok(Some(understood(&text)))
}

fn understood(text: &str) -> Noted {
    let mut words = text.split(' ');
    let partial = words.next().unwrap_or_default();
    if !is_partial(partial) {
        return Noted::Nothing;
    }
    let numbers: Result<Vec<i64>, _> = words.map(str::parse).collect();
    match numbers.as_deref() {
        Ok([]) => Noted::Half(partial.into()),
        Ok(&[accessed, accessed_nsec, modified, modified_nsec]) => {
            let times = Times {
                accessed: Timespec { tv_sec: accessed, tv_nsec: accessed_nsec },
                modified: Timespec { tv_sec: modified, tv_nsec: modified_nsec },
            };
            Noted::Whole(partial.into(), times)
        }
        Ok(_) | Err(_) => Noted::Nothing,
    }
}

fn is_partial(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let drawn = name.strip_prefix(PARTIAL).unwrap_or_default();
    drawn.len() == 64 && drawn.bytes().all(is_digit)
}

fn is_directory(tree: &Root, path: &Path) -> bool {
    let found = tree.metadata(path);
    found.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn engine(dir: &Path) -> Engine {
        Engine::open(Paths::new(dir.join("root"), dir.join("run"))).unwrap()
    }

    #[test]
    fn who_fills_is_alone_and_readers_are_many() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let data = dir.path().join("data");
        fs::create_dir_all(&data).unwrap();
        for volume in ["vol", "other"] {
            fs::create_dir_all(engine.paths().volume(volume)).unwrap();
        }
        let tree = Root::open(&data).unwrap();
        // What a container can lock is nothing to this.
        let top = File::open(&data).unwrap();
        rustix::fs::flock(&top, FlockOperation::LockExclusive).unwrap();
        let alone = engine.fill_alone(&tree, "vol").unwrap();
        for refused in [engine.fill_alone(&tree, "vol"), engine.read_whole(&tree, "other")] {
            assert!(refused.unwrap_err().to_string().contains("is being imported into"));
        }
        // The same volume, with its file system mounted once more.
        let mounted = Root::open(dir.path()).unwrap();
        assert!(engine.fill_alone(&mounted, "vol").is_err());
        drop(alone);
        let one = engine.read_whole(&tree, "vol").unwrap();
        let two = engine.read_whole(&tree, "vol").unwrap();
        assert!(engine.fill_alone(&tree, "vol").is_err());
        drop(one);
        assert!(engine.fill_alone(&tree, "vol").is_err());
        drop(two);
        drop(engine.fill_alone(&tree, "vol").unwrap());
        assert_eq!(fs::read_dir(locks(engine.paths())).unwrap().count(), 0);
    }

    /// None of them takes another one for an import, when they begin or end at once, or find what one has left.
    #[test]
    fn readers_do_not_refuse_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let (data, beside) = (dir.path().join("data"), engine.paths().volume("vol"));
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(&beside).unwrap();
        let (tree, fd) = (Root::open(&data).unwrap(), OwnedFd::from(File::open(&beside).unwrap()));
        for round in 0..200 {
            if round % 2 == 0 {
                fs::create_dir(data.join(begin(&fd, "vol").unwrap())).unwrap();
            }
            let start = std::sync::Barrier::new(2);
            let read = || {
                start.wait();
                drop(engine.read_whole(&tree, "vol").unwrap());
            };
            std::thread::scope(|scope| {
                scope.spawn(read);
                scope.spawn(read);
            });
            assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        }
    }

    #[test]
    fn locks_of_the_dead_are_cleared_and_those_that_are_held_stay() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        clear_locks(engine.paths()).unwrap();
        fs::create_dir_all(engine.paths().volume("vol")).unwrap();
        let tree = Root::open(dir.path()).unwrap();
        let held = engine.read_whole(&tree, "vol").unwrap();
        let count = || fs::read_dir(locks(engine.paths())).unwrap().count();
        fs::write(locks(engine.paths()).join("5-5"), "").unwrap();
        assert_eq!(count(), 3);
        engine.reconcile().unwrap();
        assert_eq!(count(), 2);
        assert!(engine.fill_alone(&tree, "vol").is_err());
        drop(held);
        assert_eq!(count(), 0);
    }

    #[test]
    fn only_what_was_noted_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (data, beside) = (dir.path().join("data"), dir.path().join("volume"));
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(&beside).unwrap();
        let (tree, fd) = (Root::open(&data).unwrap(), OwnedFd::from(File::open(&beside).unwrap()));
        let users = format!("{PARTIAL}{}", "a".repeat(64));
        fs::create_dir(data.join(&users)).unwrap();
        settle(&tree, &fd, "vol").unwrap();
        assert!(data.join(&users).exists());
        let partial = begin(&fd, "vol").unwrap();
        fs::create_dir_all(data.join(&partial).join("deep")).unwrap();
        settle(&tree, &fd, "vol").unwrap();
        assert!(data.join(&users).exists() && !data.join(&partial).exists());
        assert!(!beside.join(NOTE).exists());
        // A note that says anything else, or that a power cut has left empty, takes nothing away.
        let torn = format!("{users} 1 2");
        for strange in ["", "..", "deep", &users.to_ascii_uppercase(), &torn] {
            fs::create_dir_all(data.join("deep")).unwrap();
            fs::write(beside.join(NOTE), strange).unwrap();
            settle(&tree, &fd, "vol").unwrap();
            assert!(data.join("deep").exists() && data.join(&users).exists(), "{strange}");
            assert!(!beside.join(NOTE).exists(), "{strange}");
        }
        // A file of the name is none of ours.
        let partial = begin(&fd, "vol").unwrap();
        fs::write(data.join(&partial), "").unwrap();
        settle(&tree, &fd, "vol").unwrap();
        assert!(data.join(&partial).exists());
    }

    /// As after a kill while it was moved up: a name that somebody has taken is told, and nothing is lost.
    #[test]
    fn what_is_whole_is_moved_up_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (data, beside) = (dir.path().join("data"), dir.path().join("volume"));
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(&beside).unwrap();
        let (tree, fd) = (Root::open(&data).unwrap(), OwnedFd::from(File::open(&beside).unwrap()));
        let partial = begin(&fd, "vol").unwrap();
        fs::create_dir(data.join(&partial)).unwrap();
        for (file, text) in [("a", "moved"), ("c", "users")] {
            fs::write(data.join(file), text).unwrap();
        }
        for (file, text) in [("b", "late"), ("c", "late")] {
            fs::write(data.join(&partial).join(file), text).unwrap();
        }
        let time = |tv_sec| Timespec { tv_sec, tv_nsec: 5 };
        let times = Times { accessed: time(-7), modified: time(1000) };
        note_whole(&fd, "vol", &partial, times).unwrap();
        assert_eq!(noted(&fd, "vol").unwrap(), Some(Noted::Whole(partial.clone(), times)));
        let said = settle(&tree, &fd, "vol").unwrap_err().to_string();
        assert!(
            said.contains("since c is there already: move that away, or remove .import-"),
            "{said}"
        );
        assert!(data.join(&partial).join("b").exists() && is_noted(&beside));
        fs::rename(data.join("c"), data.join("d")).unwrap();
        settle(&tree, &fd, "vol").unwrap();
        let read = |name: &str| fs::read_to_string(data.join(name)).unwrap();
        assert_eq!(["a", "b", "c", "d"].map(read), ["moved", "late", "late", "users"]);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 4);
        let top = fs::metadata(&data).unwrap();
        assert_eq!((top.mtime(), top.mtime_nsec()), (1000, 5));
        assert_eq!(fs::read_dir(&beside).unwrap().count(), 0);
    }
}
