//! What a whole log looks like on disk.

use super::*;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::log::{Compression, SyslogFormat};
use proptest::prelude::*;
use serde::Deserialize;

use crate::protocol::SinkAddress;

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
        let files = LogFiles { max_size, max_file, compression: Compression::None };
        Log::open(&self.json(files, &[])).unwrap().unwrap()
    }

    fn json(&self, files: LogFiles, attrs: &[(&str, &str)]) -> LogConfig {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let LogFiles { max_size, max_file, compression } = files;
        let attrs: BTreeMap<String, String> = attrs.iter().map(owned).collect();
        let (path, delivery) = (self.0.join("c.log"), LogDelivery::Blocking);
        LogConfig::JsonFile { path, max_size, max_file, attrs, compression, delivery }
    }

    fn local(&self, delivery: LogDelivery) -> Log {
        let files = LogCopy { path: self.0.join("c.log"), files: LogFiles::default() };
        Log::open(&LogConfig::Local { files, delivery }).unwrap().unwrap()
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
    let config = scratch.json(LogFiles::default(), &[("app", "we\"b")]);
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
    let files = LogCopy { path, files: LogFiles::default() };
    let delivery = LogDelivery::Blocking;
    let error = Log::open(&LogConfig::Local { files, delivery }).unwrap_err();
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

#[test]
fn a_local_record_is_a_letter_a_time_and_the_bytes() {
    let scratch = Scratch::new();
    let mut log = scratch.local(LogDelivery::Blocking);
    log.write(Stdout, b"one\n\x1b[31m\xff\"", NOW);
    log.write(Stderr, b"\n", NOW + 15);
    log.finish(Stdout, NOW + 16);
    let bytes = fs::read(scratch.0.join("c.log")).unwrap();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(
        lines,
        [
            format!("O{NOW:016x}one\n").into_bytes(),
            format!("E{:016x}\n", NOW + 15).into_bytes(),
            [format!("o{:016x}", NOW + 16).as_bytes(), b"\x1b[31m\xff\"\n"].concat(),
        ]
    );
}

/// Reaps the compressors until none is left.
fn settle(log: &mut Log, files: u32, scratch: &Scratch) {
    let plain = |number| scratch.0.join(format!("c.log.{number}"));
    while (1..files).any(|number| plain(number).exists()) {
        let work = log.file.as_ref().and_then(|written| written.file.compressor());
        let (pid, exit) = work.map(|child| (child.pid, sys::process::wait(&child.pidfd))).unwrap();
        log.process_ended(pid, exit.unwrap());
    }
}

fn unpacked(scratch: &Scratch, name: &str) -> String {
    let mut text = String::new();
    let file = fs::File::open(scratch.0.join(name)).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn full_files_are_compressed_and_keep_their_order() {
    let _alone = crate::clones::alone();
    let scratch = Scratch::new();
    let files = LogFiles { max_size: Some(1000), max_file: 4, compression: Compression::Gzip };
    let mut log = Log::open(&scratch.json(files, &[])).unwrap().unwrap();
    for number in 0..200 {
        log.write(Stdout, format!("{number}\n").as_bytes(), NOW);
    }
    settle(&mut log, 4, &scratch);
    assert_eq!(scratch.names(), ["c.log", "c.log.1.gz", "c.log.2.gz", "c.log.3.gz"]);
    let texts = ["c.log.3.gz", "c.log.2.gz", "c.log.1.gz"].map(|name| unpacked(&scratch, name));
    let all = texts.concat() + &scratch.read("c.log");
    let numbers: Vec<usize> =
        records(&all).iter().map(|record| record.log.trim().parse().unwrap()).collect();
    assert_eq!(numbers, (200 - numbers.len()..200).collect::<Vec<_>>(), "gapless up to the end");
    let mode = fs::metadata(scratch.0.join("c.log.1.gz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_compressed_file_says_which_file_it_was() {
    let _alone = crate::clones::alone();
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let files = LogFiles { max_size: Some(100), max_file: 2, compression: Compression::Gzip };
    let mut log = Log::open(&scratch.json(files, &[])).unwrap().unwrap();
    log.write(Stdout, &[b'x'; 200], NOW);
    log.write(Stdout, b"\n", NOW);
    let was = fs::metadata(scratch.0.join("c.log")).unwrap();
    log.write(Stdout, b"next\n", NOW);
    settle(&mut log, 2, &scratch);
    let file = fs::File::open(scratch.0.join("c.log.1.gz")).unwrap();
    let mut decoder = flate2::read::GzDecoder::new(file);
    decoder.read_exact(&mut [0]).unwrap();
    let extra = decoder.header().and_then(|header| header.extra()).unwrap();
    assert_eq!(packed_from(extra), Some((was.dev(), was.ino())));
}

#[test]
fn what_a_killed_shim_was_compressing_is_begun_anew() {
    let _alone = crate::clones::alone();
    let scratch = Scratch::new();
    for (name, text) in [("c.log", ""), ("c.log.1", "one"), ("c.log.gz~", "half")] {
        fs::write(scratch.0.join(name), text).unwrap();
    }
    // This one was complete; only its plain form was not removed yet.
    fs::write(scratch.0.join("c.log.2"), "two").unwrap();
    fs::write(scratch.0.join("c.log.2.gz"), "whole").unwrap();
    let files = LogFiles { max_size: Some(1000), max_file: 4, compression: Compression::Gzip };
    let mut log = Log::open(&scratch.json(files, &[])).unwrap().unwrap();
    settle(&mut log, 4, &scratch);
    assert_eq!(scratch.names(), ["c.log", "c.log.1.gz", "c.log.2.gz"]);
    assert_eq!(unpacked(&scratch, "c.log.1.gz"), "one");
    assert_eq!(scratch.read("c.log.2.gz"), "whole");
}

#[test]
fn what_has_no_room_waits_if_it_may() {
    let scratch = Scratch::new();
    let attrs = BTreeMap::new();
    let (path, delivery) = (scratch.0.join("c.log"), LogDelivery::NonBlocking { buffer: 300 });
    let (max_size, compression) = (Some(100), Compression::None);
    let config = LogConfig::JsonFile { path, max_size, max_file: 2, attrs, compression, delivery };
    let mut log = Log::open(&config).unwrap().unwrap();
    log.write(Stdout, &[&[b'x'; 200][..], b"\n"].concat(), NOW);
    let away = scratch.0.with_extension("away");
    fs::rename(&scratch.0, &away).unwrap();
    // Some 75 bytes each: four fit.
    for number in 0..8 {
        log.write(Stdout, format!("{number}\n").as_bytes(), NOW);
    }
    fs::rename(&away, &scratch.0).unwrap();
    log.write(Stdout, b"back\n", NOW);
    let texts: Vec<String> =
        records(&scratch.read("c.log")).into_iter().skip(1).map(|record| record.log).collect();
    let lost = log.lines_lost();
    assert!((1..8).contains(&lost), "{lost}");
    let mut expected: Vec<String> = (0..8 - lost).map(|number| format!("{number}\n")).collect();
    expected.push(format!("[dhow: {lost} lines were not logged: no storage space]\n"));
    expected.push("back\n".to_owned());
    assert_eq!(texts, expected);
}

fn syslog(address: SinkAddress, delivery: LogDelivery) -> Log {
    let (facility, format, tag) = (3, SyslogFormat::Rfc5424, "web".to_owned());
    let form = SinkForm::Syslog { facility, format, tag };
    let sink = LogSink { address, form };
    Log::open(&LogConfig::Remote { sink, copy: None, delivery }).unwrap().unwrap()
}

/// The text behind the head of a syslog message.
fn message(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_once(" web - ").unwrap().1.to_owned()
}

#[test]
fn each_line_is_a_datagram_with_its_severity() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = SinkAddress::Udp(listener.local_addr().unwrap());
    let mut log = syslog(address, LogDelivery::Blocking);
    log.write(Stdout, b"one\ntwo\n", NOW);
    log.write(Stderr, b"three", NOW);
    log.finish(Stderr, NOW);
    let mut buffer = [0; 1000];
    let heard = ["<30>1 ", "<30>1 ", "<27>1 "].map(|head| {
        let count = listener.recv(&mut buffer).unwrap();
        assert!(buffer.starts_with(head.as_bytes()));
        message(&buffer[..count])
    });
    assert_eq!(heard, ["one\n", "two\n", "three\n"]);
}

#[test]
fn a_peer_that_reads_slowly_makes_the_container_wait_and_loses_nothing() {
    let scratch = Scratch::new();
    let path = scratch.0.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut log = syslog(SinkAddress::Unix(path), LogDelivery::Blocking);
    let mut peer = listener.accept().unwrap().0;
    let mut written = 0;
    while !log.holds_back() {
        log.write(Stdout, format!("{written}\n").repeat(100).as_bytes(), NOW);
        written += 1;
        assert!(written < 100_000, "it never has to wait");
    }
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        all.lines().count()
    });
    while log.wants_room() {
        log.sink.as_ref().unwrap().wait(Duration::from_secs(10));
        log.go_on();
    }
    assert!(!log.holds_back());
    assert_eq!(log.lines_lost(), 0);
    drop(log);
    assert_eq!(reader.join().unwrap(), written * 100);
}

#[test]
fn a_peer_that_takes_nothing_is_not_waited_for_for_ever() {
    let scratch = Scratch::new();
    let path = scratch.0.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut log = syslog(SinkAddress::Unix(path), LogDelivery::Blocking);
    let line = "x".repeat(99) + "\n";
    let mut written = 0;
    while !log.holds_back() {
        log.write(Stdout, line.repeat(100).as_bytes(), NOW);
        written += 100;
    }
    assert_eq!(log.lines_lost(), 0);
    let due = log.deadline().unwrap();
    log.sink.as_mut().unwrap().flush(due);
    assert!(!log.holds_back());
    assert_eq!(log.deadline(), None, "there is nothing to be done but when it takes something");
    log.write(Stdout, line.repeat(10).as_bytes(), NOW);
    assert_eq!(log.lines_lost(), 10);
    let mut peer = listener.accept().unwrap().0;
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        (all.lines().count(), all.contains("[dhow: 10 lines were not logged: "))
    });
    while log.wants_room() {
        log.sink.as_ref().unwrap().wait(Duration::from_secs(10));
        log.go_on();
    }
    drop(log);
    assert_eq!(reader.join().unwrap(), (written + 1, true));
}

#[test]
fn a_peer_that_goes_holds_nobody_back_and_hears_what_it_missed() {
    let _nobody = crate::clones::nobody();
    let scratch = Scratch::new();
    let path = scratch.0.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let delivery = LogDelivery::NonBlocking { buffer: 4000 };
    let mut log = syslog(SinkAddress::Unix(path.clone()), delivery);
    drop(listener);
    fs::remove_file(&path).unwrap();
    for number in 0..1000 {
        log.write(Stdout, format!("{number}\n").as_bytes(), NOW);
    }
    assert!(!log.holds_back());
    let lost = log.lines_lost();
    assert!((900..1000).contains(&lost), "{lost}");
    let listener = UnixListener::bind(&path).unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        listener.accept().unwrap().0.read_to_string(&mut all).unwrap();
        all
    });
    while log.wants_room() || log.deadline().is_some() {
        let now = std::time::Instant::now();
        let left = log.deadline().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        std::thread::park_timeout(left);
        log.go_on();
    }
    log.write(Stdout, b"back\n", NOW);
    drop(log);
    let texts: Vec<String> =
        reader.join().unwrap().lines().map(|l| message(l.as_bytes())).collect();
    let kept = usize::try_from(1000 - lost).unwrap();
    let mut expected: Vec<String> = (0..kept).map(|number| number.to_string()).collect();
    expected.push(format!("[dhow: {lost} lines were not logged: broken pipe]"));
    expected.push("back".to_owned());
    assert_eq!(texts, expected);
}

/// It was due at once for as long as nobody was there.
#[test]
fn a_peer_that_stalls_and_goes_is_looked_for_in_a_while() {
    let _nobody = crate::clones::nobody();
    let scratch = Scratch::new();
    let path = scratch.0.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut log = syslog(SinkAddress::Unix(path.clone()), LogDelivery::Blocking);
    let peer = listener.accept().unwrap().0;
    while !log.holds_back() {
        log.write(Stdout, "x\n".repeat(1000).as_bytes(), NOW);
    }
    drop((peer, listener));
    fs::remove_file(&path).unwrap();
    log.go_on();
    let later = std::time::Instant::now() + Duration::from_secs(20);
    log.sink.as_mut().unwrap().flush(later);
    assert!(log.deadline().unwrap() > later);
}

/// A note of a loss that is lost itself had no end.
#[test]
fn a_message_longer_than_the_whole_buffer_is_sent_alone() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = SinkAddress::Udp(listener.local_addr().unwrap());
    let mut log = syslog(address, LogDelivery::NonBlocking { buffer: 1 });
    log.write(Stdout, b"one\n", NOW);
    let mut buffer = [0; 1000];
    let count = listener.recv(&mut buffer).unwrap();
    assert_eq!(message(&buffer[..count]), "one\n");
}

#[test]
fn nobody_to_take_the_log_is_told_at_the_start() {
    let scratch = Scratch::new();
    let address = SinkAddress::Unix(scratch.0.join("sock"));
    let form = SinkForm::Journal { fields: BTreeMap::new() };
    let delivery = LogDelivery::Blocking;
    let config = LogConfig::Remote { sink: LogSink { address, form }, copy: None, delivery };
    let error = Log::open(&config).unwrap_err().to_string();
    assert!(error.starts_with("failed to initialize logging driver: dial unix /"), "{error}");
}

#[test]
fn the_journal_takes_long_entries_in_a_file() {
    let scratch = Scratch::new();
    let path = scratch.0.join("sock");
    let journal = UnixDatagram::bind(&path).unwrap();
    let fields = BTreeMap::from([("LABEL".to_owned(), "x".repeat(100_000))]);
    let form = SinkForm::Journal { fields };
    let sink = LogSink { address: SinkAddress::Journal(path), form };
    let copy = LogCopy { path: scratch.0.join("c.log"), files: LogFiles::default() };
    let config = LogConfig::Remote { sink, copy: Some(copy), delivery: LogDelivery::Blocking };
    let mut log = Log::open(&config).unwrap().unwrap();
    log.write(Stdout, b"hi\n", NOW);
    let (mut buffer, mut fds) = ([0; 16], Vec::new());
    assert_eq!(sys::fdpass::recv(&journal, &mut buffer, &mut fds).unwrap(), 0);
    let mut file = fs::File::from(fds.pop().unwrap());
    std::io::Seek::rewind(&mut file).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("MESSAGE=hi\nPRIORITY=6\n") && text.contains("LABEL=xxx"));
    assert_eq!(scratch.read("c.log").len(), 17 + 3, "the copy has the line");
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
