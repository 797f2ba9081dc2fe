//! Signals: passed on to the process, or obeyed.
//!
//! A terminal in raw mode sends no signals for keys. What comes nevertheless and is not passed on
//! is meant for us, and the terminal has to be given back before we go.

use super::Setup;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::signal::unix::{Signal, SignalKind, signal};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;
const SIGWINCH: i32 = 28;

/// Signals that are passed on. Not among them: those that cannot be caught (KILL, STOP), that are
/// our own doing (CHLD, PIPE, SEGV, ILL, FPE, URG), and WINCH, which is passed on as a size.
const PROXIED: &[(i32, &str)] = &[
    (SIGHUP, "HUP"),
    (SIGINT, "INT"),
    (SIGQUIT, "QUIT"),
    (5, "TRAP"),
    (6, "ABRT"),
    (7, "BUS"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (SIGTERM, "TERM"),
    (16, "STKFLT"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (29, "IO"),
    (30, "PWR"),
    (31, "SYS"),
];

/// Signals that end us, where they are not passed on.
const FATAL: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Which processes signals are passed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// Any, with a terminal or without: `run`.
    Always,
    /// Only one without a terminal: `attach`, `start -a`.
    WithoutTerminal,
    /// None.
    Never,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// The terminal has another size.
    Resized,
    /// To be passed on under this name.
    Proxy(&'static str),
    /// It ends us.
    Fatal(u8),
    /// The third request to end, while the container does not: it ends us.
    Enough,
}

/// What a signal means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Resize,
    Proxy(&'static str),
    Fatal,
}

/// Caught signals.
pub(crate) struct Signals {
    sources: Vec<(i32, Role, Signal)>,
    /// How often we were asked to end.
    asked: u8,
}

/// Whether this process has listened to those that end it: for good, since nobody gives them their
/// usual effect back.
static LISTENED: AtomicBool = AtomicBool::new(false);

impl Signals {
    /// Starts catching.
    pub(crate) fn listen(setup: &Setup) -> io::Result<Self> {
        let mut wanted = roles(setup);
        if LISTENED.load(Ordering::Relaxed) {
            // They have no usual effect any more.
            let is_left = |number: &i32| wanted.iter().all(|(caught, _)| caught != number);
            let left: Vec<i32> = FATAL.into_iter().filter(is_left).collect();
            wanted.extend(left.into_iter().map(|number| (number, Role::Fatal)));
        }
        Self::catch(wanted)
    }

    /// Starts catching those that end us, for a command that has to clean up before that.
    pub(crate) fn fatal() -> io::Result<Self> {
        LISTENED.store(true, Ordering::Relaxed);
        Self::catch(FATAL.map(|number| (number, Role::Fatal)).to_vec())
    }

    fn catch(wanted: Vec<(i32, Role)>) -> io::Result<Self> {
        let mut sources = Vec::with_capacity(wanted.len());
        for (number, role) in wanted {
            sources.push((number, role, signal(SignalKind::from_raw(number))?));
        }
        Ok(Self { sources, asked: 0 })
    }

    /// The next one. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Caught {
        let (number, role) = poll_fn(|cx| self.poll(cx)).await;
        match role {
            Role::Resize => Caught::Resized,
            Role::Fatal => Caught::Fatal(u8::try_from(number).unwrap_or(u8::MAX)),
            Role::Proxy(name) => {
                self.asked += u8::from(matches!(number, SIGINT | SIGTERM));
                if self.asked >= 3 { Caught::Enough } else { Caught::Proxy(name) }
            }
        }
    }

    /// The next one that ends us.
    pub(crate) async fn next_fatal(&mut self) -> u8 {
        loop {
            if let Caught::Fatal(number) = self.next().await {
                return number;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(i32, Role)> {
        for (number, role, source) in &mut self.sources {
            if source.poll_recv(cx).is_ready() {
                return Poll::Ready((*number, *role));
            }
        }
        Poll::Pending
    }
}

/// What is caught, and what it means. Without a terminal to give back, signals that are not passed
/// on keep their usual effect.
fn roles(setup: &Setup) -> Vec<(i32, Role)> {
    let mut wanted = Vec::new();
    if setup.tty {
        wanted.push((SIGWINCH, Role::Resize));
    }
    match (setup.proxy, setup.tty) {
        (Proxy::Always, _) | (Proxy::WithoutTerminal, false) => {
            wanted.extend(PROXIED.iter().map(|(number, name)| (*number, Role::Proxy(name))));
        }
        (Proxy::WithoutTerminal | Proxy::Never, true) => {
            wanted.extend(FATAL.map(|number| (number, Role::Fatal)));
        }
        (Proxy::Never, false) => {}
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::detach::DetachKeys;

    #[test]
    fn a_signal_is_passed_on_or_ends_us() {
        for (proxy, tty, interrupt) in [
            (Proxy::Always, true, Some(Role::Proxy("INT"))),
            (Proxy::Always, false, Some(Role::Proxy("INT"))),
            (Proxy::WithoutTerminal, true, Some(Role::Fatal)),
            (Proxy::WithoutTerminal, false, Some(Role::Proxy("INT"))),
            (Proxy::Never, true, Some(Role::Fatal)),
            (Proxy::Never, false, None),
        ] {
            let keys = DetachKeys::default();
            let roles = roles(&Setup { stdin: false, tty, proxy, keys });
            let of = |wanted| roles.iter().find(|(number, _)| *number == wanted).map(|(_, r)| *r);
            assert_eq!(of(SIGINT), interrupt, "{proxy:?} {tty}");
            assert_eq!(of(SIGWINCH).is_some(), tty, "{proxy:?} {tty}");
        }
    }
}
