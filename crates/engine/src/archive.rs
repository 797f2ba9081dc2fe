//! `load`, `save`, `import`: images in and out of archives.

use std::io::{Read, Write};

use model::{ImageId, Platform};
use store::ImageRecord;
use store::archive::{Import, LoadOptions, Loaded, SaveError};

use crate::container::now;
use crate::image::resolve_error;
use crate::prepare::store_error;
use crate::tell::image_name;
use crate::view::{ImportOptions, Progress};
use crate::{Engine, EngineError};

impl Engine {
    /// Loads the images of an archive: Docker's or an OCI layout, plain or compressed.
    ///
    /// # Errors
    /// The archive is damaged or no archive of images: nothing has changed.
    pub fn image_load(
        &self,
        archive: impl Read + Send + 'static,
        platform: Option<Platform>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), EngineError> {
        let options = LoadOptions {
            platform: platform.unwrap_or_else(Platform::host),
            now_ns: nanoseconds(),
        };
        let loaded = self.store().load(archive, &options, &mut |_| ()).map_err(store_error)?;
        for image in loaded {
            self.tell_image("load", image.id.to_string(), &image_name(&image.id, &image.tags));
            report(&image, progress);
        }
        Ok(())
    }

    /// Whether all of these are here: what is wrong is said before the archive begins.
    ///
    /// # Errors
    /// One of them is not here.
    pub fn image_can_save(&self, names: &[String]) -> Result<(), EngineError> {
        self.to_save(names).map(drop)
    }

    fn to_save(&self, names: &[String]) -> Result<Vec<ImageRecord>, EngineError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.store().to_save(&names).map_err(save_error)
    }

    /// Writes images with all their names as one archive that both Docker and OCI tools read.
    ///
    /// # Errors
    /// One of them is not here; `out` cannot be written to.
    pub fn image_save(&self, names: &[String], out: &mut dyn Write) -> Result<(), EngineError> {
        let images = self.to_save(names)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.store().save(&names, out).map_err(save_error)?;
        for image in images {
            self.tell_image("save", image.id.to_string(), &image_name(&image.id, &image.tags));
        }
        Ok(())
    }

    /// Makes an image of one layer from the tar of a root file system.
    ///
    /// # Errors
    /// The archive is damaged, or a change is no instruction that `import` knows.
    pub fn image_import(
        &self,
        archive: impl Read,
        options: &ImportOptions,
    ) -> Result<ImageId, EngineError> {
        let mut config = model::image::RunConfig::default();
        store::changes::apply(&mut config, &options.changes)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        let tag =
            options.reference.as_ref().map(|name| name.parse::<model::Reference>()).transpose()?;
        let import = Import {
            config,
            platform: options.platform.clone().unwrap_or_else(Platform::host),
            comment: options.message.clone(),
            tag: tag.map(model::Reference::with_default_tag),
            created: now().to_string(),
            now_ns: nanoseconds(),
        };
        let id = self.store().import(archive, &import).map_err(store_error)?;
        self.tell_image("import", id.to_string(), &[("name", id.to_string())]);
        Ok(id)
    }

    /// The same with an archive that lies at an address. `progress` hears of it when it comes.
    ///
    /// # Errors
    /// As [`Engine::image_import`]; the archive cannot be fetched.
    pub fn image_import_from(
        &self,
        url: &str,
        options: &ImportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImageId, EngineError> {
        let archive = registry::download(url, &registry::Limits::default())?;
        progress(Progress::Downloading(url.to_owned()));
        self.image_import(archive, options)
    }
}

fn save_error(error: SaveError) -> EngineError {
    if let SaveError::Resolve(error) = error { resolve_error(error) } else { store_error(error) }
}

fn nanoseconds() -> i64 {
    i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn report(image: &Loaded, progress: &mut dyn FnMut(Progress)) {
    for (reference, old) in &image.replaced {
        progress(Progress::Renamed { reference: reference.familiar(), old: *old });
    }
    for tag in &image.tags {
        progress(Progress::Loaded(tag.familiar()));
    }
    if image.tags.is_empty() {
        progress(Progress::LoadedUnnamed(image.id));
    }
}
