//! What is wrong with a specification.

/// A specification that cannot be carried out. Names the field and its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A hook that cannot be run.
    #[error("{moment} hook {}: {why}", path.display())]
    Hook {
        /// When.
        moment: &'static str,
        /// Its program.
        path: std::path::PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A field that asks for what is not there.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A text that cannot be passed to the kernel.
    #[error("{field}: {value:?} holds a NUL byte")]
    Nul {
        /// Where.
        field: &'static str,
        /// The text.
        value: String,
    },
    /// A namespace that a setting needs to be the container's own.
    #[error("{setting} needs a {namespace} namespace of the container's own")]
    NeedsNamespace {
        /// The setting.
        setting: String,
        /// The kind of namespace.
        namespace: &'static str,
    },
    /// A namespace listed twice.
    #[error("linux.namespaces lists {0} twice")]
    DuplicateNamespace(&'static str),
    /// A kernel parameter that is not separate for each container.
    #[error("sysctl {0:?} is not in a namespace of its own, so it would change the host")]
    HostSysctl(String),
    /// A mount that would hide or fake parts of procfs.
    #[error("mount on {destination:?}: cannot be mounted inside /proc")]
    InsideProc {
        /// Where.
        destination: String,
    },
    /// An option of a mount.
    #[error("mount on {destination:?}: option {option:?} is not supported")]
    MountOption {
        /// Where.
        destination: String,
        /// The option.
        option: String,
    },
    /// An option that the kernel takes only if it is shorter.
    #[error("mount on {destination:?}: option {option:?} has more than 255 bytes")]
    LongMountOption {
        /// Where.
        destination: String,
        /// Its key.
        option: String,
    },
    /// A mount without a source or with a relative one.
    #[error("mount on {destination:?}: the source of a bind must be an absolute path")]
    BindSource {
        /// Where.
        destination: String,
    },
    /// A device that no node can be made for.
    #[error("device {path:?}: {reason}")]
    Device {
        /// Its path in the container.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A word that propagation does not know.
    #[error("linux.rootfsPropagation: {0:?} is none of private, slave, shared, unbindable")]
    RootPropagation(String),
    /// A working directory that is not absolute.
    #[error("process.cwd: {0:?} is not an absolute path")]
    WorkingDirectory(String),
    /// A number out of the kernel's range.
    #[error("{field}: {value} is out of range")]
    OutOfRange {
        /// Where.
        field: &'static str,
        /// The number.
        value: i64,
    },
    /// A list of numbers that is none, or has one that is too large.
    #[error("{field}: {text:?} is no list of numbers, or one of them is too large")]
    List {
        /// Where.
        field: &'static str,
        /// The list.
        text: String,
    },
    /// An entry of the environment without a name.
    #[error("process.env: {0:?} is not of the form NAME=VALUE")]
    Environment(String),
}
