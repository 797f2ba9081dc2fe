//! `top`: the processes of a container, in the columns of ps.
//!
//! No ps runs. Which columns there are is decided in `columns`, what ps's options ask for in
//! `options`, and what the kernel says of a process is read in `process`.

mod columns;
mod options;
mod process;

use std::collections::BTreeSet;
use std::path::PathBuf;

use cgroup::Cgroup;
use model::moment::Reference;
use model::{Life, NameOrId};

pub use self::options::OptionError;

use self::columns::Host;
use self::options::{Options, Rows};
use self::process::Process;
use crate::container::{Container, read_own};
use crate::reconcile::cgroup_error;
use crate::stats::total_memory;
use crate::view::TopView;
use crate::{Engine, EngineError};

/// Docker's question to ps if the client asks none.
const DEFAULT: &str = "-ef";

impl Engine {
    /// Lists the processes of a container as ps would; `arguments` are ps's, divided by spaces.
    ///
    /// # Errors
    /// It does not run, or ps's arguments ask for what is not known.
    pub fn top(
        &self,
        who: &NameOrId,
        arguments: &str,
        now: Reference,
    ) -> Result<TopView, EngineError> {
        let arguments = if arguments.is_empty() { DEFAULT } else { arguments };
        let container = self.find(who)?;
        match self.life(&container)? {
            Life::Running { .. } | Life::Paused { .. } => {}
            Life::Restarting { .. } => return Err(EngineError::Restarting(container.id)),
            Life::Created { .. } | Life::Exited { .. } => {
                return Err(EngineError::NotRunning(container.id));
            }
        }
        let options = Options::parse(arguments)?;
        let directories = self.directories(&container, options.rows)?;
        let host = host(now)?;
        let processes: Vec<Process> =
            directories.iter().filter_map(|path| Process::read(path)).collect();
        // A number may have been given to another process while this one was read.
        let still: BTreeSet<i32> = self.numbers(&container)?.into_iter().collect();
        let is_inside = |process: &Process| {
            i32::try_from(process.tgid).is_ok_and(|number| still.contains(&number))
        };
        let processes = processes
            .into_iter()
            .filter(is_inside)
            .map(|process| {
                options.columns.iter().map(|column| column.cell(&process, &host)).collect()
            })
            .collect();
        self.tell(&container, "top", &[]);
        Ok(TopView {
            titles: options.columns.into_iter().map(|column| column.title).collect(),
            processes,
        })
    }

    /// Where the kernel tells of each row.
    fn directories(&self, container: &Container, rows: Rows) -> Result<Vec<PathBuf>, EngineError> {
        let processes = self.numbers(container)?.into_iter();
        let processes = processes.map(|pid| PathBuf::from(format!("/proc/{pid}")));
        Ok(match rows {
            Rows::Processes => processes.collect(),
            Rows::Threads => processes.flat_map(|process| threads(&process.join("task"))).collect(),
        })
    }

    /// The processes of a container, in the order of their numbers.
    fn numbers(&self, container: &Container) -> Result<Vec<i32>, EngineError> {
        let group = self.group_of(container);
        if group.as_ref().is_ok_and(|group| !group.hierarchies().is_delegated()) {
            let pid = self.life(container)?.pid();
            return pid.map(in_pid_namespace_of).ok_or(EngineError::NotRunning(container.id));
        }
        let read = |group: Cgroup| group.pids().map_err(|error| cgroup_error(&error));
        let pids = match group.and_then(read) {
            Ok(pids) => pids,
            Err(_) if !self.life(container)?.is_running() => {
                return Err(EngineError::NotRunning(container.id));
            }
            Err(error) => return Err(error),
        };
        let mut pids: Vec<i32> = pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        pids.sort_unstable();
        Ok(pids)
    }
}

/// The processes in the pid namespace of one, in the order of their numbers: what is known without control
/// groups. With the host's pid namespace that is everybody.
fn in_pid_namespace_of(pid: u32) -> Vec<i32> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = i32::try_from(pid).ok().and_then(namespace) else { return Vec::new() };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<i32> =
        numbers.filter(|pid| namespace(*pid).as_ref() == Some(&wanted)).collect();
    pids.sort_unstable();
    pids
}

/// The directories of a process's threads; none if it has ended.
fn threads(tasks: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let mut threads: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    threads.sort_by_key(|path| process::number_at_end(path));
    threads
}

/// What the columns need of the host.
fn host(now: Reference) -> Result<Host, EngineError> {
    let read = |path: &str| Ok::<_, EngineError>(read_own(path.as_ref())?.unwrap_or_default());
    let stat = read("/proc/stat")?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let uptime = read("/proc/uptime")?;
    let uptime = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
    let databases = |path: &str| std::fs::read(path).unwrap_or_default();
    Ok(Host {
        now,
        boot: boot.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0),
        uptime: uptime.unwrap_or(0),
        memory: total_memory(&read("/proc/meminfo")?),
        // A host without these files has numbers for names.
        passwd: databases("/etc/passwd"),
        group: databases("/etc/group"),
    })
}
