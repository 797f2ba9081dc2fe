//! How tests wait for what nobody tells them of.

use std::time::{Duration, Instant};

/// For how long: a machine under load takes its time, and what does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until it is looked again. Other tests have use for the processor.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until something is so.
///
/// # Panics
/// It is not, for a minute.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_is(what, || is_so().then_some(()).ok_or("it is not so"));
}

/// Waits until there is an answer. Each that is none says what there was instead: the last is told.
///
/// # Panics
/// There is none, for a minute.
#[track_caller]
pub fn until_is<T, E: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = match ask() {
            Ok(answer) => return answer,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "waited in vain for {what}: {seen:?}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_last_is_waited_for() {
        let mut left = 3;
        until("three looks", || {
            left -= 1;
            left == 0
        });
        assert_eq!(left, 0);
        let mut answers = [Err("no"), Ok(7)].into_iter();
        assert_eq!(until_is("an answer", || answers.next().unwrap()), 7);
    }
}
