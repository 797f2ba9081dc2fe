//! `wait`: for a container's end, and for its removal.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use model::{ContainerId, EventKind, ExitCode, Life, NameOrId};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use shim::CallError;
use shim::frame::MAX_SMALL;
use shim::protocol::{ExitRecord, Refusal, Reply, Request, Until, Which};
use sys::failpoint::Point;
use sys::fdpass;

use crate::container::{Container, UNSEEN_EXIT};
use crate::guard::{ATTEMPTS, call_error, shim_error};
use crate::prepare::store_error;
use crate::view::{ExitReport, WaitCondition};
use crate::{Engine, EngineError};

/// Docker's code of a container that could not be started.
const NEVER_STARTED: ExitCode = ExitCode(128);

/// Asks for the end after which a container is removed that goes with its process.
const LAST_END: Request = Request::Wait { until: Until::NextExit, which: Which::Last };

/// A wait that has begun: an end that comes from now on is seen by `finish`.
#[derive(Debug)]
pub struct Wait {
    engine: Engine,
    who: Awaited,
    kind: Kind,
}

/// Whose end is waited for.
#[derive(Debug)]
struct Awaited {
    id: ContainerId,
    /// What is said of it if it is gone by then and nobody saw its end.
    if_gone: ExitCode,
}

#[derive(Debug)]
enum Kind {
    /// It has ended, or never ran.
    Over(ExitCode),
    /// The shim will say when it ends.
    Exit(UnixStream),
    /// The shim will say when it ends, and then this process removes it.
    ExitAndRemove(UnixStream),
    /// It has ended, and this process removes it: whoever should have may be dead.
    Remove(ExitCode, UnixStream),
    /// Somebody will remove it, now or later.
    Removal(Removal),
    /// Somebody has just removed it.
    Gone(Removal),
}

/// How a removal is seen.
#[derive(Debug)]
struct Removal {
    /// Tells of every container whose directory goes away.
    watch: OwnedFd,
    /// Where its shim tells of its next end; `None` if it has no other.
    next: Option<UnixStream>,
    /// How it ended last.
    code: ExitCode,
    /// Whether another end may come before it is removed.
    stay: Stay,
}

/// What becomes of a container after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// It goes.
    Goes,
    /// It may be started again. Counts the shims that left without a word, one after another.
    Stays { silent: usize },
}

impl Engine {
    /// Begins to wait.
    ///
    /// # Errors
    /// There is no such container.
    pub fn wait(&self, who: &NameOrId, condition: WaitCondition) -> Result<Wait, EngineError> {
        let container = self.find(who)?;
        let life = self.life(&container)?;
        let id = container.id;
        let kind = match condition {
            WaitCondition::NotRunning => self.wait_not_running(&id, &life)?,
            WaitCondition::NextExit => self.wait_next_exit(&id)?,
            WaitCondition::Removed if container.row.auto_remove => {
                self.wait_auto_removed(&id, &life)?
            }
            WaitCondition::Removed => self.wait_kept_removed(&id, &life)?,
        };
        Ok(Wait { engine: self.clone(), who: Awaited { id, if_gone: if_gone(&life) }, kind })
    }

    fn wait_not_running(&self, id: &ContainerId, life: &Life) -> Result<Kind, EngineError> {
        match life {
            Life::Created { failed: None } => Ok(Kind::Over(ExitCode::SUCCESS)),
            Life::Created { failed: Some(start) } => Ok(Kind::Over(start.code)),
            Life::Exited { code, .. } => Ok(Kind::Over(*code)),
            Life::Running { .. } | Life::Paused { .. } | Life::Restarting { .. } => {
                let Some(shim) = self.shim(id)? else {
                    return Ok(Kind::Over(self.seen_exit(&self.reread(id)?)?));
                };
                let stream = shim.into_stream();
                let until = Until::NotRunning;
                ask(id, &stream, &Request::Wait { until, which: Which::Any })?;
                Ok(Kind::Exit(stream))
            }
        }
    }

    fn seen_exit(&self, container: &Container) -> Result<ExitCode, EngineError> {
        match self.life(container)? {
            Life::Exited { code, .. } | Life::Restarting { code, .. } => Ok(code),
            Life::Created { .. } | Life::Running { .. } | Life::Paused { .. } => {
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn wait_next_exit(&self, id: &ContainerId) -> Result<Kind, EngineError> {
        self.next_exit(id).map(Kind::Exit)
    }

    /// Where the next end is told, and the last one if that was before; `None` if it is gone.
    fn end_from_now(
        &self,
        id: &ContainerId,
    ) -> Result<Option<(UnixStream, Option<ExitCode>)>, EngineError> {
        let asked = self.next_exit(id).and_then(|stream| Ok((stream, self.reread(id)?)));
        let (stream, container) = match asked {
            Err(EngineError::NoSuchContainer(_)) => return Ok(None),
            asked => asked?,
        };
        let life = self.life(&container)?;
        let seen = if let Life::Exited { code, .. } = life { Some(code) } else { None };
        Ok(Some((stream, seen)))
    }

    /// Where the container's shim, started if need be, tells of the next end.
    fn next_exit(&self, id: &ContainerId) -> Result<UnixStream, EngineError> {
        let (shim, _) = self.ensure_shim(id)?;
        let stream = shim.into_stream();
        ask(id, &stream, &Request::Wait { until: Until::NextExit, which: Which::Any })?;
        Ok(stream)
    }

    /// Takes the duty to remove the container, unless somebody has it.
    fn wait_auto_removed(&self, id: &ContainerId, life: &Life) -> Result<Kind, EngineError> {
        for _ in 0..ATTEMPTS {
            let mut shim = match self.ensure_shim(id) {
                // Its shim had been killed, and what it has left is settled.
                Err(EngineError::NoSuchContainer(_)) if matches!(life, Life::Exited { .. }) => {
                    return Ok(Kind::Over(if_gone(life)));
                }
                ensured => ensured?.0,
            };
            match shim.claim() {
                Ok(()) => return self.wait_claimed(id, shim.into_stream()),
                Err(CallError::Refused(Refusal::Claimed)) => {
                    let stream = shim.into_stream();
                    ask(id, &stream, &LAST_END)?;
                    return self.wait_removed(id, Some(stream), if_gone(life), Stay::Goes);
                }
                // It has become the one that removes the container.
                Err(CallError::Gone) => {}
                Err(error) => return Err(call_error(id, error)),
            }
        }
        Err(shim_error(id, &CallError::Gone))
    }

    fn wait_claimed(&self, id: &ContainerId, stream: UnixStream) -> Result<Kind, EngineError> {
        // A shim that was started for this question knows of no end in the past.
        if let Life::Exited { code, .. } = self.life(&self.reread(id)?)? {
            return Ok(Kind::Remove(code, stream));
        }
        ask(id, &stream, &LAST_END)?;
        Ok(Kind::ExitAndRemove(stream))
    }

    /// Waits for somebody else's removal of a container that stays after its end.
    fn wait_kept_removed(&self, id: &ContainerId, life: &Life) -> Result<Kind, EngineError> {
        let code = match life {
            Life::Created { .. } => ExitCode::SUCCESS,
            Life::Running { .. }
            | Life::Paused { .. }
            | Life::Restarting { .. }
            | Life::Exited { .. } => if_gone(life),
        };
        // One that does not run needs no shim to be waited for.
        let (next, seen) = if life.is_up() { self.end_from_now(id)?.unzip() } else { (None, None) };
        self.wait_removed(id, next, seen.flatten().unwrap_or(code), Stay::Stays { silent: 0 })
    }

    fn wait_removed(
        &self,
        id: &ContainerId,
        next: Option<UnixStream>,
        code: ExitCode,
        stay: Stay,
    ) -> Result<Kind, EngineError> {
        let containers = self.paths().root().join("containers");
        let failed =
            |errno: rustix::io::Errno| EngineError::file("watch", &containers)(errno.into());
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(failed)?;
        inotify::add_watch(&watch, &containers, inotify::WatchFlags::MOVED_FROM).map_err(failed)?;
        let removal = Removal { watch, next, code, stay };
        // It may have gone between the look-up and the watch.
        Ok(if self.is_removed(id)? { Kind::Gone(removal) } else { Kind::Removal(removal) })
    }

    /// Whether a container is gone for good. If it is not, it has a directory from now on that a
    /// removal takes away.
    fn is_removed(&self, id: &ContainerId) -> Result<bool, EngineError> {
        Ok(self.store().container_dir(id).map_err(store_error)?.is_none())
    }
}

impl Wait {
    /// Waits, and removes the container if that fell to this wait. `None` if the other end of `hangup` was closed
    /// before there was an end: nobody wants to know any more, and a duty to remove it is its shim's again.
    ///
    /// # Errors
    /// The shim died without a word.
    pub fn finish(self, hangup: &OwnedFd) -> Result<Option<ExitReport>, EngineError> {
        let Self { engine, who, kind } = self;
        let exit = match kind {
            Kind::Over(code) => report(code),
            Kind::Exit(stream) => {
                if !has_ended(&who.id, &stream, hangup)? {
                    return Ok(None);
                }
                let exit = end(&engine, &who, &stream)?;
                engine.settle(&who.id)?;
                report(exit)
            }
            Kind::ExitAndRemove(stream) => {
                if !has_ended(&who.id, &stream, hangup)? {
                    return Ok(None);
                }
                let exit = end(&engine, &who, &stream);
                EngineError::step(Point::WaitExited)?;
                let removed = reap(&engine, &who.id, &stream, &Request::Release)?;
                ExitReport { code: exit?, ..removed }
            }
            Kind::Remove(code, stream) => {
                // This shim has launched nothing, so it knows of nothing to release.
                ExitReport { code, ..reap(&engine, &who.id, &stream, &Request::Quit)? }
            }
            Kind::Removal(removal) => {
                return Ok(until_removed(&engine, &who.id, removal, hangup)?.map(report));
            }
            Kind::Gone(removal) => report(last_end(&engine, &who.id, removal)?),
        };
        Ok(Some(exit))
    }
}

/// Waits until a shim tells of the end; whether it does before nobody wants to know.
fn has_ended(id: &ContainerId, stream: &UnixStream, hangup: &OwnedFd) -> Result<bool, EngineError> {
    let fds = vec![PollFd::new(stream, PollFlags::IN)];
    let ready = last_ready(fds, hangup).map_err(|errno| shim_error(id, &errno))?;
    Ok(ready.is_some())
}

/// Removes a container whose removal this connection has claimed, and says so to its shim.
fn reap(
    engine: &Engine,
    id: &ContainerId,
    stream: &UnixStream,
    done: &Request,
) -> Result<ExitReport, EngineError> {
    let removed = engine.reap(id);
    EngineError::step(Point::WaitRemoved)?;
    if removed.is_ok() {
        // The answer is of no interest: the shim leaves. Without this word the duty falls back to
        // it.
        let _ = ask(id, stream, done);
    }
    let error = removed.err().map(|error| error.to_string());
    Ok(ExitReport { error, ..report(ExitCode::SUCCESS) })
}

const fn if_gone(life: &Life) -> ExitCode {
    match life {
        Life::Created { .. } => NEVER_STARTED,
        Life::Running { .. } | Life::Paused { .. } => UNSEEN_EXIT,
        Life::Exited { code, .. } | Life::Restarting { code, .. } => *code,
    }
}

fn report(code: ExitCode) -> ExitReport {
    ExitReport { code, error: None }
}

fn ask(id: &ContainerId, stream: &UnixStream, request: &Request) -> Result<(), EngineError> {
    let message = serde_json::to_vec(request).map_err(|error| shim_error(id, &error))?;
    fdpass::send_frame(stream, &message, &[]).map_err(|error| shim_error(id, &error))
}

/// How the container ended; if its shim left without a word, what the record says.
fn end(engine: &Engine, who: &Awaited, stream: &UnixStream) -> Result<ExitCode, EngineError> {
    if let Some(code) = told(&who.id, stream)? {
        return Ok(code);
    }
    if let Some(code) = written(engine, &who.id)? {
        return Ok(code);
    }
    // Whoever has ended its shim has told the end before the container was removed.
    Ok(last_in_journal(engine, &who.id).ok().flatten().unwrap_or(who.if_gone))
}

/// How the container ended as its record says it; `None` if it is gone. Whoever made its shim leave
/// may be about to remove it, and holds its lock.
fn written(engine: &Engine, id: &ContainerId) -> Result<Option<ExitCode>, EngineError> {
    match engine.lock(id) {
        Err(EngineError::NoSuchContainer(_)) => Ok(None),
        locked => engine.seen_exit(&locked?.1).map(Some),
    }
}

/// How the container ended as its shim tells it; `None` if that leaves without a word.
fn told(id: &ContainerId, stream: &UnixStream) -> Result<Option<ExitCode>, EngineError> {
    let frame = match fdpass::recv_frame(stream, MAX_SMALL, 0) {
        // It was killed before it has read the question.
        Err(error) if error.errno() == Some(rustix::io::Errno::CONNRESET) => None,
        heard => heard.map_err(|error| shim_error(id, &error))?,
    };
    let Some(frame) = frame else { return Ok(None) };
    let reply = serde_json::from_slice(&frame.bytes).map_err(|error| shim_error(id, &error))?;
    if let Reply::Exited(ExitRecord { code, .. }) = reply {
        return Ok(Some(code));
    }
    // `start` reports the failure to whoever asked for the start; its code is Docker's.
    if let Reply::LaunchFailed(failure) = reply {
        return Ok(Some(failure.code));
    }
    if reply == Reply::Refused(Refusal::NotRunning) {
        return Ok(None);
    }
    Err(shim_error(id, &CallError::Confused(Box::new(reply))))
}

/// Until the container is gone; how it ended last. `None` if nobody wants to know any more.
fn until_removed(
    engine: &Engine,
    id: &ContainerId,
    mut removal: Removal,
    hangup: &OwnedFd,
) -> Result<Option<ExitCode>, EngineError> {
    let dir = engine.paths().container_dir(id);
    let failed = |errno: rustix::io::Errno| EngineError::file("watch", &dir)(errno.into());
    let mut events = [0; 4096];
    loop {
        let Some(ready) = removal.wait(hangup).map_err(failed)? else { return Ok(None) };
        if ready == Ready::Ended
            && let Some(stream) = removal.next.take()
        {
            removal.on_end(engine, id, told(id, &stream)?)?;
            continue;
        }
        rustix::io::retry_on_intr(|| rustix::io::read(&removal.watch, &mut events))
            .map_err(failed)?;
        if !dir.exists() && engine.is_removed(id)? {
            return last_end(engine, id, removal).map(Some);
        }
    }
}

impl Removal {
    /// Waits for an end or a removal, or until nobody wants to know of them.
    fn wait(&self, hangup: &OwnedFd) -> rustix::io::Result<Option<Ready>> {
        let mut fds = vec![PollFd::new(&self.watch, PollFlags::IN)];
        fds.extend(self.next.iter().map(|stream| PollFd::new(stream, PollFlags::IN)));
        let first = last_ready(fds, hangup)?;
        Ok(first.map(|first| if first == 0 { Ready::Removed } else { Ready::Ended }))
    }

    /// Notes an end, and asks for the next one if there may be one.
    fn on_end(
        &mut self,
        engine: &Engine,
        id: &ContainerId,
        told: Option<ExitCode>,
    ) -> Result<(), EngineError> {
        let Some(code) = told.map_or_else(|| written(engine, id), |code| Ok(Some(code)))? else {
            return Ok(());
        };
        self.code = code;
        let Stay::Stays { silent } = &mut self.stay else { return Ok(()) };
        *silent = if told.is_some() { 0 } else { *silent + 1 };
        if *silent >= ATTEMPTS {
            return Err(shim_error(id, &CallError::Gone));
        }
        if let Some((stream, seen)) = engine.end_from_now(id)? {
            self.next = Some(stream);
            self.code = seen.unwrap_or(code);
        }
        Ok(())
    }
}

/// How a container that is gone ended: its end was told before it could be removed.
fn last_end(engine: &Engine, id: &ContainerId, removal: Removal) -> Result<ExitCode, EngineError> {
    if let Some(code) = removal.next.map_or(Ok(None), |stream| told(id, &stream))? {
        return Ok(code);
    }
    let Stay::Stays { .. } = removal.stay else { return Ok(removal.code) };
    // Of the ends of one that did not run no shim tells. The journal forgets an end after thousands
    // of other events, and if it cannot be read it keeps nobody from anything.
    Ok(last_in_journal(engine, id).ok().flatten().unwrap_or(removal.code))
}

/// The last end that the journal of events knows.
fn last_in_journal(engine: &Engine, id: &ContainerId) -> Result<Option<ExitCode>, EngineError> {
    let actor = id.to_string();
    let mut events = engine.past_events()?;
    let mut last = None;
    while let Some(event) = events.read()? {
        if event.kind == EventKind::Container && event.actor == actor && event.action == "die" {
            last = event.attributes.get("exitCode").and_then(|code| code.parse().ok()).or(last);
        }
    }
    Ok(last.map(ExitCode))
}

/// What has happened to a container.
#[derive(Debug, PartialEq, Eq)]
enum Ready {
    /// It has ended.
    Ended,
    /// Some container was removed.
    Removed,
}

/// The last of `fds` that is ready; `None` if none is and the other end of `hangup` is closed.
fn last_ready<'a>(
    mut fds: Vec<PollFd<'a>>,
    hangup: &'a OwnedFd,
) -> rustix::io::Result<Option<usize>> {
    fds.push(PollFd::new(hangup, PollFlags::empty()));
    rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
    let awaited = fds.split_last().map_or(&[][..], |(_, awaited)| awaited);
    Ok(awaited.iter().rposition(|fd| !fd.revents().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use jiff::Timestamp;
    use model::Event;
    use shim::Journal;
    use store::{ContainerRow, Durability};

    use crate::Paths;

    fn row(engine: &Engine, byte: u8) -> ContainerId {
        let id = ContainerId::from_random([byte; 32]);
        let row = ContainerRow {
            id,
            name: format!("c{byte}").parse().unwrap(),
            image: None,
            created_ns: 1,
            auto_remove: false,
            record: "{}".to_owned(),
        };
        engine.store().containers().insert(&row, Durability::Eventual).unwrap();
        std::fs::create_dir(engine.paths().container_dir(&id)).unwrap();
        id
    }

    fn remove(engine: &Engine, id: &ContainerId) {
        engine.store().remove_container(id, &[], Durability::Eventual).unwrap();
    }

    #[test]
    fn whom_nobody_asks_any_more_waits_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Paths::new(dir.path().join("root"), dir.path().join("run")));
        let engine = engine.unwrap();
        let id = row(&engine, 1);
        let (shim, next) = UnixStream::pair().unwrap();
        let (hangup, asked) = rustix::pipe::pipe().unwrap();
        drop(asked);
        let waited = engine.wait_removed(&id, Some(next), ExitCode::SUCCESS, Stay::Goes).unwrap();
        let who = || Awaited { id, if_gone: ExitCode::SUCCESS };
        let wait = Wait { engine: engine.clone(), who: who(), kind: waited };
        assert_eq!(wait.finish(&hangup).unwrap(), None);
        // What was claimed is given back by this.
        drop(shim);
        let (shim, next) = UnixStream::pair().unwrap();
        let wait = Wait { engine, who: who(), kind: Kind::ExitAndRemove(next) };
        assert_eq!(wait.finish(&hangup).unwrap(), None);
        assert_eq!(rustix::io::read(&shim, &mut [0]), Ok(0), "it hangs up, without a word");
    }

    #[test]
    fn the_end_is_heard_of_though_others_are_removed_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Paths::new(dir.path().join("root"), dir.path().join("run")));
        let engine = engine.unwrap();
        let (ours, other) = (row(&engine, 1), row(&engine, 2));
        let (shim, next) = UnixStream::pair().unwrap();
        let waited = engine.wait_removed(&ours, Some(next), ExitCode::SUCCESS, Stay::Goes);
        let Kind::Removal(removal) = waited.unwrap() else { panic!("it is there") };
        let watch = removal.watch.try_clone().unwrap();
        remove(&engine, &other);
        assert_ne!(rustix::io::ioctl_fionread(&watch).unwrap(), 0);
        let waiter = engine.clone();
        let (hangup, _asked) = rustix::pipe::pipe().unwrap();
        let waiting =
            std::thread::spawn(move || until_removed(&waiter, &ours, removal, &hangup).unwrap());
        // The waiter has seen that somebody was removed.
        while rustix::io::ioctl_fionread(&watch).unwrap() != 0 {
            std::thread::yield_now();
        }
        let at = Timestamp::UNIX_EPOCH;
        let exit = ExitRecord {
            code: ExitCode(7),
            oom: false,
            since: at,
            at,
            by_hand: shim::protocol::ByHand::No,
        };
        let message = serde_json::to_vec(&Reply::Exited(exit)).unwrap();
        fdpass::send_frame(&shim, &message, &[]).unwrap();
        remove(&engine, &ours);
        assert_eq!(waiting.join().unwrap(), Some(ExitCode(7)));
    }

    /// It did not run when the wait began, so no shim was there to tell of what came then.
    #[test]
    fn the_code_is_that_of_the_last_end_though_it_did_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path().join("root"), dir.path().join("run"));
        let journal = Journal::of(paths.run());
        let engine = Engine::open(paths).unwrap();
        let (ours, other) = (row(&engine, 1), row(&engine, 2));
        let exited = Life::Exited {
            code: ExitCode(3),
            since: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            oom: false,
        };
        let wait = |id| {
            let kind = engine.wait_kept_removed(id, &exited).unwrap();
            let Kind::Removal(removal) = kind else { panic!("{kind:?}") };
            removal
        };
        let waits = [wait(&ours), wait(&other)];
        let end = |id: &ContainerId, action: &str, code: u8| Event {
            kind: EventKind::Container,
            action: action.to_owned(),
            actor: id.to_string(),
            attributes: [("exitCode".to_owned(), code.to_string())].into(),
            at: Timestamp::now(),
        };
        let events = [end(&ours, "die", 4), end(&ours, "die", 5), end(&ours, "exec_die", 6)];
        journal.append(&events).unwrap();
        let codes = [ours, other].into_iter().zip(waits).map(|(id, removal)| {
            remove(&engine, &id);
            let (hangup, _asked) = rustix::pipe::pipe().unwrap();
            until_removed(&engine, &id, removal, &hangup).unwrap().unwrap()
        });
        assert_eq!(codes.collect::<Vec<_>>(), [ExitCode(5), ExitCode(3)]);
    }
}
