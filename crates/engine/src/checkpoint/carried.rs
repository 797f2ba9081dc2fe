//! A checkpoint as an archive: a tar of the files that it is made of, the manifest first.
//!
//! An archive is input. Of what it has, only regular files with plain names are taken, each once, into an
//! empty directory of ours: nothing in it decides where anything is written, to whom it belongs, or what
//! else is read.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags};
use store::tar::{Entry, Kind, Reader, Writer};
use sys::root::Root;

/// What a checkpoint has at most. criu writes some files for each process.
const MAX_FILES: usize = 1 << 16;
/// How much memory, and what was in its tmpfs, a container may have had.
const MAX_BYTES: u64 = 1 << 40;
/// What may follow its end: tar fills its last block, of which the largest in use are smaller than this.
const MAX_PADDING: u64 = 1 << 20;
/// The longest name.
const MAX_NAME: usize = 255;
/// Nobody else has to see what was in a container's memory.
const MODE: u32 = 0o600;

/// An archive is no checkpoint, or cannot be carried.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarryError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged.
    #[error(transparent)]
    Tar(#[from] store::tar::TarError),
    /// It cannot be made.
    #[error(transparent)]
    Write(#[from] store::tar::WriteError),
    /// A file cannot be made, or opened.
    #[error(transparent)]
    Root(#[from] sys::root::RootError),
    /// What is in it is not of a checkpoint.
    #[error("no checkpoint has {0}")]
    Foreign(String),
    /// It was cut where an entry ends.
    #[error("the archive has no end")]
    Cut,
    /// It has too much.
    #[error("it is larger than a checkpoint may be")]
    TooMuch,
}

/// Writes the files of a checkpoint, the first one first.
pub(super) fn pack(images: OwnedFd, first: &str, out: &mut dyn Write) -> Result<(), CarryError> {
    let images = Root::from_fd(images);
    let entries = images.read_dir(".")?;
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    names.sort_unstable_by_key(|name| (name != first, name.clone()));
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, out));
    for name in names {
        pack_file(&images, &name, &mut writer)?;
    }
    writer.finish()?.flush()?;
    Ok(())
}

fn pack_file<W: Write>(
    images: &Root,
    name: &str,
    writer: &mut Writer<W>,
) -> Result<(), CarryError> {
    let file = images.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    let mut file = File::from(file);
    let found = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(CarryError::Foreign(format!("{name:?}, which is not a file")));
    }
    let size = u64::try_from(found.st_size).unwrap_or_default();
    writer.begin(&Entry { name: name.into(), mode: MODE, size, ..Entry::default() })?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left.min(buffer.len() as u64)).unwrap_or(buffer.len());
        file.read_exact(&mut buffer[..wanted])?;
        writer.data(&buffer[..wanted])?;
        left -= wanted as u64;
    }
    Ok(())
}

/// Takes the files of an archive into an empty directory.
pub(super) fn unpack(archive: impl Read, images: &Root) -> Result<(), CarryError> {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, archive));
    let (mut entry, mut names, mut bytes) = (Entry::default(), HashSet::new(), 0_u64);
    while reader.next_entry(&mut entry)? {
        let name = plain(&entry)?;
        bytes = bytes.saturating_add(entry.size);
        if bytes > MAX_BYTES || names.len() == MAX_FILES {
            return Err(CarryError::TooMuch);
        }
        if !names.insert(name.clone()) {
            return Err(CarryError::Foreign(format!("two files {name:?}")));
        }
        // It makes a new one, or fails.
        let file = File::from(images.create_file(&name, Mode::RUSR | Mode::WUSR)?);
        while let Some(piece) = reader.piece()? {
            file.write_all_at(piece.bytes, piece.offset)?;
            let len = piece.bytes.len();
            reader.consume(len);
        }
        file.set_len(entry.size)?;
    }
    if !reader.has_trailer() {
        return Err(CarryError::Cut);
    }
    // Whoever writes a tar fills its last block, and ends then: who goes on is not waited for.
    let mut rest = reader.into_inner().take(MAX_PADDING + 1);
    match io::copy(&mut rest, &mut io::sink())? {
        0..=MAX_PADDING => Ok(()),
        _ => Err(CarryError::TooMuch),
    }
}

/// The name of a regular file that lies nowhere else.
fn plain(entry: &Entry) -> Result<String, CarryError> {
    let foreign = || CarryError::Foreign(format!("{:?}", String::from_utf8_lossy(&entry.name)));
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let fits = (1..=MAX_NAME).contains(&entry.name.len()) && entry.name.iter().all(is_plain);
    if entry.kind != Kind::File || !fits || entry.name.starts_with(b".") {
        return Err(foreign());
    }
    String::from_utf8(entry.name.clone()).map_err(|_| foreign())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in entries {
            writer.begin(entry).unwrap();
            writer.data(data).unwrap();
        }
        writer.finish().unwrap()
    }

    fn file(name: &str, size: u64) -> Entry {
        Entry { name: name.into(), mode: 0o4777, uid: 1000, size, ..Entry::default() }
    }

    fn check(entries: &[(Entry, &[u8])]) -> Result<tempfile::TempDir, String> {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        unpack(&archive(entries)[..], &root).map_err(|error| error.to_string()).map(|()| dir)
    }

    #[test]
    fn what_was_packed_is_unpacked_as_ours() {
        use std::os::unix::fs::MetadataExt;
        let from = check(&[(file("b.img", 3), b"abc"), (file("dhow.json", 2), b"{}")]).unwrap();
        let found = from.path().join("b.img").metadata().unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, own));
        let images = Root::open(from.path()).unwrap();
        let mut packed = Vec::new();
        pack(images.into(), "dhow.json", &mut packed).unwrap();
        let mut reader = Reader::new(&packed[..]);
        let (mut entry, mut names) = (Entry::default(), Vec::new());
        while reader.next_entry(&mut entry).unwrap() {
            names.push(String::from_utf8(entry.name.clone()).unwrap());
        }
        assert_eq!(names, ["dhow.json", "b.img"]);
        let to = tempfile::tempdir().unwrap();
        unpack(&packed[..], &Root::open(to.path()).unwrap()).unwrap();
        assert_eq!(std::fs::read(to.path().join("b.img")).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_cut_between_two_files_is_not_whole() {
        let whole = archive(&[(file("a", 1), b"a"), (file("b", 1), b"b")]);
        // A header and a block of data each; then there are two zero blocks.
        for (blocks, is_whole) in [(2, false), (4, false), (5, false), (6, true)] {
            let dir = tempfile::tempdir().unwrap();
            let taken = unpack(&whole[..blocks * 512], &Root::open(dir.path()).unwrap());
            assert_eq!(taken.is_ok(), is_whole, "{blocks}: {taken:?}");
        }
    }

    #[test]
    fn who_never_ends_is_not_waited_for() {
        let taken = |padding: u64| {
            let dir = tempfile::tempdir().unwrap();
            let sent = archive(&[(file("a", 1), b"a")]);
            let sent = io::Cursor::new(sent).chain(io::repeat(0).take(padding));
            unpack(sent, &Root::open(dir.path()).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(taken(1 << 20), Ok(()));
        assert_eq!(taken(u64::MAX), Err("it is larger than a checkpoint may be".to_owned()));
    }

    #[test]
    fn what_is_not_a_plain_file_is_refused() {
        for name in ["../x", "/x", "a/b", ".hidden", "..", "a b", "a\n", "x/"] {
            let refused = check(&[(file(name, 0), b"")]).map(drop).unwrap_err();
            assert!(refused.starts_with("no checkpoint has "), "{name}: {refused}");
        }
        for kind in [Kind::Directory, Kind::Symlink, Kind::HardLink, Kind::Char, Kind::Fifo] {
            let link = if matches!(kind, Kind::Symlink | Kind::HardLink) { "/etc" } else { "" };
            let entry = Entry { kind, link: link.into(), ..file("x", 0) };
            let refused = check(&[(entry, b"")]).map(drop).unwrap_err();
            assert!(refused.starts_with("no checkpoint has "), "{kind:?}: {refused}");
        }
        let twice = check(&[(file("x", 1), b"a"), (file("x", 1), b"b")]).map(drop);
        assert_eq!(twice.unwrap_err(), "no checkpoint has two files \"x\"");
        let huge = Entry { sparse: Some(Vec::new()), ..file("x", MAX_BYTES + 1) };
        let refused = check(&[(huge, b"")]).map(drop).unwrap_err();
        assert_eq!(refused, "it is larger than a checkpoint may be");
    }
}
