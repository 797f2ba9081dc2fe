//! Operations on volumes.

use super::{Call, Client, Raw};
use crate::error::ApiError;
use crate::query::{Filters, Query, segment};
use crate::types::volumes::{Volume, VolumeCreate, VolumeList, VolumesPruned};

impl Client {
    /// Volumes.
    pub async fn volume_list(&self, filters: &Filters) -> Result<VolumeList, ApiError> {
        self.fetch(Call::get("/volumes").query(Query::default().filters(filters))).await
    }

    /// Creates a volume, or gives the one of that name.
    pub async fn volume_create(&self, request: &VolumeCreate) -> Result<Volume, ApiError> {
        self.fetch(Call::post("/volumes/create").json(request)).await
    }

    /// Everything about a volume.
    pub async fn volume_inspect(&self, name: &str) -> Result<Raw<Volume>, ApiError> {
        self.fetch_raw(Call::get(format!("/volumes/{}", segment(name)))).await
    }

    /// Removes a volume; `force` does not mind if there is none.
    pub async fn volume_remove(&self, name: &str, force: Force) -> Result<(), ApiError> {
        let query = Query::default().flag("force", force == Force::Yes);
        let call = Call::delete(format!("/volumes/{}", segment(name)));
        self.done(call.query(query)).await.map(drop)
    }

    /// Removes volumes that nothing uses; without filters the anonymous ones.
    pub async fn volume_prune(&self, filters: &Filters) -> Result<VolumesPruned, ApiError> {
        self.fetch(Call::post("/volumes/prune").query(Query::default().filters(filters))).await
    }
}

/// Whether a removal goes ahead where it would otherwise object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Force {
    /// Object.
    #[default]
    No,
    /// Go ahead.
    Yes,
}
