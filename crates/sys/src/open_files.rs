//! This process's own limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files this process may come to have open.
///
/// `u64::MAX` where nothing limits it.
#[must_use]
pub fn most() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Lets this process have as many files open as it may allow itself. Programs that it executes inherit that.
pub fn allow_most() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Everybody may do this; where a filter of calls forbids it the limit is what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
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
