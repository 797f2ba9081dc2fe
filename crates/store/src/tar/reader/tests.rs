//! Tests of reader and writer together, and of archives that no writer of ours makes.

use super::*;
use crate::tar::{Writer, Xattr};
use proptest::prelude::*;
use std::io::BufReader;

/// Reads all entries with their contents, through a buffer of `capacity` bytes.
fn read_all(archive: &[u8], capacity: usize) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(BufReader::with_capacity(capacity, archive));
    let mut all = Vec::new();
    let mut entry = Entry::default();
    while reader.next_entry(&mut entry)? {
        let mut content = Vec::new();
        // Sizes of many GiB occur here as holes; the first part shows enough.
        Read::by_ref(&mut reader)
            .take(1 << 16)
            .read_to_end(&mut content)
            .map_err(|error| error.downcast::<TarError>().unwrap())?;
        all.push((entry.clone(), content));
    }
    Ok(all)
}

/// A header as an old tool may write it: ustar, everything zero but these.
fn header(name: &str, flag: u8, size: u64) -> [u8; BLOCK] {
    let mut header = Header([0; BLOCK]);
    header.0[..name.len()].copy_from_slice(name.as_bytes());
    header.0[156] = flag;
    header.0[257..265].copy_from_slice(b"ustar\x0000");
    number::write_octal(&mut header.0[124..136], size).unwrap();
    header.seal();
    header.0
}

fn member(name: &str, flag: u8, data: &[u8]) -> Vec<u8> {
    let mut out = header(name, flag, data.len() as u64).to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    crate::tar::pax::push_record(&mut out, key.as_bytes(), value.as_bytes());
    out
}

fn problem(archive: &[u8]) -> String {
    read_all(archive, 4096).unwrap_err().to_string()
}

#[test]
fn the_pax_size_counts_not_the_headers() {
    // CVE-2025-62518, CVE-2026-33055: a reader that takes 0 from the header sees `smuggled`.
    let smuggled = member("smuggled", b'0', b"");
    let mut archive = member("x", b'x', &record("size", &smuggled.len().to_string()));
    archive.extend(header("file", b'0', 0));
    archive.extend(&smuggled);
    archive.extend([0; 1024]);
    let entries = read_all(&archive, 4096).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].1, smuggled);
}

#[test]
fn gnu_long_names_and_links() {
    let long = "d/".repeat(100) + "f";
    let mut archive = member("././@LongLink", b'L', format!("{long}\0").as_bytes());
    archive.extend(member("././@LongLink", b'K', format!("../{long}\0junk").as_bytes()));
    archive.extend(header("cut", b'2', 0));
    let entries = read_all(&archive, 4096).unwrap();
    assert_eq!(entries[0].0.name, long.as_bytes());
    assert_eq!(entries[0].0.link, format!("../{long}").as_bytes());
    assert_eq!(entries[0].0.kind, Kind::Symlink);
}

#[test]
fn v7_directories_have_a_slash_and_no_type() {
    let mut block = Header(header("dir/", 0, 0));
    block.0[257..265].fill(0);
    block.seal();
    let entries = read_all(&block.0, 4096).unwrap();
    assert_eq!(entries[0].0.kind, Kind::Directory);
    assert_eq!(read_all(&header("dir/", b'0', 0), 4096).unwrap()[0].0.kind, Kind::File);
}

#[test]
fn globals_set_owner_and_time_until_an_entry_says_otherwise() {
    let mut global = record("uid", "7");
    global.extend(record("mtime", "5.25"));
    global.extend(record("comment", "a revision"));
    let mut archive = member("g", b'g', &global);
    archive.extend(member("a", b'0', b""));
    archive.extend(member("x", b'x', &record("uid", "8")));
    archive.extend(member("b", b'0', b""));
    let entries = read_all(&archive, 4096).unwrap();
    let owner_and_time = |n: usize| (entries[n].0.uid, entries[n].0.mtime);
    assert_eq!(owner_and_time(0), (7, Time { secs: 5, nanos: 250_000_000 }));
    assert_eq!(owner_and_time(1).0, 8);
    assert!(problem(&member("g", b'g', &record("path", "x"))).contains("global header sets"));
}

#[test]
fn gnu_sparse_old_form_with_continuation() {
    let mut block = Header([0; BLOCK]);
    block.0[..6].copy_from_slice(b"sparse");
    block.0[156] = b'S';
    block.0[257..265].copy_from_slice(b"ustar  \0");
    number::write_octal(&mut block.0[124..136], 6).unwrap();
    number::write_octal(&mut block.0[483..495], 1000).unwrap();
    let put = |fields: &mut [u8], n: usize, offset, len| {
        number::write_octal(&mut fields[n * 24..n * 24 + 12], offset).unwrap();
        number::write_octal(&mut fields[n * 24 + 12..n * 24 + 24], len).unwrap();
    };
    for n in 0..4 {
        put(&mut block.0[386..482], n, n as u64 * 100, 1);
    }
    block.0[482] = 1;
    block.seal();
    let mut more = [0u8; BLOCK];
    put(&mut more, 0, 400, 1);
    put(&mut more, 1, 998, 1);
    let mut archive = block.0.to_vec();
    archive.extend(more);
    archive.extend(b"abcdef");
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    let entries = read_all(&archive, 4096).unwrap();
    let content = &entries[0].1;
    assert_eq!((entries[0].0.size, content.len()), (1000, 1000));
    let data: Vec<_> = content.iter().enumerate().filter(|(_, b)| **b != 0).collect();
    let want = [(0, &b'a'), (100, &b'b'), (200, &b'c'), (300, &b'd'), (400, &b'e'), (998, &b'f')];
    assert_eq!(data, want);
}

/// Blocks of the old form, which nothing else limits: without an extent, and with as many as fit.
#[test]
fn old_sparse_maps_have_an_end() {
    let mut first = Header([0; BLOCK]);
    first.0[..6].copy_from_slice(b"sparse");
    first.0[156] = b'S';
    first.0[257..265].copy_from_slice(b"ustar  \0");
    first.0[482] = 1;
    number::write_octal(&mut first.0[483..495], 0).unwrap();
    first.seal();
    let mut empty = [0; BLOCK];
    empty[504] = 1;
    let mut full = empty;
    for field in full[..504].chunks_exact_mut(12) {
        number::write_octal(field, 0).unwrap();
    }
    for (block, count) in [(empty, 20_000), (full, 7_000)] {
        let archive = [&first.0[..], &block.repeat(count), &[0; BLOCK]].concat();
        let said = problem(&archive);
        assert!(said.ends_with("sparse map is larger than its limit"), "{said}");
    }
}

#[test]
fn pax_sparse_forms() {
    let old = [record("GNU.sparse.size", "10"), record("GNU.sparse.map", "2,3,8,1")].concat();
    let mut archive = member("x", b'x', &old);
    archive.extend(member("f", b'0', b"abcd"));
    let content = |archive: &[u8]| read_all(archive, 4096).unwrap().remove(0);
    assert_eq!(content(&archive).1, b"\0\0abc\0\0\0d\0");
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "10"),
        ("GNU.sparse.name", "real"),
    ];
    let new: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    let mut data = b"2\n2\n3\n8\n1\n".to_vec();
    data.resize(BLOCK, 0);
    data.extend(b"abcd");
    let mut archive = member("x", b'x', &new);
    archive.extend(member("GNUSparseFile.1/f", b'0', &data));
    let (entry, bytes) = content(&archive);
    assert_eq!((entry.name.as_slice(), bytes.as_slice()), (&b"real"[..], &b"\0\0abc\0\0\0d\0"[..]));
}

#[test]
fn what_is_wrong_is_named_with_its_entry() {
    let fine = member("fine", b'0', b"x");
    let with = |more: &[u8]| [fine.as_slice(), more].concat();
    let pax = |key: &str, value: &str| {
        let mut out = member("x", b'x', &record(key, value));
        out.extend(header("f", b'0', 0));
        with(&out)
    };
    let sized = |flag| with(&header("f", flag, 512));
    let both =
        [member("L", b'L', b"one\0"), member("x", b'x', &record("path", "two")), fine.clone()];
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (with(&[1; 512]), "entry 2: not a tar header (wrong checksum)"),
        (with(&[1; 100]), "entry 2: the archive is truncated"),
        (fine[..600].to_vec(), "entry 1 \"fine\": the archive is truncated"),
        (with(&header("f", b'0', 1 << 32)), "entry 2 \"f\": the archive is truncated"),
        (with(&header("", b'0', 0)), "entry 2: the entry has no name"),
        (with(&header("f", b'2', 0)), "entry 2 \"f\": the link has no target"),
        (sized(b'5'), "entry 2 \"f\": 512 bytes of data on an entry that has no content"),
        (sized(b'6'), "entry 2 \"f\": 512 bytes of data on an entry that has no content"),
        (sized(b'D'), "entry 2 \"f\": unsupported entry type 'D'"),
        (sized(b'S'), "entry 2 \"f\": unsupported entry type 'S'"),
        (with(&member("x", b'x', b"5 a=b\n")), "entry 2: malformed PAX record"),
        (with(&member("x", b'x', b"")), "entry 2: extension header at the end of the archive"),
        (with(&header("x", b'x', 2 << 20)), "entry 2: extension header is larger than its limit"),
        (pax("size", "-1"), "entry 2 \"f\": bad size"),
        (pax("size", "9223372036854775808"), "entry 2 \"f\": bad size"),
        (pax("uid", "4294967295"), "entry 2: bad uid"),
        (pax("mtime", "nan"), "entry 2: bad mtime"),
        (pax("path", "a\0b"), "entry 2: name contains a NUL byte"),
        (pax("path", &"x".repeat(4097)), "entry 2: name is longer than 4096 bytes"),
        (pax("GNU.sparse.map", "0,5"), "entry 2 \"f\": bad sparse map"),
        (both.concat(), "entry 1: PAX and GNU headers disagree about the name"),
        ([vec![0; 512], fine.clone()].concat(), "entry 1: a lone zero block inside the archive"),
        (member("L", b'L', b"a\0").repeat(40), "entry 1: more than 32 extension headers"),
    ];
    for (archive, message) in cases {
        let problem = problem(&archive);
        // Numbers in PAX are read before the entry's name is known.
        let bare = message.replace(" \"f\"", "");
        assert!(problem.contains(message) || problem.contains(&bare), "{problem}, not {message}");
    }
}

#[test]
fn an_owner_of_minus_one_is_refused() {
    let mut block = Header(header("f", b'0', 0));
    block.0[108..116].copy_from_slice(&[0xff; 8]);
    block.seal();
    assert!(problem(&block.0).contains("bad uid"));
    block.0[108..116].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff");
    block.seal();
    assert!(problem(&block.0).contains("bad uid"));
}

#[test]
fn the_archive_ends_at_two_zero_blocks_or_the_end() {
    let fine = member("fine", b'0', b"x");
    for end in [0, 512, 1024, 10240] {
        let archive = [fine.clone(), vec![0; end]].concat();
        assert_eq!(read_all(&archive, 4096).unwrap().len(), 1, "{end}");
    }
    let trailing = [fine.clone(), vec![0; 1024], b"anything".to_vec(), fine].concat();
    let mut reader = Reader::new(trailing.as_slice());
    let mut entry = Entry::default();
    assert!(reader.next_entry(&mut entry).unwrap());
    assert!(!reader.next_entry(&mut entry).unwrap());
    assert!(!reader.next_entry(&mut entry).unwrap());
    assert_eq!(reader.drain().unwrap(), 8 + 1024);
    assert_eq!(read_all(&[], 4096).unwrap(), []);
}

/// Entries that the writer must bring through, with contents.
fn entries() -> impl Strategy<Value = Vec<(Entry, Vec<u8>)>> {
    let bytes = |max| prop::collection::vec(1u8.., 1..max);
    let name = prop_oneof![
        bytes(20),
        bytes(300),
        "([a-z]{1,40}/){1,8}[a-z]{1,120}".prop_map(String::into_bytes)
    ];
    let xattr = ("user\\.[a-z]{1,9}", any::<Vec<u8>>())
        .prop_map(|(name, value)| Xattr { name: name.into_bytes(), value });
    let kind = prop::sample::select(vec![
        Kind::File,
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::HardLink,
        Kind::Char,
        Kind::Block,
        Kind::Fifo,
    ]);
    let owner = || prop_oneof![0u32..1000, any::<u32>().prop_filter("-1", |id| *id != u32::MAX)];
    let time = (-(1i64 << 40)..1 << 40, prop_oneof![Just(0), 0u32..1_000_000_000]);
    let numbers = (0u32..0o10000, owner(), owner(), time, (0u32..4096, 0u32..1 << 20));
    let content = prop::collection::vec(any::<u8>(), 0..2000);
    let entry = (
        name,
        bytes(300),
        kind,
        numbers,
        prop::collection::btree_map("[a-z]{1,8}", xattr, 0..3),
        content,
    );
    let entry =
        entry.prop_map(|(name, link, kind, (mode, uid, gid, time, device), xattrs, content)| {
            let linked = matches!(kind, Kind::Symlink | Kind::HardLink);
            let node = matches!(kind, Kind::Char | Kind::Block);
            let mut xattrs: Vec<Xattr> = xattrs.into_values().collect();
            xattrs.sort();
            xattrs.dedup_by(|a, b| a.name == b.name);
            let content = if kind == Kind::File { content } else { Vec::new() };
            let entry = Entry {
                name,
                link: if linked { link } else { Vec::new() },
                kind,
                mode,
                uid,
                gid,
                mtime: Time { secs: time.0, nanos: time.1 },
                size: content.len() as u64,
                device: if node { device } else { (0, 0) },
                xattrs,
                sparse: None,
            };
            (entry, content)
        });
    prop::collection::vec(entry, 0..5)
}

/// Makes a file's zero runs its holes.
fn with_holes(entry: &mut Entry, content: &[u8]) {
    let mut extents = Vec::new();
    for (n, chunk) in content.chunks(7).enumerate() {
        if n % 2 == 1 {
            extents.push(Extent { offset: n as u64 * 7, len: chunk.len() as u64 });
        }
    }
    entry.sparse = Some(extents);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read(entries in entries(), capacity in 1usize..3000) {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in &entries {
            writer.begin(entry).unwrap();
            writer.data(content).unwrap();
        }
        let archive = writer.finish().unwrap();
        prop_assert_eq!(archive.len() % BLOCK, 0);
        prop_assert_eq!(read_all(&archive, capacity).unwrap(), entries);
    }

    #[test]
    fn sparse_files_are_read_with_their_holes(
        content in prop::collection::vec(1u8.., 1..200),
        capacity in 1usize..600,
    ) {
        let mut entry = Entry { name: b"dir/f".into(), size: content.len() as u64, ..Entry::default() };
        with_holes(&mut entry, &content);
        let mut want = vec![0; content.len()];
        let mut writer = Writer::new(Vec::new());
        writer.begin(&entry).unwrap();
        for extent in entry.sparse.as_ref().unwrap() {
            let range = usize::try_from(extent.offset).unwrap()..;
            let range = range.start..range.start + usize::try_from(extent.len).unwrap();
            writer.data(&content[range.clone()]).unwrap();
            want[range.clone()].copy_from_slice(&content[range]);
        }
        let archive = writer.finish().unwrap();
        prop_assert_eq!(read_all(&archive, capacity).unwrap(), vec![(entry, want)]);
    }

    #[test]
    fn damaged_archives_are_answered(
        entries in entries(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in &entries {
            writer.begin(entry).unwrap();
            writer.data(content).unwrap();
        }
        let mut archive = writer.finish().unwrap();
        for (at, byte) in damage {
            let at = at.index(archive.len());
            archive[at] = byte;
            // A header whose checksum was mended reaches the code behind the checksum.
            let block = at / BLOCK * BLOCK;
            let mut header = Header(archive[block..block + BLOCK].try_into().unwrap());
            header.seal();
            archive[block..block + BLOCK].copy_from_slice(&header.0);
        }
        archive.truncate(cut.index(archive.len() + 1));
        let _ = read_all(&archive, 777);
    }
}

#[test]
fn the_writer_holds_callers_to_the_size() {
    let entry = Entry { name: b"f".into(), size: 2, ..Entry::default() };
    let mut writer = Writer::new(Vec::new());
    writer.begin(&entry).unwrap();
    assert!(writer.data(b"abc").is_err());
    let mut writer = Writer::new(Vec::new());
    writer.begin(&entry).unwrap();
    writer.data(b"a").unwrap();
    assert!(writer.finish().is_err());
}
