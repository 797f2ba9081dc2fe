//! What goes into a file and onto it: data, extended attributes, times.

use std::ffi::{CStr, CString};
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Timespec, Timestamps};
use rustix::io::Errno;
use sys::xattr;

use crate::layer::error::{Bytes, Refusal};
use crate::layer::law::{self, Fate, Law};
use crate::tar::{Entry, Kind, Reader, Time};

use super::stop::{During as _, Stop};

/// Copies data from the archive's buffer to a new file; what is between them is left a hole.
pub(super) fn write_content(
    file: impl AsFd,
    reader: &mut Reader<impl BufRead>,
    entry: &Entry,
) -> Result<(), Stop> {
    let file = file.as_fd();
    while let Some(piece) = reader.piece()? {
        let len = match &entry.sparse {
            None => rustix::io::write(file, piece.bytes),
            Some(_) => rustix::io::pwrite(file, piece.bytes, piece.offset),
        };
        let len = match len {
            Ok(0) => return Err(Stop::Os("write", Errno::IO)),
            Err(Errno::INTR) => 0,
            len => len.during("write")?,
        };
        reader.consume(len);
    }
    if entry.sparse.is_some() {
        rustix::fs::ftruncate(file, entry.size).during("set the size")?;
    }
    Ok(())
}

/// Sets the attributes that the law keeps; returns how many it does not, or the file system cannot
/// hold, which it says by one of the errors of `unheld`.
pub(super) fn set_xattrs(
    entry: &Entry,
    (law, unheld): (Law, &[Errno]),
    mut set: impl FnMut(&CStr, &[u8]) -> Result<(), Errno>,
) -> Result<u64, Stop> {
    let mut dropped = 0;
    for xattr in &entry.xattrs {
        match law::xattr(law, &xattr.name, entry.kind) {
            Fate::Keep => {}
            Fate::KeepForLast => continue,
            Fate::Drop => {
                dropped += 1;
                continue;
            }
        }
        let malformed = || Stop::Refused(Refusal::Xattr(Bytes(xattr.name.clone())));
        if !law::xattr_value(&xattr.name, &xattr.value) {
            return Err(malformed());
        }
        let name = CString::new(xattr.name.as_slice()).map_err(|_| malformed())?;
        match set(&name, &xattr.value) {
            Ok(()) => {}
            Err(errno) if unheld.contains(&errno) => dropped += 1,
            // The kernel takes no value above 64 KiB and no name above 255 bytes.
            Err(Errno::INVAL | Errno::TOOBIG | Errno::RANGE) => return Err(malformed()),
            Err(errno) => return Err(Stop::Os("set an attribute", errno)),
        }
    }
    Ok(dropped)
}

/// Takes away what an earlier entry of the same directory has set, but for overlay's own.
pub(super) fn strip_xattrs(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    for attr in xattr::list_at(dir, name)? {
        if law::xattr(Law::Image, attr.to_bytes(), Kind::Directory) != Fate::Drop {
            xattr::remove_at(dir, name, &attr)?;
        }
    }
    Ok(())
}

/// Both times are the archive's, so that unpacking twice gives the same tree.
pub(super) fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: time, last_modification: time }
}
