//! The options of the driver `syslog`.

use model::boolean::boolean;
use model::log::{LogTarget, SyslogAddress, SyslogFormat, SyslogTls, TlsTrust};

use super::LogError;

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
pub(super) fn target<'o>(option: impl Fn(&str) -> Option<&'o str>) -> Result<LogTarget, LogError> {
    let mut address = address(option("syslog-address").unwrap_or_default())?;
    if let SyslogAddress::Tls(tls) = &mut address {
        options_of_tls(tls, &option)?;
    } else {
        no_options_of_tls(&option)?;
    }
    Ok(LogTarget::Syslog {
        address,
        facility: facility(option("syslog-facility").unwrap_or_default())?,
        format: format(option("syslog-format").unwrap_or_default())?,
    })
}

/// Docker takes any value of the last one for yes, `false` among them; who asks for a certificate to
/// be checked shall have it checked.
fn options_of_tls<'o>(
    tls: &mut SyslogTls,
    option: &impl Fn(&str) -> Option<&'o str>,
) -> Result<(), LogError> {
    let file = |name: &'static str| -> Result<Option<String>, LogError> {
        let given = option(name).filter(|path| !path.is_empty());
        let absolute = |path: &str| match path.starts_with('/') {
            true => Ok(path.to_owned()),
            false => Err(LogError::RelativeFile { option: name, value: path.to_owned() }),
        };
        given.map(absolute).transpose()
    };
    let [_, _, _, authority, chain, key, skip] = OPTIONS;
    tls.authority = file(authority)?;
    tls.identity = match (file(chain)?, file(key)?) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some((chain, key)),
        (Some(_), None) | (None, Some(_)) => return Err(LogError::HalfIdentity),
    };
    let skips = match option(skip).unwrap_or("false") {
        "" => true,
        value => boolean(value)
            .ok_or_else(|| LogError::Truth { option: skip.to_owned(), value: value.to_owned() })?,
    };
    tls.trust = if skips { TlsTrust::Anyone } else { TlsTrust::Verified };
    Ok(())
}

/// Docker takes them and does nothing.
fn no_options_of_tls<'o>(option: &impl Fn(&str) -> Option<&'o str>) -> Result<(), LogError> {
    let given = OPTIONS[3..].iter().copied().find(|name| option(name).is_some());
    given.map_or(Ok(()), |name| Err(LogError::WithoutTls(name)))
}

fn address(text: &str) -> Result<SyslogAddress, LogError> {
    if text.is_empty() {
        return Ok(SyslogAddress::Host);
    }
    let wrong = || LogError::Address(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    match scheme {
        "unix" if rest.starts_with('/') => Ok(SyslogAddress::Unix(rest.to_owned())),
        "unixgram" if rest.starts_with('/') => Ok(SyslogAddress::UnixDatagram(rest.to_owned())),
        "udp" | "tcp" | "tcp+tls" => {
            let (host, port) = host_and_port(rest).ok_or_else(wrong)?;
            let (authority, identity, trust) = (None, None, TlsTrust::Verified);
            Ok(match scheme {
                "udp" => SyslogAddress::Udp(host, port),
                "tcp" => SyslogAddress::Tcp(host, port),
                _ => SyslogAddress::Tls(SyslogTls { host, port, authority, identity, trust }),
            })
        }
        _ => Err(wrong()),
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
    }

    fn tls_of(target: LogTarget) -> SyslogTls {
        let LogTarget::Syslog { address: SyslogAddress::Tls(tls), .. } = target else {
            panic!("{target:?}")
        };
        tls
    }

    #[test]
    fn tls_says_who_may_be_there() {
        let read = |options: &[(&str, &str)]| {
            let all: std::collections::BTreeMap<_, _> = options.iter().copied().collect();
            target(|name| all.get(name).copied()).map(tls_of)
        };
        let at = ("syslog-address", "tcp+tls://logs.example:6514");
        let plain = read(&[at]).unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("logs.example", 6514));
        assert_eq!(
            (plain.authority, plain.identity, plain.trust),
            (None, None, TlsTrust::Verified)
        );
        let [_, _, _, ca, cert, key, skip] = OPTIONS;
        let whole = read(&[at, (ca, "/ca"), (cert, "/c"), (key, "/k"), (skip, "true")]).unwrap();
        assert_eq!(whole.authority.as_deref(), Some("/ca"));
        assert_eq!(whole.identity, Some(("/c".into(), "/k".into())));
        assert_eq!(whole.trust, TlsTrust::Anyone);
        assert_eq!(read(&[at, (skip, "false")]).unwrap().trust, TlsTrust::Verified);
        for (options, why) in [
            ([at, (ca, "ca.pem")], LogError::RelativeFile { option: ca, value: "ca.pem".into() }),
            ([at, (cert, "/c")], LogError::HalfIdentity),
            ([at, (skip, "x")], LogError::Truth { option: skip.into(), value: "x".into() }),
            ([("syslog-address", "tcp://a"), (ca, "/ca")], LogError::WithoutTls(ca)),
        ] {
            assert_eq!(read(&options).unwrap_err(), why);
        }
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
