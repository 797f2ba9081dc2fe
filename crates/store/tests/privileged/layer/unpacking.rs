//! Blobs: compressions, digests, limits, and that a failure leaves nothing behind.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use model::Digest;
use sha2::Digest as _;
use store::layer::{self, ApplyOptions, Compression, Limits, UnpackError, Unpacked};

use super::archive::Archive;
use super::{Place, listing};

fn layer_bytes() -> Vec<u8> {
    // Data behind the archive's end belong to the diff id as well.
    let archive = Archive::new().dir("d/").file("d/f", &"content ".repeat(100_000)).file("g", "");
    [archive.end(), vec![0; 10_000], b"behind the end".to_vec()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(sha2::Sha256::digest(bytes).into())
}

fn unpack(blob: &[u8], declared: Option<Compression>) -> Result<Unpacked, UnpackError> {
    let place = Place::new();
    let root = place.root();
    let unpacked = layer::unpack(blob, declared, &root, &ApplyOptions::default())?;
    assert_eq!(listing(&root).lines().count(), 3);
    let measured = layer::measure(blob, declared, Limits::default())?;
    assert_eq!(measured, unpacked.content);
    Ok(unpacked)
}

fn message(blob: &[u8], declared: Option<Compression>) -> String {
    unpack(blob, declared).unwrap_err().to_string()
}

#[test]
fn one_pass_gives_both_digests() {
    let plain = layer_bytes();
    let (front, back) = plain.split_at(300_000);
    let members = [gzip(front), gzip(b""), gzip(back)].concat();
    let skippable = b"\x5a\x2a\x4d\x18\x04\0\0\0skip";
    let frames = [&skippable[..], &zstd(front), skippable, &zstd(back)].concat();
    let cases = [
        (plain.clone(), Compression::None),
        (gzip(&plain), Compression::Gzip),
        (members, Compression::Gzip),
        (zstd(&plain), Compression::Zstd),
        (frames, Compression::Zstd),
    ];
    for (blob, compression) in cases {
        for declared in [None, Some(compression)] {
            let content = unpack(&blob, declared).unwrap().content;
            assert_eq!(content.compression, compression);
            assert_eq!(content.blob.digest, sha256(&blob), "{compression}");
            assert_eq!(content.blob.size, blob.len() as u64);
            assert_eq!(content.diff.digest, sha256(&plain), "{compression}");
            assert_eq!(content.diff.size, plain.len() as u64);
        }
    }
}

#[test]
fn a_source_that_trickles_is_recognised() {
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = buf.len().min(1);
            self.0.read(&mut buf[..len])
        }
    }
    let blob = gzip(&Archive::new().file("a", "x").end());
    let place = Place::new();
    let options = ApplyOptions::default();
    let content = layer::unpack(Trickle(&blob), None, &place.root(), &options).unwrap().content;
    assert_eq!((content.compression, content.blob.digest), (Compression::Gzip, sha256(&blob)));
}

#[test]
fn what_the_media_type_says_must_be_true() {
    let plain = layer_bytes();
    let text = message(&plain, Some(Compression::Gzip));
    assert_eq!(text, "the layer is uncompressed, its media type says gzip");
    let text = message(&gzip(&plain), Some(Compression::Zstd));
    assert_eq!(text, "the layer is gzip, its media type says zstd");
}

#[test]
fn other_compressions_are_named() {
    for (magic, name) in
        [(&b"\xfd7zXZ\0"[..], "xz"), (b"BZh91AY", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")]
    {
        let text = message(&[magic, &[0; 600]].concat(), None);
        assert_eq!(text, format!("{name} compression is not supported; use gzip, zstd or none"));
    }
}

#[test]
fn damaged_compression_is_an_error() {
    let plain = layer_bytes();
    for (blob, name) in [(gzip(&plain), "gzip"), (zstd(&plain), "zstd")] {
        let decode = format!("decompress the layer ({name})");
        assert_eq!(message(&blob[..blob.len() - 3], None), decode, "cut");
        assert_eq!(message(&blob[..20], None), decode, "cut");
        let garbage = [&blob[..], b"garbage behind it"].concat();
        assert_eq!(message(&garbage, None), decode, "garbage");
        let mut flipped = blob.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        // zstd has no checksum unless asked for; the digest finds what the decoder does not.
        if name == "gzip" {
            assert_eq!(message(&flipped, None), decode, "flipped");
        }
    }
    let mixed = [gzip(&plain), zstd(&plain)].concat();
    assert_eq!(message(&mixed, None), "decompress the layer (gzip)");
}

#[test]
fn a_zstd_frame_gets_128_mib_and_no_more() {
    // An empty frame; its fifth byte is the logarithm of the window less ten, times eight.
    let frame = |log: u8| [&b"\x28\xb5\x2f\xfd\x00"[..], &[(log - 10) << 3, 1, 0, 0]].concat();
    let measure = |log| layer::measure(&frame(log)[..], None, Limits::default());
    assert_eq!(measure(27).unwrap().diff.size, 0);
    for log in [28, 31] {
        assert_eq!(measure(log).unwrap_err().to_string(), "decompress the layer (zstd)");
    }
}

#[test]
fn a_source_that_fails_is_not_the_end() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the line is cut")),
                len => Ok(len),
            }
        }
    }
    let plain = layer_bytes();
    for blob in [plain.clone(), gzip(&plain), zstd(&plain)] {
        for cut in [0, 1, 100, blob.len() / 2, blob.len()] {
            let place = Place::new();
            let source = Failing(&blob[..cut]);
            let result = layer::unpack(source, None, &place.root(), &ApplyOptions::default());
            let Err(UnpackError::Read(error)) = result else { panic!("{cut}: {result:?}") };
            assert_eq!(error.to_string(), "the line is cut");
        }
    }
}

#[test]
fn bombs_stop_at_their_limit() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let bomb = gzip(&vec![0; 4 << 20]);
    let place = Place::new();
    let options = ApplyOptions { limits, ..ApplyOptions::default() };
    let error = layer::unpack(&bomb[..], None, &place.root(), &options).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(_)), "{error}");

    /// Gives zeros for ever.
    struct Zeros;
    impl Read for Zeros {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            buf.fill(0);
            Ok(buf.len())
        }
    }
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    io::copy(&mut Zeros.take(Limits::RATIO_FROM + (8 << 20)), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    let error = layer::measure(&bomb[..], None, Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "decompression bomb: it unpacks to more than 1000 times its size"
    );
}

/// Other tests of this program open files as well, so this one is run once more in a process of its own.
#[test]
fn failures_leave_no_descriptor_and_no_thread() {
    const ALONE: &str = "DHOW_TEST_ALONE";
    const NAME: &str = "layer::unpacking::failures_leave_no_descriptor_and_no_thread";
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test runs itself")]
        let mut again = std::process::Command::new(program);
        let output = again.args([NAME, "--exact", "--test-threads=1"]).env(ALONE, "1").output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let good = Archive::new().dir("d/").file("d/f", "x").unfinished();
    let bad = [good, Archive::new().file("../x", "").end()].concat();
    let fail = || {
        let place = Place::new();
        layer::unpack(&bad[..], None, &place.root(), &ApplyOptions::default()).unwrap_err();
    };
    let count = || {
        let of = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
        (of("fd"), of("task"))
    };
    // What is made once and kept is there after the first. A thread that has ended is listed for a moment yet.
    fail();
    let before = count();
    (0..30).for_each(|_| fail());
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_more = |now: (usize, usize)| now.0 > before.0 || now.1 > before.1;
    while is_more(count()) {
        assert!(Instant::now() < deadline, "{:?} instead of {before:?}", count());
        std::thread::yield_now();
    }
}

/// A layer is staged under its blob's name, and whoever did so last may have been killed a moment
/// ago, after the collection at an operation's begin.
#[test]
fn what_a_killed_unpacking_has_left_is_in_no_layer() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::Store::open(dir.path()).unwrap();
    let operation = store.begin().unwrap();
    let layer = Archive::new().file("file", "whole").end();
    let digest = store::oci::digest(&layer);
    let left = dir.path().join("staging").join(digest.hex()).join("fs");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("left"), "half").unwrap();
    let compression = model::image::Compression::Plain;
    let media_type = compression.media_type().to_owned();
    let size = layer.len() as u64;
    let spec =
        store::oci::LayerSpec { diff_id: digest, blob: digest, size, media_type, compression };
    let store::BeginLayer::Started(begun) = operation.begin_layer(&spec).unwrap() else {
        panic!("nobody else brings it");
    };
    operation.receive(*begun, &*layer).unwrap();
    operation.flush().unwrap();
    let trees = store.lowers(&[digest]).unwrap();
    let names = std::fs::read_dir(&trees[0]).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["file"]);
}
