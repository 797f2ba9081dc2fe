//! The writer: ustar headers, PAX in front of them where ustar does not suffice.
//!
//! Deterministic: the same entries give the same bytes. Writes what it is given, in that order;
//! names, order and times are the caller's choice.

use std::io::{self, Write};

use super::block::Header;
use super::{BLOCK, Entry, Kind, number, pax, sparse};

/// An archive that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("write the archive")]
    Io(#[from] io::Error),
    /// The data given and the size announced differ.
    #[error("data do not match the announced size by {0} bytes")]
    Size(u64),
    /// The format cannot express it.
    #[error("a tar entry cannot have {0}")]
    Unrepresentable(&'static str),
}

/// Writes an archive.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Data of the current entry that are still owed.
    left: u64,
    /// Zeros owed after them.
    padding: usize,
    /// Bytes written so far.
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, in small pieces; give it a buffer.
    pub fn new(out: W) -> Self {
        Self { out, left: 0, padding: 0, written: 0 }
    }

    /// Starts an entry; the one before must have got all its data. Of a sparse file only the data
    /// within its extents are to follow.
    ///
    /// # Errors
    /// [`WriteError`]; the archive is of no use afterwards.
    pub fn begin(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.end_entry()?;
        let map = entry.sparse.as_deref().map(sparse::write_data_map);
        let data: u64 = match &entry.sparse {
            Some(extents) => extents.iter().map(|extent| extent.len).sum(),
            None => entry.size,
        };
        let stored = data + map.as_ref().map_or(0, |map| map.len() as u64);
        let (header, records) = encode(entry, stored)?;
        if !records.is_empty() {
            self.extension(&entry.name, &records)?;
        }
        self.put(&header.0)?;
        if let Some(map) = map {
            self.put(&map)?;
        }
        self.left = data;
        self.padding = padding(data);
        Ok(())
    }

    /// Writes data of the current entry.
    ///
    /// # Errors
    /// [`WriteError::Size`] if it is more than was announced.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let len = bytes.len() as u64;
        self.left = self.left.checked_sub(len).ok_or(WriteError::Size(len))?;
        self.put(bytes)
    }

    /// Ends the archive with its two zero blocks. The output is not flushed.
    ///
    /// # Errors
    /// [`WriteError::Size`] if the last entry lacks data.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.end_entry()?;
        self.put(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    /// The archive's length so far, with the padding of the current entry.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written + self.padding as u64
    }

    fn end_entry(&mut self) -> Result<(), WriteError> {
        if self.left != 0 {
            return Err(WriteError::Size(self.left));
        }
        let padding = std::mem::take(&mut self.padding);
        self.put(&[0; BLOCK][..padding])
    }

    fn extension(&mut self, name: &[u8], records: &[u8]) -> Result<(), WriteError> {
        let mut header = Header([0; BLOCK]);
        let base = name.strip_suffix(b"/").unwrap_or(name);
        let base = base.rsplit(|&byte| byte == b'/').next().unwrap_or(base);
        let mut label = b"PaxHeaders/".to_vec();
        label.extend_from_slice(&base[..base.len().min(80)]);
        header.0[..label.len()].copy_from_slice(&label);
        let octal = |field: &mut [u8], value| number::write_octal(field, value);
        octal(&mut header.0[100..108], 0o644);
        for field in [108..116, 116..124, 136..148, 329..337, 337..345] {
            octal(&mut header.0[field], 0);
        }
        octal(&mut header.0[124..136], records.len() as u64);
        finish_header(&mut header, b'x');
        self.put(&header.0)?;
        self.put(records)?;
        self.put(&[0; BLOCK][..padding(records.len() as u64)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// The ustar header, and the PAX records for what does not fit into it.
fn encode(entry: &Entry, stored: u64) -> Result<(Header, Vec<u8>), WriteError> {
    if entry.name.is_empty() || entry.name.contains(&0) || entry.link.contains(&0) {
        return Err(WriteError::Unrepresentable("such a name"));
    }
    let mut header = Header([0; BLOCK]);
    let mut fields = Records::default();
    for xattr in &entry.xattrs {
        if xattr.name.contains(&b'=') || xattr.name.contains(&0) || xattr.name.is_empty() {
            return Err(WriteError::Unrepresentable("such an attribute name"));
        }
        fields.add([b"SCHILY.xattr.", xattr.name.as_slice()].concat(), xattr.value.clone());
    }
    encode_name(entry, &mut header, &mut fields);
    encode_numbers(entry, stored, &mut header, &mut fields)?;
    if entry.sparse.is_some() {
        encode_sparse(entry, &mut header, &mut fields);
    }
    finish_header(&mut header, flag(entry.kind));
    Ok((header, fields.into_bytes()))
}

fn encode_name(entry: &Entry, header: &mut Header, fields: &mut Records) {
    if let Some((prefix, name)) = split_name(&entry.name) {
        header.0[..name.len()].copy_from_slice(name);
        header.0[345..345 + prefix.len()].copy_from_slice(prefix);
    } else {
        header.0[..100].copy_from_slice(&entry.name[..100]);
        fields.text(b"path", &entry.name);
    }
    if !matches!(entry.kind, Kind::Symlink | Kind::HardLink) {
        return;
    }
    let fits = entry.link.len().min(100);
    header.0[157..157 + fits].copy_from_slice(&entry.link[..fits]);
    if entry.link.len() > 100 {
        fields.text(b"linkpath", &entry.link);
    }
}

fn encode_numbers(
    entry: &Entry,
    stored: u64,
    header: &mut Header,
    fields: &mut Records,
) -> Result<(), WriteError> {
    let mut put = |field: std::ops::Range<usize>, key: &[u8], value: u64| {
        if number::write_octal(&mut header.0[field.clone()], value).is_none() {
            number::write_octal(&mut header.0[field], 0);
            fields.add(key.to_vec(), value.to_string().into_bytes());
        }
    };
    put(100..108, b"", u64::from(entry.mode & 0o7777));
    put(108..116, b"uid", u64::from(entry.uid));
    put(116..124, b"gid", u64::from(entry.gid));
    put(124..136, b"size", stored);
    let secs = u64::try_from(entry.mtime.secs).ok();
    let secs = secs.filter(|secs| secs >> 33 == 0 && entry.mtime.nanos == 0);
    put(136..148, b"", secs.unwrap_or(0));
    if secs.is_none() {
        fields.add(b"mtime".to_vec(), number::format_time(entry.mtime).into_bytes());
    }
    let (major, minor) = entry.device;
    for (field, value) in [(329..337, major), (337..345, minor)] {
        number::write_octal(&mut header.0[field], u64::from(value))
            .ok_or(WriteError::Unrepresentable("such a device number"))?;
    }
    Ok(())
}

/// Readers that know form 1.0 take the name from its record; others see that the file is special.
fn encode_sparse(entry: &Entry, header: &mut Header, fields: &mut Records) {
    fields.add(b"GNU.sparse.major".to_vec(), b"1".to_vec());
    fields.add(b"GNU.sparse.minor".to_vec(), b"0".to_vec());
    fields.text(b"GNU.sparse.name", &entry.name);
    fields.add(b"GNU.sparse.realsize".to_vec(), entry.size.to_string().into_bytes());
    fields.remove(b"path");
    header.0[..100].fill(0);
    header.0[345..500].fill(0);
    let base = entry.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let mut name = b"GNUSparseFile.0/".to_vec();
    name.extend_from_slice(&base[..base.len().min(80)]);
    header.0[..name.len()].copy_from_slice(&name);
}

fn finish_header(header: &mut Header, flag: u8) {
    header.0[156] = flag;
    header.0[257..265].copy_from_slice(b"ustar\x0000");
    header.seal();
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Prefix and name such that `prefix/name` is the whole; `None` if ustar cannot hold it.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // The slash must leave at most 100 bytes behind it, and not none.
    let from = name.len().checked_sub(101)?;
    let slash = (from..name.len() - 1).find(|&at| name[at] == b'/')?;
    (slash <= 155 && slash > 0).then(|| (&name[..slash], &name[slash + 1..]))
}

fn padding(len: u64) -> usize {
    let over = usize::try_from(len % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// PAX records in the order of their keys.
#[derive(Debug, Default)]
struct Records {
    records: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Records {
    fn add(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.records.insert(key, value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.records.remove(key);
    }

    /// A name. PAX text is UTF-8 unless the header says that it is not.
    fn text(&mut self, key: &[u8], value: &[u8]) {
        if std::str::from_utf8(value).is_err() {
            self.add(b"hdrcharset".to_vec(), b"BINARY".to_vec());
        }
        self.add(key.to_vec(), value.to_vec());
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in &self.records {
            pax::push_record(&mut out, key, value);
        }
        out
    }
}
