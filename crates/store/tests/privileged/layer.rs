//! Layers on a real file system: the hostile archives, overlayfs as the judge, other tools.

mod archive;
mod hostile;
mod model;
mod roundtrip;
mod tools;
mod unpacking;

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use sys::root::{Final, Root};

/// A directory to unpack into, beside a canary that must stay as it is.
struct Place {
    base: tempfile::TempDir,
    before: String,
}

impl Place {
    fn new() -> Self {
        let base = tempfile::Builder::new().prefix("dhow-layer-").tempdir().unwrap();
        std::fs::create_dir(base.path().join("root")).unwrap();
        std::fs::create_dir(base.path().join("canary")).unwrap();
        std::fs::write(base.path().join("canary/file"), b"alive").unwrap();
        let before = watched(&base.path().join("canary"));
        Self { base, before }
    }

    fn root(&self) -> Root {
        Root::open(self.base.path().join("root")).unwrap()
    }

    /// Where the canary is, for archives that go for it.
    fn canary(&self) -> PathBuf {
        self.base.path().join("canary")
    }

    /// Nothing beside the root has been touched, made or linked.
    fn assert_untouched(&self, what: &str) {
        assert_eq!(watched(&self.canary()), self.before, "{what}: the canary has changed");
        let beside = std::fs::read_dir(self.base.path()).unwrap().count();
        assert_eq!(beside, 2, "{what}: something was made beside the root");
    }
}

/// All that an archive could change of a directory, link counts and change times included.
fn watched(dir: &Path) -> String {
    let root = Root::open(dir).unwrap();
    let mut out = String::new();
    for name in ["", "file"] {
        let stat = root.metadata(name).unwrap();
        let (mode, links) = (stat.st_mode, stat.st_nlink);
        let changed = (stat.st_ctime, stat.st_ctime_nsec);
        let xattrs = root.list_xattr(name).unwrap();
        let _ = writeln!(out, "{name} {mode:o} {links} {changed:?} {xattrs:?}");
    }
    let _ =
        write!(out, "{:?} {:?}", root.read_dir("").unwrap().len(), std::fs::read(dir.join("file")));
    out
}

/// A tree as text: one line for each path, with all that counts.
fn listing(root: &Root) -> String {
    let mut out = String::new();
    list_into(root, Path::new(""), &mut out);
    out
}

fn list_into(root: &Root, dir: &Path, out: &mut String) {
    let mut entries = root.read_dir(dir).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        let path = dir.join(std::ffi::OsStr::from_bytes(entry.name.to_bytes()));
        let stat = root.metadata(&path).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let _ = write!(
            out,
            "{} {:o} {}:{}",
            path.display().to_string().escape_debug(),
            stat.st_mode & 0o7777,
            stat.st_uid,
            stat.st_gid
        );
        match kind {
            FileType::RegularFile => {
                let text = root.read_untrusted(&path, 1 << 20, Final::NoFollow).unwrap();
                let _ = write!(out, " file {:?}", String::from_utf8_lossy(&text));
            }
            FileType::Symlink => {
                let _ = write!(out, " -> {}", root.read_link(&path).unwrap().display());
            }
            FileType::Directory => out.push_str(" dir"),
            FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Fifo
            | FileType::Socket
            | FileType::Unknown => {
                let (major, minor) =
                    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                let _ = write!(out, " {kind:?} {major}:{minor}");
            }
        }
        for attr in root.list_xattr(&path).unwrap() {
            let value = root.get_xattr(&path, &attr).unwrap().unwrap_or_default();
            let _ = write!(out, " {}={}", attr.to_string_lossy(), value.escape_ascii());
        }
        out.push('\n');
        if kind == FileType::Directory {
            list_into(root, &path, out);
        }
    }
}

/// An overlay of layers, top first, with an upper directory if `upper` is given; attached nowhere.
fn overlay(lowers: &[&Path], upper: Option<(&Path, &Path)>) -> Root {
    use sys::mount::{Layer, Overlay};
    let lowers: Vec<_> = lowers.iter().map(|path| Layer::Path(path)).collect();
    let upper = upper.map(|(upper, work)| (Layer::Path(upper), Layer::Path(work)));
    let overlay = Overlay { lowers: &lowers, upper, options: &[] };
    let mount = sys::mount::overlay(&overlay, sys::mount::MountAttrFlags::empty()).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Root::from_fd(rustix::fs::openat(&mount, c".", flags, Mode::empty()).unwrap())
}
