//! Archives of GNU tar are read, and ours are read by GNU tar.

use std::process::Command;

use store::layer::{self, ApplyOptions, Holes, PackOptions};
use sys::root::{Final, Root};

use super::archive::Archive;
use super::listing;

fn tar(args: &[&str]) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "the test compares with another program")]
    let out = Command::new("tar").args(args).output().unwrap();
    assert!(out.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A tree with what the formats differ in: long names, holes, links, owners, attributes.
/// Gives a listing of all but the sparse file.
fn tree(root: &Root) -> String {
    let long = format!("{}/{}", "directory-with-a-long-name".repeat(4), "n".repeat(120));
    let archive = Archive::new()
        .dir("d/")
        .file("d/plain", "content")
        .file(&long, "behind a long name")
        .symlink("link", &long)
        .link("d/second", "d/plain")
        .file("\u{e9}t\u{e9}", "not ASCII")
        .node("fifo", store::tar::Kind::Fifo, (0, 0))
        .node("null", store::tar::Kind::Char, (1, 3))
        .end();
    layer::apply(&archive[..], root, &ApplyOptions::default()).unwrap();
    let owner = rustix::fs::Uid::from_raw(123);
    root.set_owner("d/plain", owner, rustix::fs::Gid::from_raw(456)).unwrap();
    let text = listing(root);
    let file = root.create_file("sparse", rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
    let file = std::fs::File::from(file);
    for at in 0..40 {
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", at * 100_000).unwrap();
    }
    file.set_len(5_000_000).unwrap();
    text
}

#[test]
fn all_formats_of_gnu_tar_are_read() {
    let base = tempfile::Builder::new().prefix("dhow-tools-").tempdir().unwrap();
    let source = base.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let root = Root::open(&source).unwrap();
    let before = tree(&root);
    let path = source.to_str().unwrap();
    let variants: [&[&str]; 6] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ];
    for (number, variant) in variants.iter().enumerate() {
        let archive = tar(&[&["-C", path, "-c"], *variant, &["."]].concat());
        let dir = base.path().join(number.to_string());
        std::fs::create_dir(&dir).unwrap();
        let copy = Root::open(&dir).unwrap();
        layer::apply(&archive[..], &copy, &ApplyOptions::default()).unwrap();
        let blocks = copy.metadata("sparse").unwrap().st_blocks;
        assert_eq!(blocks < 2000, variant.contains(&"--sparse"), "{variant:?}: {blocks}");
        assert_eq!(sparse_content(&copy), sparse_content(&root), "{variant:?}");
        assert_eq!(rest(copy), before, "{variant:?}");
    }
}

/// What is in the sparse file, and where.
fn sparse_content(root: &Root) -> Vec<(usize, u8)> {
    let bytes = root.read_untrusted("sparse", 6_000_000, Final::NoFollow).unwrap();
    assert_eq!(bytes.len(), 5_000_000);
    bytes.into_iter().enumerate().filter(|(_, byte)| *byte != 0).collect()
}

/// All but the sparse file, which is larger than a listing takes.
fn rest(root: Root) -> String {
    root.remove("sparse").unwrap();
    listing(&root)
}

#[test]
fn gnu_tar_reads_what_we_pack() {
    let base = tempfile::Builder::new().prefix("dhow-tools-").tempdir().unwrap();
    let source = base.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let root = Root::open(&source).unwrap();
    let before = tree(&root);
    for holes in [Holes::Zeros, Holes::Keep] {
        let archive = base.path().join("archive.tar");
        let options = PackOptions { holes, ..PackOptions::default() };
        layer::pack(&root, std::fs::File::create(&archive).unwrap(), &options).unwrap();
        let copy = base.path().join(format!("{holes:?}"));
        std::fs::create_dir(&copy).unwrap();
        let (archive, dir) = (archive.to_str().unwrap(), copy.to_str().unwrap());
        tar(&["--numeric-owner", "-p", "-C", dir, "-xf", archive]);
        let copy = Root::open(&copy).unwrap();
        assert_eq!(sparse_content(&copy), sparse_content(&root), "{holes:?}");
        assert_eq!(rest(copy), before, "{holes:?}");
    }
}
