//! Named places where a test can kill the process or make a step fail.
//!
//! `DHOW_FAILPOINT=name=kill` aborts at `name` as `kill -9` would, `name=error` makes the step there
//! fail with `EIO`. Compiled into debug builds only: a release binary has neither the names nor
//! the look-up.

use std::io;

/// Passes through the place called `name`.
///
/// # Errors
/// `EIO`, where `DHOW_FAILPOINT` asks for it.
#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) -> io::Result<()> {
    static WISHED: std::sync::OnceLock<Option<(String, String)>> = std::sync::OnceLock::new();
    let wished = WISHED.get_or_init(|| parse(&std::env::var("DHOW_FAILPOINT").ok()?));
    match wished {
        Some((at, action)) if at == name => act(action),
        Some(_) | None => Ok(()),
    }
}

/// Passes through the place called `name`: nothing in a release build.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "the debug build's signature")]
#[inline]
pub(crate) fn reach(_name: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<(String, String)> {
    let (name, action) = text.split_once('=')?;
    Some((name.to_owned(), action.to_owned()))
}

#[cfg(debug_assertions)]
fn act(action: &str) -> io::Result<()> {
    match action {
        // No destructor runs and no buffer is flushed: what is on disk now is what remains.
        "kill" => std::process::abort(),
        _ => Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_a_place_and_an_action() {
        assert_eq!(parse("load.publish=kill"), Some(("load.publish".into(), "kill".into())));
        assert_eq!(parse("load.publish"), None);
        assert_eq!(act("error").unwrap_err().raw_os_error(), Some(5));
    }
}
