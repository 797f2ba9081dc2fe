//! The command line, which is runc's: what engines put on it, typed.
//!
//! Owns the words alone. Flags that only mean something to runc itself are taken and do nothing where
//! that is what they do there as well; those that dhow cannot honour are refused by their verbs.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Open Container Initiative runtime
#[derive(Debug, Parser)]
// Engines put an option of theirs before those that their users add: the last one counts, as in runc.
#[command(
    name = "oci",
    disable_version_flag = true,
    arg_required_else_help = true,
    args_override_self = true
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

// No doc comment: clap would take it for the help of the program.
#[derive(Debug, Args)]
pub(super) struct Globals {
    /// Tell which version this is
    #[arg(short, long)]
    pub(super) version: bool,
    /// Tell what is being done
    #[arg(long)]
    pub(super) debug: bool,
    /// Write messages to this file instead of to the standard error
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// How messages are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Where the state of containers is kept; it should not outlive a boot
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// criu, for checkpoint and restore
    #[arg(long, value_name = "PROGRAM")]
    pub(super) criu: Option<PathBuf>,
    /// Let systemd make the control groups: cgroupsPath is slice:prefix:name then
    #[arg(long)]
    pub(super) systemd_cgroup: bool,
    /// Who makes the control groups: systemd is --systemd-cgroup, disabled is not supported
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs")]
    pub(super) cgroup_manager: CgroupManager,
    /// Without root's rights: true is not supported
    #[arg(long, value_name = "true|false|auto", default_value = "auto", num_args = 0..=1, default_missing_value = "true")]
    pub(super) rootless: Rootless,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// `time="…" level=error msg="…"`
    Text,
    /// An object on each line.
    Json,
}

/// Who makes the control groups, in crun's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

/// Whether failures of control groups are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Rootless {
    True,
    False,
    Auto,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Create a container, whose process waits for `start`
    Create(Create),
    /// Run the process of a created container
    Start(Id),
    /// Create a container and start it
    Run(Run),
    /// Run one more process in a running container
    Exec(Exec),
    /// Signal the process of a container
    Kill(Kill),
    /// Remove what is left of a container
    Delete(Delete),
    /// List containers
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Tell the state of a container
    State(Id),
    /// Freeze a container
    Pause(Id),
    /// Thaw a container
    Resume(Id),
    /// Change the limits of a container
    Update(Update),
    /// Tell what a container uses
    Events(Events),
    /// Write a specification to begin with
    Spec(SpecArgs),
    /// Tell which features there are
    Features,
    /// Write a running container down, by criu
    Checkpoint(Checkpoint),
    /// Make a container again that was written down
    Restore(Restore),
}

#[derive(Debug, Clone, Args)]
pub(super) struct Id {
    /// The container's id
    pub(super) id: String,
}

// No doc comment: clap would take it for the help of the verb.
#[derive(Debug, Args)]
pub(super) struct Handles {
    /// Socket that the terminal's master is sent to
    #[arg(long, value_name = "PATH")]
    pub(super) console_socket: Option<PathBuf>,
    /// Socket that a pidfd of the process is sent to
    #[arg(long, value_name = "PATH")]
    pub(super) pidfd_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on the process inherits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) preserve_fds: u32,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// Specification to read instead of config.json, as in crun; it is seen from the bundle
    #[arg(short = 'f', long, value_name = "FILE", default_value = "config.json")]
    pub(super) config: PathBuf,
    #[command(flatten)]
    pub(super) handles: Handles,
    /// Do not use pivot_root, for a root on a ramdisk
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    #[command(flatten)]
    pub(super) id: Id,
    /// What it is made of, if it is not started.
    #[arg(skip)]
    pub(super) past: Option<super::restore::Past>,
}

// No doc comment: clap would take it for the help of the verb.
#[derive(Debug, Args)]
pub(super) struct Criu {
    /// Directory of the checkpoint
    #[arg(long, value_name = "DIR")]
    pub(super) image_path: Option<PathBuf>,
    /// Directory for criu's log
    #[arg(long, value_name = "DIR")]
    pub(super) work_path: Option<PathBuf>,
    /// Not supported: connections are closed
    #[arg(long)]
    pub(super) tcp_established: bool,
    /// Not supported
    #[arg(long)]
    pub(super) ext_unix_sk: bool,
    /// Not supported: a container has its own sessions
    #[arg(long)]
    pub(super) shell_job: bool,
    /// Not supported
    #[arg(long)]
    pub(super) lazy_pages: bool,
    /// File locks are always written down
    #[arg(long)]
    pub(super) file_locks: bool,
    /// ignore, which is what is done: control groups are the specification's
    #[arg(long, value_name = "MODE")]
    pub(super) manage_cgroups_mode: Option<String>,
    /// network, which is what is done: the namespace comes from outside
    #[arg(long, value_name = "KIND")]
    pub(super) empty_ns: Vec<String>,
    /// Not supported
    #[arg(long)]
    pub(super) auto_dedup: bool,
}

#[derive(Debug, Args)]
pub(super) struct Checkpoint {
    #[command(flatten)]
    pub(super) criu: Criu,
    /// The container goes on
    #[arg(long)]
    pub(super) leave_running: bool,
    /// Not supported
    #[arg(long)]
    pub(super) pre_dump: bool,
    /// Not supported
    #[arg(long, value_name = "DIR")]
    pub(super) parent_path: Option<PathBuf>,
    /// Not supported
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) page_server: Option<String>,
    /// Not supported
    #[arg(long, value_name = "FD", allow_hyphen_values = true)]
    pub(super) status_fd: Option<i32>,
    #[command(flatten)]
    pub(super) id: Id,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) criu: Criu,
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// Not supported: what has a terminal is not written down
    #[arg(long, value_name = "PATH")]
    pub(super) console_socket: Option<PathBuf>,
    /// Do not wait for the process
    #[arg(short, long)]
    pub(super) detach: bool,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Do not become the parent of the container's orphans
    #[arg(long)]
    pub(super) no_subreaper: bool,
    /// Do not use pivot_root, for a root on a ramdisk
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Not supported
    #[arg(long, value_name = "TYPE:NAME")]
    pub(super) lsm_profile: Option<String>,
    /// Not supported
    #[arg(long, value_name = "CONTEXT")]
    pub(super) lsm_mount_context: Option<String>,
    #[command(flatten)]
    pub(super) id: Id,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Do not wait for the process
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Keep the state of the container when its process has ended
    #[arg(long)]
    pub(super) keep: bool,
    /// Do not become the parent of the container's orphans
    #[arg(long)]
    pub(super) no_subreaper: bool,
    #[command(flatten)]
    pub(super) create: Create,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    pub(super) handles: Handles,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<String>,
    /// Variables: NAME=VALUE
    #[arg(short, long, value_name = "VARIABLE")]
    pub(super) env: Vec<super::variable::Variable>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// User: uid[:gid]
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(super) user: Option<String>,
    /// More groups
    #[arg(short = 'g', long, value_name = "GID")]
    pub(super) additional_gids: Vec<u32>,
    /// File with a process of the specification
    #[arg(short, long, value_name = "FILE")]
    pub(super) process: Option<PathBuf>,
    /// Do not wait for the process
    #[arg(short, long)]
    pub(super) detach: bool,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    pub(super) process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub(super) apparmor: Option<String>,
    /// Let the process gain no privileges
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// Add a capability
    #[arg(short, long, value_name = "CAPABILITY")]
    pub(super) cap: Vec<String>,
    /// Run it in a control group below the container's, which is there; on version 1 also of some controllers alone
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    pub(super) cgroup: Vec<String>,
    /// Enter also a container that is frozen
    #[arg(long)]
    pub(super) ignore_paused: bool,
    #[command(flatten)]
    pub(super) id: Id,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Signal all processes of the container
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) id: Id,
    /// Name or number
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Kill it first if it runs
    #[arg(short, long)]
    pub(super) force: bool,
    /// The id is a regular expression: delete every container that it is found in
    #[arg(short, long)]
    pub(super) regex: bool,
    #[command(flatten)]
    pub(super) id: Id,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(super) format: Shape,
    /// Ids alone
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(super) format: Shape,
    #[command(flatten)]
    pub(super) id: Id,
    /// Options of ps(1), which say what columns a table has; -ef if there are none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) options: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Time between two figures, such as 5s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(super) interval: String,
    /// Tell once
    #[arg(long)]
    pub(super) stats: bool,
    #[command(flatten)]
    pub(super) id: Id,
}

#[derive(Debug, Args)]
pub(super) struct SpecArgs {
    /// Directory to write to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// For an ordinary user
    #[arg(long)]
    pub(super) rootless: bool,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// File with resources of the specification; - is the standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) resources: Option<PathBuf>,
    /// Weight of block I/O
    #[arg(long, value_name = "WEIGHT")]
    pub(super) blkio_weight: Option<u16>,
    /// Microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_period: Option<u64>,
    /// Microseconds in a period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_burst: Option<u64>,
    /// Relative weight
    #[arg(long, value_name = "SHARES")]
    pub(super) cpu_share: Option<u64>,
    /// Microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_rt_period: Option<u64>,
    /// Microseconds in a period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// Processors
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// Only when nobody else wants the processors: 0 or 1
    #[arg(long, value_name = "0|1")]
    pub(super) cpu_idle: Option<i64>,
    /// Bytes, or with a unit such as 50M
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    pub(super) memory: Option<i64>,
    /// Bytes, or with a unit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    pub(super) memory_reservation: Option<i64>,
    /// Bytes of memory and swap together, or with a unit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    pub(super) memory_swap: Option<i64>,
    /// Processes and threads
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    #[command(flatten)]
    pub(super) id: Id,
}

/// `-1`, or a number with or without a unit of 1024: `50M`, `50MB`, `50MiB`.
fn bytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no number of bytes");
    if text == "-1" {
        return Ok(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit);
    let factor = 1024_i64.pow(shift.and_then(|at| u32::try_from(at).ok()).ok_or_else(wrong)?);
    number.parse::<i64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in
            [("-1", -1), ("0", 0), ("50M", 50 << 20), ("1gb", 1 << 30), ("2KiB", 2048)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "-2", "M", "1X", "1.5M", "9999999P"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_variables_names_are_told() {
        let words = ["dhow", "exec", "-e", "PASSWORD=secret", "-e", "NAME", "one", "true"];
        let parsed = <super::Arguments as clap::Parser>::try_parse_from(words);
        let told = format!("{:?}", parsed.unwrap().verb);
        assert!(told.contains("PASSWORD") && told.contains("NAME"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}
