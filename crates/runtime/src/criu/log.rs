//! What criu's log says of a failure.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use super::LOG;

/// The end of a log that is looked at.
const LAST: u64 = 256 << 10;
/// How many lines are told.
const LINES: usize = 3;

/// Errors that criu survives.
const HARMLESS: [&str; 2] = ["Can't setup RLIMIT_NOFILE", "exited, status="];

/// The last errors of the log in a directory, on one line; nothing if it could not even begin a log.
pub(super) fn errors(work: impl AsFd) -> String {
    let read = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(rustix::fs::openat(work, LOG, flags, Mode::empty())?);
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(LAST)))?;
        let mut bytes = Vec::new();
        file.take(LAST).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    last_errors(&String::from_utf8_lossy(&read().unwrap_or_default()))
}

/// Lines are `(seconds)    pid: Error (file:line): words`.
fn last_errors(log: &str) -> String {
    let lines = log.lines().filter_map(|line| line.split_once("Error (")).map(|(_, line)| line);
    let words = lines.map(|line| line.split_once("): ").map_or(line, |(_, words)| words));
    let mut words: Vec<&str> =
        words.filter(|words| !HARMLESS.iter().any(|known| words.contains(known))).collect();
    words.dedup();
    words.split_off(words.len().saturating_sub(LINES)).join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_told_without_where_criu_noticed_them() {
        let log = "(00.096876) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n\
            (00.1) Error (criu/a.c:1): first\n\
            (00.107928) Warn  (criu/files-reg.c:1790): never mind\n\
            (00.107928)      1: Error (criu/files-reg.c:1790): Can't lookup mount=24 for fd=0 path=/dev/null\n\
            (00.107938) Error (criu/cr-dump.c:1545): Dump files (pid: 6770) failed with -1\n\
            (00.172657) Error (criu/cr-dump.c:1975): Dumping FAILED.\n";
        assert_eq!(
            last_errors(log),
            "Can't lookup mount=24 for fd=0 path=/dev/null; Dump files (pid: 6770) failed with -1; Dumping FAILED."
        );
        assert_eq!(last_errors(""), "");
        assert_eq!(errors(File::open("/proc/self").unwrap()), "");
    }
}
