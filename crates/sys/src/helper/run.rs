//! A foreign program that is given a text, gives one back, and is not waited for for ever.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::family;

/// How much a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From its start to its end.
    pub time: Duration,
    /// Of standard output, in bytes.
    pub output: usize,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// How.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// The last that it wrote to its standard error, if that was to be a pipe.
    pub stderr: Vec<u8>,
}

/// How much of standard error is kept.
const TAIL: usize = 4096;

/// Why a program did not come to its end. It is gone all the same.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such program.
    #[error("not found in PATH")]
    Missing,
    /// It cannot be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It takes too long.
    #[error("it did not end within {} s", .0.as_secs_f32())]
    TooLong(Duration),
    /// It says too much.
    #[error("it wrote more than {0} bytes")]
    TooMuch(usize),
    /// The pipes.
    #[error("talking to it failed: {0}")]
    Pipe(#[from] io::Error),
}

/// Longer than anybody waits.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// So far from now. What is beyond the clock's reach, as the longest time that a specification can name
/// is, is a century away.
#[must_use]
pub fn deadline(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + CENTURY)
}

/// Runs `command` with `input` as its standard input. Its standard error is what the caller has made it:
/// ours, or a pipe.
///
/// The end of the program is the end, even if it left somebody behind who holds its output open.
/// It stays in our process group: a helper may ask for a passphrase at the terminal, and only the
/// group in the foreground may read there.
///
/// # Errors
/// It could not be started, or was killed because it went over `bounds`, with what it had started.
pub fn run(command: &mut Command, input: &[u8], bounds: Bounds) -> Result<Ran, RunError> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| not_started(command.get_program(), error))?;
    let mut talk = Talk::new(&mut child, input, bounds);
    let told = match &mut talk {
        Ok(talk) => talk.finish(&child),
        Err(_) => Ok((Vec::new(), Vec::new())),
    };
    if talk.is_err() || told.is_err() {
        // While its output is still open: one that ends for want of a reader leaves its family to
        // others. It is ours, so its number is its own until it is waited for.
        family::kill(Pid::from_child(&child));
    }
    let status = child.wait()?;
    talk?;
    let (stdout, stderr) = told?;
    Ok(Ran { status, stdout, stderr })
}

/// A file that is there may want an interpreter that is not: that is another error.
fn not_started(program: &OsStr, error: io::Error) -> RunError {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = || std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if error.kind() == io::ErrorKind::NotFound && !is_there() {
        RunError::Missing
    } else {
        RunError::Start(error)
    }
}

struct Talk<'t> {
    stdin: Option<ChildStdin>,
    input: &'t [u8],
    stdout: Option<ChildStdout>,
    output: Vec<u8>,
    stderr: Option<ChildStderr>,
    complaint: Vec<u8>,
    bounds: Bounds,
    deadline: Instant,
}

impl<'t> Talk<'t> {
    fn new(child: &mut Child, input: &'t [u8], bounds: Bounds) -> Result<Self, RunError> {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take();
        let ends = stdin.iter().map(AsFd::as_fd).chain(stdout.iter().map(AsFd::as_fd));
        for pipe in ends.chain(stderr.iter().map(AsFd::as_fd)) {
            rustix::io::ioctl_fionbio(pipe, true).map_err(io::Error::from)?;
        }
        let deadline = deadline(bounds.time);
        let (output, complaint) = (Vec::new(), Vec::new());
        Ok(Self { stdin, input, stdout, output, stderr, complaint, bounds, deadline })
    }

    fn finish(&mut self, child: &Child) -> Result<(Vec<u8>, Vec<u8>), RunError> {
        let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let pidfd = pidfd.map_err(io::Error::from)?;
        loop {
            // Looked at before the pipes: what was written before the end is read after it.
            let has_ended = self.wait(pidfd.as_fd())?;
            self.give()?;
            self.take()?;
            self.hear()?;
            if has_ended {
                let output = std::mem::take(&mut self.output);
                return Ok((output, std::mem::take(&mut self.complaint)));
            }
        }
    }

    /// Waits until something can be done; true if the program has ended.
    fn wait(&self, pidfd: rustix::fd::BorrowedFd<'_>) -> Result<bool, RunError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RunError::TooLong(self.bounds.time));
        }
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        fds.extend(self.stdin.iter().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        fds.extend(self.stdout.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(self.stderr.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }

    fn give(&mut self) -> Result<(), RunError> {
        let Some(pipe) = &mut self.stdin else { return Ok(()) };
        match pipe.write(self.input) {
            Ok(count) => self.input = &self.input[count..],
            Err(error) if is_for_later(&error) => {}
            // It does not want to know: its right.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.input = &[],
            Err(error) => return Err(error.into()),
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), RunError> {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &mut self.stdout {
            match pipe.read(&mut buffer) {
                Ok(0) => self.stdout = None,
                Ok(count) => self.output.extend_from_slice(&buffer[..count]),
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.output.len() > self.bounds.output {
                return Err(RunError::TooMuch(self.bounds.output));
            }
        }
        Ok(())
    }
}

impl Talk<'_> {
    /// What is written to standard error is read for as long as it comes, and its end kept.
    fn hear(&mut self) -> Result<(), RunError> {
        let mut buffer = [0; TAIL];
        while let Some(pipe) = &mut self.stderr {
            match pipe.read(&mut buffer) {
                Ok(0) => self.stderr = None,
                Ok(count) => {
                    self.complaint.extend_from_slice(&buffer[..count]);
                    self.complaint.drain(..self.complaint.len().saturating_sub(TAIL));
                }
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > self.deadline {
                return Err(RunError::TooLong(self.bounds.time));
            }
        }
        Ok(())
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the programs of these tests are of no kind")]
mod tests {
    use super::*;

    fn shell(script: &str, input: &[u8], time: Duration) -> Result<Ran, RunError> {
        let bounds = Bounds { time, output: 200_000 };
        run(Command::new("sh").args(["-c", script]), input, bounds)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_end_of_a_complaint_is_kept() {
        let bounds = Bounds { time: LONG, output: 10 };
        let script = "yes x | head -n 100000 >&2; echo the end >&2; exit 3";
        let mut command = Command::new("sh");
        let ran = run(command.args(["-c", script]).stderr(Stdio::piped()), b"", bounds).unwrap();
        assert_eq!((ran.status.code(), ran.stderr.len()), (Some(3), TAIL));
        assert!(ran.stderr.ends_with(b"x\nthe end\n"));
    }

    #[test]
    fn whoever_complains_for_ever_is_ended() {
        let bounds = Bounds { time: Duration::from_millis(50), output: 10 };
        let mut command = Command::new("sh");
        let loud = run(command.args(["-c", "exec yes >&2"]).stderr(Stdio::piped()), b"", bounds);
        assert!(matches!(loud, Err(RunError::TooLong(_))), "{loud:?}");
    }

    #[test]
    fn what_goes_in_comes_out() {
        let input = vec![b'x'; 150_000];
        let ran = shell("cat; exit 3", &input, LONG).unwrap();
        assert_eq!((ran.stdout, ran.status.code()), (input, Some(3)));
    }

    #[test]
    fn nobody_needs_to_read_the_input() {
        let ran = shell("exec <&-; echo done", &vec![b'x'; 1 << 20], LONG).unwrap();
        assert_eq!(ran.stdout, b"done\n");
    }

    #[test]
    fn what_a_program_leaves_behind_is_not_waited_for() {
        // The one left behind holds the output open until it is killed below.
        let ran = shell("sleep 1000 & echo $!", b"", LONG).unwrap();
        let pid: i32 = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn neither_time_nor_output_is_endless() {
        let slow = shell("exec sleep 1000", b"", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(slow, RunError::TooLong(_)), "{slow}");
        let loud = shell("exec yes", b"", LONG).unwrap_err();
        assert!(matches!(loud, RunError::TooMuch(200_000)), "{loud}");
    }

    #[test]
    fn a_program_may_have_more_time_than_the_clock_has() {
        for seconds in [i64::MAX.unsigned_abs(), u64::MAX] {
            let ran = shell("echo done", b"", Duration::from_secs(seconds)).unwrap();
            assert_eq!(ran.stdout, b"done\n");
        }
    }

    #[test]
    fn what_a_killed_program_has_started_dies_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("pids");
        // A child, one with a child, and that one's; then more output than there may be.
        let script = format!(
            "cd {}; sleep 1000 & echo $! >> pids; \
             sh -c 'sleep 1000 & echo $! >> pids; wait' & echo $! >> pids; \
             while [ $(wc -l < pids) -lt 3 ]; do :; done; yes",
            dir.path().display()
        );
        let loud = shell(&script, b"", LONG).unwrap_err();
        assert!(matches!(loud, RunError::TooMuch(_)), "{loud}");
        let pids = std::fs::read_to_string(list).unwrap();
        let pids: Vec<i32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), 3);
        for pid in pids {
            // Who is gone already cannot be opened.
            let Ok(pidfd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
                continue;
            };
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            assert_eq!(poll(&mut fds, Some(&patience)), Ok(1), "{pid} lives on");
        }
    }

    #[test]
    fn a_program_without_its_interpreter_is_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helper");
        std::fs::write(&path, "#!/dhow/no/such/shell\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let bounds = Bounds { time: LONG, output: 1 };
        let error = run(&mut Command::new(&path), b"", bounds).unwrap_err();
        assert!(matches!(error, RunError::Start(_)), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_missing() {
        let bounds = Bounds { time: LONG, output: 1 };
        let error = run(&mut Command::new("dhow-no-such-program"), b"", bounds).unwrap_err();
        assert!(matches!(error, RunError::Missing), "{error}");
    }
}
