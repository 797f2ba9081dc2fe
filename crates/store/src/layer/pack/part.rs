//! One file or directory of a tree, with the kernel's own file systems in it.

use std::ffi::{CStr, OsStr};
use std::io::{Read as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::kernel_fs::is_kernel_fs;
use sys::root::Root;

use crate::layer::error::PackError;
use crate::layer::walk::Walk;
use crate::layer::{KernelFiles, PackOptions, Packed};
use crate::tar::Kind;

use super::{Packer, View, os};

/// A part of a tree.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A directory with all that is in it.
    Directory(&'a Root),
    /// What has a name in a directory: as a rule no directory itself.
    Entry(&'a Root, &'a CStr),
}

/// Writes a part of a tree, such as what `cp` asks for, called `name` in the archive. A directory has
/// an entry of its own: `name` and what is in it, or `./` and what is in it.
///
/// # Errors
/// As [`pack`].
pub fn pack_part(
    part: Part<'_>,
    name: &[u8],
    out: impl Write,
    options: &PackOptions,
) -> Result<Packed, PackError> {
    Packer::new(out, View::Whole, *options).run_part(part, name)
}

/// The most of a file whose size is not known beforehand.
const MAX_KERNEL_FILE: u64 = 16 << 20;

impl<W: Write> Packer<W> {
    pub(super) fn run_part(mut self, part: Part<'_>, name: &[u8]) -> Result<Packed, PackError> {
        self.prefix = name.to_vec();
        let (Part::Directory(tree) | Part::Entry(tree, _)) = part;
        let shown = || OsStr::from_bytes(name).into();
        let failed = |source| PackError::Os { op: "stat", path: shown(), source };
        self.device = rustix::fs::fstat(tree).map_err(failed)?.st_dev;
        self.in_kernel =
            self.options.kernel == KernelFiles::Shallow && is_kernel_fs(tree).map_err(failed)?;
        match part {
            Part::Entry(tree, base) => {
                self.cut = base.to_bytes().len();
                self.walk(Walk::one(tree, base))
            }
            Part::Directory(tree) => {
                if !name.ends_with(b"/") {
                    self.prefix.push(b'/');
                }
                let walk = if self.in_kernel { Walk::none(tree) } else { Walk::new(tree)? };
                self.root(&walk, tree)?;
                self.walk(walk)
            }
        }
    }

    /// The entry of a directory whose content follows.
    fn root(&mut self, walk: &Walk<'_>, tree: &Root) -> Result<(), PackError> {
        let stat = rustix::fs::fstat(tree).map_err(os("stat", walk))?;
        self.set_metadata(walk, &stat);
        self.entry.kind = Kind::Directory;
        self.set_xattrs(walk)?;
        self.begin()
    }

    /// Whether a directory is procfs, sysfs or the like, mounted in the tree.
    pub(super) fn is_kernels(&self, walk: &Walk<'_>, stat: &Stat) -> bool {
        if self.options.kernel == KernelFiles::Absent || stat.st_dev == self.device {
            return false;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(walk.dir(), walk.name(), flags, Mode::empty());
        dir.and_then(is_kernel_fs).unwrap_or(true)
    }

    /// A file that says nothing of its size.
    pub(super) fn kernel_file(&mut self, file: OwnedFd, walk: &Walk<'_>) -> Result<(), PackError> {
        let mut content = Vec::new();
        let read = std::fs::File::from(file).take(MAX_KERNEL_FILE).read_to_end(&mut content);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .map_err(os("read", walk))?;
        self.entry.size = content.len() as u64;
        self.begin()?;
        Ok(self.writer.data(&content)?)
    }
}
