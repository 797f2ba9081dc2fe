//! `--cidfile`: the file that gets the id of the container that is made.

use crate::error::os_error;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

/// A file that waits for its id, and goes if none comes.
#[derive(Debug)]
pub(crate) struct IdFile {
    path: PathBuf,
    /// `None` once it holds its id.
    file: Option<File>,
}

impl IdFile {
    /// Makes the file, which must not be there.
    pub(crate) fn create(path: &str) -> Result<Self, String> {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let file = made.map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists {
                return format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                );
            }
            format!("failed to create the container ID file: open {path}: {}", os_error(&error))
        })?;
        Ok(Self { path: PathBuf::from(path), file: Some(file) })
    }

    /// Writes the id; once it is there the file stays.
    pub(crate) fn write(mut self, id: &str) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|error| {
            let (path, error) = (self.path.display(), os_error(&error));
            format!("failed to write the container ID file: write {path}: {error}")
        })?;
        self.file = None;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What cannot be removed is an empty file, and the command has failed anyway.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_id_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let text = path.to_str().unwrap();
        let file = IdFile::create(text).unwrap();
        assert!(path.exists() && IdFile::create(text).unwrap_err().contains("file found"));
        drop(file);
        assert!(!path.exists());
        IdFile::create(text).unwrap().write("abc").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
        // A file that cannot be written goes as well.
        let broken = IdFile { path: path.clone(), file: Some(File::open(&path).unwrap()) };
        assert!(broken.write("abc").unwrap_err().contains("failed to write"));
        assert!(!path.exists());
        let missing = dir.path().join("no/such");
        let error = IdFile::create(missing.to_str().unwrap()).unwrap_err();
        assert!(error.contains("no/such: no such file"), "{error}");
    }
}
