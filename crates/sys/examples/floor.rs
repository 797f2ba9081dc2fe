//! What the kernel alone needs for a container: clone with namespaces, pivot_root, mount proc,
//! exec, wait. The benchmark's floor: no image, no cgroup, no filter, no files.
//!
//! `floor ROOTFS none|net COMMAND [ARGUMENT…]`; `none` has no network namespace.

use std::error::Error;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags;
use sys::Errno;
use sys::mount::{self, Depth, Propagation};
use sys::process::{CloneArgs, ExecStrings, Namespaces, clone3, execve, wait};

/// The shell's code for a command that cannot be executed.
const FAILED: i32 = 126;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let rootfs = arguments.next().ok_or("which root file system?")?;
    let network = arguments.next().ok_or("none or net?")?;
    let command =
        arguments.map(OsString::into_vec).map(CString::new).collect::<Result<Vec<_>, _>>()?;
    let program = command.first().ok_or("which command?")?.clone();
    let (argv, envp) = (ExecStrings::new(command), ExecStrings::new(Vec::new()));
    let mut namespaces =
        Namespaces::MOUNT.union(Namespaces::PID).union(Namespaces::UTS).union(Namespaces::IPC);
    if network == "net" {
        namespaces = namespaces.union(Namespaces::NET);
    }
    let tree = mount::clone_tree(&rootfs, Depth::Single)?;
    let child = clone3(&CloneArgs { namespaces, cgroup: None }, || {
        let entered = enter(&tree).map(|()| execve(&program, &argv, &envp));
        match entered {
            Ok(_) | Err(_) => FAILED,
        }
    })?;
    Ok(ExitCode::from(wait(&child.pidfd)?.shell_code()))
}

fn enter(tree: &std::os::fd::OwnedFd) -> Result<(), Errno> {
    mount::set_propagation_of_all(Propagation::Private)?;
    mount::attach_on_root(tree)?;
    mount::enter_root(tree)?;
    let proc =
        mount::detached(c"proc", [], MountAttrFlags::empty()).map_err(|error| error.errno())?;
    let target = rustix::fs::openat(CWD, c"/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    mount::attach(proc, target)
}
