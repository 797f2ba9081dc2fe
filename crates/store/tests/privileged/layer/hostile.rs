//! The table of hostile archives, each with its verdict (RT-06 of the threat notes). Whatever the
//! verdict, the canary beside the root stays untouched.

use expect_test::{Expect, expect};
use store::layer::{self, ApplyOptions, Limits, Privilege};
use store::tar::{Entry, Kind};

use super::archive::{Archive, named, records_of, with_xattr};
use super::{Place, listing};

/// Applies an archive and says what came of it.
fn verdict(place: &Place, archive: &[u8], options: &ApplyOptions) -> String {
    let root = place.root();
    let result = layer::apply(archive, &root, options);
    match result {
        Err(error) => format!("refused: {error}\n"),
        Ok(applied) => {
            let mut text = listing(&root);
            if applied.dropped_xattrs > 0 {
                text += &format!("({} attributes dropped)\n", applied.dropped_xattrs);
            }
            if applied.skipped_aufs > 0 {
                text += &format!("({} of aufs skipped)\n", applied.skipped_aufs);
            }
            text
        }
    }
}

/// Checks an archive that may know where the canary is.
fn check_with(make: impl FnOnce(&str) -> Vec<u8>, expected: Expect) {
    let place = Place::new();
    let canary = place.canary().to_str().unwrap().to_owned();
    let text = verdict(&place, &make(&canary), &ApplyOptions::default());
    place.assert_untouched(&text);
    expected.assert_eq(&text.replace(&canary, "CANARY"));
}

fn check(archive: Archive, expected: Expect) {
    check_with(|_| archive.end(), expected);
}

fn check_bytes(archive: Vec<u8>, expected: Expect) {
    check_with(|_| archive, expected);
}

#[test]
fn names_that_lead_outside() {
    check(
        Archive::new().file("../canary/file", "dead"),
        expect![[r#"
        refused: entry 1 "../canary/file": the name leads outside the image
    "#]],
    );
    check(
        Archive::new().file("a/../../canary/file", "dead"),
        expect![[r#"
        refused: entry 1 "a/../../canary/file": the name leads outside the image
    "#]],
    );
    check(
        Archive::new().dir("a/.."),
        expect![[r#"
        refused: entry 1 "a/..": the name leads outside the image
    "#]],
    );
    check(
        Archive::new().file("./../x", "dead"),
        expect![[r#"
        refused: entry 1 "./../x": the name leads outside the image
    "#]],
    );
    check(
        Archive::new().symlink("../l", "x"),
        expect![[r#"
        refused: entry 1 "../l": the name leads outside the image
    "#]],
    );
    check(
        Archive::new().dir("x").link("../x/l", "x"),
        expect![[r#"
        refused: entry 2 "../x/l": the name leads outside the image
    "#]],
    );
}

#[test]
fn absolute_names_count_from_the_root() {
    check(
        Archive::new().file("/etc/x", "1").file("//a//./b/", "2"),
        expect![[r#"
            a 755 0:0 dir
            a/b 644 0:0 file "2"
            etc 755 0:0 dir
            etc/x 644 0:0 file "1"
        "#]],
    );
    let place = Place::new();
    let name = place.canary().join("file");
    let archive = Archive::new().file(name.to_str().unwrap(), "inside").end();
    let text = verdict(&place, &archive, &ApplyOptions::default());
    place.assert_untouched(&text);
    assert!(text.ends_with("/canary/file 644 0:0 file \"inside\"\n"), "{text}");
}

#[test]
fn names_through_symlinks() {
    // CVE-2021-32760 and its kind: a link to the outside, then a file through it.
    check_with(
        |c| Archive::new().symlink("l", c).file("l/file", "dead").end(),
        expect![[r#"
        refused: entry 2 "l/file": a directory on the way is not a directory
    "#]],
    );
    check(
        Archive::new().symlink("l", "../canary").file("l/file", "dead"),
        expect![[r#"
        refused: entry 2 "l/file": a directory on the way is not a directory
    "#]],
    );
    check(
        Archive::new().symlink("l", "/").file("l/../canary/file", "dead"),
        expect![[r#"
        refused: entry 2 "l/../canary/file": the name leads outside the image
    "#]],
    );
    let chain = Archive::new().symlink("a", "b").symlink("b", "..").file("a/canary/file", "dead");
    check(
        chain,
        expect![[r#"
        a 777 0:0 -> b
        b 777 0:0 -> ..
        canary 755 0:0 dir
        canary/file 644 0:0 file "dead"
    "#]],
    );
    check(
        Archive::new().symlink("a", "b").symlink("b", "a").file("a/x", "1"),
        expect![[r#"
        refused: entry 3 "a/x": a directory on the way is not a directory
    "#]],
    );
    check(
        Archive::new().symlink("l", "/proc/self/cwd").file("l/x", "1"),
        expect![[r#"
        refused: entry 2 "l/x": a directory on the way is not a directory
    "#]],
    );
    // Inside, links are followed as the image sees them.
    let inside = Archive::new().dir("run").dir("var").symlink("var/run", "/run");
    check(
        inside.file("var/run/pid", "1"),
        expect![[r#"
        run 755 0:0 dir
        run/pid 644 0:0 file "1"
        var 755 0:0 dir
        var/run 777 0:0 -> /run
    "#]],
    );
    check(
        Archive::new().symlink("l", ".").file("l/x", "1"),
        expect![[r#"
        l 777 0:0 -> .
        x 644 0:0 file "1"
    "#]],
    );
}

#[test]
fn attributes_never_go_through_symlinks() {
    // CVE-2026-33056: a directory entry over a symlink changed the mode of what it points to.
    check_with(
        |canary| {
            Archive::new()
                .symlink("d", canary)
                .entry(&named("d/", Kind::Directory, 0o777), b"")
                .end()
        },
        expect![[r#"
            d 777 0:0 dir trusted.overlay.opaque=y
        "#]],
    );
    // The directory is open already when it becomes a symlink.
    check_with(
        |c| Archive::new().dir("d").file("d/one", "1").symlink("d", c).file("d/file", "dead").end(),
        expect![[r#"
            refused: entry 4 "d/file": a directory on the way is not a directory
        "#]],
    );
    check_with(
        |c| Archive::new().dir("d").symlink("d", c).end(),
        expect![[r#"
        d 777 0:0 -> CANARY
    "#]],
    );
}

#[test]
fn hard_links_to_the_outside() {
    check(
        Archive::new().link("h", "../canary/file"),
        expect![[r#"
        refused: entry 1 "h": hard link target "../canary/file" is outside the image
    "#]],
    );
    check_with(
        |c| Archive::new().link("h", &format!("{c}/file")).end(),
        expect![[r#"
        refused: entry 1 "h": hard link target "CANARY/file" does not exist in this layer
    "#]],
    );
    check_with(
        |c| Archive::new().symlink("l", c).link("h", "l/file").end(),
        expect![[r#"
        refused: entry 2 "h": hard link target "l/file" does not exist in this layer
    "#]],
    );
    check_with(
        |c| {
            Archive::new().symlink("l", &format!("{c}/file")).link("h", "l").file("h", "dead").end()
        },
        expect![[r#"
            h 644 0:0 file "dead"
            l 777 0:0 -> CANARY/file
        "#]],
    );
    check_with(
        |c| Archive::new().symlink("l", &format!("{c}/file")).link("h", "l").end(),
        expect![[r#"
            h 777 0:0 -> CANARY/file
            l 777 0:0 -> CANARY/file
        "#]],
    );
}

#[test]
fn hard_links_inside() {
    check(
        Archive::new().file("a", "kept").link("b", "a").file("b", "new"),
        expect![[r#"
        a 644 0:0 file "kept"
        b 644 0:0 file "new"
    "#]],
    );
    check(
        Archive::new().link("a", "a"),
        expect![[r#"
        refused: entry 1 "a": hard link target "a" does not exist in this layer
    "#]],
    );
    check(
        Archive::new().file("a", "kept").link("a", "/a"),
        expect![[r#"
        a 644 0:0 file "kept"
    "#]],
    );
    check(
        Archive::new().link("a", "b").link("b", "a"),
        expect![[r#"
        refused: entry 1 "a": hard link target "b" does not exist in this layer
    "#]],
    );
    check(
        Archive::new().dir("d").link("h", "d"),
        expect![[r#"
        refused: entry 2 "h": hard link target "d" is a directory
    "#]],
    );
    check(
        Archive::new().link("h", "/"),
        expect![[r#"
        refused: entry 1 "h": hard link target "/" is a directory
    "#]],
    );
    check(
        Archive::new().link("h", "later").file("later", ""),
        expect![[r#"
        refused: entry 1 "h": hard link target "later" does not exist in this layer
    "#]],
    );
    check(
        Archive::new().file(".wh.gone", "").link("h", "gone"),
        expect![[r#"
        refused: entry 2 "h": hard link target "gone" does not exist in this layer
    "#]],
    );
    check(
        Archive::new().file("d/f", "x").link("d", "d/f"),
        expect![[r#"
            refused: entry 2 "d": hard link target "d/f" does not exist in this layer
        "#]],
    );
    check(
        Archive::new().file("a", "x").link("../canary/h", "a"),
        expect![[r#"
        refused: entry 2 "../canary/h": the name leads outside the image
    "#]],
    );
}

#[test]
fn whiteouts_that_are_refused() {
    check(
        Archive::new().file(".wh...", ""),
        expect![[r#"
        refused: entry 1 ".wh...": the whiteout names nothing that could be hidden
    "#]],
    );
    check(
        Archive::new().file("a/.wh..", ""),
        expect![[r#"
        refused: entry 1 "a/.wh..": the whiteout names nothing that could be hidden
    "#]],
    );
    check(
        Archive::new().file("a/.wh.", ""),
        expect![[r#"
        refused: entry 1 "a/.wh.": the whiteout names nothing that could be hidden
    "#]],
    );
    check(
        Archive::new().file("../.wh.canary", ""),
        expect![[r#"
        refused: entry 1 "../.wh.canary": the name leads outside the image
    "#]],
    );
    check_with(
        |c| Archive::new().symlink("l", c).file("l/.wh.file", "").end(),
        expect![[r#"
        refused: entry 2 "l/.wh.file": a directory on the way is not a directory
    "#]],
    );
    check_with(
        |c| Archive::new().symlink("l", c).file("l/.wh..wh..opq", "").end(),
        expect![[r#"
            refused: entry 2 "l/.wh..wh..opq": a directory on the way is not a directory
        "#]],
    );
    check(
        Archive::new().file(".wh.a/b", ""),
        expect![[r#"
        refused: entry 1 ".wh.a/b": names that begin with .wh. are whiteouts, which are plain files
    "#]],
    );
    check(
        Archive::new().dir(".wh.a"),
        expect![[r#"
        refused: entry 1 ".wh.a": names that begin with .wh. are whiteouts, which are plain files
    "#]],
    );
    check(
        Archive::new().symlink(".wh.a", "b"),
        expect![[r#"
        refused: entry 1 ".wh.a": names that begin with .wh. are whiteouts, which are plain files
    "#]],
    );
    check(
        Archive::new().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", ""),
        expect![[r#"
        (2 of aufs skipped)
    "#]],
    );
    check(
        Archive::new().node("n", Kind::Char, (0, 0)),
        expect![[r#"
        refused: entry 1 "n": a character device 0:0 is overlayfs's whiteout; layers say .wh.NAME
    "#]],
    );
}

#[test]
fn whiteouts_and_entries_of_one_layer() {
    check(
        Archive::new().file(".wh.a", "").file("b/.wh.c", "").file("d/.wh..wh..opq", ""),
        expect![[r#"
            a 0 0:0 CharacterDevice 0:0
            b 755 0:0 dir trusted.overlay.origin=
            b/c 0 0:0 CharacterDevice 0:0
            d 755 0:0 dir trusted.overlay.opaque=y
        "#]],
    );
    check(
        Archive::new().file(".wh.a", "").dir("a").file("a/new", ""),
        expect![[r#"
        a 755 0:0 dir trusted.overlay.opaque=y
        a/new 644 0:0 file ""
    "#]],
    );
    check(
        Archive::new().file(".wh.a", "").file("a/b/new", ""),
        expect![[r#"
        a 755 0:0 dir trusted.overlay.opaque=y
        a/b 755 0:0 dir
        a/b/new 644 0:0 file ""
    "#]],
    );
    check(
        Archive::new().file("a/new", "").file(".wh.a", ""),
        expect![[r#"
        a 755 0:0 dir trusted.overlay.opaque=y
        a/new 644 0:0 file ""
    "#]],
    );
    check(
        Archive::new().file("a", "new").file(".wh.a", "").file(".wh.a", ""),
        expect![[r#"
        a 644 0:0 file "new"
    "#]],
    );
    check(
        Archive::new().file(".wh.a", "").file("a", "new"),
        expect![[r#"
        a 644 0:0 file "new"
    "#]],
    );
}

#[test]
fn what_is_no_directory_has_nothing_in_it() {
    check(
        Archive::new().node("f", Kind::Fifo, (0, 0)).file("f/x", "1"),
        expect![[r#"
        refused: entry 2 "f/x": a directory on the way is not a directory
    "#]],
    );
    check(
        Archive::new().node("d", Kind::Char, (1, 3)).file("d/x", "1"),
        expect![[r#"
        refused: entry 2 "d/x": a directory on the way is not a directory
    "#]],
    );
    check(
        Archive::new().file("f", "").file("f/x/y", "1"),
        expect![[r#"
        refused: entry 2 "f/x/y": a directory on the way is not a directory
    "#]],
    );
    check(
        Archive::new().file("f", "").file("f/.wh.x", ""),
        expect![[r#"
        refused: entry 2 "f/.wh.x": a directory on the way is not a directory
    "#]],
    );
}

#[test]
fn devices_and_modes() {
    check(
        Archive::new().node("n", Kind::Char, (4096, 0)),
        expect![[r#"
        refused: entry 1 "n": there is no device 4096:0
    "#]],
    );
    check(
        Archive::new().node("n", Kind::Block, (0, 1 << 20)),
        expect![[r#"
        refused: entry 1 "n": there is no device 0:1048576
    "#]],
    );
    let setuid = Entry { uid: 7, gid: 8, ..named("s", Kind::File, 0o6755) };
    let sticky = named("tmp/", Kind::Directory, 0o3777);
    let fifo = named("p", Kind::Fifo, 0o7644);
    let archive =
        Archive::new().node("null", Kind::Char, (1, 3)).entry(&setuid, b"x").entry(&sticky, b"");
    check(
        archive.file("tmp/inherits", "").entry(&fifo, b""),
        expect![[r#"
        null 644 0:0 CharacterDevice 1:3
        p 7644 0:0 Fifo 0:0
        s 6755 7:8 file "x"
        tmp 3777 0:0 dir
        tmp/inherits 644 0:0 file ""
    "#]],
    );
    check(
        Archive::new().header(b"n", b'3', 0, &[(329, b"9999999")]),
        expect![[r#"
        refused: entry 1 "n": bad device number
    "#]],
    );
}

#[test]
fn devices_are_left_out_in_a_user_namespace() {
    let place = Place::new();
    let archive = Archive::new().node("null", Kind::Char, (1, 3)).node("p", Kind::Fifo, (0, 0));
    let options = ApplyOptions { privilege: Privilege::UserNamespace, ..ApplyOptions::default() };
    let applied = layer::apply(&*archive.end(), &place.root(), &options).unwrap();
    assert_eq!(applied.skipped_devices, 1);
    expect![[r#"
        p 644 0:0 Fifo 0:0
    "#]]
    .assert_eq(&listing(&place.root()));
}

#[test]
fn the_callers_umask_has_no_say() {
    let archive = Archive::new()
        .entry(&named("file", Kind::File, 0o666), b"")
        .entry(&named("dir", Kind::Directory, 0o777), b"")
        .entry(&named("fifo", Kind::Fifo, 0o622), b"");
    check(
        archive,
        expect![[r#"
        dir 777 0:0 dir
        fifo 622 0:0 Fifo 0:0
        file 666 0:0 file ""
    "#]],
    );
}

#[test]
fn owners_and_times() {
    let of = |fields: &[(usize, &[u8])]| Archive::new().header(b"f", b'0', 0, fields);
    check(
        of(&[(108, &[0xff; 8])]),
        expect![[r#"
        refused: entry 1 "f": bad uid
    "#]],
    );
    check(
        of(&[(108, b"\x80\0\0\0\xff\xff\xff\xff")]),
        expect![[r#"
        refused: entry 1 "f": bad uid
    "#]],
    );
    check(
        of(&[(116, b"\x80\0\0\0\x80\0\0\0")]),
        expect![[r#"
        f 644 0:2147483648 file ""
    "#]],
    );
    check(
        of(&[(136, &[0xff; 12])]),
        expect![[r#"
        f 644 0:0 file ""
    "#]],
    );
    check(
        of(&[(136, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")]),
        expect![[r#"
        f 644 0:0 file ""
    "#]],
    );
    check(
        Archive::new().pax(&[("uid", "4294967295")]).file("f", ""),
        expect![[r#"
        refused: entry 1: bad uid
    "#]],
    );
    check(
        Archive::new().pax(&[("gid", "1:2")]).file("f", ""),
        expect![[r#"
        refused: entry 1: bad gid
    "#]],
    );
    check(
        Archive::new().pax(&[("mtime", "nan")]).file("f", ""),
        expect![[r#"
        refused: entry 1: bad mtime
    "#]],
    );
    check(
        Archive::new().pax(&[("mtime", "99999999999999999999")]).file("f", ""),
        expect![[r#"
        refused: entry 1: bad mtime
    "#]],
    );
}

#[test]
fn extended_attributes() {
    let file = |name, value: &[u8]| with_xattr(named("f", Kind::File, 0o644), name, value);
    let dir = |name, value: &[u8]| with_xattr(named("d", Kind::Directory, 0o755), name, value);
    // What would make one layer hide or show what another has.
    let dropped = || expect!["d 755 0:0 dir\n(1 attributes dropped)\n"];
    for name in [
        "trusted.overlay.redirect",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "trusted.x",
        "security.selinux",
        "security.evm",
    ] {
        check_bytes(Archive::new().entry(&dir(name, b"/etc"), b"").end(), dropped());
    }
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    check(
        Archive::new().entry(&file("security.capability", capability), b"x"),
        expect![[r#"
        f 644 0:0 file "x" security.capability=\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00
    "#]],
    );
    check(
        Archive::new().entry(&file("security.capability", b"\xff\0\0\xff"), b"x"),
        expect![[r#"
            refused: entry 1 "f": extended attribute "security.capability" is malformed
        "#]],
    );
    check(
        Archive::new().entry(&file("security.capability", b""), b"x"),
        expect![[r#"
        refused: entry 1 "f": extended attribute "security.capability" is malformed
    "#]],
    );
    check(
        Archive::new().entry(&file("system.posix_acl_access", b"\x02\0\0\0\xff"), b"x"),
        expect![[r#"
            refused: entry 1 "f": extended attribute "system.posix_acl_access" is malformed
        "#]],
    );
    check(
        Archive::new().entry(&dir("system.posix_acl_default", b"\x09"), b""),
        expect![[r#"
            refused: entry 1 "d": extended attribute "system.posix_acl_default" is malformed
        "#]],
    );
    check(
        Archive::new().entry(&file("user.x", &[7; 70_000]), b""),
        expect![[r#"
        refused: entry 1 "f": extended attribute "user.x" is malformed
    "#]],
    );
    check(
        Archive::new().entry(&file(&format!("user.{}", "x".repeat(300)), b"1"), b""),
        expect![[r#"
            refused: entry 1 "f": extended attribute "user.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" is malformed
        "#]],
    );
    let link = with_xattr(
        Entry { link: b"x".to_vec(), ..named("l", Kind::Symlink, 0o777) },
        "user.x",
        b"1",
    );
    check(
        Archive::new().entry(&link, b""),
        expect![[r#"
        l 777 0:0 -> x
        (1 attributes dropped)
    "#]],
    );
}

#[test]
fn sizes_that_lie() {
    // CVE-2025-62518, CVE-2026-33055: with the header's size, `smuggled` would be an entry.
    let smuggled = Archive::new().file("smuggled", "").unfinished();
    let archive = Archive::new().pax(&[("size", "512")]).header(b"f", b'0', 0, &[]);
    check(
        archive.bytes(&smuggled[..512]),
        expect![[r#"
        f 644 0:0 file "smuggled\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\00000644\00000000\00000000\000000000000\007346545000\0010767\0 0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ustar\000\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\00000000\00000000\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    "#]],
    );
    check(
        Archive::new().header(b"f", b'0', 0, &[(124, &[0xff; 12])]),
        expect![[r#"
        refused: entry 1 "f": bad size
    "#]],
    );
    check(
        Archive::new().pax(&[("size", "-1")]).file("f", ""),
        expect![[r#"
        refused: entry 1: bad size
    "#]],
    );
    check(
        Archive::new().pax(&[("size", "9223372036854775808")]).file("f", ""),
        expect![[r#"
        refused: entry 1: bad size
    "#]],
    );
    check(
        Archive::new().pax(&[("size", "9223372036854775807")]).file("f", ""),
        expect![[r#"
        refused: entry 1 "f": more than 1099511627776 bytes in files
    "#]],
    );
    check(
        Archive::new().header(b"f", b'0', 0, &[(124, b"not a size!")]),
        expect![[r#"
        refused: entry 1 "f": bad size
    "#]],
    );
    check(
        Archive::new().member(b"d/", b'5', b"data"),
        expect![[r#"
        refused: entry 1 "d/": 4 bytes of data on an entry that has no content
    "#]],
    );
    check(
        Archive::new().header(b"l", b'2', 5, &[(157, b"x")]).bytes(b"data.").pad(),
        expect![[r#"
            refused: entry 1 "l": 5 bytes of data on an entry that has no content
        "#]],
    );
}

#[test]
fn names_that_cannot_be() {
    check(
        Archive::new().pax(&[("path", "a\0b")]).file("f", ""),
        expect![[r#"
        refused: entry 1: name contains a NUL byte
    "#]],
    );
    check(
        Archive::new().pax(&[("linkpath", "a\0b")]).symlink("l", "x"),
        expect![[r#"
        refused: entry 1: link target contains a NUL byte
    "#]],
    );
    check(
        Archive::new().file(&"x".repeat(256), ""),
        expect![[r#"
        refused: entry 1 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": the name is too long
    "#]],
    );
    check(
        Archive::new().file(&"d/".repeat(2049), ""),
        expect![[r#"
        refused: entry 1: name is longer than 4096 bytes
    "#]],
    );
    let deep = records_of(&[("path", &"d/".repeat(65_536))]);
    check(
        Archive::new().member(b"pax", b'x', &deep).file("f", ""),
        expect![[r#"
        refused: entry 1: name is longer than 4096 bytes
    "#]],
    );
    check(
        Archive::new().header(b"", b'0', 0, &[]),
        expect![[r#"
        refused: entry 1: the entry has no name
    "#]],
    );
    check(
        Archive::new().header(b"l", b'2', 0, &[]),
        expect![[r#"
        refused: entry 1 "l": the link has no target
    "#]],
    );
    check(
        Archive::new().file("./", "root?"),
        expect![[r#"
        refused: entry 1 "./": the root can only be a directory
    "#]],
    );
    check_with(
        |c| Archive::new().symlink(".", c).file("file", "dead").end(),
        expect![[r#"
        refused: entry 1 ".": the root can only be a directory
    "#]],
    );
    check(
        Archive::new().pax(&[("path", "one")]).member(b"L", b'L', b"two\0").file("f", ""),
        expect![[r#"
            refused: entry 1: PAX and GNU headers disagree about the name
        "#]],
    );
}

#[test]
fn odd_names_that_can_be() {
    let archive =
        Archive::new().file("new\nline", "").file("\u{1b}[31m", "").file(&"x".repeat(255), "");
    check(
        archive.header(b"\xff\xfe", b'0', 0, &[]).file("...", "").file("..a", ""),
        expect![[r#"
            \u{1b}[31m 644 0:0 file ""
            ... 644 0:0 file ""
            ..a 644 0:0 file ""
            new\nline 644 0:0 file ""
            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 644 0:0 file ""
            �� 644 0:0 file ""
        "#]],
    );
}

#[test]
fn extension_headers() {
    let huge = vec![b'x'; 64 << 20];
    check_bytes(
        Archive::new().member(b"pax", b'x', &huge).file("f", "").end(),
        expect![[r#"
        refused: entry 1: extension header is larger than its limit
    "#]],
    );
    check_bytes(
        Archive::new().header(b"L", b'L', 1 << 32, &[]).end(),
        expect![[r#"
        refused: entry 1: extension header is larger than its limit
    "#]],
    );
    let chain = Archive::new().member(b"L", b'L', b"n\0").unfinished().repeat(10_000);
    check(
        Archive::new().bytes(&chain).file("f", ""),
        expect![[r#"
        refused: entry 1: more than 32 extension headers before one entry
    "#]],
    );
    check(
        Archive::new().member(b"g", b'g', &records_of(&[("path", "evil")])).file("f", ""),
        expect![[r#"
            refused: entry 1: PAX global header sets "path"
        "#]],
    );
    check(
        Archive::new().member(b"g", b'g', &records_of(&[("comment", "fine")])).file("f", ""),
        expect![[r#"
            f 644 0:0 file ""
        "#]],
    );
    check(
        Archive::new().member(b"pax", b'x', b"999 path=short\n").file("f", ""),
        expect![[r#"
        refused: entry 1: malformed PAX record
    "#]],
    );
    check(
        Archive::new().pax(&[("path", "nothing")]),
        expect![[r#"
        refused: entry 1: extension header at the end of the archive
    "#]],
    );
}

#[test]
fn sparse_maps() {
    let form_0_1 =
        |map, size| Archive::new().pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size)]);
    check(
        form_0_1("0,4,2,4", "8").file("f", "12345678"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    check(
        form_0_1("4,4,0,4", "8").file("f", "12345678"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    check(
        form_0_1("0,8", "4").file("f", "12345678"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    check(
        form_0_1("0,4", "8").file("f", "12345678"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    check(
        form_0_1("9223372036854775807,4", "8").file("f", "1234"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    let form_1 =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "8")];
    let map = |map: &str| {
        let mut data = map.as_bytes().to_vec();
        data.resize(512, 0);
        Archive::new().pax(&form_1).member(b"f", b'0', &data)
    };
    check(
        map("99999999\n"),
        expect![[r#"
        refused: entry 1 "f": sparse map is larger than its limit
    "#]],
    );
    check(
        map("1\n-1\n5\n"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    check(
        map("2\n0\n"),
        expect![[r#"
        refused: entry 1 "f": bad sparse map
    "#]],
    );
    // A file of 8 EiB without a byte of data.
    check(
        form_0_1("", "9223372036854775807").file("f", ""),
        expect![[r#"
        refused: entry 1 "f": more than 1099511627776 bytes in files
    "#]],
    );
    check(
        form_0_1("2,3,7,1", "10").file("f", "abcd"),
        expect![[r#"
        f 644 0:0 file "\0\0abc\0\0d\0\0"
    "#]],
    );
}

#[test]
fn entries_of_one_name() {
    let archive = Archive::new().file("x", "1").dir("x").file("x/in", "").symlink("x", "y").node(
        "x",
        Kind::Fifo,
        (0, 0),
    );
    check(
        archive.file("x", "last"),
        expect![[r#"
        x 644 0:0 file "last"
    "#]],
    );
    let again = Entry { uid: 5, ..named("d", Kind::Directory, 0o2700) };
    let first = with_xattr(named("d", Kind::Directory, 0o755), "user.first", b"1");
    check(
        Archive::new().entry(&first, b"").file("d/kept", "").entry(&again, b""),
        expect![[r#"
            d 2700 5:0 dir
            d/kept 644 0:0 file ""
        "#]],
    );
    // A set-group-id directory that was replaced leaves its mode to nobody.
    let special = named("d", Kind::Directory, 0o6777);
    check(
        Archive::new().entry(&special, b"").file("d", "plain"),
        expect![[r#"
        d 644 0:0 file "plain"
    "#]],
    );
    check(
        Archive::new().entry(&special, b"").file("d", "").dir("d"),
        expect![[r#"
        d 755 0:0 dir trusted.overlay.opaque=y
    "#]],
    );
}

#[test]
fn types_that_are_not_taken() {
    let refusal = |flag: u8| {
        let place = Place::new();
        let archive = Archive::new().member(b"f", flag, b"").end();
        verdict(&place, &archive, &ApplyOptions::default())
    };
    let all: String = b"DMNSA8\xff".iter().map(|flag| refusal(*flag)).collect();
    expect![[r#"
        refused: entry 1 "f": unsupported entry type 'D'
        refused: entry 1 "f": unsupported entry type 'M'
        refused: entry 1 "f": unsupported entry type 'N'
        refused: entry 1 "f": unsupported entry type 'S'
        refused: entry 1 "f": unsupported entry type 'A'
        refused: entry 1 "f": unsupported entry type '8'
        refused: entry 1 "f": unsupported entry type 'ÿ'
    "#]]
    .assert_eq(&all);
}

#[test]
fn archives_that_end_early_or_late() {
    let whole = Archive::new().file("a", &"x".repeat(600)).file("b", "y").end();
    for cut in (0..whole.len()).step_by(64) {
        let place = Place::new();
        let text = verdict(&place, &whole[..cut], &ApplyOptions::default());
        place.assert_untouched(&text);
        // It may end where an entry could begin, and after the first of its two last blocks.
        let may_end = [0, 1536, 2560, 3072].contains(&cut);
        assert_eq!(text.contains("truncated"), !may_end, "{cut}: {text}");
    }
    let more =
        [whole, b"anything at all".to_vec(), Archive::new().file("hidden", "").end()].concat();
    check_bytes(
        more,
        expect![[r#"
        a 644 0:0 file "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        b 644 0:0 file "y"
    "#]],
    );
    check_bytes(Vec::new(), expect![[r#""#]]);
    check_bytes(
        [vec![0; 512], Archive::new().file("after", "").end()].concat(),
        expect![[r#"
        refused: entry 1: a lone zero block inside the archive
    "#]],
    );
    check_bytes(
        b"This is no archive at all.".repeat(100),
        expect![[r#"
        refused: entry 1: not a tar header (wrong checksum)
    "#]],
    );
    check_bytes(
        [b"070701", &[b'0'; 600][..]].concat(),
        expect![[r#"
        refused: entry 1: not a tar header (wrong checksum)
    "#]],
    );
}

#[test]
fn limits() {
    let limited = |limits, archive: Archive, expected: Expect| {
        let place = Place::new();
        let options = ApplyOptions { limits, ..ApplyOptions::default() };
        expected.assert_eq(&verdict(&place, &archive.end(), &options));
    };
    let default = Limits::default();
    let archive = || Archive::new().file("a", "12345").file("b", "12345").file("c", "");
    limited(
        Limits { entries: 2, ..default },
        archive(),
        expect![[r#"
        refused: entry 3 "c": more than 2 entries
    "#]],
    );
    limited(
        Limits { bytes: 9, ..default },
        archive(),
        expect![[r#"
        refused: entry 2 "b": more than 9 bytes in files
    "#]],
    );
    limited(
        Limits { entries: 3, bytes: 10, ..default },
        archive(),
        expect![[r#"
        a 644 0:0 file "12345"
        b 644 0:0 file "12345"
        c 644 0:0 file ""
    "#]],
    );
}

#[test]
fn only_an_empty_directory_is_unpacked_into() {
    let place = Place::new();
    std::fs::write(place.base.path().join("root/x"), b"").unwrap();
    let archive = Archive::new().file("y", "");
    expect![[r#"
        refused: the directory to unpack into is not empty
    "#]]
    .assert_eq(&verdict(&place, &archive.end(), &ApplyOptions::default()));
}
