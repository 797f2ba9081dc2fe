//! Signals by Docker's names and numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Linux signal number, 1..=64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

/// A text or number that is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct BadSignal(pub String);

/// Names of the classic signals on x86-64 and AArch64, by number - 1 (signal(7)).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Other names for the same numbers.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
/// The first real-time signal that applications may use: glibc keeps 32 and 33.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// SIGHUP
    pub const HUP: Self = Self(1);
    /// SIGINT
    pub const INT: Self = Self(2);
    /// SIGQUIT
    pub const QUIT: Self = Self(3);
    /// SIGKILL
    pub const KILL: Self = Self(9);
    /// SIGTERM
    pub const TERM: Self = Self(15);
    /// SIGCONT
    pub const CONT: Self = Self(18);
    /// SIGRTMIN+3, at which systemd halts.
    pub const RTMIN_3: Self = Self(RTMIN + 3);
    /// SIGWINCH
    pub const WINCH: Self = Self(28);

    /// The number, 1..=64.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// A signal by its number.
    ///
    /// # Errors
    /// Outside 1..=64.
    pub fn from_number(number: i32) -> Result<Self, BadSignal> {
        if (1..=RTMAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(BadSignal(number.to_string()))
        }
    }
}

impl FromStr for Signal {
    type Err = BadSignal;

    /// Takes `15`, `TERM`, `SIGTERM` in any case, `RTMIN`, `RTMIN+3`, `RTMAX-2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadSignal(text.to_owned());
        if let Ok(number) = text.parse() {
            return Self::from_number(number).map_err(|_| bad());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        named(name).or_else(|| real_time(name)).map(Self).ok_or_else(bad)
    }
}

fn named(name: &str) -> Option<i32> {
    let classic =
        NAMES.iter().zip(1..).find_map(|(known, number)| (*known == name).then_some(number));
    classic
        .or_else(|| ALIASES.iter().find_map(|(alias, number)| (*alias == name).then_some(*number)))
}

fn real_time(name: &str) -> Option<i32> {
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        RTMIN + offset_of(offset, '+')?
    } else {
        RTMAX - offset_of(name.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

fn offset_of(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    // A second sign would let `RTMIN++3` through.
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?.filter(|n| *n <= RTMAX)
}

impl TryFrom<i32> for Signal {
    type Error = BadSignal;

    fn try_from(number: i32) -> Result<Self, Self::Error> {
        Self::from_number(number)
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index));
        match named {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_spellings_are_read() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("15", 15),
            ("sigkill", 9),
            ("SIGIOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("RTMAX", 64),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for bad in ["", "FOO", "0", "65", "-1", "RTMIN+31", "RTMIN++1", "RTMAX-99999999999", "SIG"]
        {
            assert_eq!(
                bad.parse::<Signal>().unwrap_err().to_string(),
                format!("invalid signal: {bad}")
            );
        }
    }

    #[test]
    fn every_signal_reads_back_from_its_print() {
        for number in (1..=31).chain(34..=64) {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }
}
