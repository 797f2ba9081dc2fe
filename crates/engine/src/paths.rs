//! Where one state root keeps what, and what its kernel objects are called.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{ContainerId, RootTag};
use registry::ConfigDirs;

/// The default data root of the privileged engine.
pub const DEFAULT_ROOT: &str = "/var/lib/dhow";
/// The default runtime root of the privileged engine.
pub const DEFAULT_RUN: &str = "/run/dhow";

/// The default directory of the privileged engine's configuration.
const DEFAULT_CONFIG: &str = "/etc/dhow";
/// Docker's configuration, of which the parts about registries are read as well.
const DOCKER_CONFIG: &str = "/etc/docker";

/// One for all roots, in a directory of root's that is empty after a start of the host, as the kernel's tables are.
const CHOICE: &str = "/run/dhow-subnets.lock";

/// The program that makes checkpoints.
const DEFAULT_CRIU: &str = "criu";

/// The two roots of one engine, the names derived from them, and where its configuration is.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    run: PathBuf,
    tag: RootTag,
    config: ConfigDirs,
    criu: PathBuf,
    choice: PathBuf,
}

impl Paths {
    /// Takes both roots, absolute.
    #[must_use]
    pub fn new(root: PathBuf, run: PathBuf) -> Self {
        let is_default = root == Path::new(DEFAULT_ROOT);
        let tag = if is_default {
            RootTag::DEFAULT
        } else {
            RootTag::of_path(root.as_os_str().as_bytes())
        };
        let config = ConfigDirs { own: DEFAULT_CONFIG.into(), docker: Some(DOCKER_CONFIG.into()) };
        Self { root, run, tag, config, criu: DEFAULT_CRIU.into(), choice: CHOICE.into() }
    }

    /// The same with a configuration directory of its own, and nothing of Docker's.
    #[must_use]
    pub fn with_config(self, own: PathBuf) -> Self {
        Self { config: ConfigDirs { own, docker: None }, ..self }
    }

    /// The same with another criu: a path, or a name that is looked for in `PATH`.
    #[must_use]
    pub fn with_criu(self, criu: PathBuf) -> Self {
        Self { criu, ..self }
    }

    /// The file that root's roots of this host lock in turn while they choose subnets.
    pub(crate) fn choice(&self) -> &Path {
        &self.choice
    }

    /// The same with another such file.
    #[cfg(test)]
    pub(crate) fn with_choice(self, choice: PathBuf) -> Self {
        Self { choice, ..self }
    }

    /// The program that makes checkpoints.
    pub(crate) fn criu(&self) -> &Path {
        &self.criu
    }

    /// Where the administrator's configuration is.
    pub(crate) fn config(&self) -> &ConfigDirs {
        &self.config
    }

    /// Data: survives a reboot.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runtime files: gone after a reboot.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// What sets this root's kernel objects apart from another's.
    #[must_use]
    pub fn tag(&self) -> &RootTag {
        &self.tag
    }

    /// Lock, socket and state of one container's shim.
    #[must_use]
    pub fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.run.join("c").join(id.to_string())
    }

    /// Writable layer, log and small files of one container.
    #[must_use]
    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.to_string())
    }

    /// A container's `json-file` log.
    #[must_use]
    pub fn log(&self, id: &ContainerId) -> PathBuf {
        self.container_dir(id).join(format!("{id}-json.log"))
    }

    /// A container's log in dhow's own form: of the driver `local`, or the copy of one that cannot
    /// be read.
    #[must_use]
    pub fn local_log(&self, id: &ContainerId) -> PathBuf {
        self.container_dir(id).join(format!("{id}-local.log"))
    }

    /// How a container last ended.
    #[must_use]
    pub fn exit_record(&self, id: &ContainerId) -> PathBuf {
        self.container_dir(id).join("exit.json")
    }

    /// The directory that a volume has, whatever its options are.
    #[must_use]
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    /// What a volume holds.
    #[must_use]
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume(name).join("_data")
    }

    /// Compiled seccomp programs.
    #[must_use]
    pub fn seccomp_cache(&self) -> PathBuf {
        self.root.join("cache/seccomp")
    }

    /// The parent of this root's cgroups, relative to a hierarchy's mount.
    #[must_use]
    pub fn cgroup_parent(&self) -> String {
        self.tag.dashed("dhow")
    }
}
