//! What one dhow has on its host: processes, links, firewall elements, cgroups, mounts, files, rows.
//!
//! Looks at the host itself, never through dhow. Other roots' things do not count.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use model::RootTag;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::Host;

/// Longest that a process on its way out, or the kernel's own clearing up, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what the kernel does by itself and tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// A list of what there is, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census(BTreeSet<String>);

impl Census {
    /// What is there now and was not before (`+`), and the other way round (`-`).
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<String> {
        let new = self.0.difference(&before.0).map(|line| format!("+ {line}"));
        let lost = before.0.difference(&self.0).map(|line| format!("- {line}"));
        new.chain(lost).collect()
    }
}

impl Host {
    /// What is there now.
    ///
    /// # Panics
    /// The kernel or the database cannot be asked.
    #[must_use]
    pub fn census(&self) -> Census {
        let (name, table) = (self.tag().dashed("dhow"), self.tag().underscored("dhow"));
        let mut found = BTreeSet::new();
        for pid in self.processes() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            found.insert(format!("process {pid} {}", String::from_utf8_lossy(&line)));
        }
        found.extend(names(&Path::new("/sys/class/net").join(&name).join("brif"), "link"));
        found.extend(bridges(self.tag().link_group()));
        found.extend(elements(&table));
        found.extend(mounts_and_cgroups(&name, &[self.root(), self.run_root()]));
        for root in [self.root(), self.run_root()] {
            files(&root, &root, &mut found);
        }
        found.extend(self.rows());
        Census(found)
    }

    /// What is there when nothing runs any more and the links of what ran have gone.
    ///
    /// # Panics
    /// As [`Host::census`]; something does not end.
    #[must_use]
    pub fn at_rest(&self) -> Census {
        self.until_idle();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let census = self.census();
            if !census.0.iter().any(|line| line.starts_with("link ")) {
                return census;
            }
            assert!(Instant::now() < deadline, "links do not go: {census:?}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The changes since `before` that are not forgiven, when there are none any more or patience
    /// ends: links go some milliseconds after their namespace.
    ///
    /// # Panics
    /// As [`Host::census`].
    #[must_use]
    pub fn settled(&self, before: &Census, forgiven: fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut changes = self.census().changes(before);
            changes.retain(|change| !forgiven(change));
            if changes.is_empty() || Instant::now() > deadline {
                return changes;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What sets the names of this root's kernel objects apart.
    pub(crate) fn tag(&self) -> RootTag {
        RootTag::of_path(self.root().as_os_str().as_bytes())
    }

    /// The processes that work on these roots, containers' included.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let name = format!("/{}/", self.tag().dashed("dhow"));
        let root = self.root().to_string_lossy().into_owned();
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        pids.filter(|pid: &i32| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = read("cmdline");
            let is_ours = line.split(|byte| *byte == 0).any(|word| word == root.as_bytes());
            // One that has ended and waits to be reaped does nothing more. One without a line may
            // be at its start.
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            let has_ended = matches!(state, None | Some('Z' | 'X'));
            let cgroups = String::from_utf8_lossy(&read("cgroup")).into_owned();
            is_ours || (!has_ended && cgroups.contains(&name))
        })
        .collect()
    }

    /// The shims of this root.
    #[must_use]
    pub fn shims(&self) -> Vec<i32> {
        let is_shim = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            // Who keeps a shim's program is a copy of it.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"shim") && name != "dhow-keeper\n"
        };
        self.processes().into_iter().filter(is_shim).collect()
    }

    /// Waits until no process works on these roots any more.
    ///
    /// # Panics
    /// One does not end.
    pub fn until_idle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(pid) = self.processes().first().copied() {
            let Some(pidfd) = open(pid) else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).expect("a time");
            let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
            let ended = rustix::event::poll(&mut polled, Some(&limit)).expect("wait for a process");
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(ended > 0, "{pid} does not end: {}", String::from_utf8_lossy(&line));
        }
    }

    /// Kills a process as `kill -9` would.
    pub fn kill_9(&self, pid: i32) {
        // One that has ended meanwhile is as dead as is wanted.
        if let Some(pidfd) = open(pid) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        }
    }

    /// Changes the record of a container or a network, as if another dhow had written it. `table` is `containers` or
    /// `networks`.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn rewrite(&self, table: &str, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let db = self.database();
        let read = format!("SELECT record FROM {table} WHERE name = ?1");
        let text: String = db.query_row(&read, [name], |row| row.get(0)).expect("read a record");
        let mut record = serde_json::from_str(&text).expect("a record");
        change(&mut record);
        let write = format!("UPDATE {table} SET record = ?2 WHERE name = ?1");
        assert_eq!(db.execute(&write, [name, &record.to_string()]), Ok(1));
    }

    fn database(&self) -> rusqlite::Connection {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let path = self.root().join("dhow.db");
        let db = rusqlite::Connection::open_with_flags(path, flags).expect("open the database");
        db.busy_timeout(PATIENCE).expect("set a timeout");
        let keep = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        db.set_db_config(keep, true).expect("leave the log alone");
        db
    }

    /// How many rows each table has.
    fn rows(&self) -> Vec<String> {
        let db = self.database();
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table'";
        let mut statement = db.prepare(sql).expect("read the schema");
        let tables = statement.query_map([], |row| row.get::<_, String>(0)).expect("list tables");
        let count = |table: String| {
            let sql = format!("SELECT count(*) FROM {table}");
            let rows: i64 = db.query_row(&sql, [], |row| row.get(0)).expect("count rows");
            format!("rows {table} {rows}")
        };
        tables.map(|table| count(table.expect("read a name"))).collect()
    }
}

fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

fn names(dir: &Path, kind: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| format!("{kind} {}", entry.file_name().to_string_lossy())).collect()
}

/// The bridges of networks that were made.
fn bridges(group: u32) -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let ours = entries.map(|entry| entry.path()).filter(|path| {
        let found = fs::read_to_string(path.join("netdev_group")).unwrap_or_default();
        path.join("bridge").exists() && found.trim() == group.to_string()
    });
    ours.map(|path| format!("bridge {}", path.file_name().unwrap_or_default().display())).collect()
}

/// What is published.
#[expect(clippy::disallowed_methods, reason = "an administrator's view of the firewall")]
fn elements(table: &str) -> Vec<String> {
    let mut found = Vec::new();
    for family in ["ip", "ip6"] {
        let mut nft = std::process::Command::new("nft");
        let output = nft.args(["-j", "list", "table", family, table]).output().expect("start nft");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_answer = output.status.success() || said.contains("No such file or directory");
        assert!(is_answer, "nft cannot list {family} {table}: {said}");
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        for set in list["nftables"].as_array().into_iter().flatten() {
            let name = set["set"]["name"].as_str().or(set["map"]["name"].as_str());
            let elem = set["set"]["elem"].as_array().or(set["map"]["elem"].as_array());
            for element in elem.into_iter().flatten() {
                found.push(format!("nft {family} {} {element}", name.unwrap_or_default()));
            }
        }
    }
    found
}

fn mounts_and_cgroups(name: &str, roots: &[std::path::PathBuf]) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for line in table.lines() {
        let point = Path::new(line.split(' ').nth(4).unwrap_or_default());
        if roots.iter().any(|root| point.starts_with(root)) {
            found.push(format!("mount {}", point.display()));
        }
        if line.contains(" - cgroup") {
            let dir = point.join(name);
            let groups = fs::read_dir(&dir).into_iter().flatten().flatten();
            let paths = groups.map(|entry| entry.path()).filter(|path| path.is_dir());
            found.extend(paths.map(|path| format!("cgroup {}", path.display())));
        }
    }
    found
}

/// Trees whose content is the user's.
const CLOSED: [&str; 4] = ["fs", "upper", "work", "_data"];

fn files(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let relative = path.strip_prefix(root).unwrap_or(&path).display();
        // `previous` holds logs of removed containers, on purpose.
        let is_kept = matches!(name.as_str(), "lost+found" | "previous");
        if name.starts_with("dhow.db") || is_kept {
            continue;
        }
        found.insert(format!("file {relative}"));
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && !CLOSED.contains(&name.as_str()) {
            files(root, &path, found);
        }
    }
}
