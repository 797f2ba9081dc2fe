//! `checkpoint`: writes a container down by criu, in a directory that the caller names.
//!
//! `runtime::criu` says what a checkpoint holds. A flag of runc's that asks for another way is refused by its
//! name; those that ask for what is done anyway are taken.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode};
use rustix::io::retry_on_intr;
use sys::root::{Root, RootError};

use super::arguments::{Checkpoint, Criu};
use super::fault::Fault;
use super::record::{Home, Process, Status};
use super::{finish, notify, state};
use crate::criu::{self, After, Descriptors, Dump, Seal};
use crate::{LaunchError, plan};

/// What its streams were, beside what criu writes; runc's has the same name.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// There if the container was shown where a service manager's socket is, which its specification does not say.
pub(super) const NOTIFIES: &str = "notifies";

/// Where it is kept if nobody says.
const DEFAULT: &str = "checkpoint";

/// Writes a container down.
pub(super) fn checkpoint(home: &Home<'_>, args: &Checkpoint) -> Result<(), Fault> {
    let asked = [
        (args.pre_dump, "--pre-dump"),
        (args.parent_path.is_some(), "--parent-path"),
        (args.page_server.is_some(), "--page-server"),
        (args.status_fd.is_some(), "--status-fd"),
    ];
    refuse(&asked)?;
    supported(&args.criu)?;
    let place = home.take(&args.id.id)?;
    let record = place.record()?;
    let status = state::status(&place, &record)?;
    if status != Status::Running {
        return Err(Fault::Config(format!("cannot checkpoint a container that is {status}")));
    }
    let Some(process) = Process::find(&record)? else { return Err(Fault::NotRunning) };
    let spec = place.spec()?;
    can_come_back(&spec, &record.rootfs)?;
    let program = program(home)?;
    let path = images(&args.criu);
    let images = directory(&path)?;
    let work = args.criu.work_path.as_deref().map(directory).transpose()?;
    let work = work.as_ref().unwrap_or(&images).as_fd();
    let notifies = place.notify().exists();
    let mut bound = bound(&spec);
    bound.extend(notifies.then(|| notify::INSIDE.into()));
    let survey = criu::survey(process.pid, &bound)?;
    let after = if args.leave_running { After::Runs } else { After::Ends };
    let dump = Dump { program: &program, survey: &survey, images: images.as_fd(), work, after };
    let mut written = Ok(());
    criu::dump(&dump, || {
        written = write(&path, &survey.descriptors).and_then(|()| mark(&path, notifies));
        if written.is_ok() { Seal::Kept } else { Seal::Lost }
    })?;
    written?;
    match after {
        After::Runs => Ok(()),
        After::Ends => {
            let mut ended = [PollFd::new(&process.pidfd, PollFlags::IN)];
            retry_on_intr(|| poll(&mut ended, None))
                .map_err(|errno| Fault::Call("wait for the container to end", errno))?;
            // As runc has it: it is restored under its own name.
            finish::remove(home, place, &record)
        }
    }
}

/// A directory, made if it is not there.
pub(super) fn directory(path: &Path) -> Result<File, Fault> {
    let mut make = fs::DirBuilder::new();
    make.mode(0o700).recursive(true).create(path).map_err(Fault::file("make", path))?;
    File::open(path).map_err(Fault::file("open", path))
}

/// What a restore has no way to make again is told before the container ends.
fn can_come_back(spec: &Spec, rootfs: &Path) -> Result<(), Fault> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let inside = plan::binds_inside(mounts, Some(rootfs)).map_err(LaunchError::from)?;
    let what = if spec.linux().as_ref().is_some_and(plan::shares_mounts) {
        "the mounts of others: criu would write them all down"
    } else if spec.linux().as_ref().is_some_and(|linux| linux.intel_rdt().is_some()) {
        "linux.intelRdt: restore has none"
    } else if !inside.is_empty() {
        "a bind of what an earlier mount has brought into the root: restore makes none"
    } else {
        return Ok(());
    };
    Err(Fault::Config(format!("cannot checkpoint a container with {what}")))
}

/// The places of what comes from outside, and is brought again.
fn bound(spec: &Spec) -> Vec<PathBuf> {
    let mounts = spec.mounts().iter().flatten();
    let binds = mounts.filter(|mount| {
        let says = mount.options().iter().flatten().any(|word| word == "bind" || word == "rbind");
        says || matches!(mount.typ().as_deref(), None | Some("bind" | "none" | ""))
    });
    binds.map(|mount| Path::new("/").join(mount.destination())).collect()
}

fn write(directory: &Path, descriptors: &Descriptors) -> Result<(), Fault> {
    let path = directory.join(DESCRIPTORS);
    let bytes =
        serde_json::to_vec(descriptors).map_err(|error| Fault::Json(path.clone(), error))?;
    put(&path, &bytes)
}

/// An earlier checkpoint in the same directory may have been marked.
fn mark(directory: &Path, notifies: bool) -> Result<(), Fault> {
    let path = directory.join(NOTIFIES);
    if notifies {
        return put(&path, &[]);
    }
    remove(&path)
}

/// A new file in the place of an earlier checkpoint's. Who else may write to the directory leads us nowhere by a
/// link: it is taken away, or is in the way of what is made.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    remove(path)?;
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    let done = made.and_then(|mut file| file.write_all(bytes));
    done.map_err(Fault::file("write", path))
}

fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Fault::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Refuses images that others than this user could have written: criu believes what it reads, with the rights
/// of the host's root.
pub(super) fn check_owner(images: &Root, path: &Path) -> Result<(), Fault> {
    let failed = |error: RootError| Fault::Config(format!("look at {}: {error}", path.display()));
    let names = images.read_dir(".").map_err(failed)?;
    let names = names.iter().map(|entry| OsStr::from_bytes(entry.name.to_bytes()));
    for name in [OsStr::new(".")].into_iter().chain(names) {
        let found = images.metadata(name).map_err(failed)?;
        let is_own = found.st_uid == rustix::process::geteuid().as_raw();
        let others = (Mode::WGRP | Mode::WOTH).as_raw_mode();
        let is_link = FileType::from_raw_mode(found.st_mode) == FileType::Symlink;
        if !is_own || found.st_mode & others != 0 || is_link {
            return Err(Fault::Config(format!(
                "the checkpoint is not trusted: others than its owner could have written {}",
                path.join(name).display()
            )));
        }
    }
    Ok(())
}

/// Flags of both verbs that ask for what is not done.
pub(super) fn supported(args: &Criu) -> Result<(), Fault> {
    refuse(&[
        (args.tcp_established, "--tcp-established"),
        (args.ext_unix_sk, "--ext-unix-sk"),
        (args.shell_job, "--shell-job"),
        (args.lazy_pages, "--lazy-pages"),
        (args.auto_dedup, "--auto-dedup"),
        (
            args.empty_ns.iter().any(|kind| kind != "network"),
            "--empty-ns of another kind than network",
        ),
        (
            args.manage_cgroups_mode.as_ref().is_some_and(|mode| mode != "ignore"),
            "--manage-cgroups-mode other than ignore",
        ),
    ])
}

pub(super) fn refuse(asked: &[(bool, &str)]) -> Result<(), Fault> {
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, flag)) => Err(Fault::Config(format!("{flag} is not supported"))),
        None => Ok(()),
    }
}

pub(super) fn images(args: &Criu) -> PathBuf {
    args.image_path.clone().unwrap_or_else(|| DEFAULT.into())
}

/// criu, as the command line or `PATH` has it.
pub(super) fn program(home: &Home<'_>) -> Result<PathBuf, Fault> {
    let named = home.globals.criu.as_deref().unwrap_or(Path::new("criu"));
    if named.components().count() > 1 {
        return Ok(named.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(named));
    let found = found.filter(|path| path.is_absolute()).find(|path| path.is_file());
    found.ok_or_else(|| Fault::Config(format!("{} is not installed", named.display())))
}
