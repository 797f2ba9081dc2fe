//! Where the names of containers are kept: `<run>/n/<network>/<container>`, a small text each.
//!
//! Whoever starts a container or changes what it is called writes them, its guardian removes them at its end. A file
//! is written under another name first, so that nobody sees half of it. That its container lives is not its affair:
//! who reads asks for that.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use model::{ContainerId, NetworkId};

use super::record::{MAX_TEXT, Record};
use super::zone::Members;

/// Most containers of a network whose names are known: a /18 of them.
const MAX_MEMBERS: usize = 16_384;
/// How long after its change a directory may change once more without its time changing: clocks of file systems
/// move with the kernel's ticks, of which there are 100 a second at least.
const TICK: Duration = Duration::from_millis(50);
/// How often a directory that goes away is made again.
const ATTEMPTS: usize = 100;

/// All names of a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameFiles(PathBuf);

impl NameFiles {
    /// Those below a root's `<run>`.
    #[must_use]
    pub fn of(run: &Path) -> Self {
        Self(run.join("n"))
    }

    fn network(&self, network: &NetworkId) -> PathBuf {
        self.0.join(network.to_string())
    }

    /// Where a container's names on a network are.
    #[must_use]
    pub fn file(&self, network: &NetworkId, container: &ContainerId) -> PathBuf {
        self.network(network).join(container.to_string())
    }

    /// Writes what a container is called on a network, in place of what was there. The same is not written again:
    /// all that are on the network would read it anew.
    ///
    /// # Errors
    /// What writing gives; then all is as it was.
    pub fn put(
        &self,
        network: &NetworkId,
        container: &ContainerId,
        record: &Record,
    ) -> io::Result<()> {
        if self.get(network, container).as_ref() == Some(record) {
            return Ok(());
        }
        let dir = self.network(network);
        // No id: nobody takes it for a record.
        let new = dir.join(format!(".{container}"));
        let mut file = create(&dir, &new)?;
        let written = file.write_all(record.print().as_bytes());
        let put = written.and_then(|()| fs::rename(&new, self.file(network, container)));
        if put.is_err() {
            let _ = fs::remove_file(&new);
        }
        put
    }

    /// What a container is called on a network, if it is on it.
    #[must_use]
    pub fn get(&self, network: &NetworkId, container: &ContainerId) -> Option<Record> {
        read(&self.file(network, container)).ok()
    }

    /// Takes a container's names on a network away. What is not there need not be.
    pub fn take(&self, network: &NetworkId, container: &ContainerId) {
        let _ = fs::remove_file(self.file(network, container));
        // Of a killed writer.
        let _ = fs::remove_file(self.network(network).join(format!(".{container}")));
        // The last one takes it along.
        let _ = fs::remove_dir(self.network(network));
    }

    /// Takes all names on a network that is gone away.
    pub fn take_network(&self, network: &NetworkId) {
        let _ = fs::remove_dir_all(self.network(network));
    }

    /// The networks on which there are names.
    pub fn networks(&self) -> Vec<NetworkId> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Takes all names of a container away.
    pub fn take_all(&self, container: &ContainerId) {
        self.networks().iter().for_each(|network| self.take(network, container));
    }
}

fn create(dir: &Path, path: &Path) -> io::Result<File> {
    let mut gone = io::Error::from(ErrorKind::NotFound);
    for _ in 0..ATTEMPTS {
        let opened = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        match opened {
            // The last one that was on the network has taken the directory along.
            Err(error) if error.kind() == ErrorKind::NotFound => gone = error,
            opened => return opened,
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    Err(gone)
}

fn read(path: &Path) -> io::Result<Record> {
    let mut text = String::new();
    File::open(path)?.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(Record::parse(&text))
}

/// The names on one network as they are now: read again when they have changed.
#[derive(Debug)]
pub struct Watched {
    dir: PathBuf,
    /// What the directory was when it was read, if a change since must have changed that.
    seen: Option<Stamp>,
    members: Rc<Members>,
}

/// Which directory, and when something was put into it or taken out last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    inode: (u64, u64),
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    fn of(dir: &Path) -> Option<Self> {
        let found = fs::metadata(dir).ok()?;
        let inode = (found.dev(), found.ino());
        Some(Self { inode, seconds: found.mtime(), nanoseconds: found.mtime_nsec() })
    }

    /// Whether the clock has moved on since, so that the next change is seen by its time.
    fn is_settled(&self) -> bool {
        let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else {
            return false;
        };
        let seconds = u64::try_from(self.seconds).unwrap_or_default();
        let nanoseconds = u32::try_from(self.nanoseconds).unwrap_or_default();
        // A clock that was set back makes it one of the future: that is read each time.
        let age = now.checked_sub(Duration::new(seconds, nanoseconds));
        age.is_some_and(|age| age > TICK)
    }
}

impl Watched {
    /// The names on this network, unread.
    #[must_use]
    pub fn new(files: &NameFiles, network: &NetworkId) -> Self {
        Self { dir: files.network(network), seen: None, members: Rc::default() }
    }

    /// Who is called what now.
    ///
    /// # Errors
    /// Some of it cannot be read, as when there are no descriptors: then nobody may say that a name is nobody's.
    pub fn members(&mut self) -> io::Result<Rc<Members>> {
        // Before it is read, so that a change meanwhile is one since.
        let stamp = Stamp::of(&self.dir);
        if stamp.is_none() || stamp != self.seen {
            let is_settled = stamp.as_ref().is_some_and(Stamp::is_settled);
            self.seen = None;
            self.members = Rc::new(Members::new(read_all(&self.dir)?));
            self.seen = stamp.filter(|_| is_settled);
        }
        Ok(Rc::clone(&self.members))
    }
}

fn read_all(dir: &Path) -> io::Result<Vec<(ContainerId, Record)>> {
    let Some(entries) = there(fs::read_dir(dir))? else { return Ok(Vec::new()) };
    let records = entries.filter_map(|entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let id = entry.file_name().to_str()?.parse().ok()?;
        there(read(&entry.path())).map(|record| Some((id, record?))).transpose()
    });
    records.take(MAX_MEMBERS).collect()
}

/// What was just taken away is none, and what is no text is no record.
fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::zone::tests::{id, record};
    use crate::dns::zone::{Segment, Zone};

    fn network() -> NetworkId {
        NetworkId::from_random([9; 32])
    }

    fn asked(watched: &mut Watched, name: &str) -> usize {
        let segments = vec![Segment { name: "n".to_owned(), members: watched.members().unwrap() }];
        let zone = Zone { segments, ..Zone::default() };
        zone.addresses(name, &mut |_| true).map_or(0, |addresses| addresses.len())
    }

    #[test]
    fn what_is_put_is_got_and_can_be_taken() {
        let run = tempfile::tempdir().unwrap();
        let files = NameFiles::of(run.path());
        assert_eq!(files.get(&network(), &id(1)), None);
        let web = record(&["web"], &["10.0.0.2"]);
        files.put(&network(), &id(1), &web).unwrap();
        files.put(&network(), &id(2), &record(&["db"], &["10.0.0.3"])).unwrap();
        assert_eq!(files.get(&network(), &id(1)), Some(web));
        assert_eq!(files.networks(), [network()]);
        files.take_all(&id(1));
        files.take_all(&id(1));
        assert_eq!(files.get(&network(), &id(1)), None);
        files.take(&network(), &id(2));
        assert_eq!(files.networks(), [], "the last one takes the directory along");
    }

    #[test]
    fn changes_are_seen_at_once() {
        let run = tempfile::tempdir().unwrap();
        let files = NameFiles::of(run.path());
        let mut watched = Watched::new(&files, &network());
        // Far more of them than the clock of the file system tells apart.
        for round in 0..200_u8 {
            assert_eq!(asked(&mut watched, "web"), 0, "round {round}");
            files.put(&network(), &id(round), &record(&["web"], &["10.0.0.2"])).unwrap();
            assert_eq!(asked(&mut watched, "web"), 1, "round {round}");
            files.put(&network(), &id(round), &record(&["other"], &["10.0.0.2"])).unwrap();
            assert_eq!(asked(&mut watched, "web"), 0, "round {round}");
            assert_eq!(asked(&mut watched, "other"), 1, "round {round}");
            files.take(&network(), &id(round));
        }
    }

    #[test]
    fn a_directory_that_has_not_changed_is_not_read_again() {
        let run = tempfile::tempdir().unwrap();
        let files = NameFiles::of(run.path());
        files.put(&network(), &id(1), &record(&["web"], &["10.0.0.2"])).unwrap();
        let dir = files.network(&network());
        let past = SystemTime::now() - Duration::from_secs(60);
        File::open(&dir).unwrap().set_modified(past).unwrap();
        let mut watched = Watched::new(&files, &network());
        let first = watched.members().unwrap();
        assert!(Rc::ptr_eq(&first, &watched.members().unwrap()));
        files.take(&network(), &id(1));
        assert_eq!(asked(&mut watched, "web"), 0);
    }

    #[test]
    fn the_same_is_not_written_again() {
        let run = tempfile::tempdir().unwrap();
        let files = NameFiles::of(run.path());
        let web = record(&["web"], &["10.0.0.2"]);
        files.put(&network(), &id(1), &web).unwrap();
        let inode = || fs::metadata(files.file(&network(), &id(1))).unwrap().ino();
        let first = inode();
        files.put(&network(), &id(1), &web).unwrap();
        assert_eq!(inode(), first);
        files.put(&network(), &id(1), &record(&["web"], &["10.0.0.3"])).unwrap();
        assert_ne!(inode(), first);
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_list_and_is_read_again() {
        let run = tempfile::tempdir().unwrap();
        let files = NameFiles::of(run.path());
        files.put(&network(), &id(1), &record(&["web"], &["10.0.0.2"])).unwrap();
        let dir = files.network(&network());
        // A directory opens and gives no text: an error like any other.
        let broken = files.file(&network(), &id(2));
        fs::create_dir(&broken).unwrap();
        let past = SystemTime::now() - Duration::from_secs(60);
        File::open(&dir).unwrap().set_modified(past).unwrap();
        let mut watched = Watched::new(&files, &network());
        assert!(watched.members().is_err());
        assert!(watched.members().is_err(), "it is not taken for what there is");
        fs::remove_dir(&broken).unwrap();
        File::open(&dir).unwrap().set_modified(past).unwrap();
        assert_eq!(asked(&mut watched, "web"), 1);
    }

    #[test]
    fn half_a_record_and_strange_files_are_none() {
        let run = tempfile::tempdir().unwrap();
        let files = NameFiles::of(run.path());
        files.put(&network(), &id(1), &record(&["web"], &["10.0.0.2"])).unwrap();
        let dir = files.network(&network());
        fs::write(dir.join(format!(".{}", id(2))), "name web\naddress 10.0.0.3\n").unwrap();
        fs::write(dir.join("readme"), "name web\naddress 10.0.0.4\n").unwrap();
        assert_eq!(asked(&mut Watched::new(&files, &network()), "web"), 1);
    }
}
