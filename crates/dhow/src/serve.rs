//! `dhow serve`: wires the service of the API to this machine: sockets, signals, systemd, its log.

mod pidfile;
mod systemd;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::{ServeOptions, ServeTls};
use docker_server::service::{
    self, Form, Guard, Level, Listener, Log, Metrics, Owner, Pages, TlsFiles, Wiring,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The service's own socket, below the runtime root.
const SOCKET: &str = "dhow.sock";

/// Held below the runtime root while sockets are made.
const LOCK: &str = "serve.lock";

/// Where the service listens if somebody only says `unix://`, as Docker's does.
const DOCKERS: &str = "/var/run/docker.sock";

/// Docker's ports.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// That of the figures of Docker's daemon in its documentation.
const METRICS_PORT: u16 = 9323;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// The sockets that were handed over.
    Inherited,
}

impl Host {
    /// With TLS a port that is not named is another one.
    fn parse(text: &str, tls: &ServeTls) -> anyhow::Result<Self> {
        match text.split_once("://") {
            Some(("unix", "")) => Ok(Self::Unix(DOCKERS.into())),
            Some(("unix", path)) => crate::local::absolute(path.into()).map(Self::Unix),
            Some(("tcp", place)) => address(place, if tls.enabled { TLS_PORT } else { PLAIN_PORT }).map(Self::Tcp).with_context(|| {
                format!(
                    "{text}: an address and a port can be listened at, such as tcp://0.0.0.0:2376"
                )
            }),
            Some(("fd", "" | "*")) => Ok(Self::Inherited),
            Some(("fd", _)) => {
                bail!("{text}: sockets that are handed over are taken all or none: fd://")
            }
            Some(_) | None => {
                bail!("{text}: unix:///path, tcp://address:port and fd:// can be listened at")
            }
        }
    }
}

/// Serves until SIGTERM or SIGINT; a second one ends it at once.
pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    // Commands live for milliseconds and keep what they have; this one lives long.
    sys::heap::stay_small();
    // Each connection is a descriptor, and each stream of a container another one.
    sys::open_files::allow_most();
    let (log, inherited) = (log(&options)?, systemd::inherited()?);
    let hosts = hosts(&options, !inherited.is_empty())?;
    let engine = crate::local::engine(&options.roots)?;
    let owner = owner(options.group.as_deref(), sys::rootless::is_member())?;
    let gate = Gate { owner, guard: guard(&options.tls)? };
    let run = crate::local::absolute(options.roots.run)?;
    let mut listeners = listen(&hosts, inherited, &gate, &run)?;
    let metrics = match options.metrics {
        Some(text) => {
            listeners.push(Listener::metrics(metrics_address(&text)?)?);
            Metrics::Shown
        }
        None => Metrics::Hidden,
    };
    if let Some(text) = options.ui {
        let (dashboard, file) = crate::dashboard::of_service(&text, &run)?;
        listeners.push(Listener::web(dashboard));
        log.info("the dashboard's address and token", &[("in", file.display().to_string())]);
    }
    let _pidfile = options.pidfile.as_deref().map(pidfile::Pidfile::write).transpose()?;
    // Before anybody is told that the service is there: whoever is told may want it to end.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(outlive_hangups(signal(SignalKind::hangup())?, log));
    if options.tls.unauthenticated {
        log.warn("--unauthenticated-tcp: whoever reaches a tcp:// address is root here", &[]);
    }
    let told = listeners.iter().map(Listener::place).collect::<Vec<_>>().join(" ");
    log.info("listening", &[("at", told), ("version", env!("CARGO_PKG_VERSION").to_owned())]);
    systemd::tell("READY=1");
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        systemd::tell("STOPPING=1");
        log.info("ending: containers stay as they are", &[]);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    };
    let unread =
        |socket: std::os::fd::BorrowedFd<'_>| sys::socket::unread_by_peer(socket).unwrap_or(0);
    service::serve(engine, listeners, Wiring { log, unread, trim: sys::heap::trim, metrics }, stop)
        .await;
    Ok(())
}

/// There is no configuration of the service to read again, and whoever closes the terminal that it was
/// started from does not mean its clients.
async fn outlive_hangups(mut hangups: Signal, log: Log) {
    while hangups.recv().await.is_some() {
        log.info("SIGHUP changes nothing: the service has no configuration to read again", &[]);
    }
}

fn log(options: &ServeOptions) -> anyhow::Result<Log> {
    let least = match options.level {
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        _ => Level::Error,
    };
    let form: Form = options.log_format.parse().map_err(anyhow::Error::msg)?;
    Ok(Log { least, form, write: crate::complain })
}

/// Where to listen: where it was said, or else at what was handed over, or else below the runtime root.
fn hosts(options: &ServeOptions, is_handed: bool) -> anyhow::Result<Vec<Host>> {
    let mut hosts: Vec<Host> = Vec::new();
    for text in &options.hosts {
        let host = Host::parse(text, &options.tls)?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.is_empty() && is_handed {
        return Ok(vec![Host::Inherited]);
    }
    if hosts.is_empty() {
        let path = options.roots.run.join(SOCKET);
        return Ok(vec![Host::Unix(crate::local::absolute(path)?)]);
    }
    match (hosts.contains(&Host::Inherited), is_handed) {
        (true, false) => bail!(
            "fd://: no sockets were handed over: systemd does it for a service that has a .socket unit"
        ),
        (false, true) => {
            bail!("sockets were handed over that no -H fd:// asks for: nobody would answer there")
        }
        (true, true) | (false, false) => Ok(hosts),
    }
}

/// Where figures are told: at a port of this machine, unless an address is named.
fn metrics_address(text: &str) -> anyhow::Result<SocketAddr> {
    let found = local_address(text, METRICS_PORT);
    found.with_context(|| format!("--metrics-addr {text}: it is a port, or address:port"))
}

/// Reads a port of this machine, or `address:port`.
pub(crate) fn local_address(text: &str, port: u16) -> Option<SocketAddr> {
    let only_port = || text.parse().ok().map(|port| SocketAddr::new(LOOPBACK, port));
    only_port().or_else(|| address(text, port))
}

/// Reads `address:port`. What is missing is this machine, or the port that is usual.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let text = match text.strip_prefix("localhost") {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => rest,
        _ => text,
    };
    if text.is_empty() {
        return Some(SocketAddr::new(LOOPBACK, port));
    }
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Some(SocketAddr::new(LOOPBACK, port));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let only = || bare.parse().ok().map(|address| SocketAddr::new(address, port));
    text.parse().ok().or_else(only)
}

/// The host's own file of groups says which number a name has. In an ordinary user's namespace that number
/// would be another group, or none.
fn owner(group: Option<&str>, is_ordinary: bool) -> anyhow::Result<Owner> {
    let Some(group) = group else { return Ok(Owner::Own) };
    if is_ordinary {
        bail!(
            "--group {group}: an ordinary user's service is for that user alone: only root's can be opened to a group"
        );
    }
    let file = std::fs::read("/etc/group").unwrap_or_default();
    let id = sys::users::resolve_group(group, &file).with_context(|| format!("--group {group}"))?;
    Ok(Owner::Group(id))
}

/// Who is let in.
struct Gate {
    owner: Owner,
    /// What those from other machines have to show; nobody is let in without any.
    guard: Option<Guard>,
}

/// What clients from other machines have to show, if they are let in at all. TLS alone only tells them who
/// the service is.
fn guard(tls: &ServeTls) -> anyhow::Result<Option<Guard>> {
    if tls.verify && tls.unauthenticated {
        bail!("--tlsverify and --unauthenticated-tcp contradict each other");
    }
    if !tls.verify && !tls.unauthenticated {
        return Ok(None);
    }
    let pages = || Pages::of(&own_name(), tls.trusted.iter().cloned());
    if !tls.enabled {
        return Ok(Some(Guard::nothing().for_pages(pages())));
    }
    let clients = tls.verify.then(|| tls.authority.clone());
    let files = TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone(), clients };
    let guard = Guard::tls(&files)?;
    Ok(Some(if tls.verify { guard } else { guard.for_pages(pages()) }))
}

/// What this machine calls itself.
fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn listen(
    hosts: &[Host],
    mut inherited: Vec<std::os::fd::OwnedFd>,
    gate: &Gate,
    run: &Path,
) -> anyhow::Result<Vec<Listener>> {
    let _lock = lock(run)?;
    let mut listeners = Vec::new();
    for host in hosts {
        match host {
            Host::Unix(path) => {
                listeners.push(Listener::unix(path, gate.owner)?);
            }
            Host::Tcp(address) => listeners.push(Listener::tcp(*address, gate.guard.as_ref())?),
            Host::Inherited => {
                for (number, socket) in std::mem::take(&mut inherited).into_iter().enumerate() {
                    listeners.push(Listener::inherited(number, socket, gate.guard.as_ref())?);
                }
            }
        }
    }
    Ok(listeners)
}

/// One service at a time looks whether a socket is anybody's and puts its own there.
fn lock(run: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::create_dir_all(run).with_context(|| format!("create {}", run.display()))?;
    let path = run.join(LOCK);
    let mut options = std::fs::File::options();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.with_context(|| format!("open {}", path.display()))?;
    sys::lock::lock(&file, 0).with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(hosts: &[&str]) -> ServeOptions {
        ServeOptions {
            roots: cli::Roots { data: "/d".into(), run: "/r".into() },
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            group: None,
            tls: ServeTls::default(),
            metrics: None,
            ui: None,
            pidfile: None,
            level: "info",
            log_format: "text".to_owned(),
        }
    }

    #[test]
    fn what_an_address_leaves_out_is_as_in_docker() {
        let read = |text, has_tls| {
            let port = if has_tls { TLS_PORT } else { PLAIN_PORT };
            address(text, port).map(|address| address.to_string())
        };
        assert_eq!(metrics_address("7").unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(metrics_address("0.0.0.0").unwrap().to_string(), "0.0.0.0:9323");
        metrics_address("65536").unwrap_err();
        for (text, has_tls, want) in [
            ("", false, "127.0.0.1:2375"),
            ("", true, "127.0.0.1:2376"),
            (":1", true, "127.0.0.1:1"),
            ("localhost:1", true, "127.0.0.1:1"),
            ("0.0.0.0", true, "0.0.0.0:2376"),
            ("[::]", false, "[::]:2375"),
            ("[::]:0", false, "[::]:0"),
        ] {
            assert_eq!(read(text, has_tls).as_deref(), Some(want), "{text}");
        }
        for text in ["localhosts", ":x", "1.2.3.4:65536", "1.2.3.4:2375/path", "host:1"] {
            assert_eq!(read(text, false), None, "{text}");
        }
    }

    #[test]
    fn nobody_comes_in_by_tcp_unless_it_is_said_in_plain_words() {
        let with = |enabled, verify, unauthenticated| {
            guard(&ServeTls { enabled, verify, unauthenticated, ..ServeTls::default() })
        };
        assert!(with(false, false, false).unwrap().is_none());
        assert!(with(true, false, false).unwrap().is_none(), "encrypted, for anybody");
        assert!(with(false, false, true).unwrap().is_some());
        let refused = with(true, true, true).unwrap_err().to_string();
        assert!(refused.contains("contradict"), "{refused}");
        with(true, true, false).unwrap_err();
        with(true, false, true).unwrap_err();
    }

    #[test]
    fn an_ordinary_user_has_no_group_to_give_the_socket_to() {
        assert_eq!(owner(None, true).unwrap(), Owner::Own);
        assert_eq!(owner(Some("0"), false).unwrap(), Owner::Group(0));
        let refused = owner(Some("0"), true).unwrap_err().to_string();
        assert!(refused.starts_with("--group 0: an ordinary user's service"), "{refused}");
    }

    #[test]
    fn sockets_that_are_handed_over_are_used_or_refused() {
        let chosen = |given: &[&str], is_handed| {
            hosts(&options(given), is_handed).map_err(|error| error.to_string())
        };
        let unix = |path: &str| Host::Unix(path.into());
        assert_eq!(chosen(&[], false).unwrap(), [unix("/r/dhow.sock")]);
        assert_eq!(chosen(&[], true).unwrap(), [Host::Inherited]);
        assert_eq!(chosen(&["unix:///a", "unix:///a"], false).unwrap(), [unix("/a")]);
        let both = chosen(&["unix://", "fd://"], true).unwrap();
        assert_eq!(both, [unix("/var/run/docker.sock"), Host::Inherited]);
        let far = chosen(&["tcp://[::1]:77"], false).unwrap();
        assert_eq!(far, [Host::Tcp("[::1]:77".parse().unwrap())]);
        assert!(chosen(&["tcp://here:2376"], false).unwrap_err().contains("an address and a port"));
        assert!(chosen(&["fd://"], false).unwrap_err().contains("no sockets were handed over"));
        assert!(chosen(&["unix:///a"], true).unwrap_err().contains("no -H fd://"));
        assert!(chosen(&["nonsense"], false).unwrap_err().contains("can be listened at"));
    }
}
