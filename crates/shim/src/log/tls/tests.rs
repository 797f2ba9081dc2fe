//! A log that goes over TLS, to a listener that is there, slow, strange or gone.

use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::log::{LogDelivery, SyslogFormat, TlsTrust};
use tempfile::TempDir;
use testkit::{Clients, TlsListener, TlsStream};

use crate::log::{Awaited, Log, OpenError};
use crate::protocol::StreamKind::Stdout;
use crate::protocol::{LogConfig, LogSink, SinkAddress, SinkForm, SinkTls};

const NOW: i64 = 1_700_000_000_000_000_000;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        TlsListener::certificates(dir.path()).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Whoever listens is known by its authority, and shown who we are.
    fn party(&self, listener: &TlsListener) -> SinkTls {
        SinkTls {
            address: listener.address().unwrap(),
            name: "localhost".to_owned(),
            authority: Some(self.path("authority.pem")),
            identity: Some((self.path("client.pem"), self.path("client.key"))),
            trust: TlsTrust::Verified,
        }
    }
}

fn open(tls: SinkTls, format: SyslogFormat) -> Result<Log, OpenError> {
    let form = SinkForm::Syslog { facility: 3, format, tag: "web".to_owned() };
    let sink = LogSink { address: SinkAddress::Tls(Box::new(tls)), form };
    let config = LogConfig::Remote { sink, copy: None, delivery: LogDelivery::Blocking };
    Log::open(&config).map(Option::unwrap)
}

/// What one connection says, to its end.
fn hear(mut stream: TlsStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

/// The texts of messages that have their lengths in front.
fn texts(mut all: &str) -> Vec<&str> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = all.split_once(' ') {
        let (message, next) = rest.split_at(length.parse().unwrap());
        texts.push(message.split_once(" web - ").unwrap().1);
        all = next;
    }
    assert_eq!(all, "");
    texts
}

#[test]
fn messages_are_counted_and_their_end_is_said() {
    let (files, listener) = (Files::new(), TlsListener::bind(Clients::Known).unwrap());
    let party = files.party(&listener);
    let heard = std::thread::spawn(move || hear(listener.accept().unwrap()));
    let mut log = open(party, SyslogFormat::Rfc5424).unwrap();
    log.write(Stdout, b"one\ntwo \xc3\xa4\nthree", NOW);
    log.finish(Stdout, NOW);
    drop(log);
    assert_eq!(texts(&heard.join().unwrap()), ["one\n", "two \u{e4}\n", "three\n"]);
}

#[test]
fn older_forms_are_lines_as_over_tcp() {
    let (files, listener) = (Files::new(), TlsListener::bind(Clients::Anyone).unwrap());
    let party = SinkTls { identity: None, ..files.party(&listener) };
    let heard = std::thread::spawn(move || hear(listener.accept().unwrap()));
    let mut log = open(party, SyslogFormat::Rfc3164).unwrap();
    log.write(Stdout, b"one\ntwo\n", NOW);
    drop(log);
    let heard = heard.join().unwrap();
    assert_eq!(heard.lines().count(), 2);
    assert!(heard.lines().all(|line| line.starts_with("<30>")), "{heard}");
}

#[test]
fn a_stranger_gets_nothing() {
    let (files, listener) = (Files::new(), TlsListener::bind(Clients::Anyone).unwrap());
    let whole = files.party(&listener);
    let told = std::thread::spawn(move || {
        let accept = || {
            let mut byte = [0];
            listener.accept().unwrap().read(&mut byte).map_err(|error| error.to_string())
        };
        [accept(), accept(), accept()]
    });
    let refused = |tls| {
        let Err(OpenError::Peer { address, source }) = open(tls, SyslogFormat::Rfc5424) else {
            panic!("it was taken")
        };
        assert!(address.starts_with("tcp+tls 127.0.0.1:"), "{address}");
        source.to_string()
    };
    let unknown = refused(SinkTls { authority: None, ..whole.clone() });
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let misnamed = refused(SinkTls { name: "logs.example".to_owned(), ..whole.clone() });
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    let missing = refused(SinkTls { authority: Some(files.path("nosuch")), ..whole.clone() });
    assert!(missing.contains("nosuch: "), "{missing}");
    // Unless nobody asks.
    let anyone = SinkTls { trust: TlsTrust::Anyone, authority: None, ..whole };
    let mut log = open(anyone, SyslogFormat::Rfc5424).unwrap();
    log.write(Stdout, b"one\n", NOW);
    drop(log);
    let [first, second, third] = told.join().unwrap();
    assert!(first.unwrap_err().contains("UnknownCA"));
    assert!(second.is_err());
    assert_eq!(third, Ok(1));
}

/// Lets a log go on as the guard's loop does, until it has nothing to do.
fn go_on(log: &mut Log) {
    let patience = Instant::now() + Duration::from_secs(30);
    while log.wants_room() {
        assert!(Instant::now() < patience, "it does not come to an end: {:?}", log.awaits());
        match (log.awaits(), log.deadline()) {
            (Awaited::Nothing, Some(at)) => {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
            }
            _ => log.sink.as_ref().unwrap().wait(Duration::from_secs(10)),
        }
        log.go_on();
    }
}

#[test]
fn one_who_reads_slowly_loses_nothing() {
    let (files, listener) = (Files::new(), TlsListener::bind(Clients::Known).unwrap());
    let party = files.party(&listener);
    let (ready, go) = std::sync::mpsc::channel();
    let heard = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap();
        stream.flush().unwrap();
        go.recv().unwrap();
        hear(stream)
    });
    let mut log = open(party, SyslogFormat::Rfc5424Micro).unwrap();
    let mut written = 0;
    while !log.holds_back() {
        log.write(Stdout, format!("{written}\n").repeat(100).as_bytes(), NOW);
        written += 1;
        assert!(written < 100_000, "it never has to wait");
    }
    assert_eq!(log.awaits(), Awaited::Room);
    ready.send(()).unwrap();
    go_on(&mut log);
    assert_eq!((log.holds_back(), log.lines_lost()), (false, 0));
    drop(log);
    let heard = heard.join().unwrap();
    let expected: Vec<String> =
        (0..written).flat_map(|number| vec![format!("{number}\n"); 100]).collect();
    assert_eq!(texts(&heard), expected);
}

#[test]
fn one_who_goes_is_met_again_without_waiting() {
    let (files, listener) = (Files::new(), TlsListener::bind(Clients::Known).unwrap());
    let party = files.party(&listener);
    let (gone, is_gone) = std::sync::mpsc::channel();
    let heard = std::thread::spawn(move || {
        let mut first = listener.accept().unwrap();
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        drop(first);
        gone.send(()).unwrap();
        hear(listener.accept().unwrap())
    });
    let mut log = open(party, SyslogFormat::Rfc5424).unwrap();
    log.write(Stdout, b"first\n", NOW);
    go_on(&mut log);
    is_gone.recv().unwrap();
    // Whoever writes it finds that nobody is there; it is greeted anew step by step.
    log.write(Stdout, b"second\n", NOW);
    go_on(&mut log);
    assert_eq!(log.lines_lost(), 0);
    drop(log);
    assert_eq!(texts(&heard.join().unwrap()), ["second\n"]);
}
