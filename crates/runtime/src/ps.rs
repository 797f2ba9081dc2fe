//! The processes of a container in the columns of ps(1).
//!
//! No ps runs. Which columns there are is decided in `columns`, what ps's options ask for in
//! `options`, and what the kernel says of a process is read in `process`. Which processes are
//! a container's is the caller's to say.

mod columns;
mod options;
mod process;

use std::path::{Path, PathBuf};

use model::moment::Reference;

pub use columns::Host;
pub use options::{OptionError, Options};

use options::Rows;
use process::Process;

/// The kernel's clock ticks a second in `/proc/stat` (USER_HZ), on every architecture here.
pub const TICKS: u64 = 100;

/// What is asked for by a caller who does not say.
pub const DEFAULT: &str = "-ef";

/// One row: the process that it is of, and what its columns show.
pub type Row = (i32, Vec<String>);

impl Options {
    /// What the columns are called.
    #[must_use]
    pub fn titles(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.title.clone()).collect()
    }

    /// The rows of these processes, or of their threads; those that have ended have none. A number may be another
    /// process's by the time that it is read.
    #[must_use]
    pub fn rows(&self, pids: &[i32], host: &Host) -> Vec<Row> {
        let row = |pid: i32, path: &Path| {
            let process = Process::read(path)?;
            Some((pid, self.columns.iter().map(|column| column.cell(&process, host)).collect()))
        };
        let rows = pids.iter().flat_map(|pid| {
            let path = PathBuf::from(format!("/proc/{pid}"));
            let paths = match self.rows {
                Rows::Processes => vec![path],
                Rows::Threads => threads(&path.join("task")),
            };
            paths.into_iter().filter_map(move |path| row(*pid, &path))
        });
        rows.collect()
    }
}

/// The directories of a process's threads; none if it has ended.
fn threads(tasks: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let mut threads: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    threads.sort_by_key(|path| process::number_at_end(path));
    threads
}

impl Host {
    /// Reads what the columns need of the host.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn read(now: Reference) -> std::io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let uptime = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
        let databases = |path: &str| std::fs::read(path).unwrap_or_default();
        Ok(Self {
            now,
            boot: boot.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0),
            uptime: uptime.unwrap_or(0),
            memory: total_memory(&std::fs::read_to_string("/proc/meminfo")?),
            // A host without these files has numbers for names.
            passwd: databases("/etc/passwd"),
            group: databases("/etc/group"),
        })
    }
}

/// Bytes of memory that a host has, by its `/proc/meminfo`.
#[must_use]
pub fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}
