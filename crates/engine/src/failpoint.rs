//! Places where a test makes the process die: `DHOW_FAILPOINT=NAME` in a debug build.
//!
//! A release build has none of it.

/// Dies here, by SIGKILL, if the environment names this place.
#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) {
    if std::env::var_os("DHOW_FAILPOINT").is_some_and(|wanted| wanted == name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) const fn reach(_name: &str) {}
