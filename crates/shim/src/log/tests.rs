//! What a whole log looks like on disk.

use super::*;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde::Deserialize;

use StreamKind::{Stderr, Stdout};

/// 2026-11-21T22:22:47.22437218Z
const NOW: i64 = 1_795_299_767_224_372_180;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("dhow-log-{:016x}", rand()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn open(&self, max_size: Option<u64>, max_file: u32) -> Log {
        let attrs = BTreeMap::new();
        let path = self.0.join("c.log");
        Log::open(&LogConfig::JsonFile { path, max_size, max_file, attrs }).unwrap().unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes)
}

fn check(write: impl FnOnce(&mut Log), expected: Expect) {
    let scratch = Scratch::new();
    let mut log = scratch.open(None, 1);
    write(&mut log);
    expected.assert_eq(&scratch.read("c.log"));
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    log: String,
    stream: String,
    time: String,
}

fn records(text: &str) -> Vec<Record> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_is_a_record_as_docker_writes_it() {
    check(
        |log| {
            log.write(Stdout, b"out\n", NOW);
            log.write(Stderr, b"err\n\n", NOW + 820);
        },
        expect![[r#"
            {"log":"out\n","stream":"stdout","time":"2026-11-21T22:22:47.22437218Z"}
            {"log":"err\n","stream":"stderr","time":"2026-11-21T22:22:47.224373Z"}
            {"log":"\n","stream":"stderr","time":"2026-11-21T22:22:47.224373001Z"}
        "#]],
    );
}

#[test]
fn a_line_that_comes_in_pieces_is_one_record() {
    check(
        |log| {
            log.write(Stdout, b"be", NOW);
            log.write(Stderr, b"other\n", NOW);
            log.write(Stdout, b"gin", NOW);
            log.write(Stdout, b" end\nrest", NOW);
            log.finish(Stdout, NOW);
            log.finish(Stderr, NOW);
        },
        expect![[r#"
            {"log":"other\n","stream":"stderr","time":"2026-11-21T22:22:47.22437218Z"}
            {"log":"begin end\n","stream":"stdout","time":"2026-11-21T22:22:47.224372181Z"}
            {"log":"rest","stream":"stdout","time":"2026-11-21T22:22:47.224372182Z"}
        "#]],
    );
}

#[test]
fn labels_go_between_stream_and_time() {
    let scratch = Scratch::new();
    let attrs = BTreeMap::from([("app".to_owned(), "we\"b".to_owned())]);
    let path = scratch.0.join("c.log");
    let config = LogConfig::JsonFile { path, max_size: None, max_file: 1, attrs };
    Log::open(&config).unwrap().unwrap().write(Stdout, b"x\n", NOW);
    expect![[r#"
        {"log":"x\n","stream":"stdout","attrs":{"app":"we\"b"},"time":"2026-11-21T22:22:47.22437218Z"}
    "#]]
    .assert_eq(&scratch.read("c.log"));
}

#[test]
fn a_long_line_is_cut_at_16_kib_wherever_reads_end() {
    let line: Vec<u8> = (b'a'..=b'z').cycle().take(40_000).chain([b'\n']).collect();
    for cut in [1, 1000, 16_384, 16_385, 50_000] {
        let scratch = Scratch::new();
        let mut log = scratch.open(None, 1);
        line.chunks(cut).for_each(|piece| log.write(Stdout, piece, NOW));
        let lengths: Vec<usize> =
            records(&scratch.read("c.log")).iter().map(|record| record.log.len()).collect();
        assert_eq!(lengths, [16_384, 16_384, 40_001 - 2 * 16_384], "cut {cut}");
    }
}

#[test]
fn exactly_16_kib_leaves_its_line_feed_for_the_next_record() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None, 1);
    log.write(Stdout, &[b'x'; 16_384], NOW);
    log.write(Stdout, b"\n", NOW);
    log.write(Stdout, &[b'y'; 16_383], NOW);
    log.write(Stdout, b"\n", NOW);
    let lengths: Vec<usize> =
        records(&scratch.read("c.log")).iter().map(|record| record.log.len()).collect();
    assert_eq!(lengths, [16_384, 1, 16_384]);
}

#[test]
fn files_rotate_at_their_size_and_the_oldest_goes() {
    let scratch = Scratch::new();
    let mut log = scratch.open(Some(200), 3);
    for number in 0..20 {
        log.write(Stdout, format!("line {number}\n").as_bytes(), NOW);
    }
    assert_eq!(scratch.names(), ["c.log", "c.log.1", "c.log.2"]);
    let numbers: Vec<String> = ["c.log.2", "c.log.1", "c.log"]
        .iter()
        .flat_map(|name| records(&scratch.read(name)))
        .map(|record| record.log)
        .collect();
    let expected: Vec<String> =
        (20 - numbers.len()..20).map(|number| format!("line {number}\n")).collect();
    assert_eq!(numbers, expected, "gapless up to the end");
    for name in scratch.names() {
        let metadata = fs::metadata(scratch.0.join(&name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640, "{name}");
        assert!(metadata.len() < 200 + 80, "{name}: the limit plus one record");
    }
}

#[test]
fn one_burst_rotates_as_many_times_as_it_must() {
    let scratch = Scratch::new();
    let mut log = scratch.open(Some(1000), 4);
    let burst: String = (0..100).map(|number| format!("{number}\n")).collect();
    log.write(Stdout, burst.as_bytes(), NOW);
    assert_eq!(scratch.names(), ["c.log", "c.log.1", "c.log.2", "c.log.3"]);
    for name in scratch.names() {
        let text = scratch.read(&name);
        assert!(text.len() < 1000 + 80, "{name}");
        assert!(!records(&text).is_empty());
    }
}

#[test]
fn a_single_file_begins_anew() {
    let scratch = Scratch::new();
    let mut log = scratch.open(Some(100), 1);
    (0..5).for_each(|number| log.write(Stdout, format!("{number}\n").as_bytes(), NOW));
    assert_eq!(scratch.names(), ["c.log"]);
    assert_eq!(records(&scratch.read("c.log"))[0].log, "4\n");
}

#[test]
fn a_later_run_goes_on_in_the_same_file() {
    let scratch = Scratch::new();
    scratch.open(None, 1).write(Stdout, b"one\n", NOW);
    scratch.open(None, 1).write(Stdout, b"two\n", NOW);
    assert_eq!(records(&scratch.read("c.log")).len(), 2);
}

#[test]
fn a_file_that_cannot_be_made_is_named() {
    let path = PathBuf::from("/nonexistent/c.log");
    let attrs = BTreeMap::new();
    let error =
        Log::open(&LogConfig::JsonFile { path, max_size: None, max_file: 1, attrs }).unwrap_err();
    assert_eq!(error.to_string(), "open log /nonexistent/c.log");
}

#[test]
fn lost_lines_are_counted_and_told_once() {
    let scratch = Scratch::new();
    let mut log = scratch.open(Some(200), 2);
    log.write(Stdout, b"kept\n", NOW);
    // The rotation finds its directory gone, and later back again.
    let away = scratch.0.with_extension("away");
    let long = [b'x'; 200];
    log.write(Stdout, &[&long[..], b"\n"].concat(), NOW);
    fs::rename(&scratch.0, &away).unwrap();
    log.write(Stdout, b"lost 1\nlost 2\n", NOW);
    log.write(Stderr, b"lost 3\n", NOW);
    fs::rename(&away, &scratch.0).unwrap();
    log.write(Stdout, b"back\n", NOW);
    log.write(Stdout, b"again\n", NOW);
    assert_eq!(log.lines_lost(), 3);
    let texts: Vec<String> = ["c.log.1", "c.log"]
        .iter()
        .flat_map(|name| records(&scratch.read(name)))
        .map(|record| record.log)
        .collect();
    let long = "x".repeat(200) + "\n";
    let note = "[dhow: 3 lines were not logged: entity not found]\n";
    assert_eq!(texts, ["kept\n", &long, note, "back\n", "again\n"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The log's texts, joined by stream, are what was written, however reads cut it.
    #[test]
    fn the_log_holds_what_was_written(
        pieces in prop::collection::vec((any::<bool>(), "[a-c<\n\"é]{0,40}", 1_usize..900), 0..12)
    ) {
        let scratch = Scratch::new();
        let mut log = scratch.open(None, 1);
        let mut written = [String::new(), String::new()];
        for (is_stdout, text, times) in &pieces {
            let stream = if *is_stdout { Stdout } else { Stderr };
            let text = text.repeat(*times);
            log.write(stream, text.as_bytes(), NOW);
            written[usize::from(!is_stdout)].push_str(&text);
        }
        log.finish(Stdout, NOW);
        log.finish(Stderr, NOW);
        let mut logged = [Vec::new(), Vec::new()];
        let mut last = String::new();
        for record in records(&scratch.read("c.log")) {
            let which = usize::from(record.stream != "stdout");
            // A character may be cut at 16 KiB, as in Docker: compare what the cut leaves alone.
            logged[which].push(record.log);
            let time = padded(&record.time);
            prop_assert!(time > last, "{} after {}", time, last);
            last = time;
        }
        for (logged, written) in logged.iter().zip(&written) {
            let joined = logged.concat();
            if !joined.contains('\u{fffd}') {
                prop_assert_eq!(&joined, written);
            }
        }
    }
}

/// A time in a form that sorts as text.
fn padded(time: &str) -> String {
    let (second, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time, ""));
    format!("{}.{fraction:0<9}", second.trim_end_matches('Z'))
}
