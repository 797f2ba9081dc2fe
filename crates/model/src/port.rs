//! Published ports: what `-p` means.

pub mod runs;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport protocol that ports exist in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp`, `sctp`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a text is no port; the words are Docker's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePortError {
    /// A protocol that has no ports here.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// The container's side.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// The host's side.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// The host's address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// Two ranges of unequal length.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// As typed.
        container: String,
        /// As typed.
        host: String,
    },
    /// Nothing to publish.
    #[error("no port specified: {0}<empty>")]
    Empty(String),
}

impl FromStr for Protocol {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(ParsePortError::Protocol(text.to_owned())),
        }
    }
}

/// One port of a container: `80/tcp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPort {
    /// 1..=65535
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl FromStr for ContainerPort {
    type Err = ParsePortError;

    /// Reads `80` and `80/udp`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (port, protocol) = split_protocol(text)?;
        match port.parse() {
            Ok(port @ 1..) => Ok(Self { port, protocol }),
            Ok(0) | Err(_) => Err(ParsePortError::Container(port.to_owned())),
        }
    }
}

impl TryFrom<String> for ContainerPort {
    type Error = ParsePortError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerPort> for String {
    fn from(port: ContainerPort) -> Self {
        port.to_string()
    }
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// An inclusive range of ports, never empty; one port is a range of length 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// The lowest, 1..=65535.
    pub first: u16,
    /// The highest, not below `first`.
    pub last: u16,
}

impl PortRange {
    /// How many ports.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

impl FromStr for PortRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| match text.parse() {
            Ok(port @ 1..) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            Ok(_) | Err(_) => Err(()),
        };
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first <= range.last { Ok(range) } else { Err(()) }
    }
}

/// Which port of the host a container's port is published on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum HostPort {
    /// A free one of the ephemeral range, chosen anew at each start.
    Random,
    /// One of these; a range leaves the choice to the engine.
    Within(PortRange),
}

/// One wish to publish: a container's port on the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortBinding {
    /// The container's port.
    pub container: ContainerPort,
    /// The host's address; `None` is every address of both families.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host: HostPort,
}

fn split_protocol(text: &str) -> Result<(&str, Protocol), ParsePortError> {
    match text.split_once('/') {
        Some((port, protocol)) => Ok((port, protocol.parse()?)),
        None => Ok((text, Protocol::Tcp)),
    }
}

/// Reads one `-p`: `[[ip:][hostPort]:]containerPort[/proto]`, where each port may be a range.
///
/// # Errors
/// In Docker's words, naming the part that is wrong.
pub fn parse_publish(text: &str) -> Result<Vec<PortBinding>, ParsePortError> {
    let (ports, protocol) = match text.rsplit_once('/') {
        Some((ports, protocol)) => (ports, protocol.parse()?),
        None => (text, Protocol::Tcp),
    };
    let (ip, host, container) = split_publish(ports);
    if container.is_empty() {
        return Err(ParsePortError::Empty(text.to_owned()));
    }
    let host_ip = parse_host_ip(ip)?;
    let inside: PortRange =
        container.parse().map_err(|()| ParsePortError::Container(container.to_owned()))?;
    let outside = match host {
        "" | "0" => None,
        range => {
            Some(range.parse::<PortRange>().map_err(|()| ParsePortError::Host(range.to_owned()))?)
        }
    };
    if outside.is_some_and(|outside| inside.count() > 1 && outside.count() != inside.count()) {
        return Err(ParsePortError::Ranges {
            container: container.to_owned(),
            host: host.to_owned(),
        });
    }
    Ok((inside.first..=inside.last)
        .enumerate()
        .map(|(index, port)| PortBinding {
            container: ContainerPort { port, protocol },
            host_ip,
            host: host_side(outside, inside, index),
        })
        .collect())
}

fn host_side(outside: Option<PortRange>, inside: PortRange, index: usize) -> HostPort {
    let Some(outside) = outside else { return HostPort::Random };
    if inside.count() == 1 {
        return HostPort::Within(outside);
    }
    let offset = u16::try_from(index).unwrap_or(u16::MAX);
    let port = outside.first.saturating_add(offset);
    HostPort::Within(PortRange { first: port, last: port })
}

/// Splits `ip:host:container` from the right, since an IPv6 address has colons of its own.
fn split_publish(ports: &str) -> (&str, &str, &str) {
    match ports.rsplit_once(':') {
        None => ("", "", ports),
        Some((rest, container)) => match rest.rsplit_once(':') {
            None => ("", rest, container),
            Some((ip, host)) => (ip, host, container),
        },
    }
}

fn parse_host_ip(text: &str) -> Result<Option<IpAddr>, ParsePortError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(None);
    }
    bare.parse().map(Some).map_err(|_| ParsePortError::Address(bare.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &str) {
        let shown = match parse_publish(typed) {
            Err(error) => error.to_string(),
            Ok(bindings) => bindings.iter().map(show).collect::<Vec<_>>().join(" "),
        };
        assert_eq!(shown, expected, "{typed}");
    }

    fn show(binding: &PortBinding) -> String {
        let ip = binding.host_ip.map(|ip| format!("{ip}=")).unwrap_or_default();
        match binding.host {
            HostPort::Random => format!("{ip}?->{}", binding.container),
            HostPort::Within(range) => {
                format!("{ip}{}-{}->{}", range.first, range.last, binding.container)
            }
        }
    }

    #[test]
    fn every_form_of_publish_is_read() {
        check("80", "?->80/tcp");
        check("8080:80/udp", "8080-8080->80/udp");
        check("127.0.0.1:8080:80", "127.0.0.1=8080-8080->80/tcp");
        check("127.0.0.1::80", "127.0.0.1=?->80/tcp");
        check("0:80", "?->80/tcp");
        check("[::1]:8080:80", "::1=8080-8080->80/tcp");
        check("::1:8080:80", "::1=8080-8080->80/tcp");
        check("8000-8002:80", "8000-8002->80/tcp");
        check("8000-8001:90-91", "8000-8000->90/tcp 8001-8001->91/tcp");
        check("90-91", "?->90/tcp ?->91/tcp");
    }

    #[test]
    fn bad_forms_name_the_part() {
        check("99999:80", "invalid hostPort: 99999");
        check("80:99999", "invalid containerPort: 99999");
        check("80:0", "invalid containerPort: 0");
        check("a:80", "invalid hostPort: a");
        check("80:80/foo", "invalid proto: foo");
        check("1.2.3:80:80", "invalid IP address: 1.2.3");
        check(
            "8000-8003:80-81",
            "invalid ranges specified for container and host Ports: 80-81 and 8000-8003",
        );
        check("80:", "no port specified: 80:<empty>");
        check("+80:80", "invalid hostPort: +80");
    }
}
