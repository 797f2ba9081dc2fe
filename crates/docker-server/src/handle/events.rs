//! `GET /events`.

use std::io;

use bytes::Bytes;
use engine::EventReader;
use engine::view::EventQuery;
use tokio::sync::mpsc;

use crate::call::{Call, lasting_body};
use crate::error::HttpError;
use crate::filter::events::Events;
use crate::params::moment;
use crate::reply::{self, JSON, Reply};
use crate::service::metrics::told::Subscriber;
use crate::{quirks, raise};

/// Serves what has happened and what happens.
pub(super) async fn events(call: Call) -> Result<Reply, HttpError> {
    let filter = Events::parse(&call.query)?;
    let since = call.query.get("since").map(moment).transpose()?.flatten();
    let until = call.query.get("until").map(moment).transpose()?.flatten();
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(HttpError::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            call.query.get("since").unwrap_or_default(),
            call.query.get("until").unwrap_or_default()
        )));
    }
    // The reader stops when the reading end hangs up; the writing end goes with the reply's body.
    let (gone, hangup) =
        io::pipe().map_err(|error| HttpError::internal(format!("pipe: {error}")))?;
    let query = EventQuery { since, until, gone: gone.into() };
    let reader = call.run(move |engine| engine.events(query)).await?;
    let (api, subscriber) = (call.api, call.service.clone().map(Subscriber::new));
    let body = lasting_body(Some(hangup), move |send| {
        send_all(reader, &filter, api, send);
        drop(subscriber);
    })?;
    Ok(reply::gathered(JSON, body))
}

fn send_all(
    mut reader: EventReader,
    filter: &Events,
    api: quirks::ApiVersion,
    send: &mpsc::Sender<io::Result<Bytes>>,
) {
    loop {
        let event = match reader.read() {
            Ok(Some(event)) => event,
            Ok(None) => return,
            // The head has been sent: an error can only break the body off.
            Err(error) => {
                let _ = send.blocking_send(Err(io::Error::other(error)));
                return;
            }
        };
        if !quirks::tells_event(api, &event) || !filter.fit(&event) {
            continue;
        }
        let line = reply::line(&raise::event(&event));
        if send.blocking_send(Ok(line.into())).is_err() {
            return;
        }
    }
}
