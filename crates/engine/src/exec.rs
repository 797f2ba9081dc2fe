//! `exec`: one more process in a container that runs.
//!
//! What is to run is a small file (`records`), so that one process can create it and another start it.
//! It goes with the container, or some minutes after its process has ended, whoever makes the
//! container's next exec sees to that.

mod records;

use std::collections::{HashMap, HashSet};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use jiff::Timestamp;
use model::container::{AttachedStreams, Stdin, Terminal, TerminalSize};
use model::{ContainerId, ExecId, ExitCode, Life, NameOrId, Signal};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    BoxBuilder as ConsoleBuilder, LinuxCapabilitiesBuilder, Process, ProcessBuilder, UserBuilder,
};
use runtime::capabilities::CapSet;
use shim::CallError;
use shim::protocol::{
    Ended, ExecInfo, ExecStart, ExecState, Reach, Refusal, Target, WithoutClient,
};
use sys::root::Root;

use crate::bundle::UserIds;
use crate::container::Container;
use crate::guard::call_error;
use crate::resolve::variable_name;
use crate::stop::resized;
use crate::view::{ExecAttach, ExecLife, ExecSpec, ExecView};
use crate::{Engine, EngineError, environment, random, security, selinux};
use records::{ExecProgress, ExecRecord};

impl Engine {
    /// Makes an exec; nothing runs yet.
    ///
    /// # Errors
    /// The container does not run or is frozen; it does not know the user.
    pub fn exec_create(&self, who: &NameOrId, spec: ExecSpec) -> Result<ExecId, EngineError> {
        let container = self.find(who)?;
        match self.life(&container)? {
            Life::Running { pid, .. } => self.exec_user(&container, &spec, pid).map(drop)?,
            Life::Paused { .. } => return Err(EngineError::Paused(who.to_string())),
            Life::Restarting { .. } => return Err(EngineError::Restarting(container.id)),
            Life::Created { .. } | Life::Exited { .. } => {
                return Err(EngineError::NotRunning(container.id));
            }
        }
        self.forget_old_execs(&container.id);
        self.make_exec_dir(&container.id)?;
        let id = random::exec_id()?;
        let record = ExecRecord { container: container.id, spec, progress: ExecProgress::Created };
        self.save_exec(&id, &record)?;
        self.tell_exec(&container, "exec_create", &id, &record.spec);
        Ok(id)
    }

    /// Starts an exec; its streams, if they are wanted, and what it is.
    ///
    /// # Errors
    /// It has run; the container does not run any more; the command cannot be started, which is
    /// noted as its exit code.
    pub fn exec_start(
        &self,
        id: &ExecId,
        attach: ExecAttach,
    ) -> Result<(Option<UnixStream>, ExecSpec), EngineError> {
        let mut record = self.exec_record(id)?;
        if record.progress != ExecProgress::Created {
            return Err(EngineError::ExecHasRun(*id));
        }
        let container = self.reread(&record.container)?;
        let life = self.life(&container)?;
        if let Life::Paused { .. } = life {
            return Err(EngineError::Paused(container.id.to_string()));
        }
        let pid = life.pid().ok_or(EngineError::NotRunning(container.id))?;
        let process = self.exec_process(&container, &record.spec, attach, pid)?;
        record.progress = ExecProgress::Started;
        self.save_exec(id, &record)?;
        let start = exec_start(*id, process, &record.spec, attach);
        // Before it runs, as Docker does: its end must not be told first.
        self.tell_exec(&container, "exec_start", id, &record.spec);
        match self.running_shim(&container.id)?.exec_start(start) {
            Ok((_, stream)) => {
                Ok(((attach != ExecAttach::Detached).then_some(stream), record.spec))
            }
            Err(CallError::LaunchFailed(failure)) => {
                record.progress = ExecProgress::Ended(failure.code);
                self.save_exec(id, &record)?;
                Err(EngineError::Start(failure))
            }
            Err(CallError::Refused(Refusal::ExecExists)) => Err(EngineError::ExecHasRun(*id)),
            Err(CallError::Refused(Refusal::Paused)) => {
                // It was frozen in between, and may be started later.
                record.progress = ExecProgress::Created;
                self.save_exec(id, &record)?;
                Err(EngineError::Paused(container.id.to_string()))
            }
            Err(error) => Err(call_error(&container.id, error)),
        }
    }

    /// Lets an exec go on without its client, who is about to leave it.
    ///
    /// # Errors
    /// There is none any more.
    pub fn exec_keep(&self, id: &ExecId) -> Result<(), EngineError> {
        self.keep_exec(id, &self.exec_record(id)?)
    }

    fn keep_exec(&self, id: &ExecId, record: &ExecRecord) -> Result<(), EngineError> {
        let bound = record.spec.ends_with_client;
        let shim = if bound { self.shim(&record.container)? } else { None };
        match shim.map_or(Ok(()), |mut shim| shim.exec_keep(*id)) {
            Ok(()) | Err(CallError::Gone) => Ok(()),
            Err(error) => Err(call_error(&record.container, error)),
        }
    }

    /// Tells that a client has left an exec by its keys.
    ///
    /// # Errors
    /// There is none, or no such container, any more.
    pub fn exec_detached(&self, id: &ExecId) -> Result<(), EngineError> {
        let record = self.exec_record(id)?;
        self.keep_exec(id, &record)?;
        let container = self.reread(&record.container)?;
        self.tell(&container, "exec_detach", &[("execID", id.to_string())]);
        Ok(())
    }

    fn tell_exec(&self, container: &Container, what: &str, id: &ExecId, spec: &ExecSpec) {
        // Docker writes a space behind a command without arguments.
        let end = if spec.argv.len() > 1 { "" } else { " " };
        let action = format!("{what}: {}{end}", spec.argv.join(" "));
        self.tell(container, &action, &[("execID", id.to_string())]);
    }

    /// Everything about an exec.
    ///
    /// # Errors
    /// There is none, or it has been forgotten.
    pub fn exec_inspect(&self, id: &ExecId) -> Result<ExecView, EngineError> {
        let record = self.exec_record(id)?;
        let life = match record.progress {
            ExecProgress::Created => ExecLife::Created,
            ExecProgress::Ended(code) => exited(code, Oom::Unseen),
            ExecProgress::OutOfMemory(code) => exited(code, Oom::Seen),
            ExecProgress::Started => self.exec_life(&record.container, id)?,
        };
        Ok(ExecView { id: *id, container: record.container, spec: record.spec, life })
    }

    /// A container's execs: those that run, and the last that have ended. The latest first.
    ///
    /// # Errors
    /// There is no such container, or its shim does not answer.
    pub fn exec_list(&self, who: &NameOrId) -> Result<Vec<ExecView>, EngineError> {
        let container = self.find(who)?.id;
        let mut infos = self.ended_execs(&container);
        infos.extend(self.known_execs(&container)?);
        let lives: HashMap<ExecId, ExecLife> =
            infos.into_iter().map(|info| (info.exec, life_of(info.state))).collect();
        let dir = self.exec_dir(&container);
        let names = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<ExecId>().ok());
        // Health checks have no record; they are told of with the container's health.
        let view = |id: ExecId| {
            let record = Self::exec_record_at(&id, &dir.join(id.to_string())).ok()?;
            let life = match (lives.get(&id), record.progress) {
                (Some(life), _) => *life,
                (None, ExecProgress::Ended(code)) => exited(code, Oom::Unseen),
                (None, ExecProgress::OutOfMemory(code)) => exited(code, Oom::Seen),
                // It never ran, or nobody knows how it ended.
                (None, ExecProgress::Created | ExecProgress::Started) => return None,
            };
            Some(ExecView { id, container: record.container, spec: record.spec, life })
        };
        let mut views: Vec<ExecView> = ids.filter_map(view).collect();
        views.sort_by_key(|view| std::cmp::Reverse((began(&view.life), view.id)));
        Ok(views)
    }

    /// How execs have ended that no shim knows of any more.
    fn ended_execs(&self, container: &ContainerId) -> Vec<ExecInfo> {
        shim::read_ended_execs(&self.shim_paths(container)).unwrap_or_default()
    }

    /// What the container's shim knows.
    fn known_execs(&self, container: &ContainerId) -> Result<Vec<ExecInfo>, EngineError> {
        let Some(mut shim) = self.shim(container)? else { return Ok(Vec::new()) };
        match shim.execs() {
            Err(CallError::Gone) => Ok(Vec::new()),
            execs => execs.map_err(|error| call_error(container, error)),
        }
    }

    fn exec_life(&self, container: &ContainerId, id: &ExecId) -> Result<ExecLife, EngineError> {
        let ended = || {
            let ended = self.ended_execs(container).into_iter().find(|info| info.exec == *id);
            let why = Ended::Container;
            let with_it = ExecLife::Exited { code: ExitCode(137), oom: false, why, span: None };
            ended.map_or(with_it, |info| life_of(info.state))
        };
        let Some(mut shim) = self.shim(container)? else { return Ok(ended()) };
        match shim.exec_state(*id) {
            Ok(info) => Ok(life_of(info.state)),
            // One of an earlier life, or that ended too long ago: nobody knows how.
            Err(CallError::Refused(Refusal::NoSuchExec))
                if self.guarded_life(container)?.is_some() =>
            {
                Err(EngineError::NoSuchExec(id.to_string()))
            }
            Err(CallError::Gone | CallError::Refused(Refusal::NoSuchExec)) => Ok(ended()),
            Err(error) => Err(call_error(container, error)),
        }
    }

    /// Tells an exec's terminal its size. Without a terminal nothing is to be told.
    ///
    /// # Errors
    /// It does not run, or was not started.
    pub fn exec_resize(&self, id: &ExecId, size: TerminalSize) -> Result<(), EngineError> {
        let container = self.exec_record(id)?.container;
        let mut shim = self.running_shim(&container)?;
        let told = shim.resize(Target::Exec(*id), size);
        if let Err(CallError::Refused(Refusal::NoSuchExec)) = told {
            return Err(EngineError::Invalid("exec process is not started".to_owned()));
        }
        resized(&container, told)
    }

    /// The exec whose id begins so.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find_exec(&self, begin: &str) -> Result<ExecId, EngineError> {
        let none = || EngineError::NoSuchExec(begin.to_owned());
        let dirs = std::fs::read_dir(self.paths().run().join("exec")).into_iter().flatten();
        let files = dirs.flatten().flat_map(|dir| std::fs::read_dir(dir.path()));
        let names = files.flatten().flatten().map(|file| file.file_name());
        let ids = names.filter_map(|name| name.to_str()?.parse::<ExecId>().ok());
        let mut found = ids.filter(|id| !begin.is_empty() && id.to_string().starts_with(begin));
        let id = found.next().ok_or_else(none)?;
        if found.next().is_some() {
            return Err(EngineError::Ambiguous(begin.to_owned()));
        }
        Ok(id)
    }

    /// Sends a signal to an exec and to all that it has started.
    ///
    /// # Errors
    /// It does not run.
    pub fn exec_kill(&self, id: &ExecId, signal: Signal) -> Result<(), EngineError> {
        let record = self.exec_record(id)?;
        let mut shim = self.running_shim(&record.container)?;
        match shim.exec_kill(*id, signal, Reach::Everyone) {
            Err(CallError::Refused(Refusal::NoSuchExec)) => {
                Err(EngineError::NoSuchExec(id.to_string()))
            }
            Err(CallError::Refused(Refusal::ExecNotRunning)) => Err(EngineError::ExecEnded(*id)),
            killed => killed.map_err(|error| call_error(&record.container, error)),
        }
    }

    /// Execs of a container that run: those that have ended are asked about by their ids only.
    pub(crate) fn execs_of(&self, id: &ContainerId) -> Result<Vec<ExecId>, EngineError> {
        let is_running = |info: &ExecInfo| matches!(info.state, ExecState::Running(_));
        Ok(self.known_execs(id)?.into_iter().filter(is_running).map(|info| info.exec).collect())
    }

    /// Looks the exec's user up in the container's files as they are now.
    fn exec_user(
        &self,
        container: &Container,
        spec: &ExecSpec,
        pid: u32,
    ) -> Result<UserIds, EngineError> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let root = Root::open(&path).map_err(|_| EngineError::NotRunning(container.id))?;
        let name = spec.user.as_deref().unwrap_or(&container.record.resolved.user);
        self.user_in(
            &root,
            name,
            if spec.user.is_some() { &[] } else { &container.record.spec.process.groups },
        )
    }

    fn exec_process(
        &self,
        container: &Container,
        spec: &ExecSpec,
        attach: ExecAttach,
        pid: u32,
    ) -> Result<Process, EngineError> {
        let user = self.exec_user(container, spec, pid)?;
        self.keep_profile(container.record.profile())?;
        let caps = if spec.privileged {
            security::every_capability()?
        } else {
            security::capabilities(&container.record.spec.security)?
        };
        let size = match attach {
            ExecAttach::Attached(Some(size)) => Some(size),
            ExecAttach::Attached(None) | ExecAttach::Detached => spec.size,
        };
        let built = process(container, spec, &user, caps).and_then(|mut process| {
            if let (true, Some(size)) = (spec.terminal, size) {
                let console = ConsoleBuilder::default().height(size.rows).width(size.columns);
                process.set_console_size(Some(console.build()?));
            }
            Ok(process)
        });
        let mut process = built.map_err(|error| EngineError::Invalid(error.to_string()))?;
        process.set_rlimits(Some(security::rlimits(&container.record.spec.limits)?));
        Ok(process)
    }
}

fn life_of(state: ExecState) -> ExecLife {
    match state {
        ExecState::Running(started) => ExecLife::Running { pid: started.pid, since: started.since },
        ExecState::Exited { code, oom, why, span, .. } => ExecLife::Exited { code, oom, why, span },
    }
}

/// Whether the OOM killer took it.
#[derive(PartialEq, Eq)]
enum Oom {
    Seen,
    Unseen,
}

/// One of which its record alone tells.
fn exited(code: ExitCode, oom: Oom) -> ExecLife {
    ExecLife::Exited { code, oom: oom == Oom::Seen, why: Ended::ByItself, span: None }
}

fn began(life: &ExecLife) -> Option<Timestamp> {
    match life {
        ExecLife::Created => None,
        ExecLife::Running { since, .. } => Some(*since),
        ExecLife::Exited { span, .. } => span.map(|[since, _]| since),
    }
}

fn process(
    container: &Container,
    spec: &ExecSpec,
    user: &UserIds,
    caps: CapSet,
) -> Result<Process, OciSpecError> {
    let resolved = &container.record.resolved;
    let bounding = security::oci_capabilities(caps);
    let held = if user.uid == 0 { bounding.clone() } else { HashSet::new() };
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(bounding)
        .permitted(held.clone())
        .effective(held)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()?;
    let numbers = UserBuilder::default()
        .uid(user.uid)
        .gid(user.gid)
        .additional_gids(user.groups.clone())
        .build()?;
    ProcessBuilder::default()
        .terminal(spec.terminal)
        .user(numbers)
        .args(spec.argv.clone())
        .env(environment(container, spec, user))
        .cwd(spec.working_dir.clone().unwrap_or_else(|| resolved.working_dir.clone()))
        .capabilities(capabilities)
        .no_new_privileges(container.record.spec.security.no_new_privileges)
        .apparmor_profile(container.record.profile().unwrap_or_default())
        .selinux_label(selinux::process_label(selinux::labels(container)))
        .build()
}

/// The container's environment below the exec's own.
fn environment(container: &Container, spec: &ExecSpec, user: &UserIds) -> Vec<String> {
    let terminal = if spec.terminal { Terminal::Pty { size: None } } else { Terminal::None };
    let mut env = environment::environment(&container.record.resolved, &user.home, &terminal);
    let given: HashSet<&str> = spec.env.iter().map(|variable| variable_name(variable)).collect();
    env.retain(|variable| !given.contains(variable_name(variable)));
    env.extend(spec.env.iter().filter(|variable| variable.contains('=')).cloned());
    environment::last_of_each(env)
}

fn exec_start(id: ExecId, process: Process, spec: &ExecSpec, attach: ExecAttach) -> ExecStart {
    let streams = AttachedStreams {
        stdin: spec.stdin,
        stdout: spec.streams.stdout,
        stderr: spec.streams.stderr,
    };
    ExecStart {
        exec: id,
        process: Box::new(process),
        stdin: if spec.stdin { Stdin::OpenOnce } else { Stdin::Null },
        attach: (attach != ExecAttach::Detached).then_some(streams),
        without_client: if spec.ends_with_client && attach != ExecAttach::Detached {
            WithoutClient::Ends
        } else {
            WithoutClient::Stays
        },
    }
}
