//! Hostile archives from a seed: honest members with dishonest names, links, sizes and headers,
//! then damaged. Deterministic, so that a number names an archive for ever.

use std::io::Write as _;

/// splitmix64: every seed gives another sequence, and none is degenerate.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What nobody may make anywhere: absolute names in the archives carry it, the test looks for it.
pub(crate) const MARKER: &str = "dhow-fuzz-marker";

/// What stands for the canary's directory in names and targets.
const CANARY: &str = "CANARY";

/// Names and targets that an honest archive could have. They come often, so that many archives get
/// far, with links that lead everywhere on the way.
const TAME: &[&str] = &[
    "a", "b", "a/b", "a/b/c", "./a", "l", "l/x", "l/file", "m", "m/file", "d/", "d/e", "d/l",
    "d/l/file", "d", "x",
];

const NAMES: &[&str] = &[
    "a",
    "b",
    "a/b",
    "a/b/c",
    "./a",
    "l",
    "l/x",
    "l/file",
    "l/l/x",
    "m",
    "m/file",
    "m/../l/file",
    "d/",
    "d/e/",
    "d/l",
    "d/l/file",
    "d/.",
    "d//x",
    "./",
    ".",
    "/",
    "/a",
    "../x",
    "../canary/file",
    "a/../../x",
    "..",
    "CANARY/file",
    "CANARY",
    "l/CANARY/file",
    "/etc/dhow-fuzz-marker",
    "/dhow-fuzz-marker",
    "/tmp/dhow-fuzz-marker",
    "l/dhow-fuzz-marker",
    "m/tmp/dhow-fuzz-marker",
    "proc/self/cwd/dhow-fuzz-marker",
    ".wh.a",
    ".wh.l",
    "l/.wh.file",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    "l/.wh..wh..opq",
    ".wh.",
    ".wh..",
    ".wh...",
    ".wh..wh.plnk",
    ".wh.a/b",
    "a/.wh.b",
    "new\nline",
    "\u{1b}[2J",
    "...",
    "..a",
    "con\u{0}cealed",
    "",
    "dev/null",
    "etc/passwd",
];

const TARGETS: &[&str] = &[
    "CANARY",
    "CANARY/file",
    "../canary",
    "../canary/file",
    "..",
    "../..",
    "/",
    ".",
    "a",
    "b",
    "a/b",
    "l",
    "m",
    "/a",
    "/l/file",
    "l/file",
    "/proc/self/cwd",
    "/proc/self/root",
    "/proc/1/root",
    "/proc/self/fd/3",
    "d",
    "nowhere",
    "/../../..",
    "",
    "a/../b",
    ".wh.a",
    "/tmp",
    "/etc/passwd",
];

/// Values for numeric fields: octal text, base 256, negative, too large, no number at all.
const NUMBERS: &[&[u8]] = &[
    b"0000000\0",
    b"7777777\0",
    b"0000001\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\x7f\xff\xff\xff",
    b"\x80\0\0\0\xff\xff\xff\xff",
    b"       \0",
    b"8888888\0",
    b"-000001\0",
    b"00777777",
    b"0x10\0\0\0\0",
    b"\0\0\0\0\0\0\0\0",
    b"\x80\x40\0\0\0\0\0\0",
    b"\x80\0\0\0\0\0\x02\0",
];

/// Where the numeric fields of a header are: mode, uid, gid, size, mtime, device numbers.
const FIELDS: &[usize] = &[100, 108, 116, 124, 128, 136, 329, 337];

const PAX_KEYS: &[&str] = &[
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "GNU.sparse.map",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "GNU.sparse.numblocks",
    "SCHILY.xattr.user.x",
    "SCHILY.xattr.trusted.overlay.redirect",
    "SCHILY.xattr.trusted.overlay.opaque",
    "SCHILY.xattr.security.capability",
    "SCHILY.xattr.security.selinux",
    "SCHILY.xattr.system.posix_acl_default",
    "LIBARCHIVE.xattr.user.y",
    "SCHILY.acl.access",
    "hdrcharset",
    "comment",
    "VENDOR.unknown",
    "",
];

const PAX_VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "4294967295",
    "9223372036854775807",
    "9223372036854775808",
    "512",
    "0,4",
    "0,4,2,4",
    "4,4,0,4",
    "nan",
    "1.5",
    "-7.25",
    "/etc",
    "y",
    "../canary/file",
    "CANARY/file",
    "CANARY",
    "a\u{0}b",
    "",
    "l",
    "d/",
    "Zm9v",
    "\u{1}\u{0}\u{0}\u{2}\u{0}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
];

/// One archive under construction.
pub(crate) struct Archive<'a> {
    random: &'a mut Random,
    canary: &'a str,
    bytes: Vec<u8>,
    /// Where the headers are, so that a damaged one can get a checksum that fits.
    headers: Vec<usize>,
}

/// The archive of a seed; `canary` is the directory beside the root that it goes for.
pub(crate) fn archive(random: &mut Random, canary: &str) -> Vec<u8> {
    let mut archive = Archive { random, canary, bytes: Vec::new(), headers: Vec::new() };
    for _ in 0..=archive.random.below(9) {
        archive.member();
    }
    if !archive.random.one_in(8) {
        archive.bytes.extend([0; 1024]);
    }
    if archive.random.one_in(3) {
        for _ in 0..=archive.random.below(3) {
            archive.damage();
        }
    }
    archive.bytes
}

impl Archive<'_> {
    /// A tame text, or one of `from` once in `rarity` times; sometimes an endless one.
    fn text(&mut self, from: &[&str], rarity: usize) -> String {
        let from = if self.random.one_in(rarity) { from } else { TAME };
        let text = self.random.pick(from).replace(CANARY, self.canary);
        match self.random.below(200) {
            0 => format!("{text}{}", "n".repeat(300)),
            1 => "d/".repeat(2100),
            2 => format!("{}{text}", "l/".repeat(45)),
            3 => "k/".repeat(40) + "x",
            _ => text,
        }
    }

    /// A member with whatever stands in front of it.
    fn member(&mut self) {
        match self.random.below(40) {
            0 => self.pax(b'x'),
            1 => self.long(b'L', NAMES),
            2 => self.long(b'K', TARGETS),
            3 if self.random.one_in(3) => self.pax(b'g'),
            3 => self.sparse_pax(),
            4 => return self.old_sparse(),
            _ => {}
        }
        // Symlinks first and often: they are what the others go through.
        let kind = if self.random.one_in(25) {
            *self.random.pick(&[&b'V', &b'S', &b'D', &b'M', &b'X', &b'?', &b'3', &b'4'])
        } else {
            *self
                .random
                .pick(&[&b'0', &b'0', &0, &b'7', &b'5', &b'5', &b'2', &b'2', &b'2', &b'1', &b'6'])
        };
        let name = self.text(NAMES, 12);
        let content = match kind {
            b'0' | 0 | b'7' => {
                let len = *self.random.pick(&[&0_usize, &1, &5, &511, &512, &513, &3000]);
                vec![b'c'; len]
            }
            _ if self.random.one_in(200) => vec![b'c'; 20],
            _ => Vec::new(),
        };
        self.header(name.as_bytes(), kind, content.len());
        self.content(&content);
    }

    fn content(&mut self, content: &[u8]) {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    fn header(&mut self, name: &[u8], kind: u8, size: usize) {
        let mut block = [0_u8; 512];
        let shown = name.len().min(100);
        block[..shown].copy_from_slice(&name[..shown]);
        if name.len() > 100 && self.random.one_in(2) {
            let rest = (name.len() - 100).min(155);
            block[345..345 + rest].copy_from_slice(&name[100..100 + rest]);
        }
        let mode = *self.random.pick(&[&0o644, &0o755, &0o777, &0o6755, &0o1777, &0, &0o2770]);
        block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        let (uid, gid) =
            (*self.random.pick(&[&0, &0, &1000, &65534]), *self.random.pick(&[&0, &0, &7]));
        block[108..115].copy_from_slice(format!("{uid:07o}").as_bytes());
        block[116..123].copy_from_slice(format!("{gid:07o}").as_bytes());
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"07346545000");
        block[156] = kind;
        // A symlink may lead anywhere; the law is about what goes through it.
        let target = self.text(TARGETS, if kind == b'2' { 1 } else { 6 });
        let target = &target.as_bytes()[..target.len().min(100)];
        block[157..157 + target.len()].copy_from_slice(target);
        let magic: &[u8] =
            if kind == b'S' || self.random.one_in(4) { b"ustar  \0" } else { b"ustar\x0000" };
        block[257..265].copy_from_slice(magic);
        let major = *self.random.pick(&[&"0000001", &"0000001", &"0000010", &"7777777"]);
        block[329..336].copy_from_slice(major.as_bytes());
        block[337..344].copy_from_slice(b"0000003");
        if self.random.one_in(80) {
            let (at, value) =
                (*self.random.pick(&FIELDS.iter().collect::<Vec<_>>()), self.random.pick(NUMBERS));
            block[at..at + 8].copy_from_slice(value);
        }
        self.headers.push(self.bytes.len());
        self.bytes.extend_from_slice(&block);
        self.checksum(self.bytes.len() - 512);
    }

    fn checksum(&mut self, at: usize) {
        let Some(block) = self.bytes.get_mut(at..at + 512) else { return };
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }

    fn pax(&mut self, kind: u8) {
        let mut records = Vec::new();
        for _ in 0..=self.random.below(3) {
            let key = self.random.pick(PAX_KEYS);
            let value = self.random.pick(PAX_VALUES).replace(CANARY, self.canary);
            records.extend(record(key, &value));
        }
        if self.random.one_in(12) {
            records.extend(
                self.random
                    .pick(&["999 path=x\n", "x", "0 a=b\n", "5 a=b", "18446744073709551616 a=b\n"])
                    .bytes(),
            );
        }
        self.extension(kind, &records);
    }

    /// A map that fits, or nearly.
    fn sparse_pax(&mut self) {
        let map =
            self.random.pick(&["0,5", "0,3,10,2", "2,3,1048576,2", "0,2,2,3", "0,9", "5,1,0,4"]);
        let size = self.random.pick(&["5", "12", "1048578", "99999999999999", "0"]);
        let mut records = record("GNU.sparse.map", map);
        records.extend(record("GNU.sparse.size", size));
        self.extension(b'x', &records);
        self.header(b"sparse", b'0', 5);
        self.content(b"12345");
    }

    /// GNU's old form: the map in the header, more of it in blocks behind.
    fn old_sparse(&mut self) {
        self.header(b"old", b'S', 5);
        let at = self.bytes.len() - 512;
        let fields: [(usize, &[u8]); 3] = [
            (
                386,
                *self.random.pick(&[
                    &&b"00000000000\x0000000000005\0"[..],
                    &&b"00000000000\x0077777777777\0"[..],
                    &&b"-0000000001\x0000000000005\0"[..],
                ]),
            ),
            (
                483,
                *self.random.pick(&[
                    &&b"00000000005\0"[..],
                    &&b"77777777777\0"[..],
                    &&b"00000000000\0"[..],
                ]),
            ),
            (482, *self.random.pick(&[&&b"\0"[..], &&b"\0"[..], &&b"\x01"[..]])),
        ];
        for (field, value) in fields {
            self.bytes[at + field..at + field + value.len()].copy_from_slice(value);
        }
        self.checksum(at);
        self.content(b"12345");
    }

    fn long(&mut self, kind: u8, from: &[&str]) {
        let mut text = self.text(from, 3).into_bytes();
        text.push(0);
        for _ in 0..*self.random.pick(&[&1, &1, &1, &1, &1, &1, &2, &40]) {
            self.extension(kind, &text);
        }
    }

    fn extension(&mut self, kind: u8, content: &[u8]) {
        // Some announce a gigabyte, which a reader that believes it would set aside.
        let size = if self.random.one_in(400) { 1 << 30 } else { content.len() };
        self.header(b"././@LongLink", kind, size);
        self.content(content);
    }

    /// Breaks something, and sometimes hides that from the checksum.
    fn damage(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let at = self.random.below(self.bytes.len());
        let block = at / 512 * 512;
        match self.random.below(8) {
            0 => self.bytes.truncate(at),
            1 => self.bytes.truncate(block),
            2 => self.bytes[at] ^= 1 << self.random.below(8),
            3 => {
                let copy = self.bytes[block..(block + 512).min(self.bytes.len())].to_vec();
                self.bytes.splice(block..block, copy);
            }
            4 => drop(self.bytes.drain(block..(block + 512).min(self.bytes.len()))),
            5 => drop(self.bytes.splice(block..block, [0; 512])),
            _ => self.rewrite_field(),
        }
    }

    /// A number of a header becomes another one, and the checksum agrees.
    fn rewrite_field(&mut self) {
        let Some(at) = self.headers.get(self.random.below(self.headers.len().max(1))).copied()
        else {
            return;
        };
        if at + 512 > self.bytes.len() {
            return;
        }
        let field = at + *self.random.pick(&FIELDS.iter().collect::<Vec<_>>());
        let value = self.random.pick(NUMBERS);
        self.bytes[field..field + 8].copy_from_slice(value);
        if self.random.one_in(3) {
            self.bytes[at + 156] = *self.random.pick(&[&b'1', &b'2', &b'5', &b'x', &b'S', &b'L']);
        }
        self.checksum(at);
    }
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let body = format!(" {key}={value}\n");
    let mut len = body.len() + 1;
    while len != body.len() + len.to_string().len() {
        len = body.len() + len.to_string().len();
    }
    format!("{len}{body}").into_bytes()
}

/// How an archive comes over the wire.
pub(crate) fn wrapped(random: &mut Random, archive: Vec<u8>) -> Vec<u8> {
    let archive = if random.one_in(400) { [archive, vec![0; 40 << 20]].concat() } else { archive };
    let mut wire = match random.below(12) {
        0 => gzip(&archive),
        1 => zstd::encode_all(&archive[..], 1).unwrap(),
        _ => return archive,
    };
    match random.below(20) {
        0 => wire.truncate(random.below(wire.len())),
        1 => {
            let at = random.below(wire.len());
            wire[at] ^= 1 << random.below(8);
        }
        2 => wire.extend(b"what follows"),
        3 => wire.extend(gzip(b"another member")),
        _ => {}
    }
    wire
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
