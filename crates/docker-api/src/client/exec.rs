//! Operations on additional processes.

use super::{Call, Client, Raw};
use crate::error::ApiError;
use crate::query::{Query, container_segment, segment};
use crate::stream::Attached;
use crate::types::IdResponse;
use crate::types::exec::{ExecCreate, ExecInspect, ExecStart, ExecSummary};

fn path(id: &str, verb: &str) -> String {
    format!("/exec/{}{verb}", segment(id))
}

impl Client {
    /// Describes a process to run in a container; it does not run yet.
    pub async fn exec_create(
        &self,
        container: &str,
        request: &ExecCreate,
    ) -> Result<String, ApiError> {
        let path = format!("/containers/{}/exec", container_segment(container));
        let created: IdResponse = self.fetch(Call::post(path).json(request)).await?;
        Ok(created.id)
    }

    /// Starts it, connected to its streams.
    pub async fn exec_start(&self, id: &str, request: &ExecStart) -> Result<Attached, ApiError> {
        self.hijack(Call::post(path(id, "/start")).json(request)).await
    }

    /// Starts it, and leaves it alone. `detach` of the request is set.
    pub async fn exec_start_detached(&self, id: &str, request: &ExecStart) -> Result<(), ApiError> {
        let request = ExecStart { detach: true, ..request.clone() };
        self.done(Call::post(path(id, "/start")).json(&request)).await.map(drop)
    }

    /// Whether it runs, and its exit code.
    pub async fn exec_inspect(&self, id: &str) -> Result<Raw<ExecInspect>, ApiError> {
        self.fetch_raw(Call::get(path(id, "/json"))).await
    }

    /// Those of a container that run, and the last that have ended (dhow's own).
    pub async fn exec_list(&self, container: &str) -> Result<Vec<ExecSummary>, ApiError> {
        self.fetch(Call::get(format!("/dhow/containers/{}/execs", container_segment(container))))
            .await
    }

    /// Sends a signal to it and to all that it has started (dhow's own).
    pub async fn exec_kill(&self, id: &str, signal: &str) -> Result<(), ApiError> {
        let query = Query::default().set("signal", signal);
        let path = format!("/dhow{}", path(id, "/kill"));
        self.done(Call::post(path).query(query)).await.map(drop)
    }

    /// Lets it go on when the connection of its client ends (dhow's own).
    pub async fn exec_keep(&self, id: &str) -> Result<(), ApiError> {
        self.done(Call::post(format!("/dhow{}", path(id, "/keep")))).await.map(drop)
    }

    /// Sets the size of its terminal.
    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<(), ApiError> {
        let query = Query::default().set("h", height.to_string()).set("w", width.to_string());
        self.done(Call::post(path(id, "/resize")).query(query)).await.map(drop)
    }
}
