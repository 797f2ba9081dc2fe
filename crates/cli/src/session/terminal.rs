//! The terminal that we run in: its size, and raw mode with a way back from every end.

use crate::error::Failure;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, Once, PoisonError};

/// How the terminal was before; kept where the hook for panics finds it, since a panic aborts
/// and runs no destructor.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) height: u16,
    pub(crate) width: u16,
}

/// The size of the terminal that output goes to; none if it goes elsewhere.
pub(crate) fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 || size.ws_col > 0).then_some(Size { height: size.ws_row, width: size.ws_col })
}

/// The same, as the API has it.
pub(crate) fn console_size() -> Option<[u64; 2]> {
    size().map(|size| [u64::from(size.height), u64::from(size.width)])
}

/// Raw mode, until it is dropped.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal at our input raw; nothing happens if it is none.
    pub(crate) fn enter() -> Result<Option<Self>, Failure> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let failed = |e| Failure::error(format!("cannot make the terminal raw: {e}"));
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        HOOK.call_once(|| {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                hook(panic);
            }));
        });
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Self(());
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Some(guard))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.try_lock().ok().and_then(|mut before| before.take());
    if let Some(before) = before {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
