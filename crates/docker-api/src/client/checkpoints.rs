//! Operations on a container's checkpoints.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::containers::{Changed, path};
use super::{Call, Client};
use crate::error::ApiError;
use crate::query::Query;
use crate::stream::{ByteStream, Upload};
use crate::types::checkpoints::{Checkpoint, CheckpointCreate};

fn carried(id: &str, name: &str) -> String {
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("/dhow{}", path(id, &format!("/checkpoints/{name}")))
}

impl Client {
    /// Writes a container that runs down.
    pub async fn checkpoint_create(
        &self,
        id: &str,
        request: &CheckpointCreate,
    ) -> Result<(), ApiError> {
        self.done(Call::post(path(id, "/checkpoints")).json(request)).await.map(drop)
    }

    /// A container's checkpoints; `dir` where they are not with the container.
    pub async fn checkpoint_list(
        &self,
        id: &str,
        dir: Option<&str>,
    ) -> Result<Vec<Checkpoint>, ApiError> {
        let call = Call::get(path(id, "/checkpoints")).query(Query::default().maybe("dir", dir));
        let list: Option<Vec<Checkpoint>> = self.fetch(call).await?;
        Ok(list.unwrap_or_default())
    }

    /// Removes a checkpoint.
    pub async fn checkpoint_remove(
        &self,
        id: &str,
        name: &str,
        dir: Option<&str>,
    ) -> Result<(), ApiError> {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let call = Call::new(Method::DELETE, path(id, &format!("/checkpoints/{name}")));
        self.done(call.query(Query::default().maybe("dir", dir))).await.map(drop)
    }

    /// A checkpoint as an archive (dhow's own).
    pub async fn checkpoint_export(
        &self,
        id: &str,
        name: &str,
        dir: Option<&str>,
    ) -> Result<ByteStream, ApiError> {
        let call = Call::get(carried(id, name)).query(Query::default().maybe("dir", dir));
        Ok(ByteStream::new(self.stream(call).await?.into_body()))
    }

    /// Takes a checkpoint from such an archive (dhow's own).
    pub async fn checkpoint_import(
        &self,
        id: &str,
        name: &str,
        dir: Option<&str>,
        archive: Upload,
    ) -> Result<(), ApiError> {
        let call = Call::new(Method::PUT, carried(id, name));
        let call = call.query(Query::default().maybe("dir", dir));
        self.done(call.upload("application/x-tar", archive)).await.map(drop)
    }

    /// Starts a container from a checkpoint.
    pub async fn container_start_from(
        &self,
        id: &str,
        checkpoint: &str,
        dir: Option<&str>,
    ) -> Result<Changed, ApiError> {
        let query = Query::default().set("checkpoint", checkpoint).maybe("checkpoint-dir", dir);
        Ok(self.done(Call::post(path(id, "/start")).query(query)).await?.into())
    }
}
