//! One cgroup: where it is, who is in it, what it is limited to.
//!
//! A cgroup is a directory of the same relative path in every hierarchy. On v1 its files are reached
//! from the hierarchy's root by that path, so that making and using a cgroup opens no directories.

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::process::Pid;
use sys::Errno;

use crate::detect::{Controller, Hierarchies, Unified, Version};
use crate::error::CgroupError;
use crate::limits::Max;
use crate::plan::Homes;
use crate::{file, name, tree};

/// A cgroup in all hierarchies of the host.
///
/// Dropping it closes what it has open; the cgroup stays until [`Cgroup::remove`].
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) path: String,
    /// The directory on v2.
    pub(crate) unified: Option<OwnedFd>,
}

/// How a hierarchy shows a cgroup; what a container's own view is mounted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// Of the hierarchy.
    pub version: Version,
    /// What mounts the hierarchy again: `cpu,cpuacct`, `name=systemd`; nothing on v2.
    pub options: &'a str,
    /// Where the host has it.
    pub mount: &'a Path,
    /// The cgroup, relative to that.
    pub path: &'a str,
}

/// The way into a cgroup for a process that enters by itself. Made before the process is, so that it
/// has nothing to do but to write.
pub struct Entry(Vec<OwnedFd>);

impl Entry {
    /// Moves the calling thread, and with it a process that has no other, into the cgroup. Allocates
    /// nothing.
    ///
    /// A thread that moves itself needs no grace period of the kernel, unlike a process that is moved:
    /// measured, eight hierarchies in 0.1 ms, against several when the kernel has to wait.
    pub fn enter(&self) -> Result<(), Errno> {
        self.0.iter().try_for_each(|tasks| {
            rustix::io::retry_on_intr(|| rustix::io::write(tasks, b"0")).map(drop)
        })
    }

    /// The files to write `0` to, for who does that by itself.
    #[must_use]
    pub fn into_files(self) -> Vec<OwnedFd> {
        self.0
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry of {} hierarchies", self.0.len())
    }
}

impl Cgroup {
    /// Takes up a cgroup that exists in at least one hierarchy; where none is ours, one that is empty.
    pub fn open(hierarchies: &Hierarchies, parent: &str, name: &str) -> Result<Self, CgroupError> {
        let path = name::join(parent, name)?;
        let mut cgroup = Self { hierarchies: hierarchies.clone(), path, unified: None };
        cgroup.unified = match hierarchies.unified() {
            Some(unified) => cgroup.open_unified(unified)?,
            None => None,
        };
        let on_v1 = |legacy: &crate::Legacy| {
            let path = cgroup.path.as_str();
            rustix::fs::accessat(legacy.root(), path, rustix::fs::Access::EXISTS, AtFlags::empty())
                .is_ok()
        };
        let is_there = cgroup.unified.is_some() || hierarchies.legacy().iter().any(on_v1);
        if !is_there && !hierarchies.is_none() {
            return Err(CgroupError::NotFound(cgroup.place()));
        }
        Ok(cgroup)
    }

    /// The names of the cgroups below `parent`, in whichever hierarchy they are.
    pub fn list(hierarchies: &Hierarchies, parent: &str) -> Result<Vec<String>, CgroupError> {
        let parent = name::parent(parent)?;
        let below = if parent.is_empty() { "." } else { parent };
        let mut names = BTreeSet::new();
        for (root, mount) in roots(hierarchies) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let found = openat(root, below, flags, Mode::empty()).and_then(tree::children);
            match found {
                Ok(children) => names.extend(children),
                Err(Errno::NOENT) => {}
                Err(source) => {
                    return Err(CgroupError::Read { path: mount.join(parent), source });
                }
            }
        }
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    pub(crate) fn open_unified(&self, unified: &Unified) -> Result<Option<OwnedFd>, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(unified.root(), self.path.as_str(), flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(CgroupError::Read { path: unified.mount.join(&self.path), source }),
        }
    }

    /// The path below each hierarchy's root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The hierarchies that it is in.
    #[must_use]
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// How each hierarchy shows it, v1 first.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let legacy = self.hierarchies.legacy().iter().map(|legacy| View {
            version: Version::V1,
            options: &legacy.options,
            mount: &legacy.mount,
            path: &self.path,
        });
        let unified = self.hierarchies.unified().map(|unified| View {
            version: Version::V2,
            options: "",
            mount: &unified.mount,
            path: &self.path,
        });
        legacy.chain(unified)
    }

    /// The directory to be born in by `clone3`, where there is v2. A hybrid host needs [`Cgroup::entry`]
    /// as well.
    #[must_use]
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// The way into what `clone3` cannot be told: the v1 hierarchies. Empty on v2.
    pub fn entry(&self) -> Result<Entry, CgroupError> {
        self.entry_of(self)
    }

    /// The same for a process of one of its parts. It is born in the part's [`Cgroup::clone_into`].
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn entry_of(&self, part: &Self) -> Result<Entry, CgroupError> {
        let own = part.hierarchies.legacy();
        let open = |legacy: &crate::Legacy| {
            let is_parts = own.iter().any(|own| own.mount == legacy.mount);
            let path = format!("{}/tasks", if is_parts { &part.path } else { &self.path });
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            openat(legacy.root(), &path, flags, Mode::empty())
                .map_err(|source| CgroupError::Read { path: legacy.mount.join(&path), source })
        };
        self.hierarchies.legacy().iter().map(open).collect::<Result<_, _>>().map(Entry)
    }

    /// The same for a process that goes further down in some hierarchies of version 1: `below` is told what a hierarchy
    /// is mounted with, and says where.
    ///
    /// # Errors
    /// A path leads elsewhere, or to nothing.
    pub fn entry_at<'a>(&self, below: impl Fn(&str) -> &'a str) -> Result<Entry, CgroupError> {
        let open = |legacy: &crate::Legacy| {
            let path = match name::parent(below(&legacy.options))? {
                "" => format!("{}/tasks", self.path),
                below => format!("{}/{below}/tasks", self.path),
            };
            openat(legacy.root(), &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|source| CgroupError::Read { path: legacy.mount.join(&path), source })
        };
        self.hierarchies.legacy().iter().map(open).collect::<Result<_, _>>().map(Entry)
    }

    /// What tells this cgroup from an earlier or later one of its name: the number of its directory in the
    /// hierarchy that is asked who is in it.
    ///
    /// # Errors
    /// It is not there.
    pub fn inode(&self) -> Result<u64, CgroupError> {
        let Some((root, mount)) = self.tracking() else { return Ok(0) };
        let stat = rustix::fs::statat(root, self.path.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        stat.map(|stat| stat.st_ino)
            .map_err(|source| CgroupError::Read { path: mount.join(&self.path), source })
    }

    /// Moves a process with all its threads into the cgroup.
    pub fn add(&self, pid: Pid) -> Result<(), CgroupError> {
        let value = pid.as_raw_nonzero().to_string();
        for (root, mount) in roots(&self.hierarchies) {
            let path = format!("{}/cgroup.procs", self.path);
            file::write(root, &path, &value).map_err(|source| CgroupError::Write {
                value: value.clone(),
                path: mount.join(path),
                source,
            })?;
        }
        Ok(())
    }

    /// The processes in it and in the cgroups below it.
    pub fn pids(&self) -> Result<Vec<Pid>, CgroupError> {
        match self.tracking() {
            Some((root, mount)) => self.pids_in(root, mount),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn pids_in(
        &self,
        root: BorrowedFd<'_>,
        mount: &Path,
    ) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        let found = tree::walk(root, &self.path, |dir| {
            let procs = match file::read(dir, "cgroup.procs") {
                // A threaded one: its processes are listed by the domain above it.
                Err(Errno::OPNOTSUPP) => return Ok(()),
                read => read?,
            };
            // Processes of a foreign pid namespace are listed as 0.
            pids.extend(procs.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
            Ok(())
        });
        match found {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(pids),
            Err(source) => Err(CgroupError::Read { path: mount.join(&self.path), source }),
        }
    }

    /// The hierarchy that is asked who is in the cgroup.
    pub(crate) fn tracking(&self) -> Option<(BorrowedFd<'_>, &Path)> {
        match self.hierarchies.unified() {
            Some(unified) => Some((unified.root(), &unified.mount)),
            None => self.legacy_tracking(),
        }
    }

    /// The v1 hierarchy that is asked who is in the cgroup.
    pub(crate) fn legacy_tracking(&self) -> Option<(BorrowedFd<'_>, &Path)> {
        let legacy = self.hierarchies.legacy_tracking();
        legacy.map(|legacy| (legacy.root(), legacy.mount.as_path()))
    }

    /// Where the controllers are that this cgroup can be limited by.
    pub(crate) fn homes(&self) -> Result<Homes, CgroupError> {
        let legacy = self.hierarchies.legacy().iter();
        let v1 = legacy.flat_map(|legacy| legacy.controllers.iter().copied()).collect();
        let v2 = match &self.unified {
            Some(_) => {
                let listed = self.read(Version::V2, None, "cgroup.controllers")?;
                let names = listed.split_whitespace();
                names.filter_map(|name| Controller::from_name(name, Version::V2)).collect()
            }
            None => Vec::new(),
        };
        Ok(Homes { v1, v2 })
    }

    /// Writes to a file of a controller, or on v2 also to one of no controller.
    pub(crate) fn write(
        &self,
        (version, controller): (Version, Option<Controller>),
        name: &str,
        value: &str,
    ) -> Result<(), CgroupError> {
        let result = match self.locate(version, controller) {
            Some(Located::Legacy(root)) => {
                file::write(root, &format!("{}/{name}", self.path), value)
            }
            Some(Located::Unified(dir)) => file::write(dir, name, value),
            None => Err(Errno::NOENT),
        };
        result.map_err(|source| CgroupError::Write {
            value: value.to_owned(),
            path: self.file_path(version, controller, name),
            source,
        })
    }

    /// Reads a file of a controller, or on v2 also one of no controller.
    pub(crate) fn read(
        &self,
        version: Version,
        controller: Option<Controller>,
        name: &str,
    ) -> Result<String, CgroupError> {
        let result = match self.locate(version, controller) {
            Some(Located::Legacy(root)) => file::read(root, &format!("{}/{name}", self.path)),
            Some(Located::Unified(dir)) => file::read(dir, name),
            None => Err(Errno::NOENT),
        };
        result.map_err(|source| CgroupError::Read {
            path: self.file_path(version, controller, name),
            source,
        })
    }

    /// Whether a controller has such a file here.
    pub(crate) fn has_file(&self, version: Version, controller: Controller, name: &str) -> bool {
        let exists = |at, path: &str| {
            rustix::fs::accessat(at, path, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
        };
        match self.locate(version, Some(controller)) {
            Some(Located::Legacy(root)) => exists(root, &format!("{}/{name}", self.path)),
            Some(Located::Unified(dir)) => exists(dir, name),
            None => false,
        }
    }

    fn locate(&self, version: Version, controller: Option<Controller>) -> Option<Located<'_>> {
        match version {
            Version::V1 => {
                let legacy = self.hierarchies.legacy_of(controller?)?;
                Some(Located::Legacy(legacy.root()))
            }
            Version::V2 => self.clone_into().map(Located::Unified),
        }
    }

    /// For messages.
    pub(crate) fn file_path(
        &self,
        version: Version,
        controller: Option<Controller>,
        name: &str,
    ) -> PathBuf {
        let mount = match version {
            Version::V1 => controller
                .and_then(|controller| self.hierarchies.legacy_of(controller))
                .map(|legacy| legacy.mount.as_path()),
            Version::V2 => self.hierarchies.unified().map(|unified| unified.mount.as_path()),
        };
        mount.unwrap_or(Path::new("")).join(&self.path).join(name)
    }

    /// For messages about the cgroup itself: its directory in the hierarchy that tracks it.
    pub(crate) fn place(&self) -> PathBuf {
        self.tracking().map_or(Path::new(""), |(_, mount)| mount).join(&self.path)
    }
}

/// The root of each hierarchy with the place where it is mounted, v1 first.
pub(crate) fn roots(hierarchies: &Hierarchies) -> impl Iterator<Item = (BorrowedFd<'_>, &Path)> {
    let legacy = hierarchies.legacy().iter();
    let legacy = legacy.map(|legacy| (legacy.root(), legacy.mount.as_path()));
    let unified = hierarchies.unified();
    legacy.chain(unified.map(|unified| (unified.root(), unified.mount.as_path())))
}

/// A limit or an amount of memory. v1 has no word for no limit: it shows the largest whole number of
/// pages that fits.
pub(crate) fn parse_memory(text: &str) -> Max {
    const UNLIMITED_V1: u64 = 0x7fff_ffff_ffff_0000;
    text.trim().parse().ok().filter(|value| *value < UNLIMITED_V1).map_or(Max::Unlimited, Max::At)
}

enum Located<'a> {
    Legacy(BorrowedFd<'a>),
    Unified(BorrowedFd<'a>),
}
