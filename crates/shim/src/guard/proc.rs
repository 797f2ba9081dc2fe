//! One process's ends of its streams: pipes or a terminal.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use cgroup::Cgroup;
use model::container::{Stdin, TerminalSize};
use rustix::fs::OFlags;
use rustix::process::Pid;
use sys::Errno;

use super::poller::{Interest, Poller, ProcKey, Token, Watch};
use crate::outbox::Form;
use crate::protocol::{StreamKind, Target};

/// A process whose streams are carried, until its end is dealt with.
#[derive(Debug)]
pub(super) struct Proc {
    pub(super) target: Target,
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) io: ProcIo,
    /// The part of the container's cgroup that an exec has.
    pub(super) part: Option<Cgroup>,
    /// Since when an OOM kill may be what ended it; `None` once it was killed from here.
    pub(super) oom_since: Option<Duration>,
}

/// Our ends of a process's streams.
#[derive(Debug)]
pub(super) struct ProcIo {
    form: Form,
    outputs: [Option<Output>; 2],
    input: ProcInput,
    /// Whether reading is put off until a client has caught up.
    flow: Flow,
    /// The process's end of its terminal, once no process had it open any more.
    peer: Option<OwnedFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Runs,
    HeldBack,
}

#[derive(Debug)]
struct Output {
    fd: OwnedFd,
    watch: Watch,
}

#[derive(Debug)]
enum ProcInput {
    /// It has none, or its end was told.
    Closed,
    Open(OpenInput),
}

#[derive(Debug)]
struct OpenInput {
    fd: OwnedFd,
    watch: Watch,
    /// What the process has not taken yet.
    pending: Vec<u8>,
    end: InputEnd,
}

/// When a process's input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    /// Never by a client.
    Never,
    /// With the first client that had it.
    WithClient,
    /// As soon as `pending` is taken.
    WhenTaken,
}

/// How reading went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes came.
    Some(usize),
    /// None are there now.
    Nothing,
    /// None will come.
    End,
}

/// The ends of pipes that the process is given.
#[derive(Debug)]
pub(super) struct ChildPipes {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl ProcIo {
    /// Pipes for a process without a terminal; the other ends are for it.
    pub(super) fn pipes(key: ProcKey, stdin: Stdin) -> Result<(Self, ChildPipes), Errno> {
        let (stdout, child_stdout) = output_pipe()?;
        let (stderr, child_stderr) = output_pipe()?;
        let (child_stdin, input) = match stdin {
            Stdin::Null => (null()?, ProcInput::Closed),
            Stdin::Open => input_pipe(key, InputEnd::Never)?,
            Stdin::OpenOnce => input_pipe(key, InputEnd::WithClient)?,
        };
        let outputs = [
            Some(Output::new(stdout, key, StreamKind::Stdout)),
            Some(Output::new(stderr, key, StreamKind::Stderr)),
        ];
        let io = Self { form: Form::Frames, outputs, input, flow: Flow::Runs, peer: None };
        Ok((io, ChildPipes { stdin: child_stdin, stdout: child_stdout, stderr: child_stderr }))
    }

    /// The master of a process's terminal. Its input is never ended by a client: a terminal's
    /// end of input is a character.
    pub(super) fn terminal(key: ProcKey, master: OwnedFd, stdin: Stdin) -> Result<Self, Errno> {
        make_nonblocking(&master)?;
        let input = match stdin {
            Stdin::Null => ProcInput::Closed,
            Stdin::Open | Stdin::OpenOnce => {
                let copy = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
                ProcInput::Open(OpenInput::new(copy, key, InputEnd::Never))
            }
        };
        let outputs = [Some(Output::new(master, key, StreamKind::Stdout)), None];
        Ok(Self { form: Form::Raw, outputs, input, flow: Flow::Runs, peer: None })
    }

    pub(super) const fn form(&self) -> Form {
        self.form
    }

    /// Reads from one of its streams.
    pub(super) fn read(&mut self, stream: StreamKind, scratch: &mut [u8]) -> Read {
        let Some(output) = &self.outputs[index(stream)] else { return Read::End };
        match rustix::io::retry_on_intr(|| rustix::io::read(&output.fd, &mut *scratch)) {
            Ok(0) => Read::End,
            Ok(count) => Read::Some(count),
            Err(Errno::AGAIN) => Read::Nothing,
            // A terminal that no process has open any more.
            Err(Errno::IO) if self.form == Form::Raw => self.keep_terminal(),
            Err(_) => Read::End,
        }
    }

    /// Its process lives on and may open it again, as `/dev/console`: systemd lets go of it before each
    /// line that it writes, and a login hangs it up. While we hold the other end, the kernel lets it.
    fn keep_terminal(&mut self) -> Read {
        let Some(output) = &self.outputs[0] else { return Read::End };
        self.peer = sys::pty::peer(&output.fd).ok();
        if self.peer.is_some() { Read::Nothing } else { Read::End }
    }

    /// This stream is at its end.
    pub(super) fn close_output(&mut self, stream: StreamKind) {
        self.outputs[index(stream)] = None;
        self.peer = None;
    }

    /// The streams that are not at their end.
    pub(super) fn open_outputs(&self) -> impl Iterator<Item = StreamKind> + use<> {
        let open = self.outputs.each_ref().map(Option::is_some);
        [StreamKind::Stdout, StreamKind::Stderr]
            .into_iter()
            .filter(move |stream| open[index(*stream)])
    }

    /// Whether input that came now would be taken or thrown away, not kept waiting.
    pub(super) const fn accepts_input(&self) -> bool {
        match &self.input {
            ProcInput::Closed => true,
            ProcInput::Open(input) => input.pending.is_empty(),
        }
    }

    /// Gives the process input. What it does not take now waits; a process that has closed its
    /// input takes everything, into nothing.
    pub(super) fn write_input(&mut self, data: &[u8]) {
        let ProcInput::Open(input) = &mut self.input else { return };
        if !input.pending.is_empty() {
            input.pending.extend_from_slice(data);
            return;
        }
        match write_some(&input.fd, data) {
            Ok(count) => input.pending.extend_from_slice(&data[count..]),
            Err(_) => self.input = ProcInput::Closed,
        }
    }

    /// The process has room for more input.
    pub(super) fn resume_input(&mut self) {
        let ProcInput::Open(input) = &mut self.input else { return };
        match write_some(&input.fd, &input.pending) {
            Ok(count) => {
                input.pending.drain(..count);
            }
            Err(_) => {
                self.input = ProcInput::Closed;
                return;
            }
        }
        if input.pending.is_empty() && input.end == InputEnd::WhenTaken {
            self.input = ProcInput::Closed;
        }
    }

    /// A client that had the input has ended it.
    pub(super) fn client_ended_input(&mut self) {
        let ProcInput::Open(input) = &mut self.input else { return };
        match input.end {
            InputEnd::Never | InputEnd::WhenTaken => {}
            InputEnd::WithClient if input.pending.is_empty() => self.input = ProcInput::Closed,
            InputEnd::WithClient => input.end = InputEnd::WhenTaken,
        }
    }

    /// `false` if it has no terminal.
    pub(super) fn resize(&self, size: TerminalSize) -> Result<bool, Errno> {
        let (Form::Raw, Some(output)) = (self.form, &self.outputs[0]) else { return Ok(false) };
        let size = sys::pty::Size { rows: size.rows, columns: size.columns };
        sys::pty::resize(&output.fd, size).map(|()| true)
    }

    /// Stops reading until [`ProcIo::let_flow`].
    pub(super) const fn hold_back(&mut self) {
        self.flow = Flow::HeldBack;
    }

    pub(super) const fn let_flow(&mut self) {
        self.flow = Flow::Runs;
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.flow == Flow::HeldBack
    }

    /// Watches the descriptors for what is needed now.
    pub(super) fn update_watch(&mut self, poller: &Poller) -> Result<(), Errno> {
        let reads = match self.flow {
            Flow::Runs => Interest::Read,
            // Not merely without interest: a terminal that hung up would be reported for ever.
            Flow::HeldBack => Interest::None,
        };
        for output in self.outputs.iter_mut().flatten() {
            poller.set(&output.fd, &mut output.watch, reads)?;
        }
        if let ProcInput::Open(input) = &mut self.input {
            let writes = if input.pending.is_empty() { Interest::None } else { Interest::Write };
            poller.set(&input.fd, &mut input.watch, writes)?;
        }
        Ok(())
    }
}

impl Output {
    const fn new(fd: OwnedFd, key: ProcKey, stream: StreamKind) -> Self {
        Self { fd, watch: Watch::new(Token::Output(key, stream)) }
    }
}

impl OpenInput {
    const fn new(fd: OwnedFd, key: ProcKey, end: InputEnd) -> Self {
        Self { fd, watch: Watch::new(Token::Input(key)), pending: Vec::new(), end }
    }
}

const fn index(stream: StreamKind) -> usize {
    match stream {
        StreamKind::Stdout => 0,
        StreamKind::Stderr => 1,
    }
}

/// Our end, then the process's.
fn output_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    make_nonblocking(&ours)?;
    Ok((ours, theirs))
}

/// The process's end, and ours.
fn input_pipe(key: ProcKey, end: InputEnd) -> Result<(OwnedFd, ProcInput), Errno> {
    let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    make_nonblocking(&ours)?;
    Ok((theirs, ProcInput::Open(OpenInput::new(ours, key, end))))
}

fn null() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(rustix::fs::CWD, c"/dev/null", flags, rustix::fs::Mode::empty())
}

fn make_nonblocking(fd: impl AsFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
}

/// Writes as much as is taken now.
fn write_some(fd: &OwnedFd, data: &[u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::write(fd, &data[done..]) {
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::File;
    use std::io::{Read as _, Write as _};

    const KEY: ProcKey = ProcKey(1);

    #[test]
    fn output_is_read_until_its_end() {
        let _nobody = crate::clones::nobody();
        let (mut io, child) = ProcIo::pipes(KEY, Stdin::Null).unwrap();
        let mut scratch = [0; 16];
        assert_eq!(io.read(StreamKind::Stdout, &mut scratch), Read::Nothing);
        File::from(child.stdout).write_all(b"out").unwrap();
        assert_eq!(io.read(StreamKind::Stdout, &mut scratch), Read::Some(3));
        assert_eq!(io.read(StreamKind::Stdout, &mut scratch), Read::End);
        io.close_output(StreamKind::Stdout);
        assert!(io.open_outputs().eq([StreamKind::Stderr]));
    }

    #[test]
    fn input_waits_for_a_process_that_does_not_read_and_then_ends() {
        let (mut io, child) = ProcIo::pipes(KEY, Stdin::OpenOnce).unwrap();
        let data = vec![b'i'; 100_000];
        io.write_input(&data);
        assert!(!io.accepts_input());
        io.client_ended_input();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            File::from(child.stdin).read_to_end(&mut all).map(|_| all)
        });
        while !io.accepts_input() {
            io.resume_input();
        }
        assert_eq!(reader.join().unwrap().unwrap(), data);
    }

    #[test]
    fn an_input_that_stays_open_outlives_its_client() {
        let (mut io, child) = ProcIo::pipes(KEY, Stdin::Open).unwrap();
        io.client_ended_input();
        io.write_input(b"later");
        let mut buffer = [0; 5];
        File::from(child.stdin).read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"later");
    }

    /// As systemd uses its console; and a login hangs it up.
    #[test]
    fn a_terminal_that_nobody_has_open_can_be_opened_again() {
        let _nobody = crate::clones::nobody();
        let devpts = sys::mount::detached(c"devpts", [], sys::mount::MountAttrFlags::empty());
        let sys::pty::Pty { master, peer } = sys::pty::open(devpts.unwrap()).unwrap();
        let again = rustix::io::fcntl_dupfd_cloexec(&master, 3).unwrap();
        let mut io = ProcIo::terminal(KEY, master, Stdin::Null).unwrap();
        let mut scratch = [0; 16];
        drop(peer);
        for _ in 0..2 {
            assert_eq!(io.read(StreamKind::Stdout, &mut scratch), Read::Nothing);
            let peer = sys::pty::peer(&again).unwrap();
            File::from(peer).write_all(b"line").unwrap();
            assert_eq!(io.read(StreamKind::Stdout, &mut scratch), Read::Some(4));
        }
        assert!(io.open_outputs().eq([StreamKind::Stdout]));
    }

    #[test]
    fn a_process_that_closed_its_input_takes_everything() {
        let _nobody = crate::clones::nobody();
        let (mut io, child) = ProcIo::pipes(KEY, Stdin::Open).unwrap();
        drop(child.stdin);
        io.write_input(b"to nobody");
        assert!(io.accepts_input());
    }
}
