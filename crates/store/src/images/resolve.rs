//! From what a user types to an image: Docker's order of meanings.

use model::reference::ParseReferenceError;
use model::{Digest, ImageId, Reference};

use crate::db::{DbError, Text, Tx};

/// Why a text leads to no image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing of that name or id; named as Docker does, with the default tag.
    #[error("No such image: {0}")]
    NotFound(String),
    /// The beginning of several ids.
    #[error("{0} is the beginning of several image ids")]
    Ambiguous(String),
    /// Neither a reference nor an id.
    #[error("{0}")]
    Invalid(#[from] ParseReferenceError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ResolveError {
    pub(super) fn not_found(typed: &str) -> Self {
        let full = typed.parse::<Reference>().map(|name| name.with_default_tag().familiar());
        Self::NotFound(full.unwrap_or_else(|_| typed.to_owned()))
    }
}

/// A name is looked up before the beginning of an id: a tag `abc` hides the image `abc…`.
pub(crate) fn id_of(tx: &Tx<'_>, typed: &str) -> Result<ImageId, ResolveError> {
    if let Ok(digest) = typed.parse::<Digest>() {
        let found = by_digest(tx, &digest)?;
        return found.ok_or_else(|| ResolveError::NotFound(typed.to_owned()));
    }
    let reference = typed.parse::<Reference>();
    if let Ok(reference) = &reference
        && let Some(id) = by_name(tx, reference)?
    {
        return Ok(id);
    }
    match (by_prefix(tx, typed)?, reference) {
        (Some(id), _) => Ok(id),
        (None, Err(error)) if !matches!(error, ParseReferenceError::LooksLikeId(_)) => {
            Err(error.into())
        }
        (None, Ok(_) | Err(_)) => Err(ResolveError::not_found(typed)),
    }
}

/// Whether the text names the image by its id rather than by a reference.
pub(super) fn is_id(typed: &str, id: &ImageId) -> bool {
    let digits = typed.strip_prefix("sha256:").unwrap_or(typed);
    !digits.is_empty() && id.0.hex().starts_with(digits)
}

/// `sha256:…`: the id, or the digest of a manifest, which is how containerd names images.
fn by_digest(tx: &Tx<'_>, digest: &Digest) -> Result<Option<ImageId>, DbError> {
    first_id(
        tx,
        "SELECT id FROM images WHERE id = ?1
         UNION ALL SELECT image FROM manifests WHERE digest = ?1",
        &digest.to_string(),
    )
}

/// The tag is not looked at where there is a digest, as in Docker.
pub(crate) fn by_name(tx: &Tx<'_>, name: &Reference) -> Result<Option<ImageId>, DbError> {
    let Some(digest) = name.digest() else {
        let full = name.clone().with_default_tag().to_string();
        return first_id(tx, "SELECT image FROM tags WHERE reference = ?1", &full);
    };
    let full = name.at_digest(*digest).to_string();
    first_id(tx, "SELECT image FROM repo_digests WHERE reference = ?1", &full)
}

fn by_prefix(tx: &Tx<'_>, typed: &str) -> Result<Option<ImageId>, ResolveError> {
    let digits = typed.strip_prefix("sha256:").unwrap_or(typed);
    let is_hex = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits.is_empty() || !is_hex {
        return Ok(None);
    }
    // `g` follows the last hex digit: the range of the texts that begin with the prefix.
    let sql = "SELECT id FROM images WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2";
    let ids = tx.all(sql, [format!("sha256:{digits}")], |row| Ok(row.get::<_, Text<_>>(0)?.0))?;
    match ids[..] {
        [] => Ok(None),
        [id] => Ok(Some(id)),
        [..] => Err(ResolveError::Ambiguous(typed.to_owned())),
    }
}

fn first_id(tx: &Tx<'_>, sql: &str, key: &str) -> Result<Option<ImageId>, DbError> {
    tx.first(sql, [key], |row| Ok(row.get::<_, Text<_>>(0)?.0))
}
