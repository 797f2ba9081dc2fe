//! The streaming reader: entries one after another, data straight from the source's buffer.
//!
//! Owns the order of headers and the boundaries of data. A source is any `BufRead`; its buffer is
//! what the caller gets to see, so that data are copied once, by the kernel.

use std::io::{self, BufRead, Read};

use super::block::{Dialect, Header};
use super::extended::{self, Common, Extended};
use super::source::{fill, read_block, read_exact, skip};
use super::sparse::{self, DataMap, PaxMap};
use super::{
    BLOCK, Entry, Extent, Kind, MAX_CHAIN, MAX_EXTENSION, MAX_NAME, TarError, TarProblem, Time,
    number,
};

/// A run of a file's data.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Where it belongs in the file.
    pub offset: u64,
    /// The bytes; never empty.
    pub bytes: &'a [u8],
}

/// Reads an archive.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    /// The number of the current entry, from 1.
    index: u64,
    name: Vec<u8>,
    global: Common,
    extended: Extended,
    scratch: Vec<u8>,
    data: Data,
    ended: bool,
    has_trailer: bool,
}

/// Where in the current entry's data the reader stands.
#[derive(Debug, Default)]
struct Data {
    /// Stored bytes that have not been consumed.
    left: u64,
    /// Zeros behind them, up to the next block.
    padding: u64,
    /// Position in the file, holes counted.
    position: u64,
    /// The file's size, holes counted.
    size: u64,
    sparse: Option<Map>,
}

/// A sparse map and the extent that comes next.
#[derive(Debug)]
struct Map {
    extents: Vec<Extent>,
    next: usize,
}

impl Map {
    /// The run of data at `position`: its end, or the hole's end.
    fn at(&mut self, position: u64, size: u64) -> Run {
        while let Some(extent) = self.extents.get(self.next) {
            let end = extent.offset + extent.len;
            if position < extent.offset {
                return Run::Hole(extent.offset);
            }
            if position < end {
                return Run::Data(end);
            }
            self.next += 1;
        }
        Run::Hole(size)
    }
}

enum Run {
    Hole(u64),
    Data(u64),
}

impl<R: BufRead> Reader<R> {
    /// Reads from the first byte of an archive.
    pub fn new(source: R) -> Self {
        Self {
            source,
            index: 0,
            name: Vec::new(),
            global: Common::default(),
            extended: Extended::default(),
            scratch: Vec::new(),
            data: Data::default(),
            ended: false,
            has_trailer: false,
        }
    }

    /// The number of the current entry, from 1.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether the archive said where it ends. One that does not may have been cut between two entries.
    #[must_use]
    pub fn has_trailer(&self) -> bool {
        self.has_trailer
    }

    /// The source, wherever it stands.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// Goes to the next entry, passing over data of the current one that were not read. False at
    /// the archive's end; what follows it is left to [`Reader::drain`].
    ///
    /// # Errors
    /// Whatever is wrong with the archive; the reader is of no use afterwards.
    pub fn next_entry(&mut self, entry: &mut Entry) -> Result<bool, TarError> {
        if self.ended {
            return Ok(false);
        }
        self.skip_data().map_err(|problem| self.error(problem))?;
        self.name.clear();
        self.index += 1;
        match self.advance(entry) {
            Ok(more) => {
                self.ended = !more;
                Ok(more)
            }
            Err(problem) => Err(self.error(problem)),
        }
    }

    /// The next run of the current file's data, or `None` at its end. The same run, or a longer
    /// one, until [`Reader::consume`].
    ///
    /// # Errors
    /// If the source fails or ends.
    pub fn piece(&mut self) -> Result<Option<Piece<'_>>, TarError> {
        if self.data.left == 0 {
            return Ok(None);
        }
        if let Err(problem) = fill(&mut self.source) {
            return Err(self.error(problem));
        }
        let data = &mut self.data;
        let mut max = data.left;
        if let Some(map) = &mut data.sparse {
            if let Run::Hole(end) = map.at(data.position, data.size) {
                data.position = end;
            }
            if let Run::Data(end) = map.at(data.position, data.size) {
                max = max.min(end - data.position);
            }
        }
        // `fill` has just seen this buffer; it does not read again.
        let bytes = self.source.fill_buf().unwrap_or_default();
        let len = bytes.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        Ok(Some(Piece { offset: data.position, bytes: &bytes[..len] }))
    }

    /// Marks the first `len` bytes of the last piece as used.
    pub fn consume(&mut self, len: usize) {
        self.source.consume(len);
        self.data.left -= len as u64;
        self.data.position += len as u64;
    }

    /// Reads to the end of the source, past the archive's end, so that all of it passes whatever
    /// counts or hashes it. Returns how many bytes there were.
    ///
    /// # Errors
    /// If the source fails.
    pub fn drain(&mut self) -> Result<u64, TarError> {
        let mut drained = 0;
        loop {
            let len = match self.source.fill_buf() {
                Ok([]) => return Ok(drained),
                Ok(bytes) => bytes.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.error(TarProblem::Read(error))),
            };
            self.source.consume(len);
            drained += len as u64;
        }
    }

    fn error(&self, problem: TarProblem) -> TarError {
        TarError { entry: self.index, name: self.name.clone(), problem }
    }

    fn skip_data(&mut self) -> Result<(), TarProblem> {
        let rest = self.data.left + self.data.padding;
        self.data = Data::default();
        skip(&mut self.source, rest)
    }

    /// Reads headers until one is an entry's.
    fn advance(&mut self, entry: &mut Entry) -> Result<bool, TarProblem> {
        self.extended.clear();
        let mut chain = 0;
        while let Some(header) = self.header()? {
            if !self.extension(&header)? {
                self.fill_entry(&header, entry)?;
                return Ok(true);
            }
            chain += 1;
            if chain > MAX_CHAIN {
                return Err(TarProblem::Chain);
            }
        }
        if chain == 0 { Ok(false) } else { Err(TarProblem::Dangling) }
    }

    /// The next header; `None` at two zero blocks, or where the source ends at a block's end. GNU
    /// tar and Go accept both.
    fn header(&mut self) -> Result<Option<Header>, TarProblem> {
        let Some(header) = read_block(&mut self.source)? else { return Ok(None) };
        let header = Header(header);
        if !header.is_zero() {
            return if header.checksum_matches() {
                Ok(Some(header))
            } else {
                Err(TarProblem::Checksum)
            };
        }
        match read_block(&mut self.source)? {
            None => Ok(None),
            Some(second) if Header(second).is_zero() => {
                self.has_trailer = true;
                Ok(None)
            }
            Some(_) => Err(TarProblem::LoneZeroBlock),
        }
    }

    /// Takes in an extension header; false if the header is an entry's.
    fn extension(&mut self, header: &Header) -> Result<bool, TarProblem> {
        let kind = header.kind();
        if !matches!(kind, b'x' | b'X' | b'g' | b'L' | b'K' | b'V') {
            return Ok(false);
        }
        let size = number::parse_unsigned(header.size()).ok_or(TarProblem::Number("size"))?;
        if size > MAX_EXTENSION {
            return Err(TarProblem::TooLarge("extension header"));
        }
        // Checked to be at most 1 MiB.
        let len = usize::try_from(size).unwrap_or(0);
        self.scratch.resize(len.next_multiple_of(BLOCK), 0);
        read_exact(&mut self.source, &mut self.scratch)?;
        let data = &self.scratch[..len];
        match kind {
            b'x' | b'X' => self.extended.local(data)?,
            b'g' => extended::global(&mut self.global, data)?,
            b'L' => self.extended.gnu_name(data)?,
            b'K' => self.extended.gnu_link(data)?,
            // A volume label names the archive, not an entry.
            _ => {}
        }
        Ok(true)
    }

    fn fill_entry(&mut self, header: &Header, entry: &mut Entry) -> Result<(), TarProblem> {
        self.fill_name(header, &mut entry.name)?;
        self.name.clone_from(&entry.name);
        let trailing_slash = entry.name.ends_with(b"/");
        entry.kind = kind(header.kind(), trailing_slash)?;
        self.fill_link(header, entry)?;
        self.fill_metadata(header, entry)?;
        self.extended.take_xattrs(&mut entry.xattrs);
        let stored = match self.extended.size {
            Some(size) => size,
            None => number::parse_unsigned(header.size()).ok_or(TarProblem::Number("size"))?,
        };
        if entry.kind == Kind::File {
            return self.fill_content(header, entry, stored);
        }
        entry.size = 0;
        entry.sparse = None;
        // Hard links carry the size of the file they name, and no data, in GNU tar and Go alike.
        // About other kinds readers disagree.
        if entry.kind == Kind::HardLink || stored == 0 {
            return Ok(());
        }
        Err(TarProblem::SizeOnHeaderOnly(stored))
    }

    fn fill_name(&self, header: &Header, name: &mut Vec<u8>) -> Result<(), TarProblem> {
        name.clear();
        if let Some(path) = self.extended.path()? {
            name.extend_from_slice(path);
        } else {
            let prefix = header.prefix();
            if !prefix.is_empty() {
                name.extend_from_slice(prefix);
                name.push(b'/');
            }
            name.extend_from_slice(header.name());
        }
        if name.is_empty() { Err(TarProblem::NoName) } else { Ok(()) }
    }

    fn fill_link(&self, header: &Header, entry: &mut Entry) -> Result<(), TarProblem> {
        entry.link.clear();
        if !matches!(entry.kind, Kind::Symlink | Kind::HardLink) {
            return Ok(());
        }
        let link = self.extended.link()?.unwrap_or(header.link());
        if link.is_empty() {
            return Err(TarProblem::NoTarget);
        }
        debug_assert!(link.len() <= MAX_NAME);
        entry.link.extend_from_slice(link);
        Ok(())
    }

    fn fill_metadata(&self, header: &Header, entry: &mut Entry) -> Result<(), TarProblem> {
        let mode = number::parse(header.mode()).ok_or(TarProblem::Number("mode"))?;
        entry.mode = u32::try_from(mode & 0o7777).unwrap_or(0);
        let (local, global) = (&self.extended.common, &self.global);
        entry.uid = match local.uid.or(global.uid) {
            Some(uid) => uid,
            None => owner(header.uid()).ok_or(TarProblem::Number("uid"))?,
        };
        entry.gid = match local.gid.or(global.gid) {
            Some(gid) => gid,
            None => owner(header.gid()).ok_or(TarProblem::Number("gid"))?,
        };
        entry.mtime = match local.mtime.or(global.mtime) {
            Some(mtime) => mtime,
            None => {
                let secs = number::parse(header.mtime()).ok_or(TarProblem::Number("mtime"))?;
                Time { secs, nanos: 0 }
            }
        };
        entry.device = (0, 0);
        if matches!(entry.kind, Kind::Char | Kind::Block) {
            entry.device = device(header).ok_or(TarProblem::Number("device number"))?;
        }
        Ok(())
    }

    fn fill_content(
        &mut self,
        header: &Header,
        entry: &mut Entry,
        stored: u64,
    ) -> Result<(), TarProblem> {
        let padding = stored.next_multiple_of(BLOCK as u64) - stored;
        self.data = Data { left: stored, padding, size: stored, ..Data::default() };
        let map = match (header.kind() == b'S', self.extended.sparse.take()?) {
            (false, None) => None,
            (true, None) => Some(self.old_sparse(header)?),
            (false, Some((size, PaxMap::Given(map)))) => Some((size, map)),
            (false, Some((size, PaxMap::InData))) => Some((size, self.map_in_data()?)),
            (true, Some(_)) => return Err(TarProblem::Ambiguous("sparse map")),
        };
        if let Some((size, extents)) = map {
            sparse::check(&extents, size, self.data.left)?;
            self.data.size = size;
            self.data.sparse = Some(Map { extents: extents.clone(), next: 0 });
            entry.sparse = Some(extents);
        } else {
            entry.sparse = None;
        }
        entry.size = self.data.size;
        Ok(())
    }

    /// GNU's old form: four extents in the header, the rest in blocks behind it.
    fn old_sparse(&mut self, header: &Header) -> Result<(u64, Vec<Extent>), TarProblem> {
        if header.dialect() != Dialect::Gnu {
            return Err(TarProblem::Kind('S'));
        }
        let size = number::parse_unsigned(&header.0[483..495]).ok_or(TarProblem::Sparse)?;
        let mut map = Vec::new();
        sparse::read_fields(&header.0[386..482], &mut map)?;
        let mut more = header.0[482] != 0;
        let mut blocks = 0;
        while more {
            let block = read_block(&mut self.source)?.ok_or(TarProblem::Truncated)?;
            sparse::read_fields(&block[..504], &mut map)?;
            more = block[504] != 0;
            blocks += 1;
            if blocks * BLOCK as u64 > MAX_EXTENSION * 8 {
                return Err(TarProblem::TooLarge("sparse map"));
            }
        }
        Ok((size, map))
    }

    fn map_in_data(&mut self) -> Result<Vec<Extent>, TarProblem> {
        let mut map = DataMap::default();
        loop {
            if self.data.left < BLOCK as u64 {
                return Err(TarProblem::Sparse);
            }
            let block = read_block(&mut self.source)?.ok_or(TarProblem::Truncated)?;
            self.data.left -= BLOCK as u64;
            if map.feed(&block)? {
                return Ok(map.extents());
            }
        }
    }
}

/// The content of the current file, its holes as zeros.
impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let data = &mut self.data;
        let room = (data.size - data.position).min(out.len() as u64);
        if room == 0 {
            return Ok(0);
        }
        if let Some(map) = &mut data.sparse
            && let Run::Hole(end) = map.at(data.position, data.size)
        {
            let len = room.min(end - data.position);
            let len = usize::try_from(len).unwrap_or(out.len());
            out[..len].fill(0);
            data.position += len as u64;
            return Ok(len);
        }
        let piece = self.piece().map_err(io::Error::other)?;
        let bytes = piece.map_or(&[][..], |piece| piece.bytes);
        let len = bytes.len().min(out.len());
        out[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

fn kind(flag: u8, trailing_slash: bool) -> Result<Kind, TarProblem> {
    Ok(match flag {
        // V7 has no type for directories but the slash.
        0 if trailing_slash => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(TarProblem::Kind(char::from(other))),
    })
}

fn owner(field: &[u8]) -> Option<u32> {
    number::parse_unsigned(field).and_then(extended::owner)
}

fn device(header: &Header) -> Option<(u32, u32)> {
    let (major, minor) = header.device()?;
    let number = |field| u32::try_from(number::parse_unsigned(field)?).ok();
    Some((number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests;
