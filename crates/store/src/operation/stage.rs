//! The staging directory of one layer: claimed by one operation, thrown away or published.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Digest;
use sys::failpoint::{Point, reach};
use sys::root::Root;

use crate::layers::{self, LayerError, LayerFacts};
use crate::layout::{self, Layout, make_dir};
use crate::lock::{self, Attempt, Kind};
use crate::{Inner, trash};

/// The outcome of an attempt to stage a layer.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Ours to unpack.
    Mine(Stage),
    /// Another operation unpacks the same blob.
    Busy,
}

/// A directory that is being unpacked into; thrown away when dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    inner: Arc<Inner>,
    dir: Option<PathBuf>,
    lock: File,
}

/// A layer that is unpacked and verified, not yet in place.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    pub(crate) diff_id: Digest,
    pub(crate) facts: LayerFacts,
    pub(crate) dir: PathBuf,
    _lock: File,
}

impl Stage {
    /// Claims the directory named `key`; what a dead owner left in it is removed.
    pub(crate) fn claim(inner: &Arc<Inner>, key: &str) -> Result<Claim, LayerError> {
        let dir = inner.layout.staging().join(key);
        let at = LayerError::io("stage a layer in", &dir);
        match Self::locked(&dir).map_err(at)? {
            None => Ok(Claim::Busy),
            Some(lock) => {
                let stage = Self { inner: Arc::clone(inner), dir: Some(dir), lock };
                stage.prepare()?;
                Ok(Claim::Mine(stage))
            }
        }
    }

    /// Waits until nobody unpacks into the directory named `key`.
    pub(crate) fn wait(layout: &Layout, key: &str) -> Result<(), LayerError> {
        let dir = layout.staging().join(key);
        lock::wait(&dir, Kind::Directory).map_err(LayerError::io("wait for", &dir))
    }

    /// Claims a directory of an unused name.
    pub(crate) fn fresh(inner: &Arc<Inner>) -> Result<Self, LayerError> {
        let staging = inner.layout.staging();
        let name =
            layout::random_name().map_err(LayerError::io("name a directory in", &staging))?;
        match Self::claim(inner, &name)? {
            Claim::Mine(stage) => Ok(stage),
            Claim::Busy => {
                let taken = io::Error::from(io::ErrorKind::AlreadyExists);
                Err(LayerError::io("stage a layer in", &staging)(taken))
            }
        }
    }

    fn locked(dir: &Path) -> io::Result<Option<File>> {
        loop {
            make_dir(dir)?;
            match lock::attempt(dir, Kind::Directory)? {
                Attempt::Held(file) => return Ok(Some(file)),
                Attempt::Busy => return Ok(None),
                // Published or collected between the two calls.
                Attempt::Gone => {}
            }
        }
    }

    fn prepare(&self) -> Result<(), LayerError> {
        let dir = self.dir();
        let root = Root::open(&dir).map_err(LayerError::root(&dir))?;
        root.remove_contents(".").map_err(LayerError::root(&dir))?;
        // What a layer does not say about its root directory: root's, rwxr-xr-x.
        root.mkdir("fs", 0o755.into()).map_err(LayerError::root(&dir))?;
        step(Point::LayerBegun, &dir)
    }

    /// The directory that the layer is unpacked into.
    pub(crate) fn tree(&self) -> Result<Root, LayerError> {
        let tree = self.dir().join("fs");
        Root::open(&tree).map_err(LayerError::root(&tree))
    }

    /// Seals what was unpacked.
    pub(crate) fn seal(
        mut self,
        diff_id: Digest,
        facts: LayerFacts,
    ) -> Result<StagedLayer, LayerError> {
        layers::write_seal(&self.dir(), &diff_id, facts)?;
        step(Point::LayerSealed, &self.dir())?;
        let lock = self.lock.try_clone().map_err(LayerError::io("lock", &self.dir()))?;
        let dir = self.dir.take().unwrap_or_default();
        Ok(StagedLayer { diff_id, facts, dir, _lock: lock })
    }

    fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_default()
    }
}

fn step(point: Point, dir: &Path) -> Result<(), LayerError> {
    let reached = reach(point).map_err(io::Error::from);
    reached.map_err(LayerError::io("stage a layer in", dir))
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take() {
            // The error that led here is the one to tell; leftovers are known by their free lock.
            let _ = trash::discard(&self.inner.layout, dir);
        }
    }
}
