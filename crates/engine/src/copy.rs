//! `cp`: parts of a container's files as archives, and archives into its files.
//!
//! Owns what a path means there, as Docker has it: which end it has, what it leads to, whether it can
//! be written. How the archives are made is the store's matter, where the files are `container_files`'.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use model::NameOrId;
use model::mount::clean_target;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatVfsMountFlags};
use store::layer::{
    ApplyError, ApplyOptions, Clash, KernelFiles, MergeOptions, Owners, PackOptions, Part, Refusal,
    UnpackError,
};
use sys::Errno;
use sys::root::{Root, RootError};

use crate::container::Container;
use crate::container_files::{Files, mount_id};
use crate::prepare::store_error;
use crate::view::{CopyIn, CopyOwner, PathStat};
use crate::{Engine, EngineError};

/// How many symlinks are followed to tell what one leads to.
const MAX_LINKS: usize = 255;

/// How a path ends: it then means a directory, and no symlink to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Name,
    Slash,
    /// `/.`: what is in the directory.
    Dot,
}

/// A path of a container as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// Absolute, without `.` and `..`.
    path: PathBuf,
    ending: Ending,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, EngineError> {
        let path = clean_target(&format!("/{text}"));
        let path = path.ok_or_else(|| EngineError::Invalid(format!("bad path: {text:?}")))?;
        let plain = text.trim_end_matches('/');
        let ending = match plain {
            _ if plain == "." || plain.ends_with("/.") => Ending::Dot,
            _ if text.ends_with('/') => Ending::Slash,
            _ => Ending::Name,
        };
        Ok(Self { path, ending })
    }

    /// What it is called in an archive.
    fn name(&self) -> OsString {
        match self.ending {
            Ending::Dot => ".".into(),
            Ending::Name | Ending::Slash => {
                self.path.file_name().map_or_else(|| "/".into(), OsStr::to_owned)
            }
        }
    }

    /// As messages have it.
    fn shown(&self) -> String {
        let mut text = self.path.to_string_lossy().into_owned();
        if self.ending != Ending::Name && !text.ends_with('/') {
            text.push('/');
        }
        if self.ending == Ending::Dot {
            text.push('.');
        }
        text
    }
}

/// What a path means at the moment, held open.
enum Found {
    Directory(Root),
    /// Something else in a directory.
    Entry(Root, CString),
}

impl Engine {
    /// What is at a path of a container.
    ///
    /// # Errors
    /// There is no such container, or nothing at the path.
    pub fn path_stat(&self, who: &NameOrId, path: &str) -> Result<PathStat, EngineError> {
        let (container, wanted) = (self.find(who)?, Wanted::parse(path)?);
        self.with_files(&container, |files| {
            let root = files.root;
            let (_, stat) = find(root, &wanted).map_err(lost(&wanted, who, path))?;
            Ok(path_stat(root, &wanted, &stat))
        })
    }

    /// Writes what is at a path of a container as an archive. `begun` hears what it is first.
    ///
    /// # Errors
    /// As [`Engine::path_stat`]; `out` cannot be written to.
    pub fn copy_out(
        &self,
        who: &NameOrId,
        path: &str,
        begun: &mut (dyn FnMut(PathStat) + Send),
        out: &mut (dyn Write + Send),
    ) -> Result<(), EngineError> {
        let (container, wanted) = (self.find(who)?, Wanted::parse(path)?);
        self.with_files(&container, |files| {
            let root = files.root;
            let (found, stat) = find(root, &wanted).map_err(lost(&wanted, who, path))?;
            begun(path_stat(root, &wanted, &stat));
            self.tell(&container, "archive-path", &[]);
            let part = match &found {
                Found::Directory(dir) => Part::Directory(dir),
                Found::Entry(dir, name) => Part::Entry(dir, name),
            };
            let kernel = KernelFiles::Shallow;
            let options = PackOptions { kernel, ids: files.ids, ..PackOptions::default() };
            let packed = store::layer::pack_part(part, wanted.name().as_bytes(), out, &options);
            packed.map(drop).map_err(store_error)
        })
    }

    /// Unpacks an archive into a directory of a container.
    ///
    /// # Errors
    /// There is no such container or directory, it cannot be written, or the archive is wrong.
    pub fn copy_in(
        &self,
        who: &NameOrId,
        copy: &CopyIn,
        archive: impl Read + Send,
    ) -> Result<(), EngineError> {
        let (container, wanted) = (self.find(who)?, Wanted::parse(&copy.path)?);
        self.with_files(&container, |files| {
            let root = files.root;
            let dir = match root.open_dir(&wanted.path) {
                Err(error) if error.errno() == Some(Errno::NOTDIR) => {
                    return Err(EngineError::Invalid(
                        "extraction point is not a directory".to_owned(),
                    ));
                }
                dir => dir.map_err(lost(&wanted, who, &copy.path))?,
            };
            refuse_to_write(&container, &files, &dir)?;
            let options = MergeOptions {
                apply: ApplyOptions::default(),
                at: wanted.path.as_os_str().as_bytes()[1..].to_vec(),
                shown: wanted.path.clone(),
                rename: None,
                ids: files.ids,
                owners: self.owners(&container, root, copy.owner)?,
                clash: if copy.keep_kinds { Clash::Refuse } else { Clash::Replace },
            };
            store::layer::merge(archive, root, &options).map_err(unpack_error)?;
            self.tell(&container, "extract-to-dir", &[]);
            Ok(())
        })
    }

    fn owners(
        &self,
        container: &Container,
        root: &Root,
        owner: CopyOwner,
    ) -> Result<Owners, EngineError> {
        match owner {
            CopyOwner::Archived => Ok(Owners::Archived),
            CopyOwner::ContainersUser => {
                let user = self.user_in(root, &container.record.resolved.user, &[])?;
                Ok(Owners::All { uid: user.uid, gid: user.gid })
            }
        }
    }
}

/// In Docker's words, before the archive is read. The kernel refuses what gets past this.
fn refuse_to_write(
    container: &Container,
    files: &Files<'_>,
    dir: &Root,
) -> Result<(), EngineError> {
    let failed = |errno: Errno| EngineError::file("look at", container.name())(errno.into());
    if files.forgets(dir).map_err(failed)? {
        return Err(EngineError::Invalid(
            "mounted volume is memory that only containers that run have".to_owned(),
        ));
    }
    let is_root = mount_id(files.root).map_err(failed)? == mount_id(dir).map_err(failed)?;
    let flags = rustix::fs::fstatvfs(dir).map_err(failed)?.f_flag;
    let refused = match (is_root, flags.contains(StatVfsMountFlags::RDONLY)) {
        (_, false) => return Ok(()),
        (true, true) => "container rootfs is marked read-only",
        (false, true) => "mounted volume is marked read-only",
    };
    Err(EngineError::Invalid(refused.to_owned()))
}

/// Looks for what a path means; what it is called may mean something else a moment later.
fn find(root: &Root, wanted: &Wanted) -> Result<(Found, Stat), RootError> {
    let os = |source| RootError::Os { op: "stat", path: wanted.path.clone(), source };
    let (Some(parent), Some(name), Ending::Name) =
        (wanted.path.parent(), wanted.path.file_name(), wanted.ending)
    else {
        let dir = root.open_dir(&wanted.path)?;
        let stat = rustix::fs::fstat(&dir).map_err(os)?;
        return Ok((Found::Directory(dir), stat));
    };
    let bad = |_| RootError::BadPath(wanted.path.clone());
    let (parent, name) = (root.open_dir(parent)?, CString::new(name.as_bytes()).map_err(bad)?);
    let stat = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(os)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok((Found::Entry(parent, name), stat));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(&parent, &name, flags, Mode::empty()).map_err(os)?;
    Ok((Found::Directory(Root::from_fd(dir)), stat))
}

/// For `map_err`: nothing is at a path, or the path cannot be walked.
fn lost(wanted: &Wanted, who: &NameOrId, typed: &str) -> impl FnOnce(RootError) -> EngineError {
    let (container, path) = (who.to_string(), typed.to_owned());
    let shown = wanted.shown();
    move |error| match error.errno() {
        Some(Errno::NOENT) => EngineError::NoSuchFile { path, container },
        Some(reason) => EngineError::ContainerPath { path: shown, reason },
        None => store_error(error),
    }
}

fn path_stat(root: &Root, wanted: &Wanted, stat: &Stat) -> PathStat {
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    PathStat {
        name: wanted.name().to_string_lossy().into_owned(),
        size: stat.st_size,
        mode: stat.st_mode,
        modified: Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or_default(),
        link_target: is_link.then(|| end_of(root, &wanted.path)),
    }
}

/// Where a symlink leads in the end, as far as there is something.
fn end_of(root: &Root, path: &Path) -> PathBuf {
    let mut todo: VecDeque<OsString> = names(path).collect();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        at.push(&name);
        let Ok(target) = root.read_link(&at) else { continue };
        links += 1;
        if links > MAX_LINKS {
            continue;
        }
        at.pop();
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        names(&target).rev().for_each(|name| todo.push_front(name));
    }
    at
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from_vec(b"..".to_vec())),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// What the archive is to blame for is the caller's mistake, one in Docker's words.
fn unpack_error(error: UnpackError) -> EngineError {
    match error {
        UnpackError::Apply(ApplyError::Refused {
            refusal: refusal @ Refusal::Clash { .. },
            ..
        }) => EngineError::Invalid(refusal.to_string()),
        UnpackError::Apply(ApplyError::Refused { .. } | ApplyError::Tar(_))
        | UnpackError::Codec(_) => EngineError::Invalid(error.to_string()),
        error @ (UnpackError::Apply(_)
        | UnpackError::Read(_)
        | UnpackError::TooLarge(_)
        | UnpackError::Bomb(_)) => store_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> (String, String) {
        let wanted = Wanted::parse(text).unwrap();
        (wanted.shown(), wanted.name().to_string_lossy().into_owned())
    }

    #[test]
    fn the_end_of_a_path_says_what_it_means() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(wanted("a/b"), pair("/a/b", "b"));
        assert_eq!(wanted("/a/b/"), pair("/a/b/", "b"));
        assert_eq!(wanted("/a/b/."), pair("/a/b/.", "."));
        assert_eq!(wanted("/a/b/./"), pair("/a/b/.", "."));
        assert_eq!(wanted("/a/../../.."), pair("/", "/"));
        assert_eq!(wanted("/"), pair("/", "/"));
        assert_eq!(wanted("."), pair("/.", "."));
        assert_eq!(wanted("/a/b/.."), pair("/a", "a"));
    }

    #[test]
    fn a_symlink_is_followed_to_its_end_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mode = Mode::from_raw_mode(0o755);
        root.mkdir_all("a/b", mode).unwrap();
        root.symlink("/a", "absolute").unwrap();
        root.symlink("../../../a/b/../nothing/x", "a/up").unwrap();
        root.symlink("loop", "loop").unwrap();
        let end = |path: &str| end_of(&root, Path::new(path)).to_string_lossy().into_owned();
        assert_eq!(end("/absolute"), "/a");
        assert_eq!(end("/absolute/up"), "/a/nothing/x");
        assert_eq!(end("/loop"), "/loop");
    }
}
