//! The options of the driver `syslog`.

use model::log::{LogTarget, SyslogAddress, SyslogFormat};

use super::LogError;
use crate::lower::{LowerError, Unsupported};

/// Beside those that other drivers have.
pub(super) const OPTIONS: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

/// The facilities by their numbers; 12 to 15 have no names in Docker.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
/// `daemon`
const DEFAULT_FACILITY: u8 = 3;
const DEFAULT_PORT: u16 = 514;

/// Reads where messages go, and how they are written.
pub(super) fn target<'o>(
    option: impl Fn(&str) -> Option<&'o str>,
) -> Result<LogTarget, LowerError> {
    if let Some(tls) = OPTIONS[3..].iter().find(|name| option(name).is_some()) {
        return Err(Unsupported::new(format!("log option '{tls}'")).into());
    }
    Ok(LogTarget::Syslog {
        address: address(option("syslog-address").unwrap_or_default())?,
        facility: facility(option("syslog-facility").unwrap_or_default())?,
        format: format(option("syslog-format").unwrap_or_default())?,
    })
}

fn address(text: &str) -> Result<SyslogAddress, LowerError> {
    if text.is_empty() {
        return Ok(SyslogAddress::Host);
    }
    let wrong = || LogError::Address(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(SyslogAddress::Unix(rest.to_owned())),
        "unixgram" if rest.starts_with('/') => Ok(SyslogAddress::UnixDatagram(rest.to_owned())),
        "udp" | "tcp" => {
            let (host, port) = host_and_port(rest).ok_or_else(wrong)?;
            Ok(match scheme {
                "udp" => SyslogAddress::Udp(host, port),
                _ => SyslogAddress::Tcp(host, port),
            })
        }
        "tcp+tls" => Err(Unsupported::new("syslog-address with tcp+tls").into()),
        _ => Err(wrong().into()),
    }
}

/// `host`, `host:514`, `[::1]`, `[::1]:514`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.rfind(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if port.is_empty() => DEFAULT_PORT,
        None => return None,
    };
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    is_host.then(|| (host.to_owned(), port))
}

fn facility(text: &str) -> Result<u8, LogError> {
    if text.is_empty() {
        return Ok(DEFAULT_FACILITY);
    }
    let by_name = FACILITIES.iter().position(|name| *name == text);
    let number = by_name.and_then(|number| u8::try_from(number).ok());
    let number = number.or_else(|| text.parse().ok()).filter(|number| *number < 24);
    number.ok_or(LogError::Facility)
}

fn format(text: &str) -> Result<SyslogFormat, LogError> {
    match text {
        "" => Ok(SyslogFormat::Local),
        "rfc3164" => Ok(SyslogFormat::Rfc3164),
        "rfc5424" => Ok(SyslogFormat::Rfc5424),
        "rfc5424micro" => Ok(SyslogFormat::Rfc5424Micro),
        _ => Err(LogError::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_docker_writes_them() {
        for (text, want) in [
            ("unix:///dev/log", Some(SyslogAddress::Unix("/dev/log".into()))),
            ("unixgram:///run/log", Some(SyslogAddress::UnixDatagram("/run/log".into()))),
            ("udp://10.0.0.1", Some(SyslogAddress::Udp("10.0.0.1".into(), 514))),
            ("tcp://logs.example:601", Some(SyslogAddress::Tcp("logs.example".into(), 601))),
            ("tcp://[::1]:601", Some(SyslogAddress::Tcp("::1".into(), 601))),
            ("udp://[fe80::1]", Some(SyslogAddress::Udp("fe80::1".into(), 514))),
            ("udp://", None),
            ("udp://a:b", None),
            ("udp://[::1]601", None),
            ("unix://dev/log", None),
            ("http://a", None),
            ("a:514", None),
        ] {
            assert_eq!(address(text).ok(), want, "{text}");
        }
        let tls = address("tcp+tls://a:6514").unwrap_err().to_string();
        assert!(tls.contains("tcp+tls"), "{tls}");
    }

    #[test]
    fn facilities_have_names_and_numbers() {
        for (text, want) in [
            ("", Some(3)),
            ("daemon", Some(3)),
            ("local7", Some(23)),
            ("13", Some(13)),
            ("24", None),
        ] {
            assert_eq!(facility(text).ok(), want, "{text}");
        }
    }
}
