//! Unpacks a lost or damaged layer again, from its blob.

use model::Digest;
use model::image::Compression;

use super::receive::BeginLayer;
use crate::Store;
use crate::db::Text;
use crate::layers::{self, LayerError, LayerRow};
use crate::oci::LayerSpec;

impl Store {
    /// The row of the layer, unpacked anew unless another process has just done it.
    pub(crate) fn heal(&self, diff_id: &Digest) -> Result<LayerRow, LayerError> {
        let specs = self.blobs_of_layer(diff_id)?;
        let mut last = LayerError::Missing(*diff_id);
        for spec in specs {
            match self.heal_from(&spec) {
                Ok(row) => return Ok(row),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn heal_from(&self, spec: &LayerSpec) -> Result<LayerRow, LayerError> {
        let operation = self.begin().map_err(|error| LayerError::Heal(Box::new(error)))?;
        while !operation.has_layer(&spec.diff_id)? {
            // Without its blob there is nothing to wait for: it would be downloaded.
            if !operation.has_blob(&spec.blob, spec.size)? {
                return Err(LayerError::Missing(spec.diff_id));
            }
            match operation.begin_layer(spec)? {
                BeginLayer::Present => {}
                BeginLayer::Busy => operation.wait_for_layer(&spec.blob)?,
                BeginLayer::Started(layer) => {
                    operation.receive(*layer, std::io::empty())?;
                    operation.flush().map_err(|error| LayerError::Heal(Box::new(error)))?;
                }
            }
        }
        let row = self.inner.db.read("find a layer", |tx| layers::find(tx, &spec.diff_id))?;
        row.ok_or(LayerError::Missing(spec.diff_id))
    }

    /// The blobs that unpack to this layer, in any image.
    fn blobs_of_layer(&self, diff_id: &Digest) -> Result<Vec<LayerSpec>, LayerError> {
        let sql = "SELECT DISTINCT b.blob, b.media_type, b.size FROM image_layers l
                   JOIN manifests m ON m.image = l.image
                   JOIN manifest_blobs b ON b.manifest = m.digest AND b.position = l.position
                   WHERE l.diff_id = ?1";
        let rows: Vec<(Digest, String, i64)> =
            self.inner.db.read("find the blobs of a layer", |tx| {
                tx.all(sql, [Text(*diff_id)], |row| {
                    Ok((row.get::<_, Text<_>>(0)?.0, row.get(1)?, row.get(2)?))
                })
                .map_err(LayerError::from)
            })?;
        let spec = |(blob, media_type, size): (Digest, String, i64)| {
            let compression = Compression::of_media_type(&media_type)?;
            let size = size.cast_unsigned();
            Some(LayerSpec { diff_id: *diff_id, blob, size, media_type, compression })
        };
        Ok(rows.into_iter().filter_map(spec).collect())
    }
}
