//! What happened, in Docker's shape.

use docker_api::types::system::{Event as Wire, EventActor};
use model::{Event, EventKind};

/// One event. Old clients read `status`, `id` and `from` instead of the rest.
pub(crate) fn event(event: &Event) -> Wire {
    let (is_container, is_image) =
        (event.kind == EventKind::Container, event.kind == EventKind::Image);
    let old = |text: &str| if is_container || is_image { text.to_owned() } else { String::new() };
    let from = event.attributes.get("image").filter(|_| is_container);
    Wire {
        status: old(&event.action),
        id: old(&event.actor),
        from: from.cloned().unwrap_or_default(),
        kind: event.kind.word().to_owned(),
        action: event.action.clone(),
        actor: EventActor {
            id: event.actor.clone(),
            attributes: event.attributes.clone().into_iter().collect(),
        },
        scope: "local".to_owned(),
        time: event.at.as_second(),
        time_nano: i64::try_from(event.at.as_nanosecond()).unwrap_or(i64::MAX),
    }
}
