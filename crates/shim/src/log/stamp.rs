//! Times of log records, as Go prints `RFC3339Nano`: UTC, trailing zeroes of the fraction cut.
//!
//! No clock here. The text up to the second is kept between records, since thousands share it.

use jiff::Timestamp;

pub(super) const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Gives each record a time of its own: at least 1 ns after the one before, so that the order of
/// lines survives a reader that sorts by time.
#[derive(Debug)]
pub(super) struct Ticks {
    /// Nanoseconds since 1970 of the next record.
    next: i64,
}

impl Ticks {
    pub(super) const fn new() -> Self {
        Self { next: 0 }
    }

    /// The clock's time now. A clock that went back does not take the log with it: readers ask
    /// for what is newer than the last line they saw.
    pub(super) fn at(&mut self, now: i64) {
        self.next = self.next.max(now);
    }

    /// The time that the next record has.
    pub(super) const fn current(&self) -> i64 {
        self.next
    }

    /// The time of a record.
    pub(super) const fn take(&mut self) -> i64 {
        let time = self.next;
        self.next = time.saturating_add(1);
        time
    }
}

/// Prints times.
#[derive(Debug)]
pub(super) struct Stamper {
    /// The second that `prefix` is of.
    second: i64,
    /// `2026-11-21T22:22:47`
    prefix: String,
}

impl Stamper {
    pub(super) const fn new() -> Self {
        Self { second: i64::MIN, prefix: String::new() }
    }

    /// Appends a time, nanoseconds since 1970.
    pub(super) fn append(&mut self, time: i64, out: &mut Vec<u8>) {
        let (second, nanos) =
            (time.div_euclid(NANOS_PER_SECOND), time.rem_euclid(NANOS_PER_SECOND));
        if second != self.second {
            self.change_second(second);
        }
        out.extend_from_slice(self.prefix.as_bytes());
        append_fraction(nanos, out);
        out.push(b'Z');
    }

    fn change_second(&mut self, second: i64) {
        // Out of jiff's range (the years -9999 to 9999) only if the clock is absurd.
        let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        self.prefix = time.to_string();
        self.prefix.truncate("2026-11-21T22:22:47".len());
        self.second = second;
    }
}

fn append_fraction(nanos: i64, out: &mut Vec<u8>) {
    if nanos == 0 {
        return;
    }
    let mut digits = *b".000000000";
    let mut rest = nanos;
    for digit in digits[1..].iter_mut().rev() {
        // `rest % 10` is 0..=9, since `nanos` is a remainder of a euclidean division.
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    let used = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0) + 1;
    out.extend_from_slice(&digits[..used]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(nanos: i64) -> String {
        let mut out = Vec::new();
        Stamper::new().append(nanos, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn trailing_zeroes_are_cut_as_go_does() {
        let second = 1_795_299_767 * NANOS_PER_SECOND;
        assert_eq!(stamp(second), "2026-11-21T22:22:47Z");
        assert_eq!(stamp(second + 224_372_180), "2026-11-21T22:22:47.22437218Z");
        assert_eq!(stamp(second + 500_000_000), "2026-11-21T22:22:47.5Z");
        assert_eq!(stamp(second + 1), "2026-11-21T22:22:47.000000001Z");
    }

    #[test]
    fn times_only_grow() {
        let mut ticks = Ticks::new();
        ticks.at(999_999_999);
        let mut times = vec![ticks.take(), ticks.take()];
        ticks.at(5);
        times.push(ticks.take());
        assert_eq!(times, [999_999_999, 1_000_000_000, 1_000_000_001]);
    }
}
