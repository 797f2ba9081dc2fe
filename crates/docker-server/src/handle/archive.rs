//! `cp`: what is at a path of a container, as an archive out and in.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_api::types::containers::{PATH_STAT, PathStat as Wire};
use engine::view::{CopyIn, CopyOwner, PathStat};
use http::{HeaderName, HeaderValue, StatusCode};
use model::NameOrId;
use tokio::sync::{mpsc, oneshot};

use super::transfer::{PieceWriter, gone};
use crate::call::{Call, apart, lasting};
use crate::error::HttpError;
use crate::raise;
use crate::reply::{self, Reply, TAR};

/// `HEAD /containers/{id}/archive`
pub(super) async fn stat(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let path = path(call)?;
    let stat = call.run(move |engine| engine.path_stat(&who, &path)).await?;
    Ok(with_stat(reply::empty(StatusCode::OK), &stat))
}

/// `GET /containers/{id}/archive`
pub(super) async fn get(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let path = path(&call)?;
    let (begun, hear) = oneshot::channel();
    let (send, pieces) = mpsc::channel(2);
    let engine = call.engine.clone();
    lasting(move || {
        let mut begun = Some(begun);
        let mut to = PieceWriter::new(send.clone());
        let mut tell = |stat: PathStat| {
            // Who asked may have gone; the archive runs into nothing then.
            let _ = begun.take().map(|begun| begun.send(Ok(stat)));
        };
        let ended = match engine.copy_out(&who, &path, &mut tell, &mut to) {
            Ok(()) => to.flush(),
            Err(error) => match begun.take() {
                Some(begun) => begun
                    .send(Err(HttpError::from(error)))
                    .map_err(|_| io::ErrorKind::BrokenPipe.into()),
                // Breaks the connection off: a client must not take a part for the whole.
                None => send.blocking_send(Err(io::Error::other(error))).map_err(gone),
            },
        };
        drop(ended);
    })?;
    let begun = hear.await.map_err(|_| HttpError::internal("the operation did not end"))?;
    Ok(with_stat(reply::stream(TAR, pieces), &begun?))
}

/// `PUT /containers/{id}/archive`
pub(super) async fn put(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let copy = CopyIn {
        path: path(&call)?,
        keep_kinds: call.query.flag("noOverwriteDirNonDir"),
        owner: if call.query.flag("copyUIDGID") {
            CopyOwner::ContainersUser
        } else {
            CopyOwner::Archived
        },
    };
    let engine = call.engine.clone();
    let (reader, pump) = call.into_reader();
    tokio::spawn(pump);
    apart(move || engine.copy_in(&who, &copy, reader)).await??;
    Ok(reply::empty(StatusCode::OK))
}

fn path(call: &Call) -> Result<String, HttpError> {
    // The missing blank is Docker's.
    let missing = || HttpError::bad_request("bad parameter: pathcannot be empty");
    call.query.get("path").map(str::to_owned).ok_or_else(missing)
}

fn with_stat(mut reply: Reply, stat: &PathStat) -> Reply {
    let wire: Wire = raise::path_stat(stat);
    let text = STANDARD.encode(serde_json::to_vec(&wire).unwrap_or_default());
    if let Ok(value) = HeaderValue::from_str(&text) {
        reply.headers_mut().insert(HeaderName::from_static(PATH_STAT), value);
    }
    reply
}
