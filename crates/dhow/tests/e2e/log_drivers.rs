//! Log drivers and their options: what is written where, and what a peer that is slow, dead or not
//! there means to the container.

use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use testkit::{Clients, Host, TlsListener, until};

use crate::host;

fn id(host: &Host, name: &str) -> String {
    host.ok(&["inspect", "-f", "{{.Id}}", name])
}

fn dir(host: &Host, name: &str) -> PathBuf {
    host.root().join("containers").join(id(host, name))
}

/// The files of a container's log, by their endings.
fn files(host: &Host, name: &str) -> Vec<String> {
    let entries = fs::read_dir(dir(host, name)).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.split_once(".log")?.1.to_owned())).collect();
    names.sort();
    names
}

#[test]
fn a_json_line_has_the_attributes_that_options_choose() {
    let host = host();
    host.ok(&[
        "run",
        "--name",
        "l1",
        "-l",
        "tier=front",
        "-l",
        "com.x=1",
        "-e",
        "MODE=a b",
        "--log-opt",
        "labels=tier",
        "--log-opt",
        "labels-regex=^com",
        "--log-opt",
        "env-regex=^MO",
        "--log-opt",
        "tag={{.Name}}/{{.ImageName}}/{{(.ExtraAttributes nil).tier}}",
        "busybox",
        "echo",
        "hi",
    ]);
    let id = id(&host, "l1");
    let log = fs::read_to_string(dir(&host, "l1").join(format!("{id}-json.log"))).unwrap();
    let attrs = r#""attrs":{"MODE":"a b","com.x":"1","tag":"l1/busybox/front","tier":"front"}"#;
    let head = format!(r#"{{"log":"hi\n","stream":"stdout",{attrs},"time":""#);
    assert!(log.starts_with(&head), "{log}");
    assert_eq!(
        host.ok(&["logs", "--details", "l1"]),
        "MODE=a+b,com.x=1,tag=l1%2Fbusybox%2Ffront,tier=front hi"
    );
    assert_eq!(host.ok(&["logs", "l1"]), "hi");
}

#[test]
fn a_local_log_is_rotated_compressed_and_read_through() {
    let host = host();
    let lines = "for n in $(seq 1 3000); do echo line $n; done; printf '\\033[1m\\377end'";
    host.ok(&[
        "run",
        "-d",
        "--name",
        "l1",
        "--log-driver",
        "local",
        "--log-opt",
        "max-size=20k",
        "--log-opt",
        "max-file=6",
        "busybox",
        "sh",
        "-c",
        &format!("{lines}; exec sleep 1000"),
    ]);
    // All is written once the shell has become another program.
    until("what is in the container", || {
        host.ok(&["exec", "l1", "cat", "/proc/1/comm"]) == "sleep"
    });
    // And settled, once all files but the current one are compressed.
    let is_older = |name: &String| name.ends_with(|end: char| end.is_ascii_digit());
    until("the end of older files", || !files(&host, "l1").iter().any(is_older));
    let follower = host.spawn(&mut host.command(&["logs", "-f", "--tail", "1000", "l1"]));
    let mut expected: Vec<u8> =
        (2001..=3000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    host.ok(&["stop", "-t", "0", "l1"]);
    let heard = follower.wait_with_output().unwrap().stdout;
    expected.extend_from_slice(b"\x1b[1m\xffend");
    assert!(heard.ends_with(&expected[expected.len() - 4000..]), "the end is there");
    assert!(expected.ends_with(&heard) || heard.len() >= expected.len() - 12, "in order");
    let all = host.command(&["logs", "l1"]).output().unwrap();
    let shown = all.stdout.len().saturating_sub(60);
    let shown = String::from_utf8_lossy(&all.stdout[shown..]).into_owned();
    assert!(
        all.stdout.ends_with(&expected),
        "a tail of the whole: {shown:?}, {}",
        all.stdout.len()
    );
    let tail = host.command(&["logs", "-n", "1001", "l1"]).output().unwrap().stdout;
    assert_eq!(tail, expected);
    let shown = host.ok(&["inspect", "-f", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}.", "l1"]);
    assert_eq!(shown, "local .");
    assert!(
        files(&host, "l1")
            .iter()
            .all(|name| ["", ".1.gz", ".2.gz", ".3.gz", ".4.gz", ".5.gz"].contains(&name.as_str()))
    );
}

#[test]
fn syslog_hears_each_line_and_logs_reads_the_copy() {
    let host = host();
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let address = format!("syslog-address=udp://{}", daemon.local_addr().unwrap());
    host.ok(&[
        "run",
        "--name",
        "l1",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "syslog-facility=local0",
        "--log-opt",
        "syslog-format=rfc5424micro",
        "--log-opt",
        "tag={{.ID}}:{{.DaemonName}}",
        "busybox",
        "sh",
        "-c",
        "echo one; echo two >&2",
    ]);
    let mut buffer = [0; 2000];
    let mut heard: Vec<String> = (0..2)
        .map(|_| {
            let count = daemon.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        })
        .collect();
    heard.sort();
    let tag = format!("{}:docker", &id(&host, "l1")[..12]);
    assert!(heard[0].starts_with("<131>1 ") && heard[0].ends_with(&format!(" {tag} - two\n")));
    assert!(heard[1].starts_with("<134>1 ") && heard[1].ends_with(&format!(" {tag} - one\n")));
    assert_eq!(host.run(&["logs", "l1"]).out, "one");
    assert_eq!(host.run(&["logs", "l1"]).err, "two");
    host.ok(&[
        "run",
        "--name",
        "l2",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "cache-disabled=true",
        "busybox",
        "echo",
        "x",
    ]);
    let error = host.fails(1, &["logs", "l2"]);
    assert!(error.contains("configured logging driver does not support reading"), "{error}");
}

#[test]
fn syslog_hears_each_line_behind_tls() {
    let host = host();
    let daemon = TlsListener::bind(Clients::Known).unwrap();
    let port = daemon.address().unwrap().port();
    TlsListener::certificates(host.scratch()).unwrap();
    let heard = std::thread::spawn(move || {
        let mut all = String::new();
        daemon.accept().unwrap().read_to_string(&mut all).unwrap();
        all
    });
    let file =
        |option: &str, name: &str| format!("{option}={}", host.scratch().join(name).display());
    let options = [
        format!("syslog-address=tcp+tls://localhost:{port}"),
        file("syslog-tls-ca-cert", "authority.pem"),
        file("syslog-tls-cert", "client.pem"),
        file("syslog-tls-key", "client.key"),
        "syslog-format=rfc5424".to_owned(),
        "tag=web".to_owned(),
    ];
    let mut run = vec!["run", "--rm", "--log-driver", "syslog"];
    run.extend(options.iter().flat_map(|option| ["--log-opt", option]));
    run.extend(["busybox", "sh", "-c", "yes | head -n 20000; echo end"]);
    host.ok(&run);
    let heard = heard.join().unwrap();
    assert_eq!(heard.matches(" web - y\n").count(), 20_000);
    assert!(heard.ends_with(" web - end\n"));
    // Somebody else's certificate.
    let stranger = TlsListener::bind(Clients::Anyone).unwrap();
    let port = stranger.address().unwrap().port();
    let met = std::thread::spawn(move || stranger.accept().unwrap().read(&mut [0]).is_err());
    let address = format!("syslog-address=tcp+tls://127.0.0.1:{port}");
    let run = ["run", "--rm", "--log-driver", "syslog", "--log-opt", &address, "busybox", "true"];
    let refused = host.run(&run);
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("failed to initialize logging driver: dial tcp+tls 127.0.0.1"));
    assert!(refused.err.contains("UnknownIssuer"), "{}", refused.err);
    assert!(met.join().unwrap());
}

#[test]
fn a_syslog_daemon_that_does_not_read_keeps_nobody_who_asked_not_to_wait() {
    let host = host();
    let socket = host.scratch().join("log");
    let daemon = UnixListener::bind(&socket).unwrap();
    let address = format!("syslog-address=unix://{}", socket.display());
    let flood = "yes 'a line of the log that is fifty bytes long or so.' | head -n 40000; echo end";
    host.ok(&[
        "run",
        "--name",
        "l1",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "mode=non-blocking",
        "--log-opt",
        "max-buffer-size=64k",
        "busybox",
        "sh",
        "-c",
        flood,
    ]);
    let copy = host.run(&["logs", "l1"]).out;
    assert_eq!((copy.lines().count(), copy.ends_with("end")), (40_001, true), "the copy is whole");
    // It died with the container's shim; what is in the socket is a part.
    let mut heard = String::new();
    daemon.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    assert!((10..40_000).contains(&heard.lines().count()), "{}", heard.lines().count());
}

#[test]
fn a_syslog_daemon_that_reads_slowly_gets_everything() {
    let host = host();
    let socket = host.scratch().join("log");
    let daemon = UnixListener::bind(&socket).unwrap();
    let address = format!("syslog-address=unix://{}", socket.display());
    let flood = "yes 'a line of the log that is fifty bytes long or so.' | head -n 40000; echo end";
    let reader = std::thread::spawn(move || {
        let (mut heard, mut piece) = (Vec::new(), [0; 1000]);
        let mut peer = daemon.accept().unwrap().0;
        while let Ok(count @ 1..) = peer.read(&mut piece) {
            heard.extend_from_slice(&piece[..count]);
        }
        heard.iter().filter(|byte| **byte == b'\n').count()
    });
    host.ok(&[
        "run",
        "--name",
        "l1",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "busybox",
        "sh",
        "-c",
        flood,
    ]);
    assert_eq!(reader.join().unwrap(), 40_001);
}

#[test]
fn a_log_that_nobody_takes_or_that_makes_no_sense_is_refused() {
    let host = host();
    let socket = host.scratch().join("nobody");
    let address = format!("syslog-address=unix://{}", socket.display());
    let run = ["run", "--rm", "--log-driver", "syslog", "--log-opt"];
    let error = host.run(&[&run[..], &[&address, "busybox", "true"]].concat());
    assert_ne!(error.code, Some(0));
    assert!(error.err.contains("failed to initialize logging driver: dial unix"), "{}", error.err);
    let error = host.fails(125, &["run", "--rm", "--log-driver", "fluentd", "busybox", "true"]);
    assert!(error.contains("log driver 'fluentd' (json-file, local, journald"), "{error}");
    let tag = ["run", "--rm", "--log-opt", "tag={{.Nope}}", "busybox", "true"];
    let error = host.run(&tag).err;
    assert!(error.contains("can't evaluate field Nope in type *logger.Info"), "{error}");
}
