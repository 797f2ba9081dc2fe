//! What extension headers say about the entry that follows: PAX records, GNU long names.
//!
//! Owns the meaning of the keys and their precedence. Keys that change nothing about a file system
//! (`comment`, `uname`, `atime`, `SCHILY.dev`, …) are passed over, as POSIX asks for.

use super::pax::Records;
use super::sparse::PaxSparse;
use super::{MAX_NAME, TarProblem, Time, Xattr, number};

/// Bytes that may be set, without an allocation per entry.
#[derive(Debug, Default)]
pub(super) struct Slot {
    set: bool,
    bytes: Vec<u8>,
}

impl Slot {
    fn put(&mut self, bytes: &[u8]) {
        self.set = true;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn get(&self) -> Option<&[u8]> {
        self.set.then_some(self.bytes.as_slice())
    }
}

/// Owner and time, which a global header may set as well.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Common {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
}

/// All that was said about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) common: Common,
    pub(super) size: Option<u64>,
    pub(super) sparse: PaxSparse,
    xattrs: Vec<Xattr>,
    /// libarchive writes each attribute twice; its own form counts only where the other is missing.
    libarchive: Vec<Xattr>,
    path: Slot,
    link: Slot,
    sparse_name: Slot,
    gnu_name: Slot,
    gnu_link: Slot,
}

impl Extended {
    pub(super) fn clear(&mut self) {
        self.common = Common::default();
        self.size = None;
        self.sparse.clear();
        self.xattrs.clear();
        self.libarchive.clear();
        for slot in [
            &mut self.path,
            &mut self.link,
            &mut self.sparse_name,
            &mut self.gnu_name,
            &mut self.gnu_link,
        ] {
            slot.set = false;
        }
    }

    /// Takes the data of a PAX header for one entry.
    pub(super) fn local(&mut self, data: &[u8]) -> Result<(), TarProblem> {
        for record in Records(data) {
            let (key, value) = record.map_err(|_| TarProblem::Pax)?;
            self.record(key, value)?;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return match key {
                b"name" => name(&mut self.sparse_name, value, "name"),
                key => self.sparse.record(key, value),
            };
        }
        if let Some(attr) = key.strip_prefix(b"SCHILY.xattr.") {
            return push_xattr(&mut self.xattrs, attr.to_vec(), value.to_vec());
        }
        if let Some(attr) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let attr = unescape(attr).ok_or(TarProblem::Pax)?;
            let value = base64(value).ok_or(TarProblem::Pax)?;
            return push_xattr(&mut self.libarchive, attr, value);
        }
        match key {
            b"path" => name(&mut self.path, value, "name")?,
            b"linkpath" => name(&mut self.link, value, "link target")?,
            b"size" => self.size = optional(value, number::decimal, "size")?,
            _ => common(&mut self.common, key, value)?,
        }
        Ok(())
    }

    /// Takes the data of a GNU long name: text that ends at its first NUL.
    pub(super) fn gnu_name(&mut self, data: &[u8]) -> Result<(), TarProblem> {
        name(&mut self.gnu_name, until_nul(data), "name")
    }

    /// Takes the data of a GNU long link target.
    pub(super) fn gnu_link(&mut self, data: &[u8]) -> Result<(), TarProblem> {
        name(&mut self.gnu_link, until_nul(data), "link target")
    }

    /// The name, if any header gave one.
    pub(super) fn path(&self) -> Result<Option<&[u8]>, TarProblem> {
        match self.sparse_name.get() {
            Some(name) => Ok(Some(name)),
            None => agree(&self.path, &self.gnu_name, "name"),
        }
    }

    /// The link target, if any header gave one.
    pub(super) fn link(&self) -> Result<Option<&[u8]>, TarProblem> {
        agree(&self.link, &self.gnu_link, "link target")
    }

    /// Moves the attributes into `out`.
    pub(super) fn take_xattrs(&mut self, out: &mut Vec<Xattr>) {
        out.clear();
        out.append(&mut self.xattrs);
        let known = out.len();
        for xattr in self.libarchive.drain(..) {
            if out[..known].iter().all(|other| other.name != xattr.name) {
                out.push(xattr);
            }
        }
    }
}

/// Takes the data of a global PAX header. What only one entry can have is refused in it: a name or
/// size for all entries is nonsense, and readers disagree about what it would mean.
pub(super) fn global(to: &mut Common, data: &[u8]) -> Result<(), TarProblem> {
    const SINGLE: [&[u8]; 3] = [b"path", b"linkpath", b"size"];
    const SINGLE_PREFIX: [&[u8]; 3] = [b"GNU.sparse.", b"SCHILY.xattr.", b"LIBARCHIVE.xattr."];
    for record in Records(data) {
        let (key, value) = record.map_err(|_| TarProblem::Pax)?;
        if SINGLE.contains(&key) || SINGLE_PREFIX.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(TarProblem::Global(String::from_utf8_lossy(key).into_owned()));
        }
        common(to, key, value)?;
    }
    Ok(())
}

fn common(to: &mut Common, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
    match key {
        b"uid" => to.uid = optional(value, id, "uid")?,
        b"gid" => to.gid = optional(value, id, "gid")?,
        b"mtime" => to.mtime = optional(value, number::time, "mtime")?,
        _ => {}
    }
    Ok(())
}

fn id(text: &[u8]) -> Option<u32> {
    number::decimal(text).and_then(owner)
}

/// An owner's number; `u32::MAX` would mean "leave as it is" to the kernel.
pub(super) fn owner(value: u64) -> Option<u32> {
    u32::try_from(value).ok().filter(|&id| id != u32::MAX)
}

/// An empty value takes a record back, as POSIX has it.
fn optional<T>(
    value: &[u8],
    parse: impl FnOnce(&[u8]) -> Option<T>,
    what: &'static str,
) -> Result<Option<T>, TarProblem> {
    if value.is_empty() {
        return Ok(None);
    }
    parse(value).map(Some).ok_or(TarProblem::Number(what))
}

fn name(slot: &mut Slot, value: &[u8], what: &'static str) -> Result<(), TarProblem> {
    if value.contains(&0) {
        return Err(TarProblem::Nul(what));
    }
    if value.len() > MAX_NAME {
        return Err(TarProblem::TooLong(what));
    }
    slot.put(value);
    slot.set = !value.is_empty();
    Ok(())
}

fn agree<'a>(
    pax: &'a Slot,
    gnu: &'a Slot,
    what: &'static str,
) -> Result<Option<&'a [u8]>, TarProblem> {
    match (pax.get(), gnu.get()) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(TarProblem::Ambiguous(what)),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

fn push_xattr(to: &mut Vec<Xattr>, name: Vec<u8>, value: Vec<u8>) -> Result<(), TarProblem> {
    if name.is_empty() || name.contains(&0) {
        return Err(TarProblem::Pax);
    }
    to.push(Xattr { name, value });
    Ok(())
}

fn until_nul(data: &[u8]) -> &[u8] {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    &data[..end]
}

/// `%XX` escapes, as libarchive writes attribute names.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (tail.first().copied()?, tail.get(1).copied()?);
        out.push(hex(high)? << 4 | hex(low)?);
        rest = &tail[2..];
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// libarchive's base64 has no padding; some writers add it.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut out = Vec::with_capacity(end / 4 * 3 + 3);
    for group in text[..end].chunks(4) {
        let mut bits: u32 = 0;
        for &byte in group {
            bits = bits << 6 | base64_digit(byte)?;
        }
        match group.len() {
            4 => out.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => out.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => out.push((bits >> 4).to_be_bytes()[3]),
            _ => return None,
        }
    }
    Some(out)
}

fn base64_digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_escapes() {
        assert_eq!(base64(b"").unwrap(), b"");
        assert_eq!(base64(b"Zg").unwrap(), b"f");
        assert_eq!(base64(b"Zm8=").unwrap(), b"fo");
        assert_eq!(base64(b"Zm9v+/AA").unwrap(), b"foo\xfb\xf0\0");
        assert_eq!(base64(b"Z"), None);
        assert_eq!(base64(b"Z*=="), None);
        assert_eq!(unescape(b"user.a%3Db").unwrap(), b"user.a=b");
        assert_eq!(unescape(b"user.%4"), None);
    }

    #[test]
    fn the_form_of_star_wins_over_libarchives() {
        let mut extended = Extended::default();
        extended.record(b"LIBARCHIVE.xattr.user.a", b"Zg").unwrap();
        extended.record(b"LIBARCHIVE.xattr.user.b", b"Zg").unwrap();
        extended.record(b"SCHILY.xattr.user.a", b"star").unwrap();
        let mut out = Vec::new();
        extended.take_xattrs(&mut out);
        let of = |name: &[u8], value: &[u8]| Xattr { name: name.into(), value: value.into() };
        assert_eq!(out, [of(b"user.a", b"star"), of(b"user.b", b"f")]);
    }
}
