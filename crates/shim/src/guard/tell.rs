//! What a shim writes into the journal of events: what nobody but it sees.
//!
//! A journal that cannot be written keeps nothing from its way.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{Event, EventKind, ExecId};

use super::Guard;
use crate::about::{About, Use};
use crate::journal::Journal;
use crate::machine::{News, Oom};
use crate::paths::ShimPaths;
use crate::protocol::ExitRecord;

impl Guard {
    pub(super) fn tell(&self, news: News) {
        let about = About::read(&self.paths).unwrap_or_default();
        let (action, more) = match news {
            News::Started => return self.tell_start(about),
            News::Signalled(signal) => ("kill", vec![("signal", signal.number().to_string())]),
            News::OutOfMemory => ("oom", Vec::new()),
            News::Health(status) => {
                let action = format!("health_status: {}", status.word());
                return self.append(&[self.event(about, &action, Vec::new())]);
            }
            // Our own words: Docker waits its time out and says nothing.
            News::Unheard(signal) => ("unheard", vec![("signal", signal.number().to_string())]),
            News::Thawed => ("unpause", Vec::new()),
            News::ExecEnded(exec, code, oom) => {
                let mut more = vec![("execID", exec.to_string()), ("exitCode", code.0.to_string())];
                more.extend((oom == Oom::Seen).then(|| ("oom", "true".to_owned())));
                ("exec_die", more)
            }
        };
        self.append(&[self.event(about, action, more)]);
    }

    /// That a health check is about to run: Docker tells of it as of any process beside the init.
    pub(super) fn tell_check(&self, exec: ExecId, argv: &[String]) {
        let about = About::read(&self.paths).unwrap_or_default();
        let event = |word: &str| {
            let action = format!("{word}: {}", argv.join(" "));
            self.event(about.clone(), &action, vec![("execID", exec.to_string())])
        };
        self.append(&[event("exec_create"), event("exec_start")]);
    }

    /// That the container runs, after what it uses from now on. Told from here, since it may end
    /// before whoever started it can say a word.
    fn tell_start(&self, about: About) {
        let now = Timestamp::now();
        let mut events: Vec<Event> = about.uses.iter().map(|used: &Use| used.begin(now)).collect();
        events.push(self.event(about, "start", Vec::new()));
        self.append(&events);
    }

    fn event(&self, about: About, action: &str, more: Vec<(&str, String)>) -> Event {
        event(&self.paths, about, action, more)
    }

    fn append(&self, events: &[Event]) {
        append(&self.paths, events);
    }
}

/// Tells a container's end, after that of what it used: Docker's order. Whoever finds that the shim
/// was killed tells it in its place.
pub fn tell_end(paths: &ShimPaths, exit: &ExitRecord) {
    let about = About::read(paths).unwrap_or_default();
    let now = Timestamp::now();
    // What it has used last it gives back first: its network before its volumes.
    let mut events: Vec<Event> = about.uses.iter().rev().map(|used: &Use| used.end(now)).collect();
    let seconds = exit.at.duration_since(exit.since).as_secs().max(0);
    let more = vec![("execDuration", seconds.to_string()), ("exitCode", exit.code.0.to_string())];
    events.push(event(paths, about, "die", more));
    append(paths, &events);
}

fn event(paths: &ShimPaths, about: About, action: &str, more: Vec<(&str, String)>) -> Event {
    let mut attributes: BTreeMap<String, String> = about.attributes;
    attributes.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Event {
        kind: EventKind::Container,
        action: action.to_owned(),
        actor: paths.id.to_string(),
        attributes,
        at: Timestamp::now(),
    }
}

fn append(paths: &ShimPaths, events: &[Event]) {
    let _ = Journal::of(&paths.run).append(events);
}
