//! A file with the number of the service's process, for those who look after services by it.
//!
//! A lock says whose it is: numbers are given away again.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};

/// A clock that was set meanwhile is not to make anybody younger than what they wrote.
const DOUBT: Duration = Duration::from_secs(2);

/// What the kernel counts the age of a process in, on every machine that we are built for.
const TICKS_PER_SECOND: u64 = 100;

/// The file, which goes when the service ends, unless it is another's by then.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
    /// Locked as long as this lives.
    file: File,
}

impl Pidfile {
    /// Writes it, unless it is that of somebody who lives. Links are not followed.
    pub(super) fn write(path: &Path) -> anyhow::Result<Self> {
        let path = crate::local::absolute(path.to_owned())?;
        let shown = path.display();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let opened =
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(&path);
        let mut file = opened.with_context(|| format!("--pidfile {shown}"))?;
        let is_ours = sys::lock::try_lock(&file, 0).with_context(|| format!("lock {shown}"))?;
        ensure!(is_ours, "--pidfile {shown}: another service keeps it");
        let found = file.metadata().with_context(|| format!("look at {shown}"))?;
        ensure!(found.is_file(), "--pidfile {shown}: it is no file");
        let mut text = String::new();
        // What is no text names nobody.
        let _ = (&file).take(64).read_to_string(&mut text);
        let other = text.trim().parse().ok().filter(|pid| *pid != std::process::id());
        if let Some(pid) = other.filter(|pid| may_have_written(*pid, &found)) {
            bail!("--pidfile {shown}: the process {pid} that it names lives");
        }
        let own = format!("{}\n", std::process::id());
        let mut write = || {
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(own.as_bytes())
        };
        write().with_context(|| format!("write {shown}"))?;
        Ok(Self { path, file })
    }
}

/// Whether a process of this number lives, and was there when the file was written: one that is younger has
/// been given the number since.
fn may_have_written(pid: u32, file: &fs::Metadata) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    match (born(&stat), file.modified()) {
        (Some(born), Ok(written)) => born <= written + DOUBT,
        _ => true,
    }
}

/// When a process began, by what its `stat` says in proc(5): the twenty-second word, counted from the boot.
fn born(stat: &str) -> Option<SystemTime> {
    // Its name is in brackets, and may have any.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let booted = SystemTime::now().checked_sub(Duration::try_from_secs_f64(up).ok()?)?;
    booted.checked_add(Duration::from_millis(ticks.checked_mul(1000 / TICKS_PER_SECOND)?))
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let identity = |found: io::Result<fs::Metadata>| found.ok().map(|it| (it.dev(), it.ino()));
        let own = identity(self.file.metadata());
        if own.is_some() && identity(fs::symlink_metadata(&self.path)) == own {
            // One that stays is locked by nobody, and the next service replaces what is in it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_the_living_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        let refused = Pidfile::write(&path).unwrap_err().to_string();
        assert!(refused.ends_with("the process 1 that it names lives"), "{refused}");
        fs::write(&path, "4194305\n").unwrap();
        let ours = Pidfile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = Pidfile::write(&path).unwrap_err().to_string();
        assert!(refused.ends_with("another service keeps it"), "{refused}");
        drop(ours);
        assert!(!path.exists());
    }

    #[test]
    fn a_number_that_was_given_away_again_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        // Written before this machine had any process.
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        drop(Pidfile::write(&path).unwrap());
    }

    #[test]
    fn what_took_its_place_stays_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let first = Pidfile::write(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Pidfile::write(&path).unwrap();
        drop(first);
        assert!(path.exists(), "it is the second one's");
        drop(second);
        let target = dir.path().join("precious");
        fs::write(&target, "text").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        Pidfile::write(&path).unwrap_err();
        assert_eq!(fs::read_to_string(&target).unwrap(), "text");
    }
}
