//! How much of the time tasks of a cgroup have waited for want of something (PSI), on v2.
//!
//! The parser is pure. A kernel without PSI, or one that was told to leave it off, has none.

/// What tasks have waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pressure {
    /// A processor.
    pub cpu: Option<Stall>,
    /// Memory.
    pub memory: Option<Stall>,
    /// Block devices.
    pub io: Option<Stall>,
}

impl Pressure {
    /// Whether the kernel tells nothing.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none() && self.io.is_none()
    }
}

/// How tasks have waited for one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    /// At least one of them.
    pub some: Waited,
    /// All of them at once, where the kernel tells (of processors since 5.13).
    pub full: Option<Waited>,
}

/// How much of the time that was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waited {
    /// Hundredths of a percent, of the last 10 seconds.
    pub avg10: u32,
    /// The same of the last minute.
    pub avg60: u32,
    /// The same of the last five minutes.
    pub avg300: u32,
    /// Microseconds, ever.
    pub total: u64,
}

/// Reads `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and the line of `full`.
pub(crate) fn parse(text: &str) -> Option<Stall> {
    let of = |kind: &str| text.lines().find_map(|line| waited(line.strip_prefix(kind)?));
    Some(Stall { some: of("some ")?, full: of("full ") })
}

fn waited(line: &str) -> Option<Waited> {
    let mut waited = Waited::default();
    for word in line.split_whitespace() {
        let (name, value) = word.split_once('=')?;
        match name {
            "avg10" => waited.avg10 = hundredths(value)?,
            "avg60" => waited.avg60 = hundredths(value)?,
            "avg300" => waited.avg300 = hundredths(value)?,
            "total" => waited.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(waited)
}

/// The kernel prints two digits behind the point.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.')?;
    if part.len() != 2 {
        return None;
    }
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says() {
        let text = "some avg10=1.05 avg60=0.00 avg300=99.99 total=123456\n\
                    full avg10=0.00 avg60=0.50 avg300=0.00 total=7\n";
        let some = Waited { avg10: 105, avg60: 0, avg300: 9999, total: 123_456 };
        let full = Waited { avg60: 50, total: 7, ..Waited::default() };
        assert_eq!(parse(text), Some(Stall { some, full: Some(full) }));
        let first = text.lines().next().unwrap();
        assert_eq!(parse(first), Some(Stall { some, full: None }), "before 5.13");
    }

    #[test]
    fn what_is_none_says_nothing() {
        for text in ["", "some", "some avg10", "some avg10=1", "some avg10=x.00", "full avg10=0.00"]
        {
            assert!(parse(text).is_none_or(|stall| stall.some == Waited::default()), "{text}");
        }
        assert_eq!(parse("some avg10=1.2"), None);
    }
}
