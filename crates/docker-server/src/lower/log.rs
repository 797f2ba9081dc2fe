//! Where the output of a container goes.
//!
//! Drivers and options are Docker's, and so are the texts about them; what Docker finds out at the
//! start (a size, a template, a regular expression that is none) is refused when the container is
//! made.

use std::collections::BTreeMap;

use docker_api::types::host_config::LogConfig;
use model::boolean::boolean;
use model::log::{
    Compression, DEFAULT_LOG_BUFFER, LogDelivery, LogDetails, LogFiles, LogSpec, LogTarget,
};
use model::template::Template;
use regex_lite::Regex;

use super::{LowerError, Unsupported};

mod syslog;

/// Each turn of a log and each start goes through the numbers of all its files.
const MOST_FILES: u32 = 1000;

/// A log that cannot be kept so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum LogError {
    #[error("logger: no log driver named '{0}' is registered")]
    Driver(String),
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Option { option: String, driver: &'static str },
    #[error("unknown log opt '{0}' for log driver local")]
    LocalOption(String),
    #[error("invalid value for {option}: {value:?}: expected a number with k, m or g behind it")]
    Size { option: String, value: String },
    #[error("invalid value for {option}: {value:?}: {option} cannot be less than 1")]
    Count { option: String, value: String },
    #[error("invalid value for {option}: {value}: {option} cannot be more than {MOST_FILES}")]
    TooMany { option: String, value: u32 },
    #[error("invalid value for option {option}: {value}")]
    Truth { option: String, value: String },
    #[error("compress cannot be true when max-file is less than 2 or max-size is not set")]
    CompressNothing,
    #[error("logger: logging mode not supported: {0}")]
    Mode(String),
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    BufferWhileBlocking,
    #[error("invalid value for {option}: {value:?}: {reason}")]
    Pattern { option: &'static str, value: String, reason: String },
    #[error("invalid log tag: {0}")]
    Tag(String),
    #[error("syslog-address should be in form proto://address, got {0}")]
    Address(String),
    #[error("{option} is the absolute path of a file of the host, got {value:?}")]
    RelativeFile { option: &'static str, value: String },
    #[error("syslog-tls-cert and syslog-tls-key go together")]
    HalfIdentity,
    #[error("{0} needs a syslog-address that begins with tcp+tls://")]
    WithoutTls(&'static str),
    #[error("invalid syslog facility")]
    Facility,
    #[error("Invalid syslog format")]
    Format,
}

/// Options that all drivers have.
const COMMON: [&str; 6] = [
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];
const FILES: [&str; 3] = ["max-size", "max-file", "compress"];
const DETAILS: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];
/// Drivers of Docker's that are not there.
const ELSEWHERE: [&str; 6] = ["gelf", "fluentd", "awslogs", "splunk", "gcplogs", "etwlogs"];
const HERE: &str = "json-file, local, journald, syslog and none are there";

/// A driver's options as they were typed.
struct Options<'o> {
    all: &'o BTreeMap<String, String>,
}

/// Lowers the log driver and its options.
pub(super) fn lower(wire: &LogConfig) -> Result<LogSpec, LowerError> {
    let all: BTreeMap<String, String> = wire.config.clone().unwrap_or_default();
    let options = Options { all: &all };
    match wire.driver.as_str() {
        "" | "json-file" => Ok(options.json_file()?),
        "local" => Ok(options.local()?),
        "journald" => Ok(options.journald()?),
        "syslog" => Ok(options.syslog()?),
        "none" => {
            options.known("none", &[])?;
            Ok(LogSpec::None)
        }
        driver if ELSEWHERE.contains(&driver) => {
            Err(Unsupported::new(format!("log driver '{driver}' ({HERE})")).into())
        }
        other => Err(LogError::Driver(other.to_owned()).into()),
    }
}

impl Options<'_> {
    fn json_file(&self) -> Result<LogSpec, LogError> {
        self.known("json-file", &[&COMMON[..2], &FILES, &DETAILS])?;
        let plain = LogFiles { compression: Compression::None, ..LogFiles::default() };
        let LogFiles { max_size, max_file, compression } = self.files("", plain)?;
        Ok(LogSpec::JsonFile {
            max_size,
            max_file,
            options: self.all.clone(),
            compression,
            details: self.details()?,
            delivery: self.delivery()?,
        })
    }

    fn local(&self) -> Result<LogSpec, LogError> {
        self.known("local", &[&COMMON[..2], &FILES])?;
        let (files, delivery) = (self.files("", LogFiles::default())?, self.delivery()?);
        Ok(LogSpec::Local { files, delivery, options: self.all.clone() })
    }

    fn journald(&self) -> Result<LogSpec, LogError> {
        self.known("journald", &[&COMMON, &DETAILS])?;
        self.remote(LogTarget::Journald)
    }

    fn syslog(&self) -> Result<LogSpec, LogError> {
        self.known("syslog", &[&COMMON, &DETAILS, &syslog::OPTIONS])?;
        let target = syslog::target(|option| self.get(option))?;
        self.remote(target)
    }

    fn remote(&self, target: LogTarget) -> Result<LogSpec, LogError> {
        let is_read_back = !self.truth("cache-disabled", false)?;
        let cache = self.files("cache-", LogFiles::default())?;
        Ok(LogSpec::Remote {
            target,
            details: self.details()?,
            cache: is_read_back.then_some(cache),
            delivery: self.delivery()?,
            options: self.all.clone(),
        })
    }

    fn get(&self, option: &str) -> Option<&str> {
        self.all.get(option).map(String::as_str)
    }

    fn known(&self, driver: &'static str, groups: &[&[&str]]) -> Result<(), LogError> {
        let is_known = |option: &&String| groups.concat().contains(&option.as_str());
        match self.all.keys().find(|option| !is_known(option)) {
            Some(option) if driver == "local" => Err(LogError::LocalOption(option.clone())),
            Some(option) => Err(LogError::Option { option: option.clone(), driver }),
            None => Ok(()),
        }
    }

    fn files(&self, prefix: &str, default: LogFiles) -> Result<LogFiles, LogError> {
        let name = |option: &str| format!("{prefix}{option}");
        let (size, count, compress) = (name("max-size"), name("max-file"), name("compress"));
        let max_size = match self.get(&size) {
            None => default.max_size,
            Some(value) => self::size(value)
                .ok_or_else(|| LogError::Size { option: size, value: value.to_owned() })?,
        };
        let max_file = match self.get(&count) {
            None => default.max_file,
            Some(value) => value
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| LogError::Count { option: count, value: value.to_owned() })?,
        };
        if max_file > MOST_FILES {
            return Err(LogError::TooMany { option: name("max-file"), value: max_file });
        }
        let wanted = self.truth(&compress, default.compression == Compression::Gzip)?;
        let is_rotated = max_size.is_some() && max_file > 1;
        if wanted && !is_rotated && self.get(&compress).is_some() {
            return Err(LogError::CompressNothing);
        }
        let compression = if wanted && is_rotated { Compression::Gzip } else { Compression::None };
        Ok(LogFiles { max_size, max_file, compression })
    }

    fn details(&self) -> Result<LogDetails, LogError> {
        let names = |option: &str| {
            let list = self.get(option).filter(|list| !list.is_empty());
            list.map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default()
        };
        let tag = self.get("tag").filter(|tag| !tag.is_empty());
        tag.map(Template::parse).transpose().map_err(|error| LogError::Tag(error.to_string()))?;
        Ok(LogDetails {
            labels: names("labels"),
            labels_regex: self.pattern("labels-regex")?,
            env: names("env"),
            env_regex: self.pattern("env-regex")?,
            tag: tag.map(str::to_owned),
        })
    }

    fn pattern(&self, option: &'static str) -> Result<Option<String>, LogError> {
        let Some(value) = self.get(option).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match Regex::new(value) {
            Ok(_) => Ok(Some(value.to_owned())),
            Err(error) => {
                let (value, reason) = (value.to_owned(), error.to_string());
                Err(LogError::Pattern { option, value, reason })
            }
        }
    }

    fn delivery(&self) -> Result<LogDelivery, LogError> {
        let is_non_blocking = match self.get("mode") {
            None | Some("" | "blocking") => false,
            Some("non-blocking") => true,
            Some(other) => return Err(LogError::Mode(other.to_owned())),
        };
        let buffer = match self.get("max-buffer-size") {
            None => DEFAULT_LOG_BUFFER,
            Some(_) if !is_non_blocking => return Err(LogError::BufferWhileBlocking),
            Some(value) => size(value).flatten().ok_or_else(|| {
                let option = "max-buffer-size".to_owned();
                LogError::Size { option, value: value.to_owned() }
            })?,
        };
        Ok(if is_non_blocking {
            LogDelivery::NonBlocking { buffer }
        } else {
            LogDelivery::Blocking
        })
    }

    /// As Go reads a truth value.
    fn truth(&self, option: &str, default: bool) -> Result<bool, LogError> {
        match self.get(option) {
            None | Some("") => Ok(default),
            Some(value) => boolean(value).ok_or_else(|| LogError::Truth {
                option: option.to_owned(),
                value: value.to_owned(),
            }),
        }
    }
}

/// `10m`, `1g`, `512kb`, a plain number of bytes; `-1` is no limit (the inner `None`).
fn size(text: &str) -> Option<Option<u64>> {
    if text == "-1" {
        return Some(None);
    }
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let digits = bare.trim_end_matches(['k', 'm', 'g', 't']);
    let shift = match &bare[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let number: u64 = digits.trim_end().parse().ok().filter(|number| *number > 0)?;
    Some(Some(number.checked_mul(1 << shift)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    use model::log::{SyslogAddress, SyslogFormat};

    fn lowered(driver: &str, options: &[(&str, &str)]) -> Result<LogSpec, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let config = Some(options.iter().map(owned).collect());
        lower(&LogConfig { driver: driver.to_owned(), config }).map_err(|error| error.to_string())
    }

    fn refused(driver: &str, options: &[(&str, &str)]) -> String {
        lowered(driver, options).unwrap_err()
    }

    #[test]
    fn sizes_read_as_docker_writes_them() {
        for (text, want) in [
            ("10m", Some(Some(10 << 20))),
            ("512KB", Some(Some(512 << 10))),
            ("1GiB", Some(Some(1 << 30))),
            ("77", Some(Some(77))),
            ("-1", Some(None)),
            ("0", None),
            ("m", None),
            ("1mm", None),
            ("1.5m", None),
            ("-5", None),
            ("99999999999t", None),
        ] {
            assert_eq!(size(text), want, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        for (driver, options, text) in [
            ("json-file", &[("x", "1")][..], "unknown log opt 'x' for json-file log driver"),
            (
                "json-file",
                &[("cache-disabled", "1")],
                "unknown log opt 'cache-disabled' for json-file log driver",
            ),
            ("local", &[("labels", "a")], "unknown log opt 'labels' for log driver local"),
            (
                "local",
                &[("max-file", "1"), ("compress", "true")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            ("local", &[("mode", "fast")], "logger: logging mode not supported: fast"),
            (
                "local",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            ("journald", &[("cache-disabled", "x")], "invalid value for option cache-disabled: x"),
            ("syslog", &[("syslog-facility", "x")], "invalid syslog facility"),
            ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
            (
                "syslog",
                &[("syslog-address", "127.0.0.1")],
                "syslog-address should be in form proto://address, got 127.0.0.1",
            ),
            ("json-file", &[("tag", "{{.ID")], "invalid log tag: template: :1: unclosed action"),
        ] {
            assert_eq!(refused(driver, options), text, "{driver} {options:?}");
        }
        let text = refused("json-file", &[("env-regex", "(")]);
        assert!(text.starts_with("invalid value for env-regex: \"(\": "), "{text}");
        let text = refused("gelf", &[]);
        assert!(text.contains("log driver 'gelf' (json-file, local, journald, syslog"), "{text}");
    }

    #[test]
    fn what_is_not_said_is_dockers_default() {
        let Ok(LogSpec::Local { files, delivery, .. }) = lowered("local", &[]) else { panic!() };
        assert_eq!((files, delivery), (LogFiles::default(), LogDelivery::Blocking));
        let few = lowered("local", &[("max-file", "1")]);
        let Ok(LogSpec::Local { files, .. }) = few else { panic!() };
        assert_eq!(files.compression, Compression::None, "there is never an older file");
        let Ok(LogSpec::JsonFile { compression, details, .. }) = lowered("", &[("labels", "a,b")])
        else {
            panic!()
        };
        assert_eq!(
            (compression, details.labels),
            (Compression::None, vec!["a".into(), "b".into()])
        );
        let mode = [("mode", "non-blocking"), ("max-buffer-size", "4m")];
        let Ok(LogSpec::JsonFile { delivery, .. }) = lowered("json-file", &mode) else { panic!() };
        assert_eq!(delivery, LogDelivery::NonBlocking { buffer: 4 << 20 });
    }

    #[test]
    fn what_cannot_be_read_back_has_a_copy_unless_it_is_unwanted() {
        let Ok(LogSpec::Remote { target, cache, .. }) = lowered("syslog", &[]) else { panic!() };
        let (address, facility, format) = (SyslogAddress::Host, 3, SyslogFormat::Local);
        assert_eq!(target, LogTarget::Syslog { address, facility, format });
        assert_eq!(cache, Some(LogFiles::default()));
        let small =
            [("cache-max-size", "1m"), ("cache-max-file", "2"), ("cache-compress", "false")];
        let Ok(LogSpec::Remote { cache, .. }) = lowered("journald", &small) else { panic!() };
        let compression = Compression::None;
        assert_eq!(cache, Some(LogFiles { max_size: Some(1 << 20), max_file: 2, compression }));
        let none = lowered("journald", &[("cache-disabled", "true")]);
        assert!(matches!(none, Ok(LogSpec::Remote { cache: None, .. })));
    }
}
