//! `restore`: makes a container again from its bundle and what `checkpoint` wrote.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use sys::process::Namespaces;
use sys::root::{Final, Root};

use super::arguments::{Create, Handles, Restore, Run};
use super::checkpoint::{self, DESCRIPTORS, NOTIFIES};
use super::fault::Fault;
use super::record::{Home, Place};
use super::users::{self, Open};
use super::{interfaces, run};
use crate::criu::{self, Descriptors};
use crate::{Launch, Running, plan};

/// What a container is made of instead of being started.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// criu.
    program: PathBuf,
    images: PathBuf,
    /// Where criu's log is to be.
    work: Option<PathBuf>,
}

/// Restores it. Returns as `run` does.
pub(super) fn restore(home: &Home<'_>, args: &Restore) -> Result<u8, Fault> {
    checkpoint::supported(&args.criu)?;
    checkpoint::refuse(&[
        (args.lsm_profile.is_some(), "--lsm-profile"),
        (args.lsm_mount_context.is_some(), "--lsm-mount-context"),
        (args.console_socket.is_some(), "--console-socket of a restore"),
    ])?;
    let past = Past {
        program: checkpoint::program(home)?,
        images: checkpoint::images(&args.criu),
        work: args.criu.work_path.clone(),
    };
    let handles = Handles {
        console_socket: None,
        pidfd_socket: None,
        pid_file: args.pid_file.clone(),
        preserve_fds: 0,
    };
    let create = Create {
        config: "config.json".into(),
        bundle: args.bundle.clone(),
        handles,
        no_pivot: args.no_pivot,
        no_new_keyring: false,
        id: args.id.clone(),
        past: Some(past),
    };
    let no_subreaper = args.no_subreaper;
    run::run(home, &Run { detach: args.detach, keep: false, no_subreaper, create })
}

impl Past {
    /// What only criu can bring in: a network namespace, which it does not write down.
    pub(super) fn open(spec: &Spec, namespaces: &mut Open) -> Result<(), Fault> {
        if spec.linux().as_ref().is_some_and(plan::shares_mounts) {
            return Err(Fault::config("a container with the mounts of others cannot be restored"));
        }
        if spec.linux().as_ref().is_some_and(|linux| linux.intel_rdt().is_some()) {
            return Err(Fault::config("linux.intelRdt is not supported by restore"));
        }
        let all = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let net = all.into_iter().flatten().find(|one| one.typ() == LinuxNamespaceType::Network);
        let Some(net) = net else { return Ok(()) };
        if namespaces.iter().any(|(kind, _)| *kind == Namespaces::NET) {
            return Ok(());
        }
        let opened = match net.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => users::open(path)?,
            None => interfaces::new_with_loopback()?,
        };
        namespaces.push((Namespaces::NET, opened));
        Ok(())
    }

    /// Whether it was shown where a service manager's socket is.
    pub(super) fn notifies(&self) -> bool {
        self.images.join(NOTIFIES).exists()
    }

    /// Makes it again, in place of a start.
    pub(super) fn make(&self, place: &Place, launch: Launch<'_>) -> Result<Running, Fault> {
        let images = File::open(&self.images).map_err(Fault::file("open", &self.images))?;
        let descriptors = self.descriptors(&images)?;
        let work = place.work();
        fs::create_dir(&work).map_err(Fault::file("make", &work))?;
        let work = fs::canonicalize(&work).map_err(Fault::file("find", &work))?;
        let log = self.work.as_deref().map(checkpoint::directory).transpose()?;
        let restore = criu::Restore {
            program: &self.program,
            images: images.as_fd(),
            work: &work,
            log: log.as_ref().map(AsFd::as_fd),
            descriptors: &descriptors,
            launch,
        };
        Ok(criu::restore(restore)?)
    }

    /// Of the very directory that criu reads, once it is known to be the user's own.
    fn descriptors(&self, images: &File) -> Result<Descriptors, Fault> {
        let path = Path::join(&self.images, DESCRIPTORS);
        let copy = images.try_clone().map_err(Fault::file("open", &self.images))?;
        let images = Root::from_fd(copy.into());
        checkpoint::check_owner(&images, &self.images)?;
        let read = images.read_untrusted(DESCRIPTORS, LARGEST, Final::NoFollow);
        let bytes = read.map_err(|error| {
            let kind = error.errno().map_or(ErrorKind::InvalidData.into(), std::io::Error::from);
            Fault::file("read", &path)(kind)
        })?;
        serde_json::from_slice(&bytes).map_err(|error| Fault::Json(path, error))
    }
}

/// Of what the streams were: a few lines.
const LARGEST: u64 = 1 << 20;
