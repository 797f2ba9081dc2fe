//! What is measured with: images of known sizes, a root file system, a registry.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{host, images};

/// Bytes of the image that is loaded.
pub(crate) const LOAD_BYTES: u64 = 400 << 20;

/// Archives and paths.
pub(crate) struct Inputs {
    /// A docker-archive of busybox.
    pub(crate) busybox: String,
    /// A docker-archive of 400 MB.
    pub(crate) large: String,
    /// An unpacked busybox.
    pub(crate) rootfs: String,
    /// The floor program.
    pub(crate) floor: PathBuf,
    /// For whatever a case needs.
    pub(crate) dir: PathBuf,
}

/// Makes everything below `dir`.
pub(crate) fn make(dir: &Path) -> Result<Inputs> {
    host::say("making images");
    let archive = host::workspace().join("target/images");
    fs::create_dir_all(&archive)?;
    let busybox = images::make_busybox_only(&archive)?;
    let rootfs = dir.join("rootfs");
    fs::create_dir_all(&rootfs)?;
    let layer = dir.join("layer");
    fs::create_dir_all(&layer)?;
    host::run("tar", &["-xf", &text(&busybox), "-C", &text(&layer), "layer0.tar"])?;
    host::run("tar", &["-xf", &text(&layer.join("layer0.tar")), "-C", &text(&rootfs)])?;
    fs::remove_dir_all(layer)?;
    let large = large_image(dir)?;
    let floor = crate::demo::binary()?.with_file_name("examples").join("floor");
    Ok(Inputs {
        busybox: text(&busybox),
        large: text(&large),
        rootfs: text(&rootfs),
        floor,
        dir: dir.to_owned(),
    })
}

/// Fills a directory with files like those of a real image: many small ones, some large, half of it
/// compressible.
pub(crate) fn fill(tree: &Path, bytes: u64, noise: &mut Noise) -> Result<()> {
    let mut written = 0;
    let mut number = 0;
    while written < bytes {
        let size = if number % 50 == 0 { 4 << 20 } else { 4 << 10 << (number % 5) };
        let folder = tree.join(format!("d{}", number / 100));
        fs::create_dir_all(&folder)?;
        let mut file = fs::File::create(folder.join(format!("f{number}")))?;
        file.write_all(&noise.half_compressible(usize::try_from(size)?))?;
        written += size;
        number += 1;
    }
    Ok(())
}

fn large_image(dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("large");
    fill(&tree, LOAD_BYTES, &mut Noise::new())?;
    let layer = dir.join("large.layer.tar");
    host::run("tar", &["-C", &text(&tree), "--sort=name", "-cf", &text(&layer), "."])?;
    fs::remove_dir_all(&tree)?;
    let archive = dir.join("large.tar");
    images::pack(dir, &layer, "large:latest", &["true"], &archive)?;
    Ok(archive)
}

/// Bytes from a small generator: the same in every run.
pub(crate) struct Noise(u64);

impl Noise {
    /// The same bytes each time.
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn half_compressible(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            bytes.extend(self.next().to_le_bytes());
            bytes.extend([0; 8]);
        }
        bytes.truncate(size);
        bytes
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
