//! Small file systems of a test's own: to be full, or to lose their power.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a [`Disk`] on a loop device is formatted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// Debian's default.
    Ext4,
    /// It writes metadata back later, and in another order.
    Xfs,
}

impl FileSystem {
    const fn bytes(self) -> u64 {
        match self {
            Self::Ext4 => 48 << 20,
            // No smaller one is made. Most of it is a hole.
            Self::Xfs => 300 << 20,
        }
    }

    fn maker(self) -> Command {
        let (name, options): (_, &[&str]) = match self {
            // Nothing is kept back for root: that would hide a full disk.
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
        };
        let mut maker = program(name);
        maker.args(options);
        maker
    }
}

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    /// What a loop device reads and writes.
    image: Option<PathBuf>,
}

impl Disk {
    /// Memory of at most so many bytes, mounted at a new directory.
    ///
    /// # Panics
    /// It cannot be mounted.
    #[must_use]
    pub fn memory(at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).expect("make a mount point");
        let size = format!("size={bytes},mode=700");
        run(program("mount").args(["-t", "tmpfs", "-o", &size, "dhow-test"]).arg(at));
        Self { at: at.to_owned(), image: None }
    }

    /// An empty file system in the new file `image`, mounted at a new directory.
    ///
    /// # Panics
    /// It cannot be made or mounted.
    #[must_use]
    pub fn image(kind: FileSystem, at: &Path, image: &Path) -> Self {
        let file = std::fs::File::create(image).expect("make an image");
        file.set_len(kind.bytes()).expect("size an image");
        run(kind.maker().arg(image));
        std::fs::create_dir_all(at).expect("make a mount point");
        Self::mounted(at, image)
    }

    /// A copy of this one as it is at rest; this one must be idle.
    ///
    /// # Panics
    /// It cannot be written out, copied or mounted.
    #[must_use]
    pub fn copy(&self, at: &Path, image: &Path) -> Self {
        run(program("sync").arg("-f").arg(&self.at));
        std::fs::create_dir_all(at).expect("make a mount point");
        copy_image(self.file(), image);
        Self::mounted(at, image)
    }

    /// Takes its power away, and gives it back: whatever was not flushed is lost, except for names.
    ///
    /// The image is mounted from a copy, since a mount namespace that was made meanwhile may keep
    /// the dead file system alive for a moment.
    ///
    /// # Panics
    /// The file system cannot be shut down or mounted again.
    pub fn cut_power(&mut self) {
        self.write_names();
        run(program("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.at));
        let after = self.file().with_extension("after");
        copy_image(self.file(), &after);
        unmount(&self.at);
        std::fs::rename(&after, self.file()).expect("replace an image");
        mount(self.file(), &self.at);
    }

    /// Takes the names of files to the disk, as any program that flushes a file of its own does, and
    /// not what is in them: a name that comes too early is seen so.
    fn write_names(&self) {
        let file = std::fs::File::create(self.at.join("other")).expect("make a file");
        file.sync_all().expect("flush a file");
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Gives memory another size.
    ///
    /// # Panics
    /// It cannot be remounted.
    pub fn resize(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        run(program("mount").args(["-o", &size]).arg(&self.at));
    }

    /// Leaves no free byte, again if it was done before. Removing the file frees all of them.
    ///
    /// # Panics
    /// The file cannot be made.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let path = self.at.join("filler");
        let mut options = std::fs::File::options();
        let mut file = options.append(true).create(true).open(&path).expect("make a file");
        let chunk = vec![1; 4096];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        path
    }

    fn mounted(at: &Path, image: &Path) -> Self {
        mount(image, at);
        Self { at: at.to_owned(), image: Some(image.to_owned()) }
    }

    fn file(&self) -> &Path {
        self.image.as_deref().expect("a file system on a loop device")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

fn mount(image: &Path, at: &Path) {
    let is_xfs = std::fs::File::open(image).is_ok_and(|mut file| {
        let mut magic = [0; 4];
        std::io::Read::read_exact(&mut file, &mut magic).is_ok() && magic == *b"XFSB"
    });
    // XFS refuses a copy of what is mounted.
    let options = if is_xfs { "loop,nouuid" } else { "loop" };
    run(program("mount").args(["-o", options]).arg(image).arg(at));
}

/// Lazily: a mount namespace of somebody else may have a copy.
fn unmount(at: &Path) {
    run(program("umount").arg("-l").arg(at));
}

/// Into a new file: a dead file system may still hold the one that had the name.
fn copy_image(from: &Path, to: &Path) {
    let _ = std::fs::remove_file(to);
    run(program("cp").arg("--sparse=always").arg(from).arg(to));
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[expect(clippy::disallowed_methods, reason = "an administrator's programs, as a user has them")]
fn program(name: &str) -> Command {
    Command::new(name)
}
