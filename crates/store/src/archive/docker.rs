//! `manifest.json` of a docker-archive: what Docker has written since 1.10.

use serde::{Deserialize, Serialize};

use super::LoadError;
use crate::oci::DocumentError;

/// The name of the document.
pub(super) const MANIFEST: &str = "manifest.json";

/// One image of a docker-archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    /// The member with the configuration.
    pub(super) config: String,
    /// `repo:tag`
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    /// The members with the layers, lowest first.
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}

/// Reads `manifest.json`.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<DockerImage>, LoadError> {
    serde_json::from_slice(bytes).map_err(|source| {
        let source = Box::new(DocumentError::Json { what: "image list", source });
        LoadError::Document { name: MANIFEST.to_owned(), source }
    })
}
