//! SELinux: the labels of a container, and of the files that it is given.
//!
//! Only a container that asks for a label (`--security-opt label=…`) has one, as under a Docker daemon that
//! was not told to use SELinux; where the kernel has none, asking has no effect, as in Docker. What follows
//! from the wish and the host's policy is `model::selinux`'s.

use std::ffi::{CStr, OsStr};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::ContainerId;
use model::container::{ContainerSpec, Source};
use model::mount::{MountSource, Recursion, Relabel};
use model::selinux::{Categories, Contexts, Label, Labels};
use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use sys::Errno;
use sys::mount::Depth;
use sys::root::{Root, RootError};

use crate::bundle::AttachedMount;
use crate::container::{Container, read_own};
use crate::{Engine, EngineError, random};

/// There if the kernel has it turned on.
const ENABLED: &str = "/sys/fs/selinux/enforce";
/// Which policy the host has.
const CONFIG: &str = "/etc/selinux/config";
/// Below the container's files and a policy's own: what labels it has for containers.
const CONTEXTS: &str = "contexts/lxc_contexts";
/// The attribute that a file's label is in.
const ATTRIBUTE: &CStr = c"security.selinux";
/// Below the data root: a file for each pair of categories that a container has.
const TAKEN: &str = "selinux";
/// How many pairs are drawn before it is given up: half of them may be taken, then.
const DRAWS: usize = 128;
/// How deep a tree is followed. What is deeper in it keeps what it has: its own container may have made it.
const DEEPEST: usize = 256;
/// What is never relabelled: the host would not work any more.
const REFUSED: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

impl Engine {
    /// The labels of a new container; `None` if it has none. Its categories are its own from then on.
    pub(crate) fn draw_labels(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
    ) -> Result<Option<Labels>, EngineError> {
        let wish = &spec.security.label;
        if wish.is_default() || !Path::new(ENABLED).exists() {
            return Ok(None);
        }
        if matches!(spec.source, Source::Directory(_)) {
            let why = "--security-opt label: a root file system that is the host's own has no label of a container's";
            return Err(EngineError::Invalid(why.to_owned()));
        }
        let contexts = contexts()?;
        let is_given = wish.level.is_some() || wish.disabled;
        let own = if is_given { Categories::nth(0) } else { self.take_categories(id)? };
        Ok(Some(Labels::new(&contexts, own, wish)))
    }

    /// Draws a pair of categories that no other container of this root has.
    fn take_categories(&self, id: &ContainerId) -> Result<Categories, EngineError> {
        let dir = self.paths().root().join(TAKEN);
        std::fs::create_dir_all(&dir).map_err(EngineError::file("make", &dir))?;
        for _ in 0..DRAWS {
            let pair = Categories::nth(random::number()?);
            let path = dir.join(pair.to_string());
            let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
            match file.and_then(|mut file| file.write_all(id.to_string().as_bytes())) {
                Ok(()) => return Ok(pair),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    self.free_if_nobodys(&path)?;
                }
                Err(error) => return Err(EngineError::file("make", path)(error)),
            }
        }
        Err(EngineError::Invalid("no two categories of SELinux are free".to_owned()))
    }

    /// Takes a pair back from a container that is no more: whoever removed it was killed.
    fn free_if_nobodys(&self, path: &Path) -> Result<(), EngineError> {
        let Some(text) = read_own(path)? else { return Ok(()) };
        // One without an owner is of somebody who was killed before it was written.
        let is_nobodys = match text.parse::<ContainerId>() {
            Ok(owner) => self.store().containers().get(&owner)?.is_none(),
            Err(_) => true,
        };
        if is_nobodys && is_old(path) {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Gives the categories of a container back that is no more.
    pub(crate) fn free_labels(&self, id: &ContainerId, labels: Option<&Labels>) {
        let level = labels.and_then(|labels| labels.mount.level.clone());
        let Some((_, pair)) = level.as_ref().and_then(|level| level.split_once(':')) else {
            return;
        };
        let path = self.paths().root().join(TAKEN).join(pair);
        // A level that the user has named is nobody's.
        let is_its = read_own(&path).ok().flatten().is_some_and(|owner| owner == id.to_string());
        if is_its {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Takes back the categories of all containers that are no more.
    pub(crate) fn free_dead_labels(&self) -> Result<(), EngineError> {
        let dir = self.paths().root().join(TAKEN);
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(EngineError::file("read", &dir))?,
        };
        for entry in entries {
            let entry = entry.map_err(EngineError::file("read", &dir))?;
            self.free_if_nobodys(&entry.path())?;
        }
        Ok(())
    }
}

/// The labels that a container has now: none on a host that has turned SELinux off since it was made.
pub(crate) fn labels(container: &Container) -> Option<&Labels> {
    container.record.labels.as_ref().filter(|_| Path::new(ENABLED).exists())
}

/// Gives what a container is about to be given the labels that its mounts ask for (`:z`, `:Z`), and the
/// files that name it theirs: those of another, whose network it shares, stay readable for that one.
///
/// What is labelled is what will be mounted: its detached tree, which is made here if there is none yet.
pub(crate) fn label_files(
    labels: Option<&Labels>,
    sources: &[AttachedMount],
    trees: &mut Vec<(PathBuf, OwnedFd)>,
    (naming, owner): (&[(PathBuf, &str)], Option<&Container>),
) -> Result<(), EngineError> {
    let Some(labels) = labels else { return Ok(()) };
    let label = owner.map_or_else(|| labels.mount.clone(), |_| labels.shared());
    for (path, _) in naming {
        let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let done = file.map_err(io::Error::from).and_then(|file| relabel(file.as_fd(), &label));
        done.map_err(EngineError::file("relabel", path))?;
    }
    for mount in sources {
        let Some(path) = &mount.source else { continue };
        let label = match how(&mount.wish.source, mount.wish.relabel) {
            Relabel::No => continue,
            Relabel::Shared => labels.shared(),
            Relabel::Private => labels.mount.clone(),
        };
        let target = &mount.wish.target;
        let at = trees.iter().position(|(at, _)| at == target);
        let at = at.map_or_else(
            || {
                let tree = sys::mount::clone_tree(path.as_path(), depth(&mount.wish.source));
                let tree = tree.map_err(|e| EngineError::file("bind", path)(e.into()))?;
                trees.push((target.clone(), tree));
                Ok(trees.len() - 1)
            },
            Ok::<_, EngineError>,
        )?;
        match relabel_given(trees[at].1.as_fd(), path, &label) {
            // Nobody has asked, and what cannot be written to stays as it is.
            Err(EngineError::File { source, .. })
                if mount.wish.relabel == Relabel::No
                    && source.kind() == ErrorKind::ReadOnlyFilesystem => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether what is mounted below a source comes along.
fn depth(source: &MountSource) -> Depth {
    match source {
        MountSource::Bind { recursive: Recursion::TopOnly, .. } => Depth::Single,
        MountSource::Bind { .. }
        | MountSource::Volume { .. }
        | MountSource::Image { .. }
        | MountSource::Tmpfs { .. } => Depth::Recursive,
    }
}

/// What asks to be relabelled: binds that say so, and volumes, which containers share.
fn how(source: &MountSource, wish: Relabel) -> Relabel {
    match (source, wish) {
        (MountSource::Volume { .. }, Relabel::No) => Relabel::Shared,
        (MountSource::Volume { .. } | MountSource::Bind { .. }, wish) => wish,
        (MountSource::Image { .. } | MountSource::Tmpfs { .. }, _) => Relabel::No,
    }
}

/// Its maker may be about to write the row.
fn is_old(path: &Path) -> bool {
    let age = path.metadata().ok().and_then(|found| found.modified().ok()?.elapsed().ok());
    age.is_some_and(|age| age > std::time::Duration::from_secs(60))
}

/// The labels that the host's policy has for containers.
fn contexts() -> Result<Contexts, EngineError> {
    let config = read_own(Path::new(CONFIG))?.unwrap_or_default();
    let policy = policy(&config);
    let path = Path::new("/etc/selinux").join(policy).join(CONTEXTS);
    let text = read_own(&path)?.ok_or_else(|| {
        EngineError::Invalid(format!(
            "--security-opt label: the policy {policy:?} has no labels for containers ({}); \
             install container-selinux",
            path.display()
        ))
    })?;
    Contexts::parse(&text).ok_or_else(|| {
        EngineError::Invalid(format!("{} has no labels of processes and files", path.display()))
    })
}

/// The name of the policy in use, which is a directory's.
fn policy(config: &str) -> &str {
    let lines = config.lines().map(str::trim);
    let named = lines.rev().find_map(|line| line.strip_prefix("SELINUXTYPE="));
    named.map(str::trim).filter(|name| model::id::is_plain_name(name)).unwrap_or("targeted")
}

/// Labels what the user has named, unless it is the host's own, by whichever path that was reached.
fn relabel_given(tree: BorrowedFd<'_>, path: &Path, label: &Label) -> Result<(), EngineError> {
    let found =
        rustix::fs::fstat(tree).map_err(|e| EngineError::file("look at", path)(e.into()))?;
    let is_it = |it: Metadata| (it.dev(), it.ino()) == (found.st_dev, found.st_ino);
    if REFUSED.iter().any(|refused| std::fs::metadata(refused).is_ok_and(is_it)) {
        return Err(EngineError::Invalid(format!(
            "SELinux relabeling of {} is not allowed",
            path.display()
        )));
    }
    relabel(tree, label).map_err(EngineError::file("relabel", path))
}

/// Gives a file, or all of a tree, a label. No symbolic link is followed.
fn relabel(tree: BorrowedFd<'_>, label: &Label) -> io::Result<()> {
    let value = label.to_string();
    // The one way to attributes by a descriptor that is open for nothing else.
    let path = format!("/proc/self/fd/{}", tree.as_raw_fd());
    let mut has = vec![0; sys::xattr::MAX_LEN];
    let len = match rustix::fs::getxattr(&path, ATTRIBUTE, &mut has) {
        Err(Errno::NOTSUP) => return Ok(()),
        Err(Errno::NODATA) => 0,
        len => len?,
    };
    if !is_label(&has[..len], value.as_bytes()) {
        match rustix::fs::setxattr(&path, ATTRIBUTE, value.as_bytes(), XattrFlags::empty()) {
            Err(Errno::NOTSUP) => return Ok(()),
            done => done?,
        }
    }
    let found = rustix::fs::fstat(tree)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Ok(());
    }
    let root = Root::from_fd(tree.try_clone_to_owned()?);
    relabel_below(&root, value.as_bytes(), DEEPEST)
}

/// With the zero that some write at its end.
fn is_label(has: &[u8], label: &[u8]) -> bool {
    has.strip_suffix(b"\0").unwrap_or(has) == label
}

/// Labels what is in a directory. Other containers may work there meanwhile, and whatever they make of it
/// keeps no container from its start.
fn relabel_below(root: &Root, label: &[u8], deeper: usize) -> io::Result<()> {
    let Some(deeper) = deeper.checked_sub(1) else { return Ok(()) };
    for entry in root.read_dir(".").or_else(passed_over)? {
        let name = Path::new(OsStr::from_bytes(entry.name.to_bytes()));
        // What has it already is left alone: a tree may be large, and its times are somebody's.
        let has = root.get_xattr(name, ATTRIBUTE).or_else(passed_over)?.unwrap_or_default();
        if !is_label(&has, label) {
            root.set_xattr(name, ATTRIBUTE, label).or_else(passed_over)?;
        }
        let found = root.metadata(name).map(Some).or_else(passed_over)?;
        if found.is_none_or(|it| FileType::from_raw_mode(it.st_mode) != FileType::Directory) {
            continue;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        if let Some(below) = root.open_file(name, flags).map(Some).or_else(passed_over)? {
            relabel_below(&Root::from_fd(below), label, deeper)?;
        }
    }
    Ok(())
}

/// What has gone or become something else meanwhile, is on a file system without labels, or is not to be
/// changed by anybody.
fn passed_over<T: Default>(error: RootError) -> io::Result<T> {
    match error.errno() {
        Some(
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NOTSUP | Errno::PERM | Errno::ROFS,
        ) => Ok(T::default()),
        Some(errno) => Err(errno.into()),
        None => Err(io::Error::other(error)),
    }
}

/// What a process of a container is called; empty: as whoever starts it.
pub(crate) fn process_label(labels: Option<&Labels>) -> String {
    labels.and_then(|labels| labels.process.as_ref()).map(Label::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use model::mount::{
        Access, CopyUp, Ids, MissingSource, Mount, Propagation, Recursion, VolumeWish,
    };
    use sys::mount::Attributes;

    use super::*;

    #[test]
    fn the_policy_is_the_one_that_is_configured() {
        assert_eq!(policy("# x\nSELINUX=enforcing\nSELINUXTYPE=mls\n"), "mls");
        assert_eq!(policy("SELINUXTYPE= targeted \n"), "targeted");
        assert_eq!(policy("SELINUXTYPE=../x\n"), "targeted");
        assert_eq!(policy(""), "targeted");
    }

    const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    fn label() -> Label {
        Label::parse(LABEL).unwrap()
    }

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn the_host_itself_is_not_relabelled() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let paths = ["/", "/etc", "/usr/", "/usr/../etc", "/var/lib", "/etc/passwd"];
        for path in paths.map(Path::new).into_iter().chain([&*link]) {
            let refused = relabel_given(open(path).as_fd(), path, &label()).unwrap_err();
            assert!(refused.to_string().contains("is not allowed"), "{path:?}: {refused}");
        }
    }

    /// The kernel keeps the attribute without SELinux as well, for root.
    #[test]
    fn a_tree_is_relabelled_and_what_its_links_lead_to_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/f"), "").unwrap();
        std::fs::write(&outside, "").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        relabel(open(&tree).as_fd(), &label()).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let has = |path: &str| root.get_xattr(path, ATTRIBUTE).unwrap().is_some();
        for path in ["tree", "tree/a", "tree/a/b", "tree/a/b/f", "tree/link"] {
            assert!(has(path), "{path}");
        }
        assert!(!has("outside"));
        relabel(open(&outside).as_fd(), &label()).unwrap();
        assert!(has("outside"));
        // Here nothing has labels.
        relabel(open(Path::new("/proc/self/limits")).as_fd(), &label()).unwrap();
    }

    #[test]
    fn what_others_make_of_a_tree_keeps_nobody_from_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut here = open(dir.path());
        for _ in 0..=DEEPEST {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            here = rustix::fs::openat(&here, "d", flags, Mode::empty()).unwrap();
        }
        relabel(open(dir.path()).as_fd(), &label()).unwrap();
        let others = tempfile::tempdir().unwrap();
        let path = others.path().join("x");
        let change = || {
            let _ = std::fs::create_dir(&path);
            let _ = std::fs::remove_dir(&path);
            let _ = std::os::unix::fs::symlink("/", &path);
            let _ = std::fs::remove_file(&path);
        };
        let tree = open(others.path());
        while_others(change, || {
            (0..5000).for_each(|_| relabel(tree.as_fd(), &label()).unwrap());
        });
    }

    /// Does something while another thread does something else over and over.
    fn while_others(other: impl Fn() + Sync, work: impl FnOnce()) {
        /// Also when the work panics.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let done = AtomicBool::new(false);
        let others = || {
            while !done.load(Ordering::Relaxed) {
                other();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(others);
            let _done = Done(&done);
            work();
        });
    }

    fn given(source: MountSource, relabel: Relabel, path: &Path) -> AttachedMount {
        let wish = Mount { source, target: "/t".into(), access: Access::ReadWrite, relabel };
        AttachedMount { wish, source: Some(path.to_owned()) }
    }

    fn bind(path: &Path) -> MountSource {
        MountSource::Bind {
            path: path.to_owned(),
            missing: MissingSource::Refuse,
            propagation: Propagation::RecursivePrivate,
            recursive: Recursion::WithSubmounts,
            ids: Ids::Host,
        }
    }

    fn is_labelled(tree: &OwnedFd) -> bool {
        let path = format!("/proc/self/fd/{}", tree.as_raw_fd());
        let mut has = [0; 256];
        rustix::fs::getxattr(path, ATTRIBUTE, &mut has).is_ok_and(|len| len > 0)
    }

    /// Whoever may write above a source swaps a part of the way: what is mounted is what was labelled, and
    /// nothing else is.
    #[test]
    fn what_is_labelled_is_what_is_mounted() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};

        let dir = tempfile::tempdir().unwrap();
        let (way, other) = (dir.path().join("way"), dir.path().join("other"));
        let places = [way.join("data"), other.join("data")];
        places.iter().for_each(|place| std::fs::create_dir_all(place).unwrap());
        let labels = Labels { process: None, mount: label() };
        let swap = || renameat_with(CWD, &way, CWD, &other, RenameFlags::EXCHANGE).unwrap();
        let path = way.join("data");
        let sources = [given(bind(&path), Relabel::Private, &path)];
        let start = |_| {
            let mut trees = Vec::new();
            label_files(Some(&labels), &sources, &mut trees, (&[], None)).unwrap();
            let tree = &trees.first().expect("what is mounted").1;
            assert!(is_labelled(tree), "what is mounted has no label");
            let path = format!("/proc/self/fd/{}", tree.as_raw_fd());
            rustix::fs::removexattr(path, ATTRIBUTE).unwrap();
        };
        while_others(swap, || (0..500).for_each(start));
        for place in places {
            assert!(!is_labelled(&open(&place)), "{place:?} has a label");
        }
    }

    /// What is mounted as a volume is not its own directory.
    #[test]
    fn a_volume_with_a_device_is_labelled_where_its_files_are() {
        let dir = tempfile::tempdir().unwrap();
        let (own, device) = (dir.path().join("own"), dir.path().join("device"));
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("file"), "").unwrap();
        let (name, wish) = (Some("v".to_owned()), VolumeWish::default());
        let (copy_up, ids) = (CopyUp::Never, Ids::default());
        let volume = MountSource::Volume { name, copy_up, part: None, ids, wish };
        let labels = Labels { process: None, mount: label() };
        let sources = [given(volume, Relabel::No, &own)];
        let tree = sys::mount::clone_tree(device.as_path(), Depth::Single).unwrap();
        let mut trees = vec![(PathBuf::from("/t"), tree)];
        label_files(Some(&labels), &sources, &mut trees, (&[], None)).unwrap();
        assert_eq!(trees.len(), 1);
        for (path, expected) in [(&own, false), (&device, true), (&device.join("file"), true)] {
            assert_eq!(is_labelled(&open(path)), expected, "{path:?}");
        }
        // One that can only be read stays as it is; who has asked is told.
        let tree = sys::mount::clone_tree(own.as_path(), Depth::Single).unwrap();
        sys::mount::set_attr(&tree, Depth::Single, &Attributes::READ_ONLY).unwrap();
        let mut trees = vec![(PathBuf::from("/t"), tree)];
        label_files(Some(&labels), &sources, &mut trees, (&[], None)).unwrap();
        let asked = [given(bind(&own), Relabel::Shared, &own)];
        label_files(Some(&labels), &asked, &mut trees, (&[], None)).unwrap_err();
        assert!(!is_labelled(&open(&own)));
    }
}
