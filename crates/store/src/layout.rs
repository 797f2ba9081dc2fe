//! Where everything lies under the data root, and the directories' creation.
//!
//! Names only. Who may write below a directory is said in that directory's module.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::{ContainerId, Digest};
use rustix::fs::{IFlags, Mode, OFlags};

use crate::reserve::Reserve;

/// The directories below the root, parents first.
const DIRS: [&str; 10] = [
    "",
    "images",
    "images/blobs",
    "images/blobs/sha256",
    "ingest",
    "staging",
    "snapshots",
    "containers",
    "volumes",
    "trash",
];
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// The data root could not be made ready.
#[derive(Debug, thiserror::Error)]
#[error("prepare the data root: {}", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// The paths of one data root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories unless they are there; one system call if they are.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let layout = Self { root: root.to_owned() };
        let marker = layout.images().join("oci-layout");
        if !marker.exists() {
            layout.create(&marker)?;
        }
        Ok(layout)
    }

    /// The marker is written last, so that a creation cut short is taken up again.
    fn create(&self, marker: &Path) -> Result<(), OpenError> {
        for dir in DIRS {
            let path = self.root.join(dir);
            make_dir(&path).map_err(|source| OpenError { path, source })?;
        }
        spread_children(&self.staging());
        let lease_dir = self.leases();
        make_dir(&lease_dir).map_err(|source| OpenError { path: lease_dir, source })?;
        self.reserve().keep();
        let index = self.index();
        if !index.exists() {
            replace(&index, EMPTY_INDEX).map_err(|source| OpenError { path: index, source })?;
        }
        replace(marker, OCI_LAYOUT).map_err(|source| OpenError { path: marker.to_owned(), source })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("images/index.json")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("images/blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, number: i64) -> PathBuf {
        self.snapshots().join(number.to_string())
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.to_string())
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("dhow.db")
    }

    pub(crate) fn reserve(&self) -> Reserve {
        Reserve::at(self.root.join("reserve"))
    }
}

/// Makes a directory that only its owner may enter, with its parents.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// Asks ext4 to put each directory made in `dir`, with all that comes into it, into another part of
/// the disk. Otherwise the files of a layer come where others have just been deleted, and ext4 does
/// not use an inode again for minutes: creating 4,000 files then takes 1.5 s of searching among the
/// 4,000 inodes that went with another image, instead of 0.1 s. Other file systems do not know the
/// wish, and need not.
fn spread_children(dir: &Path) {
    let flagged = || -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(dir, flags, Mode::empty())?;
        let now = rustix::fs::ioctl_getflags(&dir)?;
        rustix::fs::ioctl_setflags(&dir, now | IFlags::TOPDIR)
    };
    let _ = flagged();
}

/// Replaces a small file by rename, so that readers see the old or the new one, never a part: not
/// even after a power cut, so its content is on disk before it has the name. ext4 sees to that by
/// itself, XFS leaves an empty file.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", random_name()?));
    let written = write_new(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a leftover is found by its name and collected.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_data()
}

/// 32 hex digits that nobody else has drawn.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(model::digest::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_root_is_made_once_and_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        Layout::open(&path).unwrap();
        let layout = Layout::open(&path).unwrap();
        for dir in [layout.root().to_owned(), layout.blobs(), layout.trash(), layout.leases()] {
            let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", dir.display());
        }
        assert_eq!(std::fs::read(layout.index()).unwrap(), EMPTY_INDEX);
        assert_eq!(std::fs::metadata(layout.index()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn layers_are_spread_where_the_file_system_can() {
        let root = tempfile::tempdir().unwrap();
        let other = root.path().join("other");
        make_dir(&other).unwrap();
        let is_spread = |dir: &Path| {
            let flags = rustix::fs::ioctl_getflags(File::open(dir).unwrap());
            flags.is_ok_and(|flags| flags.contains(IFlags::TOPDIR))
        };
        let other_dir = File::open(&other).unwrap();
        let _ = rustix::fs::ioctl_setflags(&other_dir, IFlags::TOPDIR);
        let layout = Layout::open(&root.path().join("a")).unwrap();
        assert_eq!(is_spread(&layout.staging()), is_spread(&other));
        assert!(!is_spread(&layout.containers()));
    }

    #[test]
    fn an_unusable_root_is_named() {
        let error = Layout::open(Path::new("/proc/nowhere")).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
