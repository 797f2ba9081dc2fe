//! This process's own limit of open files.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that this process began with, if it has another by now.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// How many files this process may come to have open.
///
/// `u64::MAX` where nothing limits it.
#[must_use]
pub fn most() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Lets this process have as many files open as it may allow itself. Foreign programs that it starts have what it began
/// with: some close each number below the limit, and a few can have no number above 1023.
pub fn allow_most() {
    let found = getrlimit(Resource::Nofile);
    let maximum = found.maximum;
    if found.current == maximum {
        return;
    }
    // Everybody may do this; where a filter of calls forbids it the limit is what it was.
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        let _ = BEFORE.set(found);
    }
}

/// The limit of a program that is started, if it is not this process's own.
pub(crate) fn before() -> Option<Rlimit> {
    BEFORE.get().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::process::{CloneArgs, Exit, clone3, wait};

    #[test]
    fn the_most_is_the_hard_limit() {
        let lowered = || {
            let limit = Rlimit { current: Some(100), maximum: Some(200) };
            let is_set = setrlimit(Resource::Nofile, limit).is_ok();
            allow_most();
            let now = getrlimit(Resource::Nofile);
            i32::from(!(is_set && most() == 200 && now.current == Some(200)))
        };
        let child = clone3(&CloneArgs::default(), lowered).unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(0)));
    }
}
