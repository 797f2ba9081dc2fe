//! Packing is the inverse of applying, and a diff gives back what was changed.

use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{FileType, Mode};
use store::layer::{self, ApplyOptions, Holes, PackError, PackOptions};
use store::tar::{Entry, Extent, Kind, Reader, Time, Xattr};
use sys::root::Root;

use super::archive::{Archive, named, with_xattr};
use super::{listing, overlay};

struct Dirs(tempfile::TempDir);

impl Dirs {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("dhow-roundtrip-").tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn root(&self, name: &str) -> Root {
        Root::open(self.path(name)).unwrap()
    }

    fn apply(&self, name: &str, archive: &[u8]) -> Root {
        let root = self.root(name);
        layer::apply(archive, &root, &ApplyOptions::default()).unwrap();
        root
    }
}

fn packed(root: &Root, holes: Holes) -> Vec<u8> {
    let mut out = Vec::new();
    let options = PackOptions { holes, ..PackOptions::default() };
    let done = layer::pack(root, &mut out, &options).unwrap();
    assert_eq!((done.bytes, done.vanished), (out.len() as u64, 0));
    out
}

/// Names and kinds of an archive's entries.
fn contents(archive: &[u8]) -> Vec<(String, Kind)> {
    let mut reader = Reader::new(archive);
    let (mut entry, mut all) = (Entry::default(), Vec::new());
    while reader.next_entry(&mut entry).unwrap() {
        all.push((String::from_utf8_lossy(&entry.name).into_owned(), entry.kind));
    }
    all
}

#[test]
fn the_order_is_sorted_and_links_stay_links() {
    let archive = Archive::new().dir("b/").file("b/2", "x").file("b-", "").file("a", "y");
    let archive = archive.link("b/1", "a").symlink("c", "b").link("d", "c");
    let dirs = Dirs::new();
    let root = dirs.apply("one", &archive.end());
    let names = contents(&packed(&root, Holes::Zeros));
    let want = [
        ("a", Kind::File),
        ("b/", Kind::Directory),
        ("b/1", Kind::HardLink),
        ("b/2", Kind::File),
        ("b-", Kind::File),
        ("c", Kind::Symlink),
        ("d", Kind::HardLink),
    ];
    assert_eq!(names, want.map(|(name, kind)| (name.to_owned(), kind)));
}

#[test]
fn sockets_are_left_out_and_counted() {
    let dirs = Dirs::new();
    let root = dirs.root("one");
    root.mknod("socket", FileType::Socket, Mode::from_raw_mode(0o644), 0).unwrap();
    root.mknod("fifo", FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let mut out = Vec::new();
    let done = layer::pack(&root, &mut out, &PackOptions::default()).unwrap();
    assert_eq!((done.skipped_sockets, done.entries), (1, 1));
    assert_eq!(contents(&out), [("fifo".to_owned(), Kind::Fifo)]);
}

#[test]
fn holes_are_kept_where_asked() {
    let dirs = Dirs::new();
    let root = dirs.root("one");
    let file = std::fs::File::from(root.create_file("f", Mode::from_raw_mode(0o644)).unwrap());
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 1 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    let (kept, zeros) = (packed(&root, Holes::Keep), packed(&root, Holes::Zeros));
    assert!(kept.len() < 100_000 && zeros.len() > 64 << 20, "{} {}", kept.len(), zeros.len());
    for (name, archive) in [("kept", kept), ("zeros", zeros)] {
        let root = dirs.apply(name, &archive);
        let stat = root.metadata("f").unwrap();
        assert_eq!(stat.st_size, 64 << 20);
        assert_eq!(stat.st_blocks * 512 < 1 << 20, name == "kept", "{}", stat.st_blocks);
        let bytes = root.read_untrusted("f", 65 << 20, sys::root::Final::NoFollow).unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 6);
        assert_eq!(&bytes[1 << 20..][..6], b"middle");
    }
}

#[test]
fn deep_trees_are_packed_with_few_descriptors() {
    let dirs = Dirs::new();
    let root = dirs.root("one");
    let deep = "d/".repeat(300);
    root.mkdir_all(&deep, Mode::from_raw_mode(0o755)).unwrap();
    root.write_file(format!("{deep}f"), b"deep", Mode::from_raw_mode(0o644)).unwrap();
    root.write_file("d/z", b"", Mode::from_raw_mode(0o644)).unwrap();
    let archive = packed(&root, Holes::Zeros);
    assert_eq!(contents(&archive).len(), 302);
    assert_eq!(listing(&dirs.apply("two", &archive)), listing(&root));
    let mut dir = root;
    for _ in 0..2100 {
        dir = dir.mkdir_all("e", Mode::from_raw_mode(0o755)).unwrap();
    }
    let root = dirs.root("one");
    let result = layer::pack(&root, std::io::sink(), &PackOptions::default());
    assert!(matches!(result, Err(PackError::TooLong(_))), "{result:?}");
    root.remove_tree("e").unwrap();
}

/// Makes changes through an overlay, and compares what a diff of its upper directory gives.
fn check_diff(base: Archive, change: impl FnOnce(&Root), entries: &[&str]) {
    let dirs = Dirs::new();
    let root = dirs.apply("base", &base.end());
    let before = dirs.path("base");
    let (upper, work) = (dirs.path("upper"), dirs.path("work"));
    let merged = overlay(&[&before], Some((&upper, &work)));
    change(&merged);
    let mut out = Vec::new();
    layer::diff(&dirs.root("upper"), &mut out, &PackOptions::default()).unwrap();
    let names: Vec<_> = contents(&out).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, entries);
    dirs.apply("layer", &out);
    let again = overlay(&[&dirs.path("layer"), &before], None);
    assert_eq!(listing(&again), listing(&merged));
    drop(root);
}

#[test]
fn diffs_of_overlays() {
    let mode = Mode::from_raw_mode(0o644);
    let base =
        || Archive::new().dir("d/").file("d/a", "1").file("d/b", "2").dir("e/").file("e/x", "3");
    check_diff(base(), |_| {}, &[]);
    check_diff(base(), |m| m.write_file("d/a", b"new", mode).unwrap(), &["d/", "d/a"]);
    check_diff(base(), |m| m.remove("d/a").unwrap(), &["d/", "d/.wh.a"]);
    check_diff(base(), |m| m.remove_tree("d").unwrap(), &[".wh.d"]);
    let replaced = |m: &Root| {
        m.remove_tree("d").unwrap();
        m.mkdir("d", Mode::from_raw_mode(0o700)).unwrap();
        m.write_file("d/new", b"4", mode).unwrap();
    };
    check_diff(base(), replaced, &["d/", "d/.wh..wh..opq", "d/new"]);
    let many = |m: &Root| {
        m.remove("d/b").unwrap();
        m.write_file("d/0", b"", mode).unwrap();
        m.symlink("/outside", "d/a-link").unwrap();
        m.set_xattr("e/x", c"user.x", b"1").unwrap();
        m.link("e/x", "e/y").unwrap();
    };
    let want = ["d/", "d/.wh.b", "d/0", "d/a-link", "e/", "e/x", "e/y"];
    check_diff(base(), many, &want);
}

#[test]
fn what_no_layer_can_say_is_an_error() {
    let dirs = Dirs::new();
    let upper = dirs.root("upper");
    let diff = || layer::diff(&upper, std::io::sink(), &PackOptions::default());
    upper.mkdir("d", Mode::from_raw_mode(0o755)).unwrap();
    upper.write_file("d/.wh.x", b"", Mode::from_raw_mode(0o644)).unwrap();
    let error = diff().unwrap_err().to_string();
    assert_eq!(error, "d/.wh.x: a name that begins with .wh. cannot be in a layer");
    upper.remove("d/.wh.x").unwrap();
    upper.set_xattr("d", c"trusted.overlay.redirect", b"/e").unwrap();
    let error = diff().unwrap_err().to_string();
    assert_eq!(error, "d: overlayfs holds a reference to a lower layer here");
    upper.remove_xattr("d", c"trusted.overlay.redirect").unwrap();
    upper.set_xattr("d", c"trusted.overlay.impure", b"y").unwrap();
    upper.set_xattr("", c"trusted.overlay.opaque", b"y").unwrap();
    let mut out = Vec::new();
    layer::diff(&upper, &mut out, &PackOptions::default()).unwrap();
    let names: Vec<_> = contents(&out).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [".wh..wh..opq", "d/"]);
}

/// An entry at one of few names, so that entries meet.
fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let name = prop_oneof![
        "[abc](/[abc]){0,3}".prop_map(String::into_bytes),
        prop::collection::vec(1u8.., 1..200).prop_filter("one component, no whiteout", |name| {
            !name.contains(&b'/') && !name.starts_with(b".")
        }),
    ];
    let kind = prop::sample::select(vec![
        Kind::File,
        Kind::File,
        Kind::Directory,
        Kind::Directory,
        Kind::Symlink,
        Kind::HardLink,
        Kind::Fifo,
        Kind::Block,
    ]);
    let link = "/?[abc](/[abc]){0,2}".prop_map(String::into_bytes);
    let owner = prop_oneof![Just(0u32), 0u32..70_000];
    let times = (0i64..1 << 33, prop_oneof![Just(0u32), 0u32..1_000_000_000]);
    let content = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..3000)];
    let xattr = prop::option::of(("user\\.[a-z=]{1,9}", prop::collection::vec(any::<u8>(), 0..50)));
    (name, kind, link, 0u32..0o10000, owner, times, content, xattr).prop_map(
        |(name, kind, link, mode, owner, (secs, nanos), content, xattr)| {
            let linked = matches!(kind, Kind::Symlink | Kind::HardLink);
            let xattr = xattr.map(|(name, value)| Xattr { name: name.into_bytes(), value });
            let entry = Entry {
                name,
                link: if linked { link } else { Vec::new() },
                kind,
                mode,
                uid: owner,
                gid: owner / 2,
                mtime: Time { secs, nanos },
                size: 0,
                device: if kind == Kind::Block { (7, owner) } else { (0, 0) },
                xattrs: xattr.into_iter().filter(|x| !x.name.contains(&b'=')).collect(),
                sparse: None,
            };
            (entry, if kind == Kind::File { content } else { Vec::new() })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn apply_and_pack_reach_a_fixpoint(
        entries in prop::collection::vec(entry(), 0..14),
        holes in prop::sample::select(vec![Holes::Zeros, Holes::Keep]),
    ) {
        let dirs = Dirs::new();
        // Entries that the law refuses in this place are left out, one by one.
        let (mut archive, mut n) = (Archive::new(), 0);
        for (entry, content) in &entries {
            let more = archive.clone().entry(entry, content);
            n += 1;
            let root = dirs.root(&format!("try-{n}"));
            if layer::apply(&more.clone().end()[..], &root, &ApplyOptions::default()).is_ok() {
                archive = more;
            }
        }
        let one = dirs.apply("one", &archive.end());
        let first = packed(&one, holes);
        let two = dirs.apply("two", &first);
        let opaque = " trusted.overlay.opaque=y";
        prop_assert_eq!(listing(&two), listing(&one).replace(opaque, ""));
        prop_assert_eq!(packed(&two, holes), first);
    }
}

/// An output that changes the file which is being packed as soon as its first bytes arrive.
struct Meddler<'a> {
    out: Vec<u8>,
    file: &'a std::fs::File,
    new_size: u64,
}

impl std::io::Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.set_len(self.new_size)?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_changing_file_keeps_the_size_announced() {
    const SIZE: u64 = 2 << 20;
    for new_size in [0, 1000, SIZE - 1, 2 * SIZE] {
        let dirs = Dirs::new();
        let root = dirs.root("one");
        let fd = root.create_file("f", Mode::from_raw_mode(0o600)).unwrap();
        let file = std::fs::File::from(fd);
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![b'x'; 2 << 20], 0).unwrap();
        root.write_file("g", b"after it", Mode::from_raw_mode(0o600)).unwrap();
        let mut meddler = Meddler { out: Vec::new(), file: &file, new_size };
        layer::pack(&root, &mut meddler, &PackOptions::default()).unwrap();
        let copy = dirs.apply("two", &meddler.out);
        assert_eq!(copy.metadata("f").unwrap().st_size.cast_unsigned(), SIZE, "{new_size}");
        let after = copy.read_untrusted("g", 99, sys::root::Final::NoFollow).unwrap();
        assert_eq!(after, b"after it");
    }
}

#[test]
fn a_file_that_becomes_a_symlink_is_not_followed() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let dirs = Dirs::new();
    let root = dirs.root("one");
    let outside = dirs.path("outside").join("secret");
    std::fs::write(&outside, b"TREASURE").unwrap();
    root.write_file("f", b"in here", Mode::from_raw_mode(0o644)).unwrap();
    root.symlink(&outside, "l").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&root, "f", &root, "l", flags).unwrap();
            }
        });
        let mut packs = (0..2000).map(|_| {
            let mut out = Vec::new();
            let done = layer::pack(&root, &mut out, &PackOptions::default());
            done.map(|_| out.windows(8).any(|bytes| bytes == b"TREASURE"))
        });
        let first = packs.find(|seen| !matches!(seen, Ok(false)));
        stop.store(true, Ordering::Relaxed);
        assert!(first.is_none(), "{first:?}");
    });
}

#[test]
fn attributes_survive_and_the_hosts_do_not_come_in() {
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let file = with_xattr(named("f", Kind::File, 0o755), "security.capability", capability);
    let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\x00\0\xff\xff\xff\xff";
    let dir = with_xattr(named("d/", Kind::Directory, 0o755), "system.posix_acl_default", acl);
    let archive = Archive::new().entry(&dir, b"").file("d/child", "x").entry(&file, b"x").end();
    let dirs = Dirs::new();
    // What the host has set on the directory above must not reach the image.
    let above = dirs.root("");
    above.set_xattr("", c"system.posix_acl_default", acl).unwrap();
    above.set_mode("", Mode::from_raw_mode(0o2700)).unwrap();
    let one = dirs.apply("one", &archive);
    let text = listing(&one);
    assert!(text.contains("d/child 644 0:0 file \"x\"\n"), "{text}");
    assert!(text.contains("d 755 "), "{text}");
    let first = packed(&one, Holes::Zeros);
    let two = dirs.apply("two", &first);
    assert_eq!(listing(&two), text);
    assert_eq!(text.matches("system.posix_acl_default=").count(), 1);
    assert_eq!(text.matches("security.capability=").count(), 1);
}

#[test]
fn extents_of_a_sparse_entry_are_where_they_were() {
    let entry = Entry {
        size: 10,
        sparse: Some(vec![Extent { offset: 2, len: 3 }, Extent { offset: 9, len: 1 }]),
        ..named("f", Kind::File, 0o644)
    };
    let mut writer = store::tar::Writer::new(Vec::new());
    writer.begin(&entry).unwrap();
    writer.data(b"abcd").unwrap();
    let dirs = Dirs::new();
    let root = dirs.apply("one", &writer.finish().unwrap());
    let bytes = root.read_untrusted(Path::new("f"), 99, sys::root::Final::NoFollow).unwrap();
    assert_eq!(bytes, b"\0\0abc\0\0\0\0d");
}
