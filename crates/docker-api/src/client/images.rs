//! Operations on images.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::{Call, Client, Raw};
use crate::error::ApiError;
use crate::query::{Filters, ImportImage, ListImages, Query, segment};
use crate::stream::{ByteStream, JsonStream, Upload};
use crate::types::images::{
    AuthConfig, DeleteItem, HistoryItem, ImageInspect, ImageSummary, ImagesPruned,
};
use crate::types::progress::Progress;
use crate::types::registries::{Authenticated, RegistryPlatform, SearchResult};

/// Who asks a registry: base64url of JSON.
const REGISTRY_AUTH: &str = "X-Registry-Auth";

fn registry_auth(auth: Option<&AuthConfig>) -> String {
    URL_SAFE.encode(serde_json::to_vec(&auth.cloned().unwrap_or_default()).unwrap_or_default())
}

fn path(name: &str, verb: &str) -> String {
    format!("/images/{}{verb}", segment(name))
}

/// Options of [`Client::image_remove`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveImage {
    /// Also if stopped containers use it or it has several names.
    pub force: bool,
    /// Keep its untagged parents.
    pub no_prune: bool,
}

impl Client {
    /// Images, newest first.
    pub async fn image_list(&self, options: &ListImages) -> Result<Vec<ImageSummary>, ApiError> {
        self.fetch(Call::get("/images/json").query(options.query())).await
    }

    /// Everything about an image.
    pub async fn image_inspect(&self, name: &str) -> Result<Raw<ImageInspect>, ApiError> {
        self.fetch_raw(Call::get(path(name, "/json"))).await
    }

    /// How an image came to be, newest step first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<HistoryItem>, ApiError> {
        self.fetch(Call::get(path(name, "/history"))).await
    }

    /// Gives an image one more name.
    pub async fn image_tag(&self, name: &str, repo: &str, tag: &str) -> Result<(), ApiError> {
        let query = Query::default().set("repo", repo).set("tag", tag);
        self.done(Call::post(path(name, "/tag")).query(query)).await.map(drop)
    }

    /// Takes a name from an image, and removes it with its last name.
    pub async fn image_remove(
        &self,
        name: &str,
        options: RemoveImage,
    ) -> Result<Vec<DeleteItem>, ApiError> {
        let query = Query::default().flag("force", options.force).flag("noprune", options.no_prune);
        self.fetch(Call::delete(path(name, "")).query(query)).await
    }

    /// Fetches an image. `tag` may be a digest; without one, all tags of the repository are meant.
    pub async fn image_pull(
        &self,
        repository: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<Progress>, ApiError> {
        let query = Query::default()
            .set("fromImage", repository)
            .maybe("tag", tag)
            .maybe("platform", platform);
        let call =
            Call::post("/images/create").query(query).header(REGISTRY_AUTH, registry_auth(auth));
        Ok(JsonStream::new(self.stream(call).await?.into_body()))
    }

    /// Sends an image to its registry; without a tag, all tags of the repository are meant. `platform` is text:
    /// `os[/architecture[/variant]]`.
    pub async fn image_push(
        &self,
        repository: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<Progress>, ApiError> {
        let platform = platform.map(|platform| RegistryPlatform::of(platform).to_json());
        let query = Query::default().maybe("tag", tag).maybe("platform", platform.as_deref());
        let call = Call::post(path(repository, "/push"))
            .query(query)
            .header(REGISTRY_AUTH, registry_auth(auth));
        Ok(JsonStream::new(self.stream(call).await?.into_body()))
    }

    /// Has the server ask a registry whether it lets somebody in.
    pub async fn registry_login(&self, auth: &AuthConfig) -> Result<Authenticated, ApiError> {
        self.fetch(Call::post("/auth").json(auth)).await
    }

    /// Looks for words in Docker Hub, or in the registry that they begin with.
    pub async fn image_search(
        &self,
        term: &str,
        limit: Option<u32>,
        filters: &Filters,
        auth: Option<&AuthConfig>,
    ) -> Result<Vec<SearchResult>, ApiError> {
        let limit = limit.map(|limit| limit.to_string());
        let query =
            Query::default().set("term", term).maybe("limit", limit.as_deref()).filters(filters);
        let call =
            Call::get("/images/search").query(query).header(REGISTRY_AUTH, registry_auth(auth));
        self.fetch(call).await
    }

    /// Makes an image of a tar archive of a file system.
    pub async fn image_import(
        &self,
        options: &ImportImage,
        archive: Upload,
    ) -> Result<JsonStream<Progress>, ApiError> {
        let call = Call::post("/images/create")
            .query(options.query())
            .upload("application/x-tar", archive);
        Ok(JsonStream::new(self.stream(call).await?.into_body()))
    }

    /// The platform of an archive: JSON since 1.48, where there was none before but dhow's, which is text.
    fn archived(&self, platform: &str) -> String {
        if self.speaks(48) {
            return RegistryPlatform::of(platform).to_json();
        }
        platform.to_owned()
    }

    /// Loads the images of an archive that [`Client::image_save`] or another tool made.
    pub async fn image_load(
        &self,
        archive: Upload,
        platform: Option<&str>,
    ) -> Result<JsonStream<Progress>, ApiError> {
        let platform = platform.map(|platform| self.archived(platform));
        let query = Query::default().set("quiet", "0").maybe("platform", platform.as_deref());
        let call = Call::post("/images/load").query(query).upload("application/x-tar", archive);
        Ok(JsonStream::new(self.stream(call).await?.into_body()))
    }

    /// Images as an archive.
    pub async fn image_save(
        &self,
        names: &[&str],
        platform: Option<&str>,
    ) -> Result<ByteStream, ApiError> {
        let mut query = Query::default();
        for name in names {
            query = query.set("names", name);
        }
        let platform = platform.map(|platform| self.archived(platform));
        let query = query.maybe("platform", platform.as_deref());
        let call = Call::get("/images/get").query(query);
        Ok(ByteStream::new(self.stream(call).await?.into_body()))
    }

    /// Removes images that nothing uses; without filters those without a name.
    pub async fn image_prune(&self, filters: &Filters) -> Result<ImagesPruned, ApiError> {
        self.fetch(Call::post("/images/prune").query(Query::default().filters(filters))).await
    }
}
