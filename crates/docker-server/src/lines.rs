//! What lists of containers say of each, kept for the next list.
//!
//! A line is made of a view, the words for its age, and the client's version; while these are the same it is sent
//! again as it is. Whether a view still holds is the engine's business: it shows the same one as long as it does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use engine::view::{ContainerView, UnreadView};
use jiff::Timestamp;
use model::ContainerId;

use crate::quirks::{self, ApiVersion};
use crate::raise::{self, PortList};
use crate::reply::JsonList;

/// So many are kept before those are looked for whose view is gone.
const FEW: usize = 256;
/// The most.
const MANY: usize = 8192;
/// How long all of them may be, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// How a client wants its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Style {
    pub(crate) api: ApiVersion,
    pub(crate) ports: PortList,
}

/// The lines that a service has made.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    kept: Mutex<Kept>,
    /// Containers that cannot be read, and why not, as it was told.
    unread: Mutex<BTreeMap<ContainerId, String>>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: BTreeMap<(ContainerId, Style), Line>,
    /// How many there were when those whose view is gone were looked for last.
    alive: usize,
    /// How long they are, in bytes.
    bytes: usize,
}

#[derive(Debug)]
struct Line {
    /// Its memory is nobody else's while this is here, so that a view at the same place is this one.
    view: Weak<ContainerView>,
    status: String,
    json: Box<[u8]>,
}

impl Kept {
    fn keep(&mut self, key: (ContainerId, Style), line: Line) {
        if let Some(before) = self.lines.remove(&key) {
            self.bytes -= before.len();
        }
        // When there are twice as many, so that lists are not slow for it.
        let is_full =
            |kept: &Self| kept.lines.len() >= MANY || kept.bytes + line.len() > MOST_BYTES;
        if self.lines.len() >= FEW.max(self.alive * 2) || is_full(self) {
            let (was_full, before) = (is_full(self), self.lines.len());
            self.sweep();
            // To look through all of them for each that is new would be slower than to make them anew.
            if is_full(self) || was_full && self.lines.len() * 4 > before * 3 {
                *self = Self::default();
            }
        }
        self.bytes += line.len();
        self.lines.insert(key, line);
    }

    /// Lets go of those whose view is gone.
    fn sweep(&mut self) {
        self.lines.retain(|_, line| line.view.strong_count() > 0);
        self.alive = self.lines.len();
        self.bytes = self.lines.values().map(Line::len).sum();
    }
}

impl Line {
    fn len(&self) -> usize {
        self.json.len()
    }

    fn is_of(&self, view: &Arc<ContainerView>, status: &str) -> bool {
        std::ptr::eq(self.view.as_ptr(), Arc::as_ptr(view)) && self.status == status
    }
}

impl Lines {
    /// Adds a container to a list.
    pub(crate) fn add(
        &self,
        list: &mut JsonList,
        view: &Arc<ContainerView>,
        style: Style,
        now: Timestamp,
    ) {
        let status = raise::status_text(view, now);
        let key = (view.id, style);
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = kept.lines.get(&key)
                && line.is_of(view, &status)
            {
                list.push_text(&line.json);
                return;
            }
        }
        let mut summary = raise::summary(view, None, now, style.ports);
        quirks::container_summary(style.api, &mut summary);
        let json = list.push(&summary).into();
        let line = Line { view: Arc::downgrade(view), status, json };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).keep(key, line);
    }

    /// Forgets all of them: nobody has listed for a while.
    pub(crate) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }

    /// Whether it is news that a container cannot be read for this reason.
    pub(crate) fn is_news(&self, unread: &UnreadView) -> bool {
        let mut known = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&unread.id) == Some(&unread.why) {
            return false;
        }
        if known.len() >= FEW {
            known.clear();
        }
        known.insert(unread.id, unread.why.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use model::ExitCode;
    use serde_json::Value;

    use crate::raise::tests::{PLAIN, at, running};

    fn style(api: u32, ports: PortList) -> Style {
        Style { api: ApiVersion::one(api), ports }
    }

    /// What is sent of a container, which is what is made of it afresh.
    #[track_caller]
    fn sent(lines: &Lines, view: &Arc<ContainerView>, style: Style, now: Timestamp) -> Value {
        let of = |lines: &Lines| {
            let mut list = JsonList::default();
            lines.add(&mut list, view, style, now);
            serde_json::from_slice::<Value>(&list.bytes()).unwrap()
        };
        let fresh = of(&Lines::default());
        assert_eq!((of(lines), of(lines)), (fresh.clone(), fresh.clone()));
        fresh[0].clone()
    }

    #[test]
    fn a_line_that_is_kept_is_the_one_that_would_be_made() {
        let lines = Lines::default();
        let mut view = running(PLAIN);
        view.spec.annotations.insert("a".to_owned(), "b".to_owned());
        let view = Arc::new(view);
        let each = style(43, PortList::Each);
        assert_eq!(sent(&lines, &view, each, at(3))["Status"], "Up 2 seconds");
        assert_eq!(sent(&lines, &view, each, at(4))["Status"], "Up 3 seconds");
        assert_eq!(sent(&lines, &view, each, at(3))["Status"], "Up 2 seconds");
        assert!(sent(&lines, &view, each, at(3))["HostConfig"].get("Annotations").is_none());
        // Another client's.
        let newer = style(46, PortList::Ranges);
        assert_eq!(sent(&lines, &view, newer, at(3))["HostConfig"]["Annotations"]["a"], "b");
        assert!(sent(&lines, &view, each, at(3))["HostConfig"].get("Annotations").is_none());
        // The same container, whose words are those of before.
        let mut renamed = ContainerView::clone(&view);
        renamed.name = "other".parse().unwrap();
        assert_eq!(sent(&lines, &Arc::new(renamed), each, at(3))["Names"][0], "/other");
        assert_eq!(sent(&lines, &view, each, at(3))["Names"][0], "/web");
    }

    #[test]
    fn lines_go_with_their_views() {
        let lines = Lines::default();
        let mut list = JsonList::default();
        let id = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            ContainerId::from_random(bytes)
        };
        let view = running(PLAIN);
        for n in 0..10 * FEW {
            let view = Arc::new(ContainerView { id: id(n), ..view.clone() });
            lines.add(&mut list, &view, style(43, PortList::Each), at(3));
        }
        assert!(lines.kept.lock().unwrap().lines.len() <= FEW);
        let alive: Vec<_> =
            (0..2 * FEW).map(|n| Arc::new(ContainerView { id: id(n), ..view.clone() })).collect();
        for view in &alive {
            lines.add(&mut list, view, style(43, PortList::Each), at(3));
        }
        assert!(lines.kept.lock().unwrap().lines.len() >= alive.len());
    }

    #[test]
    fn lines_stay_few_where_most_views_live_on() {
        let mut kept = Kept::default();
        let view = Arc::new(running(PLAIN));
        let keep = |kept: &mut Kept, n: u32, view: &Arc<ContainerView>, len: usize| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            let json = vec![b' '; len].into();
            let line = Line { view: Arc::downgrade(view), status: String::new(), json };
            let key = (ContainerId::from_random(bytes), style(43, PortList::Each));
            kept.keep(key, line);
            assert!(kept.lines.len() <= MANY && kept.bytes <= MOST_BYTES);
            assert_eq!(kept.bytes, kept.lines.values().map(Line::len).sum::<usize>());
        };
        let most = u32::try_from(MANY).unwrap();
        (0..most).for_each(|n| keep(&mut kept, n, &view, 1));
        // The next lines are of others: those of before go, and the new ones are kept.
        drop(view);
        let other = Arc::new(running(PLAIN));
        (most..2 * most).for_each(|n| keep(&mut kept, n, &other, 1));
        assert_eq!(kept.lines.len(), MANY);
        // Nothing goes by itself then, and still the newest are kept.
        keep(&mut kept, 2 * most, &other, 1);
        assert_eq!(kept.lines.len(), 1);
        (0..9).for_each(|n| keep(&mut kept, n, &other, MOST_BYTES / 4));
        assert!((1..=4).contains(&kept.lines.len()));
    }

    #[test]
    fn what_cannot_be_read_is_told_once() {
        let lines = Lines::default();
        let mut unread = UnreadView {
            id: ContainerId::from_random([1; 32]),
            name: "web".parse().unwrap(),
            created: at(0),
            image: None,
            life: Some(model::Life::Exited {
                code: ExitCode(1),
                since: at(0),
                at: at(1),
                oom: false,
            }),
            at_rest: None,
            why: "a".to_owned(),
        };
        assert!(lines.is_news(&unread) && !lines.is_news(&unread));
        let summary = raise::unread(&unread, at(3), PortList::Each);
        assert_eq!((summary.state.as_str(), summary.names), ("exited", vec!["/web".to_owned()]));
        assert_eq!(summary.status, "Exited (1) 2 seconds ago (unreadable)");
        unread.life = None;
        let summary = raise::unread(&unread, at(3), PortList::Each);
        assert_eq!((summary.state.as_str(), summary.status.as_str()), ("dead", "Unreadable"));
        // Its record can be read, and its shim's file cannot.
        unread.at_rest = Some(Arc::new(running(PLAIN)));
        let summary = raise::unread(&unread, at(3), PortList::Each);
        assert_eq!((summary.state.as_str(), summary.status.as_str()), ("dead", "Unreadable"));
        assert_eq!(summary.image, unread.at_rest.as_ref().unwrap().image_name);
        unread.why = "b".to_owned();
        assert!(lines.is_news(&unread));
    }
}
