//! `run`: create, start, and stay until the process ends.

use std::os::fd::AsFd as _;

use sys::process::Exit;

use super::arguments::Run;
use super::begin::{Standing, Started};
use super::create::{Company, Created, create};
use super::fault::{self, Fault, Level};
use super::record::{Home, Place, Record};
use super::{Image, begin, finish, foreground};
use crate::Running;

/// Runs a container. Returns the exit code of its process, or 0 at once if it is not waited for.
pub(super) fn run(home: &Home<'_>, args: &Run) -> Result<u8, Fault> {
    if args.detach {
        let Created { place, record, running } = create(home, &args.create, Company::Detached)?;
        if args.create.past.is_none() {
            let started = begin(home, place, &record, &running)?;
            pass_on(home, started, Standing::Container);
        }
        return Ok(0);
    }
    if !args.no_subreaper {
        let own = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(own)
            .map_err(|errno| Fault::Call("become the parent of orphans", errno))?;
    }
    let signals = foreground::listen()?;
    let Created { place, record, running } = create(home, &args.create, Company::Foreground)?;
    let is_ours = args.create.handles.console_socket.is_none();
    if let Some(master) = running.terminal.as_ref().filter(|_| is_ours) {
        // Before its program says anything.
        foreground::pass_lines_as_they_are(master.as_fd());
    }
    // Other commands must be able to act on it meanwhile: nobody has its place from here on.
    match args.create.past {
        None => {
            let started = begin(home, place, &record, &running)?;
            pass_on(home, started, Standing::Caller);
        }
        // What is made again runs already.
        Some(_) => drop(place),
    }
    let master = running.terminal.filter(|_| is_ours);
    let exit = match foreground::stay(&running.pidfd, master, &signals) {
        Ok(exit) => exit,
        Err(fault) => {
            // Nobody looks after it any more.
            let _ = sys::process::pidfd_send_signal(&running.pidfd, sys::signal::Signal::KILL);
            let _ = sys::process::wait(&running.pidfd);
            let _ = remove(home, &record);
            return Err(fault);
        }
    };
    if !args.keep {
        remove(home, &record)?;
    }
    Ok(Exit::shell_code(exit))
}

/// Removes it, unless somebody else has, who may have made another one of its name.
fn remove(home: &Home<'_>, record: &Record) -> Result<(), Fault> {
    let place = match home.take(&record.id) {
        Err(Fault::NoContainer) => return Ok(()),
        place => place?,
    };
    match place.record() {
        Ok(there) if (there.pid, there.started) == (record.pid, record.started) => {
            finish::remove(home, place, record)
        }
        Ok(_) | Err(Fault::NoContainer) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Starts it. One that does not start is gone.
fn begin(
    home: &Home<'_>,
    place: Place,
    record: &Record,
    running: &Running,
) -> Result<Started, Fault> {
    let fault = match begin::start(&place, record, Image::Sealed) {
        Ok(started) => {
            let Record { id, pid, .. } = record;
            fault::debug(home.globals, || {
                format!("container {id}: process {pid} runs its program")
            });
            return Ok(started);
        }
        Err(fault) => fault,
    };
    let _ = sys::process::pidfd_send_signal(&running.pidfd, sys::signal::Signal::KILL);
    let _ = sys::process::wait(&running.pidfd);
    let _ = finish::remove(home, place, record);
    Err(fault)
}

/// The container runs, whoever cannot be told of it.
fn pass_on(home: &Home<'_>, started: Started, standing: Standing) {
    if let Err(fault) = started.pass_on(home.globals, standing) {
        fault::tell(home.globals, Level::Warning, &fault);
    }
}
