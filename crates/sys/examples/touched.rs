//! Which functions of a program a command executes: each has a break point at its beginning, in every process that
//! the command begets and that executes this program.
//!
//! `touched PROGRAM FUNCTIONS OUTPUT COMMAND [ARGUMENT…]`. The program is linked statically, for a fixed address. FUNCTIONS has an
//! address in each line, in hexadecimal digits; OUTPUT gets those that were executed, in the order of their first time.
//! Fails if the command does.
#![expect(unsafe_code, reason = "ptrace is a call of the C library")]

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::ffi::{CString, OsString, c_int, c_long};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::ptr;

use sys::process::ExecStrings;

/// The instruction that stops a process before the next.
const STOP: u8 = 0xcc;

/// All that the command begets is followed, and ends with this process.
const OPTIONS: c_int = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [program, functions, output, command @ ..] = &words[..] else {
        return Err("PROGRAM FUNCTIONS OUTPUT COMMAND [ARGUMENT…]".into());
    };
    let listed = fs::read_to_string(functions)?;
    let listed = listed.lines().map(|line| u64::from_str_radix(line, 16));
    let program = Program::read(program, &listed.collect::<Result<Vec<_>, _>>()?)?;
    let mut tracer = Tracer { program, known: HashSet::new(), touched: Vec::new() };
    let code = tracer.follow(command)?;
    let mut text = String::new();
    for address in &tracer.touched {
        writeln!(text, "{address:x}")?;
    }
    fs::write(output, text)?;
    if code == 0 { Ok(()) } else { Err(format!("the command ends with {code}").into()) }
}

/// The program's text, with and without break points.
struct Program {
    /// Device and inode.
    identity: (u64, u64),
    /// Where the text is.
    start: u64,
    stopped: Vec<u8>,
    /// The byte that each break point covers.
    covered: HashMap<u64, u8>,
}

impl Program {
    fn read(path: &OsString, functions: &[u64]) -> Result<Self, Box<dyn Error>> {
        let metadata = fs::metadata(path)?;
        let bytes = fs::read(path)?;
        let (start, text) = text(&bytes).ok_or("the program has no text")?;
        let mut stopped = text.to_vec();
        let mut covered = HashMap::new();
        for function in functions {
            let place = function.checked_sub(start).and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = place.and_then(|place| stopped.get_mut(place)) {
                covered.entry(*function).or_insert(*byte);
                *byte = STOP;
            }
        }
        Ok(Self { identity: (metadata.dev(), metadata.ino()), start, stopped, covered })
    }

    fn is_of(&self, process: libc::pid_t) -> bool {
        let found = fs::metadata(format!("/proc/{process}/exe"));
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }
}

/// The segment that can be executed, by the file's ELF64 header: its address and what is in it.
fn text(file: &[u8]) -> Option<(u64, &[u8])> {
    let word = |at: usize| Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?));
    let (table, count) = (usize::try_from(word(32)?).ok()?, usize::from(half(56)?));
    (0..count).map(|index| table + index * 56).find_map(|entry| {
        let kind = u32::from_le_bytes(file.get(entry..entry + 4)?.try_into().ok()?);
        let flags = u32::from_le_bytes(file.get(entry + 4..entry + 8)?.try_into().ok()?);
        let is_text = kind == libc::PT_LOAD && flags & libc::PF_X != 0;
        let offset = usize::try_from(word(entry + 8)?).ok()?;
        let size = usize::try_from(word(entry + 32)?).ok()?;
        let text = file.get(offset..offset.checked_add(size)?).filter(|_| is_text)?;
        Some((word(entry + 16)?, text))
    })
}

struct Tracer {
    program: Program,
    /// Processes that have stopped once, as each does when it begins.
    known: HashSet<libc::pid_t>,
    touched: Vec<u64>,
}

impl Tracer {
    /// Runs the command until nobody whom it has begotten is left. Returns its exit code.
    fn follow(&mut self, command: &[OsString]) -> Result<c_int, Box<dyn Error>> {
        let words = command.iter().map(|word| CString::new(word.clone().into_vec()));
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let program = words.first().ok_or("which command?")?.clone();
        let variables = std::env::vars_os().map(|(name, value)| [name, value].join("=".as_ref()));
        let variables = variables.map(|all| CString::new(all.into_vec()));
        let variables = ExecStrings::new(variables.collect::<Result<Vec<_>, _>>()?);
        let words = ExecStrings::new(words);
        let child = sys::process::fork(|| {
            // SAFETY: it takes no pointer; this process asks to be traced.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
            let _ = sys::process::execve(&program, &words, &variables);
            libc::EXIT_FAILURE
        })?;
        let first = child.pid.as_raw_nonzero().get();
        let mut code = libc::EXIT_FAILURE;
        loop {
            let mut status = 0;
            // SAFETY: `status` is a number that lives during the call.
            let process = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
            if process < 0 {
                return Ok(code);
            }
            if libc::WIFSTOPPED(status) {
                self.stopped(process, status, first)?;
                continue;
            }
            self.known.remove(&process);
            if process == first && libc::WIFEXITED(status) {
                code = libc::WEXITSTATUS(status);
            }
        }
    }

    fn stopped(
        &mut self,
        process: libc::pid_t,
        status: c_int,
        first: libc::pid_t,
    ) -> Result<(), Box<dyn Error>> {
        let signal = libc::WSTOPSIG(status);
        let is_new = self.known.insert(process);
        let is_execution = status >> 16 == libc::PTRACE_EVENT_EXEC || (is_new && process == first);
        if is_new && process == first {
            request(libc::PTRACE_SETOPTIONS, process, OPTIONS.into());
        }
        if is_execution && self.program.is_of(process) {
            memory(process)?.write_all_at(&self.program.stopped, self.program.start)?;
        }
        let is_ours = is_execution
            || status >> 16 != 0
            || (is_new && signal == libc::SIGSTOP)
            || (signal == libc::SIGTRAP && self.touch(process)?);
        request(libc::PTRACE_CONT, process, if is_ours { 0 } else { signal.into() });
        Ok(())
    }

    /// Whether it stands behind a break point: takes it away, and the process goes on there.
    fn touch(&mut self, process: libc::pid_t) -> Result<bool, Box<dyn Error>> {
        // SAFETY: a structure of numbers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: the kernel writes one such structure, which lives during the call.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, process, none, &raw mut registers) };
        let function = registers.rip.wrapping_sub(1);
        let Some(byte) = self.program.covered.get(&function) else { return Ok(false) };
        memory(process)?.write_all_at(&[*byte], function)?;
        registers.rip = function;
        // SAFETY: the kernel reads one such structure, which lives during the call.
        unsafe { libc::ptrace(libc::PTRACE_SETREGS, process, none, &raw const registers) };
        if !self.touched.contains(&function) {
            self.touched.push(function);
        }
        Ok(true)
    }
}

fn memory(process: libc::pid_t) -> std::io::Result<File> {
    OpenOptions::new().write(true).open(format!("/proc/{process}/mem"))
}

/// Asks something about a process that is stopped; one that was killed meanwhile is told by `waitpid`.
fn request(what: libc::c_uint, process: libc::pid_t, number: c_long) {
    // SAFETY: these requests take a number where others take a pointer.
    unsafe { libc::ptrace(what, process, ptr::null_mut::<libc::c_void>(), number) };
}
