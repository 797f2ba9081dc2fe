//! Servers as `-H`, `DOCKER_HOST` and contexts write them down.
//!
//! Reading alone: who connects to them is the business of the program that this is a part of.

use super::globals::Roots;
use std::fmt;
use std::path::PathBuf;

/// Docker's socket.
const DOCKERS: &str = "/var/run/docker.sock";

/// Docker's ports.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Which server a command talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The engine in this process.
    InProcess(Roots),
    /// A service at a socket.
    Unix(PathBuf),
    /// One on another machine.
    Remote(Remote),
}

/// A server on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// At an address.
    Tcp(TcpHost),
    /// Where the user's own ssh goes.
    Ssh(SshHost),
}

/// Another machine as ssh knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    /// Its name or address, or what the user's configuration of ssh calls it.
    pub host: String,
    /// Who to be there.
    pub user: Option<String>,
    /// Where its ssh listens.
    pub port: Option<u16>,
    /// The socket of its server, if it is not where its own client asks.
    pub socket: Option<String>,
}

/// A server at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpHost {
    /// Its name or address, without brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// How TLS is spoken with it, if it is.
    pub tls: Option<ClientTls>,
}

/// How TLS is spoken with a server: PEM files, read when somebody connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Whether whoever answers is taken for the server.
    pub trusts_anyone: bool,
    /// Who may vouch for the server; without any, those that this machine trusts.
    pub authority: Option<PathBuf>,
    /// What is shown to the server.
    pub certificate: Option<PathBuf>,
    /// The key of that.
    pub key: Option<PathBuf>,
}

impl Target {
    /// Reads a server's address; `tls` is how TLS would be spoken with one that is reached by TCP. The error is
    /// the message.
    pub(crate) fn parse(host: &str, tls: Option<ClientTls>) -> Result<Self, String> {
        match host.split_once("://") {
            // A context may leave it to the client.
            _ if host.is_empty() => Ok(Self::Unix(DOCKERS.into())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", "")) => Ok(Self::Unix(DOCKERS.into())),
            Some(("unix", _)) => Err(format!("the path of host {host} is not absolute")),
            Some(("tcp", place)) => TcpHost::parse(place, tls)
                .map(|found| Self::Remote(Remote::Tcp(found)))
                .map_err(|why| format!("unable to parse docker host `{host}`: {why}")),
            Some(("ssh", place)) => SshHost::parse(place)
                .map(|found| Self::Remote(Remote::Ssh(found)))
                .map_err(|why| format!("ssh host connection is not valid: {host}: {why}")),
            Some((scheme @ ("http" | "https" | "fd" | "npipe"), _)) => {
                Err(format!("cannot connect to {host}: {scheme} hosts are not supported"))
            }
            Some(_) | None => Err(format!("unable to parse docker host `{host}`")),
        }
    }

    /// Whether TLS can be spoken there.
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Remote(Remote::Tcp(_)))
    }
}

impl TcpHost {
    /// Reads what follows `tcp://`. What is missing is this machine, or the port that Docker uses.
    fn parse(text: &str, tls: Option<ClientTls>) -> Result<Self, String> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.contains(['/', '@']) {
            return Err("it is neither a name and a port nor an address and a port".to_owned());
        }
        let (host, port) = split_port(text)?;
        let usual = if tls.is_some() { TLS_PORT } else { PLAIN_PORT };
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(usual), tls })
    }
}

impl SshHost {
    /// Reads what follows `ssh://`.
    fn parse(text: &str) -> Result<Self, String> {
        let (place, path) = text.split_once('/').unwrap_or((text, ""));
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, place),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err("plain-text password is not supported".to_owned());
        }
        let (host, port) = split_port(place)?;
        // A word that begins so would be an option of ssh's.
        let is_word = |text: &str| !text.is_empty() && !text.starts_with('-');
        if !is_word(host) || user.is_some_and(|user| !is_word(user)) {
            return Err("no host specified".to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            user: user.map(str::to_owned),
            port,
            socket: (!path.is_empty()).then(|| format!("/{path}")),
        })
    }
}

/// Takes a port from behind a name or an address, whose brackets go.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            match rest.strip_prefix(':') {
                _ if rest.is_empty() => (host, None),
                Some(port) => (host, Some(port)),
                None => return Err(format!("{rest:?} follows the address")),
            }
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let number = |port: &str| match port.parse() {
        Ok(0) | Err(_) => Err(format!("{port:?} is no port: an IPv6 address stands in brackets")),
        Ok(port) => Ok(port),
    };
    Ok((host, port.map(number).transpose()?))
}

/// As it stands in an address.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Remote(Remote::Tcp(host)) => write!(f, "{host}"),
            Self::Remote(Remote::Ssh(host)) => write!(f, "{host}"),
            Self::InProcess(roots) => {
                write!(f, "this process, on {} and {}", roots.data.display(), roots.run.display())
            }
        }
    }
}

impl fmt::Display for TcpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", bracketed(&self.host), self.port)
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let socket = self.socket.as_deref().unwrap_or_default();
        write!(f, "ssh://{user}{}{port}{socket}", bracketed(&self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(host: &str, tls: Option<ClientTls>) -> Result<String, String> {
        Target::parse(host, tls).map(|target| target.to_string())
    }

    #[test]
    fn what_an_address_leaves_out_is_as_in_docker() {
        for (host, want) in [
            ("", "unix:///var/run/docker.sock"),
            ("tcp://", "tcp://localhost:2375"),
            ("tcp://h", "tcp://h:2375"),
            ("tcp://h:1/", "tcp://h:1"),
            ("tcp://:1", "tcp://localhost:1"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://[::1]:7", "tcp://[::1]:7"),
        ] {
            assert_eq!(shown(host, None).as_deref(), Ok(want));
        }
        assert_eq!(shown("tcp://h", Some(ClientTls::default())).unwrap(), "tcp://h:2376");
    }

    #[test]
    fn machines_behind_ssh_are_read_as_docker_reads_them() {
        for text in ["ssh://h", "ssh://u@h:22", "ssh://[::1]:2222/run/x.sock", "ssh://u@h/x"] {
            assert_eq!(shown(text, None).as_deref(), Ok(text));
        }
        assert_eq!(shown("ssh://h/", None).as_deref(), Ok("ssh://h"));
        for text in ["ssh://", "ssh://u:p@h", "ssh://h:x", "ssh://-oProxyCommand=x", "ssh://-x@h"] {
            let refused = shown(text, None).unwrap_err();
            assert!(refused.starts_with("ssh host connection is not valid"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for (host, want) in [
            ("tcp://h:x", "unable to parse docker host `tcp://h:x`: \"x\" is no port"),
            ("tcp://h:0", "unable to parse docker host `tcp://h:0`: \"0\" is no port"),
            ("tcp://::1", "unable to parse docker host `tcp://::1`: \":1\" is no port"),
            ("tcp://h/x", "unable to parse docker host `tcp://h/x`: it is neither"),
            ("tcp://[::1", "unable to parse docker host `tcp://[::1`: a bracket"),
            ("https://h", "cannot connect to https://h: https hosts are not supported"),
            ("unix://a", "the path of host unix://a is not absolute"),
            ("zz", "unable to parse docker host `zz`"),
        ] {
            let refused = shown(host, None).unwrap_err();
            assert!(refused.starts_with(want), "{refused}");
        }
    }
}
