//! One file of those that a log consists of: as it was written, or compressed since.
//!
//! Which file it is says the inode that it was written to; a compressed one has it in its header, so
//! that a follower finds its place again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Where a file was written: device and inode.
pub(crate) type Identity = (u64, u64);

/// A file of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    identity: Identity,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Plain(File),
    Packed(Box<GzDecoder<File>>),
}

impl Segment {
    /// Opens a file, or what it became when it was compressed.
    pub(crate) fn open(name: &Path) -> io::Result<Self> {
        match File::open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::packed(File::open(packed(name))?)
            }
            opened => Self::plain(opened?),
        }
    }

    pub(crate) fn plain(file: File) -> io::Result<Self> {
        Ok(Self { identity: identity(&file)?, content: Content::Plain(file) })
    }

    fn packed(file: File) -> io::Result<Self> {
        let own = identity(&file)?;
        let decoder = GzDecoder::new(file);
        // One that another program has compressed is a file of its own.
        let extra = decoder.header().and_then(|header| header.extra());
        let identity = extra.and_then(shim::log::packed_from).unwrap_or(own);
        Ok(Self { identity, content: Content::Packed(Box::new(decoder)) })
    }

    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether a file that was opened later is this one, moved or compressed in between. An inode is given
    /// to another file once a compressed one's original has been removed, so its number alone says too little.
    pub(crate) fn is_now(&self, later: &Self) -> bool {
        let is_alike = self.identity == later.identity;
        is_alike
            && match (&self.content, &later.content) {
                (Content::Plain(file), Content::Packed(_)) => {
                    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
                }
                (Content::Packed(old), Content::Packed(new)) => {
                    identity(old.get_ref()).ok() == identity(new.get_ref()).ok()
                }
                (_, Content::Plain(_)) => matches!(self.content, Content::Plain(_)),
            }
    }

    /// The file, if it is as it was written.
    pub(crate) fn as_plain(&self) -> Option<&File> {
        match &self.content {
            Content::Plain(file) => Some(file),
            Content::Packed(_) => None,
        }
    }

    /// Goes to a place of what was written.
    pub(crate) fn go_to(&mut self, offset: u64) -> io::Result<()> {
        match &mut self.content {
            Content::Plain(file) => file.seek(SeekFrom::Start(offset)).map(drop),
            Content::Packed(decoder) => {
                let mut file = decoder.get_ref().try_clone()?;
                file.rewind()?;
                **decoder = GzDecoder::new(file);
                io::copy(&mut decoder.by_ref().take(offset), &mut io::sink()).map(drop)
            }
        }
    }
}

impl Read for Segment {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.content {
            Content::Plain(file) => file.read(buffer),
            Content::Packed(decoder) => decoder.read(buffer),
        }
    }
}

fn identity(file: &File) -> io::Result<Identity> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn packed(name: &Path) -> PathBuf {
    let mut name = name.to_owned().into_os_string();
    name.push(shim::log::PACKED);
    name.into()
}
