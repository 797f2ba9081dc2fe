//! The OCI runtime command line: what engines call in place of runc.
//!
//! Each verb is a short function over a state root: no daemon, no database, no shim. Owns what runc's
//! callers rely on: arguments, words, exit codes, files. What a container is, is the rest of this crate's.

mod arguments;
mod begin;
mod below;
mod binds;
mod bundle;
mod checkpoint;
mod console;
mod create;
mod environment;
mod events;
mod fault;
mod features;
mod filter;
mod finish;
mod foreground;
mod group;
mod in_place;
mod inside;
mod interfaces;
mod line;
mod more;
mod notify;
mod rdt;
mod record;
mod restore;
mod run;
mod sample;
mod scope;
mod shown;
mod state;
mod users;
mod variable;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use arguments::{Arguments, CgroupManager, Globals, Rootless, Verb};
use fault::{Fault, Level};
use record::Home;

/// The newest version of the specification whose fields are known.
const OCI_VERSION: &str = "1.3.0";

/// What a failure of ours ends with, as runc's.
const FAILED: u8 = 1;

/// The same of an `exec`, whose program may end with 1 itself.
const EXEC_FAILED: u8 = 255;

/// What this process was executed from.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it is a function")]
pub enum Image<'i> {
    /// Something that a container cannot write to.
    Sealed,
    /// The installed program. By this the process begins again, sealed; it returns only with why it cannot.
    Installed(&'i dyn Fn() -> String),
}

impl Image<'_> {
    /// Returns in a process that may enter a container.
    fn seal(self) -> Result<(), Fault> {
        match self {
            Self::Sealed => Ok(()),
            Self::Installed(become_sealed) => Err(Fault::Config(become_sealed())),
        }
    }
}

/// Whether the command may be one that enters a container. What merely names something so is sealed as well:
/// that is looked at before anything is understood, since to be executed once more costs a millisecond.
fn may_enter(arguments: &[OsString]) -> bool {
    arguments.iter().any(|word| sys::entry::ENTERING.iter().any(|verb| word == verb))
}

/// Runs one command; `arguments` begin with the name of the program.
#[must_use]
pub fn main(arguments: &[OsString], image: Image<'_>) -> ExitCode {
    if may_enter(arguments)
        && let Err(fault) = image.seal()
    {
        let (log, format) = fault::log_of(arguments);
        fault::write(log.as_deref(), format, Level::Error, &fault.to_string());
        return ExitCode::from(FAILED);
    }
    let parsed = match line::parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help goes to the standard output and is no failure.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if let (Some(log), format) = fault::log_of(arguments) {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let words = first.strip_prefix("error: ").unwrap_or(first);
                fault::write(Some(&log), format, Level::Error, words);
            }
            return ExitCode::from(FAILED);
        }
    };
    let Arguments { globals, verb } = parsed;
    fault::debug(&globals, || format!("{verb:?}"));
    let (done, command, failed) = match (globals.version, verb) {
        (true, _) | (false, None) => (say(&version()).map(|()| 0), String::new(), FAILED),
        (false, Some(verb)) => {
            let failed = if matches!(verb, Verb::Exec(_)) { EXEC_FAILED } else { FAILED };
            (carry_out(&globals, &verb, image), in_front(&verb, arguments), failed)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            fault::tell_of(&globals, &command, &fault);
            ExitCode::from(failed)
        }
    }
}

/// What stands in front of why a command failed, as with runc.
fn in_front(verb: &Verb, arguments: &[OsString]) -> String {
    match verb {
        Verb::Create(_) => format!("{} create failed: ", line::name(arguments)),
        Verb::Run(_) => format!("{} run failed: ", line::name(arguments)),
        Verb::Exec(_) => "exec failed: ".to_owned(),
        Verb::Start(_)
        | Verb::Kill(_)
        | Verb::Delete(_)
        | Verb::List(_)
        | Verb::Ps(_)
        | Verb::State(_)
        | Verb::Pause(_)
        | Verb::Resume(_)
        | Verb::Update(_)
        | Verb::Events(_)
        | Verb::Spec(_)
        | Verb::Features
        | Verb::Checkpoint(_)
        | Verb::Restore(_) => String::new(),
    }
}

/// Engines read the lines of it by their first word.
fn version() -> String {
    format!("dhow version {}\nspec: {OCI_VERSION}\n", env!("CARGO_PKG_VERSION"))
}

fn carry_out(globals: &Globals, verb: &Verb, image: Image<'_>) -> Result<u8, Fault> {
    if globals.cgroup_manager == CgroupManager::Disabled {
        return Err(Fault::config("--cgroup-manager disabled is not supported"));
    }
    if globals.rootless == Rootless::True {
        return Err(Fault::config("--rootless=true is not supported"));
    }
    let home = Home::new(globals)?;
    match verb {
        Verb::Run(args) => return run::run(&home, args),
        Verb::Exec(args) => return more::exec(&home, args),
        Verb::Create(args) => create::create(&home, args, create::Company::Detached).map(drop)?,
        Verb::Start(args) => begin::begin(&home, &args.id, image)?,
        Verb::Kill(args) => finish::kill(&home, args)?,
        Verb::Delete(args) => finish::delete(&home, args)?,
        Verb::List(args) => state::list(&home, args)?,
        Verb::Ps(args) => group::ps(&home, args)?,
        Verb::State(args) => state::state(&home, &args.id)?,
        Verb::Pause(args) => group::pause(&home, &args.id)?,
        Verb::Resume(args) => group::resume(&home, &args.id)?,
        Verb::Update(args) => group::update(&home, args)?,
        Verb::Events(args) => events::events(&home, args)?,
        Verb::Spec(args) => sample::spec(args)?,
        Verb::Features => features::features()?,
        Verb::Checkpoint(args) => checkpoint::checkpoint(&home, args)?,
        Verb::Restore(args) => return restore::restore(&home, args),
    }
    Ok(0)
}

/// What a command was asked to tell.
fn say(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Fault::Output)
}
