//! Sets of numbers as the kernel writes them: `0-3,5`, for processors and memory nodes.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// The largest number of a list (Docker's limit, and the kernel's for processors).
const MAX: u16 = 8192;

/// A set of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberSet(Vec<RangeInclusive<u16>>);

/// A text that is no set of numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of numbers up to 8192, like 0-3,5")]
pub struct BadNumberSet(String);

impl NumberSet {
    /// Whether every number of `other` is in this set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|number| self.0.iter().any(|range| range.contains(&number)))
    }

    /// Each number, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().cloned().flatten()
    }
}

impl FromStr for NumberSet {
    type Err = BadNumberSet;

    /// Reads `0-3,5`.
    fn from_str(text: &str) -> Result<Self, BadNumberSet> {
        let ranges = text.split(',').map(range).collect::<Option<_>>();
        ranges.map(Self).ok_or_else(|| BadNumberSet(text.to_owned()))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> NumberSet {
        text.parse().unwrap()
    }

    #[test]
    fn lists_of_numbers_are_read() {
        assert_eq!(set("0-3,5").iter().collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
        assert_eq!(set("8192").iter().collect::<Vec<_>>(), [8192]);
        for bad in ["", ",", "0,", "x", "1-0", "-1", "1-", "+1", "0-8193", "0 1", "1-2-3"] {
            assert!(bad.parse::<NumberSet>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_set_knows_what_is_in_it() {
        let here = set("0-3,6");
        for inside in ["0", "0-3", "2,6", "6,6", "0-2,3"] {
            assert!(here.contains_all(&set(inside)), "{inside}");
        }
        for outside in ["4", "0-4", "6-7", "9"] {
            assert!(!here.contains_all(&set(outside)), "{outside}");
        }
    }
}
