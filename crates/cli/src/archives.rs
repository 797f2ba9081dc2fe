//! What `cp` needs of whoever can read and write archives: the command line itself cannot.

use std::io::{Read, Write};
use std::path::PathBuf;

/// Something of this machine that is to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPart {
    /// The directory that it is in.
    pub dir: PathBuf,
    /// What it is called there; `.` for what is in the directory.
    pub base: String,
    /// What it shall be called in the archive.
    pub called: String,
}

/// Where an archive is unpacked on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTarget {
    /// The directory.
    pub dir: PathBuf,
    /// What is called otherwise.
    pub renaming: Renaming,
}

/// What the one thing in an archive is called, and shall be called. Nothing else may be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// In the archive; `.` or `/` for what is in a directory.
    pub from: String,
    /// The same.
    pub to: String,
}

/// Reads and writes archives. What goes wrong is told in one line.
#[derive(Debug, Clone, Copy)]
pub struct Archives {
    /// Writes files of this machine as an archive.
    pub pack: fn(&LocalPart, &mut (dyn Write + Send)) -> Result<(), String>,
    /// Unpacks an archive among files of this machine.
    pub unpack: fn(&mut (dyn Read + Send), &LocalTarget) -> Result<(), String>,
    /// Passes an archive on under another name.
    pub rename:
        fn(&mut (dyn Read + Send), &Renaming, &mut (dyn Write + Send)) -> Result<(), String>,
}
