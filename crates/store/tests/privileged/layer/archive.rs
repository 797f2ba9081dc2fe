//! Archives made byte by byte, since no honest writer makes the ones needed here.

use store::tar::{Entry, Kind, Writer, Xattr};

/// An archive in the making.
#[derive(Clone, Default)]
pub(super) struct Archive(Vec<u8>);

impl Archive {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.entry(&named(name, Kind::File, 0o644), content.as_bytes())
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.entry(&named(name, Kind::Directory, 0o755), b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        let link = target.as_bytes().to_vec();
        self.entry(&Entry { link, ..named(name, Kind::Symlink, 0o777) }, b"")
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        let link = target.as_bytes().to_vec();
        self.entry(&Entry { link, ..named(name, Kind::HardLink, 0o644) }, b"")
    }

    pub(super) fn node(self, name: &str, kind: Kind, device: (u32, u32)) -> Self {
        self.entry(&Entry { device, ..named(name, kind, 0o644) }, b"")
    }

    /// An entry as it is, without the end of the archive.
    pub(super) fn entry(mut self, entry: &Entry, content: &[u8]) -> Self {
        let entry = Entry { size: content.len() as u64, ..entry.clone() };
        let mut writer = Writer::new(&mut self.0);
        writer.begin(&entry).unwrap();
        writer.data(content).unwrap();
        writer.finish().unwrap();
        self.0.truncate(self.0.len() - 1024);
        self
    }

    /// A member with any type flag and any bytes in its name field.
    pub(super) fn member(self, name: &[u8], flag: u8, content: &[u8]) -> Self {
        self.header(name, flag, content.len() as u64, &[]).bytes(content).pad()
    }

    /// A header alone, with fields overwritten before its checksum is made.
    pub(super) fn header(
        self,
        name: &[u8],
        flag: u8,
        size: u64,
        fields: &[(usize, &[u8])],
    ) -> Self {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000644");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        for (at, bytes) in fields {
            block[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes(&block)
    }

    /// A PAX header for the next member.
    pub(super) fn pax(self, records: &[(&str, &str)]) -> Self {
        self.member(b"pax", b'x', &records_of(records))
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn pad(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive so far, without an end.
    pub(super) fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.bytes(&[0; 1024]).0
    }
}

pub(super) fn records_of(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let body = format!(" {key}={value}\n");
        let mut len = body.len() + 1;
        while len != body.len() + len.to_string().len() {
            len = body.len() + len.to_string().len();
        }
        out.extend(format!("{len}{body}").bytes());
    }
    out
}

/// An entry of root's, with nothing special.
pub(super) fn named(name: &str, kind: Kind, mode: u32) -> Entry {
    let mtime = store::tar::Time { secs: 1_000_000_000, nanos: 0 };
    Entry { name: name.as_bytes().to_vec(), kind, mode, mtime, ..Entry::default() }
}

pub(super) fn with_xattr(entry: Entry, name: &str, value: &[u8]) -> Entry {
    let xattr = Xattr { name: name.as_bytes().to_vec(), value: value.to_vec() };
    Entry { xattrs: vec![xattr], ..entry }
}
