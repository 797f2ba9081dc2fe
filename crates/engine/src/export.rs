//! `export`, and filling a volume from an image: a container's tree as an archive.

use std::io::Write;
use std::os::fd::OwnedFd;

use model::NameOrId;
use store::layer::{ApplyOptions, PackOptions};
use sys::mount::Depth;
use sys::process::Namespaces;
use sys::root::Root;

use crate::container::Container;
use crate::prepare::store_error;
use crate::record::NamedMount;
use crate::{Engine, EngineError};

impl Engine {
    /// Writes a container's file system as a tar, without what is mounted in it.
    ///
    /// # Errors
    /// There is no such container; `out` cannot be written to.
    pub fn export(&self, who: &NameOrId, out: &mut dyn Write) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let tree = Root::from_fd(self.tree(&container)?);
        store::layer::pack(&tree, out, &PackOptions::default()).map_err(store_error)?;
        self.tell(&container, "export", &[]);
        Ok(())
    }

    /// A container's root file system as a mount of its own: of one that runs, the very same;
    /// else a new one.
    fn tree(&self, container: &Container) -> Result<OwnedFd, EngineError> {
        match self.life(container)?.pid() {
            Some(pid) => self.living_tree(container, pid),
            None => self.rootfs(container),
        }
    }

    /// Only who is in a mount namespace may clone a mount of it, so a thread goes there.
    fn living_tree(&self, container: &Container, pid: u32) -> Result<OwnedFd, EngineError> {
        let gone = || EngineError::NotRunning(container.id);
        let pid =
            i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(gone)?;
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(|_| gone())?;
        // The number may have been given to another process before it was opened.
        if self.life(container)?.pid() != u32::try_from(pid.as_raw_nonzero().get()).ok() {
            return Err(gone());
        }
        let clone = || {
            // A thread that shares its working directory with others may not leave its namespace.
            sys::fs_context::private_umask_zero()?;
            sys::process::setns(&pidfd, Namespaces::MOUNT)?;
            sys::mount::clone_tree("/", Depth::Single)
        };
        let cloned = std::thread::scope(|scope| scope.spawn(clone).join());
        let cloned = cloned.unwrap_or(Err(sys::Errno::INTR));
        cloned
            .map_err(|errno| EngineError::file("clone the root of", container.name())(errno.into()))
    }

    /// Fills empty volumes with what the image has at their targets, the directory's own owner
    /// and mode included.
    pub(crate) fn copy_up(
        &self,
        container: &Container,
        empty: &[&NamedMount],
    ) -> Result<(), EngineError> {
        let tree = Root::from_fd(self.rootfs(container)?);
        for mount in empty {
            let Some(name) = &mount.volume else { continue };
            let Ok(source) = tree.open_dir(&mount.mount.target) else { continue };
            let data = self.paths().volume_data(name);
            let dest = Root::open(&data).map_err(store_error)?;
            copy(&source, &dest)?;
            let like = tree.metadata(&mount.mount.target).map_err(store_error)?;
            std::os::unix::fs::chown(&data, Some(like.st_uid), Some(like.st_gid))
                .map_err(EngineError::file("set the owner of", &data))?;
            crate::prepare::set_mode(&data, like.st_mode & 0o7777)?;
        }
        Ok(())
    }
}

/// Copies a tree through the archive code, which keeps links, owners, times and attributes, and
/// follows nothing.
fn copy(source: &Root, dest: &Root) -> Result<(), EngineError> {
    let (reader, writer) = std::io::pipe().map_err(EngineError::file("make", "a pipe"))?;
    std::thread::scope(|scope| {
        let pack = scope.spawn(move || store::layer::pack(source, writer, &PackOptions::default()));
        let reader = std::io::BufReader::with_capacity(1 << 20, reader);
        let applied = store::layer::apply(reader, dest, &ApplyOptions::default());
        let packed = pack.join();
        applied.map_err(store_error)?;
        match packed {
            Ok(packed) => packed.map(drop).map_err(store_error),
            Err(_) => Err(EngineError::Invalid(
                "the copy of a directory of the image panicked".to_owned(),
            )),
        }
    })
}
