//! What the service tells whoever measures it, in Prometheus' text form.
//!
//! Figures that Docker's daemon has as well have its names, those of any process the names that Prometheus' own
//! libraries give them; what is counted of requests is dhow's.

mod actions;
pub(crate) mod told;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::view::InfoView;
use http::{Method, StatusCode};
use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};
use tokio::sync::Semaphore;

use crate::raise::{DRIVER, VERSION};

pub(crate) use actions::Action;

/// The form's name.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted while the service lives.
#[derive(Debug)]
pub(crate) struct Counts {
    since: Timestamp,
    /// By method and code.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    times: actions::Times,
    pub(crate) told: told::Told,
    connections: AtomicU64,
    ended: AtomicU64,
    /// The most connections at once since memory was given back.
    most: AtomicU64,
    /// Gives memory back that is free.
    trim: fn(),
    /// For those who may ask for figures alone.
    pub(super) readers: Semaphore,
}

/// How many may ask for figures at once.
const READERS: usize = 16;

/// So many connections at once leave enough behind to be given back.
const CROWD: u64 = 16;

impl Counts {
    pub(crate) fn new(trim: fn()) -> Self {
        Self {
            most: AtomicU64::new(0),
            trim,
            readers: Semaphore::new(READERS),
            since: Timestamp::now(),
            requests: Mutex::default(),
            times: actions::Times::default(),
            told: told::Told::default(),
            connections: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// A connection that was given to a container counts as a protocol that was switched, whatever the client
    /// was told.
    pub(super) fn request(&self, method: &'static str, status: Option<StatusCode>) {
        let code = status.unwrap_or(StatusCode::SWITCHING_PROTOCOLS).as_u16();
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method, code)).or_default() += 1;
    }

    /// Something was done for a client, which took so long.
    pub(super) fn took(&self, action: Action, time: Duration) {
        self.times.add(action, time);
    }

    /// Counts a connection until the guard goes.
    pub(super) fn connection(&self) -> Connected<'_> {
        let all = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let now = all.saturating_sub(self.ended.load(Ordering::Relaxed));
        self.most.fetch_max(now, Ordering::Relaxed);
        Connected(self)
    }
}

/// A connection that there is.
#[derive(Debug)]
pub(super) struct Connected<'a>(&'a Counts);

impl Drop for Connected<'_> {
    /// What a crowd took would stay with the process: pieces of it that live on lie between what is free. So it is
    /// given back whenever half of a crowd has left.
    fn drop(&mut self) {
        let counts = self.0;
        let ended = counts.ended.fetch_add(1, Ordering::Relaxed) + 1;
        let left = counts.connections.load(Ordering::Relaxed).saturating_sub(ended);
        let most = counts.most.load(Ordering::Relaxed);
        if most >= CROWD && left * 2 <= most {
            counts.most.store(left, Ordering::Relaxed);
            (counts.trim)();
        }
    }
}

/// A program's share of the processors by `/proc/PID/stat` (proc(5)), in whose ticks of a hundredth of a second everybody
/// else counts it too. rustix's clocks end a process on a kernel without a vDSO, such as User Mode Linux.
fn cpu_seconds(stat: &str) -> Option<f64> {
    const TICKS: f64 = 100.0;
    // The name before it may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11).map_while(|ticks| ticks.parse::<f64>().ok());
    Some((times.next()? + times.next()?) / TICKS)
}

/// A method by its name; clients make up as many as they like, and are not to fill our memory with them.
pub(super) fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// What the kernel says about this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    cpu_seconds: f64,
    resident: u64,
    virtual_size: u64,
    open_files: u64,
    most_files: u64,
}

impl Process {
    /// Asks it.
    ///
    /// # Errors
    /// There is no procfs.
    pub(crate) fn read() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        };
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // The list is one itself.
        let open = std::fs::read_dir("/proc/self/fd")?.count().saturating_sub(1);
        Ok(Self {
            cpu_seconds: cpu_seconds(&stat).unwrap_or_default(),
            resident: kilobytes("VmRSS:").unwrap_or(0) << 10,
            virtual_size: kilobytes("VmSize:").unwrap_or(0) << 10,
            open_files: open as u64,
            most_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        })
    }
}

/// All of it at this moment.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) counts: &'a Counts,
    /// Requests under way that end by themselves.
    pub(crate) under_way: usize,
    pub(crate) info: &'a InfoView,
    pub(crate) process: Process,
}

impl Snapshot<'_> {
    /// Writes it down.
    pub(crate) fn render(&self) -> String {
        let mut text = Text(String::new());
        self.engine(&mut text);
        self.counts.times.render(&mut text);
        self.counts.told.render(&mut text);
        self.requests(&mut text);
        self.process(&mut text);
        text.0
    }

    fn engine(&self, text: &mut Text) {
        let info = self.info;
        let (running, paused, stopped) = info.containers;
        let name = "engine_daemon_container_states_containers";
        text.head(name, "gauge", "The count of containers in various states");
        for (state, count) in [("paused", paused), ("running", running), ("stopped", stopped)] {
            text.value(name, &[("state", state)], count);
        }
        text.only(
            "engine_daemon_engine_cpus_cpus",
            "gauge",
            "The number of cpus that the host system of the engine has",
            info.cpus,
        );
        let name = "engine_daemon_engine_info";
        text.head(
            name,
            "gauge",
            "The information related to the engine and the OS it is running on",
        );
        let labels = [
            ("architecture", info.machine.as_str()),
            ("graphdriver", DRIVER),
            ("kernel", &info.kernel),
            ("os", &info.operating_system),
            ("os_type", "linux"),
            ("os_version", &info.os_version),
            ("version", VERSION),
        ];
        text.value(name, &labels, 1);
        text.only(
            "engine_daemon_engine_memory_bytes",
            "gauge",
            "The number of bytes of memory that the host system of the engine has",
            info.memory,
        );
        text.only("dhow_images", "gauge", "Images in the store", info.images);
    }

    fn requests(&self, text: &mut Text) {
        let counts = self.counts;
        let ended = counts.ended.load(Ordering::Relaxed);
        let all = counts.connections.load(Ordering::Relaxed);
        text.only(
            "dhow_connections",
            "gauge",
            "Connections that there are",
            all.saturating_sub(ended),
        );
        text.only("dhow_connections_total", "counter", "Connections that came in", all);
        let name = "dhow_http_requests_total";
        text.head(name, "counter", "Requests that were answered, by method and code; 101 are those whose connection went to a container");
        for ((method, code), count) in
            counts.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            text.value(name, &[("code", &code.to_string()), ("method", method)], *count);
        }
        text.only(
            "dhow_http_requests_under_way",
            "gauge",
            "Requests that are being answered and end by themselves",
            self.under_way,
        );
    }

    fn process(&self, text: &mut Text) {
        let process = self.process;
        text.only(
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds",
            process.cpu_seconds,
        );
        text.only(
            "process_max_fds",
            "gauge",
            "Maximum number of open file descriptors",
            process.most_files,
        );
        text.only(
            "process_open_fds",
            "gauge",
            "Number of open file descriptors",
            process.open_files,
        );
        text.only(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes",
            process.resident,
        );
        text.only(
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds",
            self.counts.since.as_second(),
        );
        text.only(
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes",
            process.virtual_size,
        );
    }
}

/// Prometheus' text form in the making. Writing to a string cannot fail.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, about: &str) {
        let _ = write!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let pairs: Vec<String> = labels
            .iter()
            .map(|(label, text)| {
                let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                format!("{label}=\"{text}\"")
            })
            .collect();
        let labels =
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// One that has no labels.
    fn only(&mut self, name: &str, kind: &str, about: &str, value: impl std::fmt::Display) {
        self.head(name, kind, about);
        self.value(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_a_line() {
        let mut text = Text(String::new());
        text.value("name", &[("a", "x\"y\\z\nlevel")], 1);
        assert_eq!(text.0, "name{a=\"x\\\"y\\\\z\\nlevel\"} 1\n");
    }

    #[test]
    fn a_processors_time_is_read_behind_any_name() {
        let stat = "7 (a) b) 9 c) S 1 7 7 0 -1 4194560 100 0 3 0 250 50 9 9 20 0 1 0 5 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (dhow) S 1"), None);
    }

    #[test]
    fn what_clients_make_up_is_counted_together() {
        let counts = Counts::new(|| {});
        for word in ["GET", "BREW", "STEEP"] {
            counts.request(method(&word.parse().unwrap()), Some(StatusCode::NOT_FOUND));
        }
        counts.request("POST", None);
        let counted = counts.requests.lock().unwrap();
        let counted: Vec<_> = counted.iter().map(|(key, count)| (*key, *count)).collect();
        assert_eq!(counted, [(("GET", 404), 1), (("POST", 101), 1), (("other", 404), 2)]);
    }

    #[test]
    fn memory_is_given_back_when_half_of_a_crowd_has_left() {
        static TRIMMED: AtomicU64 = AtomicU64::new(0);
        let counts = Counts::new(|| {
            TRIMMED.fetch_add(1, Ordering::Relaxed);
        });
        let trimmed = || TRIMMED.load(Ordering::Relaxed);
        let few: Vec<_> = (1..CROWD).map(|_| counts.connection()).collect();
        drop(few);
        assert_eq!(trimmed(), 0, "a few are no crowd");
        let mut crowd: Vec<_> = (0..4 * CROWD).map(|_| counts.connection()).collect();
        crowd.truncate(33);
        assert_eq!(trimmed(), 0);
        crowd.truncate(32);
        assert_eq!(trimmed(), 1, "one who stays for ever keeps nobody's memory");
        crowd.truncate(1);
        assert_eq!(trimmed(), 3, "at sixteen, and at eight, which are no crowd any more");
    }

    #[test]
    fn the_kernel_knows_this_process() {
        let process = Process::read().unwrap();
        assert!(process.resident > 1 << 20 && process.virtual_size >= process.resident);
        assert!(process.open_files >= 3 && process.most_files >= process.open_files);
    }
}
