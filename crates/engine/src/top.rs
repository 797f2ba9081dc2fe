//! `top`: the processes of a container, in the columns of ps (`runtime::ps`).

use std::collections::BTreeSet;

use cgroup::Cgroup;
use model::moment::Reference;
use model::{Life, NameOrId};
use runtime::ps::{self, Host, Options};

use crate::container::Container;
use crate::reconcile::cgroup_error;
use crate::view::TopView;
use crate::{Engine, EngineError};

pub use runtime::ps::OptionError;

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
        let arguments = if arguments.is_empty() { ps::DEFAULT } else { arguments };
        let container = self.find(who)?;
        match self.life(&container)? {
            Life::Running { .. } | Life::Paused { .. } => {}
            Life::Restarting { .. } => return Err(EngineError::Restarting(container.id)),
            Life::Created { .. } | Life::Exited { .. } => {
                return Err(EngineError::NotRunning(container.id));
            }
        }
        let options = Options::parse(arguments)?;
        let host = Host::read(now).map_err(EngineError::file("read", "/proc"))?;
        let rows = options.rows(&self.numbers(&container)?, &host);
        // A number may have been given to another process while this one was read.
        let still: BTreeSet<i32> = self.numbers(&container)?.into_iter().collect();
        let inside = rows.into_iter().filter(|(pid, _)| still.contains(pid));
        let processes = inside.map(|(_, cells)| cells).collect();
        self.tell(&container, "top", &[]);
        Ok(TopView { titles: options.titles(), processes })
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
