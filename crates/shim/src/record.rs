//! The two small files that outlive a conversation: `state.json` and `exit.json`.
//!
//! Both are written beside their place and renamed, so that a reader sees the old one or the new
//! one. Neither is synced: after a power cut the container does not run, whatever they say, and an
//! exit record that is missing or empty reads as an unknown end.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::Life;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::paths::ShimPaths;
use crate::protocol::{ExecInfo, ExitRecord};

/// Longest record that is read, and so that is written: room for some thousand volumes in what is
/// told about a container.
const MAX: usize = 1 << 20;
/// More than a record usually has.
const USUAL: usize = 1 << 10;

/// Of how many execs the end is kept.
const MOST_EXECS: usize = 16;

/// A record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what a shim wrote.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How the container lives now; `None` if nothing runs. Believe it only while
/// [`crate::probe`] says `Held`: a shim that was killed leaves its last words behind.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_state(paths: &ShimPaths) -> Result<Option<Life>, RecordError> {
    read(&paths.state())
}

/// How the container ended last; `None` if it never did, or nobody lived to write it down.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_exit(paths: &ShimPaths) -> Result<Option<ExitRecord>, RecordError> {
    read(&paths.exit_record())
}

/// How the container lived when its shim died, once another shim has set that aside; `None` if none
/// died.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_last_words(paths: &ShimPaths) -> Result<Option<Life>, RecordError> {
    read(&paths.last_words())
}

/// Writes down how the container ended, for a shim that was killed.
///
/// # Errors
/// The file cannot be written.
pub fn write_exit(paths: &ShimPaths, exit: &ExitRecord) -> Result<(), RecordError> {
    write(&paths.exit_record(), exit)
}

/// How execs have ended that nobody can be asked about any more: the last of the lives that are over,
/// `MOST_EXECS` of them.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_ended_execs(paths: &ShimPaths) -> Result<Vec<ExecInfo>, RecordError> {
    Ok(read(&paths.ended_execs())?.unwrap_or_default())
}

/// Adds to these. What cannot be written is not known, as after a reboot.
pub(crate) fn keep_execs(paths: &ShimPaths, execs: Vec<ExecInfo>) {
    let mut kept = read_ended_execs(paths).unwrap_or_default();
    kept.extend(execs);
    let surplus = kept.len().saturating_sub(MOST_EXECS);
    kept.drain(..surplus);
    let _ = write(&paths.ended_execs(), &kept);
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    Ok(read_open(path)?.and_then(|(_, value)| value))
}

/// The same with the file, if there is one.
pub(crate) fn read_open<T: DeserializeOwned>(
    path: &Path,
) -> Result<Option<(File, Option<T>)>, RecordError> {
    let failed = |source| RecordError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut start = [0; USUAL];
    let len = (&file).read(&mut start).map_err(failed)?;
    // This is left of a file that a power cut met after its name and before its content: nothing, or the
    // room that was kept for it.
    if start[..len].iter().all(|byte| matches!(byte, b' ' | 0)) {
        return Ok(Some((file, None)));
    }
    let mut text = std::borrow::Cow::from(&start[..len]);
    // `ps` reads one of these per container: a second read, to be told that it ends, is worth saving.
    if len == USUAL {
        (&file).take(MAX as u64).read_to_end(text.to_mut()).map_err(failed)?;
    }
    let parsed = serde_json::from_slice(&text);
    let parsed = parsed.map_err(|source| RecordError::Damaged { path: path.to_owned(), source })?;
    Ok(Some((file, Some(parsed))))
}

/// Takes the room on disk that a value will need, so that it can be written once the disk is full: an end
/// is told apart from one that nobody saw by that.
pub(crate) fn reserve(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(beside(path));
    // Where there is no room now there may be some later.
    let _ = file.and_then(|mut file| file.write_all(&[b' '; USUAL]));
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

/// Replaces the file by this value, unless it is longer than what would be read.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<(), RecordError> {
    let failed = |source| RecordError::Write { path: path.to_owned(), source };
    let text = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    if text.len() > MAX {
        return Err(failed(ErrorKind::FileTooLarge.into()));
    }
    let beside = beside(path);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        // What is there may be the room that was reserved.
        .truncate(false)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    let done = file
        .write_all(&text)
        .and_then(|()| file.set_len(text.len() as u64))
        .and_then(|()| std::fs::rename(&beside, path));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::protocol::ByHand;
    use jiff::Timestamp;
    use model::ExitCode;

    #[test]
    fn what_is_written_is_short_enough_to_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long.json");
        let longest = "x".repeat(MAX - 2);
        write(&path, &longest).unwrap();
        let error = write(&path, &"x".repeat(MAX)).unwrap_err();
        assert!(matches!(error, RecordError::Write { .. }));
        assert_eq!(read::<String>(&path).unwrap(), Some(longest));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_reserved_is_written_to_and_becomes_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit.json");
        reserve(&path);
        assert_eq!(read::<String>(&path).unwrap(), None);
        // A power cut may keep the name and the length of a record, and the room's content.
        std::fs::write(dir.path().join("cut.json"), [b' '; 100]).unwrap();
        assert_eq!(read::<String>(&dir.path().join("cut.json")).unwrap(), None);
        std::fs::remove_file(dir.path().join("cut.json")).unwrap();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        let reserved = inode(&beside(&path));
        write(&path, &"short").unwrap();
        assert_eq!(read::<String>(&path).unwrap().as_deref(), Some("short"));
        assert_eq!((inode(&path), std::fs::read_dir(dir.path()).unwrap().count()), (reserved, 1));
    }

    #[test]
    fn a_record_reads_as_it_was_written_and_damage_is_named() {
        let path = std::env::temp_dir().join(format!("dhow-record-{}.json", std::process::id()));
        assert!(read::<ExitRecord>(&path).unwrap().is_none());
        let at = Timestamp::new(1_795_299_767, 224_372_180).unwrap();
        let record =
            ExitRecord { code: ExitCode(137), oom: true, since: at, at, by_hand: ByHand::No };
        write(&path, &record).unwrap();
        assert_eq!(read(&path).unwrap(), Some(record));
        expect_test::expect![[
            r#"{"code":137,"oom":true,"since":"2026-11-21T22:22:47.22437218Z","at":"2026-11-21T22:22:47.22437218Z"}"#
        ]]
        .assert_eq(&std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, "{").unwrap();
        let error = read::<ExitRecord>(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is damaged", path.display()));
        std::fs::remove_file(path).unwrap();
    }
}
