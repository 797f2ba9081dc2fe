//! Where the output of a container goes.

use docker_api::types::host_config::LogConfig;
use model::container::{DEFAULT_LOG_FILES, DEFAULT_LOG_SIZE, LogSpec};

use super::{LowerError, Unsupported};

/// Options of `json-file` that Docker knows and this version does not act on.
const LATER: [&str; 8] =
    ["compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"];

/// A log that cannot be kept so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum LogError {
    #[error("logger: no log driver named '{0}' is registered")]
    Driver(String),
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Option { option: String, driver: &'static str },
    #[error("invalid value for max-size: {0:?}: expected a number with k, m or g behind it")]
    MaxSize(String),
    #[error("invalid value for max-file: {0:?}: max-file cannot be less than 1")]
    MaxFile(String),
}

/// Lowers the log driver and its options.
pub(super) fn lower(wire: &LogConfig) -> Result<LogSpec, LowerError> {
    match wire.driver.as_str() {
        "" | "json-file" => json_file(wire),
        "none" => match wire.config.iter().flatten().next() {
            Some((option, _)) => {
                Err(LogError::Option { option: option.clone(), driver: "none" }.into())
            }
            None => Ok(LogSpec::None),
        },
        "local" | "syslog" | "journald" | "gelf" | "fluentd" | "awslogs" | "splunk" | "gcplogs"
        | "etwlogs" => Err(Unsupported::new(format!("log driver '{}'", wire.driver)).into()),
        other => Err(LogError::Driver(other.to_owned()).into()),
    }
}

fn json_file(wire: &LogConfig) -> Result<LogSpec, LowerError> {
    let options = wire.config.clone().unwrap_or_default();
    let (mut max_size, mut max_file) = (Some(DEFAULT_LOG_SIZE), DEFAULT_LOG_FILES);
    for (option, value) in &options {
        match option.as_str() {
            "max-size" => {
                max_size = size(value).ok_or_else(|| LogError::MaxSize(value.clone()))?;
            }
            "max-file" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                max_file = count.ok_or_else(|| LogError::MaxFile(value.clone()))?;
            }
            later if LATER.contains(&later) => {
                return Err(Unsupported::new(format!("log option '{later}'")).into());
            }
            unknown => {
                let option = unknown.to_owned();
                return Err(LogError::Option { option, driver: "json-file" }.into());
            }
        }
    }
    Ok(LogSpec::JsonFile { max_size, max_file, options })
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
}
