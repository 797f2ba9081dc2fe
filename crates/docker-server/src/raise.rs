//! Model to wire: what the engine's views look like in Docker's newest API. Pure; the present time
//! is passed in.

mod changes;
mod config;
mod containers;
mod events;
mod exec;
mod firewall;
mod host_config;
mod images;
mod info;
mod mounts;
mod networks;
mod path_stat;
mod progress;
mod registries;
mod stats;
mod status;
mod volumes;

use std::path::Path;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

pub(crate) use changes::change;
pub(crate) use containers::{inspect, summary, unread};
pub(crate) use events::event;
pub(crate) use exec::{exec, exec_summary};
pub(crate) use firewall::firewall;
pub(crate) use images::{history, image, image_summary, image_usage, manifests, removal};
pub(crate) use info::{VERSION, info, version};
pub(crate) use networks::{PortList, network};
pub(crate) use path_stat::path_stat;
pub(crate) use progress::{progress, progress_aux};
pub(crate) use registries::{description, found};
pub(crate) use stats::stats;
pub(crate) use status::{text as status_text, unread_word, word as state_word};
pub(crate) use volumes::{volume, volume_usage};

/// Go's zero time: what Docker says where there is no time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The storage driver's name: overlayfs on our own snapshots, which clients know as this.
pub(crate) const DRIVER: &str = "overlay2";

/// Go's RFC3339Nano: as many digits behind the second as needed.
fn time(at: Timestamp) -> String {
    at.to_string()
}

fn time_or_none(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NO_TIME.to_owned(), time)
}

/// A log's time: always nine digits behind the second.
pub(crate) fn log_time(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
    PRINTER.timestamp_to_string(&at)
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Go's `int64` of something that is never negative.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `null` instead of an empty list or map.
pub(crate) fn or_null<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
pub(crate) mod tests;
