//! A file with the number of the service's process, for those who look after services by it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The file, removed when the service ends.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Writes it, unless a process that lives has written its own number there.
    pub(super) fn write(path: &Path) -> anyhow::Result<Self> {
        let own = std::process::id();
        let path = crate::local::absolute(path.to_owned())?;
        let other = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u32>().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        if let Some(pid) = other.filter(|pid| *pid != own && lives(*pid)) {
            bail!("--pidfile {}: the process {pid} that it names lives", path.display());
        }
        fs::write(&path, format!("{own}\n"))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { path })
    }
}

fn lives(pid: u32) -> bool {
    pid != 0 && Path::new("/proc").join(pid.to_string()).exists()
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // One that stays names a process that has ended, and the next service replaces it.
        let _ = fs::remove_file(&self.path);
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
        drop(ours);
        assert!(!path.exists());
    }
}
