//! Which events are wanted.

use model::{Event, EventKind, Reference};

use super::FilterError;
use crate::params::{Filters, Query};

/// Filters of events. Those of swarm and plugins are known and fit nothing that happens here.
#[derive(Debug)]
pub(crate) struct Events(Filters);

impl Events {
    pub(crate) fn parse(query: &Query) -> Result<Self, FilterError> {
        let filters = query.filters(&[
            "config",
            "container",
            "daemon",
            "event",
            "image",
            "label",
            "network",
            "node",
            "plugin",
            "scope",
            "secret",
            "service",
            "type",
            "volume",
        ])?;
        Ok(Self(filters))
    }

    pub(crate) fn fit(&self, event: &Event) -> bool {
        let filters = &self.0;
        let named =
            |key, kind| filters.any(key, |wanted| event.kind == kind && is_called(event, wanted));
        filters.any("event", |wanted| action_fits(wanted, &event.action))
            && filters.any("type", |wanted| wanted == event.kind.word())
            && filters.any("scope", |wanted| wanted == "local")
            && named("container", EventKind::Container)
            && named("volume", EventKind::Volume)
            && named("network", EventKind::Network)
            && filters.any("image", |wanted| is_of_image(event, wanted))
            && filters.labels_fit(&event.attributes)
            && ["config", "daemon", "node", "plugin", "secret", "service"]
                .iter()
                .all(|key| !filters.has(key))
    }
}

/// By the whole action or by what stands before its colon: `exec_start` and `exec_start: ls`.
fn action_fits(wanted: &str, action: &str) -> bool {
    wanted == action || action.split_once(": ").is_some_and(|(verb, _)| verb == wanted)
}

/// By the beginning of the id or of the name, as Docker does.
fn is_called(event: &Event, wanted: &str) -> bool {
    event.actor.starts_with(wanted)
        || event.attributes.get("name").is_some_and(|name| name.starts_with(wanted))
}

/// An image's own events, and those of containers made of it; with or without its tag.
fn is_of_image(event: &Event, wanted: &str) -> bool {
    let name = match event.kind {
        EventKind::Image => event.attributes.get("name"),
        EventKind::Container => event.attributes.get("image"),
        EventKind::Network | EventKind::Volume => None,
    };
    let fits = |name: &String| {
        let parsed = name.parse::<Reference>();
        name == wanted || parsed.is_ok_and(|reference| reference.familiar_name() == wanted)
    };
    name.is_some_and(fits) || event.kind == EventKind::Image && event.actor == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, action: &str, attributes: &[(&str, &str)]) -> Event {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Event {
            kind,
            action: action.to_owned(),
            actor: "0123456789ab".to_owned(),
            attributes: attributes.iter().map(owned).collect(),
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn check(filters: &str, event: &Event, want: bool) {
        let query = Query::parse(&format!("filters={filters}")).unwrap();
        assert_eq!(Events::parse(&query).unwrap().fit(event), want, "{filters}");
    }

    #[test]
    fn filters_select() {
        let start = event(
            EventKind::Container,
            "exec_start: ls -l",
            &[("image", "busybox:1"), ("name", "web"), ("tier", "front")],
        );
        for (filters, want) in [
            (r#"{"event":["exec_start"]}"#, true),
            (r#"{"event":["exec_start: ls -l"]}"#, true),
            (r#"{"event":["exec"]}"#, false),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["0123"]}"#, true),
            (r#"{"container":["we"]}"#, true),
            (r#"{"container":["eb"]}"#, false),
            (r#"{"container":["webs"]}"#, false),
            (r#"{"image":["busybox"]}"#, true),
            (r#"{"image":["busybox:1"]}"#, true),
            (r#"{"image":["busybox:2"]}"#, false),
            (r#"{"label":["tier"]}"#, true),
            (r#"{"label":["tier=back"]}"#, false),
            (r#"{"type":["image","container"]}"#, true),
            (r#"{"type":["volume"]}"#, false),
            (r#"{"volume":["web"]}"#, false),
            (r#"{"node":["x"]}"#, false),
            (r#"{"type":["container"],"event":["die"]}"#, false),
        ] {
            check(filters, &start, want);
        }
        let pull = event(EventKind::Image, "pull", &[("name", "busybox")]);
        check(r#"{"image":["busybox"]}"#, &pull, true);
        check(r#"{"container":["busybox"]}"#, &pull, false);
    }
}
