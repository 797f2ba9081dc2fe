//! Where the service listens: who may connect, what systemd hands over, and what happens when there are
//! too many.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use testkit::{Host, until};

use super::{Pair, Service};

#[test]
fn a_group_may_connect_and_others_may_not() {
    let host = Host::new(crate::DHOW);
    let service = Service::started(&host, &mut host.command(&["serve", "-G", "audio"]));
    let found = std::fs::metadata(&service.socket).unwrap();
    assert_eq!((found.permissions().mode() & 0o777, found.uid(), found.gid()), (0o660, 0, 29));
    drop(service);
    // Nobody is named: not even the group that the directory hands down.
    std::fs::set_permissions(host.run_root(), std::fs::Permissions::from_mode(0o2700)).unwrap();
    let service = Service::start(&host);
    let found = std::fs::metadata(&service.socket).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    drop(service);
    let refused = host.fails(1, &["serve", "--group", "nosuch"]);
    assert!(refused.contains("--group nosuch: unable to find group nosuch"), "{refused}");
}

#[test]
fn an_ordinary_users_service_is_opened_to_no_group() {
    let host = Host::of_user(crate::DHOW);
    let refused = host.fails(1, &["serve", "--group", "audio"]);
    assert!(refused.contains("--group audio: an ordinary user's service"), "{refused}");
}

/// A service whose process is handed a listening socket and told of it, as systemd does both.
fn handed(host: &Host, listener: UnixListener) -> Command {
    let plain = host.command(&["serve"]);
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve -H fd://";
    #[expect(clippy::disallowed_methods, reason = "a shell hands the socket over")]
    let mut command = Command::new("sh");
    command.args(["-c", script, crate::DHOW]).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    command
}

#[test]
fn sockets_that_are_handed_over_are_kept_by_whoever_made_them() {
    let host = Host::new(crate::DHOW);
    let path = host.scratch().join("handed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let told = UnixDatagram::bind(host.scratch().join("notify")).unwrap();
    let heard = || {
        let mut text = [0; 64];
        let length = told.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    for _ in 0..2 {
        // Who comes before there is a service waits for it.
        let early = UnixStream::connect(&path).unwrap();
        let mut command = handed(&host, listener.try_clone().unwrap());
        command.env("NOTIFY_SOCKET", host.scratch().join("notify"));
        let mut service = Service::started(&host, &mut command);
        service.socket.clone_from(&path);
        assert_eq!(heard(), "READY=1");
        let reply = service.say("GET /_ping HTTP/1.1\nHost: d\nConnection: close\n\n");
        assert!(reply.ends_with("OK"), "{reply}");
        drop(early);
        drop(service);
        assert_eq!(heard(), "STOPPING=1");
        assert!(path.exists(), "it is not the service's to remove");
    }
    let refused = host.fails(1, &["serve", "-H", "fd://"]);
    assert!(refused.contains("no sockets were handed over"), "{refused}");
}

#[test]
fn a_service_that_is_out_of_files_goes_on_when_there_are_some() {
    let host = Host::new(crate::DHOW);
    let plain = host.command(&["serve"]);
    #[expect(clippy::disallowed_methods, reason = "a shell lowers the limit")]
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" serve", crate::DHOW]).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    let service = Service::started(&host, &mut command);
    let many: Vec<_> = (0..80).map(|_| UnixStream::connect(&service.socket).unwrap()).collect();
    until("it is out of files", || service.said().contains("cannot take connections for now"));
    drop(many);
    let reply = service.say("GET /_ping HTTP/1.1\nHost: d\nConnection: close\n\n");
    assert!(reply.ends_with("OK"), "{reply}");
}

#[test]
fn a_flood_is_refused_and_others_are_served() {
    let pair = Pair::new();
    let flood = format!("GET /_ping HTTP/1.1\nHost: d\n{}\n", "X-Flood: y\n".repeat(10_000));
    let reply = pair.service.say(&flood);
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
    let big = "POST /containers/create HTTP/1.1\nHost: d\nContent-Type: application/json\nContent-Length: 1000000000\n\n";
    let reply = pair.service.say(&format!("{big}{}", " ".repeat(10 << 20)));
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert!(pair.ok(&["version"]).contains("Server: dhow"));
}
