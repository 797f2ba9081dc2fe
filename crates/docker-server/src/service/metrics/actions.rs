//! How long what clients ask for takes, by Docker's names of it.
//!
//! Docker's daemon does everything itself; here commands do as well, which this process hears of by the journal
//! alone (`told.rs`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Text;
use crate::params::Query;
use crate::route::{ContainerRoute, ImageRoute, Route};

/// The longest that a bucket is for, in seconds: as Prometheus' own libraries have them.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What Docker's daemon counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// On a container.
    Container(&'static str),
    /// On an image.
    Image(&'static str),
}

/// Those that Docker shows before anybody has asked for one.
const ALWAYS: [&str; 5] = ["changes", "commit", "create", "delete", "start"];

impl Action {
    /// What a request asks for, if it is counted.
    pub(crate) fn of(route: &Route, query: Option<&Query>) -> Option<Self> {
        use {ContainerRoute as C, ImageRoute as I};
        if let Route::Container(_, operation) = route {
            let all = [(C::Start, "start"), (C::Changes, "changes"), (C::Remove, "delete")];
            let found = all.into_iter().find(|(one, _)| one == operation);
            return found.map(|(_, word)| Self::Container(word));
        }
        if let Route::Image(_, operation) = route {
            let all = [(I::Push, "push"), (I::History, "history"), (I::Remove, "delete")];
            let found = all.into_iter().find(|(one, _)| one == operation);
            return found.map(|(_, word)| Self::Image(word));
        }
        let is_pull = query.is_some_and(|query| query.get("fromImage").is_some());
        let all = [
            (Route::ContainerCreate, Some(Self::Container("create"))),
            (Route::Commit, Some(Self::Container("commit"))),
            (Route::ImageCreate, is_pull.then_some(Self::Image("pull"))),
        ];
        all.into_iter().find(|(one, _)| one == route).and_then(|(_, action)| action)
    }
}

/// How long each of them took.
#[derive(Debug, Default)]
pub(super) struct Times(Mutex<BTreeMap<Action, Histogram>>);

#[derive(Debug, Clone, Copy, Default)]
struct Histogram {
    /// How many took so long and no longer than the bound, and longer than the one before it.
    counts: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
        self.count += 1;
        self.seconds += seconds;
    }
}

impl Times {
    pub(super) fn add(&self, action: Action, took: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.entry(action).or_default().add(took);
    }

    pub(super) fn render(&self, text: &mut Text) {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = "engine_daemon_container_actions_seconds";
        text.head(
            name,
            "histogram",
            "The number of seconds it takes to process each container action",
        );
        for action in ALWAYS {
            let histogram = times.get(&Action::Container(action)).copied().unwrap_or_default();
            text.histogram(name, action, &histogram);
        }
        let images = times.iter().filter_map(|(action, histogram)| match action {
            Action::Image(action) => Some((*action, histogram)),
            Action::Container(_) => None,
        });
        let mut images = images.peekable();
        if images.peek().is_some() {
            let name = "engine_daemon_image_actions_seconds";
            text.head(
                name,
                "histogram",
                "The number of seconds it takes to process each image action",
            );
            images.for_each(|(action, histogram)| text.histogram(name, action, histogram));
        }
    }
}

impl Text {
    fn histogram(&mut self, name: &str, action: &str, histogram: &Histogram) {
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for (bound, count) in BOUNDS.iter().zip(histogram.counts) {
            below += count;
            self.value(&bucket, &[("action", action), ("le", &bound.to_string())], below);
        }
        self.value(&bucket, &[("action", action), ("le", "+Inf")], histogram.count);
        self.value(&format!("{name}_sum"), &[("action", action)], histogram.seconds);
        self.value(&format!("{name}_count"), &[("action", action)], histogram.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_below_them() {
        let times = Times::default();
        for millis in [3, 5, 400, 60_000] {
            times.add(Action::Container("start"), Duration::from_millis(millis));
        }
        times.add(Action::Image("pull"), Duration::from_secs(1));
        let mut text = Text(String::new());
        times.render(&mut text);
        let has = |line: &str| assert!(text.0.lines().any(|one| one == line), "{line}: {}", text.0);
        for (le, count) in [("0.005", 2), ("0.25", 2), ("0.5", 3), ("1", 3), ("10", 3), ("+Inf", 4)]
        {
            has(&format!(
                "engine_daemon_container_actions_seconds_bucket{{action=\"start\",le=\"{le}\"}} {count}"
            ));
        }
        has("engine_daemon_container_actions_seconds_sum{action=\"start\"} 60.408");
        has("engine_daemon_container_actions_seconds_count{action=\"delete\"} 0");
        has("engine_daemon_image_actions_seconds_count{action=\"pull\"} 1");
    }
}
