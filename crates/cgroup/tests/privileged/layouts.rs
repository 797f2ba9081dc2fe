//! The layouts of a host, each in a mount namespace of its own, and cgroups that clean up.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

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
    let layout = match hierarchies.layout() {
        Layout::V1(_) => "v1",
        Layout::V2(_) => "v2",
        Layout::Hybrid(..) => "hybrid",
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let parent = format!("dhow-test-{}-{count}-{layout}/deep", std::process::id());
    let host = Host { hierarchies, parent, names: RefCell::default() };
    let result = catch_unwind(AssertUnwindSafe(|| test(&host)));
    host.clean();
    if let Err(panic) = result {
        // The parent's name, which the failed thread does not print, tells the layout.
        std::panic::panic_any(format!("on {}: {}", host.parent, text(&*panic)));
    }
}
