//! The layouts of a host, each in a mount namespace of its own, and cgroups that clean up.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, RwLock};

use cgroup::{Cgroup, CgroupError, DeviceRules, Hierarchies, Layout, Limits};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use sys::process::{Namespaces, unshare};

/// The hierarchies of one layout, and a parent that is this test's own.
pub(crate) struct Host {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) parent: String,
    names: RefCell<Vec<String>>,
}

impl Host {
    pub(crate) fn create(&self, name: &str, limits: &Limits) -> Cgroup {
        self.try_create(name, limits).unwrap()
    }

    pub(crate) fn try_create(&self, name: &str, limits: &Limits) -> Result<Cgroup, CgroupError> {
        self.create_with(name, limits, &DeviceRules::unrestricted())
    }

    pub(crate) fn create_with(
        &self,
        name: &str,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<Cgroup, CgroupError> {
        self.names.borrow_mut().push(name.to_owned());
        Cgroup::create(&self.hierarchies, &self.parent, name, limits, devices)
    }

    /// Removes all that the test made, whether or not it went well.
    fn clean(&self) {
        for name in self.names.borrow().iter() {
            if let Ok(cgroup) = Cgroup::open(&self.hierarchies, &self.parent, name) {
                cgroup.kill().unwrap();
                cgroup.remove().unwrap();
            }
        }
        Cgroup::prune(&self.hierarchies, &self.parent).unwrap();
        let top = self.parent.split('/').next().unwrap();
        let left = Cgroup::list(&self.hierarchies, "").unwrap();
        assert!(!left.iter().any(|name| name == top), "{top} is left");
    }
}

/// Held by every host while it is used.
static IN_USE: RwLock<()> = RwLock::new(());

/// The controllers that the root of v2 handed down before the first test.
static HANDED_DOWN: OnceLock<String> = OnceLock::new();

/// What the root of v2 hands down, and where that is written.
fn handed_down(hierarchies: &Hierarchies) -> Option<(String, PathBuf)> {
    let file = hierarchies.unified()?.mount.join("cgroup.subtree_control");
    Some((std::fs::read_to_string(&file).unwrap(), file))
}

/// Takes back what was handed down for tests, when no test needs it any more.
fn take_back(hierarchies: &Hierarchies) {
    let (Ok(_alone), Some((now, file))) = (IN_USE.try_write(), handed_down(hierarchies)) else {
        return;
    };
    let before = HANDED_DOWN.get().map_or("", String::as_str);
    let added = now.split_whitespace().filter(|name| !before.contains(name));
    added.for_each(|name| std::fs::write(&file, format!("-{name}")).unwrap());
}

const UNIFIED: &str = "/sys/fs/cgroup/unified";

fn as_it_is() {}

fn without_v2() {
    if std::path::Path::new(UNIFIED).exists() {
        unmount(UNIFIED, UnmountFlags::DETACH).unwrap();
    }
}

fn with_v2_only() {
    if std::path::Path::new(UNIFIED).exists() {
        mount_bind(UNIFIED, "/sys/fs/cgroup").unwrap();
    }
}

/// Runs a test on each layout that this host can show.
pub(crate) fn on_each_layout(test: fn(&Host)) {
    for prepare in [as_it_is, without_v2, with_v2_only] {
        let result = std::thread::spawn(move || in_own_mounts(prepare, test)).join();
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

fn in_own_mounts(prepare: fn(), test: fn(&Host)) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    unshare(Namespaces::MOUNT).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    prepare();
    let hierarchies = Hierarchies::detect().unwrap();
    let in_use = IN_USE.read().unwrap();
    if let Some((now, _)) = handed_down(&hierarchies) {
        HANDED_DOWN.get_or_init(|| now);
    }
    let layout = match hierarchies.layout() {
        Layout::V1(_) => "v1",
        Layout::V2(_) => "v2",
        Layout::Hybrid(..) => "hybrid",
        Layout::NotOurs => "none",
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let parent = format!("dhow-test-{}-{count}-{layout}/deep", std::process::id());
    let host = Host { hierarchies, parent, names: RefCell::default() };
    let result = catch_unwind(AssertUnwindSafe(|| test(&host)));
    host.clean();
    drop(in_use);
    take_back(&host.hierarchies);
    if let Err(panic) = result {
        // The parent's name, which the failed thread does not print, tells the layout.
        std::panic::panic_any(format!("on {}: {}", host.parent, text(&*panic)));
    }
}
