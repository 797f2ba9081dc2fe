//! Operations on containers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;

use super::{Call, Client, Raw, framing};
use crate::error::ApiError;
use crate::json;
use crate::query::{
    AttachQuery, CommitContainer, Filters, ListContainers, LogsQuery, PutArchive, Query,
    RemoveContainer, StopOptions, WaitCondition, container_segment,
};
use crate::stream::{Attached, ByteStream, JsonStream, LogStream, Upload};
use crate::types::IdResponse;
use crate::types::containers::{
    ContainerInspect, ContainerSummary, ContainersPruned, CreateContainer, CreateResponse,
    FilesystemChange, PATH_STAT, PathStat, TopResponse, UpdateContainer, UpdateResponse,
    WaitResponse,
};
use crate::types::stats::Stats;

/// Whether a call changed anything: Docker answers 304 when there was nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It did.
    Yes,
    /// It was so already.
    Already,
}

impl From<StatusCode> for Changed {
    fn from(status: StatusCode) -> Self {
        if status == StatusCode::NOT_MODIFIED { Self::Already } else { Self::Yes }
    }
}

/// A `wait` that the server has accepted.
#[derive(Debug)]
pub struct Waiting(JsonStream<WaitResponse>);

impl Waiting {
    /// Waits for the condition.
    pub async fn finish(mut self) -> Result<WaitResponse, ApiError> {
        self.0.next().await?.ok_or(ApiError::StreamJson(json::JsonError::Eof))
    }
}

fn path_stat(response: &Response<Incoming>) -> Result<PathStat, json::JsonError> {
    let text = response.headers().get(PATH_STAT).map(HeaderValue::as_bytes).unwrap_or_default();
    json::parse_reply(&STANDARD.decode(text).unwrap_or_default())
}

pub(super) fn path(id: &str, verb: &str) -> String {
    format!("/containers/{}{verb}", container_segment(id))
}

impl Client {
    /// Creates a container; `platform` is `os/arch[/variant]`.
    pub async fn container_create(
        &self,
        request: &CreateContainer,
        name: Option<&str>,
        platform: Option<&str>,
    ) -> Result<CreateResponse, ApiError> {
        let query = Query::default().maybe("name", name).maybe("platform", platform);
        self.fetch(Call::post("/containers/create").query(query).json(request)).await
    }

    /// Starts a container.
    pub async fn container_start(
        &self,
        id: &str,
        detach_keys: Option<&str>,
    ) -> Result<Changed, ApiError> {
        let query = Query::default().maybe("detachKeys", detach_keys);
        Ok(self.done(Call::post(path(id, "/start")).query(query)).await?.into())
    }

    /// Stops a container: its signal, then, after a while, SIGKILL.
    pub async fn container_stop(
        &self,
        id: &str,
        options: &StopOptions,
    ) -> Result<Changed, ApiError> {
        let call = Call::post(path(id, "/stop")).query(options.query());
        Ok(self.done(call).await?.into())
    }

    /// Stops and starts a container.
    pub async fn container_restart(&self, id: &str, options: &StopOptions) -> Result<(), ApiError> {
        self.done(Call::post(path(id, "/restart")).query(options.query())).await.map(drop)
    }

    /// Sends a signal, by name or number; none is SIGKILL.
    pub async fn container_kill(&self, id: &str, signal: Option<&str>) -> Result<(), ApiError> {
        let query = Query::default().maybe("signal", signal);
        self.done(Call::post(path(id, "/kill")).query(query)).await.map(drop)
    }

    /// Removes a container.
    pub async fn container_remove(
        &self,
        id: &str,
        options: RemoveContainer,
    ) -> Result<(), ApiError> {
        self.done(Call::delete(path(id, "")).query(options.query())).await.map(drop)
    }

    /// Containers, newest first.
    pub async fn container_list(
        &self,
        options: &ListContainers,
    ) -> Result<Vec<ContainerSummary>, ApiError> {
        self.fetch(Call::get("/containers/json").query(options.query())).await
    }

    /// Removes containers that do not run.
    pub async fn container_prune(&self, filters: &Filters) -> Result<ContainersPruned, ApiError> {
        self.fetch(Call::post("/containers/prune").query(Query::default().filters(filters))).await
    }

    /// Everything about a container.
    pub async fn container_inspect(&self, id: &str) -> Result<Raw<ContainerInspect>, ApiError> {
        self.fetch_raw(Call::get(path(id, "/json"))).await
    }

    /// Everything about a container, its bytes counted.
    pub async fn container_inspect_size(
        &self,
        id: &str,
    ) -> Result<Raw<ContainerInspect>, ApiError> {
        let query = Query::default().flag("size", true);
        self.fetch_raw(Call::get(path(id, "/json")).query(query)).await
    }

    /// Returns when the server has begun to wait, so that nothing after this call is missed.
    pub async fn container_wait(
        &self,
        id: &str,
        condition: WaitCondition,
    ) -> Result<Waiting, ApiError> {
        let query = Query::default().set("condition", condition.as_str());
        let response = self.stream(Call::post(path(id, "/wait")).query(query)).await?;
        Ok(Waiting(JsonStream::new(response.into_body())))
    }

    /// What a container has written.
    pub async fn container_logs(
        &self,
        id: &str,
        options: &LogsQuery,
    ) -> Result<LogStream, ApiError> {
        let call = Call::get(path(id, "/logs")).query(options.query());
        let response = self.stream(call).await?;
        let framing = framing(&response);
        Ok(LogStream::new(response.into_body(), framing))
    }

    /// What a container has written that was removed: dhow's own.
    pub async fn previous_logs(
        &self,
        name: &str,
        options: &LogsQuery,
    ) -> Result<LogStream, ApiError> {
        let path = format!("/dhow/previous/{}/logs", container_segment(name));
        let response = self.stream(Call::get(path).query(options.query())).await?;
        let framing = framing(&response);
        Ok(LogStream::new(response.into_body(), framing))
    }

    /// Connects to the streams of a container, which need not run yet.
    pub async fn container_attach(
        &self,
        id: &str,
        options: &AttachQuery,
    ) -> Result<Attached, ApiError> {
        self.hijack(Call::post(path(id, "/attach")).query(options.query())).await
    }

    /// Sets the size of a container's terminal.
    pub async fn container_resize(
        &self,
        id: &str,
        height: u16,
        width: u16,
    ) -> Result<(), ApiError> {
        let query = Query::default().set("h", height.to_string()).set("w", width.to_string());
        self.done(Call::post(path(id, "/resize")).query(query)).await.map(drop)
    }

    /// Gives a container another name.
    pub async fn container_rename(&self, id: &str, name: &str) -> Result<(), ApiError> {
        let query = Query::default().set("name", name);
        self.done(Call::post(path(id, "/rename")).query(query)).await.map(drop)
    }

    /// Freezes a container.
    pub async fn container_pause(&self, id: &str) -> Result<(), ApiError> {
        self.done(Call::post(path(id, "/pause"))).await.map(drop)
    }

    /// Thaws a container.
    pub async fn container_unpause(&self, id: &str) -> Result<(), ApiError> {
        self.done(Call::post(path(id, "/unpause"))).await.map(drop)
    }

    /// The processes of a container.
    pub async fn container_top(
        &self,
        id: &str,
        ps_args: Option<&str>,
    ) -> Result<TopResponse, ApiError> {
        let query = Query::default().maybe("ps_args", ps_args);
        self.fetch(Call::get(path(id, "/top")).query(query)).await
    }

    /// What a container uses, once a second.
    pub async fn container_stats(&self, id: &str) -> Result<JsonStream<Stats>, ApiError> {
        let query = Query::default().flag("stream", true);
        let response = self.stream(Call::get(path(id, "/stats")).query(query)).await?;
        Ok(JsonStream::new(response.into_body()))
    }

    /// What a container uses, measured over one second.
    pub async fn container_stats_once(&self, id: &str) -> Result<Stats, ApiError> {
        let query = Query::default().set("stream", "0");
        self.fetch(Call::get(path(id, "/stats")).query(query)).await
    }

    /// Changes limits and the restart policy.
    pub async fn container_update(
        &self,
        id: &str,
        request: &UpdateContainer,
    ) -> Result<UpdateResponse, ApiError> {
        self.fetch(Call::post(path(id, "/update")).json(request)).await
    }

    /// What differs from the image.
    pub async fn container_changes(&self, id: &str) -> Result<Vec<FilesystemChange>, ApiError> {
        self.fetch(Call::get(path(id, "/changes"))).await
    }

    /// What is at a path of a container.
    pub async fn container_path_stat(&self, id: &str, at: &str) -> Result<PathStat, ApiError> {
        let query = Query::default().set("path", at);
        let call = Call::new(Method::HEAD, path(id, "/archive")).query(query);
        let reply = self.send(call).await?;
        let stat = path_stat(&reply.response).map_err(|e| reply.named.answer(e));
        self.finish(reply).await?;
        stat
    }

    /// What is at a path of a container, and the same as an archive.
    pub async fn container_archive(
        &self,
        id: &str,
        at: &str,
    ) -> Result<(PathStat, ByteStream), ApiError> {
        let query = Query::default().set("path", at);
        let reply = self.send(Call::get(path(id, "/archive")).query(query)).await?;
        let stat = path_stat(&reply.response).map_err(|e| reply.named.answer(e))?;
        Ok((stat, ByteStream::new(reply.response.into_body())))
    }

    /// Unpacks an archive in a directory of a container.
    pub async fn container_put_archive(
        &self,
        id: &str,
        options: &PutArchive,
        archive: Upload,
    ) -> Result<(), ApiError> {
        let call = Call::new(Method::PUT, path(id, "/archive")).query(options.query());
        self.done(call.upload("application/x-tar", archive)).await.map(drop)
    }

    /// Makes an image of a container.
    pub async fn container_commit(
        &self,
        options: &CommitContainer,
    ) -> Result<IdResponse, ApiError> {
        self.fetch(Call::post("/commit").query(options.query())).await
    }

    /// A container's file system as a tar archive.
    pub async fn container_export(&self, id: &str) -> Result<ByteStream, ApiError> {
        let response = self.stream(Call::get(path(id, "/export"))).await?;
        Ok(ByteStream::new(response.into_body()))
    }
}
