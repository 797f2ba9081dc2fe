//! The last logs of containers that were removed: for `logs --previous`, kept for a day in a place
//! that is bounded.
//!
//! Below `previous/<id>` of the data root are the newest files of the log, under the names that they
//! had with `log` in front, and `about.json`. Containers that go with their process are not kept.
//! Nothing here keeps a removal from its way.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::container::Terminal;
use model::{ContainerId, NameOrId};
use serde::{Deserialize, Serialize};

use crate::container::{Container, now};
use crate::logs::{Form, LogReader};
use crate::view::LogQuery;
use crate::{Engine, EngineError};

/// How long a log is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);
/// Bytes of one log, and of all.
const LONGEST: u64 = 8 << 20;
const ALL: u64 = 64 << 20;
/// How long a directory that does not say whose it is may be somebody's who is about to write it.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// How many logs.
const MOST: usize = 100;

/// Whose log it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct About {
    name: String,
    removed: Timestamp,
    has_terminal: bool,
    /// Of a log in dhow's own form, what each line's attributes are; `None`: `json-file`.
    local: Option<BTreeMap<String, String>>,
}

/// A log that is kept.
#[derive(Debug)]
struct Kept {
    id: String,
    about: About,
    bytes: u64,
}

impl Engine {
    /// Keeps the log of a container that is about to be removed.
    pub(crate) fn keep_log(&self, container: &Container) {
        let Ok(form) = Form::of(container) else { return };
        let newest = newest_files(&self.log_path(container));
        if container.row.auto_remove || newest.is_empty() {
            return;
        }
        let about = About {
            name: container.name().to_owned(),
            removed: now(),
            has_terminal: matches!(container.record.spec.process.terminal, Terminal::Pty { .. }),
            local: form.attributes().cloned(),
        };
        // A log that cannot be kept, for want of room above all, is removed as any other.
        if keep(&self.previous_dir(&container.id.to_string()), &newest, &about).is_err() {
            self.forget_log(&container.id.to_string());
        }
        self.forget_old_logs();
    }

    /// The log of the container of this name that was removed last, and whether it had a terminal.
    ///
    /// # Errors
    /// None is kept.
    pub fn previous_log(
        &self,
        who: &NameOrId,
        query: LogQuery,
    ) -> Result<(bool, LogReader), EngineError> {
        let wanted = who.to_string();
        let wanted = wanted.trim_start_matches('/');
        let kept = self.kept_logs().into_iter().find(|kept| {
            now().duration_since(kept.about.removed) < KEPT_FOR
                && (kept.about.name == wanted || !wanted.is_empty() && kept.id.starts_with(wanted))
        });
        let kept = kept.ok_or_else(|| EngineError::NoPreviousLog(wanted.to_owned()))?;
        let form = kept.about.local.map_or(Form::Json, Form::Local);
        let path = self.previous_dir(&kept.id).join("log");
        Ok((kept.about.has_terminal, LogReader::open(path, form, query, None)?))
    }

    /// How many bytes all of them take.
    #[must_use]
    pub fn previous_logs_usage(&self) -> u64 {
        self.kept_logs().iter().map(|kept| kept.bytes).sum()
    }

    /// Forgets all of them; how many bytes that gives back.
    pub fn forget_previous_logs(&self) -> u64 {
        let bytes = self.previous_logs_usage();
        let _ = fs::remove_dir_all(self.previous_root());
        bytes
    }

    /// Those that are kept, the one that was removed last first. What has no word about it is
    /// somebody's who is at it, or was killed.
    fn kept_logs(&self) -> Vec<Kept> {
        self.all_logs().0
    }

    /// Those that are kept, and the directories that do not say whose they are.
    fn all_logs(&self) -> (Vec<Kept>, Vec<PathBuf>) {
        let (mut kept, mut unknown) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(self.previous_root()).into_iter().flatten().flatten() {
            match read(&entry.path()) {
                Ok(log) => kept.push(log),
                Err(_) => unknown.push(entry.path()),
            }
        }
        kept.sort_by_key(|kept: &Kept| std::cmp::Reverse(kept.about.removed));
        (kept, unknown)
    }

    fn forget_old_logs(&self) {
        let (kept, unknown) = self.all_logs();
        let sizes = kept.iter().map(|kept| (kept.about.removed, kept.bytes));
        let staying = staying(sizes, now());
        kept[staying..].iter().for_each(|kept| self.forget_log(&kept.id));
        for dir in unknown.iter().filter(|dir| is_abandoned(dir)) {
            let _ = fs::remove_dir_all(dir);
        }
    }

    fn forget_log(&self, id: &str) {
        let _ = fs::remove_dir_all(self.previous_dir(id));
    }

    fn previous_root(&self) -> PathBuf {
        self.paths().root().join("previous")
    }

    fn previous_dir(&self, id: &str) -> PathBuf {
        self.previous_root().join(id)
    }
}

/// How many of the newest may stay.
fn staying(logs: impl Iterator<Item = (Timestamp, u64)>, now: Timestamp) -> usize {
    let mut room = ALL;
    let fits = |(removed, bytes): &(Timestamp, u64)| {
        let is_young = now.duration_since(*removed) < KEPT_FOR;
        is_young && room.checked_sub(*bytes).map(|left| room = left).is_some()
    };
    logs.take(MOST).take_while(fits).count()
}

/// Whether nobody is at a directory any more that does not say whose it is.
fn is_abandoned(dir: &Path) -> bool {
    let changed = fs::symlink_metadata(dir).and_then(|about| about.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= ABANDONED_AFTER))
}

/// The newest files of a log that together are not too long, with what their names have behind the
/// log's; none if nothing was written.
fn newest_files(path: &Path) -> Vec<(PathBuf, String)> {
    let (mut files, mut bytes, mut gaps) = (Vec::new(), 0, 0);
    for generation in 0.. {
        let Some((file, ending, length)) = file_of(path, generation) else {
            gaps += 1;
            // A shim that dies while it moves the files on leaves one name without a file.
            if gaps > 1 {
                break;
            }
            continue;
        };
        bytes += length;
        // The newest alone may be longer, but not so long that no other log could stay beside it.
        if bytes > if files.is_empty() { ALL / 2 } else { LONGEST } {
            break;
        }
        files.push((file, ending));
    }
    if bytes == 0 { Vec::new() } else { files }
}

fn file_of(path: &Path, generation: u32) -> Option<(PathBuf, String, u64)> {
    let endings = match generation {
        0 => vec![String::new()],
        older => vec![format!(".{older}"), format!(".{older}{}", shim::log::PACKED)],
    };
    endings.into_iter().find_map(|ending| {
        let mut name = path.to_owned().into_os_string();
        name.push(&ending);
        let length = fs::metadata(&name).ok()?.len();
        Some((name.into(), ending, length))
    })
}

/// The files stay where they are as well: the removal may still fail.
fn keep(dir: &Path, files: &[(PathBuf, String)], about: &About) -> io::Result<()> {
    let _ = fs::remove_dir_all(dir);
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // First, so that whatever is there of a log has a name and an age, and its room is counted.
    let (about_file, partial) = (dir.join("about.json"), dir.join("about.json.new"));
    fs::write(&partial, serde_json::to_vec(about)?)?;
    fs::rename(&partial, &about_file)?;
    for (file, ending) in files {
        fs::hard_link(file, dir.join(format!("log{ending}")))?;
    }
    Ok(())
}

fn read(dir: &Path) -> io::Result<Kept> {
    let about: About = serde_json::from_slice(&fs::read(dir.join("about.json"))?)?;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    let id = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Nothing else belongs there.
    id.parse::<ContainerId>().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Kept { id, about, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_while_there_is_room() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ago = |hours: i64| now - SignedDuration::from_hours(hours);
        let count = |logs: &[(Timestamp, u64)]| staying(logs.iter().copied(), now);
        assert_eq!(count(&[(ago(0), 10), (ago(23), 10), (ago(24), 10)]), 2);
        assert_eq!(count(&[(ago(0), ALL - 10), (ago(1), 10), (ago(2), 1), (ago(3), 0)]), 2);
        assert_eq!(count(&vec![(now, 1); MOST + 5]), MOST);
    }

    #[test]
    fn the_newest_files_are_kept_up_to_a_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let endings = || -> Vec<String> {
            newest_files(&path).into_iter().map(|(_, ending)| ending).collect()
        };
        fs::write(&path, "").unwrap();
        assert_eq!(endings(), [""; 0], "nothing was written");
        for (ending, length) in [("", 100), (".1.gz", 100), (".2", LONGEST), (".3", 1)] {
            let name = dir.path().join(format!("x.log{ending}"));
            fs::File::create(name).unwrap().set_len(length).unwrap();
        }
        assert_eq!(endings(), ["", ".1.gz"]);
        fs::File::create(&path).unwrap().set_len(ALL).unwrap();
        assert_eq!(endings(), [""; 0], "one that is not rotated would leave no room for others");
        // A shim died while it moved them.
        fs::remove_file(&path).unwrap();
        assert_eq!(endings(), [".1.gz"]);
        fs::remove_file(dir.path().join("x.log.2")).unwrap();
        assert_eq!(endings(), [".1.gz"], "two are missing");
    }
}
