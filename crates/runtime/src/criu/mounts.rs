//! Looks whether a container that criu has made has mounts that its plan does not give it.
//!
//! `verify` asks whether what the plan mounts is as restricted as it should be; this asks what else is
//! there, in each mount namespace of the container: a second procfs without masks, a file system
//! of the host's, a bind under another name with more rights. What a start brings from outside is known by its file system
//! and what of it is shown, for names are the checkpoint's; what criu makes anew, by its place and kind.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::mount_table::{self, Entry, entries};
use sys::root::{Final, Root};

use super::{MASK_DIRECTORY, MASK_FILE};
use crate::init;
use crate::plan::restoring::Restoring;
use crate::plan::{InitPlan, Tree};
use crate::step::{MountStep, Place, Source, Step};

/// Who may mount may have mounted any of these, and taken masks away.
const OWN_KINDS: [&[u8]; 5] = [b"proc", b"sysfs", b"mqueue", b"devpts", b"tmpfs"];

/// What a mount must not lose.
const RESTRICTIONS: [&[u8]; 4] = [b"ro", b"nosuid", b"nodev", b"noexec"];

/// Who in a container may mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounter {
    Anybody,
    Nobody,
}

/// A file system, and what of it is shown.
type Shown = (Vec<u8>, Vec<u8>);

/// What a start brings from outside, as it lies on the bench.
#[derive(Debug, Default)]
pub(super) struct Brought {
    root: Option<Shown>,
    /// With the restrictions that each has there.
    others: BTreeMap<Shown, BTreeSet<&'static [u8]>>,
}

impl Brought {
    /// By criu's own list of mounts, before it has made any.
    pub(super) fn of(layout: &Restoring, bench: &Path, table: &[u8]) -> Self {
        let is_mask = |path: &Path| {
            let masks = [MASK_FILE, MASK_DIRECTORY];
            let mut laid = layout.laid.iter();
            laid.any(|(name, at)| masks.contains(&name.as_str()) && at.parent() == Some(path))
        };
        let mut brought = Self::default();
        for entry in entries(table) {
            let path = entry.path();
            if path == layout.root {
                brought.root = Some(shown(&entry));
            } else if is_mask(&path) {
                brought.add_masks(entry.device);
            } else if path.starts_with(bench) && path != bench {
                brought.add(shown(&entry), restrictions(&entry));
            }
        }
        brought
    }

    /// More of a mask is no harm, as long as nobody writes to it.
    fn add_masks(&mut self, device: &[u8]) {
        for file in [init::NULL, init::EMPTY] {
            let root = [b"/", file.to_bytes()].concat();
            self.add((device.to_vec(), root), [b"ro".as_slice()].into());
        }
    }

    /// Where the same is brought twice, what both have is what may not be lost.
    fn add(&mut self, shown: Shown, given: BTreeSet<&'static [u8]>) {
        let both =
            self.others.get(&shown).map(|known| known.intersection(&given).copied().collect());
        self.others.insert(shown, both.unwrap_or(given));
    }
}

/// What criu makes anew, by the plan.
#[derive(Debug, Default)]
struct Fresh {
    /// By place, the kind.
    whole: BTreeMap<PathBuf, Vec<u8>>,
    /// Places that show a part of what is mounted above them.
    parts: BTreeSet<PathBuf>,
}

impl Fresh {
    fn of(plan: &InitPlan, root: &Root) -> Self {
        let mut fresh = Self::default();
        for step in &plan.steps {
            if let Step::Mount(mount) = step {
                let kind = kind(mount, &plan.trees);
                fresh.whole.extend(found(root, &mount.target).zip(kind));
            } else if let Step::ReadOnlyPath(place) = step {
                fresh.parts.extend(found(root, place));
            }
        }
        fresh
    }

    /// Whether a start makes this there.
    fn has(&self, entry: &Entry<'_>) -> bool {
        let path = entry.path();
        if entry.root == b"/" {
            return self.whole.get(&path).is_some_and(|kind| kind == entry.kind);
        }
        let above = path.ancestors().skip(1).find_map(|at| Some((at, self.whole.get(at)?)));
        let Some((at, kind)) = above.filter(|_| self.parts.contains(&path)) else { return false };
        let rest = path.strip_prefix(at).unwrap_or(&path).as_os_str().as_bytes();
        kind == entry.kind && entry.root == [b"/", rest].concat()
    }
}

/// `None`: it comes from outside.
fn kind(mount: &MountStep, trees: &[Tree]) -> Option<Vec<u8>> {
    match &mount.source {
        Source::New { kind, .. } => {
            Some(kind.to_bytes().to_vec()).filter(|kind| OWN_KINDS.contains(&kind.as_slice()))
        }
        Source::Tree(slot, _) => match trees.get(*slot) {
            Some(Tree::CopyUp { .. } | Tree::Filled { .. }) => Some(b"tmpfs".to_vec()),
            Some(Tree::Bind { .. } | Tree::Device { .. } | Tree::Users(_)) | None => None,
        },
        Source::Present(_) | Source::Inside { .. } => None,
    }
}

/// Where a place of the plan is, symbolic links of the image followed.
fn found(root: &Root, place: &Place) -> Option<PathBuf> {
    let found = root.resolve(OsStr::from_bytes(place.path.to_bytes()), Final::Follow).ok()?;
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

fn shown(entry: &Entry<'_>) -> Shown {
    (entry.device.to_vec(), entry.root.to_vec())
}

fn restrictions(entry: &Entry<'_>) -> BTreeSet<&'static [u8]> {
    let given: Vec<&[u8]> = entry.attributes.split(|byte| *byte == b',').collect();
    RESTRICTIONS.into_iter().filter(|word| given.contains(word)).collect()
}

/// Whether a mount namespace, by its file in procfs, has nothing that the container may not have; its root.
pub(super) fn check(
    namespace: &Path,
    plan: &InitPlan,
    brought: &Brought,
    mounter: Mounter,
) -> Result<Root, String> {
    let unseen = |error: io::Error| format!("its mounts cannot be looked at: {error}");
    let look = || mount_table::of_namespace(fs::File::open(namespace)?);
    let (table, root) = look().map_err(unseen)?;
    let root = Root::from_fd(root);
    judge(&table, brought, &Fresh::of(plan, &root), mounter)?;
    Ok(root)
}

fn judge(table: &[u8], brought: &Brought, fresh: &Fresh, mounter: Mounter) -> Result<(), String> {
    let may_mount = mounter == Mounter::Anybody;
    let mut seen = BTreeSet::new();
    for entry in entries(table) {
        let path = entry.path();
        let is_root = brought.root.as_ref() == Some(&shown(&entry));
        let known = match brought.others.get(&shown(&entry)) {
            // What is mounted there is less restricted than on the bench.
            Some(given) if !given.is_subset(&restrictions(&entry)) => false,
            Some(_) => true,
            None if path == Path::new("/") => is_root,
            // The second of two would hide the first, which open files may still reach.
            None if fresh.has(&entry) => seen.insert(path.clone()) || may_mount,
            None => may_mount && OWN_KINDS.contains(&entry.kind),
        };
        if !known {
            let kind = String::from_utf8_lossy(entry.kind);
            return Err(format!(
                "the checkpoint has a {kind} on {}, which a start does not mount so",
                path.display()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCH: &str = "\
20 1 254:0 / / rw - ext4 /dev/vda rw
21 20 0:90 / /work/bench rw - tmpfs none rw
22 21 0:39 / /work/bench/root rw - overlay overlay rw
23 21 0:42 / /work/bench/mask ro,nosuid,noexec - tmpfs none rw
24 21 254:0 /srv /work/bench/m2 ro,nodev - ext4 /dev/vda rw
";

    const CONTAINER: &str = "\
46 50 0:39 / / rw,relatime - overlay overlay rw
47 46 254:0 /srv /data ro,nodev,relatime - ext4 /dev/vda rw
74 46 0:43 / /proc rw,nosuid - proc proc rw
75 46 0:44 / /dev rw,nosuid - tmpfs tmpfs rw
91 74 0:43 /bus /proc/bus ro,nosuid - proc proc rw
95 74 0:42 /empty /proc/acpi ro,nosuid,noexec - tmpfs tmpfs rw
";

    fn check(more: &str, mounter: Mounter) -> Result<(), String> {
        let bench = Path::new("/work/bench");
        let mask = |name: &str, file: &str| (name.to_owned(), bench.join("mask").join(file));
        let layout = Restoring {
            steps: Vec::new(),
            trees: Vec::new(),
            root: bench.join("root"),
            laid: vec![mask(MASK_FILE, "null"), mask(MASK_DIRECTORY, "empty")],
        };
        let brought = Brought::of(&layout, bench, BENCH.as_bytes());
        let whole = [("/proc", "proc"), ("/dev", "tmpfs")];
        let fresh = Fresh {
            whole: whole.map(|(at, kind)| (at.into(), kind.into())).into(),
            parts: ["/proc/bus".into()].into(),
        };
        judge(format!("{CONTAINER}{more}").as_bytes(), &brought, &fresh, mounter)
    }

    #[test]
    fn what_a_start_mounts_may_be_there_and_nothing_else() {
        assert_eq!(check("", Mounter::Nobody), Ok(()));
        for more in [
            "99 46 0:91 / /x rw - proc proc rw",
            "99 46 0:91 / /proc rw - proc proc rw",
            "99 46 0:43 / /proc/bus ro - proc proc rw",
            "99 46 0:91 / /dev rw - sysfs sysfs rw",
            "99 46 0:92 / /x rw - tmpfs tmpfs rw",
            "99 46 0:39 / /x rw - overlay overlay rw",
            "99 46 0:39 /etc /x rw - overlay overlay rw",
            "99 46 254:0 / /x ro,nodev - ext4 /dev/vda rw",
            "99 46 254:0 /srv /x rw,nodev - ext4 /dev/vda rw",
            "99 46 254:0 /srv/a /x ro,nodev - ext4 /dev/vda rw",
            "99 46 0:90 / /x rw - tmpfs none rw",
        ] {
            assert!(check(more, Mounter::Nobody).is_err(), "{more}");
        }
    }

    #[test]
    fn who_may_mount_has_what_it_may_have_mounted() {
        for more in ["99 46 0:91 / /x rw - proc proc rw", "99 46 0:92 / /dev rw - tmpfs tmpfs rw"] {
            assert_eq!(check(more, Mounter::Anybody), Ok(()), "{more}");
        }
        for more in ["99 46 254:0 / /x ro - ext4 /dev/vda rw", "99 46 0:39 / /x rw - overlay o rw"]
        {
            assert!(check(more, Mounter::Anybody).is_err(), "{more}");
        }
    }
}
