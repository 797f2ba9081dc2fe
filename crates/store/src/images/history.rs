//! The steps that made an image, as `docker history` shows them.

use model::ImageId;

use super::ImageRecord;

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Only the newest step has an id: the image's.
    pub id: Option<ImageId>,
    /// RFC 3339.
    pub created: Option<String>,
    /// The command.
    pub created_by: String,
    /// The bytes of the files that the step added.
    pub size: u64,
    /// Free text.
    pub comment: String,
    /// The image's tags, at the newest step only.
    pub tags: Vec<String>,
}

/// The history, newest first. An image that tells less than it has layers is shown as far as it
/// tells.
#[must_use]
pub fn history(image: &ImageRecord) -> Vec<HistoryEntry> {
    let mut layers = image.layers.iter();
    let mut entries: Vec<HistoryEntry> = Vec::new();
    for step in &image.config.history {
        let layer = if step.empty_layer { None } else { layers.next() };
        entries.push(HistoryEntry {
            id: None,
            created: step.created.clone(),
            created_by: step.created_by.clone().unwrap_or_default(),
            size: layer.map_or(0, |layer| layer.size),
            comment: step.comment.clone().unwrap_or_default(),
            tags: Vec::new(),
        });
    }
    if let Some(newest) = entries.last_mut() {
        newest.id = Some(image.id);
        newest.tags = image.tags.iter().map(model::Reference::familiar).collect();
    }
    entries.reverse();
    entries
}
