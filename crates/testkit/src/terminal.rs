//! A terminal with a person at it: a pseudo terminal, what is typed, and what is on the screen.
//!
//! Nothing here sleeps: reading goes on until the expected text has come, and fails the test if
//! it does not.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long an expected text may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal, and the program that has it.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    /// Keeps the terminal, its attributes among it, when the program has gone.
    peer: OwnedFd,
    before: Termios,
    child: Option<Child>,
    seen: Vec<u8>,
    /// Up to where [`Terminal::expect`] has looked.
    at: usize,
}

impl Terminal {
    /// A terminal of 40 lines and 100 columns with nobody at it.
    ///
    /// # Panics
    /// The system gives none.
    #[must_use]
    pub fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("open a pseudo terminal");
        unlockpt(&master).expect("unlock it");
        let peer = ioctl_tiocgptpeer(&master, flags).expect("open its other end");
        let before = tcgetattr(&peer).expect("read its attributes");
        let terminal = Self { master, peer, before, child: None, seen: Vec::new(), at: 0 };
        terminal.resize(40, 100);
        terminal
    }

    /// The terminal as a standard stream of a program.
    ///
    /// # Panics
    /// Out of descriptors.
    #[must_use]
    pub fn stdio(&self) -> Stdio {
        self.peer.try_clone().expect("copy a descriptor").into()
    }

    /// Starts a program on those of its streams that the caller has given it. What is expected
    /// from now on is this program's.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(&mut self, command: &mut Command) {
        self.at = self.seen.len();
        self.child = Some(command.spawn().expect("start dhow"));
    }

    /// Types.
    ///
    /// # Panics
    /// The terminal takes nothing.
    #[track_caller]
    pub fn type_(&self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let count = rustix::io::write(&self.master, rest).expect("type");
            rest = &rest[count..];
        }
    }

    /// Changes the size; whoever runs in the foreground gets SIGWINCH.
    ///
    /// # Panics
    /// The terminal has gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("resize");
    }

    /// Reads until `text` comes behind all that was expected before.
    ///
    /// # Panics
    /// It does not come, or the program ends without it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.find(text) {
            let ended = self.has_ended();
            let read = self.read(deadline);
            // The rest was read after the end was seen.
            if (ended || Instant::now() > deadline) && !read && !self.find(text) {
                panic!("{text:?} does not come; on the screen is\n{}", self.screen());
            }
        }
    }

    fn find(&mut self, text: &str) -> bool {
        let rest = &self.seen[self.at..];
        let found = rest.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(found) = found {
            self.at += found + text.len();
        }
        found.is_some()
    }

    /// Everything that the screen has shown.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Whether the program has taken the terminal's keys for itself.
    ///
    /// # Panics
    /// The terminal has gone.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.peer).expect("read the attributes");
        !now.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("signal the program");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("a program runs"))
    }

    /// Waits for the program's end: its exit code, or 128 and the number of the signal that ended
    /// it, as a shell has it. The terminal must be as it was.
    ///
    /// # Panics
    /// It does not end, or leaves the terminal in another state.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            self.read(deadline);
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.screen());
        }
        while self.read(Instant::now()) {}
        let status = self.child.take().expect("a program runs").wait().expect("wait for it");
        self.check_attributes();
        code(status)
    }

    #[track_caller]
    fn check_attributes(&self) {
        let now = tcgetattr(&self.peer).expect("read the attributes");
        let text = |state: &Termios| format!("{state:?}");
        assert_eq!(text(&now), text(&self.before), "the terminal was not given back as it was");
    }

    fn has_ended(&self) -> bool {
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).expect("watch the program");
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
    }

    /// Reads once what is there; waits for it, or for the program's end, until `deadline`.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a deadline this side of the next century");
        let pidfd = self.child.as_ref().map(Pid::from_child);
        let pidfd = pidfd.map(|pid| pidfd_open(pid, PidfdFlags::empty()).expect("watch it"));
        let mut fds = vec![PollFd::new(&self.master, PollFlags::IN)];
        fds.extend(pidfd.as_ref().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        let ready = poll(&mut fds, Some(&left)).is_ok();
        if !ready || !fds[0].revents().contains(PollFlags::IN) {
            return false;
        }
        drop(fds);
        let mut buffer = [0; 4096];
        let count = rustix::io::read(&self.master, &mut buffer).expect("read the terminal");
        self.seen.extend_from_slice(&buffer[..count]);
        true
    }
}

impl Drop for Terminal {
    /// A test that failed must not leave its program.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
