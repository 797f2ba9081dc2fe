//! Operations on networks.

use super::volumes::Force;
use super::{Call, Client, Raw};
use crate::error::ApiError;
use crate::query::{Filters, Query, segment};
use crate::types::firewall::Firewall;
use crate::types::networks::{
    Network, NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworksPruned,
};

impl Client {
    /// Networks, the built-in ones among them.
    pub async fn network_list(&self, filters: &Filters) -> Result<Vec<Network>, ApiError> {
        self.fetch(Call::get("/networks").query(Query::default().filters(filters))).await
    }

    /// Makes a network.
    pub async fn network_create(
        &self,
        request: &NetworkCreate,
    ) -> Result<NetworkCreated, ApiError> {
        self.fetch(Call::post("/networks/create").json(request)).await
    }

    /// Removes a network; `force` does not mind if there is none.
    pub async fn network_remove(&self, name: &str, force: Force) -> Result<(), ApiError> {
        let removed = self.done(Call::delete(format!("/networks/{}", segment(name)))).await;
        match removed {
            Err(error) if force == Force::Yes && error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Everything about a network.
    pub async fn network_inspect(&self, name: &str) -> Result<Raw<Network>, ApiError> {
        self.fetch_raw(Call::get(format!("/networks/{}", segment(name)))).await
    }

    /// Removes networks that no container uses.
    pub async fn network_prune(&self, filters: &Filters) -> Result<NetworksPruned, ApiError> {
        self.fetch(Call::post("/networks/prune").query(Query::default().filters(filters))).await
    }

    /// What is open to whom (dhow's own).
    pub async fn firewall(&self) -> Result<Firewall, ApiError> {
        self.fetch(Call::get("/dhow/firewall")).await
    }

    /// Connects a container to a network.
    pub async fn network_connect(
        &self,
        name: &str,
        request: &NetworkConnect,
    ) -> Result<(), ApiError> {
        let path = format!("/networks/{}/connect", segment(name));
        self.done(Call::post(path).json(request)).await.map(drop)
    }

    /// Disconnects a container from a network.
    pub async fn network_disconnect(
        &self,
        name: &str,
        request: &NetworkDisconnect,
    ) -> Result<(), ApiError> {
        let path = format!("/networks/{}/disconnect", segment(name));
        self.done(Call::post(path).json(request)).await.map(drop)
    }
}
