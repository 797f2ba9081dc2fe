//! SELinux: the labels of a container, and of the files that it is given.
//!
//! Only a container that asks for a label (`--security-opt label=…`) has one, as under a Docker daemon that
//! was not told to use SELinux; where the kernel has none, asking has no effect, as in Docker. What follows
//! from the wish and the host's policy is `model::selinux`'s.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::ContainerId;
use model::container::{ContainerSpec, Source};
use model::mount::{MountSource, Relabel};
use model::selinux::{Categories, Contexts, Label, Labels};
use rustix::fs::{FileType, OFlags};
use sys::Errno;
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
/// How deep a tree is followed.
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

    /// Gives the categories of a container back that is removed.
    pub(crate) fn free_labels(&self, container: &Container) {
        let level = container.record.labels.as_ref().and_then(|labels| labels.mount.level.clone());
        let Some((_, pair)) = level.as_ref().and_then(|level| level.split_once(':')) else {
            return;
        };
        let path = self.paths().root().join(TAKEN).join(pair);
        // A level that the user has named is nobody's.
        let is_its =
            read_own(&path).ok().flatten().is_some_and(|id| id == container.id.to_string());
        if is_its {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Gives what a container is about to be given the labels that its mounts ask for (`:z`, `:Z`), and
    /// the files that name it theirs: those of another, whose network it shares, stay readable for that one.
    pub(crate) fn label_files(
        container: &Container,
        sources: &[AttachedMount],
        (naming, owner): (&[(PathBuf, &str)], Option<&Container>),
    ) -> Result<(), EngineError> {
        let Some(labels) = &container.record.labels else { return Ok(()) };
        let label = owner.map_or_else(|| labels.mount.clone(), |_| labels.shared());
        for (path, _) in naming {
            relabel(path, &label)?;
        }
        for mount in sources {
            let Some(path) = &mount.source else { continue };
            match how(&mount.wish.source, mount.wish.relabel) {
                Relabel::No => {}
                Relabel::Shared => relabel_given(path, &labels.shared())?,
                Relabel::Private => relabel_given(path, &labels.mount)?,
            }
        }
        Ok(())
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

/// The same of what the user has named, which may be the host's own.
fn relabel_given(path: &Path, label: &Label) -> Result<(), EngineError> {
    let real = path.canonicalize().map_err(EngineError::file("look at", path))?;
    if REFUSED.iter().any(|refused| real == Path::new(refused)) {
        return Err(EngineError::Invalid(format!(
            "SELinux relabeling of {} is not allowed",
            path.display()
        )));
    }
    relabel(&real, label)
}

/// Gives a file, or all of a tree, a label. No symbolic link is followed.
fn relabel(path: &Path, label: &Label) -> Result<(), EngineError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(EngineError::file("relabel", path)(ErrorKind::InvalidInput.into()));
    };
    let value = label.to_string();
    let done = Root::open(parent)
        .map_err(plain)
        .and_then(|root| relabel_below(&root, Path::new(name), value.as_bytes(), DEEPEST));
    done.map_err(EngineError::file("relabel", path))
}

fn plain(error: RootError) -> io::Error {
    error.errno().map_or_else(|| io::Error::other(error), io::Error::from)
}

fn relabel_below(root: &Root, name: &Path, label: &[u8], deeper: usize) -> io::Result<()> {
    // What has it already is left alone: a tree may be large, and its times are somebody's.
    let has = root.get_xattr(name, ATTRIBUTE).or_else(unlabelled)?.unwrap_or_default();
    if has.strip_suffix(b"\0").unwrap_or(&has) != label {
        root.set_xattr(name, ATTRIBUTE, label).or_else(unlabelled)?;
    }
    let found = root.metadata(name).map(Some).or_else(unlabelled)?;
    if found.is_none_or(|it| FileType::from_raw_mode(it.st_mode) != FileType::Directory) {
        return Ok(());
    }
    let deeper = deeper.checked_sub(1).ok_or_else(|| io::Error::other("it is too deep"))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let below = Root::from_fd(root.open_file(name, flags).map_err(plain)?);
    for entry in below.read_dir(".").map_err(plain)? {
        let entry = Path::new(OsStr::from_bytes(entry.name.to_bytes()));
        relabel_below(&below, entry, label, deeper)?;
    }
    Ok(())
}

/// What has gone meanwhile, or is on a file system without labels, has none and needs none.
fn unlabelled<T: Default>(error: RootError) -> io::Result<T> {
    match error.errno() {
        Some(Errno::NOENT | Errno::NOTSUP) => Ok(T::default()),
        _ => Err(plain(error)),
    }
}

/// What a process of a container is called; empty: as whoever starts it.
pub(crate) fn process_label(labels: Option<&Labels>) -> String {
    labels.and_then(|labels| labels.process.as_ref()).map(Label::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_the_one_that_is_configured() {
        assert_eq!(policy("# x\nSELINUX=enforcing\nSELINUXTYPE=mls\n"), "mls");
        assert_eq!(policy("SELINUXTYPE= targeted \n"), "targeted");
        assert_eq!(policy("SELINUXTYPE=../x\n"), "targeted");
        assert_eq!(policy(""), "targeted");
    }

    #[test]
    fn the_host_itself_is_not_relabelled() {
        let label = Label::parse("system_u:object_r:container_file_t:s0").unwrap();
        for path in ["/", "/etc", "/usr/", "/usr/../etc", "/var/lib", "/etc/passwd"] {
            let refused = relabel_given(Path::new(path), &label).unwrap_err();
            assert!(refused.to_string().contains("is not allowed"), "{path}: {refused}");
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
        let label = Label::parse("system_u:object_r:container_file_t:s0:c1,c2").unwrap();
        relabel(&tree, &label).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let has = |path: &str| root.get_xattr(path, ATTRIBUTE).unwrap().is_some();
        for path in ["tree", "tree/a", "tree/a/b", "tree/a/b/f", "tree/link"] {
            assert!(has(path), "{path}");
        }
        assert!(!has("outside"));
        relabel(&tree.join("a/b/f"), &label).unwrap();
        // Somebody else took it away; here nothing has labels.
        relabel(&tree.join("a/gone"), &label).unwrap();
        relabel(Path::new("/proc/self/limits"), &label).unwrap();
    }
}
