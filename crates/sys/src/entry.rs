//! How this program begins: before the C library, and between it and the program's own `main`.
//!
//! Owns two short cuts. A command of the OCI runtime that enters a container executes its own sealed image
//! first ([`crate::exe`]), and that is all that its first execution does: it is done before the C library is set
//! up, which takes half a millisecond where a virtual machine traps `cpuid` (glibc asks forty times) and two
//! dozen pages. And the C library calls the program, not the standard library, which would read
//! `/proc/self/maps` and make a stack for a handler that only words a stack overflow.
//!
//! Owns no policy: what fails here is done in the ordinary way afterwards, which tells why it cannot be.
#![expect(unsafe_code, reason = "nobody has set anything up yet")]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod early;

use std::ffi::CStr;
use std::process::ExitCode;

/// The name that makes this program process 1 of a container.
pub const INIT_NAME: &str = "dhow-init";

/// The name that makes this program the OCI runtime.
pub const RUNTIME_NAME: &str = "runc";

/// The first word that makes it the OCI runtime.
pub const RUNTIME: &str = "oci";

/// The first word of an OCI runtime that is a sealed image already; what it was called with follows.
pub const RUNTIME_SEALED: &CStr = c"oci-sealed";

/// Commands of the OCI runtime whose process enters a container, where it could be found.
pub const ENTERING: [&str; 4] = ["create", "exec", "restore", "run"];

/// Makes a function the program, in place of the standard library's beginning: `#![no_main]` goes with it.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        // SAFETY: `no_main` leaves the name to us, and this is the type that the C library calls it by.
        #[unsafe(export_name = "main")]
        extern "C" fn begin(_: i32, _: *const *const u8, _: *const *const u8) -> i32 {
            $crate::entry::run($main)
        }
    };
}

/// Runs the program as the standard library's beginning would: with standard streams that are open, and with
/// `EPIPE` in place of a signal.
pub fn run(main: fn() -> ExitCode) -> i32 {
    open_streams();
    // SAFETY: to ignore a signal installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let code = main();
    // An exit code does not tell its number, but it can be compared.
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code);
    // Flushes the standard output.
    std::process::exit(number.unwrap_or(u8::MAX).into())
}

/// A standard stream that is closed would become the first file that is opened.
fn open_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    let polled = loop {
        // SAFETY: `streams` is an array of three that lives during the call.
        let polled = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
        if polled >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            break polled;
        }
    };
    let is_closed = |stream: &libc::pollfd| {
        if polled >= 0 {
            return stream.revents & libc::POLLNVAL != 0;
        }
        // Refused where fewer than three files may be open: each is asked about by itself.
        // SAFETY: it asks about a number, and takes no pointer.
        let found = unsafe { libc::fcntl(stream.fd, libc::F_GETFD) };
        found < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
    };
    for stream in streams.iter().filter(|stream| is_closed(stream)) {
        // SAFETY: a static path. The lowest free number is this stream's: those before it are open.
        let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if opened != stream.fd {
            std::process::abort();
        }
    }
}

#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
compile_error!(
    "the arguments come from the start code of the GNU C library: another one tells `main` alone"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn where_few_files_may_be_open_streams_are_open_all_the_same() {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let child = process::fork(|| {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(2), maximum: Some(2) });
            // SAFETY: this process is a copy that nobody else has descriptors in.
            unsafe { libc::close(1) };
            open_streams();
            let is_open = |path: &str| rustix::fs::stat(path).is_ok();
            i32::from(!is_open("/dev/fd/1") || !is_open("/dev/fd/2"))
        });
        let exit = process::wait(&child.unwrap().pidfd).unwrap();
        assert_eq!(exit, process::Exit::Code(0));
    }

    #[test]
    fn a_closed_stream_is_the_null_device() {
        let child = process::fork(|| {
            for fd in [0, 2] {
                // SAFETY: this process is a copy that nobody else has descriptors in.
                unsafe { libc::close(fd) };
            }
            open_streams();
            let null = rustix::fs::stat("/dev/null").map(|found| found.st_rdev);
            let is_null = |path| rustix::fs::stat(path).map(|found| found.st_rdev) == null;
            i32::from(!is_null("/proc/self/fd/0") || !is_null("/proc/self/fd/2"))
        });
        let exit = process::wait(&child.unwrap().pidfd).unwrap();
        assert_eq!(exit, process::Exit::Code(0));
    }
}
