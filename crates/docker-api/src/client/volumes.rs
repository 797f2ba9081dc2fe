//! Operations on volumes.

use http::Method;

use super::{Call, Client, Raw};
use crate::error::ApiError;
use crate::query::{Filters, Query, segment};
use crate::stream::{ByteStream, Upload};
use crate::types::Map;
use crate::types::volumes::{
    Volume, VolumeCloned, VolumeCreate, VolumeList, VolumeUpdate, VolumesPruned,
};

fn own(name: &str, verb: &str) -> String {
    format!("/dhow/volumes/{}/{verb}", segment(name))
}

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

    /// Makes a volume `to` that has what another one has (dhow's own).
    pub async fn volume_clone(
        &self,
        name: &str,
        to: &str,
        users: Users,
    ) -> Result<VolumeCloned, ApiError> {
        let query = Query::default().set("to", to).flag("pause", users == Users::Pause);
        self.fetch(Call::post(own(name, "clone")).query(query)).await
    }

    /// A volume as an archive (dhow's own): `zstd`, `gzip`, or `none`.
    pub async fn volume_export(
        &self,
        name: &str,
        compression: &str,
        users: Users,
    ) -> Result<ByteStream, ApiError> {
        let query = Query::default().set("compression", compression);
        let query = query.flag("pause", users == Users::Pause);
        let call = Call::get(own(name, "archive")).query(query);
        Ok(ByteStream::new(self.stream(call).await?.into_body()))
    }

    /// Makes a volume of such an archive (dhow's own).
    pub async fn volume_import(
        &self,
        name: &str,
        (labels, options): (&Map<String>, &Map<String>),
        archive: Upload,
    ) -> Result<Volume, ApiError> {
        let json = |map: &Map<String>| serde_json::to_string(map).ok();
        let some = |map: &Map<String>| json(map).filter(|_| !map.is_empty());
        let query = Query::default().maybe("labels", some(labels)).maybe("options", some(options));
        let call = Call::new(Method::PUT, own(name, "archive")).query(query);
        self.fetch(call.upload("application/x-tar", archive)).await
    }

    /// Gives a volume another name (dhow's own).
    pub async fn volume_rename(&self, name: &str, to: &str) -> Result<(), ApiError> {
        let call = Call::post(own(name, "rename")).query(Query::default().set("name", to));
        self.done(call).await.map(drop)
    }

    /// Changes the labels of a volume (dhow's own).
    pub async fn volume_update(
        &self,
        name: &str,
        update: &VolumeUpdate,
    ) -> Result<Volume, ApiError> {
        self.fetch(Call::post(own(name, "update")).json(update)).await
    }
}

/// What becomes of the containers that use a volume while all of it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Users {
    /// They go on.
    #[default]
    Run,
    /// They stand still.
    Pause,
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
