//! Where a shim is told to write a container's output.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use model::log::{Compression, LogDelivery, LogFiles, SyslogFormat, TlsTrust};
use serde::{Deserialize, Serialize};

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogConfig {
    /// Nowhere.
    None,
    /// Docker's `json-file`.
    JsonFile {
        /// Absolute; older files are beside it, with `.1`, `.2` and so on, and `.gz` if they are
        /// compressed.
        path: PathBuf,
        /// Bytes a file; `None`: no rotation.
        max_size: Option<u64>,
        /// Files kept, the current one among them; at least 1.
        max_file: u32,
        /// Put into each record as `attrs`.
        attrs: BTreeMap<String, String>,
        /// What happens to the older files.
        #[serde(default)]
        compression: Compression,
        /// What happens while it cannot be written.
        #[serde(default)]
        delivery: LogDelivery,
    },
    /// dhow's own compact files.
    Local {
        /// Where.
        files: LogCopy,
        /// What happens while they cannot be written.
        delivery: LogDelivery,
    },
    /// Another program.
    Remote {
        /// Which.
        sink: LogSink,
        /// A copy in compact files, to be read back.
        copy: Option<LogCopy>,
        /// What happens while it takes nothing.
        delivery: LogDelivery,
    },
}

/// Files of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCopy {
    /// Absolute; older files are beside it.
    pub path: PathBuf,
    /// How many, and how large.
    pub files: LogFiles,
}

/// A program that takes a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSink {
    /// Where it listens.
    pub address: SinkAddress,
    /// What it is sent.
    pub form: SinkForm,
}

/// Where a program listens that takes a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkAddress {
    /// The host's syslog daemon, at one of its usual places.
    Host,
    /// A Unix socket of bytes.
    Unix(PathBuf),
    /// A Unix socket of datagrams.
    UnixDatagram(PathBuf),
    /// systemd's journal.
    Journal(PathBuf),
    /// UDP.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
    /// TLS.
    Tls(Box<SinkTls>),
}

/// Who is at the other end of TLS. The files are read when the log is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkTls {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its certificate is for.
    pub name: String,
    /// An authority beside those of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// Certificates and their key, to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whose certificate is taken.
    pub trust: TlsTrust,
}

impl SinkAddress {
    /// With whom TLS is spoken, if it is.
    pub(crate) const fn tls(&self) -> Option<&SinkTls> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Host
            | Self::Unix(_)
            | Self::UnixDatagram(_)
            | Self::Journal(_)
            | Self::Udp(_)
            | Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for SinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => write!(f, "the syslog daemon of the host"),
            Self::Unix(path) => write!(f, "unix {}", path.display()),
            Self::UnixDatagram(path) | Self::Journal(path) => {
                write!(f, "unixgram {}", path.display())
            }
            Self::Udp(address) => write!(f, "udp {address}"),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Tls(tls) => write!(f, "tcp+tls {}", tls.address),
        }
    }
}

/// What a program is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkForm {
    /// Messages of syslog.
    Syslog {
        /// 0 to 23.
        facility: u8,
        /// How they look.
        format: SyslogFormat,
        /// Who they say they are from.
        tag: String,
    },
    /// Entries of systemd's journal.
    Journal {
        /// What all have, besides what is different in each.
        fields: BTreeMap<String, String>,
    },
}
