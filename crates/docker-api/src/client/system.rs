//! The server itself: ping, version, info, events.

use http::{HeaderMap, Method};

use super::{Call, Client, Raw};
use crate::error::ApiError;
use crate::query::Query;
use crate::query::{BuildPrune, EventsQuery};
use crate::stream::JsonStream;
use crate::types::system::{Event, Ping, ResetDone, StartDone, SystemInfo, SystemVersion};
use crate::types::usage::{BuildPruned, DiskUsage};

impl Client {
    /// Asks whether the server is there, and which API it speaks at most.
    pub async fn ping(&self) -> Result<Ping, ApiError> {
        let reply = self.send(Call::new(Method::GET, "/_ping")).await?;
        let headers = reply.response.headers().clone();
        self.finish(reply).await?;
        Ok(Ping {
            api_version: text(&headers, "Api-Version"),
            os_type: text(&headers, "Ostype"),
            builder_version: text(&headers, "Builder-Version"),
            server: text(&headers, "Server"),
        })
    }

    /// Versions of the server and its parts.
    pub async fn version(&self) -> Result<Raw<SystemVersion>, ApiError> {
        self.fetch_raw(Call::get("/version")).await
    }

    /// What the server is and runs on.
    pub async fn info(&self) -> Result<Raw<SystemInfo>, ApiError> {
        self.fetch_raw(Call::get("/info")).await
    }

    /// What containers, images, volumes and a builder's cache take on the disk.
    pub async fn disk_usage(&self) -> Result<DiskUsage, ApiError> {
        self.fetch(Call::get("/system/df")).await
    }

    /// What volumes take on the disk.
    pub async fn volumes_usage(&self) -> Result<DiskUsage, ApiError> {
        let query = Query::default().set("type", "volume");
        self.fetch(Call::get("/system/df").query(query)).await
    }

    /// Removes what a builder keeps in its cache and nothing needs.
    pub async fn build_prune(&self, options: &BuildPrune) -> Result<BuildPruned, ApiError> {
        self.fetch(Call::post("/build/prune").query(options.query())).await
    }

    /// Removes everything of the server's state: containers, images, volumes, networks, files
    /// (dhow's own; Docker has nothing of the kind).
    pub async fn reset(&self) -> Result<ResetDone, ApiError> {
        self.fetch(Call::new(Method::POST, "/dhow/reset")).await
    }

    /// Removes what killed processes have left (dhow's own).
    pub async fn reconcile(&self) -> Result<(), ApiError> {
        self.send_empty(Call::new(Method::POST, "/dhow/reconcile")).await
    }

    /// Starts the containers that should run (dhow's own).
    pub async fn start_wished(&self) -> Result<StartDone, ApiError> {
        self.fetch(Call::new(Method::POST, "/dhow/start")).await
    }

    async fn send_empty(&self, call: Call) -> Result<(), ApiError> {
        let reply = self.send(call).await?;
        self.finish(reply).await.map(drop)
    }

    /// What happens, as it happens.
    pub async fn events(&self, query: &EventsQuery) -> Result<JsonStream<Event>, ApiError> {
        let response = self.stream(Call::get("/events").query(query.query())).await?;
        Ok(JsonStream::new(response.into_body()))
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}
