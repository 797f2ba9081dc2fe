//! `dhow serve`: wires the service of the API to this machine: sockets, signals, systemd, its log.

mod pidfile;
mod systemd;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::ServeOptions;
use docker_server::service::{self, Form, Level, Listener, Log, Owner, Wiring};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The service's own socket, below the runtime root.
const SOCKET: &str = "dhow.sock";

/// Held below the runtime root while sockets are made.
const LOCK: &str = "serve.lock";

/// Where the service listens if somebody only says `unix://`, as Docker's does.
const DOCKERS: &str = "/var/run/docker.sock";

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Unix(PathBuf),
    /// The sockets that were handed over.
    Inherited,
}

impl Host {
    fn parse(text: &str) -> anyhow::Result<Self> {
        match text.split_once("://") {
            Some(("unix", "")) => Ok(Self::Unix(DOCKERS.into())),
            Some(("unix", path)) => crate::local::absolute(path.into()).map(Self::Unix),
            Some(("fd", "" | "*")) => Ok(Self::Inherited),
            Some(("fd", _)) => {
                bail!("{text}: sockets that are handed over are taken all or none: fd://")
            }
            Some(_) | None => bail!("{text}: unix:///path and fd:// can be listened at"),
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
    let listeners = listen(&hosts, inherited, owner, &crate::local::absolute(options.roots.run)?)?;
    let _pidfile = options.pidfile.as_deref().map(pidfile::Pidfile::write).transpose()?;
    // Before anybody is told that the service is there: whoever is told may want it to end.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(outlive_hangups(signal(SignalKind::hangup())?, log));
    let told = hosts.iter().map(host_name).collect::<Vec<_>>().join(" ");
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
    service::serve(engine, listeners, Wiring { log, unread }, stop).await;
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
        let host = Host::parse(text)?;
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

fn host_name(host: &Host) -> String {
    match host {
        Host::Unix(path) => format!("unix://{}", path.display()),
        Host::Inherited => "fd://".to_owned(),
    }
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

fn listen(
    hosts: &[Host],
    mut inherited: Vec<std::os::fd::OwnedFd>,
    owner: Owner,
    run: &Path,
) -> anyhow::Result<Vec<Listener>> {
    let _lock = lock(run)?;
    let mut listeners = Vec::new();
    for host in hosts {
        match host {
            Host::Unix(path) => {
                listeners.push(Listener::unix(path, owner)?);
            }
            Host::Inherited => {
                for (number, socket) in std::mem::take(&mut inherited).into_iter().enumerate() {
                    listeners.push(Listener::inherited(number, socket)?);
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
            pidfile: None,
            level: "info",
            log_format: "text".to_owned(),
        }
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
            let hosts = hosts(&options(given), is_handed).map_err(|error| error.to_string())?;
            Ok::<_, String>(hosts.iter().map(host_name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(chosen(&[], false).unwrap(), "unix:///r/dhow.sock");
        assert_eq!(chosen(&[], true).unwrap(), "fd://");
        assert_eq!(chosen(&["unix:///a", "unix:///a"], false).unwrap(), "unix:///a");
        assert_eq!(
            chosen(&["unix://", "fd://"], true).unwrap(),
            "unix:///var/run/docker.sock fd://"
        );
        assert!(chosen(&["fd://"], false).unwrap_err().contains("no sockets were handed over"));
        assert!(chosen(&["unix:///a"], true).unwrap_err().contains("no -H fd://"));
        assert!(chosen(&["nonsense"], false).unwrap_err().contains("can be listened at"));
    }
}
