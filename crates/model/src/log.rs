//! Where a container's output goes: drivers, and the options that change what they write.
//!
//! Data only. `docker-server` reads the options, `engine` says what they come to for one container,
//! `shim` writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The log's default rotation: Docker's default for `json-file`, none, fills disks.
pub const DEFAULT_LOG_SIZE: u64 = 20 << 20;
/// How many log files are kept by default.
pub const DEFAULT_LOG_FILES: u32 = 5;
/// What waits in memory for a log that does not take it, by default. Docker's `1m` is as much.
pub const DEFAULT_LOG_BUFFER: u64 = 1 << 20;

/// Where a container's output goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LogSpec {
    /// Docker's `json-file`, rotated.
    JsonFile {
        /// Bytes a file; `None`: no rotation (an explicit `max-size=-1`).
        max_size: Option<u64>,
        /// Files kept, the current one among them; at least 1.
        max_file: u32,
        /// The options as typed, for inspect.
        options: BTreeMap<String, String>,
        /// What happens to the older files. Before there was a choice they stayed as they were.
        #[serde(default, skip_serializing_if = "Compression::is_none")]
        compression: Compression,
        /// What each line says besides. Before there was a choice, nothing.
        #[serde(default, skip_serializing_if = "LogDetails::is_empty")]
        details: LogDetails,
        /// What happens while nothing can be written. Before there was a choice, lines were lost.
        #[serde(default, skip_serializing_if = "LogDelivery::is_blocking")]
        delivery: LogDelivery,
    },
    /// dhow's own compact files, as Docker's `local` are Docker's own.
    Local {
        /// Which files are kept.
        files: LogFiles,
        /// What happens while nothing can be written.
        delivery: LogDelivery,
        /// The options as typed, for inspect.
        options: BTreeMap<String, String>,
    },
    /// Somewhere that cannot be read back.
    Remote {
        /// Where.
        target: LogTarget,
        /// What is told of the container.
        details: LogDetails,
        /// The copy that `logs` reads; `None`: there is none (`cache-disabled`).
        cache: Option<LogFiles>,
        /// What happens while it takes nothing.
        delivery: LogDelivery,
        /// The options as typed, for inspect.
        options: BTreeMap<String, String>,
    },
    /// Nowhere.
    None,
}

/// A log of another program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LogTarget {
    /// systemd's journal.
    Journald,
    /// A syslog daemon.
    Syslog {
        /// Where it listens.
        address: SyslogAddress,
        /// 0 to 23.
        facility: u8,
        /// How a message is written.
        format: SyslogFormat,
    },
}

/// Where a syslog daemon listens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SyslogAddress {
    /// `/dev/log`, `/var/run/syslog` or `/var/run/log`, the first that is there.
    Host,
    /// `unix:///dev/log`
    Unix(String),
    /// `unixgram:///dev/log`
    UnixDatagram(String),
    /// `udp://host:514`: host and port.
    Udp(String, u16),
    /// `tcp://host:514`: host and port.
    Tcp(String, u16),
    /// `tcp+tls://host:514`.
    Tls(SyslogTls),
}

/// A syslog daemon behind TLS. Files are the host's, read at each start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogTls {
    /// Also the name that its certificate must be for.
    pub host: String,
    /// Of TCP.
    pub port: u16,
    /// An authority beside those of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// What is shown to the daemon: certificates and their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<(String, String)>,
    /// Whom it may be.
    pub trust: TlsTrust,
}

/// Whose certificate is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TlsTrust {
    /// One by an authority, for the name.
    Verified,
    /// Anybody's.
    Anyone,
}

/// How a syslog message is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SyslogFormat {
    /// RFC 3164 without the host's name, as programs of the same host write it.
    Local,
    /// `rfc3164`
    Rfc3164,
    /// `rfc5424`
    Rfc5424,
    /// `rfc5424micro`: the same with microseconds.
    Rfc5424Micro,
}

/// Which files of a log are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFiles {
    /// Bytes a file; `None`: no rotation.
    pub max_size: Option<u64>,
    /// Files kept, the current one among them; at least 1.
    pub max_file: u32,
    /// What happens to the older ones.
    pub compression: Compression,
}

impl Default for LogFiles {
    /// Docker's default of its driver `local`.
    fn default() -> Self {
        Self {
            max_size: Some(DEFAULT_LOG_SIZE),
            max_file: DEFAULT_LOG_FILES,
            compression: Compression::Gzip,
        }
    }
}

/// What happens to a log file that is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Compression {
    /// It stays as it is.
    #[default]
    None,
    /// It becomes `.gz`.
    Gzip,
}

impl Compression {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What happens to output while the log does not take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LogDelivery {
    /// The container waits, as long as whoever takes the log makes progress.
    #[default]
    Blocking,
    /// So many bytes wait in memory, what comes then is lost.
    NonBlocking {
        /// `max-buffer-size`
        buffer: u64,
    },
}

impl LogDelivery {
    fn is_blocking(&self) -> bool {
        *self == Self::Blocking
    }
}

/// What a log says of its container besides the output.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogDetails {
    /// Labels by their names.
    pub labels: Vec<String>,
    /// Labels whose names fit a regular expression.
    pub labels_regex: Option<String>,
    /// Environment variables by their names.
    pub env: Vec<String>,
    /// Environment variables whose names fit a regular expression.
    pub env_regex: Option<String>,
    /// A template.
    pub tag: Option<String>,
}

impl LogDetails {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
