//! Mounts that are there already: changed in place, or left behind.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsPickFlags, UnmountFlags};
use sys::Errno;
use sys::mount::{self, MountAttrFlags, Param};

use super::{Done, Init, mounts, place};
use crate::step::MountStep;

impl Init<'_> {
    /// Changes what is mounted at a place: the file system if there are parameters, then the mount.
    pub(super) fn remount(&self, step: &MountStep, params: &[(CString, Option<CString>)]) -> Done {
        let target = place::open(self.root()?, &step.target)?;
        if !params.is_empty() {
            let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
            let context = rustix::mount::fspick(target.as_fd(), c"", flags)?;
            for (key, value) in params {
                set(context.as_fd(), key, value.as_deref())?;
            }
            rustix::mount::fsconfig_reconfigure(context.as_fd())?;
        }
        Ok(mounts::apply(target.as_fd(), &step.attributes, step)?)
    }

    /// Makes the root file system the root, where the kernel does not let the host's be put away. Who got
    /// out of the root would find the host's procfs and sysfs, by which the kernel can be changed.
    pub(super) fn enter_root_by_chroot(&self, covered: &[CString]) -> Done {
        covered.iter().try_for_each(|path| let_go(path))?;
        rustix::process::fchdir(self.root()?)?;
        rustix::process::chroot(c".")?;
        Ok(rustix::process::chdir(c"/")?)
    }
}

fn set(context: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> Result<(), Errno> {
    match value {
        Some(value) => rustix::mount::fsconfig_set_string(context, key, value),
        None => rustix::mount::fsconfig_set_flag(context, key),
    }
}

fn let_go(path: &CStr) -> Done {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Below one that has gone.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // In a user namespace the host's mounts stay.
        Err(Errno::INVAL | Errno::PERM) => {
            let params = [Param::String(c"source", c"tmpfs"), Param::String(c"mode", c"000")];
            let cover = mount::detached(c"tmpfs", params, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
            Ok(mount::attach(cover, target)?)
        }
        Err(errno) => Err(errno.into()),
    }
}
